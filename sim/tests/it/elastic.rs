//! Jobs that say how they scale: how fast they go as they grow and shrink.

use std::collections::BTreeMap;
use std::sync::Arc;

use foretell_sim::framework::plugin::{Action, ClusterEvent};
use foretell_sim::framework::select::{BestFitGpus, BestNode};
use foretell_sim::framework::{
    ClusterState, EvictionReason, GpuModelId, GpuModelSet, JobId, NodeSpec, Plugins, Profile, Reason,
    Resources, RestartCost, Scaling, ScalingPhase, Session, SpeedCurve, TaskId, TaskStatus, Time,
};
use foretell_sim::log::{JobStatus, Observer, Record, RunResult};
use foretell_sim::platform::{CheckpointCost, Checkpoints, Config, PreemptionCost, Submission};
use foretell_testkit::placement::legal;
use proptest::prelude::*;
use rand::RngExt;

use crate::fixtures::{cluster, job, observe_profile};

/// How many tasks of each job are to be placed, by sequence number, as of an instant.
type Sizes = dyn FnMut(&mut Session<'_>) -> BTreeMap<u64, usize>;

/// Gives jobs as many tasks as it is told, and looks again every second.
struct Resize {
    sizes: Box<Sizes>,
    until: Time,
}

impl Action for Resize {
    fn name(&self) -> &'static str {
        "resize"
    }

    fn follows_running_jobs(&self) -> bool {
        true
    }

    fn notify(&mut self, _state: &ClusterState, _plugins: &mut Plugins, _event: ClusterEvent) {}

    fn run(&mut self, session: &mut Session<'_>, plugins: &mut Plugins) {
        let sizes = (self.sizes)(session);
        if session.now < self.until {
            session.wake_by(session.now + Time::from_s(1.0));
        }
        let mut jobs: Vec<(u64, JobId)> =
            session.state().jobs().map(|(id, job)| (job.spec.sequence, id)).collect();
        jobs.sort_unstable();
        for (sequence, id) in jobs {
            let Some(&size) = sizes.get(&sequence) else { continue };
            let (mut transaction, random) = session.begin();
            let tasks = transaction.state().job(id).unwrap().tasks().to_vec();
            let status = |transaction: &foretell_sim::framework::Transaction<'_>, task: TaskId| {
                transaction.state().task(task).unwrap().status()
            };
            let (placed, waiting): (Vec<TaskId>, Vec<TaskId>) = tasks
                .into_iter()
                .filter(|&task| status(&transaction, task) != TaskStatus::Releasing)
                .partition(|&task| status(&transaction, task).is_placed());
            for &task in placed.iter().skip(size) {
                transaction.evict(task, EvictionReason::Shrunk, None).unwrap();
            }
            for &task in waiting.iter().take(size.saturating_sub(placed.len())) {
                let _full = plugins.place(&mut transaction, task, random);
            }
            if transaction.state().job(id).unwrap().placed()
                >= transaction.state().job(id).unwrap().spec.min_member
            {
                transaction.commit();
            }
        }
    }

    fn explain(&mut self, _session: &mut Session<'_>, _plugins: &mut Plugins, _job: JobId) -> Option<Reason> {
        None
    }
}

