//! Objects to a [`ClusterState`].

pub(crate) mod amounts;
mod group;
mod kai;
pub(crate) mod key;
mod kueue_topology;
mod names;
mod node;
pub(crate) mod pod;
mod rest;
pub(crate) mod selectors;

use std::collections::{BTreeMap, BTreeSet};

use foretell_framework::{ClassId, ClusterState, JobSpec, NodeId, TaskId, TaskStatus};
use k8s_openapi::api::core::v1::{Pod, PodSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time as Timestamp;

pub use kueue_topology::{pod_shape, topology_request, topology_snapshot};
pub use names::Names;

use crate::error::ManifestError;
use crate::objects::{Located, Objects, Origin};
use crate::workloads::{Expanded, expand};
use group::{Source, Terms};

/// A cluster as manifests describe it.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// Its state. Times are nanoseconds since 1970.
    pub state: ClusterState,
    /// What ids of the state are called.
    pub names: Names,
    /// What was not read, or not as written.
    pub warnings: Vec<String>,
}

/// How to read objects.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ReadOptions {
    /// Pods, as `namespace/name`, that wait although `spec.nodeName` is set: for them it is the only node they may go to.
    pub waiting: BTreeSet<String>,
}

/// The annotation of a queue that jobs name and no object declares.
pub const UNDECLARED: &str = "foretell.dev/undeclared";

/// The cluster that objects describe. The same objects give the same cluster: jobs are in order of creation, then of
/// uid (`namespace-name` for pods and `namespace/name` for groups where none is given), tasks of a job likewise.
pub fn cluster(objects: &Objects) -> Result<Cluster, ManifestError> {
    cluster_with(objects, &ReadOptions::default())
}

/// The cluster that objects describe.
pub fn cluster_with(objects: &Objects, options: &ReadOptions) -> Result<Cluster, ManifestError> {
    let Expanded { objects, first_new, warnings } = expand(objects)?;
    let objects = &*objects;
    let mut builder = Builder {
        objects,
        options,
        state: ClusterState::new(),
        names: Names::default(),
        warnings,
        first_new,
        unread_labels: pod::unread_labels(objects),
        device: amounts::device_resource(objects),
        classes: BTreeMap::new(),
        default_class: None,
        asked_to_bind: kai::asked_to_bind(objects),
        shared_gpus: BTreeMap::new(),
    };
    builder.names.gpu_resource.clone_from(&builder.device);
    builder.warnings.extend(objects.unread());
    builder.priority_classes();
    builder.queues()?;
    builder.kai_queues();
    builder.nodes()?;
    builder.cluster_objects()?;
    builder.jobs()?;
    let Builder { state, names, warnings, .. } = builder;
    Ok(Cluster { state, names, warnings })
}

struct Builder<'a> {
    objects: &'a Objects,
    options: &'a ReadOptions,
    state: ClusterState,
    names: Names,
    warnings: Vec<String>,
    /// Position of the first pod that no file has: what is created now is younger than what is there.
    first_new: usize,
    /// Labels that would only tell pods apart that are alike.
    unread_labels: Vec<&'static str>,
    /// The resource whose units are GPU devices.
    device: Option<String>,
    /// Priority classes: value, and whether their pods never preempt.
    classes: BTreeMap<&'a str, (i32, bool)>,
    /// The class of pods that name none.
    default_class: Option<&'a str>,
    /// Pods that a scheduler has asked to bind, as `namespace/name`, and their nodes.
    asked_to_bind: BTreeMap<String, &'a str>,
    /// The device of each named group of pods that share one, by node.
    shared_gpus: BTreeMap<(NodeId, &'a str), usize>,
}

/// A job in the making.
struct Group<'a> {
    source: Source,
    namespace: &'a str,
    name: &'a str,
    pods: Vec<&'a Located<Pod>>,
    /// Whether its pods are created now.
    is_new: bool,
}

impl<'a> Builder<'a> {
    fn warn(&mut self, origin: &Origin, message: &str) {
        let Origin { file, line, object } = origin;
        self.warnings.push(format!("{file}:{line}: {object}: {message}"));
    }

    // ---- Priorities

    fn priority_classes(&mut self) {
        // Those that every cluster has.
        self.classes.insert("system-node-critical", (2_000_001_000, false));
        self.classes.insert("system-cluster-critical", (2_000_000_000, false));
        for class in &self.objects.priority_classes {
            let name = class.metadata.name.as_deref().unwrap_or_default();
            let value = class.value.unwrap_or(0);
            self.classes.insert(name, (value, class.preemption_policy.as_deref() == Some("Never")));
            // Of several defaults the lowest counts, as in the admission of Kubernetes.
            let lower = |known: &str| value < self.classes.get(known).map_or(0, |&(value, _)| value);
            if class.global_default == Some(true) && self.default_class.is_none_or(lower) {
                self.default_class = Some(name);
            }
        }
    }

