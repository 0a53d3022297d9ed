//! Jobs and pods that name a queue of Kueue, to the workloads that Kueue makes of them.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use foretell_kueue::topology::{LevelRequest, TopologyRequest};
use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::convert::{key, selectors};
use crate::error::ManifestError;
use crate::kinds::kubeflow::{ReplicaSpecs, RunPolicy};
use crate::kinds::kueue::{self, PodSet, PriorityClassRef, Workload, WorkloadSpec};
use crate::objects::{Located, Objects, Origin};

use super::pods_of;

/// The label of what waits for quota.
const QUEUE_LABEL: &str = "kueue.x-k8s.io/queue-name";
/// The label that names a class of priority.
const PRIORITY_LABEL: &str = "kueue.x-k8s.io/priority-class";
/// The label of pods that are admitted together.
const GROUP_LABEL: &str = "kueue.x-k8s.io/pod-group-name";
/// The annotation that says with how few pods a job may run.
const MIN_PARALLELISM: &str = "kueue.x-k8s.io/job-min-parallelism";

/// Objects with a workload for each job and pod that waits for quota and has none.
pub(crate) fn with_workloads(objects: &Objects) -> Result<Cow<'_, Objects>, ManifestError> {
    let mut made = Maker { known: known(objects), made: Vec::new() };
    for job in &objects.jobs {
        let Some(spec) = &job.spec else { continue };
        if !made.wants("Job", &job.metadata) {
            continue;
        }
        let set = PodSet {
            min_count: min_parallelism(&job.metadata, &job.origin)?,
            ..pod_set("main", &spec.template, pods_of(spec), &job.origin)?
        };
        made.add("Job", &job.metadata, &job.origin, None, vec![set]);
    }
    for job in &objects.pytorch_jobs {
        let (policy, roles) = (&job.spec.run_policy, &job.spec.pytorch_replica_specs);
        made.add_roles("PyTorchJob", &job.metadata, &job.origin, policy, roles)?;
    }
    for job in &objects.tf_jobs {
        let (policy, roles) = (&job.spec.run_policy, &job.spec.tf_replica_specs);
        made.add_roles("TFJob", &job.metadata, &job.origin, policy, roles)?;
    }
    for job in &objects.mpi_jobs {
        let (policy, roles) = (&job.spec.run_policy, &job.spec.mpi_replica_specs);
        made.add_roles("MPIJob", &job.metadata, &job.origin, policy, roles)?;
    }
    made.add_pods(&objects.pods)?;
    if made.made.is_empty() {
        return Ok(Cow::Borrowed(objects));
    }
    let mut objects = objects.clone();
    objects.workloads.extend(made.made);
    Ok(Cow::Owned(objects))
}

/// What has a workload: kind, namespace, name.
fn known(objects: &Objects) -> BTreeSet<(String, String, String)> {
    let mut known = BTreeSet::new();
    for workload in &objects.workloads {
        for owner in workload.metadata.owner_references.iter().flatten() {
            let namespace = key::namespace(&workload.metadata).to_owned();
            known.insert((owner.kind.clone(), namespace, owner.name.clone()));
        }
    }
    known
}

fn label<'a>(metadata: &'a ObjectMeta, name: &str) -> Option<&'a str> {
    metadata.labels.as_ref()?.get(name).map(String::as_str).filter(|value| !value.is_empty())
}

/// Namespace and name, and pods.
type PodGroup<'a> = ((&'a str, &'a str), Vec<&'a Located<Pod>>);

struct Maker {
    known: BTreeSet<(String, String, String)>,
    made: Vec<Located<Workload>>,
}

impl Maker {
    fn add_roles(
        &mut self,
        kind: &str,
        metadata: &ObjectMeta,
        origin: &Origin,
        policy: &RunPolicy,
        roles: &ReplicaSpecs,
    ) -> Result<(), ManifestError> {
        if !self.wants(kind, metadata) {
            return Ok(());
        }
        let set = |(role, replicas): (&String, &crate::kinds::kubeflow::ReplicaSpec)| {
            pod_set(&role.to_lowercase(), &replicas.template, replicas.replicas.unwrap_or(1), origin)
        };
        let sets = roles.iter().map(set).collect::<Result<_, _>>()?;
        let class = policy.scheduling_policy.as_ref().and_then(|policy| policy.priority_class.as_deref());
        self.add(kind, metadata, origin, class, sets);
        Ok(())
    }

