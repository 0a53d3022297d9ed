//! What happens to jobs that were placed: their pods start, stop and leave; they run, are evicted, finish.
//!
//! ```text
//!            Bind                     enough pods           all work done
//!  waiting ───────► pods start one by one ─────► running ───────────────► gone
//!     ▲                  │ Evict: that pod         │ Evict
//!     │                  ▼                         ▼
//!     │               released           enough pods left?  yes: goes on with those (elastic)
//!     │                  │                         │ no: stops, all its pods are released
//!     └── same ids ◄── left, after the grace ◄─────┘
//! ```

use std::sync::Arc;

use foretell_framework::{
    ClusterEvent, Decision, EvictionReason, FULL_SPEED, GpuModelId, GpuSet, JobId, NodeId, Scaling, TaskId,
    TaskStatus, Time,
};

use super::Submission;
use super::checkpoint::{CheckpointSize, Schedule};
use super::colocation::Sharing;
use super::eviction::Eviction;
use super::faults::JobFaults;
use super::inspect::JobProgress;
use super::simulation::Simulation;
use super::steps::Steps;
use super::work::{Pace, WHOLE_SPEED, Work};
use crate::engine::{EventHandle, EventQueue};
use crate::event::{Event, JobEvent};
use crate::log::{EvictionOutcome, JobStatus, Record};

/// What the platform knows of a job beside what `ClusterState` does.
pub(super) struct LiveJob {
    /// How it ends when it has done its work.
    pub(super) end: JobStatus,
    pub(super) work: Work,
    /// Whether work is counted in GPUs, not in pods.
    has_gpus: bool,
    /// Times that it was stopped.
    pub(super) attempt: u32,
    /// Pods that run.
    started: Pods,
    /// How it scales, if it says so.
    scaled: Option<Box<Scaled>>,
    /// Its steps, if it says what they take.
    pub(super) steps: Option<Box<Steps>>,
    /// How it shares GPUs, where those who do slow each other.
    pub(super) sharing: Option<Sharing>,
    /// Its end, or the next phase of its work.
    next_event: Option<EventHandle>,
    pub(super) running: bool,
    /// How fast it is on the nodes that it has, in millionths.
    pub(super) speed: u32,
    /// What was decided and has not taken effect.
    eviction: Option<Box<Eviction>>,
    pub(super) faults: JobFaults,
    /// GPUs that it asks for.
    pub(super) gpu_milli: u64,
    /// What it writes when it takes a checkpoint, if it knows.
    pub(super) checkpoint: Option<CheckpointSize>,
    /// Its place among the jobs that wait.
    pub(super) waits_at: usize,
}

/// A number of pods and their GPUs.
#[derive(Clone, Copy, Default)]
struct Pods {
    count: u32,
    gpu_milli: u64,
}

/// How a job scales, and on what.
struct Scaled {
    law: Arc<Scaling>,
    /// Its pods with GPUs that run.
    workers: Vec<(TaskId, NodeId, GpuModelId)>,
}

impl Scaled {
    /// Its speed once so many millionths of its work are done.
    fn speed(&self, done: u64) -> u64 {
        let Some(&(_, first, _)) = self.workers.first() else { return 0 };
        let is_one_node = self.workers.iter().all(|&(_, node, _)| node == first);
        let models = self.workers.iter().map(|&(_, _, model)| model);
        self.law.speed_on(done, self.workers.len() as u32, models, is_one_node)
    }
}

impl LiveJob {
    pub(super) fn new(submission: &Submission, sharing: Option<Sharing>) -> Self {
        let gpu_milli = submission.gpu_milli_total();
        let has_gpus = gpu_milli > 0;
        let full_rate = match &submission.scaling {
            Some(_) => FULL_SPEED,
            None if has_gpus => gpu_milli,
            None => u64::from(submission.tasks()),
        };
        // In its speed too, where that is not always full.
        let has_speed = submission.step_model.is_some() || sharing.is_some();
        let full_rate = full_rate * if has_speed { FULL_SPEED } else { 1 };
        let scaled = |law: &Arc<Scaling>| Box::new(Scaled { law: Arc::clone(law), workers: Vec::new() });
        Self {
            end: submission.end,
            work: Work::new(submission.duration, full_rate),
            has_gpus,
            attempt: 0,
            started: Pods::default(),
            scaled: submission.scaling.as_ref().map(scaled),
            steps: submission.step_model.as_ref().map(|model| Box::new(Steps::new(model))),
            sharing,
            next_event: None,
            running: false,
            speed: WHOLE_SPEED,
            eviction: None,
            faults: JobFaults::new(submission.on_failure.clone()),
            gpu_milli,
            checkpoint: submission.checkpoint,
            waits_at: usize::MAX,
        }
    }

