//! Servers of classical models, which answer a request in one execution: Triton's instances and its dynamic batcher.

use std::collections::VecDeque;

use foretell_serving_policies::{
    Decision, DynamicBatcher, DynamicBatching, DynamicBatchingError, DynamicRequest, Refusal,
};
use thiserror::Error;

use crate::curve::Series;

/// What a batch takes on an instance that has a GPU to itself.
#[derive(Clone, PartialEq, Debug)]
pub enum BatchLaw {
    /// Seconds by items, as measured: lines between the points, the last continued.
    Measured(Series),
    /// Reckoned.
    Roofline(Roofline),
}

impl BatchLaw {
    /// Seconds of a batch.
    pub fn seconds(&self, items: u32) -> f64 {
        match self {
            Self::Measured(series) => series.at(f64::from(items)),
            Self::Roofline(roofline) => roofline.seconds(items),
        }
    }
}

/// The roofline of a model: a batch takes as long as its operations or its bytes, whichever is longer, and what launching it takes.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Roofline {
    /// Operations of an item.
    pub item_flops: f64,
    /// Bytes that an item moves.
    pub item_bytes: f64,
    /// Bytes that a batch moves whatever its size: weights.
    pub weight_bytes: f64,
    /// Operations a second that kernels reach.
    pub flops_per_s: f64,
    /// Bytes a second that kernels reach.
    pub bytes_per_s: f64,
    /// Seconds of a batch apart from that: launches, and what is copied from and to the host.
    pub overhead_s: f64,
}

impl Roofline {
    fn seconds(&self, items: u32) -> f64 {
        let items = f64::from(items);
        let compute_s = items * self.item_flops / self.flops_per_s;
        let memory_s = (self.weight_bytes + items * self.item_bytes) / self.bytes_per_s;
        compute_s.max(memory_s) + self.overhead_s
    }
}

/// Where a model is executed (`instance_group`).
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Instances {
    /// GPUs.
    pub gpus: u32,
    /// Instances on each (`count`): each executes a batch at a time.
    pub per_gpu: u32,
    /// Share of its time during which an instance that is alone leaves its GPU idle, since the host works: 0 to 1. Instances of a GPU fill each other's
    /// gaps, and share it evenly once there are none: no batch is faster than alone, and no GPU does more than all of its time.
    pub idle_share: f64,
}

/// Why there is no such server.
#[derive(Clone, Copy, PartialEq, Debug, Error)]
pub enum ClassicalError {
    /// Batches cannot be made so.
    #[error(transparent)]
    Batching(#[from] DynamicBatchingError),
    /// Nobody executes.
    #[error("a model has no instance")]
    NoInstance,
    /// A share is between 0 and 1.
    #[error("a GPU that is idle for the share {0} of the time of a batch")]
    IdleShare(f64),
}

/// A request of a classical model.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct ClassicalRequest {
    /// The caller's index.
    pub index: u32,
    /// When it arrived, if that was before it reached the server.
    pub arrival_ns: u64,
    /// Items of its own batch, at least one.
    pub items: u32,
    /// Its level, 1 the highest; 0 stands for the default.
    pub priority_level: u32,
    /// How long it may wait, where requests may say so. 0 says nothing.
    pub timeout_ns: u64,
}

/// What became of a request that was not refused on arrival.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ClassicalOutcome {
    /// The caller's index.
    pub request: u32,
    /// When it arrived.
    pub arrival_ns: u64,
    /// When its answer was returned, or its refusal.
    pub finished_ns: u64,
    /// Which.
    pub fate: Fate,
}

/// How a request ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// It got its answer.
    Served {
        /// When its batch began.
        dispatched_ns: u64,
        /// When its batch ended: earlier than the answer was returned where answers keep the order of requests.
        executed_ns: u64,
        /// Items of its batch.
        batch_items: u32,
    },
    /// It waited too long.
    TimedOut,
}

/// A batch that was executed.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Execution {
    /// The GPU.
    pub gpu: u32,
    /// When it began.
    pub start_ns: u64,
    /// When it ended.
    pub end_ns: u64,
    /// Requests in it.
    pub requests: u32,
    /// Items in it.
    pub items: u32,
    /// Nanoseconds of the GPU's time that it took: what it keeps a GPU busy for when alone.
    pub gpu_ns: f64,
}

/// What a server tells of itself.
pub trait ClassicalObserver {
    /// A request has its answer, or waited too long.
    fn finished(&mut self, _outcome: &ClassicalOutcome) {}
    /// A batch was executed.
    fn executed(&mut self, _execution: &Execution) {}
}

/// Nobody looks.
impl ClassicalObserver for () {}

/// A request that is here.
#[derive(Clone, Copy, Debug)]
struct Present {
    index: u32,
    arrival_ns: u64,
}

/// A batch that is executed.
#[derive(Debug)]
struct Running {
    /// Its number, in the order in which batches began.
    number: u64,
    requests: Vec<u32>,
    items: u32,
    start_ns: u64,
    alone_ns: f64,
    /// It ends when instances of its GPU have come so far.
    ends_at: f64,
}

