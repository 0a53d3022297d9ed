//! The `Allocate` action against the obvious loop over all waiting jobs.

mod backfill;

use std::collections::BTreeSet;

use foretell_framework::select::BestNode;
use foretell_framework::{
    Action, ClusterEvent, ClusterState, GpuRequest, Job, JobId, JobSpec, OrderJobs, Plugins, Reason,
    Resources, Session, TaskSpec, Time,
};
use foretell_ordering::{Allocate, FirstInFirstOut, HeadOfLine, PriorityFirst, ShortestJobFirst};
use foretell_testkit::{check_invariants, cluster, placement};
use proptest::prelude::*;

const CLUSTER: &str = "a: 4xA100 cpu=16
                       b: 2xA100 cpu=16
                       c: 4xA100 cpu=4";

#[derive(Clone, Debug)]
enum Step {
    Submit {
        tasks: u32,
        gpus: u32,
        queue: u8,
        priority: i32,
        duration_s: u8,
    },
    /// The job at this position among those that run, if there are any.
    Finish(usize),
    /// The job at this position among those that wait, if there are any.
    Withdraw(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let submit = (1_u32..4, 0_u32..5, 0_u8..2, 0_i32..2, any::<u8>()).prop_map(
        |(tasks, gpus, queue, priority, duration_s)| Step::Submit {
            tasks,
            gpus,
            queue,
            priority,
            duration_s,
        },
    );
    let step = prop_oneof![6 => submit, 4 => (0_usize..8).prop_map(Step::Finish), 1 => (0_usize..8).prop_map(Step::Withdraw)];
    prop::collection::vec(step, 1..60)
}

fn submit(state: &mut ClusterState, step: &Step, sequence: u64) -> Option<JobId> {
    let &Step::Submit { tasks, gpus, queue, priority, duration_s } = step else { return None };
    let gpus = if gpus == 0 { GpuRequest::share(400) } else { GpuRequest::whole(gpus) };
    let class = state.class(&TaskSpec { requests: Resources::new(1000, 0), gpus, ..TaskSpec::default() });
    let queue = state.queue_id(["one", "two"][usize::from(queue)]);
    Some(state.add_job(JobSpec {
        priority,
        submitted: Time::from_s(sequence as f64),
        expected_duration: Some(Time::from_s(f64::from(duration_s))),
        ..JobSpec::new(sequence, queue, [(class, tasks)])
    }))
}

fn plugins() -> Plugins {
    placement::plugins(BestNode).with_filters(placement::legal())
}

fn cycle<R>(state: &mut ClusterState, body: impl FnOnce(&mut Session<'_>) -> R) -> R {
    let (mut random, mut decisions) = (placement::random(0), Vec::new());
    body(&mut Session::new(state, Time::ZERO, &mut random, &mut decisions))
}

/// Every waiting job in order, with nothing remembered from before.
fn naive_cycle(state: &mut ClusterState, order: &dyn OrderJobs, head_of_line: HeadOfLine) {
    let mut waiting: Vec<_> = state
        .jobs()
        .filter(|(_, job)| !job.is_ready())
        .map(|(id, job)| {
            let key = (-job.spec.priority, order.key(&job.spec), job.spec.sequence);
            (key, id, job.spec.queue)
        })
        .collect();
    waiting.sort_unstable();
    let mut blocked = BTreeSet::new();
    for (_, id, queue) in waiting {
        if blocked.contains(&queue) {
            continue;
        }
        let placed = cycle(state, |session| {
            let (mut transaction, random) = session.begin();
            let tasks = transaction.state().job(id).unwrap().tasks().to_vec();
            let mut fresh = plugins();
            let placed = tasks.iter().all(|&task| fresh.place(&mut transaction, task, random).is_ok());
            if placed {
                transaction.commit();
            }
            placed
        });
        if !placed && head_of_line == HeadOfLine::Blocks {
            blocked.insert(queue);
        }
    }
}

fn nth_job(state: &ClusterState, position: usize, wanted: impl Fn(&Job) -> bool) -> Option<JobId> {
    let jobs: Vec<_> = state.jobs().filter(|(_, job)| wanted(job)).map(|(id, _)| id).collect();
    (!jobs.is_empty()).then(|| jobs[position % jobs.len()])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn lanes_decide_as_a_loop_over_all_jobs_does(steps in steps(), shortest in any::<bool>(), skip in any::<bool>()) {
        let order = || -> Box<dyn OrderJobs> {
            if shortest { Box::new(ShortestJobFirst) } else { Box::new(FirstInFirstOut) }
        };
        let head_of_line = if skip { HeadOfLine::IsSkipped } else { HeadOfLine::Blocks };
        let mut allocate = Allocate::new(vec![Box::new(PriorityFirst), order()], head_of_line);
        let mut kept_plugins = plugins();
        let mut state = cluster(CLUSTER);
        let mut naive = state.clone();
        for (sequence, step) in steps.iter().enumerate() {
            match *step {
                Step::Submit { .. } => {
                    let job = submit(&mut state, step, sequence as u64).unwrap();
                    submit(&mut naive, step, sequence as u64);
                    allocate.notify(&state, &mut kept_plugins, ClusterEvent::JobAdded(job));
                }
                Step::Finish(position) => {
                    if let Some(job) = nth_job(&state, position, Job::is_ready) {
                        state.remove_job(job);
                        naive.remove_job(job);
                        allocate.notify(&state, &mut kept_plugins, ClusterEvent::TasksReleased);
                    }
                }
                Step::Withdraw(position) => {
                    if let Some(job) = nth_job(&state, position, |job| !job.is_ready()) {
                        allocate.notify(&state, &mut kept_plugins, ClusterEvent::JobRemoved(job));
                        state.remove_job(job);
                        naive.remove_job(job);
                    }
                }
            }
            cycle(&mut state, |session| allocate.run(session, &mut kept_plugins));
            naive_cycle(&mut naive, &*order(), head_of_line);
            prop_assert_eq!(&state, &naive, "after step {}: {:?}", sequence, step);
            prop_assert!(check_invariants(&state).is_ok());
            for (id, job) in state.jobs() {
                prop_assert!(job.placed() == 0 || job.is_complete(), "job {:?} is placed in part", id);
            }
            // Explaining leaves no trace, and speaks of exactly the jobs that wait.
            let before = state.clone();
            let jobs: Vec<_> = state.jobs().map(|(id, job)| (id, job.is_ready())).collect();
            for (job, ready) in jobs {
                let reason = cycle(&mut state, |session| allocate.explain(session, &mut kept_plugins, job));
                prop_assert_eq!(reason.is_none(), ready);
                prop_assert_ne!(reason, Some(Reason::NotTried), "a job that fits was left waiting");
            }
            prop_assert_eq!(&state, &before);
        }
    }
}

#[test]
fn an_elastic_job_runs_with_its_minimum_and_grows_later() {
    let mut state = cluster("a: 2xA100 cpu=16");
    let class = state.class(&TaskSpec { gpus: GpuRequest::whole(1), ..TaskSpec::default() });
    let queue = state.queue_id("one");
    let spec = |sequence, min_member, tasks| JobSpec {
        min_member,
        ..JobSpec::new(sequence, queue, [(class, tasks)])
    };
    let (first, elastic) = (state.add_job(spec(0, 1, 1)), state.add_job(spec(1, 1, 2)));
    let mut allocate = Allocate::new(vec![Box::new(FirstInFirstOut)], HeadOfLine::Blocks);
    let mut plugins = plugins();
    for job in [first, elastic] {
        allocate.notify(&state, &mut plugins, ClusterEvent::JobAdded(job));
    }
    cycle(&mut state, |session| allocate.run(session, &mut plugins));
    assert_eq!(state.job(elastic).map(Job::placed), Some(1));
    state.remove_job(first);
    cycle(&mut state, |session| allocate.run(session, &mut plugins));
    assert_eq!(state.job(elastic).map(Job::placed), Some(2));
}
