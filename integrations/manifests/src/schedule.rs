//! Scheduling cycles over a cluster that manifests describe, with nobody there to carry them out.

use foretell_framework::{
    ClusterEvent, Decision, EvictionReason, JobId, Profile, Reason, Session, Task, TaskId, TaskStatus, Time,
};
use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;
use serde::Serialize;
use serde_json::{Value, json};

use crate::convert::Cluster;

/// From one cycle to the next, if the policy does not ask for another time.
const PERIOD: Time = Time::from_nanos(1_000_000_000);

/// What came of the cycles.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Schedule {
    /// What each cycle decided.
    pub cycles: Vec<Cycle>,
    /// What still waits after them.
    pub pending: Vec<Pending>,
}

/// What one cycle decided.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Cycle {
    /// Pods that got a node.
    pub binds: Vec<Bind>,
    /// Pods that have to leave.
    pub evictions: Vec<Eviction>,
    /// Pods for which room is made.
    pub nominations: Vec<Nomination>,
}

/// A pod got a node.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Bind {
    /// The pod, as `namespace/name`.
    pub pod: String,
    /// Its node.
    pub node: String,
    /// Its devices on the node.
    pub gpus: Vec<usize>,
}

/// A pod has to leave.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Eviction {
    /// The pod, as `namespace/name`.
    pub pod: String,
    /// The node that it leaves.
    pub node: String,
    /// Why.
    pub reason: String,
    /// The pod for which room is made, if it is for one.
    #[serde(rename = "for", skip_serializing_if = "Option::is_none")]
    pub beneficiary: Option<String>,
}

/// Room is made for a pod.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Nomination {
    /// The pod, as `namespace/name`.
    pub pod: String,
    /// The node; none if room is no longer made.
    pub node: Option<String>,
}

/// A job that has pods waiting.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Pending {
    /// The group, or the pod that is in none, as `namespace/name`.
    pub job: String,
    /// Its queue.
    pub queue: String,
    /// Its pods that wait.
    pub waiting: Vec<String>,
    /// All its pods that have not ended.
    pub pods: u32,
    /// Why they wait.
    pub reason: String,
}

/// Runs scheduling cycles. Between them bound pods start, pods that were told to leave are gone, and those that a
/// controller would create again wait. Ends early when a cycle decides nothing and the policy wants no other.
pub fn schedule(cluster: &mut Cluster, profile: &mut Profile, cycles: u32) -> Schedule {
    let mut random = ChaCha8Rng::seed_from_u64(0);
    let mut now = latest(cluster) + PERIOD;
    let mut jobs: Vec<_> = cluster.state.jobs().map(|(id, job)| (job.spec.sequence, id)).collect();
    jobs.sort_unstable();
    for &(_, job) in &jobs {
        profile.notify(&cluster.state, ClusterEvent::JobAdded(job));
    }
    let mut done = Vec::new();
    for _ in 0..cycles {
        let mut decisions = Vec::new();
        let mut session = Session::new(&mut cluster.state, now, &mut random, &mut decisions);
        profile.cycle(&mut session);
        let wake_at = session.wake_at;
        done.push(said(cluster, &decisions));
        if done.len() == cycles as usize {
            break;
        }
        let moved = carry_out(cluster, profile, now);
        now = match wake_at {
            Some(wake_at) if !moved => wake_at.max(now + PERIOD),
            None if !moved => break,
            _ => now + PERIOD,
        };
    }
    let pending = jobs.iter().filter_map(|&(_, job)| pending(cluster, profile, now, &mut random, job));
    Schedule { pending: pending.collect(), cycles: done }
}

/// The latest time that the objects name.
fn latest(cluster: &Cluster) -> Time {
    let times = cluster.state.tasks().flat_map(|(_, task)| [task.details.created, task.details.started]);
    let jobs = cluster.state.jobs().map(|(_, job)| job.spec.submitted);
    times.flatten().chain(jobs).max().unwrap_or_default()
}

/// Decisions in words.
fn said(cluster: &Cluster, decisions: &[Decision]) -> Cycle {
    let mut cycle = Cycle::default();
    let pod = |task: TaskId| cluster.names.pod(task).unwrap_or_default().to_owned();
    for decision in decisions {
        match *decision {
            Decision::Bind { task, node, gpus } => cycle.binds.push(Bind {
                pod: pod(task),
                node: cluster.names.node_name(node).to_owned(),
                gpus: gpus.iter().collect(),
            }),
            Decision::Evict { task, reason, beneficiary } => {
                let placement = cluster.state.task(task).and_then(|task| task.placement());
                let node = placement.map(|placement| cluster.names.node_name(placement.node).to_owned());
                cycle.evictions.push(Eviction {
                    pod: pod(task),
                    node: node.unwrap_or_default(),
                    reason: eviction_reason(reason).to_owned(),
                    beneficiary: beneficiary.map(pod),
                });
            }
            Decision::Nominate { task, node } => cycle.nominations.push(Nomination {
                pod: pod(task),
                node: node.map(|node| cluster.names.node_name(node).to_owned()),
            }),
        }
    }
    cycle
}

fn eviction_reason(reason: EvictionReason) -> &'static str {
    match reason {
        EvictionReason::Preempted => "preempted",
        EvictionReason::Reclaimed => "reclaimed",
        EvictionReason::Consolidated => "moved to consolidate",
        EvictionReason::GangTimedOut => "its gang waited too long",
        EvictionReason::NodeRevoked => "its node is taken back",
        EvictionReason::Shrunk => "its job goes on with fewer",
    }
}

