//! Annotations by which a driver tells what the state has no field for. Times and durations are nanoseconds.

/// Memory that a task asks of one GPU, in MiB.
pub const GPU_MEMORY: &str = "gpu-memory";
/// When a job last got its minimum.
pub const LAST_START: &str = "kai.scheduler/last-start-timestamp";
/// Since when a job has run without its minimum.
pub const STALE_SINCE: &str = "kai.scheduler/stale-podgroup-timestamp";
/// The group, within its job, that a task belongs to (a label).
pub const SUB_GROUP: &str = "kai.scheduler/subgroup-name";
/// The priority of a task within its job (a label).
pub const TASK_PRIORITY: &str = "kai.scheduler/task-priority";
/// How long jobs of a queue run before others of it may preempt them.
pub const PREEMPT_MIN_RUNTIME: &str = "kai.scheduler/preempt-min-runtime";
/// How long jobs of a queue run before other queues may reclaim what they hold.
pub const RECLAIM_MIN_RUNTIME: &str = "kai.scheduler/reclaim-min-runtime";
/// A queue's weights for what nobody deserves: CPU, memory, GPU.
pub const OVER_QUOTA_WEIGHTS: [&str; 3] = [
    "kai.scheduler/over-quota-weight.cpu",
    "kai.scheduler/over-quota-weight.memory",
    "kai.scheduler/over-quota-weight.gpu",
];
/// The priority of a queue that states none.
pub const DEFAULT_QUEUE_PRIORITY: i32 = 100;
