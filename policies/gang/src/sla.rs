//! Volcano's `sla`: jobs that have waited long enough are let in.

use core::cmp::Ordering;

use foretell_framework::{ClusterState, JobId, SessionPlugin, Time, Vote};

/// Annotation of groups, and name of the argument.
const WAITING_TIME: &str = "sla-waiting-time";

/// Orders jobs by the time at which they will have waited as long as they may. A job that has is let into its queue, and
/// what it got so far is kept for it.
#[derive(Default)]
pub struct WaitingTime {
    /// How long jobs may wait that do not say.
    otherwise: Option<Time>,
    now: Time,
}

impl WaitingTime {
    /// With a waiting time for jobs that name none.
    pub fn new(otherwise: Option<Time>) -> Self {
        Self { otherwise, now: Time::ZERO }
    }

    fn due(&self, state: &ClusterState, job: JobId) -> Option<Time> {
        let spec = &state.job(job)?.spec;
        let own = spec.annotations.get(WAITING_TIME).and_then(|text| parse_duration(text));
        Some(spec.submitted + own.or(self.otherwise)?)
    }

    fn vote(&self, state: &ClusterState, job: JobId) -> Vote {
        match self.due(state, job) {
            Some(due) if self.now >= due => Vote::Permit,
            _ => Vote::Abstain,
        }
    }
}

/// A span as Go writes it, such as `1h30m` or `1.5s`; `None` if it is none, or not above zero.
pub fn parse_duration(text: &str) -> Option<Time> {
    // Longer units first, so that `ms` is not taken for `m`.
    const UNITS: [(&str, f64); 7] =
        [("ms", 1e-3), ("us", 1e-6), ("µs", 1e-6), ("ns", 1e-9), ("h", 3600.0), ("m", 60.0), ("s", 1.0)];
    let mut rest = text;
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let length = rest.find(|c: char| !(c.is_ascii_digit() || c == '.'))?;
        let (number, after) = rest.split_at(length);
        let (unit, factor) = UNITS.iter().find(|(unit, _)| after.starts_with(unit))?;
        seconds += number.parse::<f64>().ok()? * factor;
        rest = &after[unit.len()..];
    }
    (seconds > 0.0).then(|| Time::from_s(seconds))
}

impl SessionPlugin for WaitingTime {
    fn name(&self) -> &'static str {
        "sla"
    }

    fn open(&mut self, _state: &ClusterState, now: Time) {
        self.now = now;
    }

    fn compare_jobs(&self, state: &ClusterState, left: JobId, right: JobId) -> Ordering {
        // A job that may wait for ever goes last.
        let key = |job| self.due(state, job).unwrap_or(Time::MAX);
        key(left).cmp(&key(right))
    }

    fn job_enqueueable(&self, state: &ClusterState, job: JobId) -> Vote {
        self.vote(state, job)
    }

    fn job_pipelined(&self, state: &ClusterState, job: JobId) -> Vote {
        self.vote(state, job)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_writes_them() {
        let check = |text: &str, expected: Option<f64>| {
            assert_eq!(parse_duration(text), expected.map(Time::from_s), "{text}");
        };
        check("3m", Some(180.0));
        check("1h30m", Some(5400.0));
        check("1.5s", Some(1.5));
        check("100ms", Some(0.1));
        for text in ["", "1", "m", "1d", "0s", "-1h", "1h30"] {
            check(text, None);
        }
    }
}
