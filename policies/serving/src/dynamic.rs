//! Triton's dynamic batcher, for models that answer a request in one execution.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::fmt;

/// What happens to a request that has waited too long (`timeout_action`).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum TimeoutAction {
    /// It is refused.
    #[default]
    Reject,
    /// It goes behind all others of its level, and waits there as long as it takes.
    Delay,
}

/// How requests of a level wait (`ModelQueuePolicy`).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct QueuePolicy {
    /// Requests that wait, at most (`max_queue_size`): further ones are refused. No limit if 0.
    pub max_queue_size: u32,
    /// How long a request waits (`default_timeout_microseconds`). No limit if 0.
    pub default_timeout_ns: u64,
    /// Whether a request may name a shorter time (`allow_timeout_override`).
    pub allow_timeout_override: bool,
    /// What happens then.
    pub timeout_action: TimeoutAction,
}

/// How batches are made (`ModelDynamicBatching`, and the model's `max_batch_size`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DynamicBatching {
    /// Items of a batch, at most.
    pub max_batch_size: u32,
    /// Sizes that are sent as soon as they can be made (`preferred_batch_size`). The largest size alone if there are none.
    pub preferred_batch_sizes: Vec<u32>,
    /// How long a request is held back for a preferred size (`max_queue_delay_microseconds`).
    pub max_queue_delay_ns: u64,
    /// Whether answers are returned in the order of the requests; whoever executes batches sees to it.
    pub preserve_ordering: bool,
    /// Levels of priority, 1 the highest (`priority_levels`). One level, without a number, if 0.
    pub priority_levels: u32,
    /// The level of requests that name none.
    pub default_priority_level: u32,
    /// How requests wait, on levels without a policy of their own.
    pub default_queue_policy: QueuePolicy,
    /// Policies of levels.
    pub queue_policies: Vec<(u32, QueuePolicy)>,
}

impl DynamicBatching {
    /// Batches of up to so many items, of whatever waits when an instance is idle.
    pub fn up_to(max_batch_size: u32) -> Self {
        Self {
            max_batch_size,
            preferred_batch_sizes: Vec::new(),
            max_queue_delay_ns: 0,
            preserve_ordering: false,
            priority_levels: 0,
            default_priority_level: 0,
            default_queue_policy: QueuePolicy::default(),
            queue_policies: Vec::new(),
        }
    }

    fn check(&self) -> Result<(), DynamicBatchingError> {
        if self.max_batch_size == 0 {
            return Err(DynamicBatchingError::NoBatchSize);
        }
        let sizes = &self.preferred_batch_sizes;
        if let Some(&size) = sizes.iter().find(|&&size| size == 0 || size > self.max_batch_size) {
            return Err(DynamicBatchingError::PreferredSize(size));
        }
        let levels = self.priority_levels;
        let exists = |level: u32| (1..=levels).contains(&level);
        if levels > 0 && !exists(self.default_priority_level) {
            return Err(DynamicBatchingError::NoSuchLevel(self.default_priority_level));
        }
        if let Some(&(level, _)) = self.queue_policies.iter().find(|&&(level, _)| !exists(level)) {
            return Err(DynamicBatchingError::NoSuchLevel(level));
        }
        if self.preserve_ordering {
            let delays = |policy: &QueuePolicy| policy.timeout_action == TimeoutAction::Delay;
            let own = self.queue_policies.iter().any(|(_, policy)| delays(policy));
            if levels > 1 || own || delays(&self.default_queue_policy) {
                return Err(DynamicBatchingError::OrderCannotHold);
            }
        }
        Ok(())
    }
}

/// Why batches cannot be made so.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DynamicBatchingError {
    /// A batch must have an item.
    NoBatchSize,
    /// A preferred size is none, or more than the largest.
    PreferredSize(u32),
    /// There is no level with this number.
    NoSuchLevel(u32),
    /// Answers cannot keep the order of requests while levels or delays change it.
    OrderCannotHold,
}

impl fmt::Display for DynamicBatchingError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoBatchSize => write!(formatter, "batches of no more than 0 items"),
            Self::PreferredSize(size) => {
                write!(formatter, "the preferred size {size} is not between 1 and the largest size")
            }
            Self::NoSuchLevel(level) => write!(formatter, "there is no priority level {level}"),
            Self::OrderCannotHold => {
                write!(formatter, "order is kept with one priority level only, and without delays on timeout")
            }
        }
    }
}

