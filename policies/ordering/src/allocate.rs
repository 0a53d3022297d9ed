//! Places waiting jobs in order, each whole or not at all.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use foretell_framework::state::JobSpec;
use foretell_framework::{
    Action, ClusterEvent, ClusterState, JobId, OrderJobs, PlaceJob, Plugins, QueueId, Reason, Session,
    ShapeId, Stamp,
};

use crate::backfill::SharedHolds;
use crate::reserved::Reserved;
use crate::task_by_task::TaskByTask;

/// What becomes of the jobs behind one that does not fit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HeadOfLine {
    /// They wait behind it (within its queue): strict order, no starvation, idle GPUs.
    Blocks,
    /// They go ahead if they fit.
    IsSkipped,
}

/// Takes waiting jobs in order and places all tasks of a job in one transaction: if fewer than `min_member` find a
/// place, none is placed.
///
/// Waiting jobs stand in lanes of which only the head is tried: one lane per queue where the head of line blocks, and
/// otherwise one per shape of jobs, since jobs of one shape fit or do not fit alike. A lane whose head did not fit is
/// closed until something is released, so a cycle costs no more than there is to decide.
pub struct Allocate {
    order: Vec<Box<dyn OrderJobs>>,
    head_of_line: HeadOfLine,
    place: Box<dyn PlaceJob>,
    lanes: Vec<Lane>,
    lane_of: BTreeMap<LaneKey, usize>,
    /// Heads of the lanes that may be tried.
    open: BTreeSet<(OrderKey, usize)>,
    /// Lanes that were closed since the last release; some may have been opened again.
    closed: Vec<usize>,
    seen_released: Stamp,
    reservations: Option<Reserved>,
}

#[derive(Default)]
struct Lane {
    jobs: BTreeMap<OrderKey, JobId>,
    /// The head did not fit, and nothing was released since.
    closed: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum LaneKey {
    Queue(QueueId),
    Shape {
        shape: ShapeId,
        min_member: u32,
    },
    /// Where reservations tell jobs apart by their length and their owner, each is a lane of its own.
    Job(u64),
}

/// The most orders that a profile combines.
pub const MAX_ORDERS: usize = 3;

/// Keys of the orders in turn, then the job's sequence number, so that no two jobs are equal.
pub(crate) type OrderKey = ([u64; MAX_ORDERS], u64);

/// Where a job stands under some orders.
pub(crate) fn order_key(orders: &[Box<dyn OrderJobs>], job: &JobSpec) -> OrderKey {
    let mut keys = [0; MAX_ORDERS];
    keys.iter_mut().zip(orders).for_each(|(key, order)| *key = order.key(job));
    (keys, job.sequence)
}

impl Allocate {
    /// Jobs ordered by the first of the orders that tells them apart, then by submission. Orders beyond the first
    /// [`MAX_ORDERS`] have no say.
    pub fn new(order: Vec<Box<dyn OrderJobs>>, head_of_line: HeadOfLine) -> Self {
        Self {
            order,
            head_of_line,
            place: Box::new(TaskByTask),
            lanes: Vec::new(),
            lane_of: BTreeMap::new(),
            open: BTreeSet::new(),
            closed: Vec::new(),
            seen_released: Stamp::ZERO,
            reservations: None,
        }
    }

    /// With another way to place the tasks of a job than one by one.
    #[must_use]
    pub fn with_placement(mut self, place: Box<dyn PlaceJob>) -> Self {
        self.place = place;
        self
    }

    /// Honouring what is kept by reservations: [`HonourReservations`](crate::HonourReservations) must be among the
    /// plugins, with the same holds.
    #[must_use]
    pub fn with_reservations(mut self, holds: SharedHolds) -> Self {
        self.reservations = Some(Reserved::new(holds));
        self
    }

    fn key(&self, job: &JobSpec) -> OrderKey {
        order_key(&self.order, job)
    }

    /// Opens all lanes that were closed.
    fn reopen(&mut self) {
        for index in core::mem::take(&mut self.closed) {
            if core::mem::take(&mut self.lanes[index].closed) {
                self.open_head(index);
            }
        }
    }

    fn lane_key(&self, shape: ShapeId, job: &JobSpec) -> LaneKey {
        match self.head_of_line {
            HeadOfLine::Blocks => LaneKey::Queue(job.queue),
            HeadOfLine::IsSkipped if self.reservations.is_some() => LaneKey::Job(job.sequence),
            HeadOfLine::IsSkipped => LaneKey::Shape { shape, min_member: job.min_member },
        }
    }

