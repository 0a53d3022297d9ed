//! Text to objects.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::de::{DeserializeOwned, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_saphyr::Spanned;

use crate::error::ManifestError;
use crate::objects::{Located, Objects, Origin, Unknown};
use crate::snapshot::is_snapshot;

/// One document of a YAML stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Document<'a> {
    /// The line of the stream where the text begins, from 1.
    pub line: u64,
    /// The text, without the marker that ends it.
    pub text: &'a str,
}

/// What every object says of itself.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Header {
    /// Group and version.
    pub api_version: String,
    /// Kind.
    pub kind: String,
    /// Name and namespace.
    pub metadata: Metadata,
}

/// The part of an object's metadata that names it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Metadata {
    /// Namespace.
    pub namespace: Option<String>,
    /// Name.
    pub name: Option<String>,
}

impl Header {
    fn object(&self) -> String {
        let Metadata { namespace, name } = &self.metadata;
        let kind = &self.kind;
        match (namespace, name) {
            (Some(namespace), Some(name)) => format!("{kind} {namespace}/{name}"),
            (None, Some(name)) => format!("{kind} {name}"),
            _ => kind.clone(),
        }
    }
}

/// Splits a YAML stream at its document markers. Documents without content are left out.
pub fn documents(text: &str) -> Vec<Document<'_>> {
    let mut found = Vec::new();
    let (mut start, mut start_line) = (0, 1);
    let mut position = 0;
    let mut push = |start: usize, end: usize, line: u64| {
        let text = &text[start..end];
        let is_content = |line: &str| !line.trim().is_empty() && !line.trim_start().starts_with('#');
        if text.lines().any(is_content) {
            found.push(Document { line, text });
        }
    };
    for (index, line) in text.split_inclusive('\n').enumerate() {
        let marker = line.trim_end();
        if marker == "---" || marker.starts_with("--- ") || marker == "..." {
            push(start, position, start_line);
            // What follows a marker on its line belongs to the document that it begins.
            let content = if marker.starts_with("--- ") { 4 } else { line.len() };
            start = position + content;
            start_line = index as u64 + if content == line.len() { 2 } else { 1 };
        }
        position += line.len();
    }
    push(start, text.len(), start_line);
    found
}

impl Document<'_> {
    /// The document as a value of a type.
    pub fn parse<T: DeserializeOwned>(&self, file: &str) -> Result<T, ManifestError> {
        let value = self.value(file)?;
        from_value(value, &Origin { file: file.into(), line: self.line, object: "".into() })
            .map_err(|error| self.locate(error, &[]))
    }

    /// The document without a type. Types are read from that: it keeps the code for them small.
    fn value(&self, file: &str) -> Result<Value, ManifestError> {
        serde_saphyr::from_str_with_options(self.text, options()).map_err(|error| {
            let line = error.location().map_or(0, |location| location.line().saturating_sub(1));
            ManifestError::new(file, self.line + line, message(&error))
        })
    }

    /// The line after the one that begins with a text, for what a block scalar holds.
    pub(crate) fn line_after(&self, text: &str) -> u64 {
        let position = self.text.lines().position(|line| line.trim_start().starts_with(text));
        self.line + position.map_or(0, |position| position as u64 + 1)
    }

    /// The lines of its values; `None` if it cannot be read, which an error has said already.
    fn lines(&self) -> Option<Spanned<Lines>> {
        serde_saphyr::from_str_with_options(self.text, options()).ok()
    }

    /// Puts the line of its field to an error. `prefix` leads from the document to the object.
    pub(crate) fn locate(&self, error: ManifestError, prefix: &[Step]) -> ManifestError {
        let Some(lines) = self.lines() else { return error };
        let steps = prefix.iter().cloned().chain(steps(&error.field));
        ManifestError { line: self.line + Lines::line(&lines, steps) - 1, ..error }
    }
}

fn options() -> serde_saphyr::Options {
    serde_saphyr::options! { strict_booleans: true, with_snippet: false }
}

/// The message of an error without its place, which is told apart.
fn message(error: &serde_saphyr::Error) -> String {
    let text = error.without_snippet().render();
    let text = text.split_once(" at line ").map_or(text.as_str(), |(message, _)| message);
    text.trim_start_matches("error: ").to_owned()
}

pub(crate) fn from_value<T: DeserializeOwned>(value: Value, origin: &Origin) -> Result<T, ManifestError> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path = error.path().to_string();
        // Of an unknown field the path ends where it was met.
        let field = if path == "." { String::new() } else { path.trim_end_matches(".?").to_owned() };
        origin.error(field, error.inner().to_string())
    })
}

