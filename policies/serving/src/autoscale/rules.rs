//! How fast a horizontal autoscaler may change a service.

use alloc::collections::VecDeque;
use alloc::vec;
use alloc::vec::Vec;

use super::nanoseconds;

/// One limit to changes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Policy {
    /// So many replicas in a period.
    Pods {
        /// Replicas.
        pods: u32,
        /// The period.
        period_s: f64,
    },
    /// So many percent of the replicas at the start of a period.
    Percent {
        /// Percent.
        percent: f64,
        /// The period.
        period_s: f64,
    },
}

/// Which of several limits holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Select {
    /// The one that allows the largest change.
    Max,
    /// The one that allows the smallest.
    Min,
    /// No change at all.
    Disabled,
}

/// How changes in one direction are held back.
#[derive(Clone, Debug, PartialEq)]
pub struct Rules {
    /// The most cautious recommendation of so many seconds counts.
    pub stabilisation_s: f64,
    /// Limits; without any there is none.
    pub policies: Vec<Policy>,
    /// Which of them holds.
    pub select: Select,
}

impl Rules {
    /// Kubernetes' default for more replicas: no stabilisation, at most twice as many or 4 more in 15 seconds.
    pub fn up() -> Self {
        let policies = vec![
            Policy::Percent { percent: 100.0, period_s: 15.0 },
            Policy::Pods { pods: 4, period_s: 15.0 },
        ];
        Self { stabilisation_s: 0.0, policies, select: Select::Max }
    }

    /// Kubernetes' default for fewer: the highest recommendation of 300 seconds, then at once.
    pub fn down() -> Self {
        let policies = vec![Policy::Percent { percent: 100.0, period_s: 15.0 }];
        Self { stabilisation_s: 300.0, policies, select: Select::Max }
    }

    /// The most replicas that rules for going up allow.
    pub(super) fn most(&self, changes: &Changes, now_ns: u64, current: u32) -> u32 {
        let allowed = self.policies.iter().map(|policy| {
            let start = changes.start(now_ns, policy.period_ns(), current);
            match *policy {
                Policy::Pods { pods, .. } => start.saturating_add(pods),
                Policy::Percent { percent, .. } => {
                    libm::ceil(f64::from(start) * (1.0 + percent / 100.0)) as u32
                }
            }
        });
        let allowed = match self.select {
            Select::Max => allowed.max().unwrap_or(u32::MAX),
            Select::Min => allowed.min().unwrap_or(u32::MAX),
            Select::Disabled => current,
        };
        allowed.max(current)
    }

    /// The fewest replicas that rules for going down allow.
    pub(super) fn fewest(&self, changes: &Changes, now_ns: u64, current: u32) -> u32 {
        let allowed = self.policies.iter().map(|policy| {
            let start = changes.start(now_ns, policy.period_ns(), current);
            match *policy {
                Policy::Pods { pods, .. } => start.saturating_sub(pods),
                Policy::Percent { percent, .. } => {
                    libm::floor(f64::from(start) * (1.0 - percent / 100.0)) as u32
                }
            }
        });
        let allowed = match self.select {
            Select::Max => allowed.min().unwrap_or(0),
            Select::Min => allowed.max().unwrap_or(0),
            Select::Disabled => current,
        };
        allowed.min(current)
    }

    /// The longest period of a policy.
    pub(super) fn longest_ns(&self) -> u64 {
        self.policies.iter().map(Policy::period_ns).max().unwrap_or(0)
    }
}

impl Policy {
    fn period_ns(&self) -> u64 {
        match *self {
            Self::Pods { period_s, .. } | Self::Percent { period_s, .. } => nanoseconds(period_s),
        }
    }
}

/// Changes that were made, to know with how many replicas a period began.
#[derive(Clone, Debug)]
pub(super) struct Changes {
    longest_ns: u64,
    made: VecDeque<(u64, i64)>,
}

impl Changes {
    pub(super) fn new(longest_ns: u64) -> Self {
        Self { longest_ns, made: VecDeque::new() }
    }

    pub(super) fn record(&mut self, now_ns: u64, from: u32, to: u32) {
        while self.made.front().is_some_and(|made| made.0.saturating_add(self.longest_ns) <= now_ns) {
            self.made.pop_front();
        }
        if from != to {
            self.made.push_back((now_ns, i64::from(to) - i64::from(from)));
        }
    }

    fn start(&self, now_ns: u64, period_ns: u64, current: u32) -> u32 {
        let recent = self.made.iter().filter(|made| made.0.saturating_add(period_ns) > now_ns);
        let change: i64 = recent.map(|made| made.1).sum();
        (i64::from(current) - change).clamp(0, i64::from(u32::MAX)) as u32
    }
}