/// A GPU: how far each of its instances has come since the beginning, counted in nanoseconds of a batch that is alone, and when that was said.
#[derive(Debug)]
struct Gpu {
    running: Vec<Running>,
    progress_ns: f64,
    said_ns: u64,
}

impl Gpu {
    /// How fast a batch goes, to what it is alone.
    fn rate(&self, idle_share: f64) -> f64 {
        let wanted = self.running.len() as f64 * (1.0 - idle_share);
        if wanted > 1.0 { 1.0 / wanted } else { 1.0 }
    }

    /// The next batch to end, where it is, and when.
    fn next_end(&self, idle_share: f64) -> Option<(usize, u64)> {
        let ends = self.running.iter().enumerate();
        let (at, next) = ends.min_by(|(_, one), (_, other)| one.ends_at.total_cmp(&other.ends_at))?;
        let left_ns = (next.ends_at - self.progress_ns).max(0.0) / self.rate(idle_share);
        Some((at, self.said_ns + left_ns.round() as u64))
    }

    /// Brings it up to an instant at which batches begin.
    fn come_to(&mut self, now_ns: u64, idle_share: f64) {
        self.progress_ns += (now_ns - self.said_ns) as f64 * self.rate(idle_share);
        self.said_ns = now_ns;
        if self.running.is_empty() {
            self.progress_ns = 0.0;
        }
    }
}

/// A server of a classical model: its dynamic batcher hands batches to idle instances, on the GPU where the fewest are busy.
#[derive(Debug)]
pub struct ClassicalServer {
    law: BatchLaw,
    instances: Instances,
    batcher: DynamicBatcher,
    gpus: Vec<Gpu>,
    present: Vec<Present>,
    vacant: Vec<u32>,
    /// When an idle instance looks again.
    look_ns: Option<u64>,
    begun: u64,
    /// Batches whose answers are held back for those of earlier ones, each in its place behind the oldest that is executed.
    held: VecDeque<Option<(Running, u64)>>,
    /// Kept to spare its allocation.
    timed_out: Vec<u32>,
}

impl ClassicalServer {
    /// A server without requests.
    pub fn new(
        law: BatchLaw,
        instances: Instances,
        batching: DynamicBatching,
    ) -> Result<Self, ClassicalError> {
        if instances.gpus == 0 || instances.per_gpu == 0 {
            return Err(ClassicalError::NoInstance);
        }
        if !(0.0..=1.0).contains(&instances.idle_share) {
            return Err(ClassicalError::IdleShare(instances.idle_share));
        }
        let gpu = |_| Gpu { running: Vec::new(), progress_ns: 0.0, said_ns: 0 };
        Ok(Self {
            law,
            instances,
            batcher: DynamicBatcher::new(batching)?,
            gpus: (0..instances.gpus).map(gpu).collect(),
            present: Vec::new(),
            vacant: Vec::new(),
            look_ns: None,
            begun: 0,
            held: VecDeque::new(),
            timed_out: Vec::new(),
        })
    }

    /// Requests that it has and are not answered.
    pub fn requests(&self) -> usize {
        self.present.len() - self.vacant.len()
    }

    /// Requests that wait.
    pub fn waiting(&self) -> usize {
        self.batcher.waiting()
    }

    /// Instances that execute a batch.
    pub fn busy_instances(&self) -> usize {
        self.gpus.iter().map(|gpu| gpu.running.len()).sum()
    }

    /// When it must be told to [`Self::advance`]. None if it has nothing to do until something arrives.
    pub fn next_ns(&self) -> Option<u64> {
        let ends = self.gpus.iter().filter_map(|gpu| gpu.next_end(self.instances.idle_share));
        ends.map(|(_, end_ns)| end_ns).chain(self.look_ns).min()
    }

    /// Takes a request in. Whatever ends by `now_ns` must have been advanced over.
    pub fn arrive(
        &mut self,
        now_ns: u64,
        request: &ClassicalRequest,
        observer: &mut impl ClassicalObserver,
    ) -> Result<(), Refusal> {
        let present = Present { index: request.index, arrival_ns: request.arrival_ns };
        let place = self.vacant.pop().unwrap_or_else(|| {
            self.present.push(present);
            self.present.len() as u32 - 1
        });
        self.present[place as usize] = present;
        let waiting = DynamicRequest {
            request: place,
            items: request.items,
            priority_level: request.priority_level,
            timeout_ns: request.timeout_ns,
        };
        if let Err(refusal) = self.batcher.enqueue(now_ns, &waiting) {
            self.vacant.push(place);
            return Err(refusal);
        }
        self.dispatch(now_ns, observer);
        Ok(())
    }

