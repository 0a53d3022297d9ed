//! The order in which candidates are displaced.

use core::cmp::Ordering;

use foretell_framework::Time;

use crate::ids::{QueueId, WorkloadId};
use crate::snapshot::Snapshot;

/// Those on their way out first, then those of other queues, of lower priority, admitted later.
pub(super) fn compare(snapshot: &Snapshot<'_>, queue: QueueId, a: WorkloadId, b: WorkloadId) -> Ordering {
    let (a, b) = (snapshot.workload(a), snapshot.workload(b));
    let reserved = |admission: &Option<crate::model::Admission>| {
        admission.as_ref().map_or(Time::MAX, |held| held.reserved)
    };
    let is_own = |of: Option<QueueId>| of == Some(queue);
    b.evicted
        .cmp(&a.evicted)
        .then_with(|| is_own(a.queue).cmp(&is_own(b.queue)))
        .then_with(|| a.priority.cmp(&b.priority))
        .then_with(|| reserved(&b.admission).cmp(&reserved(&a.admission)))
        .then_with(|| a.uid.cmp(&b.uid))
}