/// Lets happen what was decided. Returns whether anything did.
fn carry_out(cluster: &mut Cluster, profile: &mut Profile, now: Time) -> bool {
    let state = &mut cluster.state;
    let with_status = |status: TaskStatus| -> Vec<TaskId> {
        state.tasks().filter(|(_, task)| task.status() == status).map(|(id, _)| id).collect()
    };
    let (bound, leaving) = (with_status(TaskStatus::Bound), with_status(TaskStatus::Releasing));
    for &task in &bound {
        state.start_task(task, now);
    }
    for &task in &leaving {
        if cluster.names.is_owned(task) {
            state.requeue_task(task);
            profile.notify(state, ClusterEvent::TaskWaiting(task));
        } else {
            state.end_task(task, false);
        }
    }
    if !leaving.is_empty() {
        profile.notify(state, ClusterEvent::TasksReleased);
    }
    !bound.is_empty() || !leaving.is_empty()
}

/// What of a job waits, and why.
fn pending(
    cluster: &mut Cluster,
    profile: &mut Profile,
    now: Time,
    random: &mut ChaCha8Rng,
    id: JobId,
) -> Option<Pending> {
    let job = cluster.state.job(id)?;
    let status = |task: &TaskId| cluster.state.task(*task).map(Task::status);
    let is_live =
        |task: &&TaskId| !matches!(status(task), None | Some(TaskStatus::Succeeded | TaskStatus::Failed));
    let waiting = job.tasks().iter().filter(|task| status(task) == Some(TaskStatus::Waiting));
    let waiting: Vec<_> =
        waiting.map(|&task| cluster.names.pod(task).unwrap_or_default().to_owned()).collect();
    if waiting.is_empty() {
        return None;
    }
    let pods = job.tasks().iter().filter(is_live).count() as u32;
    let queue = cluster.state.queue(job.spec.queue).name.to_string();
    let name = cluster.names.group(id).unwrap_or_default().to_owned();
    let mut undecided = Vec::new();
    let reason = profile.explain(&mut Session::new(&mut cluster.state, now, random, &mut undecided), id);
    let reason = reason_text(cluster, &reason, now);
    Some(Pending { job: name, queue, waiting, pods, reason })
}

/// A reason in an operator's words: names in place of numbers, spans in place of points in time.
fn reason_text(cluster: &Cluster, reason: &Reason, now: Time) -> String {
    match reason {
        Reason::BehindHead { head } => {
            let is_head = |job: &foretell_framework::Job| job.spec.sequence == *head;
            let head = cluster.state.jobs().find(|(_, job)| is_head(job)).map(|(id, _)| id);
            let name = head.and_then(|head| cluster.names.group(head)).unwrap_or("another job");
            format!("behind {name}, the head of its queue")
        }
        Reason::BackingOff { until } => {
            format!("backing off for {:.0} s after a failed attempt", until.since(now).as_s())
        }
        reason => reason.to_string(),
    }
}

// ---- As objects

impl Schedule {
    /// What a scheduler would write to the API server: bindings, evictions, and the status of pods that wait.
    pub fn objects(&self) -> Vec<Value> {
        let mut objects = Vec::new();
        for cycle in &self.cycles {
            objects.extend(cycle.binds.iter().map(|bind| {
                let mut metadata = metadata(&bind.pod);
                if !bind.gpus.is_empty() {
                    let gpus: Vec<_> = bind.gpus.iter().map(ToString::to_string).collect();
                    metadata["annotations"] = json!({ "foretell.dev/gpus": gpus.join(",") });
                }
                json!({
                    "apiVersion": "v1",
                    "kind": "Binding",
                    "metadata": metadata,
                    "target": { "apiVersion": "v1", "kind": "Node", "name": bind.node },
                })
            }));
            objects.extend(cycle.evictions.iter().map(|eviction| {
                let mut metadata = metadata(&eviction.pod);
                metadata["annotations"] = json!({ "foretell.dev/reason": eviction.reason });
                if let Some(beneficiary) = &eviction.beneficiary {
                    metadata["annotations"]["foretell.dev/for"] = json!(beneficiary);
                }
                json!({ "apiVersion": "policy/v1", "kind": "Eviction", "metadata": metadata })
            }));
            objects.extend(cycle.nominations.iter().map(|nomination| {
                let node = nomination.node.as_deref().unwrap_or_default();
                json!({
                    "apiVersion": "v1",
                    "kind": "Pod",
                    "metadata": metadata(&nomination.pod),
                    "status": { "nominatedNodeName": node },
                })
            }));
        }
        for pending in &self.pending {
            objects.extend(pending.waiting.iter().map(|pod| {
                json!({
                    "apiVersion": "v1",
                    "kind": "Pod",
                    "metadata": metadata(pod),
                    "status": { "conditions": [{
                        "type": "PodScheduled",
                        "status": "False",
                        "reason": "Unschedulable",
                        "message": pending.reason,
                    }] },
                })
            }));
        }
        objects
    }

    /// The objects as a YAML stream.
    pub fn to_yaml(&self) -> String {
        yaml_stream(self.objects())
    }
}

/// Objects as a YAML stream.
pub(crate) fn yaml_stream(objects: Vec<Value>) -> String {
    let documents = objects.into_iter().map(|object| {
        // Plain values of JSON always can be written.
        let text = serde_saphyr::to_string(&object).unwrap_or_default();
        format!("---\n{}\n", text.trim_end())
    });
    documents.collect()
}

pub(crate) fn metadata(pod: &str) -> Value {
    let (namespace, name) = pod.split_once('/').unwrap_or(("default", pod));
    json!({ "name": name, "namespace": namespace })
}
