//! Manifests and the times at which their jobs are submitted: a workload, and a scenario with the nodes of the manifests.

use std::collections::BTreeMap;

use foretell_framework::spec::TaintEffect;
use foretell_framework::{ClusterState, Job, NodeSpec, Quota, TaskSpec, WHOLE_GPU_MILLI};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::convert::Cluster;
use crate::error::ManifestError;

/// A row of a timeline.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Submission {
    /// When the job is submitted, in seconds.
    pub time_s: f64,
    /// The job: `namespace/name`, or a name in `default`.
    pub object: String,
    /// How long it runs, in seconds.
    pub duration_s: f64,
}

/// A job of equal tasks at a time.
#[derive(Clone, PartialEq, Debug)]
pub struct TimedJob {
    /// Its name; of several submissions of one object the later ones have a number.
    pub id: String,
    /// Its namespace.
    pub user: String,
    /// Its queue.
    pub queue: String,
    /// When it is submitted, in seconds.
    pub submit_s: f64,
    /// How long it runs, in seconds.
    pub duration_s: f64,
    /// Number of tasks.
    pub tasks: u32,
    /// Whole GPUs of each task.
    pub gpus_per_task: u32,
    /// Thousandths of a core of each task.
    pub cpu_milli: u64,
    /// Bytes of memory of each task.
    pub memory_bytes: u64,
    /// Its priority.
    pub priority: i32,
}

/// Reads a timeline: CSV with the columns `time_s`, `object` and `duration_s`.
pub fn read_timeline(text: &str, file: &str) -> Result<Vec<Submission>, ManifestError> {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(text.as_bytes());
    let mut found = Vec::new();
    for row in reader.deserialize::<Submission>() {
        let submission = row.map_err(|error| {
            let line = error.position().map_or(1, csv::Position::line);
            let message = match error.kind() {
                csv::ErrorKind::Deserialize { err, .. } => err.kind().to_string(),
                _ => error.to_string(),
            };
            ManifestError::new(file, line, format!("expected time_s, object and duration_s: {message}"))
        })?;
        let line = found.len() as u64 + 2;
        for (field, seconds) in [("time_s", submission.time_s), ("duration_s", submission.duration_s)] {
            if !seconds.is_finite() || seconds < 0.0 {
                let message = format!("expected zero or more seconds; got {seconds}");
                let error = ManifestError::new(file, line, message);
                return Err(ManifestError { field: field.to_owned(), ..error });
            }
        }
        found.push(submission);
    }
    Ok(found)
}

/// The jobs of a timeline, in order of submission, and what they lose by being made of equal tasks. `file` names the
/// timeline in errors.
pub fn timed_jobs(
    cluster: &Cluster,
    submissions: &[Submission],
    file: &str,
) -> Result<(Vec<TimedJob>, Vec<String>), ManifestError> {
    let mut jobs = Vec::new();
    let mut warnings = Vec::new();
    let mut seen: BTreeMap<&str, u32> = BTreeMap::new();
    for (index, submission) in submissions.iter().enumerate() {
        // Rows begin after the header.
        let error = |message: String| {
            let error = ManifestError::new(file, index as u64 + 2, message);
            ManifestError { field: "object".to_owned(), ..error }
        };
        let object = &submission.object;
        let name = if object.contains('/') { object.clone() } else { format!("default/{object}") };
        let job = cluster.names.job(&name).and_then(|job| cluster.state.job(job));
        let job = job.ok_or_else(|| error(format!("no job `{name}` in the manifests")))?;
        let submitted = seen.entry(object).or_default();
        *submitted += 1;
        let id = if *submitted == 1 { name.clone() } else { format!("{name}#{submitted}") };
        let timed = timed_job(&cluster.state, job, id, submission);
        let timed = timed.ok_or_else(|| error(format!("`{name}` has no pods")))?;
        if *submitted == 1 && cluster.state.shape(job.shape).len() > 1 {
            warnings.push(format!(
                "{name}: its {} kinds of pods count as {} equal tasks with the largest requests",
                cluster.state.shape(job.shape).len(),
                timed.tasks
            ));
        }
        jobs.push(timed);
    }
    jobs.sort_by(|a, b| a.submit_s.total_cmp(&b.submit_s));
    Ok((jobs, warnings))
}

fn timed_job(state: &ClusterState, job: &Job, id: String, submission: &Submission) -> Option<TimedJob> {
    let specs = || job.tasks().iter().filter_map(|&task| state.task_spec(task));
    let most = |amount: fn(&TaskSpec) -> u64| specs().map(amount).max();
    Some(TimedJob {
        id,
        user: job.spec.namespace.to_string(),
        queue: state.queue(job.spec.queue).name.to_string(),
        submit_s: submission.time_s,
        duration_s: submission.duration_s,
        tasks: job.tasks().len() as u32,
        gpus_per_task: most(|spec| u64::from(spec.gpus.count))? as u32,
        cpu_milli: most(|spec| spec.requests.cpu_milli)?,
        memory_bytes: most(|spec| spec.requests.memory_bytes)?,
        priority: job.spec.priority,
    })
}

