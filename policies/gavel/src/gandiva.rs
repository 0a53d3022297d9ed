//! Gandiva (OSDI'18) as Gavel states it: pairs are tried at random and kept while they pay.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use crate::shares::isolated_shares;
use crate::{Allocation, JobId, JobView, Policy, Share, Solver, Unit, View};

/// All units have equal parts of the cluster. Where jobs ask for more GPUs than there are, jobs with as many GPUs are
/// paired at random; a pair that does less than its jobs in turns is given up.
#[derive(Default)]
pub struct Gandiva {
    partners: BTreeMap<JobId, JobId>,
}

impl Gandiva {
    /// Whether two jobs together do at least what they do in turns, on every type on which both run.
    fn pays(view: &View<'_>, one: &JobView, other: &JobView) -> bool {
        (0..view.workers.len()).all(|gpu_type| {
            let (alone, other_alone) = (one.throughputs[gpu_type], other.throughputs[gpu_type]);
            let (ours, theirs) = view.pairs.together(one.class, other.class, gpu_type);
            alone <= 0.0 || other_alone <= 0.0 || ours / alone + theirs / other_alone >= 1.0
        })
    }

    fn pair_up(&mut self, view: &View<'_>, draw: &mut dyn FnMut(usize) -> usize) {
        let jobs: BTreeMap<JobId, &JobView> = view.jobs.iter().map(|job| (job.id, job)).collect();
        self.partners.retain(|one, other| jobs.contains_key(one) && jobs.contains_key(other));
        let free = |partners: &BTreeMap<JobId, JobId>| {
            view.jobs.iter().filter(|job| !partners.contains_key(&job.id)).collect::<Vec<_>>()
        };
        // As many attempts as jobs: a pair is tried for a round or more before it is known not to pay.
        for _ in 0..view.jobs.len() {
            let single = free(&self.partners);
            if single.len() < 2 {
                return;
            }
            let (one, other) = (single[draw(single.len())], single[draw(single.len())]);
            if one.id != other.id && one.scale_factor == other.scale_factor && Self::pays(view, one, other) {
                self.partners.insert(one.id, other.id);
                self.partners.insert(other.id, one.id);
            }
        }
    }
}

impl Policy for Gandiva {
    fn allocate(
        &mut self,
        view: &View<'_>,
        _solver: &mut dyn Solver,
        draw: &mut dyn FnMut(usize) -> usize,
    ) -> Allocation {
        let wanted: u32 = view.jobs.iter().map(|job| job.scale_factor).sum();
        if wanted <= view.workers.iter().sum() {
            self.partners.clear();
        } else {
            self.pair_up(view, draw);
        }
        let unit = |job: &JobView| {
            let unit = self.partners.get(&job.id).map(|&other| Unit::pair(job.id, other));
            (unit.unwrap_or(Unit::single(job.id)), job.scale_factor)
        };
        let units: BTreeSet<(Unit, u32)> = view.jobs.iter().map(unit).collect();
        units
            .iter()
            .map(|&(unit, scale_factor)| Share {
                unit,
                fractions: isolated_shares(scale_factor, units.len(), view.workers),
            })
            .collect()
    }
}
