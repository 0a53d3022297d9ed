//! What was seen in the last seconds.

use alloc::collections::VecDeque;

/// Time between ticks as they came; the first is taken to have lasted a period.
#[derive(Clone, Copy, Debug)]
pub(super) struct Laps {
    period_ns: u64,
    last_ns: Option<u64>,
}

impl Laps {
    pub(super) fn new(period_ns: u64) -> Self {
        Self { period_ns, last_ns: None }
    }

    /// Time since the tick before.
    pub(super) fn lap_ns(&mut self, now_ns: u64) -> u64 {
        let elapsed_ns = self.last_ns.map_or(self.period_ns, |last_ns| now_ns.saturating_sub(last_ns));
        self.last_ns = Some(now_ns);
        elapsed_ns
    }
}

/// Values of ticks, each of which weighs as long as it lasted.
#[derive(Clone, Debug)]
pub(super) struct Averages {
    longest_ns: u64,
    /// When a tick was, how long it lasted, what was seen.
    ticks: VecDeque<(u64, u64, f64)>,
}

impl Averages {
    /// For windows up to a length.
    pub(super) fn new(longest_ns: u64) -> Self {
        Self { longest_ns, ticks: VecDeque::new() }
    }

    pub(super) fn record(&mut self, now_ns: u64, elapsed_ns: u64, value: f64) {
        self.ticks.push_back((now_ns, elapsed_ns, value));
        while self.ticks.len() > 1 && self.ticks[0].0.saturating_add(self.longest_ns) <= now_ns {
            self.ticks.pop_front();
        }
    }

    /// Over the ticks that ended less than `window_ns` ago: over fewer while fewer were seen. Summed anew, so that nothing is left of old values.
    pub(super) fn over(&self, now_ns: u64, window_ns: u64) -> f64 {
        let (mut sum, mut weight) = (0.0, 0.0);
        for &(end_ns, elapsed_ns, value) in self.ticks.iter().rev() {
            if weight > 0.0 && end_ns.saturating_add(window_ns) <= now_ns {
                break;
            }
            sum += value * elapsed_ns as f64;
            weight += elapsed_ns as f64;
        }
        if weight > 0.0 { sum / weight } else { 0.0 }
    }
}

/// Recommendations of the last seconds.
#[derive(Clone, Debug)]
pub(super) struct Recent {
    longest_ns: u64,
    seen: VecDeque<(u64, u32)>,
}

impl Recent {
    /// For windows up to a length.
    pub(super) fn new(longest_ns: u64) -> Self {
        Self { longest_ns, seen: VecDeque::new() }
    }

    pub(super) fn record(&mut self, now_ns: u64, replicas: u32) {
        self.seen.push_back((now_ns, replicas));
        while self.seen.len() > 1 && self.seen[0].0.saturating_add(self.longest_ns) <= now_ns {
            self.seen.pop_front();
        }
    }

    /// Those recorded less than `window_ns` ago.
    fn within(&self, now_ns: u64, window_ns: u64) -> impl Iterator<Item = u32> {
        let recent = self.seen.iter().filter(move |seen| seen.0.saturating_add(window_ns) > now_ns);
        recent.map(|&(_, replicas)| replicas)
    }

    /// The most of those and `latest`.
    pub(super) fn highest(&self, now_ns: u64, window_ns: u64, latest: u32) -> u32 {
        self.within(now_ns, window_ns).fold(latest, u32::max)
    }

    /// The least of those and `latest`.
    pub(super) fn lowest(&self, now_ns: u64, window_ns: u64, latest: u32) -> u32 {
        self.within(now_ns, window_ns).fold(latest, u32::min)
    }
}
