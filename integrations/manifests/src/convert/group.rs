//! Which pods make up a job, and what the job asks for.

use foretell_framework::state::{NetworkTopology, SubGroupPolicy, TopologyMode};
use foretell_framework::{GangSpec, JobPhase, Labels, Time};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1 as meta;

use super::amounts::{self, Units};
use super::pod::{mark, policy_annotations, preemptable};
use super::{Builder, key, selectors};
use crate::error::ManifestError;
use crate::kinds::volcano;
use crate::objects::{Located, Origin};

/// What names the group of a pod, the strongest first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Source {
    /// `spec.schedulingGroup`: Kubernetes' own pod group.
    SchedulingGroup,
    /// Label of the coscheduling plugin.
    Coscheduling,
    /// Annotation of KAI-Scheduler.
    Kai,
    /// Annotation of Volcano.
    Volcano,
    /// The controller that owns the pod: no gang, but one job to a person.
    Owner,
    /// A pod on its own.
    Pod,
}

/// Controllers whose pods are one job.
const OWNER_KINDS: [&str; 4] = ["Job", "PyTorchJob", "TFJob", "MPIJob"];

/// The group of a pod: what names it, and its name.
pub(super) fn identity(pod: &Pod) -> (Source, &str) {
    let metadata = &pod.metadata;
    let non_empty = |text: &&str| !text.is_empty();
    let scheduling_group = pod.spec.as_ref().and_then(|spec| spec.scheduling_group.as_ref());
    if let Some(name) = scheduling_group.and_then(|group| group.pod_group_name.as_deref()).filter(non_empty) {
        return (Source::SchedulingGroup, name);
    }
    let label = metadata.labels.as_ref().and_then(|labels| labels.get("scheduling.x-k8s.io/pod-group"));
    if let Some(name) = label.map(String::as_str).filter(non_empty) {
        return (Source::Coscheduling, name);
    }
    let annotation = |key: &str| metadata.annotations.as_ref().and_then(|annotations| annotations.get(key));
    let volcano = annotation("scheduling.k8s.io/group-name");
    let volcano = volcano.or_else(|| annotation("scheduling.volcano.sh/group-name"));
    if let Some(name) = volcano.map(String::as_str).filter(non_empty) {
        return (Source::Volcano, name);
    }
    if let Some(name) = annotation(super::kai::GROUP_KEY).map(String::as_str).filter(non_empty) {
        return (Source::Kai, name);
    }
    let owner = metadata.owner_references.iter().flatten().find(|owner| owner.controller == Some(true));
    if let Some(owner) = owner.filter(|owner| OWNER_KINDS.contains(&owner.kind.as_str())) {
        return (Source::Owner, &owner.name);
    }
    (Source::Pod, metadata.name.as_deref().unwrap_or_default())
}

/// What an object says of a group.
#[derive(Default)]
pub(super) struct Terms {
    /// Whether there is an object; without one it is a group by name alone.
    pub(super) declared: bool,
    pub(super) created: Option<Time>,
    pub(super) queue: Option<String>,
    /// `None`: as the pods'.
    pub(super) priority: Option<i32>,
    pub(super) min_member: Option<u32>,
    pub(super) phase: JobPhase,
    pub(super) preemptable: Option<bool>,
    pub(super) gang: Option<Box<GangSpec>>,
    pub(super) annotations: Labels,
}

/// The queue that labels or annotations name.
pub(super) fn queue_mark(metadata: &meta::ObjectMeta) -> Option<String> {
    let keys = ["scheduling.volcano.sh/queue-name", "volcano.sh/queue-name", "kueue.x-k8s.io/queue-name"];
    keys.iter().find_map(|key| mark(metadata, key)).map(str::to_owned)
}

