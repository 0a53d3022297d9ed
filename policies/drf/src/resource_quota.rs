//! Volcano's `resourcequota`: the quota of a namespace, asked for before a job enters its queue.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;

use foretell_framework::{ClusterState, Dimension, JobId, Quota, SessionPlugin, Time, Vote};

/// Keeps jobs out whose minimum, with what their namespace uses and has let in during this session, would exceed a
/// quota of the namespace. Only what a job's minimum names counts.
#[derive(Default)]
pub struct NamespaceQuota {
    /// Minima of jobs that entered in this session, by namespace.
    entered: BTreeMap<Box<str>, BTreeMap<Dimension, u64>>,
}

fn minimum(state: &ClusterState, job: JobId) -> Option<(&str, &Quota)> {
    let spec = &state.job(job)?.spec;
    Some((&spec.namespace, spec.gang.as_ref()?.min_resources.as_ref()?))
}

impl SessionPlugin for NamespaceQuota {
    fn name(&self) -> &'static str {
        "resourcequota"
    }

    fn open(&mut self, _state: &ClusterState, _now: Time) {
        self.entered.clear();
    }

    fn job_enqueueable(&self, state: &ClusterState, job: JobId) -> Vote {
        let Some((namespace, minimum)) = minimum(state, job) else { return Vote::Permit };
        let entered = self.entered.get(namespace);
        let mut quotas =
            state.objects().resource_quotas.iter().filter(|quota| *quota.namespace == *namespace);
        let fits = quotas.all(|quota| {
            minimum.named().all(|(dimension, amount)| {
                let named = |quota: &Quota| {
                    quota.named().find(|&(named, _)| named == dimension).map(|(_, amount)| amount)
                };
                let Some(hard) = named(&quota.hard) else { return true };
                let entered = entered.and_then(|entered| entered.get(&dimension)).copied().unwrap_or(0);
                let used = named(&quota.used).unwrap_or(0);
                used.saturating_add(entered).saturating_add(amount) <= hard
            })
        });
        if fits { Vote::Permit } else { Vote::Reject }
    }

    fn job_enqueued(&mut self, state: &ClusterState, job: JobId) {
        let Some((namespace, minimum)) = minimum(state, job) else { return };
        let entered = self.entered.entry(namespace.into()).or_default();
        for (dimension, amount) in minimum.named() {
            let sum = entered.entry(dimension).or_default();
            *sum = sum.saturating_add(amount);
        }
    }
}