    /// How far it has come.
    pub(super) fn progress(&self, now: Time) -> JobProgress {
        let mut work = self.work;
        work.advance(now);
        // How long others hold it up is not known.
        work.go_on_at_once();
        JobProgress {
            running: self.running,
            finishes: self.finish_of(work).filter(|_| self.running),
            at_stake: self.work.at_stake(now),
            restarts: self.attempt,
        }
    }

    /// How it works with the pods that run, as far as `work` has come.
    pub(super) fn pace(&self, work: &Work) -> Pace {
        let gpu_milli = self.started.gpu_milli;
        let work = match &self.scaled {
            Some(scaled) => scaled.speed(work.done_millionths()),
            None if self.has_gpus => gpu_milli,
            None => u64::from(self.started.count),
        };
        let work = match (&self.steps, &self.sharing) {
            (None, None) => work,
            (Some(steps), None) => work * steps.speed,
            (None, Some(sharing)) => work * sharing.speed,
            // Beside others each of its steps takes longer.
            (Some(steps), Some(sharing)) => {
                let both = u128::from(steps.speed) * u128::from(sharing.speed) / u128::from(FULL_SPEED);
                work * both as u64
            }
        };
        if self.speed == WHOLE_SPEED || gpu_milli == 0 {
            return Pace { work, gpu_milli, slow_milli: 0 };
        }
        let at_speed =
            |amount: u64| (u128::from(amount) * u128::from(self.speed) / u128::from(WHOLE_SPEED)) as u64;
        // One that stood still would hold its GPUs for ever.
        Pace { work: at_speed(work).max(1), gpu_milli, slow_milli: gpu_milli - at_speed(gpu_milli) }
    }

    /// When `work` comes to another phase, if that is before its end.
    fn next_phase(&self, work: &Work) -> Option<Time> {
        let from = self.scaled.as_ref()?.law.next_phase(work.done_millionths())?;
        let at = work.reaches_millionths(from)?;
        work.finish_at().is_none_or(|end| at < end).then_some(at)
    }

    /// When `work` will be done if nothing changes but its phase.
    fn finish_of(&self, mut work: Work) -> Option<Time> {
        while let Some(at) = self.next_phase(&work) {
            work.advance(at);
            let pace = self.pace(&work);
            work.set_pace(at, pace);
        }
        work.finish_at()
    }

    /// Plans what comes next of what comes by itself: its end, or another phase of its work.
    pub(super) fn plan(&mut self, id: JobId, queue: &mut EventQueue<Event>) {
        if let Some(event) = self.next_event.take() {
            queue.cancel(event);
        }
        let next = match self.next_phase(&self.work) {
            Some(at) => Some((at, JobEvent::PhaseBegan(id))),
            None => self.work.finish_at().map(|at| (at, JobEvent::Finished(id))),
        };
        let due = self.work.checkpoint_due().filter(|&due| next.is_none_or(|(at, _)| due < at));
        let next = due.map(|due| (due, JobEvent::CheckpointDue(id))).or(next);
        self.next_event = next.map(|(at, event)| queue.schedule_cancellable(at, Event::Job(event)));
    }

    /// Nothing comes by itself any more.
    pub(super) fn forget_next_event(&mut self, queue: &mut EventQueue<Event>) {
        if let Some(event) = self.next_event.take() {
            queue.cancel(event);
        }
    }

