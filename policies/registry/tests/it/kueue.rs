//! Kueue's admission on queues of a cluster: what is lent is taken back, jobs are admitted and displaced whole.

use foretell_framework::{
    ClusterEvent, ClusterState, Decision, JobId, JobSpec, Profile, Quota, Session, TaskStatus, Time,
};
use foretell_registry::{PolicyConfig, build};
use foretell_testkit::placement::random;
use foretell_testkit::{check_invariants, cluster, task_spec};
use proptest::prelude::*;
use proptest::sample::select;

/// A cluster under one of the profiles, driven by hand.
struct Platform {
    state: ClusterState,
    profile: Profile,
    now: u64,
}

fn gpus(gpus: u64) -> Quota {
    Quota { gpu_milli: Some(gpus * 1000), ..Quota::default() }
}

impl Platform {
    /// Two nodes with four GPUs; queues with what they deserve and the most that they may hold.
    fn new(profile: &str, queues: &[(&str, u64, u64)]) -> Self {
        let mut state = cluster("n1: 4xA100 cpu=64\nn2: 4xA100 cpu=64");
        for &(name, deserved, capability) in queues {
            let queue = state.queue_id(name);
            let mut spec = state.queue(queue).spec.clone();
            (spec.deserved, spec.capability) = (gpus(deserved), gpus(capability));
            state.set_queue_spec(queue, spec);
        }
        let profile = build(profile, &PolicyConfig::default()).unwrap();
        Self { state, profile, now: 0 }
    }

    /// Submits a job of some tasks with one GPU.
    fn submit(&mut self, queue: &str, tasks: u32, priority: i32) -> JobId {
        let spec = task_spec(&mut self.state, "1gpu cpu=1");
        let class = self.state.class(&spec);
        self.now += 1;
        let queue = self.state.queue_id(queue);
        let submitted = Time::from_nanos(self.now);
        let spec = JobSpec { priority, submitted, ..JobSpec::new(self.now, queue, [(class, tasks)]) };
        let job = self.state.add_job(spec);
        self.profile.notify(&self.state, ClusterEvent::JobAdded(job));
        job
    }

    /// Runs a cycle and carries out what it decides, but for letting evicted tasks go.
    fn cycle(&mut self) {
        self.now += 1;
        let (mut random, mut decisions) = (random(0), Vec::new());
        let now = Time::from_nanos(self.now);
        self.profile.cycle(&mut Session::new(&mut self.state, now, &mut random, &mut decisions));
        for decision in decisions {
            if let Decision::Bind { task, .. } = decision {
                self.state.start_task(task, now);
            }
        }
    }

    /// Lets evicted tasks go.
    fn settle(&mut self) {
        let leaving = self.state.tasks().filter(|(_, task)| task.status() == TaskStatus::Releasing);
        let leaving: Vec<_> = leaving.map(|(id, _)| id).collect();
        for task in leaving {
            self.state.requeue_task(task);
            self.profile.notify(&self.state, ClusterEvent::TaskWaiting(task));
        }
        self.profile.notify(&self.state, ClusterEvent::TasksReleased);
    }

    fn finish(&mut self, job: JobId) {
        self.profile.notify(&self.state, ClusterEvent::JobRemoved(job));
        self.state.remove_job(job);
        self.profile.notify(&self.state, ClusterEvent::TasksReleased);
    }

    /// How many tasks of each job run.
    fn running<const N: usize>(&self, jobs: [JobId; N]) -> [u32; N] {
        jobs.map(|job| self.state.job(job).map_or(0, |job| job.count(TaskStatus::Running)))
    }
}

const HALVES: [(&str, u64, u64); 2] = [("red", 4, 8), ("blue", 4, 8)];

#[test]
fn what_is_lent_is_taken_back_whole() {
    for profile in ["kueue", "kueue-fair"] {
        let mut platform = Platform::new(profile, &HALVES);
        let own = platform.submit("red", 3, 0);
        let borrows = platform.submit("red", 4, 0);
        platform.cycle();
        assert_eq!(platform.running([own, borrows]), [3, 4], "{profile}");
        let lender = platform.submit("blue", 4, 0);
        platform.cycle();
        assert_eq!(platform.running([own, borrows, lender]), [3, 0, 0], "{profile}: evicted, not yet gone");
        platform.settle();
        platform.cycle();
        assert_eq!(platform.running([own, borrows, lender]), [3, 0, 4], "{profile}");
        // It waits until there is quota again.
        platform.finish(own);
        platform.cycle();
        assert_eq!(platform.running([borrows, lender]), [4, 4], "{profile}");
    }
}

