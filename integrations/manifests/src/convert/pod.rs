//! Pods to tasks.

use foretell_framework::spec::{HostPort, Images, ScoringRequests};
use foretell_framework::{Labels, TaskDetails, TaskSpec, Time};
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1 as meta;

use super::amounts::{self, Units};
use super::selectors::{self, labels};
use super::{Builder, key};
use crate::error::ManifestError;
use crate::objects::{Located, Objects, Origin};

/// The role of a pod in its job.
const ROLE_KEYS: [&str; 2] = ["volcano.sh/task-spec", "training.kubeflow.org/replica-type"];

/// Whether some policy reads annotations and labels of this key. Those of pods that name their group are read here.
fn is_policy_key(key: &str) -> bool {
    let Some((prefix, name)) = key.split_once('/') else {
        return key == "sla-waiting-time" || key == super::kai::GPU_MEMORY_KEY;
    };
    let belongs = prefix == "volcano.sh"
        || prefix.ends_with(".volcano.sh")
        || matches!(prefix, "scheduling.x-k8s.io" | "kueue.x-k8s.io" | "foretell.dev");
    belongs && name != "group-name"
}

/// Labels that number the pods of a controller.
const INDEX_LABELS: [&str; 4] = [
    "volcano.sh/task-index",
    "training.kubeflow.org/replica-index",
    "batch.kubernetes.io/job-completion-index",
    "apps.kubernetes.io/pod-index",
];

/// The number of a pod among those of its role.
pub(super) fn index(pod: &Pod) -> Option<u64> {
    let labels = pod.metadata.labels.as_ref()?;
    INDEX_LABELS.iter().find_map(|key| labels.get(*key)?.parse().ok())
}

/// The annotations that policies read; labels of such keys stand in where there is no annotation.
pub(super) fn policy_annotations(metadata: &meta::ObjectMeta) -> Labels {
    let mut found = labels(metadata.labels.iter().flatten().filter(|(key, _)| is_policy_key(key)));
    found.extend(annotations(metadata));
    found
}

fn annotations(metadata: &meta::ObjectMeta) -> Labels {
    labels(metadata.annotations.iter().flatten().filter(|(key, _)| is_policy_key(key)))
}

/// An annotation, or a label where there is no annotation.
pub(super) fn mark<'a>(metadata: &'a meta::ObjectMeta, key: &str) -> Option<&'a str> {
    let get = |map: &'a Option<std::collections::BTreeMap<String, String>>| {
        map.as_ref().and_then(|map| map.get(key)).map(String::as_str).filter(|value| !value.is_empty())
    };
    get(&metadata.annotations).or_else(|| get(&metadata.labels))
}

/// Whether a pod or group may be displaced, where it says so.
pub(super) fn preemptable(metadata: &meta::ObjectMeta) -> Option<bool> {
    mark(metadata, "volcano.sh/preemptable").and_then(|value| value.parse().ok())
}

/// A point in time as nanoseconds since 1970.
pub(crate) fn time(time: &meta::Time) -> Time {
    Time::from_nanos(u64::try_from(time.0.as_nanosecond()).unwrap_or(0))
}

/// Name with tag, as kube-scheduler compares images.
fn image_name(name: &str) -> Box<str> {
    let tagged = name.rfind(':').is_some_and(|colon| name.rfind('/').is_none_or(|slash| colon > slash));
    if tagged { name.into() } else { format!("{name}:latest").into() }
}

/// Labels that number pods and that no selector asks for: without them pods that are alike are one class.
pub(super) fn unread_labels(objects: &Objects) -> Vec<&'static str> {
    let mut texts = Vec::new();
    for spec in objects.pods.iter().filter_map(|pod| pod.spec.as_ref()) {
        if spec.affinity.is_some() || spec.topology_spread_constraints.is_some() {
            texts.push(serde_json::to_string(&(&spec.affinity, &spec.topology_spread_constraints)));
        }
    }
    for budget in objects.disruption_budgets.iter().filter_map(|budget| budget.spec.as_ref()) {
        texts.push(serde_json::to_string(&budget.selector));
    }
    texts.extend(objects.services.iter().map(|service| {
        serde_json::to_string(&service.spec.as_ref().and_then(|spec| spec.selector.as_ref()))
    }));
    texts.extend(objects.replica_sets.iter().map(|set| serde_json::to_string(&set.spec.selector)));
    texts.extend(objects.stateful_sets.iter().map(|set| serde_json::to_string(&set.spec.selector)));
    for policy in objects.volcano_pod_groups.iter().flat_map(|group| &group.spec.sub_group_policy) {
        texts.push(serde_json::to_string(&(&policy.label_selector, &policy.match_label_keys)));
    }
    let texts: Vec<String> = texts.into_iter().filter_map(Result::ok).collect();
    INDEX_LABELS.into_iter().filter(|label| !texts.iter().any(|text| text.contains(label))).collect()
}