impl Builder<'_> {
    pub(super) fn volcano_terms(
        &mut self,
        group: &Located<volcano::PodGroup>,
    ) -> Result<Terms, ManifestError> {
        let (spec, origin) = (&group.spec, &group.origin);
        let phase = match group.status.phase.as_deref().unwrap_or("") {
            "" | "Pending" => JobPhase::Pending,
            "Inqueue" => JobPhase::Inqueue,
            "Running" => JobPhase::Running,
            "Unknown" => JobPhase::Unknown,
            "Completed" => JobPhase::Completed,
            other => {
                let message =
                    format!("expected Pending, Inqueue, Running, Unknown or Completed; got `{other}`");
                return Err(origin.error("status.phase", message));
            }
        };
        let min_resources = match &spec.min_resources {
            Some(list) => {
                let list = amounts::amounts(list, "spec.minResources", origin)?;
                Some(Units { device: self.device.as_deref() }.quota(&mut self.state, &list))
            }
            None => None,
        };
        let topology = |topology: Option<&volcano::NetworkTopology>, field: &str| {
            topology.map(|topology| network_topology(topology, field, origin)).transpose()
        };
        let mut sub_groups = Vec::new();
        for (index, policy) in spec.sub_group_policy.iter().enumerate() {
            let field = |name: &str| format!("spec.subGroupPolicy[{index}].{name}");
            let selector = policy.label_selector.as_ref();
            let selector =
                selector.map(|selector| selectors::label_selector(selector, &field("labelSelector"), origin));
            sub_groups.push(SubGroupPolicy {
                name: policy.name.as_str().into(),
                size: policy.sub_group_size,
                min_groups: policy.min_sub_groups,
                selector: selector.transpose()?,
                match_label_keys: policy.match_label_keys.iter().map(|key| key.as_str().into()).collect(),
                network_topology: topology(policy.network_topology.as_ref(), &field("networkTopology"))?,
            });
        }
        let minima = spec.min_task_member.iter();
        let gang = GangSpec {
            role_minima: minima.map(|(role, &pods)| (role.as_str().into(), pods)).collect(),
            min_resources,
            network_topology: topology(spec.network_topology.as_ref(), "spec.networkTopology")?,
            sub_groups,
            ..GangSpec::default()
        };
        Ok(Terms {
            declared: true,
            created: group.metadata.creation_timestamp.as_ref().map(super::pod::time),
            queue: spec.queue.clone().filter(|queue| !queue.is_empty()),
            priority: Some(self.class_priority(spec.priority_class_name.as_deref(), origin)),
            min_member: Some(spec.min_member.unwrap_or(1)),
            phase,
            preemptable: preemptable(&group.metadata),
            gang: Some(Box::new(gang)),
            annotations: policy_annotations(&group.metadata),
        })
    }

    /// What the object of a group says, if there is one.
    pub(super) fn terms(
        &mut self,
        source: Source,
        namespace: &str,
        name: &str,
    ) -> Result<Terms, ManifestError> {
        let objects = self.objects;
        let is = |metadata: &meta::ObjectMeta| {
            key::namespace(metadata) == namespace && metadata.name.as_deref() == Some(name)
        };
        match source {
            Source::Volcano => match objects.volcano_pod_groups.iter().find(|group| is(&group.metadata)) {
                Some(group) => self.volcano_terms(group),
                None => Ok(Terms::default()),
            },
            Source::Kai => match objects.kai_pod_groups.iter().find(|group| is(&group.metadata)) {
                Some(group) => Ok(self.kai_terms(group)),
                None => Ok(Terms::default()),
            },
            Source::Coscheduling => {
                let group = objects.coscheduling_pod_groups.iter().find(|group| is(&group.metadata));
                let Some(group) = group else { return Ok(Terms::default()) };
                let min_resources = match &group.spec.min_resources {
                    Some(list) => {
                        let list = amounts::amounts(list, "spec.minResources", &group.origin)?;
                        Some(Units { device: self.device.as_deref() }.quota(&mut self.state, &list))
                    }
                    None => None,
                };
                let timeout_s = group.spec.schedule_timeout_seconds;
                let gang = GangSpec {
                    min_resources,
                    schedule_timeout: timeout_s.map(|seconds| Time::from_s(f64::from(seconds))),
                    ..GangSpec::default()
                };
                Ok(Terms {
                    declared: true,
                    created: group.metadata.creation_timestamp.as_ref().map(super::pod::time),
                    queue: queue_mark(&group.metadata),
                    min_member: Some(group.spec.min_member.unwrap_or(1)),
                    preemptable: preemptable(&group.metadata),
                    gang: Some(Box::new(gang)),
                    annotations: policy_annotations(&group.metadata),
                    ..Terms::default()
                })
            }
            Source::SchedulingGroup => {
                let group = objects.pod_groups.iter().find(|group| is(&group.metadata));
                let Some(group) = group else { return Ok(Terms::default()) };
                let spec = &group.spec;
                let class = spec.priority_class_name.as_deref().filter(|class| !class.is_empty());
                let class = class.map(|class| self.class_priority(Some(class), &group.origin));
                let min_count = spec.scheduling_policy.gang.as_ref().and_then(|gang| gang.min_count);
                Ok(Terms {
                    declared: true,
                    created: group.metadata.creation_timestamp.as_ref().map(super::pod::time),
                    queue: queue_mark(&group.metadata),
                    priority: spec.priority.or(class),
                    min_member: Some(min_count.unwrap_or(1)),
                    gang: spec.scheduling_policy.gang.is_some().then(Box::default),
                    annotations: policy_annotations(&group.metadata),
                    ..Terms::default()
                })
            }
            Source::Owner | Source::Pod => {
                Ok(Terms { declared: true, min_member: Some(1), ..Terms::default() })
            }
        }
    }
}

fn network_topology(
    topology: &volcano::NetworkTopology,
    field: &str,
    origin: &Origin,
) -> Result<NetworkTopology, ManifestError> {
    let mode = match topology.mode.as_deref().unwrap_or("hard") {
        "hard" | "" => TopologyMode::Hard,
        "soft" => TopologyMode::Soft,
        other => {
            return Err(
                origin.error(format!("{field}.mode"), format!("expected hard or soft; got `{other}`"))
            );
        }
    };
    Ok(NetworkTopology {
        mode,
        highest_tier: topology.highest_tier_allowed,
        highest_tier_name: topology.highest_tier_name.as_deref().map(Into::into),
    })
}
