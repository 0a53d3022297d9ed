//! How long a pod that failed to be scheduled backs off, and when the unschedulable pool is flushed.

use foretell_framework::Time;
use foretell_framework::time::NANOS_PER_SECOND;

/// Pods wait at most this long in the unschedulable pool (`podMaxInUnschedulablePodsDuration`).
const POOL_LIMIT_NANOS: u64 = 300 * NANOS_PER_SECOND;

/// How often the pool is looked through for such pods.
const FLUSH_PERIOD_NANOS: u64 = 30 * NANOS_PER_SECOND;

/// Exponential backoff between two bounds.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    initial_nanos: u64,
    max_nanos: u64,
    /// The number of failures from which on the duration no longer grows.
    saturation: u32,
}

impl Backoff {
    /// Starting from `initial`, doubled by every further failure up to `max`.
    pub fn new(initial: Time, max: Time) -> Self {
        let mut backoff =
            Self { initial_nanos: initial.as_nanos(), max_nanos: max.as_nanos(), saturation: 0 };
        let longest = backoff.duration_nanos(u64::BITS + 1);
        while backoff.duration_nanos(backoff.saturation) != longest {
            backoff.saturation += 1;
        }
        backoff
    }

    /// How long a pod backs off after so many failures: `initial << (failures - 1)`, at most `max`.
    pub fn duration(&self, failures: u32) -> Time {
        Time::from_nanos(self.duration_nanos(failures))
    }

    fn duration_nanos(&self, failures: u32) -> u64 {
        let Some(doublings) = failures.checked_sub(1) else { return 0 };
        if self.initial_nanos > self.max_nanos.checked_shr(doublings).unwrap_or(0) {
            self.max_nanos
        } else {
            self.initial_nanos.checked_shl(doublings).unwrap_or(0)
        }
    }

    /// One failure more. Beyond the longest backoff failures are not told apart, so that pods which behave
    /// alike are equal.
    pub(crate) fn count(&self, failures: u32) -> u32 {
        (failures + 1).min(self.saturation)
    }

    /// When the backoff of a pod that failed last at `timestamp` expires, on a whole second; `None` if it
    /// does not back off.
    pub fn expiry(&self, timestamp: Time, failures: u32) -> Option<Time> {
        let duration = self.duration_nanos(failures);
        (duration > 0).then(|| whole_seconds(timestamp + Time::from_nanos(duration)))
    }

    /// The expiry, if the pod is still backing off at `now`. The second of the expiry counts as backing off.
    pub(crate) fn backing_off_until(&self, timestamp: Time, failures: u32, now: Time) -> Option<Time> {
        self.expiry(timestamp, failures).filter(|&expiry| expiry >= whole_seconds(now))
    }
}

fn whole_seconds(time: Time) -> Time {
    Time::from_nanos(time.as_nanos() / NANOS_PER_SECOND * NANOS_PER_SECOND)
}

/// When a pod that failed last at `timestamp` leaves the unschedulable pool without any event: at the first
/// flush that finds it there for more than five minutes.
pub(crate) fn flush_time(timestamp: Time) -> Time {
    let limit = timestamp.as_nanos().saturating_add(POOL_LIMIT_NANOS);
    Time::from_nanos((limit / FLUSH_PERIOD_NANOS + 1).saturating_mul(FLUSH_PERIOD_NANOS))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Source: `TestBackoffQueue_calculateBackoffDuration`, and limits of the arithmetic.
    #[test]
    fn durations_double_up_to_the_maximum() {
        let check = |initial, max, failures, expected| {
            let backoff = Backoff::new(Time::from_nanos(initial), Time::from_nanos(max));
            assert_eq!(backoff.duration_nanos(failures), expected, "{failures} failures of {initial}..{max}");
            // What is forgotten beyond saturation changes nothing.
            let counted = (0..failures).fold(0, |counted, _| backoff.count(counted));
            assert_eq!(backoff.duration_nanos(counted), expected, "{counted} counted of {failures}");
        };
        check(1, 32, 0, 0);
        check(1, 32, 1, 1);
        check(1, 32, 16, 32);
        check(1, 32, 64, 32);
        check(1, i64::MAX as u64, 64, i64::MAX as u64);
        check(1, u64::MAX, 1000, u64::MAX);
        check(0, 0, 16, 0);
        check(0, 32, 100, 0);
        check(5, 0, 3, 0);
        check(40, 32, 1, 32);
    }

    #[test]
    fn default_backoff_over_time() {
        let backoff = Backoff::new(Time::from_s(1.0), Time::from_s(10.0));
        // Failures, time of the last one, expiry.
        for (failures, timestamp_s, expiry_s) in [
            (1, 0.0, 1.0),
            (1, 0.9, 1.0),
            (2, 0.9, 2.0),
            (3, 7.0, 11.0),
            (4, 7.5, 15.0),
            (5, 7.5, 17.0),
            (16, 100.0, 110.0),
        ] {
            let timestamp = Time::from_s(timestamp_s);
            let expiry = Time::from_s(expiry_s);
            assert_eq!(backoff.expiry(timestamp, failures), Some(expiry), "{failures} at {timestamp:?}");
            let last_moment = expiry + Time::from_nanos(NANOS_PER_SECOND - 1);
            assert_eq!(backoff.backing_off_until(timestamp, failures, last_moment), Some(expiry));
            assert_eq!(backoff.backing_off_until(timestamp, failures, expiry + Time::from_s(1.0)), None);
        }
        assert_eq!(backoff.expiry(Time::from_s(3.0), 0), None);
        assert_eq!(Backoff::new(Time::ZERO, Time::ZERO).expiry(Time::from_s(3.0), 16), None);
    }

    #[test]
    fn flushes_come_every_thirty_seconds() {
        for (timestamp_s, flush_s) in [(0.0, 330.0), (29.9, 330.0), (30.0, 360.0), (31.0, 360.0)] {
            assert_eq!(flush_time(Time::from_s(timestamp_s)), Time::from_s(flush_s));
        }
        assert_eq!(flush_time(Time::MAX), Time::MAX);
    }
}
