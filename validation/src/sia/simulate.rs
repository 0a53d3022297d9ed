//! Intervals: who runs where is decided at the beginning of each, and jobs advance until its end.

use foretell_goodput::{GoodputTable, JobView, Placement, doubled, node_types, shape_of};

use super::world::{Speeds, World};

/// A job of a workload.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Job {
    /// Its application.
    pub(super) application: String,
    /// When it arrives.
    pub(super) arrival_s: f64,
    /// GPUs and batch with which its user would run it.
    pub(super) gpus: u32,
    /// See above.
    pub(super) batch: u32,
}

/// What came of a workload.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Outcome {
    /// Seconds from arrival to end, by rising duration.
    pub(super) completion_s: Vec<f64>,
    /// When the last job ended.
    pub(super) makespan_s: f64,
    /// GPU-seconds of all jobs.
    pub(super) gpu_s: f64,
    /// Jobs that have arrived and not ended: mean over intervals.
    pub(super) contention: f64,
    /// Starts after the first, of all jobs.
    pub(super) restarts: u32,
    /// Jobs that have not ended when the run was given up.
    pub(super) stuck: usize,
}

/// Seconds for which a job does nothing after each change of its GPUs, the first start included: Pollux' simulator has
/// them, from memory.
pub(super) const RESTART_S: f64 = 30.0;

/// No run is longer.
const MOST_INTERVALS: u32 = 100_000;

/// A job that has arrived and not ended.
pub(super) struct Active<'a> {
    /// Its place in the workload.
    pub(super) id: usize,
    /// The job.
    pub(super) job: &'a Job,
    /// How fast it is.
    pub(super) speeds: &'a Speeds<'a>,
    /// Where it runs.
    pub(super) placement: Placement,
    /// How often it has started.
    pub(super) starts: u32,
    /// Most GPUs that it has had.
    pub(super) gpus_had: u32,
    /// Seconds since its arrival.
    pub(super) age_s: f64,
    /// The epoch that it is in.
    pub(super) epoch: usize,
    progress: f64,
    delay_s: f64,
    gpu_s: f64,
}

impl<'a> Active<'a> {
    /// What a policy sees of it.
    pub(super) fn view<'b>(&'b self, goodput: &'b GoodputTable, current: &'b [(usize, u32)]) -> JobView<'b> {
        JobView {
            id: self.id as u64,
            gpus_least: 1,
            gpus_most: doubled(self.gpus_had, 1, self.speeds.gpus_most),
            goodput,
            age_s: self.age_s,
            restarts: self.starts.saturating_sub(1),
            restart_s: RESTART_S,
            current,
        }
    }

    fn new(id: usize, job: &'a Job, speeds: &'a Speeds<'a>) -> Self {
        Self {
            id,
            job,
            speeds,
            placement: Placement::new(),
            starts: 0,
            gpus_had: 0,
            age_s: 0.0,
            epoch: 0,
            progress: 0.0,
            delay_s: 0.0,
            gpu_s: 0.0,
        }
    }

    fn place(&mut self, placement: Placement) {
        if placement != self.placement && !placement.is_empty() {
            self.starts += 1;
            self.delay_s = RESTART_S;
        }
        let gpus = placement.iter().map(|&(_, gpus)| gpus).sum();
        self.gpus_had = self.gpus_had.max(gpus);
        self.placement = placement;
    }

    /// Advances for some seconds at the speed of each epoch. Says after how many seconds it ended, if it did.
    fn advance(&mut self, interval_s: f64, speed: impl Fn(&Self) -> f64) -> Option<f64> {
        let gpus: u32 = self.placement.iter().map(|&(_, gpus)| gpus).sum();
        let mut left_s = interval_s;
        if gpus > 0 {
            let waited_s = self.delay_s.min(left_s);
            self.delay_s -= waited_s;
            left_s -= waited_s;
            while left_s > 0.0 {
                let per_s = speed(self);
                let needed_s = (self.speeds.progress(self.epoch) - self.progress) / per_s;
                if needed_s > left_s {
                    self.progress += per_s * left_s;
                    break;
                }
                left_s -= needed_s;
                self.progress = self.speeds.progress(self.epoch);
                self.epoch += 1;
                if self.epoch == self.speeds.elastic.len() {
                    self.gpu_s += f64::from(gpus) * (interval_s - left_s);
                    return Some(interval_s - left_s);
                }
            }
        }
        self.gpu_s += f64::from(gpus) * interval_s;
        self.age_s += interval_s;
        None
    }
}

/// Who runs where.
pub(super) trait Scheduler {
    /// Seconds from decision to decision.
    fn interval_s(&self) -> f64;

    /// Where each job runs in the coming interval.
    fn allocate(&mut self, world: &World<'_>, jobs: &[Active<'_>]) -> Vec<Placement>;

    /// How fast a job that has GPUs runs: with the best batch for its shape.
    fn speed(&self, types: &[usize], job: &Active<'_>) -> f64 {
        let shape = shape_of(&job.placement, types);
        shape.map_or(0.0, |shape| job.speeds.elastic[job.epoch].goodput(shape))
    }
}

/// Runs a workload, whose jobs are in order of arrival and of known applications.
pub(super) fn simulate(world: &World<'_>, jobs: &[Job], scheduler: &mut dyn Scheduler) -> Outcome {
    let types = node_types(&world.cluster);
    let interval_s = scheduler.interval_s();
    let mut coming = jobs.iter().enumerate().peekable();
    let mut active: Vec<Active<'_>> = Vec::new();
    let mut outcome = Outcome {
        completion_s: Vec::with_capacity(jobs.len()),
        makespan_s: 0.0,
        gpu_s: 0.0,
        contention: 0.0,
        restarts: 0,
        stuck: 0,
    };
    let mut rounds = 0;
    while (coming.peek().is_some() || !active.is_empty()) && rounds < MOST_INTERVALS {
        let now_s = f64::from(rounds) * interval_s;
        while let Some((id, job)) = coming.next_if(|(_, job)| job.arrival_s <= now_s) {
            if let Some(speeds) = world.applications.get(job.application.as_str()) {
                let mut arrived = Active::new(id, job, speeds);
                arrived.age_s = now_s - job.arrival_s;
                active.push(arrived);
            }
        }
        for (job, placement) in scheduler.allocate(world, &active).into_iter().enumerate() {
            active[job].place(placement);
        }
        outcome.contention += active.len() as f64;
        active.retain_mut(|job| {
            let Some(after_s) = job.advance(interval_s, |job| scheduler.speed(&types, job)) else {
                return true;
            };
            outcome.completion_s.push(now_s + after_s - job.job.arrival_s);
            outcome.makespan_s = outcome.makespan_s.max(now_s + after_s);
            outcome.gpu_s += job.gpu_s;
            outcome.restarts += job.starts - 1;
            false
        });
        rounds += 1;
    }
    outcome.contention /= f64::from(rounds.max(1));
    outcome.stuck = jobs.len() - outcome.completion_s.len();
    outcome.completion_s.sort_by(f64::total_cmp);
    outcome
}