// ---- Lines of fields

/// A step from a value to a part of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Step {
    Field(String),
    Item(usize),
}

/// The steps of a path such as `spec.containers[0].name`. Keys that contain a point are not found again.
fn steps(path: &str) -> Vec<Step> {
    let mut found = Vec::new();
    for part in path.split('.') {
        let mut pieces = part.split('[');
        found.extend(pieces.next().filter(|name| !name.is_empty()).map(|name| Step::Field(name.to_owned())));
        found.extend(pieces.filter_map(|piece| piece.strip_suffix(']')?.parse().ok().map(Step::Item)));
    }
    found
}

/// The shape of a document, with the lines of its values.
enum Lines {
    Map(BTreeMap<String, Spanned<Self>>),
    List(Vec<Spanned<Self>>),
    Leaf,
}

impl<'de> Deserialize<'de> for Lines {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Shape;

        impl<'de> Visitor<'de> for Shape {
            type Value = Lines;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("any value")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Lines, A::Error> {
                let mut fields = BTreeMap::new();
                while let Some((key, value)) = access.next_entry()? {
                    fields.insert(key, value);
                }
                Ok(Lines::Map(fields))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Lines, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = access.next_element()? {
                    items.push(item);
                }
                Ok(Lines::List(items))
            }

            fn visit_bool<E>(self, _: bool) -> Result<Lines, E> {
                Ok(Lines::Leaf)
            }

            fn visit_i64<E>(self, _: i64) -> Result<Lines, E> {
                Ok(Lines::Leaf)
            }

            fn visit_u64<E>(self, _: u64) -> Result<Lines, E> {
                Ok(Lines::Leaf)
            }

            fn visit_f64<E>(self, _: f64) -> Result<Lines, E> {
                Ok(Lines::Leaf)
            }

            fn visit_str<E>(self, _: &str) -> Result<Lines, E> {
                Ok(Lines::Leaf)
            }

            fn visit_unit<E>(self) -> Result<Lines, E> {
                Ok(Lines::Leaf)
            }
        }

        deserializer.deserialize_any(Shape)
    }
}

impl Lines {
    /// The line of the value to which the steps lead, or as far as they lead.
    fn line(mut value: &Spanned<Self>, steps: impl IntoIterator<Item = Step>) -> u64 {
        for step in steps {
            let next = match (&value.value, step) {
                (Self::Map(fields), Step::Field(name)) => fields.get(&name),
                (Self::List(items), Step::Item(index)) => items.get(index),
                _ => None,
            };
            let Some(next) = next else { break };
            value = next;
        }
        value.referenced.line().max(1)
    }
}

/// Reads the objects of a YAML stream. `file` names it in errors. Kinds that are not read are listed in
/// [`Objects::unknown`].
pub fn read_objects(text: &str, file: &str) -> Result<Objects, ManifestError> {
    read_documents(&documents(text), file)
}