    /// Carries out what ends at [`Self::next_ns`], and begins what can be begun then.
    pub fn advance(&mut self, observer: &mut impl ClassicalObserver) {
        let Some(now_ns) = self.next_ns() else { return };
        for gpu in 0..self.gpus.len() {
            while let Some((at, end_ns)) = self.gpus[gpu].next_end(self.instances.idle_share)
                && end_ns <= now_ns
            {
                self.conclude(gpu, at, now_ns, observer);
            }
        }
        self.dispatch(now_ns, observer);
    }

    fn conclude(&mut self, number: usize, at: usize, now_ns: u64, observer: &mut impl ClassicalObserver) {
        let gpu = &mut self.gpus[number];
        let ended = gpu.running.swap_remove(at);
        // It came so far, whatever the rounding of instants made of it.
        (gpu.progress_ns, gpu.said_ns) = (gpu.progress_ns.max(ended.ends_at), now_ns);
        observer.executed(&Execution {
            gpu: number as u32,
            start_ns: ended.start_ns,
            end_ns: now_ns,
            requests: ended.requests.len() as u32,
            items: ended.items,
            gpu_ns: ended.alone_ns * (1.0 - self.instances.idle_share),
        });
        if !self.batcher.batching().preserve_ordering {
            self.answer(&ended, now_ns, now_ns, observer);
            return;
        }
        let oldest = self.begun - self.held.len() as u64;
        let place = (ended.number - oldest) as usize;
        self.held[place] = Some((ended, now_ns));
        while let Some(Some(_)) = self.held.front() {
            if let Some(Some((batch, executed_ns))) = self.held.pop_front() {
                self.answer(&batch, executed_ns, now_ns, observer);
            }
        }
    }

    fn answer(
        &mut self,
        batch: &Running,
        executed_ns: u64,
        now_ns: u64,
        observer: &mut impl ClassicalObserver,
    ) {
        let fate = Fate::Served { dispatched_ns: batch.start_ns, executed_ns, batch_items: batch.items };
        for &place in &batch.requests {
            self.let_go(place, now_ns, fate, observer);
        }
    }

    fn let_go(&mut self, place: u32, now_ns: u64, fate: Fate, observer: &mut impl ClassicalObserver) {
        self.vacant.push(place);
        let Present { index, arrival_ns } = self.present[place as usize];
        observer.finished(&ClassicalOutcome { request: index, arrival_ns, finished_ns: now_ns, fate });
    }

    /// Hands batches to idle instances.
    fn dispatch(&mut self, now_ns: u64, observer: &mut impl ClassicalObserver) {
        self.look_ns = None;
        loop {
            let idle = |&at: &usize| self.gpus[at].running.len() < self.instances.per_gpu as usize;
            let idlest = (0..self.gpus.len()).filter(idle).min_by_key(|&at| self.gpus[at].running.len());
            let Some(at) = idlest else { return };
            let mut requests = Vec::new();
            let decision = self.batcher.compose(now_ns, &mut requests, &mut self.timed_out);
            while let Some(place) = self.timed_out.pop() {
                self.let_go(place, now_ns, Fate::TimedOut, observer);
            }
            match decision {
                Decision::Execute { items } => self.begin(at, requests, items, now_ns),
                Decision::Wait { until_ns } => {
                    self.look_ns = Some(until_ns);
                    return;
                }
                Decision::Nothing => return,
            }
        }
    }

    fn begin(&mut self, at: usize, requests: Vec<u32>, items: u32, now_ns: u64) {
        // Time passes, even if a law says that nothing takes any.
        let alone_ns = (self.law.seconds(items) * 1e9).max(1.0);
        let gpu = &mut self.gpus[at];
        gpu.come_to(now_ns, self.instances.idle_share);
        let ends_at = gpu.progress_ns + alone_ns;
        let number = self.begun;
        gpu.running.push(Running { number, requests, items, start_ns: now_ns, alone_ns, ends_at });
        self.begun += 1;
        if self.batcher.batching().preserve_ordering {
            self.held.push_back(None);
        }
    }
}

/// Hands requests, in order of arrival, to the servers that `route` picks, and runs until all are done; those that are refused on arrival are returned.
///
/// When `route` is asked, all servers have come to the instant of the arrival.
pub fn replay_classical(
    servers: &mut [ClassicalServer],
    requests: impl IntoIterator<Item = ClassicalRequest>,
    mut route: impl FnMut(&[ClassicalServer], &ClassicalRequest) -> usize,
    observer: &mut impl ClassicalObserver,
) -> Vec<(u32, Refusal)> {
    let mut refused = Vec::new();
    for request in requests {
        let now_ns = request.arrival_ns;
        for server in servers.iter_mut() {
            while server.next_ns().is_some_and(|next_ns| next_ns <= now_ns) {
                server.advance(observer);
            }
        }
        let server = route(servers, &request);
        if let Err(refusal) = servers[server].arrive(now_ns, &request, observer) {
            refused.push((request.index, refusal));
        }
    }
    for server in servers {
        while server.next_ns().is_some() {
            server.advance(observer);
        }
    }
    refused
}
