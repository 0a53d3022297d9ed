//! First come, first served.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::{Allocation, JobId, JobView, Policy, Share, Solver, Unit, View};

/// What FIFO knows of the jobs.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum FifoMode {
    /// Nothing of throughputs: a job stays where it was put.
    Agnostic,
    /// Throughputs alone: each job on the type where it is fastest among those with room.
    Fastest,
    /// As `Fastest`, and jobs that find no room join one that runs, where both together do this many times what one
    /// does alone.
    Packed {
        /// The least sum of normalised throughputs.
        threshold: f64,
    },
}

/// First come, first served: the first job that does not fit holds up all behind it.
///
/// The agnostic mode follows what Gavel's code does rather than what it says. A type of GPU is drawn at random among
/// those with room, but the job is put on, and counted against, the last type looked at: types with idle GPUs are
/// looked at from the last to the first, and so the first type is taken as long as one of its GPUs is idle, even by jobs
/// for which too few are. Those GPUs are then promised to more jobs than they can hold, which take turns. This is
/// inferred from the published figures, which it meets and no plainer reading does.
pub struct Fifo {
    mode: FifoMode,
    placed: BTreeMap<Unit, usize>,
}

impl Fifo {
    /// With no job placed.
    pub fn new(mode: FifoMode) -> Self {
        Self { mode, placed: BTreeMap::new() }
    }

    /// Frees what ended; where a job ended, the head of the queue takes its type if it has room.
    fn replace_ended(&mut self, jobs: &BTreeMap<JobId, &JobView>, room: &mut [i64], queue: &mut Vec<JobId>) {
        for (unit, gpu_type) in self.placed.clone() {
            if let Some(job) = jobs.get(&unit.first) {
                room[gpu_type] -= i64::from(job.scale_factor);
                continue;
            }
            self.placed.remove(&unit);
            let Some(head) = queue.first().map(|id| jobs[id]) else { continue };
            if i64::from(head.scale_factor) <= room[gpu_type] && head.throughputs[gpu_type] > 0.0 {
                room[gpu_type] -= i64::from(head.scale_factor);
                self.placed.insert(Unit::single(head.id), gpu_type);
                queue.remove(0);
            }
        }
    }

    /// Puts the queue's jobs on types from `idle` until one fits nowhere; what is left of the queue stays in it.
    fn place_queue(
        &mut self,
        jobs: &BTreeMap<JobId, &JobView>,
        room: &mut [i64],
        queue: &mut Vec<JobId>,
        draw: &mut dyn FnMut(usize) -> usize,
    ) {
        let mut idle: Vec<usize> = (0..room.len()).rev().filter(|&gpu_type| room[gpu_type] > 0).collect();
        while let (Some(job), Some(&last)) = (queue.first().map(|id| jobs[id]), idle.last()) {
            let needs = i64::from(job.scale_factor);
            let fitting: Vec<usize> = (0..idle.len()).filter(|&at| room[idle[at]] >= needs).collect();
            queue.remove(0);
            if fitting.is_empty() {
                return;
            }
            let (gpu_type, at) = match self.mode {
                FifoMode::Agnostic => (last, fitting[draw(fitting.len())]),
                FifoMode::Fastest | FifoMode::Packed { .. } => {
                    let slower = |&one: &usize, &other: &usize| {
                        job.throughputs[idle[one]].total_cmp(&job.throughputs[idle[other]])
                    };
                    let at = fitting.into_iter().rev().max_by(slower).unwrap_or_default();
                    (idle[at], at)
                }
            };
            // A job that cannot run where there is room holds nobody up.
            if job.throughputs[gpu_type] <= 0.0 {
                continue;
            }
            self.placed.insert(Unit::single(job.id), gpu_type);
            room[gpu_type] -= needs;
            if room[gpu_type] == 0 {
                idle.remove(at);
            }
        }
    }

    /// Lets jobs of the queue join placed jobs, best pair first, until one finds no worthwhile company.
    fn pack(&mut self, view: &View<'_>, jobs: &BTreeMap<JobId, &JobView>, queue: &[JobId], threshold: f64) {
        for id in queue {
            let job = jobs[id];
            let mut best = (threshold, None);
            for (&unit, &gpu_type) in &self.placed {
                let host = jobs[&unit.first];
                if unit.second.is_some() || host.scale_factor != job.scale_factor {
                    continue;
                }
                let (ours, theirs) = view.pairs.together(job.class, host.class, gpu_type);
                let alone = (job.throughputs[gpu_type], host.throughputs[gpu_type]);
                if alone.0 <= 0.0 || alone.1 <= 0.0 {
                    continue;
                }
                let sum = ours / alone.0 + theirs / alone.1;
                if sum > best.0 {
                    best = (sum, Some((unit, gpu_type)));
                }
            }
            let (_, Some((unit, gpu_type))) = best else { return };
            self.placed.remove(&unit);
            self.placed.insert(Unit::pair(unit.first, *id), gpu_type);
        }
    }
}

impl Policy for Fifo {
    fn allocate(
        &mut self,
        view: &View<'_>,
        _solver: &mut dyn Solver,
        draw: &mut dyn FnMut(usize) -> usize,
    ) -> Allocation {
        if self.mode != FifoMode::Agnostic {
            self.placed.clear();
        }
        let jobs: BTreeMap<JobId, &JobView> = view.jobs.iter().map(|job| (job.id, job)).collect();
        let mut room: Vec<i64> = view.workers.iter().map(|&count| i64::from(count)).collect();
        let mut queue: Vec<JobId> =
            jobs.keys().copied().filter(|&id| !self.placed.contains_key(&Unit::single(id))).collect();
        self.replace_ended(&jobs, &mut room, &mut queue);
        self.place_queue(&jobs, &mut room, &mut queue, draw);
        if let FifoMode::Packed { threshold } = self.mode {
            self.pack(view, &jobs, &queue, threshold);
        }
        let types = view.workers.len();
        self.placed.iter().map(|(&unit, &gpu_type)| Share::whole(unit, gpu_type, types)).collect()
    }

    fn keeps_idle(&self) -> bool {
        true
    }
}
