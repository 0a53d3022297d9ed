//! What becomes of jobs whose pods are evicted.

use std::collections::BTreeMap;

use foretell_sim::engine::Budget;
use foretell_sim::framework::plugin::{Action, ClusterEvent};
use foretell_sim::framework::select::{BestFitGpus, BestNode};
use foretell_sim::framework::{
    ClusterState, EvictionReason, JobId, Plugins, Profile, Reason, RestartCost, Session, TaskId, TaskStatus,
    Time,
};
use foretell_sim::log::{EvictionOutcome, JobStatus, Observer, Record};
use foretell_sim::platform::{CheckpointCost, Checkpoints, Config, PreemptionCost, Role, Submission};
use proptest::prelude::*;
use rand::RngExt;

use crate::fixtures::{cluster, job, observe_profile, pod, profile, simulate_profile};

/// Which running pods go in this cycle, as (sequence number of the job, rank).
type Victims = dyn FnMut(&mut Session<'_>) -> Vec<(u64, u32)>;

/// Places jobs as another profile does, after evicting pods.
struct Evict {
    inner: Profile,
    victims: Box<Victims>,
}

impl Action for Evict {
    fn name(&self) -> &'static str {
        "evict"
    }

    fn notify(&mut self, state: &ClusterState, _plugins: &mut Plugins, event: ClusterEvent) {
        self.inner.notify(state, event);
    }

    fn run(&mut self, session: &mut Session<'_>, _plugins: &mut Plugins) {
        let victims = (self.victims)(session);
        let find = |state: &ClusterState, (sequence, rank): (u64, u32)| {
            let (_, job) = state.jobs().find(|(_, job)| job.spec.sequence == sequence)?;
            job.tasks().get(rank as usize).copied()
        };
        let victims: Vec<TaskId> =
            victims.into_iter().filter_map(|victim| find(session.state(), victim)).collect();
        let (mut transaction, _) = session.begin();
        for victim in victims {
            transaction.evict(victim, EvictionReason::Preempted, None).unwrap();
        }
        transaction.commit();
        self.inner.cycle(session);
    }

    fn explain(&mut self, session: &mut Session<'_>, _plugins: &mut Plugins, job: JobId) -> Option<Reason> {
        Some(self.inner.explain(session, job))
    }
}

