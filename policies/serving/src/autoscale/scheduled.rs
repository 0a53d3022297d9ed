//! A timetable.

use alloc::vec::Vec;

use super::{Autoscaler, Bounds, Decision, Observed, Reason, nanoseconds};

/// Parameters of [`Scheduled`].
#[derive(Clone, Debug, PartialEq)]
pub struct Timetable {
    /// Fewest and most replicas: 0 and no limit.
    pub bounds: Bounds,
    /// Time between ticks: 15.
    pub tick_s: f64,
    /// After how long it begins again: a day, 86400.
    pub period_s: u64,
    /// Second of the period at time 0: 0.
    pub starts_at_s: u64,
    /// From which second of the period on there are how many replicas, in any order. Before the first row the last still holds.
    pub rows: Vec<(u64, u32)>,
}

impl Default for Timetable {
    fn default() -> Self {
        Self {
            bounds: Bounds { min_replicas: 0, max_replicas: u32::MAX },
            tick_s: 15.0,
            period_s: 86_400,
            starts_at_s: 0,
            rows: Vec::new(),
        }
    }
}

/// As many replicas as a timetable says, again and again.
#[derive(Clone, Debug)]
pub struct Scheduled {
    timetable: Timetable,
}

impl Scheduled {
    /// By a timetable. Without rows nothing changes.
    pub fn new(mut timetable: Timetable) -> Self {
        timetable.rows.sort_by_key(|row| row.0);
        Self { timetable }
    }
}

impl Autoscaler for Scheduled {
    fn period_ns(&self) -> u64 {
        nanoseconds(self.timetable.tick_s)
    }

    fn decide(&mut self, observed: &Observed) -> Decision {
        let Timetable { bounds, rows, period_s, starts_at_s, .. } = &self.timetable;
        let second = (observed.now_ns / 1_000_000_000 + starts_at_s) % (*period_s).max(1);
        let row = rows.iter().rev().find(|row| row.0 <= second).or(rows.last());
        match row {
            Some(&(since_s, replicas)) => bounds.apply(replicas, Reason::Scheduled { since_s }),
            None => bounds.apply(observed.desired, Reason::Unchanged),
        }
    }
}
