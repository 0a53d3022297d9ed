//! Kueue's topologies: the nodes of a flavor, what pods hold of them, and what pod sets ask for.

use foretell_kueue::ResourceId;
use foretell_kueue::topology::{
    LevelRequest, PodShape, SliceLayer, TopologyFlavor, TopologyNode, TopologyRequest, TopologySnapshot,
};
use k8s_openapi::api::core::v1::{Node, Pod, PodSpec};

use super::amounts::{self, Amounts, PODS};
use super::node::{allocatable, taints};
use super::selectors::{self, labels};
use crate::error::ManifestError;
use crate::kinds::kueue;
use crate::objects::{Objects, Origin};

/// Label of pods that are assigned by topology: what they hold is their workload's usage.
const TOPOLOGY_LABEL: &str = "kueue.x-k8s.io/tas";

/// The nodes of a flavor under its topology, less what pods hold that are not assigned by topology; `None` if there is no
/// such flavor or it has no topology. Usage of workloads is not added. `resource` gives resources their numbers.
pub fn topology_snapshot(
    objects: &Objects,
    flavor: &str,
    resource: &mut dyn FnMut(&str) -> ResourceId,
) -> Result<Option<TopologySnapshot>, ManifestError> {
    let named = |name: &Option<String>| name.as_deref() == Some(flavor);
    let Some(flavor) = objects.resource_flavors.iter().find(|object| named(&object.metadata.name)) else {
        return Ok(None);
    };
    let Some(name) = &flavor.spec.topology_name else { return Ok(None) };
    let Some(topology) = objects.topologies.iter().find(|object| object.metadata.name.as_ref() == Some(name))
    else {
        return Err(flavor.origin.error("spec.topologyName", format!("no topology of the name {name}")));
    };
    let levels: Vec<Box<str>> =
        topology.spec.levels.iter().map(|level| level.node_label.as_str().into()).collect();
    let mut nodes = Vec::new();
    for node in objects.nodes.iter().filter(|node| is_usable(node)) {
        let list =
            amounts::amounts(allocatable(node).into_iter().flatten(), "status.allocatable", &node.origin)?;
        let given = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
        nodes.push((
            node.metadata.name.as_deref().unwrap_or_default(),
            labels(node.metadata.labels.iter().flatten()),
            taints(given, &node.origin)?,
            numbered(&list, resource),
            list.get(PODS).map_or(0, |&pods| pods as i64),
        ));
    }
    let nodes: Vec<TopologyNode<'_>> = nodes
        .iter()
        .map(|(name, labels, taints, allocatable, pods)| TopologyNode {
            name,
            labels,
            taints,
            allocatable,
            pods: *pods,
        })
        .collect();
    let flavor = TopologyFlavor {
        node_labels: labels(&flavor.spec.node_labels),
        tolerations: selectors::tolerations(&flavor.spec.tolerations, &flavor.origin)?,
    };
    let mut snapshot = TopologySnapshot::new(&levels, &flavor, &nodes);
    for pod in objects.pods.iter().filter(|pod| holds_outside(pod)) {
        let spec = pod.spec.as_ref();
        let node = spec.and_then(|spec| spec.node_name.as_deref()).unwrap_or_default();
        let requests = spec.map(|spec| amounts::pod_requests(spec, &pod.origin)).transpose()?;
        let requests = requests.map(|requests| numbered(&requests.requests, resource)).unwrap_or_default();
        snapshot.hold(node, &requests, 1);
    }
    Ok(Some(snapshot))
}

/// The pods of a template.
pub fn pod_shape(
    spec: &PodSpec,
    origin: &Origin,
    resource: &mut dyn FnMut(&str) -> ResourceId,
) -> Result<PodShape, ManifestError> {
    let affinity = spec.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref());
    Ok(PodShape {
        requests: numbered(&amounts::pod_requests(spec, origin)?.requests, resource),
        node_selector: labels(spec.node_selector.iter().flatten()),
        node_affinity: affinity.map(selectors::node_affinity).unwrap_or_default(),
        tolerations: selectors::tolerations(spec.tolerations.as_deref().unwrap_or_default(), origin)?,
    })
}

/// What a pod set asks of its topology.
pub fn topology_request(request: &kueue::TopologyRequest) -> TopologyRequest {
    let level = match (&request.required, &request.preferred, request.unconstrained) {
        (Some(level), ..) => Some(LevelRequest::Required(level.as_str().into())),
        (None, Some(level), _) => Some(LevelRequest::Preferred(level.as_str().into())),
        (None, None, Some(true)) => Some(LevelRequest::Unconstrained),
        (None, None, _) => None,
    };
    let layers = request.podset_slice_required_topology_constraints.iter().flatten();
    let layers =
        layers.map(|layer| SliceLayer { level: layer.topology.as_str().into(), size: Some(layer.size) });
    let single = request.pod_set_slice_required_topology.iter();
    let single =
        single.map(|level| SliceLayer { level: level.as_str().into(), size: request.pod_set_slice_size });
    TopologyRequest {
        level,
        slices: single.chain(layers).collect(),
        group: request.pod_set_group_name.as_deref().map(Into::into),
    }
}

fn numbered(amounts: &Amounts, resource: &mut dyn FnMut(&str) -> ResourceId) -> Vec<(ResourceId, i64)> {
    let resources = amounts.iter().filter(|(name, _)| *name != PODS);
    resources.map(|(name, &amount)| (resource(name), amount as i64)).collect()
}

/// Whether a node is ready and takes new pods.
fn is_usable(node: &Node) -> bool {
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let ready =
        conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True");
    ready && node.spec.as_ref().and_then(|spec| spec.unschedulable) != Some(true)
}

/// Whether a pod is bound, has not ended, and is not assigned by topology.
fn holds_outside(pod: &Pod) -> bool {
    let marked = |map: &Option<std::collections::BTreeMap<String, String>>| {
        map.as_ref().is_some_and(|map| map.contains_key(TOPOLOGY_LABEL))
    };
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    let bound =
        pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).is_some_and(|node| !node.is_empty());
    bound && !matches!(phase, Some("Succeeded" | "Failed")) && !marked(&pod.metadata.labels)
}