    fn add(&mut self, state: &ClusterState, id: JobId) {
        let Some(job) = state.job(id) else { return };
        let (key, lane_key) = (self.key(&job.spec), self.lane_key(job.shape, &job.spec));
        let index = *self.lane_of.entry(lane_key).or_insert_with(|| {
            self.lanes.push(Lane::default());
            self.lanes.len() - 1
        });
        let lane = &mut self.lanes[index];
        let head = lane.jobs.first_key_value().map(|(&head, _)| head);
        lane.jobs.insert(key, id);
        if head.is_some_and(|head| head < key) {
            return;
        }
        // A new head. Where lanes are queues it may fit although the former head did not.
        if lane.closed && self.head_of_line == HeadOfLine::Blocks {
            lane.closed = false;
        }
        if !lane.closed {
            head.map(|head| self.open.remove(&(head, index)));
            self.open.insert((key, index));
        }
    }

    fn remove(&mut self, state: &ClusterState, id: JobId) {
        let Some(job) = state.job(id) else { return };
        let (key, lane_key) = (self.key(&job.spec), self.lane_key(job.shape, &job.spec));
        let Some(&index) = self.lane_of.get(&lane_key) else { return };
        let was_head = self.lanes[index].jobs.first_key_value().is_some_and(|(&head, _)| head == key);
        if self.lanes[index].jobs.remove(&key).is_some() && was_head {
            self.open.remove(&(key, index));
            if self.head_of_line == HeadOfLine::Blocks {
                self.lanes[index].closed = false;
            }
            self.open_head(index);
        }
    }

    fn open_head(&mut self, index: usize) {
        let lane = &self.lanes[index];
        if let Some((&head, _)) = lane.jobs.first_key_value().filter(|_| !lane.closed) {
            self.open.insert((head, index));
        }
    }
}

impl Action for Allocate {
    fn name(&self) -> &'static str {
        "allocate"
    }

    fn notify(&mut self, state: &ClusterState, _plugins: &mut Plugins, event: ClusterEvent) {
        match event {
            ClusterEvent::JobAdded(job) => self.add(state, job),
            ClusterEvent::JobRemoved(job) => self.remove(state, job),
            // The job stands in line again, where its order puts it.
            ClusterEvent::TaskWaiting(task) => {
                if let Some(task) = state.task(task) {
                    self.add(state, task.job);
                }
            }
            // Seen by the state's own stamp of the latest release.
            ClusterEvent::TasksReleased | ClusterEvent::NodeChanged(_) | ClusterEvent::TaskChanged(_) => {}
        }
    }

    fn run(&mut self, session: &mut Session<'_>, plugins: &mut Plugins) {
        let released = session.state().released();
        if released > self.seen_released {
            self.seen_released = released;
            self.reopen();
        }
        if self.reservations.as_mut().is_some_and(|reserved| reserved.open(session)) {
            self.reopen();
        }
        while let Some((key, index)) = self.open.pop_first() {
            let lane = &mut self.lanes[index];
            let Some(&job) = lane.jobs.get(&key) else { continue };
            let now = session.now;
            let (mut transaction, random) = session.begin();
            if let Some(reserved) = &self.reservations {
                reserved.ask(transaction.state(), job, now);
            }
            let is_complete = self.place.place(&mut transaction, plugins, random, job);
            self.reservations.iter().for_each(Reserved::asked);
            if transaction.state().job(job).is_some_and(foretell_framework::Job::is_ready) {
                transaction.commit();
            }
            if is_complete {
                lane.jobs.remove(&key);
                self.open_head(index);
            } else {
                lane.closed = true;
                self.closed.push(index);
            }
        }
    }

    fn explain(&mut self, session: &mut Session<'_>, plugins: &mut Plugins, id: JobId) -> Option<Reason> {
        let job = session.state().job(id)?;
        let (key, lane_key) = (self.key(&job.spec), self.lane_key(job.shape, &job.spec));
        let lane = &self.lanes[*self.lane_of.get(&lane_key)?];
        lane.jobs.get(&key)?;
        let (&head, &head_job) = lane.jobs.first_key_value()?;
        if self.head_of_line == HeadOfLine::Blocks && head != key {
            let head = session.state().job(head_job)?.spec.sequence;
            return Some(Reason::BehindHead { head });
        }
        let now = session.now;
        let (mut transaction, random) = session.begin();
        if let Some(reserved) = &self.reservations {
            reserved.ask(transaction.state(), id, now);
        }
        let reason = self.place.explain(&mut transaction, plugins, random, id);
        self.reservations.iter().for_each(Reserved::asked);
        Some(reason)
    }
}