    /// Goes on at the pace that follows from its pods and steps as they are.
    pub(super) fn set_pace(&mut self, id: JobId, now: Time, queue: &mut EventQueue<Event>) {
        self.work.advance(now);
        let pace = self.pace(&self.work);
        self.work.set_pace(now, pace);
        self.plan(id, queue);
    }

    /// A pod with GPUs starts.
    fn worker_started(&mut self, worker: (u32, TaskId), node: NodeId, model: GpuModelId, gpus: GpuSet) {
        if let Some(scaled) = &mut self.scaled {
            scaled.workers.push((worker.1, node, model));
        }
        if let Some(steps) = &mut self.steps {
            steps.worker_started(worker, node, model, gpus);
        }
    }

    /// A pod stops.
    pub(super) fn pod_stopped(&mut self, task: TaskId, gpu_milli: u64) {
        let Pods { count, gpu_milli: before } = self.started;
        self.started = Pods { count: count - 1, gpu_milli: before - gpu_milli };
        if let Some(scaled) = &mut self.scaled {
            scaled.workers.retain(|&(worker, ..)| worker != task);
        }
        if let Some(steps) = &mut self.steps {
            steps.pod_stopped(task);
        }
    }

    /// GPUs of its pods that have started.
    pub(super) const fn started_gpu_milli(&self) -> u64 {
        self.started.gpu_milli
    }

    /// GPU time that it lost up to now.
    pub(super) const fn lost(&self) -> u128 {
        self.work.losses().total()
    }
}

