//! Whether what is promised is kept, minute by minute: what happens to a service shows there, and how long it lasts.

use serde::Serialize;

use crate::metrics::Objective;
use crate::served::Served;

/// Seconds of a window.
pub const WINDOW_S: u64 = 60;

/// Share of the requests of a window that must keep all that is promised for it to count as kept.
pub const ENOUGH: f64 = 0.95;

const WINDOW_NS: u64 = WINDOW_S * 1_000_000_000;

/// Requests that arrived in a window of time.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Window {
    /// When it begins, seconds from the beginning of the run.
    pub from_s: u64,
    /// Requests that arrived in it, those that got nothing among them.
    pub arrived: u64,
    /// Those that were answered.
    pub answered: u64,
    /// Those for which all that is promised was kept.
    pub kept: u64,
}

impl Window {
    /// Share of its requests that kept all that is promised; none without requests.
    pub fn attainment(&self) -> Option<f64> {
        (self.arrived > 0).then(|| self.kept as f64 / self.arrived as f64)
    }
}

/// Windows one after another in which too little was kept. Windows without requests neither end it nor make it longer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Breach {
    /// When the first of them begins, seconds from the beginning of the run.
    pub from_s: u64,
    /// When the last of them ends.
    pub until_s: u64,
    /// Requests that arrived meanwhile.
    pub arrived: u64,
    /// Those for which all that is promised was kept.
    pub kept: u64,
}

/// Breaches of windows in their order.
pub fn breaches(windows: &[Window]) -> Vec<Breach> {
    let mut breaches: Vec<Breach> = Vec::new();
    let mut under_way = false;
    for window in windows {
        let Some(attainment) = window.attainment() else { continue };
        if attainment >= ENOUGH {
            under_way = false;
            continue;
        }
        let until_s = window.from_s + WINDOW_S;
        match breaches.last_mut().filter(|_| under_way) {
            Some(breach) => {
                breach.until_s = until_s;
                breach.arrived += window.arrived;
                breach.kept += window.kept;
            }
            None => breaches.push(Breach {
                from_s: window.from_s,
                until_s,
                arrived: window.arrived,
                kept: window.kept,
            }),
        }
        under_way = true;
    }
    breaches
}

impl Served {
    /// Windows from the beginning of the run to the last arrival, of requests that are of no job.
    pub fn windows(&self) -> Vec<Window> {
        let mut windows: Vec<Window> = Vec::new();
        let mut of = |arrival_ns: u64, answered: u64, kept: u64| {
            let index = (arrival_ns / WINDOW_NS) as usize;
            while windows.len() <= index {
                windows.push(Window { from_s: windows.len() as u64 * WINDOW_S, ..Window::default() });
            }
            let window = &mut windows[index];
            window.arrived += 1;
            window.answered += answered;
            window.kept += kept;
        };
        for (_, outcome) in self.outcomes.iter().filter(|(_, one)| !self.is_of_job(one.request)) {
            of(outcome.arrival_ns, 1, u64::from(outcome.meets(&self.objective)));
        }
        for refused in self.refused.iter().filter(|one| !self.is_of_job(one.request)) {
            of(refused.arrival_ns, 0, 0);
        }
        windows
    }

    /// When too little was kept, if anything is promised.
    pub fn breaches(&self) -> Vec<Breach> {
        if self.objective == Objective::default() { Vec::new() } else { breaches(&self.windows()) }
    }

    /// Replicas that served in a span of time, on average.
    pub fn mean_replicas(&self, from_s: f64, until_s: f64) -> f64 {
        let there = self.replicas.iter().map(|one| {
            (one.until_s.unwrap_or(f64::INFINITY).min(until_s) - one.ready_s.max(from_s)).max(0.0)
        });
        there.sum::<f64>() / (until_s - from_s)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(windows: &[(u64, u64)], expected: &[(u64, u64, u64, u64)]) {
        let windows: Vec<Window> = windows
            .iter()
            .enumerate()
            .map(|(index, &(arrived, kept))| Window {
                from_s: index as u64 * WINDOW_S,
                arrived,
                answered: arrived,
                kept,
            })
            .collect();
        let found: Vec<_> =
            breaches(&windows).iter().map(|one| (one.from_s, one.until_s, one.arrived, one.kept)).collect();
        assert_eq!(found, expected, "{windows:?}");
    }

    #[test]
    fn breaches_are_windows_one_after_another() {
        check(&[], &[]);
        check(&[(0, 0), (20, 19), (3, 3)], &[]);
        check(&[(20, 18), (20, 19), (10, 0), (10, 1)], &[(0, 60, 20, 18), (120, 240, 20, 1)]);
        // Nobody came for a while: nobody can say that it was over.
        check(&[(10, 2), (0, 0), (10, 3), (0, 0), (10, 10)], &[(0, 180, 20, 5)]);
    }
}
