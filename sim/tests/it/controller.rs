//! Jobs that a controller creates and deletes while the run goes on.

use std::collections::BTreeMap;

use foretell_sim::framework::{ClusterState, Time};
use foretell_sim::log::{JobStatus, Metrics, Record, RunResult, Sampling};
use foretell_sim::platform::{Action, Config, Controller, Simulation, Submission};

use crate::fixtures::{cluster, job, profile, typical};

/// What is wanted when: a job with so many GPUs and such a priority under a name, or its end.
#[derive(Clone, Copy)]
enum Wanted {
    Create(u64, u32, i32),
    Delete(u64),
}

/// Does what is written down.
struct Written {
    plan: Vec<(f64, Wanted)>,
    at: usize,
    jobs: BTreeMap<u64, u64>,
    seen: Vec<String>,
}

impl Controller for Written {
    fn next(&self) -> Option<Time> {
        self.plan.get(self.at).map(|&(at_s, _)| Time::from_s(at_s))
    }

    fn act(&mut self, now: Time) -> Vec<Action> {
        let mut actions = Vec::new();
        while self.next().is_some_and(|at| at <= now) {
            actions.push(match self.plan[self.at].1 {
                Wanted::Create(key, gpus, priority) => {
                    let submission = Submission { duration: None, priority, ..job(0.0, 0.0, 1, gpus) };
                    Action::Create { key, submission: Box::new(submission) }
                }
                Wanted::Delete(key) => Action::Delete { job: self.jobs[&key] },
            });
            self.at += 1;
        }
        actions
    }

    fn created(&mut self, key: u64, job: u64) {
        self.jobs.insert(key, job);
    }

    fn record(&mut self, now: Time, record: &Record<'_>, _state: &ClusterState) {
        let what = match *record {
            Record::JobStarted { job, .. } => format!("{job} starts"),
            Record::JobFinished { job, .. } => format!("{job} ends"),
            Record::JobStopped { job, .. } => format!("{job} stops"),
            Record::JobWithdrawn { job, .. } => format!("{job} withdrawn"),
            Record::JobNeverPlaced { job, .. } => format!("{job} never placed"),
            _ => return,
        };
        self.seen.push(format!("{} {what}", now.as_s()));
    }
}

fn run(gpus: &[u32], jobs: &[Submission], policy: &str, plan: &[(f64, Wanted)]) -> (RunResult, Vec<String>) {
    let mut controller = Written { plan: plan.to_vec(), at: 0, jobs: BTreeMap::new(), seen: Vec::new() };
    let mut metrics = Metrics::new(typical(jobs), Sampling::Auto);
    let workload = jobs.iter().cloned().map(Ok::<_, ()>);
    let state = cluster(gpus);
    let counts =
        Simulation::new(Config::default(), state, profile(policy, jobs), workload, &mut [&mut metrics])
            .controlled_by(&mut controller)
            .run(&mut |_| ())
            .unwrap();
    (
        metrics.finish(policy, 0, gpus.len() as u64, u64::from(gpus.iter().sum::<u32>()), counts),
        controller.seen,
    )
}

#[test]
fn a_controller_creates_and_deletes_while_others_come_and_go() {
    use JobStatus::{Cancelled, Completed, NeverPlaced};
    use Wanted::{Create, Delete};
    // Four GPUs. A replica of two from the beginning; a job of four waits for its end, and runs from 20 to 30 s. Another replica, wanted at 25 s,
    // waits until then; a third never gets a turn before it is deleted.
    let jobs = [job(5.0, 10.0, 1, 4)];
    let plan = [
        (0.0, Create(7, 2, 0)),
        (20.0, Delete(7)),
        (25.0, Create(8, 4, 0)),
        (26.0, Create(9, 1, 0)),
        (40.0, Delete(9)),
        (50.0, Delete(8)),
        (51.0, Create(10, 8, 0)),
    ];
    let (result, seen) = run(&[4], &jobs, "fifo+binpack", &plan);
    let expected = [
        "0 0 starts",
        "20 0 ends",
        "20 1 starts",
        "30 1 ends",
        "30 2 starts",
        "40 3 withdrawn",
        "50 2 ends",
        "51 4 never placed",
    ];
    assert_eq!(seen, expected);
    let status: Vec<JobStatus> = result.jobs.iter().map(|job| job.status).collect();
    assert_eq!(status, [Completed, Completed, Completed, Cancelled, NeverPlaced]);
    // 2 GPUs for 20 s, 4 for 10 s, 4 for 20 s.
    let times: Vec<_> = result.jobs.iter().map(|job| (job.start, job.finish)).collect();
    let at = |s: f64| Some(Time::from_s(s));
    assert_eq!(
        times,
        [(at(0.0), at(20.0)), (at(20.0), at(30.0)), (at(30.0), at(50.0)), (None, None), (None, None)]
    );
}

#[test]
fn a_run_without_a_workload_goes_on_while_the_controller_acts() {
    use Wanted::{Create, Delete};
    let plan = [(100.0, Create(1, 1, 0)), (7200.0, Delete(1)), (90_000.0, Create(2, 1, 0))];
    let (result, seen) = run(&[1], &[], "fifo+binpack", &plan);
    assert_eq!(seen, ["100 0 starts", "7200 0 ends", "90000 1 starts"]);
    assert_eq!(result.jobs[1].status, JobStatus::Running);
}
