//! Controllers' objects to the pods that the controllers would create.

mod admission;
mod kubeflow;
mod kueue;
mod volcano_job;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::batch::v1::JobSpec;
use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use crate::convert::key;
use crate::error::ManifestError;
use crate::objects::{Located, Objects, Origin};
use admission::Admission;

pub(crate) use kueue::with_workloads;

/// How many pods a job has at once.
fn pods_of(spec: &JobSpec) -> u32 {
    let parallelism = spec.parallelism.unwrap_or(1);
    spec.completions.map_or(parallelism, |completions| completions.min(parallelism)).max(0) as u32
}

/// Objects with the pods that controllers would create, after those that were there.
pub(crate) struct Expanded<'a> {
    pub(crate) objects: Cow<'a, Objects>,
    /// Position of the first pod that was not there.
    pub(crate) first_new: usize,
    pub(crate) warnings: Vec<String>,
}

/// Adds the pods of controllers that have none yet, and their groups, as admission lets them in.
pub(crate) fn expand(objects: &Objects) -> Result<Expanded<'_>, ManifestError> {
    let first_new = objects.pods.len();
    let any = !objects.volcano_jobs.is_empty()
        || !objects.pytorch_jobs.is_empty()
        || !objects.tf_jobs.is_empty()
        || !objects.mpi_jobs.is_empty()
        || !objects.jobs.is_empty()
        || !objects.deployments.is_empty();
    if !any {
        return Ok(Expanded { objects: Cow::Borrowed(objects), first_new, warnings: Vec::new() });
    }
    let mut expansion = Expansion {
        owners: owners(objects),
        admission: Admission::new(objects)?,
        objects: objects.clone(),
        warnings: Vec::new(),
    };
    for job in &objects.volcano_jobs {
        expansion.volcano_job(job)?;
    }
    expansion.kubeflow_jobs(objects)?;
    for job in &objects.jobs {
        let Some(spec) = &job.spec else { continue };
        let owner = Owner::new("batch/v1", "Job", &job.metadata, &job.origin);
        if spec.suspend == Some(true) {
            expansion.warn(&job.origin, "it is suspended; its pods are not created");
            continue;
        }
        let pods = (0..pods_of(spec)).map(|index| {
            let name = format!("{}-{index}", owner.name);
            let labels = [("batch.kubernetes.io/job-name", owner.name.clone())];
            let index = [("batch.kubernetes.io/job-completion-index", index.to_string())];
            let indexed = spec.completion_mode.as_deref() == Some("Indexed");
            let labels = labels.into_iter().chain(index.into_iter().filter(|_| indexed));
            owner.pod(&name, &spec.template, labels, [])
        });
        expansion.add(&owner, pods.collect())?;
    }
    for deployment in &objects.deployments {
        let owner = Owner::new("apps/v1", "Deployment", &deployment.metadata, &deployment.origin);
        let pods = (0..deployment.spec.replicas.unwrap_or(1).max(0))
            .map(|index| owner.pod(&format!("{}-{index}", owner.name), &deployment.spec.template, [], []));
        expansion.add(&owner, pods.collect())?;
    }
    let Expansion { objects, warnings, .. } = expansion;
    Ok(Expanded { objects: Cow::Owned(objects), first_new, warnings })
}

struct Expansion {
    /// Controllers that have pods: kind, namespace, name.
    owners: BTreeSet<(String, String, String)>,
    admission: Admission,
    objects: Objects,
    warnings: Vec<String>,
}

/// A controller.
struct Owner<'a> {
    reference: OwnerReference,
    namespace: &'a str,
    name: String,
    metadata: &'a ObjectMeta,
    origin: &'a Origin,
}

impl<'a> Owner<'a> {
    fn new(api_version: &str, kind: &str, metadata: &'a ObjectMeta, origin: &'a Origin) -> Self {
        let name = metadata.name.clone().unwrap_or_default();
        let reference = OwnerReference {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
            name: name.clone(),
            uid: metadata.uid.clone().unwrap_or_default(),
            controller: Some(true),
            block_owner_deletion: None,
        };
        Self { reference, namespace: key::namespace(metadata), name, metadata, origin }
    }

