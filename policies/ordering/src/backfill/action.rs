//! The action of EASY and of conservative backfilling.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cmp::Reverse;

use foretell_framework::{
    Action, ClusterEvent, ClusterState, JobId, OrderJobs, PlaceJob, Plugins, QueueId, Reason, Session, Stamp,
    Time,
};

use super::engine::{Attempt, Backfiller};
use super::holds::SharedHolds;
use super::room::{INSTANT, expected_end};
use crate::allocate::{OrderKey, order_key};
use crate::task_by_task::TaskByTask;

/// Who is promised a time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Promises {
    /// The head of each queue's line (EASY).
    Heads,
    /// Every job that is looked at (conservative).
    All,
}

/// Parameters of backfilling.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BackfillConfig {
    /// Jobs behind the head of each line that are looked at.
    pub depth: u32,
}

impl Default for BackfillConfig {
    /// Slurm's default for the jobs that one pass tries (`bf_max_job_test`).
    fn default() -> Self {
        Self { depth: 500 }
    }
}

/// Takes jobs in order; behind one that does not fit, starts those that delay no promise.
///
/// Every queue is a line of its own. Under EASY the promise to a head is made anew in every cycle. Under conservative
/// backfilling a promise lasts: when something ends early, jobs in order move to the earliest window that is free beside
/// what the others were promised, which is never later than before; when something runs longer than was said, or a node
/// changes, all promises are made anew.
pub struct Backfill {
    order: Vec<Box<dyn OrderJobs>>,
    promises: Promises,
    config: BackfillConfig,
    backfiller: Backfiller,
    lines: BTreeMap<QueueId, BTreeMap<OrderKey, JobId>>,
    /// All lines in one order.
    in_order: Vec<Candidate>,
    /// Whether something happened since the last cycle.
    changed: bool,
    seen_released: Stamp,
    /// When those that left since the last cycle were expected to.
    left: Vec<Time>,
    /// Something came that no promise foresaw.
    broken: bool,
    /// When something changes by itself: a window opens or closes, the time of a promise comes.
    boundary: Option<Time>,
    /// Jobs that run and would take more.
    partial: BTreeSet<JobId>,
    /// Jobs that the last cycle had no need to look at, and when that was: those that wait and have no promise are to have one.
    deferred: Vec<Candidate>,
    deferred_at: Time,
}

impl Backfill {
    /// Jobs ordered by the first of the orders that tells them apart, then by submission, as in
    /// [`Allocate`](crate::Allocate).
    pub fn new(
        order: Vec<Box<dyn OrderJobs>>,
        promises: Promises,
        config: BackfillConfig,
        holds: &SharedHolds,
    ) -> Self {
        Self {
            order,
            promises,
            config,
            backfiller: Backfiller::new(Rc::clone(holds), Box::new(TaskByTask)),
            lines: BTreeMap::new(),
            in_order: Vec::new(),
            changed: false,
            seen_released: Stamp::ZERO,
            left: Vec::new(),
            broken: false,
            boundary: None,
            partial: BTreeSet::new(),
            deferred: Vec::new(),
            deferred_at: Time::ZERO,
        }
    }

    /// With another way to place the tasks of a job than one by one.
    #[must_use]
    pub fn with_placement(mut self, place: Box<dyn PlaceJob>) -> Self {
        self.backfiller = self.backfiller.with_placement(place);
        self
    }

    fn insert(&mut self, queue: QueueId, key: OrderKey, job: JobId) {
        self.lines.entry(queue).or_default().insert(key, job);
        match self.position(key) {
            Ok(position) => self.in_order[position] = (queue, key, job),
            Err(position) => self.in_order.insert(position, (queue, key, job)),
        }
    }

    fn remove(&mut self, queue: QueueId, key: OrderKey) {
        if let Some(line) = self.lines.get_mut(&queue) {
            line.remove(&key);
        }
        if let Ok(position) = self.position(key) {
            self.in_order.remove(position);
        }
    }

    /// Where a key is among all jobs, or would be.
    fn position(&self, key: OrderKey) -> Result<usize, usize> {
        self.in_order.binary_search_by_key(&key, |&(_, key, _)| key)
    }

    /// The jobs that are looked at, in order.
    fn looked_at(&self) -> Vec<Candidate> {
        let depth = (self.config.depth as usize).saturating_add(1);
        if self.lines.values().all(|line| line.len() <= depth) {
            return self.in_order.clone();
        }
        let lines = self.lines.iter();
        let mut jobs: Vec<Candidate> = lines
            .flat_map(|(&queue, line)| line.iter().take(depth).map(move |(&key, &job)| (queue, key, job)))
            .collect();
        // Lines are in order, so that a sort which looks for runs has little to do.
        jobs.sort_by_key(|&(_, key, _)| key);
        jobs
    }

    /// Starts a job, and takes it out of its line if it is complete.
    fn start(
        &mut self,
        session: &mut Session<'_>,
        plugins: &mut Plugins,
        (queue, key, job): Candidate,
    ) -> Attempt {
        let attempt = self.backfiller.try_start(session, plugins, job);
        match attempt {
            Attempt::Complete => {
                self.remove(queue, key);
                self.partial.remove(&job);
            }
            Attempt::Partial => {
                self.partial.insert(job);
            }
            Attempt::Failed => {}
        }
        attempt
    }