#[test]
fn priority_counts_within_a_queue_and_not_beyond() {
    let mut platform = Platform::new("kueue", &HALVES);
    let low = platform.submit("red", 4, 0);
    let other = platform.submit("blue", 4, 0);
    platform.cycle();
    let urgent = platform.submit("red", 4, 10);
    platform.cycle();
    platform.settle();
    platform.cycle();
    assert_eq!(platform.running([low, other, urgent]), [0, 4, 4]);
}

#[test]
fn a_queue_borrows_up_to_its_capability() {
    let mut platform = Platform::new("kueue", &[("red", 2, 5), ("blue", 6, 8)]);
    let jobs = [2, 2, 2, 1].map(|tasks| platform.submit("red", tasks, 0));
    platform.cycle();
    // The third is set aside, and does not block the last.
    assert_eq!(platform.running(jobs), [2, 2, 0, 1]);
}

#[test]
fn with_fair_shares_the_one_who_borrows_less_goes_first() {
    let queues = [("red", 0, 8), ("green", 0, 8), ("blue", 8, 8)];
    let check = |profile: &str, expected: [u32; 3]| {
        let mut platform = Platform::new(profile, &queues);
        let first = platform.submit("red", 4, 0);
        platform.cycle();
        let jobs = [first, platform.submit("red", 4, 1), platform.submit("green", 4, 0)];
        platform.cycle();
        assert_eq!(platform.running(jobs), expected, "{profile}");
    };
    check("kueue", [4, 4, 0]);
    check("kueue-fair", [4, 0, 4]);
}

/// Found at random: jobs that held quota and no node displaced each other in a circle, for ever.
#[test]
fn a_cycle_ends_though_jobs_could_displace_each_other_in_a_circle() {
    let mut platform = Platform::new("kueue", &[("red", 3, 3), ("blue", 4, 7)]);
    let mut submitted = Vec::new();
    let jobs = [
        ("blue", 1, 0),
        ("blue", 1, 0),
        ("blue", 1, 0),
        ("blue", 2, 2),
        ("blue", 2, 0),
        ("blue", 3, 0),
        ("red", 4, 0),
        ("red", 3, 0),
        ("blue", 4, 1),
        ("blue", 1, 0),
    ];
    for (index, (queue, tasks, priority)) in jobs.into_iter().enumerate() {
        submitted.push(platform.submit(queue, tasks, priority));
        platform.cycle();
        platform.settle();
        if index == 7 {
            platform.finish(submitted.remove(0));
        }
    }
    assert_eq!(check_invariants(&platform.state), Ok(()));
}

proptest! {
    #[test]
    fn jobs_are_whole_and_queues_within_capability(
        profile in select(vec!["kueue", "kueue-fair"]),
        capabilities in [1_u64..9, 1_u64..9],
        jobs in prop::collection::vec((any::<bool>(), 1_u32..5, 0..3), 1..12),
        finishes in prop::collection::vec(any::<bool>(), 12),
    ) {
        let [red, blue] = capabilities;
        let mut platform = Platform::new(profile, &[("red", red.min(4), red), ("blue", blue.min(4), blue)]);
        let mut submitted = Vec::new();
        for ((is_red, tasks, priority), finishes) in jobs.into_iter().zip(finishes) {
            submitted.push(platform.submit(if is_red { "red" } else { "blue" }, tasks, priority));
            platform.cycle();
            platform.settle();
            if finishes {
                platform.finish(submitted.remove(0));
            }
            prop_assert_eq!(check_invariants(&platform.state), Ok(()));
            for &job in &submitted {
                let job = platform.state.job(job).unwrap();
                prop_assert!([0, job.spec.min_member].contains(&job.placed()));
            }
            for (name, most) in [("red", red), ("blue", blue)] {
                let queue = platform.state.queue(platform.state.find_queue(name).unwrap());
                prop_assert!(queue.gpu_allocated_milli <= most * 1000, "{} holds too much", name);
            }
        }
    }
}