fn evicting(inner: Profile, victims: impl FnMut(&mut Session<'_>) -> Vec<(u64, u32)> + 'static) -> Profile {
    let plugins = Plugins::new(Box::new(BestNode), Box::new(BestFitGpus));
    let victims = Box::new(victims);
    Profile::new("evicting".into(), plugins, vec![Box::new(Evict { inner, victims })])
}

/// Evicts these pods of the first job in the first cycle from `at_s` on.
fn once(jobs: &[Submission], policy: &str, at_s: f64, ranks: &'static [u32]) -> Profile {
    let mut done = false;
    evicting(profile(policy, jobs), move |session| {
        if done || session.now < Time::from_s(at_s) {
            return Vec::new();
        }
        done = true;
        ranks.iter().map(|&rank| (0, rank)).collect()
    })
}

#[test]
fn a_policy_that_goes_round_at_one_instant_ends_the_run() {
    let jobs = [job(0.0, 10.0, 1, 1), job(0.0, 10.0, 1, 1), job(5.0, 10.0, 1, 1)];
    let is_running = |state: &ClusterState, sequence: u64| {
        let job = state.jobs().find(|(_, job)| job.spec.sequence == sequence).map(|(_, job)| job);
        job.and_then(|job| state.task(job.tasks()[0]))
            .is_some_and(|task| task.status() == TaskStatus::Running)
    };
    // Who is evicted leaves at once, so that another cycle places it again and evicts the other.
    let goes_round = evicting(profile("fifo+binpack", &jobs), move |session| {
        let first = (0..2).find(|&sequence| is_running(session.state(), sequence));
        first.filter(|_| session.now == Time::from_s(5.0)).map(|sequence| (sequence, 0)).into_iter().collect()
    });
    let budget = Budget { instant: Some(1000), ..Budget::default() };
    let config = Config { budget, ..Config::default() };
    let error = simulate_profile(&cluster(&[3]), &jobs, goes_round, config).unwrap_err();
    assert_eq!(
        error.to_string(),
        "more than 1000 events at 5.000 s simulated without an end: of the last, 250 were scheduling cycles, 125 departures \
         of evicted job 0, 125 departures of evicted job 1, 125 evictions of job 0, 125 evictions of job 1, 125 starts of \
         job 0, 126 others"
    );
}

fn cost(checkpoint_s: Option<f64>, restart_s: f64, grace_s: f64) -> Config {
    let every = |interval_s| Checkpoints::Every(Time::from_s(interval_s));
    let preemption = PreemptionCost {
        checkpoints: checkpoint_s.map_or(Checkpoints::Never, every),
        checkpoint_cost: CheckpointCost::default(),
        restart_cost: RestartCost::of_every_job(Time::from_s(restart_s)),
        resize_cost: Time::ZERO,
        termination_grace: Time::from_s(grace_s),
    };
    Config { preemption, ..Config::default() }
}

/// A gang of two pods on the only two GPUs, 100 s long; pod 0 is evicted at 34 s, when the second job arrives.
#[track_caller]
fn check_gang(policy: &str, config: Config, expected: [(f64, f64); 2], lost_gpu_s: u128) {
    let jobs = [job(0.0, 100.0, 2, 1), job(34.0, 10.0, 1, 2)];
    let evict = once(&jobs, policy, 34.0, &[0]);
    let result = simulate_profile(&cluster(&[2]), &jobs, evict, config).unwrap();
    let times: Vec<_> =
        result.jobs.iter().map(|job| (job.start.unwrap().as_s(), job.finish.unwrap().as_s())).collect();
    assert_eq!(times, expected, "{policy}");
    assert_eq!(result.jobs[0].gpu_lost, lost_gpu_s * 1_000_000_000_000, "{policy}");
    assert_eq!((result.jobs[0].evictions, result.summary.evictions), (1, 1));
    assert_eq!(result.summary.jobs.completed, 2);
    let [eviction] = result.evictions.as_slice() else { panic!("{:?}", result.evictions) };
    assert_eq!((eviction.time.as_s(), eviction.job, eviction.pods), (34.0, 0, 1));
    assert!(matches!(eviction.outcome, EvictionOutcome::Stops { .. }), "{:?}", eviction.outcome);
}

#[test]
fn a_gang_that_loses_a_pod_stops_and_starts_again() {
    for policy in ["fifo+binpack", "fifo-skip+binpack"] {
        // It stands in line where it stood: first.
        check_gang(policy, cost(None, 0.0, 0.0), [(0.0, 134.0), (134.0, 144.0)], 68);
        check_gang(policy, cost(Some(10.0), 0.0, 0.0), [(0.0, 104.0), (104.0, 114.0)], 8);
        check_gang(policy, cost(Some(0.0), 0.0, 0.0), [(0.0, 100.0), (100.0, 110.0)], 0);
        check_gang(policy, cost(Some(10.0), 5.0, 0.0), [(0.0, 109.0), (109.0, 119.0)], 18);
        // Its pods hold their GPUs for the grace.
        check_gang(policy, cost(Some(10.0), 5.0, 3.0), [(0.0, 112.0), (112.0, 122.0)], 18);
    }
    // Pods that come back are new pods to kube-scheduler: they stand behind the second job.
    check_gang("default", cost(Some(10.0), 0.0, 3.0), [(0.0, 117.0), (37.0, 47.0)], 8);
}

#[test]
fn an_elastic_job_goes_on_with_the_pods_that_are_left() {
    let mut jobs = [job(0.0, 100.0, 4, 1)];
    jobs[0].roles[0].minimum = 2;
    let run = |ranks, config| {
        let result =
            simulate_profile(&cluster(&[4]), &jobs, once(&jobs, "fifo+binpack", 0.0, &[]), Config::default());
        assert_eq!(result.unwrap().jobs[0].finish, Some(Time::from_s(100.0)));
        // A second job, of no GPU, brings a cycle at 40 s.
        let jobs = [jobs[0].clone(), job(40.0, 1.0, 1, 0)];
        let evict = once(&jobs, "fifo+binpack", 40.0, ranks);
        let result = simulate_profile(&cluster(&[4]), &jobs, evict, config).unwrap();
        (result.jobs[0].finish.unwrap().as_s(), result.jobs[0].gpu_lost, result.evictions[0].outcome)
    };
    // For 20 s it runs with half its pods, and those that left come back: 10 s of the whole job are made up for.
    assert_eq!(run(&[0, 1], cost(None, 0.0, 20.0)), (110.0, 0, EvictionOutcome::GoesOn { pods: 2 }));
    let lost = 160_000_000_000_000;
    // The restart takes another 5 s of four GPUs.
    assert_eq!(
        run(&[0, 1, 2], cost(None, 5.0, 20.0)),
        (165.0, lost + 20_000_000_000_000, EvictionOutcome::Stops { lost })
    );
}

#[test]
fn a_job_needs_its_minimum_of_every_role() {
    // One parameter server and four workers, two of which it can do without.
    let server = foretell_sim::framework::TaskSpec { role: "ps".into(), ..pod(0) };
    let worker = foretell_sim::framework::TaskSpec { role: "worker".into(), ..pod(1) };
    let mut jobs = [job(0.0, 100.0, 1, 0), job(40.0, 1.0, 1, 0)];
    jobs[0].roles = vec![Role::gang(1, server), Role { count: 4, minimum: 2, spec: worker }];
    let outcome = |ranks| {
        let evict = once(&jobs, "fifo+binpack", 40.0, ranks);
        simulate_profile(&cluster(&[4]), &jobs, evict, cost(None, 0.0, 0.0)).unwrap().evictions[0].outcome
    };
    assert_eq!(outcome(&[1, 2]), EvictionOutcome::GoesOn { pods: 3 });
    assert!(matches!(outcome(&[0]), EvictionOutcome::Stops { .. }));
    assert!(matches!(outcome(&[1, 2, 3]), EvictionOutcome::Stops { .. }));
}

#[test]
fn a_pod_of_a_gang_that_is_not_whole_goes_alone() {
    // The gang gets one of the two nodes; its pod there is evicted, and comes back at once.
    let jobs = [job(0.0, 100.0, 1, 8), job(1.0, 10.0, 2, 8), job(2.0, 1.0, 1, 0)];
    let mut done = false;
    let evict = evicting(profile("default", &jobs), move |session| {
        let now = session.now == Time::from_s(2.0) && !std::mem::replace(&mut done, true);
        if now { vec![(1, 0)] } else { Vec::new() }
    });
    let result = simulate_profile(&cluster(&[8, 8]), &jobs, evict, cost(None, 0.0, 5.0)).unwrap();
    assert_eq!(result.evictions[0].outcome, EvictionOutcome::DidNotRun);
    assert_eq!(result.jobs[1].finish, Some(Time::from_s(110.0)));
    // Of the 99 s that its pod waited for the other, 5 s are those in which it was gone.
    assert!((result.summary.gpu_partial_s - 8.0 * 94.0).abs() < 1e-6, "{}", result.summary.gpu_partial_s);
}

/// Watches a run: pods keep their ids, and no gang runs in part.
struct Watch {
    /// Pods that were told to stop compute on until that takes effect.
    decisions_are_instant: bool,
    tasks: BTreeMap<u64, Vec<TaskId>>,
}

impl Observer for Watch {
    fn advance(&mut self, _from: Time, _to: Time, state: &ClusterState) {
        for (_, job) in state.jobs() {
            let tasks = self.tasks.entry(job.spec.sequence).or_insert_with(|| job.tasks().to_vec());
            assert_eq!(tasks, job.tasks());
            let status =
                |status| tasks.iter().filter(|&&task| state.task(task).unwrap().status() == status).count();
            let running = status(TaskStatus::Running);
            assert!(
                !self.decisions_are_instant || running == 0 || running >= job.spec.min_member as usize,
                "{running} of {job:?}"
            );
            assert_eq!(running + status(TaskStatus::Bound), job.placed() as usize);
        }
    }

    fn record(&mut self, _now: Time, _record: &Record<'_>, _state: &ClusterState) {}
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// What a job held while it ran is its work and what it lost, whatever is evicted when.
    #[test]
    fn work_is_conserved_over_preemption(
        sizes in prop::collection::vec((0_u32..30, 1_u32..40, 1_u32..4, 0_u32..3, any::<bool>()), 1..25),
        policy in prop::sample::select(vec!["fifo+binpack", "fifo-skip+binpack", "sjf+spread"]),
        evict_share in 0.0..0.4_f64,
        latency_s in prop::sample::select(vec![0.0, 0.0, 0.5]),
        checkpoint_s in prop::option::of(prop::sample::select(vec![0.0, 3.0])),
        restart_s in prop::sample::select(vec![0.0, 2.0]),
        grace_s in prop::sample::select(vec![0.0, 1.5]),
        resize_s in prop::sample::select(vec![0.0, 0.75]),
        seed in any::<u64>(),
    ) {
        let mut clock_s = 0.0;
        let jobs: Vec<Submission> = sizes.iter().map(|&(gap, duration, tasks, gpus, elastic)| {
            clock_s += f64::from(gap);
            let mut submission = job(clock_s, f64::from(duration), tasks, gpus);
            if elastic {
                submission.roles[0].minimum = 1;
            }
            submission
        }).collect();
        let last_s = clock_s + 100.0;
        let evict = evicting(profile(policy, &jobs), move |session| {
            if session.now > Time::from_s(last_s) {
                return Vec::new();
            }
            let state = session.state();
            let placed = state.tasks().filter(|(_, task)| task.status().is_placed());
            let placed: Vec<_> = placed.map(|(_, task)| (state.job(task.job).unwrap().spec.sequence, task.rank)).collect();
            placed.into_iter().filter(|_| session.random.random_bool(evict_share)).collect()
        });
        let mut config = Config {
            seed,
            decision_latency: Time::from_s(latency_s),
            ..cost(checkpoint_s, restart_s, grace_s)
        };
        config.preemption.resize_cost = Time::from_s(resize_s);
        let mut watch = Watch { decisions_are_instant: latency_s <= 0.0, tasks: BTreeMap::new() };
        let result = observe_profile(&cluster(&[4, 2, 2]), &jobs, evict, config, &mut watch).unwrap();
        let (mut held, mut lost) = (0, 0);
        for (job, submission) in result.jobs.iter().zip(&jobs) {
            prop_assert!(matches!(job.status, JobStatus::Completed | JobStatus::NeverPlaced), "{:?}", job);
            if job.status == JobStatus::NeverPlaced {
                continue;
            }
            let work = u128::from(submission.gpu_milli_total()) * u128::from(submission.duration.unwrap().as_nanos());
            // An elastic job ends on the nanosecond after its work is done.
            let rounding = u128::from(submission.gpu_milli_total());
            let kept = job.gpu_held - job.gpu_lost;
            prop_assert!(kept >= work && kept < work + rounding.max(1), "{} of {}", kept, work);
            held += job.gpu_held;
            lost += job.gpu_lost;
        }
        let summary = &result.summary;
        prop_assert!((summary.gpu_lost_s - lost as f64 / 1e12).abs() < 1e-6);
        let groups: f64 = summary.by_queue.iter().map(|group| group.gpu_s).sum();
        prop_assert!((groups - held as f64 / 1e12).abs() < 1e-6);
        prop_assert!(summary.gpu_goodput <= summary.gpu_utilisation);
        prop_assert_eq!(summary.evictions, result.evictions.len() as u64);
    }
}