impl Builder<'_> {
    /// The class of a pod. `placed` says whether it has its node.
    pub(super) fn task_spec(&mut self, pod: &Located<Pod>, placed: bool) -> Result<TaskSpec, ManifestError> {
        let origin = &pod.origin;
        let default = PodSpec::default();
        let spec = pod.spec.as_ref().unwrap_or(&default);
        let namespace = key::namespace(&pod.metadata);
        let mut own = labels(pod.metadata.labels.iter().flatten());
        own.retain(|key, _| !self.unread_labels.contains(&&**key));

        let amounts::PodRequests { requests, scoring } = amounts::pod_requests(spec, origin)?;
        let units = Units { device: self.device.as_deref() };
        let (requests, devices) = units.resources(&mut self.state, &requests);
        let [cpu_milli, memory_bytes] = scoring;
        let scoring = ScoringRequests { cpu_milli, memory_bytes };
        let differs = scoring != ScoringRequests::of(&requests);

        let affinity = spec.affinity.as_ref();
        let role = ROLE_KEYS.iter().find_map(|key| mark(&pod.metadata, key)).unwrap_or("");
        let node_affinity = affinity.and_then(|affinity| affinity.node_affinity.as_ref());
        let pod_affinity = affinity
            .map(|affinity| selectors::pod_affinity(affinity, namespace, &own, origin))
            .transpose()?;
        let spread = spec.topology_spread_constraints.as_deref().unwrap_or_default();
        let node_name = spec.node_name.as_deref().filter(|name| !placed && !name.is_empty());
        Ok(TaskSpec {
            namespace: namespace.into(),
            role: role.into(),
            requests,
            gpus: self.gpu_share(pod, Units::gpu_request(devices))?,
            node_selector: labels(spec.node_selector.iter().flatten()),
            node_affinity: node_affinity.map(selectors::node_affinity).unwrap_or_default(),
            tolerations: selectors::tolerations(spec.tolerations.as_deref().unwrap_or_default(), origin)?,
            topology_spread: selectors::topology_spread(spread, &own, origin)?,
            labels: own,
            annotations: annotations(&pod.metadata)
                .into_iter()
                .filter(|(key, _)| !INDEX_LABELS.contains(&&**key))
                .collect(),
            pod_affinity: pod_affinity.unwrap_or_default(),
            node_name: node_name.map(Into::into),
            host_ports: host_ports(spec, origin)?,
            images: images(spec),
            scoring_requests: differs.then_some(scoring),
            never_preempts: self.never_preempts(spec),
        })
    }

    /// What tells a pod from others of its class.
    pub(super) fn details(pod: &Located<Pod>, priority: i32) -> TaskDetails {
        let gates = pod.spec.as_ref().and_then(|spec| spec.scheduling_gates.as_ref());
        TaskDetails {
            name: pod.metadata.name.as_deref().unwrap_or_default().into(),
            priority,
            created: pod.metadata.creation_timestamp.as_ref().map(time),
            started: pod.status.as_ref().and_then(|status| status.start_time.as_ref()).map(time),
            gated: gates.is_some_and(|gates| !gates.is_empty()),
        }
    }
}

fn host_ports(spec: &PodSpec, origin: &Origin) -> Result<Vec<HostPort>, ManifestError> {
    let host_network = spec.host_network.unwrap_or(false);
    let sidecars = spec.init_containers.iter().flatten().filter(|container| amounts::is_sidecar(container));
    let mut found = Vec::new();
    for port in spec.containers.iter().chain(sidecars).flat_map(|container| container.ports.iter().flatten())
    {
        // With the host's network every port is one of the host.
        let number = port.host_port.unwrap_or(if host_network { port.container_port } else { 0 });
        if number == 0 {
            continue;
        }
        let number = u16::try_from(number).map_err(|_| {
            origin.error("spec.containers.ports.hostPort", format!("expected 1 to 65535; got {number}"))
        })?;
        found.push(HostPort {
            ip: port.host_ip.as_deref().filter(|ip| !ip.is_empty()).unwrap_or(HostPort::ANY_IP).into(),
            protocol: port.protocol.as_deref().filter(|text| !text.is_empty()).unwrap_or("TCP").into(),
            port: number,
        });
    }
    Ok(found)
}

fn images(spec: &PodSpec) -> Images {
    let init_containers = spec.init_containers.as_deref().unwrap_or_default();
    let containers = init_containers.iter().chain(&spec.containers);
    let image = |container: &Container| image_name(container.image.as_deref().unwrap_or_default());
    let volumes = spec.volumes.iter().flatten();
    let volumes = volumes.filter_map(|volume| volume.image.as_ref()?.reference.as_deref());
    Images {
        names: containers.clone().map(image).chain(volumes.map(image_name)).collect(),
        containers: containers.count() as u32,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_without_tag_are_the_latest() {
        let check = |name: &str, expected: &str| assert_eq!(&*image_name(name), expected);
        check("busybox", "busybox:latest");
        check("busybox:1.36", "busybox:1.36");
        check("host:5000/team/busybox", "host:5000/team/busybox:latest");
        check("host:5000/team/busybox:2", "host:5000/team/busybox:2");
        check("busybox@sha256:abc", "busybox@sha256:abc");
    }
}
