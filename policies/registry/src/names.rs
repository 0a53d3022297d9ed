//! The names of policies and of their parts.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::volcano::BUILT_IN as VOLCANO_PROFILES;

/// A name and what it stands for, in one line.
pub type Description = (&'static str, &'static str);

/// The policy that is neither an order nor a placement.
pub const DEFAULT: Description =
    ("default", "kube-scheduler's default profile: pod by pod, queue with backoff");

/// KAI-Scheduler.
pub const KAI: Description = (
    "kai",
    "KAI-Scheduler: fair shares in a tree of queues, gangs, shared GPUs; consolidates, reclaims, preempts",
);

/// Profiles of scheduler-plugins.
pub const SCHEDULER_PLUGINS_PROFILES: [Description; 3] = [
    (
        "coscheduling",
        "kube-scheduler with pod groups: pods hold their nodes until their group has its quorum, or time is up",
    ),
    ("coscheduling-hold", "the same, where only time makes a group let go"),
    ("elastic-quota", "coscheduling with elastic quotas of namespaces: borrow and take back"),
];

/// Profiles of Kueue.
pub const KUEUE_PROFILES: [Description; 2] = [
    (
        "kueue",
        "jobs are admitted whole by the quotas of their queues, which lend, borrow and take back; then binpack",
    ),
    ("kueue-fair", "the same, with fair shares: who borrows least for its weight goes first"),
];

/// What may follow the name of a policy.
pub const CONSOLIDATE: Description = (
    "+consolidate",
    "moves running jobs together so that a waiting one fits; with all but Volcano's profiles",
);

/// Orders of waiting jobs. Higher priority goes first, in `aging` unless the other waits for longer; `pollux`, `sia` and
/// those of Gavel know no priorities.
pub const ORDERS: [Description; 26] = [
    ("fifo", "first in, first out; the head of a queue blocks those behind it"),
    ("fifo-skip", "first in, first out; jobs that fit go ahead of those that do not"),
    ("sjf", "shortest job first by the trace's duration; the head of a queue blocks"),
    ("sjf-skip", "shortest job first by the trace's duration; jobs that fit go ahead"),
    (
        "easy",
        "first in, first out; jobs go ahead that do not delay the head of a queue, by expected durations",
    ),
    (
        "conservative",
        "first in, first out; jobs go ahead that delay no job before them, by expected durations",
    ),
    ("aging", "highest priority plus age first, an hour for a point; the head of a queue blocks"),
    (
        "slurm",
        "Slurm's multifactor priority with fair tree and backfill, at common settings; alone with binpack",
    ),
    ("srtf", "shortest remaining time first; preempts, and pays for restarts"),
    ("srsf", "shortest remaining GPU-time first; preempts"),
    ("themis", "largest finish-time ratio first, with leases of GPUs; preempts at their end"),
    ("las", "least attained GPU-time first; preempts, knows no durations"),
    (
        "tiresias",
        "discretised two-dimensional LAS: queues by attained GPU-time; preempts, knows no durations",
    ),
    ("gittins", "the same, in a queue by Gittins index, learned from jobs that ended"),
    ("qssf", "least predicted GPU-time first, learned from jobs that ended; the head blocks"),
    ("qssf-skip", "the same; jobs that fit go ahead"),
    ("edf", "earliest deadline first; preempts"),
    (
        "optimus",
        "elastic jobs: all get their minimum, then GPUs go to whom they bring closest to the end; alone with whole-nodes",
    ),
    (
        "elasticflow",
        "elastic jobs: admitted if all deadlines can be met, and given what meets them; alone with whole-nodes",
    ),
    (
        "pollux",
        "elastic jobs: a genetic search for the best mean speed-up; chooses nodes itself, may stand alone",
    ),
    (
        "sia",
        "elastic jobs: goodput by GPU model, an integer program per round; chooses nodes itself, may stand alone",
    ),
    (
        "gavel",
        "turns on GPU models: the least relative speed as large as can be; chooses nodes, may stand alone",
    ),
    ("gavel-finish-time", "the same, the largest finish-time ratio as small as can be"),
    ("gavel-makespan", "the same, the last job to end as early as can be"),
    ("gavel-throughput", "the same, the largest sum of speeds"),
    ("gavel-cost", "the same, the largest sum of speeds per cost of GPUs"),
];

/// Orders that may stand alone, with the placement that they then have.
pub(crate) const ALONE: [(&str, &str); 10] = [
    ("slurm", "binpack"),
    ("optimus", "whole-nodes"),
    ("elasticflow", "whole-nodes"),
    ("pollux", "whole-nodes"),
    ("sia", "whole-nodes"),
    ("gavel", "whole-nodes"),
    ("gavel-finish-time", "whole-nodes"),
    ("gavel-makespan", "whole-nodes"),
    ("gavel-throughput", "whole-nodes"),
    ("gavel-cost", "whole-nodes"),
];

/// Ways to place a task.
pub const PLACEMENTS: [Description; 13] = [
    ("first-fit", "the first node that fits"),
    ("whole-nodes", "large jobs on idle nodes and the rest on the freest, small jobs best fit: Helios' rule"),
    ("binpack", "the node with the most GPU allocated"),
    ("spread", "the node with the least GPU allocated"),
    ("random", "any node that fits"),
    ("dot-product", "least free capacity in the dimensions that the task asks for"),
    ("best-fit", "least CPU and GPU left over"),
    ("gpu-clustering", "beside tasks of the same kind"),
    ("gpu-packing", "GPUs in use before free GPUs, nodes in use before idle ones"),
    ("fgd", "least growth of GPU fragmentation"),
    (
        "topology",
        "the gang in the smallest topology domain that holds it, ranks in order; parts filled one by one",
    ),
    ("topology-even", "the same, with the gang divided evenly over the domain"),
    ("gpu-links", "the GPUs with the best links to each other, then the node with the most GPU allocated"),
];

/// Every name that [`build`](crate::build) accepts, combinations included.
pub fn all_names() -> Vec<String> {
    let combined = ORDERS
        .iter()
        .flat_map(|(order, _)| PLACEMENTS.iter().map(move |(placement, _)| format!("{order}+{placement}")));
    core::iter::once(DEFAULT)
        .chain([KAI])
        .chain(SCHEDULER_PLUGINS_PROFILES)
        .chain(KUEUE_PROFILES)
        .chain(VOLCANO_PROFILES)
        .map(|(name, _)| name.to_string())
        .chain(ALONE.map(|(order, _)| order.to_string()))
        .chain(PLACEMENTS.iter().map(|(name, _)| (*name).to_string()))
        .chain(combined)
        .collect()
}

/// Several names in a row.
pub(crate) fn names(descriptions: &[Description]) -> String {
    let names: Vec<_> = descriptions.iter().map(|(name, _)| *name).collect();
    names.join(", ")
}
