//! The pods of a job.

use foretell_sim::framework::spec::{LabelOperator, LabelRequirement, NodeAffinity, NodeSelectorTerm};
use foretell_sim::framework::{Resources, TaskSpec};
use foretell_sim::platform::Role;

use crate::scenario::{JobTraits, VIRTUAL_CLUSTER_LABEL};

/// The pods of a job: its tasks, of which it needs `sizes.0` and may have `sizes.1` if that is said, and those beside them.
pub(super) fn roles(
    tasks: u32,
    sizes: Option<(u32, u32)>,
    spec: TaskSpec,
    traits: Option<&JobTraits>,
) -> Vec<Role> {
    let least = traits.and_then(|traits| traits.min_tasks).unwrap_or(tasks);
    let (minimum, tasks) = sizes.unwrap_or((least, tasks));
    let Some(traits) = traits else { return vec![Role { count: tasks, minimum, spec }] };
    let others = traits.roles.iter().map(|role| {
        let requests = Resources::new(role.cpu_milli, role.memory_bytes);
        let node_affinity = spec.node_affinity.clone();
        let role_name = role.name.as_str().into();
        let never_preempts = traits.never_preempts;
        let spec =
            TaskSpec { role: role_name, requests, node_affinity, never_preempts, ..TaskSpec::default() };
        Role::gang(role.tasks, spec)
    });
    let mut roles: Vec<Role> = others.collect();
    roles.push(Role {
        count: tasks,
        minimum,
        spec: TaskSpec {
            role: traits.worker_role.as_str().into(),
            never_preempts: traits.never_preempts,
            ..spec
        },
    });
    roles
}

/// The nodes of a virtual cluster, and those that belong to none.
pub(super) fn own_or_shared_nodes(virtual_cluster: &str) -> NodeAffinity {
    let term = |operator| {
        NodeSelectorTerm::new(vec![LabelRequirement { key: VIRTUAL_CLUSTER_LABEL.into(), operator }])
    };
    let own = term(LabelOperator::In(vec![virtual_cluster.into()]));
    NodeAffinity { required: vec![own, term(LabelOperator::DoesNotExist)], preferred: Vec::new() }
}
