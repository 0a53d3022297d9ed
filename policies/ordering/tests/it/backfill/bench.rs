//! A small cluster on which jobs come, run and end, under one action.

use std::collections::BTreeMap;
use std::rc::Rc;

use foretell_framework::select::BestNode;
use foretell_framework::{
    Action, ClusterEvent, ClusterState, Decision, Filter, JobId, JobSpec, OrderJobs, Plugins, Session, Time,
};
use foretell_ordering::{
    AdvanceReservation, Aging, Allocate, Backfill, BackfillConfig, FirstInFirstOut, HeadOfLine, Holds,
    HonourReservations, Keyed, PriorityFirst, Promises, Reorder, SharedHolds, ShortestRemaining,
};
use foretell_testkit::{check_invariants, job_spec, placement};

/// A job that will come.
#[derive(Clone, Debug, Default)]
pub(super) struct Coming {
    pub(super) name: String,
    pub(super) at_s: u64,
    pub(super) runs_s: u64,
    /// What the policy is told; the truth if `None`.
    pub(super) said_s: Option<u64>,
    pub(super) priority: i32,
    pub(super) queue: String,
    pub(super) user: String,
    /// As the testkit writes jobs.
    pub(super) tasks: String,
}

pub(super) fn seconds(seconds: u64) -> Time {
    Time::from_nanos(seconds * 1_000_000_000)
}

/// The run so far.
pub(super) struct Bench {
    pub(super) now: Time,
    pub(super) state: ClusterState,
    pub(super) holds: SharedHolds,
    pub(super) running: BTreeMap<JobId, Time>,
    pub(super) jobs: BTreeMap<JobId, Coming>,
    pub(super) starts: BTreeMap<String, Time>,
    /// Whether somebody asks after every cycle why jobs wait, which is answered from all promises.
    pub(super) is_asked: bool,
    action: Box<dyn Action>,
    plugins: Plugins,
}

impl Bench {
    pub(super) fn new(policy: &str, state: ClusterState, kept: Vec<AdvanceReservation>) -> Self {
        let holds = SharedHolds::new(Holds::new(kept).into());
        let orders: Vec<Box<dyn OrderJobs>> = vec![Box::new(PriorityFirst), Box::new(FirstInFirstOut)];
        let allocate =
            |orders, head| Box::new(Allocate::new(orders, head).with_reservations(Rc::clone(&holds)));
        let backfill = |orders, promises, config| Box::new(Backfill::new(orders, promises, config, &holds));
        let config = BackfillConfig::default();
        let action: Box<dyn Action> = match policy {
            "fifo" => allocate(orders, HeadOfLine::Blocks),
            "fifo-skip" => allocate(orders, HeadOfLine::IsSkipped),
            "aging" => allocate(vec![Box::new(Aging { per_point: seconds(10) })], HeadOfLine::Blocks),
            "easy" => backfill(orders, Promises::Heads, config),
            "easy-1" => backfill(orders, Promises::Heads, BackfillConfig { depth: 1 }),
            "conservative" => backfill(orders, Promises::All, config),
            // Nothing here preempts: all jobs fit by number of GPUs.
            "srtf" => {
                let discipline = Box::new(Keyed::new(Box::new(ShortestRemaining)));
                let reorder = Reorder::new(discipline, HeadOfLine::IsSkipped);
                Box::new(reorder.with_reservations(Rc::clone(&holds)))
            }
            _ => panic!("no policy `{policy}`"),
        };
        let honours: Box<dyn Filter> = Box::new(HonourReservations { holds: Rc::clone(&holds) });
        let plugins = placement::plugins(BestNode).with_filters([honours]);
        Self {
            now: Time::ZERO,
            state,
            holds,
            running: BTreeMap::new(),
            jobs: BTreeMap::new(),
            starts: BTreeMap::new(),
            is_asked: true,
            action,
            plugins,
        }
    }

    /// Runs all jobs to their end; `look` sees what holds after every cycle, with the job that came last.
    pub(super) fn run(&mut self, coming: &[Coming], mut look: impl FnMut(&mut Self, Option<JobId>)) {
        let mut coming: Vec<_> = coming.to_vec();
        coming.sort_by_key(|job| job.at_s);
        coming.reverse();
        let mut wake = None;
        loop {
            let arrival = coming.last().map(|job| seconds(job.at_s));
            let end = self.running.values().min().copied();
            let Some(next) = [arrival, end, wake].into_iter().flatten().min() else { break };
            self.now = next;
            self.end_jobs();
            let mut came = None;
            while let Some(job) = coming.pop_if(|job| seconds(job.at_s) <= next) {
                came = Some(self.submit(job));
            }
            wake = self.cycle();
            if self.is_asked {
                self.ask();
            }
            assert_eq!(check_invariants(&self.state), Ok(()));
            look(self, came);
        }
    }

    fn end_jobs(&mut self) {
        let now = self.now;
        let ended: Vec<_> = self.running.extract_if(.., |_, end| *end <= now).map(|(job, _)| job).collect();
        for job in ended {
            self.action.notify(&self.state, &mut self.plugins, ClusterEvent::JobRemoved(job));
            self.state.remove_job(job);
            self.action.notify(&self.state, &mut self.plugins, ClusterEvent::TasksReleased);
        }
    }

    fn submit(&mut self, job: Coming) -> JobId {
        let spec = job_spec(&mut self.state, &job.tasks);
        let queue = if job.queue.is_empty() { spec.queue } else { self.state.queue_id(&job.queue) };
        let id = self.state.add_job(JobSpec {
            sequence: self.jobs.len() as u64,
            queue,
            user: job.user.as_str().into(),
            priority: job.priority,
            submitted: self.now,
            expected_duration: Some(seconds(job.said_s.unwrap_or(job.runs_s))),
            ..spec
        });
        self.jobs.insert(id, job);
        self.action.notify(&self.state, &mut self.plugins, ClusterEvent::JobAdded(id));
        id
    }

    fn ask(&mut self) {
        let (mut random, mut decisions) = (placement::random(0), Vec::new());
        let waiting: Vec<_> =
            self.state.jobs().filter(|(_, job)| !job.is_ready()).map(|(id, _)| id).collect();
        let mut session = Session::new(&mut self.state, self.now, &mut random, &mut decisions);
        for job in waiting {
            self.action.explain(&mut session, &mut self.plugins, job);
        }
    }

    fn cycle(&mut self) -> Option<Time> {
        let (mut random, mut decisions) = (placement::random(0), Vec::new());
        let mut session = Session::new(&mut self.state, self.now, &mut random, &mut decisions);
        self.action.run(&mut session, &mut self.plugins);
        let wake = session.wake_at;
        for decision in decisions {
            let Decision::Bind { task, .. } = decision else { panic!("{decision:?}") };
            self.state.start_task(task, self.now);
            let job = self.state.task(task).unwrap().job;
            let Coming { name, runs_s, .. } = &self.jobs[&job];
            self.starts.entry(name.clone()).or_insert(self.now);
            self.running.entry(job).or_insert(self.now + seconds(*runs_s));
        }
        wake.filter(|_| self.state.jobs().any(|(_, job)| !job.is_ready()))
    }
}