    /// The priority of what names a class, or none.
    fn class_priority(&mut self, class: Option<&str>, origin: &Origin) -> i32 {
        let class = class.filter(|class| !class.is_empty()).or(self.default_class);
        let Some(class) = class else { return 0 };
        if let Some(&(value, _)) = self.classes.get(class) {
            return value;
        }
        self.warn(origin, &format!("priority class {class} is not declared; its priority counts as 0"));
        0
    }

    fn pod_priority(&mut self, pod: &Located<Pod>) -> i32 {
        let spec = pod.spec.as_ref();
        let class = spec.and_then(|spec| spec.priority_class_name.as_deref());
        match spec.and_then(|spec| spec.priority) {
            Some(priority) => priority,
            None => self.class_priority(class, &pod.origin),
        }
    }

    fn never_preempts(&self, spec: &PodSpec) -> bool {
        if let Some(policy) = spec.preemption_policy.as_deref() {
            return policy == "Never";
        }
        let class = spec.priority_class_name.as_deref().filter(|class| !class.is_empty());
        let class = class.or(self.default_class).and_then(|class| self.classes.get(class));
        class.is_some_and(|&(_, never_preempts)| never_preempts)
    }

    // ---- Jobs

    fn jobs(&mut self) -> Result<(), ManifestError> {
        let mut groups = Vec::new();
        for group in self.groups()? {
            let terms = self.terms(group.source, group.namespace, group.name)?;
            let created = match group.pods.iter().filter_map(|pod| created(pod)).min() {
                // A group without an object is as old as its first pod.
                first if !terms.declared || matches!(group.source, Source::Owner | Source::Pod) => {
                    first.map(pod::time)
                }
                _ => terms.created,
            };
            let uid = match (group.source, group.pods.first()) {
                (Source::Pod, Some(pod)) => pod_uid(pod),
                _ => format!("{}/{}", group.namespace, group.name),
            };
            groups.push((group.is_new, created, uid, group, terms));
        }
        groups.sort_by(|a, b| (a.0, a.1, &a.2, a.3.source).cmp(&(b.0, b.1, &b.2, b.3.source)));
        for (sequence, (_, created, _, group, terms)) in groups.into_iter().enumerate() {
            let submitted = created.unwrap_or_default();
            self.job(sequence as u64, submitted, &group, terms)?;
        }
        Ok(())
    }

