//! Quotas of namespaces (`ResourceQuota`), as the API server enforces them when pods are created.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use foretell_framework::state::ResourceQuota;
use foretell_framework::{ClusterState, Reason, TaskId, TaskSpec, TaskStatus, WHOLE_GPU_MILLI};

use crate::filters::GPU_RESOURCE;

/// Lets pods into the queue as long as their namespaces stay within their quotas. Pods that are held back do not exist for
/// the scheduler yet; what exists and has not ended counts, whether it is placed or waits.
#[derive(Default)]
pub struct QuotaGate {
    /// Pods that are held back, in order of arrival, and why.
    held: Vec<(TaskId, Reason)>,
    /// Pods that were let in.
    admitted: BTreeSet<TaskId>,
    /// What pods use of each quota; found anew after something ended.
    used: Option<BTreeMap<Box<str>, Vec<Amounts>>>,
    /// The version of the cluster's objects for which it was found.
    version: u64,
    /// Something ended since pods were held back.
    may_admit: bool,
}

/// Amounts of the resources that a quota names, in the order of [`named`].
type Amounts = Vec<u64>;

impl QuotaGate {
    /// Lets a new pod in, or holds it back and says why.
    pub fn admit(&mut self, state: &ClusterState, task: TaskId) -> Result<(), Reason> {
        match self.try_admit(state, task) {
            Err(reason) => {
                self.held.push((task, reason.clone()));
                Err(reason)
            }
            Ok(()) => Ok(()),
        }
    }

    /// Pods have ended or gone: others may be let in now.
    pub fn something_ended(&mut self) {
        self.used = None;
        self.may_admit = true;
    }

    /// Pods are about to go.
    pub fn forget(&mut self, tasks: &[TaskId]) {
        self.used = None;
        self.may_admit = true;
        for task in tasks {
            self.admitted.remove(task);
        }
        self.held.retain(|(task, _)| !tasks.contains(task));
    }

    /// Lets those in that fit by now, in their order.
    pub fn admit_held(&mut self, state: &ClusterState) -> Vec<TaskId> {
        let changed = self.version != state.objects_version();
        if self.held.is_empty() || !(core::mem::take(&mut self.may_admit) || changed) {
            return Vec::new();
        }
        let mut admitted = Vec::new();
        for (task, _) in core::mem::take(&mut self.held) {
            match self.try_admit(state, task) {
                Ok(()) => admitted.push(task),
                Err(reason) => self.held.push((task, reason)),
            }
        }
        admitted
    }

    /// Why a pod is held back.
    pub fn reason(&self, task: TaskId) -> Option<&Reason> {
        self.held.iter().find(|(held, _)| *held == task).map(|(_, reason)| reason)
    }

    fn try_admit(&mut self, state: &ClusterState, task: TaskId) -> Result<(), Reason> {
        let Some(spec) = state.task_spec(task) else { return Ok(()) };
        if self.version != state.objects_version() {
            self.version = state.objects_version();
            self.used = None;
        }
        let admitted = &self.admitted;
        let used = self.used.get_or_insert_with(|| count(state, admitted));
        let quotas = || {
            let quotas = state.objects().resource_quotas.iter();
            quotas.filter(|quota| quota.namespace == spec.namespace)
        };
        let Some(used) = used.get_mut(&spec.namespace) else { return Ok(()) };
        for (quota, used) in quotas().zip(used.iter()) {
            for (((resource, hard), asked), &used) in
                named(state, quota).into_iter().zip(asked(quota, spec)).zip(used)
            {
                if asked > 0 && used + asked > hard {
                    let unit = if *resource == *GPU_RESOURCE { u64::from(WHOLE_GPU_MILLI) } else { 1 };
                    let [used, asked, hard] = [used, asked, hard].map(|amount| amount.div_ceil(unit));
                    return Err(Reason::OverQuota { quota: quota.name.clone(), resource, used, asked, hard });
                }
            }
        }
        for (quota, used) in quotas().zip(used) {
            used.iter_mut().zip(asked(quota, spec)).for_each(|(used, asked)| *used += asked);
        }
        self.admitted.insert(task);
        Ok(())
    }
}

/// What pods that hold a node or were let in use of the quotas of each namespace that has some.
fn count(state: &ClusterState, admitted: &BTreeSet<TaskId>) -> BTreeMap<Box<str>, Vec<Amounts>> {
    let mut quotas: BTreeMap<&str, Vec<&ResourceQuota>> = BTreeMap::new();
    for quota in &state.objects().resource_quotas {
        quotas.entry(&quota.namespace).or_default().push(quota);
    }
    let nothing = |quota: &&ResourceQuota| asked(quota, &TaskSpec::default()).iter().map(|_| 0).collect();
    let mut used: BTreeMap<Box<str>, Vec<Amounts>> = quotas
        .iter()
        .map(|(&namespace, quotas)| (namespace.into(), quotas.iter().map(nothing).collect()))
        .collect();
    for (id, task) in state.tasks() {
        let spec = state.class_spec(task.class);
        let ended = matches!(task.status(), TaskStatus::Succeeded | TaskStatus::Failed);
        let counts = task.status().holds_node() || (!ended && admitted.contains(&id));
        let Some(used) = used.get_mut(&spec.namespace).filter(|_| counts) else { continue };
        for (quota, used) in quotas[&*spec.namespace].iter().zip(used) {
            used.iter_mut().zip(asked(quota, spec)).for_each(|(used, asked)| *used += asked);
        }
    }
    used
}

/// The resources that a quota names, and the most of each. GPUs are counted in thousandths.
fn named(state: &ClusterState, quota: &ResourceQuota) -> Vec<(Box<str>, u64)> {
    let hard = &quota.hard;
    let plain = [
        ("cpu", hard.cpu_milli),
        ("memory", hard.memory_bytes),
        (GPU_RESOURCE, hard.gpu_milli),
        ("pods", hard.tasks),
    ];
    let plain = plain.into_iter().filter_map(|(name, amount)| Some((name.into(), amount?)));
    let extended =
        hard.extended.iter().map(|&(resource, amount)| (state.resource_name(resource).into(), amount));
    plain.chain(extended).collect()
}

/// What a pod asks of the resources that a quota names, in the same order.
fn asked(quota: &ResourceQuota, spec: &TaskSpec) -> Amounts {
    let hard = &quota.hard;
    let plain = [
        (hard.cpu_milli, spec.requests.cpu_milli),
        (hard.memory_bytes, spec.requests.memory_bytes),
        (hard.gpu_milli, spec.gpus.total_milli()),
        (hard.tasks, 1),
    ];
    let plain = plain.into_iter().filter_map(|(hard, asked)| hard.map(|_| asked));
    plain.chain(hard.extended.iter().map(|&(resource, _)| spec.requests.extended(resource))).collect()
}