/// A scenario with the nodes and queues of the manifests that runs a trace. `gpu_models` are the names of the catalogue.
pub fn scenario(
    cluster: &Cluster,
    name: &str,
    trace: &str,
    gpu_models: &[&str],
) -> Result<Value, ManifestError> {
    let state = &cluster.state;
    // Neighbours that are alike are one group.
    let mut groups: Vec<(&NodeSpec, u32)> = Vec::new();
    let mut blocked = Vec::new();
    for node in state.nodes().iter().map(|node| &node.spec) {
        match groups.last_mut() {
            Some((first, count)) if is_like(first, node) => *count += 1,
            _ => groups.push((node, 1)),
        }
        if let Some((first, count)) = groups.last().filter(|_| node.unschedulable) {
            blocked.push(format!("{}-{:04}", first.name, count - 1));
        }
    }
    let mut types = Vec::new();
    let mut nodes = Vec::new();
    for (spec, count) in groups {
        let mut node_type = json!({
            "name": format!("like-{}", spec.name),
            "cpus": (spec.allocatable.cpu_milli / 1000).max(1),
            "memory": format!("{} B", spec.allocatable.memory_bytes),
            "max_pods": spec.max_tasks,
        });
        if let Some(model) = spec.gpu_model {
            let label = state.gpu_model_name(model);
            let gpu = catalogue_model(label, gpu_models).ok_or_else(|| {
                let message = format!(
                    "node {}: no GPU model of the catalogue is like `{label}`: there are {}",
                    spec.name,
                    gpu_models.join(", ")
                );
                ManifestError::new("catalogue", 0, message)
            })?;
            node_type["gpu"] = json!(gpu);
            node_type["gpus"] = json!(spec.gpus);
        }
        types.push(node_type);
        let taints = spec.taints.iter().map(|taint| {
            let effect = match taint.effect {
                TaintEffect::NoSchedule => "NoSchedule",
                TaintEffect::PreferNoSchedule => "PreferNoSchedule",
                TaintEffect::NoExecute => "NoExecute",
            };
            json!({ "key": taint.key, "value": taint.value, "effect": effect })
        });
        nodes.push(json!({
            "type": format!("like-{}", spec.name),
            "count": count,
            "name_prefix": spec.name,
            "labels": own_labels(spec).collect::<BTreeMap<_, _>>(),
            "taints": taints.collect::<Vec<_>>(),
        }));
    }
    let queues = state.queues().iter().map(|queue| {
        let spec = &queue.spec;
        let mut value = json!({
            "name": queue.name,
            "weight": spec.weight.max(1),
            "priority": spec.priority,
            "reclaimable": spec.reclaimable,
        });
        if let Some(parent) = spec.parent {
            value["parent"] = json!(state.queue(parent).name);
        }
        for (name, quota) in
            [("capability", &spec.capability), ("deserved", &spec.deserved), ("guarantee", &spec.guarantee)]
        {
            if let Some(amount) = amount(quota) {
                value[name] = amount;
            }
        }
        value
    });
    Ok(json!({
        "version": 1,
        "name": name,
        "description": "Nodes, queues and jobs of Kubernetes manifests",
        "cluster": { "nodes": nodes, "node_types": types, "blocked_nodes": blocked },
        "workload": { "trace": { "format": "canonical", "path": trace } },
        "queue": queues.collect::<Vec<_>>(),
        "scheduler": { "policies": ["default"] },
    }))
}

/// Labels that tell more than which node it is.
fn own_labels(spec: &NodeSpec) -> impl Iterator<Item = (&str, &str)> {
    let labels = spec.labels.iter().filter(|(key, _)| &***key != "kubernetes.io/hostname");
    labels.map(|(key, value)| (&**key, &**value))
}

fn is_like(first: &NodeSpec, other: &NodeSpec) -> bool {
    first.allocatable == other.allocatable
        && first.max_tasks == other.max_tasks
        && (first.gpus, first.gpu_model) == (other.gpus, other.gpu_model)
        && first.taints == other.taints
        && own_labels(first).eq(own_labels(other))
}

fn amount(quota: &Quota) -> Option<Value> {
    let mut amount = json!({});
    if let Some(gpu_milli) = quota.gpu_milli {
        amount["gpus"] = json!(gpu_milli as f64 / f64::from(WHOLE_GPU_MILLI));
    }
    if let Some(cpu_milli) = quota.cpu_milli {
        amount["cpus"] = json!(cpu_milli as f64 / 1000.0);
    }
    if let Some(bytes) = quota.memory_bytes {
        amount["memory"] = json!(format!("{bytes} B"));
    }
    amount.as_object().is_some_and(|amount| !amount.is_empty()).then_some(amount)
}

/// The model of the catalogue whose name has most of its parts in a product label, such as `A100-80` in
/// `NVIDIA-A100-SXM4-80GB`.
fn catalogue_model<'a>(label: &str, models: &[&'a str]) -> Option<&'a str> {
    let label = label.to_uppercase();
    let tokens: Vec<&str> = label.split(['-', ' ', '_']).collect();
    let has = |part: &str| {
        let part = part.to_uppercase();
        tokens.iter().any(|token| *token == part || token.strip_suffix("GB") == Some(part.as_str()))
    };
    let parts = |model: &str| model.split('-').count();
    models.iter().copied().filter(|model| model.split('-').all(has)).max_by_key(|model| parts(model))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn product_labels_name_models_of_the_catalogue() {
        let models = ["A10", "T4", "V100-16", "V100-32", "A100-40", "A100-80", "H100", "G2"];
        for (label, expected) in [
            ("NVIDIA-A100-SXM4-80GB", Some("A100-80")),
            ("NVIDIA-A100-PCIE-40GB", Some("A100-40")),
            ("Tesla-V100-SXM2-16GB", Some("V100-16")),
            ("NVIDIA-H100-80GB-HBM3", Some("H100")),
            ("nvidia-tesla-t4", Some("T4")),
            ("A10", Some("A10")),
            ("AMD-Instinct-MI300X", None),
        ] {
            assert_eq!(catalogue_model(label, &models), expected, "{label}");
        }
    }
}