    /// A pod from a template.
    fn pod<'t>(
        &self,
        name: &str,
        template: &PodTemplateSpec,
        labels: impl IntoIterator<Item = (&'t str, String)>,
        annotations: impl IntoIterator<Item = (&'t str, String)>,
    ) -> Located<Pod> {
        let given = template.metadata.clone().unwrap_or_default();
        let with = |map: Option<BTreeMap<String, String>>, more: Vec<(&str, String)>| {
            let mut map = map.unwrap_or_default();
            map.extend(more.into_iter().map(|(key, value)| (key.to_owned(), value)));
            Some(map)
        };
        let metadata = ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(self.namespace.to_owned()),
            labels: with(given.labels, labels.into_iter().collect()),
            annotations: with(given.annotations, annotations.into_iter().collect()),
            owner_references: Some(vec![self.reference.clone()]),
            creation_timestamp: self.metadata.creation_timestamp.clone(),
            ..ObjectMeta::default()
        };
        let origin =
            Origin { object: format!("Pod {}/{name}", self.namespace).into(), ..self.origin.clone() };
        Located { object: Pod { metadata, spec: template.spec.clone(), status: None }, origin }
    }
}

impl Expansion {
    fn warn(&mut self, origin: &Origin, message: &str) {
        let Origin { file, line, object } = origin;
        self.warnings.push(format!("{file}:{line}: {object}: {message}"));
    }

    /// Whether the controller has pods already.
    fn has_pods(&self, owner: &Owner<'_>) -> bool {
        let kind = owner.reference.kind.clone();
        self.owners.contains(&(kind, owner.namespace.to_owned(), owner.name.clone()))
    }

    /// Adds pods of a controller that has none yet, as far as admission lets them in.
    fn add(&mut self, owner: &Owner<'_>, pods: Vec<Located<Pod>>) -> Result<(), ManifestError> {
        if self.has_pods(owner) {
            return Ok(());
        }
        let wanted = pods.len();
        let mut refused = 0;
        let mut reason = None;
        for mut pod in pods {
            match self.admission.admit(&mut pod)? {
                Ok(()) => self.objects.pods.push(pod),
                Err(refusal) => {
                    refused += 1;
                    reason.get_or_insert(refusal);
                }
            }
        }
        if let Some(reason) = reason {
            self.warn(owner.origin, &format!("{refused} of {wanted} pods are not created: {reason}"));
        }
        Ok(())
    }
}

/// Controllers that have pods, through a reference or by the labels that they put on them.
fn owners(objects: &Objects) -> BTreeSet<(String, String, String)> {
    const NAME_LABELS: [(&str, &[&str]); 3] = [
        ("volcano.sh/job-name", &["Job"]),
        ("batch.kubernetes.io/job-name", &["Job"]),
        ("training.kubeflow.org/job-name", &["PyTorchJob", "TFJob", "MPIJob"]),
    ];
    let mut found = BTreeSet::new();
    for pod in &objects.pods {
        let mut insert = |kind: &str, name: &str| {
            found.insert((kind.to_owned(), key::namespace(&pod.metadata).to_owned(), name.to_owned()));
        };
        for owner in pod.metadata.owner_references.iter().flatten() {
            insert(&owner.kind, &owner.name);
            // The pods of a deployment belong to replica sets that are named after it.
            if let Some((deployment, _)) = owner.name.rsplit_once('-').filter(|_| owner.kind == "ReplicaSet")
            {
                insert("Deployment", deployment);
            }
        }
        for (label, kinds) in NAME_LABELS {
            let name = pod.metadata.labels.as_ref().and_then(|labels| labels.get(label));
            kinds.iter().zip(name.into_iter().cycle()).for_each(|(kind, name)| insert(kind, name));
        }
    }
    found
}
