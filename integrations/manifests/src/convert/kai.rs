//! Objects of KAI-Scheduler.

use std::collections::BTreeMap;

use foretell_framework::state::{LevelConstraint, NestedGroup};
use foretell_framework::{
    GangSpec, GpuRequest, GpuSet, Labels, NodeId, QueueSpec, Quota, TaskId, Time, WHOLE_GPU_MILLI,
};
use foretell_kai::keys;
use k8s_openapi::api::core::v1::Pod;

use super::group::Terms;
use super::{Builder, key, pod};
use crate::error::ManifestError;
use crate::kinds::kai;
use crate::objects::{Located, Objects};

/// The annotation that names the group of a pod.
pub(super) const GROUP_KEY: &str = "pod-group-name";
/// The annotation that asks for memory of one GPU, in MiB.
pub(super) const GPU_MEMORY_KEY: &str = keys::GPU_MEMORY;
/// The annotation that asks for a part of a GPU.
const GPU_FRACTION_KEY: &str = "gpu-fraction";
/// The annotation that asks for that part of several GPUs.
const GPU_FRACTION_DEVICES_KEY: &str = "gpu-fraction-num-devices";
/// The label of pods that share a device.
const GPU_GROUP_KEY: &str = "runai-gpu-group";
/// Priority classes from here on are not preemptible unless they say so.
const NON_PREEMPTIBLE_PRIORITY: i32 = 100;
/// A unit of a queue's memory.
const MEGABYTE: f64 = 1e6;

impl<'a> Builder<'a> {
    pub(super) fn kai_queues(&mut self) {
        let mut queues: Vec<&Located<kai::Queue>> = self.objects.kai_queues.iter().collect();
        queues.sort_by_key(|queue| queue.metadata.creation_timestamp.clone());
        for queue in &queues {
            let name = queue.metadata.name.as_deref().unwrap_or_default();
            let id = self.state.queue_id(name);
            self.names.add_queue(name, id);
        }
        for queue in queues {
            let (name, spec) = (queue.metadata.name.as_deref().unwrap_or_default(), &queue.spec);
            let resources = &spec.resources;
            let quota = |amount: fn(&kai::QueueResource) -> f64| {
                let scaled = |resource: &kai::QueueResource, unit: f64| {
                    let amount = amount(resource);
                    (amount >= 0.0).then(|| (amount * unit).round() as u64)
                };
                Quota {
                    cpu_milli: scaled(&resources.cpu, 1.0),
                    memory_bytes: scaled(&resources.memory, MEGABYTE),
                    gpu_milli: scaled(&resources.gpu, f64::from(WHOLE_GPU_MILLI)),
                    ..Quota::default()
                }
            };
            let mut annotations = Labels::new();
            for (key, resource) in
                keys::OVER_QUOTA_WEIGHTS.iter().zip([&resources.cpu, &resources.memory, &resources.gpu])
            {
                annotations.insert((*key).into(), resource.over_quota_weight.to_string().into());
            }
            let runtimes = [
                (keys::PREEMPT_MIN_RUNTIME, &spec.preempt_min_runtime),
                (keys::RECLAIM_MIN_RUNTIME, &spec.reclaim_min_runtime),
            ];
            for (key, text) in runtimes {
                let Some(text) = text.as_deref().filter(|text| !text.is_empty()) else { continue };
                match duration_nanos(text) {
                    Some(nanos) => {
                        annotations.insert(key.into(), nanos.to_string().into());
                    }
                    None => {
                        self.warn(&queue.origin, &format!("expected a duration such as 5m; got `{text}`"));
                    }
                }
            }
            let parent = spec.parent_queue.as_deref().filter(|parent| !parent.is_empty() && *parent != name);
            let built = QueueSpec {
                parent: parent.map(|parent| self.queue(parent)),
                weight: resources.gpu.over_quota_weight.max(0.0) as u32,
                priority: spec.priority.unwrap_or(keys::DEFAULT_QUEUE_PRIORITY),
                capability: quota(|resource| resource.limit),
                deserved: quota(|resource| resource.quota),
                annotations,
                ..QueueSpec::default()
            };
            let id = self.queue(name);
            self.state.set_queue_spec(id, built);
        }
    }

    pub(super) fn kai_terms(&mut self, group: &Located<kai::PodGroup>) -> Terms {
        let spec = &group.spec;
        let priority = self.class_priority(spec.priority_class_name.as_deref(), &group.origin);
        let preemptable = match spec.preemptibility.as_deref() {
            Some("preemptible") => true,
            Some("non-preemptible") => false,
            _ => priority < NON_PREEMPTIBLE_PRIORITY,
        };
        let nested = |group: &kai::SubGroup| NestedGroup {
            name: group.name.as_str().into(),
            parent: group.parent.as_deref().filter(|parent| !parent.is_empty()).map(Into::into),
            min_member: group.min_member.unwrap_or(0),
            levels: group.topology_constraint.as_ref().map(levels),
        };
        let gang = GangSpec {
            nested_groups: spec.sub_groups.iter().map(nested).collect(),
            levels: spec.topology_constraint.as_ref().map(levels),
            ..GangSpec::default()
        };
        let mut annotations = Labels::new();
        for key in [keys::LAST_START, keys::STALE_SINCE] {
            let text = group.metadata.annotations.as_ref().and_then(|annotations| annotations.get(key));
            let Some(text) = text else { continue };
            match text.parse::<jiff::Timestamp>() {
                Ok(time) => {
                    let nanos = u64::try_from(time.as_nanosecond()).unwrap_or(0);
                    annotations.insert(key.into(), nanos.to_string().into());
                }
                Err(_) => self.warn(&group.origin, &format!("{key}: expected a time; got `{text}`")),
            }
        }
        Terms {
            declared: true,
            created: group.metadata.creation_timestamp.as_ref().map(pod::time),
            queue: spec.queue.clone().filter(|queue| !queue.is_empty()),
            priority: Some(priority),
            min_member: Some(spec.min_member.unwrap_or(1)),
            preemptable: Some(preemptable),
            gang: Some(Box::new(gang)),
            annotations,
            ..Terms::default()
        }
    }