/// Reads the objects of some documents of one file.
pub fn read_documents(documents: &[Document<'_>], file: &str) -> Result<Objects, ManifestError> {
    let mut objects = Objects::default();
    let shared: Arc<str> = file.into();
    for document in documents {
        let value = document.value(file)?;
        let origin = Origin { file: Arc::clone(&shared), line: document.line, object: "".into() };
        if is_snapshot(&value) {
            objects.add_snapshot(value, &origin).map_err(|error| document.locate(error, &[]))?;
            continue;
        }
        let header: Header =
            from_value(value.clone(), &origin).map_err(|error| document.locate(error, &[]))?;
        if !is_list(&header) {
            objects.add(value, origin).map_err(|error| document.locate(error, &[]))?;
            continue;
        }
        let items = match value {
            Value::Object(mut fields) => fields.remove("items"),
            _ => None,
        };
        let (Some(Value::Array(items)), Some(lines)) = (items, document.lines()) else { continue };
        for (index, item) in items.into_iter().enumerate() {
            let steps = [Step::Field("items".to_owned()), Step::Item(index)];
            let line = document.line + Lines::line(&lines, steps.clone()) - 1;
            let origin = Origin { line, ..origin.clone() };
            objects.add(item, origin).map_err(|error| document.locate(error, &steps))?;
        }
    }
    Ok(objects)
}

/// `kubectl get -o yaml` wraps objects in a list.
fn is_list(header: &Header) -> bool {
    header.kind == "List" || (header.kind.ends_with("List") && header.metadata.name.is_none())
}

/// Versions in which a kind is read.
macro_rules! dispatch {
    ($self:ident, $header:ident, $value:ident, $origin:ident,
     $($kind:literal in $($version:literal)|+ => $field:ident),+ $(,)?) => {
        match ($header.kind.as_str(), $header.api_version.as_str()) {
            $(($kind, $($version)|+) => {
                named(&$header, &$origin)?;
                let object = from_value($value, &$origin)?;
                $self.$field.push(Located { object, origin: $origin });
            })+
            _ => $self.unknown.push(Unknown {
                api_version: $header.api_version.clone(),
                kind: $header.kind.clone(),
                origin: $origin,
            }),
        }
    };
}

impl Objects {
    pub(crate) fn add(&mut self, value: Value, origin: Origin) -> Result<(), ManifestError> {
        let header: Header = from_value(value.clone(), &origin)?;
        let origin = Origin { object: header.object().into(), ..origin };
        for (field, text) in [("kind", &header.kind), ("apiVersion", &header.api_version)] {
            if text.is_empty() {
                return Err(origin.error(field, "missing; every object has one"));
            }
        }
        dispatch!(self, header, value, origin,
            "Node" in "v1" => nodes,
            "Pod" in "v1" => pods,
            "Namespace" in "v1" => namespaces,
            "Service" in "v1" => services,
            "ReplicationController" in "v1" => replication_controllers,
            "ResourceQuota" in "v1" => resource_quotas,
            "LimitRange" in "v1" => limit_ranges,
            "PriorityClass" in "scheduling.k8s.io/v1" => priority_classes,
            "PodDisruptionBudget" in "policy/v1" => disruption_budgets,
            "Deployment" in "apps/v1" => deployments,
            "ReplicaSet" in "apps/v1" => replica_sets,
            "StatefulSet" in "apps/v1" => stateful_sets,
            "Job" in "batch/v1" => jobs,
            "Queue" in "scheduling.volcano.sh/v1beta1" => queues,
            "PodGroup" in "scheduling.volcano.sh/v1beta1" => volcano_pod_groups,
            "Job" in "batch.volcano.sh/v1alpha1" => volcano_jobs,
            "HyperNode" in "topology.volcano.sh/v1alpha1" => hyper_nodes,
            "Queue" in "scheduling.run.ai/v2" => kai_queues,
            "PodGroup" in "scheduling.run.ai/v2alpha2" => kai_pod_groups,
            "Topology" in "kai.scheduler/v1alpha1" => kai_topologies,
            "BindRequest" in "scheduling.run.ai/v1alpha2" => kai_bind_requests,
            "PodGroup" in "scheduling.x-k8s.io/v1alpha1" | "scheduling.sigs.k8s.io/v1alpha1"
                => coscheduling_pod_groups,
            "ElasticQuota" in "scheduling.x-k8s.io/v1alpha1" | "scheduling.sigs.k8s.io/v1alpha1"
                => elastic_quotas,
            "PodGroup" in "scheduling.k8s.io/v1alpha2" | "scheduling.k8s.io/v1alpha3"
                | "scheduling.k8s.io/v1beta1" => pod_groups,
            "PyTorchJob" in "kubeflow.org/v1" => pytorch_jobs,
            "TFJob" in "kubeflow.org/v1" => tf_jobs,
            "MPIJob" in "kubeflow.org/v1" | "kubeflow.org/v2beta1" => mpi_jobs,
            "ClusterQueue" in "kueue.x-k8s.io/v1beta2" | "kueue.x-k8s.io/v1beta1" => cluster_queues,
            "Cohort" in "kueue.x-k8s.io/v1beta2" | "kueue.x-k8s.io/v1beta1" => cohorts,
            "LocalQueue" in "kueue.x-k8s.io/v1beta2" | "kueue.x-k8s.io/v1beta1" => local_queues,
            "ResourceFlavor" in "kueue.x-k8s.io/v1beta2" | "kueue.x-k8s.io/v1beta1" => resource_flavors,
            "Topology" in "kueue.x-k8s.io/v1beta2" | "kueue.x-k8s.io/v1beta1" => topologies,
            "Workload" in "kueue.x-k8s.io/v1beta2" | "kueue.x-k8s.io/v1beta1" => workloads,
            "WorkloadPriorityClass" in "kueue.x-k8s.io/v1beta2" | "kueue.x-k8s.io/v1beta1" => workload_priority_classes,
        );
        Ok(())
    }
}

/// Refuses an object without a name, which nothing could refer to.
fn named(header: &Header, origin: &Origin) -> Result<(), ManifestError> {
    if header.metadata.name.as_ref().is_none_or(String::is_empty) {
        return Err(origin.error("metadata.name", "missing; every object has one"));
    }
    Ok(())
}
