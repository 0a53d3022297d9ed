//! Figures of the paper (Sia, SOSP'23): tables 3 and 4.

/// A row of the tables, with what is not printed there left out.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Published {
    /// The data's name of the trace: `saturn` is the paper's Helios.
    pub(super) trace: &'static str,
    /// Whether on the heterogeneous cluster.
    pub(super) is_heterogeneous: bool,
    /// The policy.
    pub(super) policy: &'static str,
    /// Hours from arrival to end: mean and 99th percentile.
    pub(super) completion_h: (f64, f64),
    /// Hours until all have ended.
    pub(super) makespan_h: f64,
    /// GPU-hours per job.
    pub(super) gpu_h: f64,
    /// Jobs in the system, on average.
    pub(super) contention: Option<f64>,
    /// Restarts per job: not in the tables, but in the sample output of the authors' code.
    pub(super) restarts: Option<f64>,
}

impl Published {
    /// Whether both rows are of one trace and cluster.
    pub(super) fn is_setting_of(&self, other: &Self) -> bool {
        self.trace == other.trace && self.is_heterogeneous == other.is_heterogeneous
    }
}

const fn row(
    trace: &'static str,
    is_heterogeneous: bool,
    policy: &'static str,
    completion_h: (f64, f64),
    makespan_h: f64,
    gpu_h: f64,
    contention: Option<f64>,
) -> Published {
    Published { trace, is_heterogeneous, policy, completion_h, makespan_h, gpu_h, contention, restarts: None }
}

/// Table 3, then table 4; rows of policies that are not implemented are left out.
pub(super) const PUBLISHED: [Published; 12] = [
    row("philly", true, "sia", (0.6, 9.5), 14.2, 4.0, Some(6.9)),
    row("philly", true, "pollux", (1.0, 14.9), 24.5, 5.6, Some(7.2)),
    row("philly", true, "gavel", (1.9, 30.0), 33.8, 9.0, Some(9.9)),
    row("saturn", true, "sia", (0.7, 10.9), 14.9, 4.8, Some(7.4)),
    row("saturn", true, "pollux", (1.0, 15.0), 25.5, 5.9, Some(6.9)),
    Published { restarts: Some(7.4), ..row("saturn", true, "gavel", (2.5, 38.7), 43.0, 12.1, Some(9.2)) },
    row("newtrace", true, "sia", (0.7, 4.6), 52.2, 3.0, Some(13.0)),
    row("newtrace", true, "pollux", (1.5, 10.3), 62.3, 3.4, Some(22.0)),
    row("newtrace", true, "gavel", (11.3, 98.1), 110.0, 6.4, Some(96.0)),
    row("philly", false, "sia", (1.9, 18.1), 21.4, 8.4, None),
    row("philly", false, "pollux", (2.0, 19.3), 21.7, 8.6, None),
    row("philly", false, "gavel", (4.3, 37.1), 44.3, 15.3, None),
];