    pub(super) fn topologies(&mut self) {
        for topology in &self.objects.kai_topologies {
            let name = topology.metadata.name.as_deref().unwrap_or_default();
            let levels = topology.spec.levels.iter().map(|level| level.node_label.as_str().into());
            self.state.objects_mut().topologies.insert(name.into(), levels.collect());
        }
    }

    /// What a pod asks of GPUs, where its annotations ask for a part of one rather than for whole ones. An amount of
    /// memory counts as a part of the smallest GPU.
    pub(super) fn gpu_share(
        &self,
        pod: &Located<Pod>,
        whole: GpuRequest,
    ) -> Result<GpuRequest, ManifestError> {
        let number = |key: &str| {
            let text = pod.metadata.annotations.as_ref().and_then(|annotations| annotations.get(key));
            let Some(text) = text else { return Ok(None) };
            let amount = text.parse().ok().filter(|&amount: &f64| amount > 0.0);
            let message = || format!("expected a number above 0; got `{text}`");
            amount.map(Some).ok_or_else(|| pod.origin.error(format!("metadata.annotations.{key}"), message()))
        };
        let smallest = || {
            let with_gpus = self.state.nodes().iter().filter(|node| node.spec.gpus > 0);
            with_gpus.map(|node| node.spec.gpu_memory_bytes).filter(|&bytes| bytes > 0).min()
        };
        let part = match (number(GPU_FRACTION_KEY)?, number(GPU_MEMORY_KEY)?) {
            (Some(part), _) => part,
            (None, Some(mib)) => match smallest() {
                Some(bytes) => mib * f64::from(1 << 20) / bytes as f64,
                None => return Ok(whole),
            },
            (None, None) => return Ok(whole),
        };
        let milli = ((part * f64::from(WHOLE_GPU_MILLI)).ceil() as u32).min(WHOLE_GPU_MILLI);
        let count = number(GPU_FRACTION_DEVICES_KEY)?.map_or(1, |count| count as u32);
        Ok(GpuRequest { count, milli, ..GpuRequest::NONE })
    }

    /// The device that a pod shares with others of its group, or has for itself.
    pub(super) fn shared_gpu(&mut self, pod: &'a Located<Pod>, task: TaskId, node: NodeId) -> Option<GpuSet> {
        let class = self.state.task(task)?.class;
        let annotations = pod.metadata.annotations.as_ref()?;
        let request = self.state.class_spec(class).gpus;
        if request.count == 0
            || ![GPU_FRACTION_KEY, GPU_MEMORY_KEY].iter().any(|key| annotations.contains_key(*key))
        {
            return None;
        }
        let group = pod.metadata.labels.as_ref().and_then(|labels| labels.get(GPU_GROUP_KEY));
        if request.count == 1
            && let Some(&device) = group.and_then(|group| self.shared_gpus.get(&(node, group.as_str())))
        {
            return Some([device].into_iter().collect());
        }
        let free = self.state.gpu_free_milli(node).iter().enumerate();
        let untouched = free.filter(|&(_, &free)| free == WHOLE_GPU_MILLI).map(|(device, _)| device);
        let devices: GpuSet = untouched.take(request.count as usize).collect();
        if let (Some(group), Some(device)) = (group, devices.iter().next()) {
            self.shared_gpus.insert((node, group.as_str()), device);
        }
        (devices.len() == request.count).then_some(devices)
    }
}

/// Pods that are to be bound, as `namespace/name`, and their nodes.
pub(super) fn asked_to_bind<'a>(objects: &'a Objects) -> BTreeMap<String, &'a str> {
    let open = |request: &&Located<kai::BindRequest>| request.status.phase.as_deref() != Some("Failed");
    let requests = objects.kai_bind_requests.iter().filter(open);
    let node = |request: &'a Located<kai::BindRequest>| {
        let kai::BindRequest { metadata, spec, .. } = &request.object;
        (format!("{}/{}", key::namespace(metadata), spec.pod_name), spec.selected_node.as_str())
    };
    requests.map(node).collect()
}

fn levels(constraint: &kai::TopologyConstraint) -> LevelConstraint {
    let level = |level: &Option<String>| level.as_deref().filter(|level| !level.is_empty()).map(Into::into);
    LevelConstraint {
        topology: constraint.topology.as_str().into(),
        required: level(&constraint.required_topology_level),
        preferred: level(&constraint.preferred_topology_level),
    }
}

/// A duration such as `1h30m` or `10s`.
fn duration_nanos(text: &str) -> Option<u64> {
    let duration = text.parse::<jiff::SignedDuration>().ok()?;
    Some(Time::from_s(duration.as_secs_f64()).as_nanos())
}