    /// Heads that fit, in order, until the head of every line waits and has its promise; then those behind them.
    fn easy(&mut self, session: &mut Session<'_>, plugins: &mut Plugins) {
        self.backfiller.holds().borrow_mut().clear();
        let mut heads: Vec<Candidate> = self.lines.iter().filter_map(head).collect();
        // Latest first, so that the next comes off the end.
        heads.sort_unstable_by_key(|&(_, key, _)| Reverse(key));
        // By line, its head that waits.
        let mut blocked: BTreeMap<QueueId, OrderKey> = BTreeMap::new();
        while let Some(candidate) = heads.pop() {
            let (queue, key, job) = candidate;
            let attempt = self.start(session, plugins, candidate);
            if attempt == Attempt::Failed {
                blocked.insert(queue, key);
                self.backfiller.promise(session.state(), plugins, job, session.now, Time::MAX);
            } else if let Some(next) = self.behind(queue, key).next() {
                let position = heads.partition_point(|&(_, key, _)| key > next.1);
                heads.insert(position, next);
            }
        }
        let depth = self.config.depth as usize;
        let is_behind = |&(queue, key, _): &Candidate| blocked.get(&queue).is_some_and(|&head| key > head);
        let behind: Vec<Candidate> = if self.lines.values().all(|line| line.len() <= depth) {
            self.in_order.iter().copied().filter(is_behind).collect()
        } else {
            let lines = blocked.iter().map(|(&queue, &head)| self.behind(queue, head).take(depth));
            let mut behind: Vec<Candidate> = lines.flatten().collect();
            // Lines are in order, so that a sort which looks for runs has little to do.
            behind.sort_by_key(|&(_, key, _)| key);
            behind
        };
        for candidate in behind {
            self.start(session, plugins, candidate);
        }
    }

    /// The jobs of a line behind one of it.
    fn behind(&self, queue: QueueId, key: OrderKey) -> impl Iterator<Item = Candidate> {
        let after = (core::ops::Bound::Excluded(key), core::ops::Bound::Unbounded);
        let rest = self.lines.get(&queue).into_iter().flat_map(move |line| line.range(after));
        rest.map(move |(&key, &job)| (queue, key, job))
    }

    /// The time of the promise that comes first after an instant; never if none does.
    fn first_promise_after(&self, instant: Time) -> Time {
        let holds = self.backfiller.holds().borrow();
        let starts = holds.promises().map(|(_, promise)| promise.from);
        starts.filter(|&from| from > instant).min().unwrap_or(Time::MAX)
    }

    /// Whether the time of somebody who was promised one has passed.
    fn was_missed(&self, now: Time) -> bool {
        self.backfiller.holds().borrow().promises().any(|(_, promise)| promise.from < now)
    }

    /// Makes the promises that were put off.
    fn catch_up(&mut self, state: &ClusterState, plugins: &mut Plugins) {
        for (_, _, job) in core::mem::take(&mut self.deferred) {
            let waits = state.job(job).is_some_and(|entry| !entry.is_complete());
            if !waits || self.backfiller.holds().borrow().promise(job).is_some() {
                continue;
            }
            self.backfiller.promise_late(state, plugins, job, self.deferred_at, Time::MAX);
        }
    }

    /// Every job has its window; those whose window has come start.
    ///
    /// Where nobody in the rest of the order could start, nor be promised a time before all others, promises are put off:
    /// most are not asked for before something comes that no promise foresaw, and makes all anew.
    fn conservative(&mut self, session: &mut Session<'_>, plugins: &mut Plugins) {
        let now = session.now;
        let jobs = self.looked_at();
        let early = core::mem::take(&mut self.left).into_iter().any(|expected| expected != now);
        if core::mem::take(&mut self.broken) || self.was_missed(now) {
            self.backfiller.holds().borrow_mut().clear();
        }
        let has_promises = self.backfiller.holds().borrow().promises().next().is_some();
        let promised = |backfiller: &Backfiller, job| {
            backfiller.holds().borrow().promise(job).map(|promise| promise.from)
        };
        if early && has_promises {
            for &(_, _, job) in &jobs {
                if let Some(before) = promised(&self.backfiller, job) {
                    let after = self.backfiller.promise(session.state(), plugins, job, now, Time::MAX);
                    if after != Some(before) {
                        // What it leaves may be of use to those before it: they are asked again in the next cycle.
                        self.left.push(Time::MAX);
                    }
                }
            }
        }
        // Those whose time has come start before others are planned around them: they may go elsewhere than planned.
        for &candidate in jobs.iter().filter(|_| has_promises) {
            let is_due = promised(&self.backfiller, candidate.2).is_some_and(|from| from <= now);
            if is_due && self.start(session, plugins, candidate) == Attempt::Failed {
                // Something runs longer than was said: what was promised no longer holds.
                self.backfiller.holds().borrow_mut().clear();
                break;
            }
        }
        let soon = now + INSTANT;
        let mut next = self.first_promise_after(soon);
        let mut to_come = self.partial.is_empty().then(|| {
            let waiting = jobs.iter().filter_map(|&(_, _, job)| session.state().job(job));
            let waiting = waiting.filter(|job| !job.is_complete());
            self.backfiller.to_come(session.state(), waiting.map(|job| (job, 0)))
        });
        for (position, &candidate) in jobs.iter().enumerate() {
            if let Some(to_come) = &mut to_come
                && !self.backfiller.may_begin_before(session.state(), to_come, now, next)
            {
                self.deferred = jobs[position..].to_vec();
                self.deferred_at = now;
                break;
            }
            let (_, _, job) = candidate;
            let Some(entry) = session.state().job(job).filter(|entry| !entry.is_complete()) else { continue };
            // One that runs already and would take more is promised nothing.
            let starts = entry.is_ready()
                || promised(&self.backfiller, job).is_none() && {
                    let from = self.backfiller.promise(session.state(), plugins, job, now, Time::MAX);
                    next = from.filter(|&from| from > soon).map_or(next, |from| from.min(next));
                    from.is_none_or(|from| from <= now)
                };
            if starts && self.start(session, plugins, candidate) == Attempt::Failed {
                self.broken = true;
            }
        }
    }
}