    /// Pods by group; groups that are declared and have no pods yet, too.
    fn groups(&mut self) -> Result<Vec<Group<'a>>, ManifestError> {
        let objects = self.objects;
        let mut groups: BTreeMap<(Source, &str, &str), Vec<&Located<Pod>>> = BTreeMap::new();
        for group in &objects.volcano_pod_groups {
            let name = group.metadata.name.as_deref().unwrap_or_default();
            let known = groups.insert((Source::Volcano, key::namespace(&group.metadata), name), Vec::new());
            if known.is_some() {
                let message = "a pod group of this name has been read already";
                return Err(group.origin.error("metadata.name", message));
            }
        }
        for group in &objects.kai_pod_groups {
            let name = group.metadata.name.as_deref().unwrap_or_default();
            groups.entry((Source::Kai, key::namespace(&group.metadata), name)).or_default();
        }
        for group in &objects.coscheduling_pod_groups {
            let name = group.metadata.name.as_deref().unwrap_or_default();
            groups.entry((Source::Coscheduling, key::namespace(&group.metadata), name)).or_default();
        }
        for group in &objects.pod_groups {
            let name = group.metadata.name.as_deref().unwrap_or_default();
            groups.entry((Source::SchedulingGroup, key::namespace(&group.metadata), name)).or_default();
        }
        let mut seen = BTreeSet::new();
        let mut new_groups = BTreeSet::new();
        for (position, pod) in objects.pods.iter().enumerate() {
            if !seen.insert(key::key(&pod.metadata)) {
                return Err(pod.origin.error("metadata.name", "a pod of this name has been read already"));
            }
            let (source, name) = group::identity(pod);
            if source == Source::Pod && ended(pod).is_some() {
                continue;
            }
            let group = (source, key::namespace(&pod.metadata), name);
            if position >= self.first_new && pod.metadata.creation_timestamp.is_none() {
                new_groups.insert(group);
            }
            groups.entry(group).or_default().push(pod);
        }
        let group = |((source, namespace, name), mut pods): (_, Vec<&'a Located<Pod>>)| {
            pods.sort_by_cached_key(|pod| (created(pod), pod_uid(pod)));
            // Volcano goes by the pods' index where all have one.
            if pods.iter().all(|pod| pod::index(pod).is_some()) {
                pods.sort_by_key(|pod| pod::index(pod));
            }
            Group { source, namespace, name, pods, is_new: new_groups.contains(&(source, namespace, name)) }
        };
        Ok(groups.into_iter().map(group).collect())
    }

    fn job(
        &mut self,
        sequence: u64,
        submitted: foretell_framework::Time,
        group: &Group<'a>,
        terms: Terms,
    ) -> Result<(), ManifestError> {
        let first = group.pods.first();
        let mut priorities = Vec::with_capacity(group.pods.len());
        let mut tasks: Vec<(ClassId, u32)> = Vec::new();
        for pod in &group.pods {
            let spec = self.task_spec(pod, self.node_of(pod).is_some())?;
            let class = self.state.class(&spec);
            match tasks.last_mut() {
                Some((last, count)) if *last == class => *count += 1,
                _ => tasks.push((class, 1)),
            }
            priorities.push(self.pod_priority(pod));
        }
        if !terms.declared
            && let Some(pod) = first
        {
            self.warn(&pod.origin, &format!("its pod group {} is not declared", group.name));
        }
        let queue = terms
            .queue
            .or_else(|| group.pods.iter().find_map(|pod| group::queue_mark(&pod.metadata)))
            .unwrap_or_else(|| "default".to_owned());
        let queue = self.job_queue(&queue, first.map(|pod| &pod.origin));
        let pods = group.pods.len() as u32;
        let alone = (group.source == Source::Pod).then_some(first).flatten();
        let spec = JobSpec {
            name: group.name.into(),
            namespace: group.namespace.into(),
            priority: terms.priority.or(priorities.iter().copied().max()).unwrap_or(0),
            submitted,
            min_member: terms.min_member.unwrap_or(pods),
            phase: terms.phase,
            preemptable: terms.preemptable.or_else(|| pod::preemptable(&alone?.metadata)),
            gang: terms.gang,
            annotations: terms.annotations,
            ..JobSpec::new(sequence, queue, tasks)
        };
        let job = self.state.add_job(spec);
        let name = format!("{}/{}", group.namespace, group.name);
        self.names.add_job(name, job, group.source != Source::Pod);
        let tasks = self.state.job(job).map(|job| job.tasks().to_vec()).unwrap_or_default();
        for ((pod, task), priority) in group.pods.iter().zip(tasks).zip(priorities) {
            self.task(pod, task, priority);
        }
        Ok(())
    }

    /// Says of a task what its pod says.
    fn task(&mut self, pod: &'a Located<Pod>, task: TaskId, priority: i32) {
        let is_owned =
            pod.metadata.owner_references.iter().flatten().any(|owner| owner.controller == Some(true));
        self.names.add_pod(key::key(&pod.metadata), task, is_owned);
        let details = Self::details(pod, priority);
        self.state.set_task_details(task, details);
        if let Some(succeeded) = ended(pod) {
            self.state.end_task(task, succeeded);
        } else if let Some(node_name) = self.node_of(pod) {
            let Some(node) = self.names.node(node_name) else {
                let message = format!("its node {node_name} is not there; the pod counts as gone");
                self.warn(&pod.origin, &message);
                self.state.end_task(task, false);
                return;
            };
            let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
            let status = match phase {
                _ if pod.metadata.deletion_timestamp.is_some() => TaskStatus::Releasing,
                Some("Pending") => TaskStatus::Bound,
                _ => TaskStatus::Running,
            };
            let gpus = self.shared_gpu(pod, task, node);
            self.state.observe_task(task, node, gpus, status);
        } else if pod.metadata.deletion_timestamp.is_some() {
            // It was never placed and is on its way out.
            self.state.end_task(task, false);
        } else {
            let nominated = pod.status.as_ref().and_then(|status| status.nominated_node_name.as_deref());
            if let Some(node) = nominated.and_then(|name| self.names.node(name)) {
                self.state.observe_nomination(task, Some(node));
            }
        }
    }

    /// The node that a pod is on.
    fn node_of<'p>(&self, pod: &'p Located<Pod>) -> Option<&'p str>
    where
        'a: 'p,
    {
        let key = key::key(&pod.metadata);
        let own = pod.spec.as_ref()?.node_name.as_deref().filter(|name| !name.is_empty());
        // A request for a node that is gone binds nothing: the pod waits.
        let asked = || self.asked_to_bind.get(&key).copied().filter(|name| self.names.node(name).is_some());
        let node = own.or_else(asked)?;
        (!self.options.waiting.contains(&key)).then_some(node)
    }
}

fn created(pod: &Pod) -> Option<&Timestamp> {
    pod.metadata.creation_timestamp.as_ref()
}

fn pod_uid(pod: &Pod) -> String {
    let metadata = &pod.metadata;
    metadata.uid.clone().filter(|uid| !uid.is_empty()).unwrap_or_else(|| {
        format!("{}-{}", key::namespace(metadata), metadata.name.as_deref().unwrap_or_default())
    })
}

/// Whether a pod has ended, and how.
fn ended(pod: &Pod) -> Option<bool> {
    match pod.status.as_ref()?.phase.as_deref()? {
        "Succeeded" => Some(true),
        "Failed" => Some(false),
        _ => None,
    }
}