impl<W, E> Simulation<'_, W, E>
where
    W: Iterator<Item = Result<Submission, E>>,
{
    /// Posts the decisions of the latest cycle.
    pub(super) fn carry_out(&mut self, queue: &mut EventQueue<Event>) {
        let effect_at = self.scheduler.effect_at(self.now);
        let decisions = std::mem::take(&mut self.scheduler.decisions);
        for &decision in &decisions {
            let (Decision::Bind { task, .. } | Decision::Evict { task, .. }) = decision else { continue };
            let Some(entry) = self.state.task(task) else { continue };
            let live = &mut self.jobs[entry.job];
            let attempt = live.attempt;
            let event = match decision {
                Decision::Evict { reason, beneficiary, .. } => {
                    let Some(placement) = entry.placement() else { continue };
                    let beneficiary = beneficiary
                        .and_then(|task| self.state.job(self.state.task(task)?.job))
                        .map(|job| job.spec.sequence);
                    let first =
                        Eviction { decided: self.now, node: placement.node, pods: 0, reason, beneficiary };
                    let eviction = live.eviction.get_or_insert_with(|| Box::new(first));
                    // Shrinking is the job's own business: who displaces it beside that is what is told.
                    if eviction.reason == EvictionReason::Shrunk {
                        **eviction = Eviction { pods: eviction.pods, ..first };
                    }
                    eviction.pods += 1;
                    JobEvent::Evicted { task, attempt }
                }
                _ => JobEvent::Bound { task, attempt },
            };
            queue.schedule(effect_at, Event::Job(event));
        }
        // The buffer serves the next cycle.
        self.scheduler.decisions = decisions;
    }

    /// A pod starts.
    pub(super) fn bound(&mut self, task: TaskId, attempt: u32, queue: &mut EventQueue<Event>) {
        let Some(entry) = self.state.task(task).filter(|task| task.status() == TaskStatus::Bound) else {
            return;
        };
        let (Some(placement), Some(job)) = (entry.placement(), self.state.job(entry.job)) else { return };
        let live = &mut self.jobs[entry.job];
        if live.attempt != attempt {
            return;
        }
        let (job_id, rank, node, gpus) = (entry.job, entry.rank, placement.node, placement.gpus);
        let gpu_milli = self.state.class_spec(entry.class).gpus.total_milli();
        let model = self.state.node(node).spec.gpu_model.filter(|_| gpu_milli > 0);
        let (sequence, min_member) = (job.spec.sequence, job.spec.min_member);
        let has_roles = job.spec.gang.as_ref().is_some_and(|gang| !gang.role_minima.is_empty());
        let before = live.started;
        live.started = Pods { count: before.count + 1, gpu_milli: before.gpu_milli + gpu_milli };
        if let Some(model) = model {
            live.worker_started((rank, task), node, model, gpus);
        }
        let (running, started) = (live.running, live.started);
        self.state.start_task(task, self.now);
        self.record(&Record::PodBound { job: sequence, rank, node, gpus, gpu_milli });
        if running {
            let (from_gpu_milli, to_gpu_milli) = (before.gpu_milli, started.gpu_milli);
            self.record(&Record::JobResized { job: sequence, from_gpu_milli, to_gpu_milli });
            self.resize(job_id, queue);
        } else if started.count >= min_member && (!has_roles || self.is_whole(job_id)) {
            self.start(job_id, queue);
        }
    }

    /// Whether the pods that run are enough for the job to run, in all and of each role.
    pub(super) fn is_whole(&self, id: JobId) -> bool {
        let Some(job) = self.state.job(id) else { return false };
        let running = |role: Option<&str>| {
            let tasks = job.tasks().iter().filter_map(|&task| self.state.task(task));
            let running = tasks.filter(|task| task.status() == TaskStatus::Running);
            let of_role = running
                .filter(|task| role.is_none_or(|role| *self.state.class_spec(task.class).role == *role));
            of_role.count() as u32
        };
        let minima = job.spec.gang.iter().flat_map(|gang| &gang.role_minima);
        running(None) >= job.spec.min_member
            && minima.into_iter().all(|(role, minimum)| running(Some(role)) >= *minimum)
    }

    fn start(&mut self, id: JobId, queue: &mut EventQueue<Event>) {
        let Some(job) = self.state.job(id).map(|job| job.spec.sequence) else { return };
        let restart = if self.jobs[id].attempt == 0 { Time::ZERO } else { self.preparation(id) };
        let preparation = restart + self.check_time();
        let reads = self.jobs[id].work.has_checkpoint();
        let (schedule, speed) = (self.checkpoint_schedule(id, reads), self.speed_on_nodes(id));
        let live = &mut self.jobs[id];
        live.running = true;
        live.speed = speed;
        if let Some(sharing) = &mut live.sharing {
            // Until it has looked at its neighbours, at this instant.
            sharing.speed = FULL_SPEED;
        }
        self.neighbours_change(id, queue);
        self.place_steps(id, queue);
        let live = &mut self.jobs[id];
        let pace = live.pace(&live.work);
        live.work.start(self.now, pace, preparation, schedule);
        live.plan(id, queue);
        self.move_checkpoint(id, queue);
        let live = &self.jobs[id];
        let (gpu_milli, is_finite) = (live.started.gpu_milli, live.work.is_finite());
        if is_finite {
            self.wake_faults(queue);
        }
        self.waits_no_more(id);
        self.running += 1;
        if let Some(time) = self.deferred_wake.take() {
            self.scheduler.request(time, queue);
        }
        self.record(&Record::JobStarted { job, gpu_milli });
        self.tell_pace(id);
        self.watch_speed(id, queue);
    }

    /// How long a job computes nothing when it starts again.
    pub(super) fn preparation(&self, id: JobId) -> Time {
        let (live, cost) = (&self.jobs[id], &self.config.preemption);
        // How long it reads from storage that others use is told when it has.
        let reads = live.work.has_checkpoint() && self.storage.is_none();
        let bytes = self.checkpoint_bytes(id).filter(|_| reads);
        cost.restart_cost.of(live.gpu_milli)
            + bytes.map_or(Time::ZERO, |bytes| cost.checkpoint_cost.load(bytes))
    }

    /// When a job on its pods takes checkpoints. It reads one first if it starts again.
    pub(super) fn checkpoint_schedule(&self, id: JobId, starts_again: bool) -> Schedule {
        let cost = &self.config.preemption;
        let evictions_per_s = cost.checkpoint_cost.eviction_every.map_or(0.0, |every| 1.0 / every.as_s());
        let interruptions_per_s = if cost.checkpoints.weigh_interruptions() {
            self.failures_per_s(id) + evictions_per_s
        } else {
            0.0
        };
        let bytes = self.checkpoint_bytes(id);
        let schedule = Schedule::new(cost.checkpoints, &self.checkpoint_cost(id), bytes, interruptions_per_s);
        if self.storage.is_some() && bytes.is_some() {
            schedule.on_shared_storage(starts_again)
        } else {
            schedule
        }
    }

    /// The size of a job's checkpoint, if it is known.
    pub(super) fn checkpoint_bytes(&self, id: JobId) -> Option<u64> {
        let live = &self.jobs[id];
        self.config.preemption.checkpoint_cost.bytes(live.checkpoint, live.gpu_milli)
    }

    /// A running job goes on with the pods that run now.
    fn resize(&mut self, id: JobId, queue: &mut EventQueue<Event>) {
        self.neighbours_change(id, queue);
        self.place_steps(id, queue);
        let resize_cost = self.config.preemption.resize_cost;
        let speed = self.speed_on_nodes(id);
        let live = &mut self.jobs[id];
        live.speed = speed;
        live.work.advance(self.now);
        let pace = live.pace(&live.work);
        live.work.resize(self.now, pace, resize_cost);
        live.plan(id, queue);
        self.move_checkpoint(id, queue);
        self.tell_pace(id);
    }

    /// A running job comes to a part of its work in which it scales otherwise.
    pub(super) fn phase_began(&mut self, id: JobId, queue: &mut EventQueue<Event>) {
        if let Some(live) = self.jobs.get_mut(id) {
            live.set_pace(id, self.now, queue);
        }
    }

    /// A pod is told to stop: it computes no more and leaves after the grace.
    pub(super) fn evicted(&mut self, task: TaskId, attempt: u32, queue: &mut EventQueue<Event>) {
        let Some(entry) = self.state.task(task).filter(|task| task.status() == TaskStatus::Releasing) else {
            return;
        };
        let id = entry.job;
        let gpu_milli = self.state.class_spec(entry.class).gpus.total_milli();
        let had_started = entry.details.started.is_some();
        let Some(job) = self.state.job(id).map(|job| job.spec.sequence) else { return };
        let live = &mut self.jobs[id];
        if live.attempt != attempt {
            return;
        }
        let eviction = live.eviction.take();
        let (running, before) = (live.running, live.started);
        if !running {
            if had_started {
                live.pod_stopped(task, gpu_milli);
                self.record(&Record::PodStopped { job, gpu_milli });
            }
            self.record_eviction(job, eviction, EvictionOutcome::DidNotRun);
            self.leaves(task, queue);
        } else if self.is_whole(id) {
            let live = &mut self.jobs[id];
            if had_started {
                live.pod_stopped(task, gpu_milli);
                let (from_gpu_milli, to_gpu_milli) = (before.gpu_milli, live.started.gpu_milli);
                self.record(&Record::JobResized { job, from_gpu_milli, to_gpu_milli });
                self.resize(id, queue);
            }
            // Of the pods that go together, those that were not told yet are released all the same.
            let pods = self.running_tasks(id);
            self.record_eviction(job, eviction, EvictionOutcome::GoesOn { pods });
            self.leaves(task, queue);
        } else {
            let lost = self.stop(id, queue);
            self.record_eviction(job, eviction, EvictionOutcome::Stops { lost });
        }
    }

    pub(super) fn running_tasks(&self, id: JobId) -> u32 {
        let tasks = self.state.job(id).map_or(&[][..], |job| job.tasks());
        let runs =
            |&&task: &&TaskId| self.state.task(task).is_some_and(|task| task.status() == TaskStatus::Running);
        tasks.iter().filter(runs).count() as u32
    }

    fn record_eviction(&mut self, job: u64, eviction: Option<Box<Eviction>>, outcome: EvictionOutcome) {
        if let Some(eviction) = eviction {
            self.record(&Record::JobEvicted { job, eviction: &eviction, outcome });
        }
    }

    /// A running job stops: all its pods are released, and it waits again. Returns the GPU work that this loses.
    pub(super) fn stop(&mut self, id: JobId, queue: &mut EventQueue<Event>) -> u128 {
        self.neighbours_change(id, queue);
        let live = &mut self.jobs[id];
        let lost = live.work.stop(self.now);
        live.faults.forget();
        let lost_in_all = live.lost();
        if let Some(event) = live.next_event.take() {
            queue.cancel(event);
        }
        let gpu_milli = std::mem::take(&mut live.started).gpu_milli;
        if let Some(scaled) = &mut live.scaled {
            scaled.workers.clear();
        }
        if let Some(steps) = &mut live.steps {
            steps.stopped();
        }
        live.running = false;
        live.attempt += 1;
        self.running -= 1;
        self.remove_steps(id, queue);
        self.move_checkpoint(id, queue);
        self.waits(id);
        let Some(job) = self.state.job(id) else { return lost };
        let (sequence, tasks) = (job.spec.sequence, job.tasks().to_vec());
        for task in tasks {
            self.state.release_task(task);
            self.leaves(task, queue);
        }
        self.record(&Record::JobStopped { job: sequence, gpu_milli, lost: lost_in_all });
        lost
    }

    /// A pod that was told to stop will have left its node after the grace.
    pub(super) fn leaves(&mut self, task: TaskId, queue: &mut EventQueue<Event>) {
        if self.state.task(task).is_none_or(|task| task.status() != TaskStatus::Releasing)
            || self.leaving.contains_key(task)
        {
            return;
        }
        self.leaving.insert(task, ());
        let at = self.now + self.config.preemption.termination_grace;
        queue.schedule(at, Event::Job(JobEvent::Left(task)));
    }

    /// A pod has left its node and waits again.
    pub(super) fn left(&mut self, task: TaskId, queue: &mut EventQueue<Event>) {
        if self.leaving.remove(task).is_none() || self.state.requeue_task(task).is_none() {
            return;
        }
        self.scheduler.profile.notify(&self.state, ClusterEvent::TaskWaiting(task));
        self.scheduler.profile.notify(&self.state, ClusterEvent::TasksReleased);
        self.scheduler.request(self.now, queue);
    }

    /// A job has done its work.
    pub(super) fn finished(&mut self, id: JobId, queue: &mut EventQueue<Event>) {
        self.neighbours_change(id, queue);
        let Some(mut live) = self.jobs.remove(id) else { return };
        self.scheduler.profile.notify(&self.state, ClusterEvent::JobRemoved(id));
        let Some(removed) = self.state.remove_job(id) else { return };
        if !self.leaving.is_empty() {
            removed.tasks().iter().for_each(|&task| {
                self.leaving.remove(task);
            });
        }
        self.running -= 1;
        self.remove_steps(id, queue);
        self.move_checkpoint(id, queue);
        live.work.advance(self.now);
        let (job, status, gpu_milli) = (removed.spec.sequence, live.end, live.started.gpu_milli);
        self.record(&Record::JobFinished { job, status, gpu_milli, lost: live.lost() });
        if self.reports_losses() {
            self.record(&Record::JobLosses { job, losses: live.work.losses() });
        }
        self.scheduler.profile.notify(&self.state, ClusterEvent::TasksReleased);
        if self.wants_cycles() {
            self.scheduler.request(self.now, queue);
        }
    }

    /// At the end of the run, says of every job that runs what it lost.
    pub(super) fn report_running(&mut self) {
        let mut running = Vec::new();
        for (id, live) in self.jobs.iter_mut().filter(|(_, live)| live.running) {
            live.work.advance(self.last_event);
            if live.lost() > 0 {
                running.extend(self.state.job(id).map(|job| (job.spec.sequence, live.lost())));
            }
        }
        running.sort_unstable();
        for (job, lost) in running {
            self.record(&Record::JobLeftRunning { job, lost });
        }
    }

    /// At the end of the run, says of every job that has not ended what it lost to what.
    pub(super) fn report_losses(&mut self) {
        if !self.reports_losses() {
            return;
        }
        let losses =
            |(id, live): (JobId, &LiveJob)| Some((self.state.job(id)?.spec.sequence, *live.work.losses()));
        let mut all: Vec<_> = self.jobs.iter().filter_map(losses).collect();
        all.sort_unstable_by_key(|&(job, _)| job);
        for (job, losses) in all {
            self.record(&Record::JobLosses { job, losses: &losses });
        }
    }
}