impl core::error::Error for DynamicBatchingError {}

/// A request as it reaches the batcher.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct DynamicRequest {
    /// The caller's index.
    pub request: u32,
    /// Items of its own batch, at least one.
    pub items: u32,
    /// Its level; 0 stands for the default.
    pub priority_level: u32,
    /// How long it may wait, should it be allowed to say so. 0 says nothing.
    pub timeout_ns: u64,
}

/// Why a request does not even wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// As many wait as may.
    QueueFull {
        /// How many.
        waiting: u32,
    },
    /// It has more items than a batch.
    TooLarge {
        /// Its items.
        items: u32,
    },
    /// There is no such level.
    NoSuchLevel(u32),
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::QueueFull { waiting } => write!(formatter, "{waiting} requests wait, and no more may"),
            Self::TooLarge { items } => write!(formatter, "its {items} items are more than a batch may have"),
            Self::NoSuchLevel(level) => write!(formatter, "there is no priority level {level}"),
        }
    }
}

impl core::error::Error for Refusal {}

/// What an idle instance does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Decision {
    /// It executes a batch of so many items, now.
    Execute {
        /// How many.
        items: u32,
    },
    /// It stays idle; whoever asks again at this instant, or when something arrives, is told more.
    Wait {
        /// When.
        until_ns: u64,
    },
    /// Nothing waits.
    Nothing,
}

#[derive(Clone, Copy, Debug)]
struct Waiting {
    request: u32,
    items: u32,
    arrival_ns: u64,
    /// From when on it has waited too long.
    deadline_ns: u64,
}

#[derive(Clone, Debug)]
struct Level {
    policy: QueuePolicy,
    queue: VecDeque<Waiting>,
    /// Those that have waited too long, and wait on behind the others.
    delayed: VecDeque<Waiting>,
}

/// Triton's dynamic batcher, as its documentation has it. Whenever an instance is idle: the largest batch of a preferred size that those that wait make is
/// executed at once, and if there is none, all that wait, up to the largest size, once the oldest has waited for the longest delay. Requests are taken in their order: level
/// by level, and on each level in the order of arrival.
///
/// As in Triton nobody looks for requests that have waited too long until an instance is idle, and then only among those that the batch would have: with all instances busy
/// a request is told late. (From memory of its sources: they let the delay, once it is over, go before a preferred size; the documentation, and this, do not.)
#[derive(Clone, Debug)]
pub struct DynamicBatcher {
    batching: DynamicBatching,
    levels: Vec<Level>,
}

impl DynamicBatcher {
    /// A batcher for whom nothing waits.
    pub fn new(mut batching: DynamicBatching) -> Result<Self, DynamicBatchingError> {
        batching.check()?;
        if batching.preferred_batch_sizes.is_empty() {
            batching.preferred_batch_sizes.push(batching.max_batch_size);
        }
        let policy = |level: u32| {
            let own = batching.queue_policies.iter().find(|&&(of, _)| of == level);
            own.map_or(batching.default_queue_policy, |&(_, policy)| policy)
        };
        let level =
            |number| Level { policy: policy(number), queue: VecDeque::new(), delayed: VecDeque::new() };
        let levels = (1..=batching.priority_levels.max(1)).map(level).collect();
        Ok(Self { batching, levels })
    }

    /// How it makes batches.
    pub const fn batching(&self) -> &DynamicBatching {
        &self.batching
    }

    /// Requests that wait.
    pub fn waiting(&self) -> usize {
        self.levels.iter().map(|level| level.queue.len() + level.delayed.len()).sum()
    }

    /// Lets a request wait.
    pub fn enqueue(&mut self, now_ns: u64, request: &DynamicRequest) -> Result<(), Refusal> {
        let items = request.items.max(1);
        if items > self.batching.max_batch_size {
            return Err(Refusal::TooLarge { items });
        }
        let number = match (self.batching.priority_levels, request.priority_level) {
            (0, _) => 1,
            (_, 0) => self.batching.default_priority_level,
            (_, level) => level,
        };
        let Some(level) = self.levels.get_mut(number as usize - 1) else {
            return Err(Refusal::NoSuchLevel(number));
        };
        let waiting = (level.queue.len() + level.delayed.len()) as u32;
        let policy = level.policy;
        if policy.max_queue_size > 0 && waiting >= policy.max_queue_size {
            return Err(Refusal::QueueFull { waiting });
        }
        let after = |timeout_ns: u64| match timeout_ns {
            0 => u64::MAX,
            _ => now_ns.saturating_add(timeout_ns),
        };
        let mut deadline_ns = after(policy.default_timeout_ns);
        if policy.allow_timeout_override {
            deadline_ns = deadline_ns.min(after(request.timeout_ns));
        }
        level.queue.push_back(Waiting { request: request.request, items, arrival_ns: now_ns, deadline_ns });
        Ok(())
    }