    /// Pods that no controller owns, alone or in groups.
    fn add_pods(&mut self, pods: &[Located<Pod>]) -> Result<(), ManifestError> {
        let mut groups: Vec<PodGroup<'_>> = Vec::new();
        let mut positions = BTreeMap::new();
        for pod in pods {
            let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
            let is_owned =
                pod.metadata.owner_references.iter().flatten().any(|owner| owner.controller == Some(true));
            if is_owned
                || node.is_some_and(|node| !node.is_empty())
                || label(&pod.metadata, QUEUE_LABEL).is_none()
            {
                continue;
            }
            let name = pod.metadata.name.as_deref().unwrap_or_default();
            let group = (key::namespace(&pod.metadata), label(&pod.metadata, GROUP_LABEL).unwrap_or(name));
            let position = *positions.entry(group).or_insert_with(|| {
                groups.push((group, Vec::new()));
                groups.len() - 1
            });
            groups[position].1.push(pod);
        }
        for ((_, name), pods) in groups {
            // A group's workload is owned by its pods.
            if !pods.iter().all(|pod| self.wants("Pod", &pod.metadata)) {
                continue;
            }
            let mut sets: Vec<PodSet> = Vec::new();
            for pod in &pods {
                let template =
                    PodTemplateSpec { metadata: Some(pod.metadata.clone()), spec: pod.spec.clone() };
                let same = |set: &&mut PodSet| set.template.spec == template.spec;
                if let Some(set) = sets.iter_mut().find(same) {
                    set.count += 1;
                    continue;
                }
                let set_name =
                    if sets.is_empty() { "main".to_owned() } else { format!("set-{}", sets.len()) };
                sets.push(pod_set(&set_name, &template, 1, &pod.origin)?);
            }
            let metadata = ObjectMeta { name: Some(name.to_owned()), ..pods[0].metadata.clone() };
            self.add("Pod", &metadata, &pods[0].origin, None, sets);
        }
        Ok(())
    }

    /// Whether an object waits for quota and has no workload yet.
    fn wants(&self, kind: &str, metadata: &ObjectMeta) -> bool {
        let name = metadata.name.clone().unwrap_or_default();
        label(metadata, QUEUE_LABEL).is_some()
            && !self.known.contains(&(kind.to_owned(), key::namespace(metadata).to_owned(), name))
    }

    /// With the class of priority that the job itself names, if it does.
    fn add(
        &mut self,
        kind: &str,
        metadata: &ObjectMeta,
        origin: &Origin,
        class: Option<&str>,
        pod_sets: Vec<PodSet>,
    ) {
        let name = metadata.name.clone().unwrap_or_default();
        let own = label(metadata, PRIORITY_LABEL).map(|name| PriorityClassRef::Reference {
            kind: "WorkloadPriorityClass".to_owned(),
            name: name.to_owned(),
        });
        let of_pods = || {
            let mut specs = pod_sets.iter().filter_map(|set| set.template.spec.as_ref());
            let of_pods = || specs.find_map(|spec| spec.priority_class_name.clone());
            class.map(str::to_owned).or_else(of_pods).map(PriorityClassRef::Name)
        };
        let spec = WorkloadSpec {
            queue_name: label(metadata, QUEUE_LABEL).map(str::to_owned),
            priority_class_ref: own.or_else(of_pods),
            pod_sets,
            ..WorkloadSpec::default()
        };
        let metadata =
            ObjectMeta { name: Some(format!("{}-{name}", kind.to_lowercase())), ..metadata.clone() };
        let object = Workload { metadata, spec, status: kueue::WorkloadStatus::default() };
        self.made.push(Located { object, origin: origin.clone() });
    }
}

/// With how few pods a job may run, if it says so.
fn min_parallelism(metadata: &ObjectMeta, origin: &Origin) -> Result<Option<u32>, ManifestError> {
    let text = metadata.annotations.as_ref().and_then(|annotations| annotations.get(MIN_PARALLELISM));
    let parsed = text.map(|text| {
        text.parse().map_err(|_| {
            let field = format!("metadata.annotations.{MIN_PARALLELISM}");
            origin.error(field, format!("expected a number of pods; got `{text}`"))
        })
    });
    parsed.transpose()
}

/// Pods of a template, with what its annotations ask of the topology.
fn pod_set(
    name: &str,
    template: &PodTemplateSpec,
    count: u32,
    origin: &Origin,
) -> Result<PodSet, ManifestError> {
    let annotations = template.metadata.as_ref().and_then(|metadata| metadata.annotations.as_ref());
    let annotations = selectors::labels(annotations.into_iter().flatten());
    let request = TopologyRequest::of_annotations(&annotations).map_err(|size| {
        let field = "template.metadata.annotations.kueue.x-k8s.io/podset-slice-size";
        origin.error(field, format!("expected a number of pods; got `{size}`"))
    })?;
    Ok(PodSet {
        name: Some(name.to_owned()),
        template: template.clone(),
        count,
        min_count: None,
        topology_request: request.map(|request| written(&request)),
    })
}

/// A request as Kueue writes it into a workload.
fn written(request: &TopologyRequest) -> kueue::TopologyRequest {
    let (required, preferred, unconstrained) = match &request.level {
        Some(LevelRequest::Required(name)) => (Some(name.to_string()), None, None),
        Some(LevelRequest::Preferred(name)) => (None, Some(name.to_string()), None),
        Some(LevelRequest::Unconstrained) => (None, None, Some(true)),
        None => (None, None, None),
    };
    let slice = request.slices.first();
    kueue::TopologyRequest {
        required,
        preferred,
        unconstrained,
        pod_set_group_name: request.group.as_deref().map(str::to_owned),
        pod_set_slice_required_topology: slice.map(|slice| slice.level.to_string()),
        pod_set_slice_size: slice.and_then(|slice| slice.size),
        podset_slice_required_topology_constraints: None,
    }
}