/// A job that waits, with where it stands.
type Candidate = (QueueId, OrderKey, JobId);

fn head((&queue, line): (&QueueId, &BTreeMap<OrderKey, JobId>)) -> Option<Candidate> {
    line.first_key_value().map(|(&key, &job)| (queue, key, job))
}

impl Action for Backfill {
    fn name(&self) -> &'static str {
        match self.promises {
            Promises::Heads => "easy",
            Promises::All => "conservative",
        }
    }

    fn notify(&mut self, state: &ClusterState, plugins: &mut Plugins, event: ClusterEvent) {
        self.changed = true;
        let (added, removed) = match event {
            ClusterEvent::JobAdded(job) => (Some(job), None),
            ClusterEvent::JobRemoved(job) => (None, Some(job)),
            ClusterEvent::TaskWaiting(task) => {
                self.broken = true;
                (state.task(task).map(|task| task.job), None)
            }
            ClusterEvent::NodeChanged(_) => {
                self.broken = true;
                (None, None)
            }
            ClusterEvent::TasksReleased | ClusterEvent::TaskChanged(_) => (None, None),
        };
        if let Some((id, job)) = added.and_then(|id| Some((id, state.job(id)?))) {
            self.insert(job.spec.queue, order_key(&self.order, &job.spec), id);
            if job.placed() > 0 {
                self.partial.insert(id);
            }
        }
        if let Some((id, job)) = removed.and_then(|id| Some((id, state.job(id)?))) {
            self.partial.remove(&id);
            if job.placed() == 0 {
                self.catch_up(state, plugins);
            }
            if job.placed() > 0 {
                self.left.push(expected_end(state, id, Time::ZERO));
            } else if self.backfiller.holds().borrow().promise(id).is_some() {
                // What was promised to it is free earlier than foreseen.
                self.left.push(Time::MAX);
            }
            self.backfiller.holds().borrow_mut().remove(id);
            self.remove(job.spec.queue, order_key(&self.order, &job.spec));
        }
    }

    fn run(&mut self, session: &mut Session<'_>, plugins: &mut Plugins) {
        let released = session.state().released();
        let passed = self.boundary.is_some_and(|boundary| boundary <= session.now);
        if !self.changed && !passed && !self.broken && released <= self.seen_released {
            return;
        }
        (self.changed, self.seen_released) = (false, released);
        if self.broken || self.was_missed(session.now) {
            // All promises are made anew.
            self.deferred.clear();
        } else {
            self.catch_up(session.state(), plugins);
        }
        self.backfiller.open(session);
        match self.promises {
            Promises::Heads => self.easy(session, plugins),
            Promises::All => self.conservative(session, plugins),
        }
        self.boundary = self.backfiller.holds().borrow().next_boundary(session.now);
        if self.promises == Promises::All {
            // What waits for something that should have ended already waits for its end, not for a time.
            let start = self.first_promise_after(session.now + INSTANT);
            self.boundary = self.boundary.into_iter().chain((start < Time::MAX).then_some(start)).min();
            if let Some(boundary) = self.boundary {
                session.wake_by(boundary);
            }
        }
    }

    fn explain(&mut self, session: &mut Session<'_>, plugins: &mut Plugins, id: JobId) -> Option<Reason> {
        let job = session.state().job(id)?;
        let (queue, key) = (job.spec.queue, order_key(&self.order, &job.spec));
        let line = self.lines.get(&queue)?;
        line.get(&key)?;
        let (_, &head) = line.first_key_value()?;
        self.catch_up(session.state(), plugins);
        match self.backfiller.explain(session, plugins, id) {
            // It would fit, but was not looked at, or has its time later.
            Reason::NotTried if head != id => {
                Some(Reason::BehindHead { head: session.state().job(head)?.spec.sequence })
            }
            reason => Some(reason),
        }
    }
}