    /// What an idle instance does now: the requests of its batch are added to `batch`, and those that have waited too long to `timed_out`.
    pub fn compose(&mut self, now_ns: u64, batch: &mut Vec<u32>, timed_out: &mut Vec<u32>) -> Decision {
        let Survey { requests, items, full, preferred, oldest_ns, deadline_ns } =
            self.survey(now_ns, timed_out);
        if requests == 0 {
            return Decision::Nothing;
        }
        if let Some((requests, items)) = preferred {
            self.take(requests, batch);
            return Decision::Execute { items };
        }
        let largest = self.batching.preferred_batch_sizes.iter().max();
        let out_of_reach = largest.is_none_or(|&largest| items > largest);
        let until_ns = oldest_ns.saturating_add(self.batching.max_queue_delay_ns);
        if full || out_of_reach || until_ns <= now_ns {
            self.take(requests, batch);
            return Decision::Execute { items };
        }
        Decision::Wait { until_ns: until_ns.min(deadline_ns) }
    }

    /// Looks at those that a batch could have, and sorts out on the way those that have waited too long.
    fn survey(&mut self, now_ns: u64, timed_out: &mut Vec<u32>) -> Survey {
        let mut survey = Survey::default();
        for level in &mut self.levels {
            let mut at = 0;
            while let Some(&waiting) = level.queue.get(at) {
                if waiting.deadline_ns > now_ns {
                    if !survey.add(&waiting, &self.batching) {
                        return survey;
                    }
                    at += 1;
                    continue;
                }
                level.queue.remove(at);
                match level.policy.timeout_action {
                    TimeoutAction::Reject => timed_out.push(waiting.request),
                    TimeoutAction::Delay => {
                        level.delayed.push_back(Waiting { deadline_ns: u64::MAX, ..waiting });
                    }
                }
            }
            for waiting in &level.delayed {
                if !survey.add(waiting, &self.batching) {
                    return survey;
                }
            }
        }
        survey
    }

    /// Takes the first so many out.
    fn take(&mut self, mut requests: usize, batch: &mut Vec<u32>) {
        for level in &mut self.levels {
            for queue in [&mut level.queue, &mut level.delayed] {
                let taken = requests.min(queue.len());
                batch.extend(queue.drain(..taken).map(|waiting| waiting.request));
                requests -= taken;
            }
        }
    }
}

/// What those that wait would make.
#[derive(Clone, Copy, Debug)]
struct Survey {
    requests: usize,
    items: u32,
    /// Whether it cannot have another item, or not the next request.
    full: bool,
    /// Requests and items of the largest preferred size.
    preferred: Option<(usize, u32)>,
    /// When the oldest arrived.
    oldest_ns: u64,
    /// When the first will have waited too long.
    deadline_ns: u64,
}

impl Default for Survey {
    fn default() -> Self {
        Self {
            requests: 0,
            items: 0,
            full: false,
            preferred: None,
            oldest_ns: u64::MAX,
            deadline_ns: u64::MAX,
        }
    }
}

impl Survey {
    /// Adds a request; whether another may follow.
    fn add(&mut self, waiting: &Waiting, batching: &DynamicBatching) -> bool {
        if self.items + waiting.items > batching.max_batch_size {
            self.full = true;
            return false;
        }
        self.requests += 1;
        self.items += waiting.items;
        self.oldest_ns = self.oldest_ns.min(waiting.arrival_ns);
        self.deadline_ns = self.deadline_ns.min(waiting.deadline_ns);
        if batching.preferred_batch_sizes.contains(&self.items) {
            self.preferred = Some((self.requests, self.items));
        }
        self.full = self.items == batching.max_batch_size;
        !self.full
    }
}