fn resizing(until_s: f64, sizes: impl FnMut(&mut Session<'_>) -> BTreeMap<u64, usize> + 'static) -> Profile {
    let plugins = Plugins::new(Box::new(BestNode), Box::new(BestFitGpus)).with_filters(legal());
    let action = Resize { sizes: Box::new(sizes), until: Time::from_s(until_s) };
    Profile::new("resizing".into(), plugins, vec![Box::new(action)])
}

/// A job of one GPU a task, from one of them up to as many as its speeds, in thousandths, tell.
fn elastic(submit_s: f64, duration_s: f64, asked: u32, speeds: &[u64]) -> Submission {
    let mut submission = job(submit_s, duration_s, speeds.len() as u32, 1);
    submission.roles[0].minimum = 1;
    let speeds: Vec<u64> = speeds.iter().map(|speed| speed * 1000).collect();
    submission.scaling = Some(Arc::new(Scaling::of_tasks(asked, speeds)));
    submission
}

fn config(resize_s: f64, grace_s: f64) -> Config {
    let preemption = PreemptionCost {
        checkpoints: Checkpoints::Never,
        checkpoint_cost: CheckpointCost::default(),
        restart_cost: RestartCost::default(),
        resize_cost: Time::from_s(resize_s),
        termination_grace: Time::from_s(grace_s),
    };
    Config { preemption, ..Config::default() }
}

/// Runs one job whose number of tasks changes at instants, in seconds.
fn run(
    cluster: &ClusterState,
    submission: Submission,
    sizes: &'static [(f64, usize)],
    config: Config,
) -> RunResult {
    let profile = resizing(1000.0, move |session| {
        let now = session.now;
        let size = sizes.iter().rfind(|&&(at_s, _)| Time::from_s(at_s) <= now).map_or(0, |&(_, size)| size);
        [(0, size)].into()
    });
    let mut heard = Heard::default();
    observe_profile(cluster, &[submission], profile, config, &mut heard).unwrap()
}

#[track_caller]
fn check(
    sizes: &'static [(f64, usize)],
    resize_s: f64,
    grace_s: f64,
    finish_s: f64,
    held_gpu_ms: u128,
    lost_gpu_ms: u128,
) {
    // Asks for two GPUs for 100 s; one is 0.6 as fast, four 1.5 times.
    let submission = elastic(0.0, 100.0, 2, &[600, 1000, 1250, 1500]);
    let result = run(&cluster(&[4]), submission, sizes, config(resize_s, grace_s));
    let job = &result.jobs[0];
    assert_eq!(job.finish.map(Time::as_s), Some(finish_s), "{sizes:?}");
    assert_eq!(job.gpu_held / 1_000_000_000, held_gpu_ms, "{sizes:?}");
    assert_eq!(job.gpu_lost / 1_000_000_000, lost_gpu_ms, "{sizes:?}");
    let changes = sizes.len() as u32 - 1;
    assert_eq!((job.resizes, job.evictions, result.evictions.len()), (changes, 0, 0), "{sizes:?}");
    assert_eq!((job.gpu_milli_total, result.summary.queue_length_mean), (2000, 0.0));
}

#[test]
fn a_job_goes_as_fast_as_its_law_says() {
    check(&[(0.0, 2)], 0.0, 0.0, 100.0, 200_000, 0);
    check(&[(0.0, 4)], 0.0, 0.0, 66.666_666_667, 266_666, 0);
    // 40 s at 1, then 60 s of work at 1.5.
    check(&[(0.0, 2), (40.0, 4)], 0.0, 0.0, 80.0, 240_000, 0);
    // The same with a pause of 10 s on four GPUs.
    check(&[(0.0, 2), (40.0, 4)], 10.0, 0.0, 90.0, 280_000, 40_000);
    // 40 s at 1.5 and 40 s of work at 0.6; what is told to go works no more, whatever its grace.
    check(&[(0.0, 4), (40.0, 1)], 0.0, 30.0, 106.666_666_667, 226_666, 0);
    // Each of two changes is paid for: 30 at 1.5, pause, 24 at 0.6, pause, 46 at 1.
    check(&[(0.0, 4), (20.0, 1), (65.0, 2)], 5.0, 0.0, 116.0, 227_000, 15_000);
}

#[test]
fn spread_and_gpu_model_slow_a_job_down() {
    let mut state = cluster(&[2, 2]);
    let t4 = state.gpu_model("T4").unwrap();
    let allocatable = Resources::new(32_000, 64 << 30);
    state.add_node(NodeSpec { allocatable, gpus: 2, gpu_model: Some(t4), ..NodeSpec::new("t4") }).unwrap();
    let a100 = state.gpu_model("A100").unwrap();
    let curve = |model: GpuModelId, one_node: &[u64], many_nodes: &[u64]| SpeedCurve {
        models: [model].into_iter().collect::<GpuModelSet>(),
        one_node: one_node.into(),
        many_nodes: many_nodes.into(),
    };
    let curves = vec![
        curve(a100, &[500_000, 1_000_000], &[0, 0, 0, 1_600_000]),
        curve(t4, &[100_000, 200_000], &[0, 0, 0, 320_000, 0, 400_000]),
    ];
    let law = Arc::new(Scaling::new(2, vec![ScalingPhase { from: 0, curves }]));
    // On one node of A100, on both, and on the T4s too, which set the pace: nodes are taken in order.
    for (sizes, finish_s) in
        [(&[(0.0, 2)][..], 100.0), (&[(0.0, 4)][..], 62.5), (&[(0.0, 4), (10.0, 6)][..], 220.0)]
    {
        let mut submission = elastic(0.0, 100.0, 2, &[1; 6]);
        submission.scaling = Some(Arc::clone(&law));
        let result = run(&state, submission, sizes, config(0.0, 0.0));
        // A curve that ends stays level.
        let got = result.jobs[0].finish.map(Time::as_s);
        assert_eq!(got, Some(finish_s), "{sizes:?}");
    }
}

#[test]
fn a_phase_changes_the_speed_by_itself() {
    let curve = |speed: u64| SpeedCurve {
        models: GpuModelSet::ANY,
        one_node: [500_000, speed].into(),
        many_nodes: Box::default(),
    };
    let phase = |from, speed| ScalingPhase { from, curves: vec![curve(speed)] };
    let mut submission = elastic(0.0, 100.0, 1, &[1; 2]);
    submission.scaling = Some(Arc::new(Scaling::new(
        1,
        vec![phase(0, 500_000), phase(250_000, 1_000_000), phase(750_000, 2_000_000)],
    )));
    // 50 s for the first quarter, 50 s for the half, 12.5 s for the last quarter.
    let result = run(&cluster(&[2]), submission.clone(), &[(0.0, 2)], config(3.0, 0.0));
    assert_eq!(result.jobs[0].finish.map(Time::as_s), Some(112.5));
    assert_eq!((result.jobs[0].resizes, result.jobs[0].gpu_lost), (0, 0));
    // On one GPU there are no phases to notice. At 100 s half is done, by which the second phase has begun.
    let result = run(&cluster(&[2]), submission, &[(0.0, 1), (100.0, 2)], config(0.0, 0.0));
    assert_eq!(result.jobs[0].finish.map(Time::as_s), Some(137.5));
}

#[test]
fn a_job_that_needs_less_is_not_taken_for_one_that_needs_more() {
    // Eight tasks on four GPUs: who needs all never runs, who needs one does.
    let rigid = job(0.0, 10.0, 8, 1);
    let mut elastic = job(1.0, 10.0, 8, 1);
    elastic.roles[0].minimum = 1;
    let jobs = [rigid, elastic];
    let result = crate::fixtures::simulate(&cluster(&[4]), &jobs, "fifo+binpack", Config::default()).unwrap();
    let statuses: Vec<_> = result.jobs.iter().map(|job| job.status).collect();
    assert_eq!(statuses, [JobStatus::NeverPlaced, JobStatus::Completed]);
}

#[test]
fn a_deadline_is_met_or_not() {
    let mut jobs = [job(0.0, 10.0, 1, 1), job(0.0, 10.0, 1, 1), job(0.0, 10.0, 1, 1), job(0.0, 10.0, 1, 1)];
    for (job, deadline_s) in jobs.iter_mut().zip([10.0, 19.0, 30.0]) {
        job.deadline = Some(Time::from_s(deadline_s));
    }
    let result = crate::fixtures::simulate(&cluster(&[1]), &jobs, "fifo+binpack", Config::default()).unwrap();
    let met: Vec<_> = result.jobs.iter().map(foretell_sim::log::JobResult::met_deadline).collect();
    assert_eq!(met, [Some(true), Some(false), Some(true), None]);
    assert_eq!((result.summary.deadlines, result.summary.deadlines_met), (3, 2));
}

/// What is heard of jobs: what they have done by their law, pauses taken off, in millionths times nanoseconds.
#[derive(Default)]
struct Heard {
    /// By job: GPUs since when, and from when it computes on them.
    runs: BTreeMap<u64, (u64, Time)>,
    laws: BTreeMap<u64, Arc<Scaling>>,
    starts: BTreeMap<u64, Time>,
    done: BTreeMap<u64, u128>,
    resize_cost: Time,
}

impl Heard {
    fn settle(&mut self, job: u64, now: Time) {
        if let Some(&(gpus, from)) = self.runs.get(&job) {
            let speed = self.laws[&job].speed(0, gpus as u32, GpuModelId::new(0), true);
            *self.done.entry(job).or_default() += u128::from(speed) * u128::from(now.since(from).as_nanos());
        }
    }
}

impl Observer for Heard {
    fn advance(&mut self, _from: Time, _to: Time, _state: &ClusterState) {}

    fn record(&mut self, now: Time, record: &Record<'_>, _state: &ClusterState) {
        match *record {
            Record::JobSubmitted { job, submission } => {
                self.laws.insert(job, Arc::clone(submission.scaling.as_ref().unwrap()));
            }
            Record::JobStarted { job, gpu_milli } => {
                self.starts.insert(job, now);
                self.runs.insert(job, (gpu_milli / 1000, now));
            }
            Record::JobResized { job, to_gpu_milli, .. } => {
                self.settle(job, now);
                let paused = if self.starts[&job] == now { now } else { now + self.resize_cost };
                self.runs.insert(job, (to_gpu_milli / 1000, paused));
            }
            Record::JobFinished { job, .. } => {
                self.settle(job, now);
                self.runs.remove(&job);
            }
            _ => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// What a job does at the speeds of its law, pauses taken off, is its work, to the rounding of its last nanosecond;
    /// however it is resized.
    #[test]
    fn work_by_the_law_is_conserved(
        shapes in prop::collection::vec((0_u32..20, 1_u32..60, prop::collection::vec(1_u64..500, 1..6), 0_usize..6), 1..8),
        resize_s in prop::sample::select(vec![0.0, 0.5, 3.0]),
        grace_s in prop::sample::select(vec![0.0, 1.5]),
        seed in any::<u64>(),
    ) {
        let mut clock_s = 0.0;
        let jobs: Vec<Submission> = shapes.iter().map(|(gap, duration, gains, asked)| {
            clock_s += f64::from(*gap);
            let mut speeds: Vec<u64> = gains.iter().scan(0, |speed, gain| { *speed += gain; Some(*speed) }).collect();
            let asked = (*asked).min(speeds.len() - 1);
            let full = speeds[asked];
            for speed in &mut speeds {
                *speed = (*speed * 1000 / full).max(1);
            }
            elastic(clock_s, f64::from(*duration), asked as u32 + 1, &speeds)
        }).collect();
        let count = jobs.len() as u64;
        let profile = resizing(f64::MAX, move |session| {
            (0..count).map(|job| (job, session.random.random_range(1..6_usize))).collect()
        });
        let mut heard = Heard { resize_cost: Time::from_s(resize_s), ..Heard::default() };
        let config = Config { seed, ..config(resize_s, grace_s) };
        let result = observe_profile(&cluster(&[16]), &jobs, profile, config, &mut heard).unwrap();
        for (index, (job, submission)) in result.jobs.iter().zip(&jobs).enumerate() {
            prop_assert_eq!(job.status, JobStatus::Completed);
            prop_assert_eq!(job.evictions, 0);
            let done = heard.done[&(index as u64)];
            let work = u128::from(submission.duration.unwrap().as_nanos()) * 1_000_000;
            // Speeds go up to a few thousand times full.
            prop_assert!(done >= work && done < work + 10_000_000_000, "{} of {}", done, work);
        }
    }
}
