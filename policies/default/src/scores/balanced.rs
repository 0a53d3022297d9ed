//! `NodeResourcesBalancedAllocation`.

use alloc::vec::Vec;

use foretell_framework::{ClusterState, NodeId, Score, TaskSpec};

use super::MAX_NODE_SCORE;
use super::resource::{Counted, WeightedResource};

/// Whether the task brings the shares of resources in use closer together. 75 if it changes nothing, up to 100 if it
/// does, down to 50 if it does the opposite.
pub struct BalancedAllocation {
    resources: Vec<WeightedResource>,
    /// What the resources are, `None` where the cluster does not know the name yet.
    counted: Vec<Option<Counted>>,
}

impl Default for BalancedAllocation {
    fn default() -> Self {
        Self::new(WeightedResource::cpu_and_memory())
    }
}

impl BalancedAllocation {
    /// Over these resources; weights do not matter.
    pub fn new(resources: Vec<WeightedResource>) -> Self {
        let counted = resources.iter().map(|_| None).collect();
        Self { resources, counted }
    }
}

impl Score for BalancedAllocation {
    fn name(&self) -> &'static str {
        "NodeResourcesBalancedAllocation"
    }

    fn applies(&self, state: &ClusterState, task: &TaskSpec) -> bool {
        let mut counted = self.resources.iter().filter_map(|resource| Counted::find(state, &resource.name));
        counted.any(|counted| counted.requested(task) > 0)
    }

    /// A task that requests none of the resources scores 0 everywhere, which is as good as being left out.
    fn score(&mut self, state: &ClusterState, task: &TaskSpec, node: NodeId) -> i64 {
        let (mut before, mut after) = (Shares::default(), Shares::default());
        let mut requests_any = false;
        for (resource, counted) in self.resources.iter().zip(&mut self.counted) {
            if counted.is_none() {
                *counted = Counted::find(state, &resource.name);
            }
            let Some(counted) = *counted else { continue };
            let requested = counted.requested(task);
            requests_any |= requested > 0;
            if let Some((used, allocatable)) = counted.usage(state, task, node) {
                before.add(used, allocatable);
                after.add(used + requested, allocatable);
            }
        }
        if !requests_any {
            return 0;
        }
        let half = MAX_NODE_SCORE / 2;
        half + (half + after.balance() - before.balance()) / 2
    }
}

/// Shares in use of resources. The first two are kept apart, since there are seldom more.
#[derive(Default)]
struct Shares {
    count: usize,
    first: [f64; 2],
    others: Vec<f64>,
}

impl Shares {
    fn add(&mut self, used: u64, allocatable: u64) {
        let share = (used as f64 / allocatable as f64).min(1.0);
        match self.first.get_mut(self.count) {
            Some(slot) => *slot = share,
            None => self.others.push(share),
        }
        self.count += 1;
    }

    /// 100 if the shares are equal, 50 if they are as far apart as can be: 1 less their standard deviation.
    fn balance(&self) -> i64 {
        let deviation = match self.count {
            0 | 1 => 0.0,
            2 => ((self.first[0] - self.first[1]) / 2.0).abs(),
            count => {
                let shares = || self.first.iter().chain(&self.others);
                let mean = shares().sum::<f64>() / count as f64;
                let squares: f64 = shares().map(|share| (share - mean) * (share - mean)).sum();
                libm::sqrt(squares / count as f64)
            }
        };
        ((1.0 - deviation) * MAX_NODE_SCORE as f64) as i64
    }
}
