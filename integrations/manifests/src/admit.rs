//! Kueue's cycles over a cluster that manifests describe: which workloads get quota, in which flavors, and who has to leave.

use std::collections::{BTreeMap, BTreeSet};

use foretell_framework::Time;
use foretell_kueue::{
    Admission, Assignment, Cursor, CycleConfig, LeafUse, Snapshot, Verdict, Workload, WorkloadId, heads, run,
};
use serde::Serialize;
use serde_json::{Value, json};

use crate::error::ManifestError;
use crate::kueue::{QuotaGates, Quotas, quotas};
use crate::objects::Objects;
use crate::workloads::with_workloads;

/// From one cycle to the next.
const PERIOD: Time = Time::from_nanos(1_000_000_000);

/// What came of the cycles.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Admissions {
    /// What each cycle decided.
    pub cycles: Vec<AdmissionCycle>,
    /// What still waits after them.
    pub pending: Vec<PendingWorkload>,
}

/// What one cycle decided: head after head of every queue, until none is let in any more.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct AdmissionCycle {
    /// Workloads that got quota.
    pub admitted: Vec<Admitted>,
    /// Workloads that have to give theirs up.
    pub preempted: Vec<Preempted>,
}

/// A workload got quota.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Admitted {
    /// The workload, as `namespace/name`.
    pub workload: String,
    /// Its cluster queue.
    pub queue: String,
    /// Its sets of pods.
    pub pod_sets: Vec<AdmittedPods>,
}

/// A set of pods got quota.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct AdmittedPods {
    /// Its name.
    pub name: String,
    /// How many pods.
    pub count: u32,
    /// The flavor of each resource.
    pub flavors: BTreeMap<String, String>,
    /// Where they go, if they are assigned by topology: domain and number of pods.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub domains: Vec<(String, u32)>,
}

/// A workload has to give up its quota.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Preempted {
    /// The workload, as `namespace/name`.
    pub workload: String,
    /// Its cluster queue.
    pub queue: String,
    /// Why, as Kueue says it.
    pub reason: String,
    /// The workload for which it leaves.
    #[serde(rename = "for")]
    pub beneficiary: String,
}

/// A workload that waits.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct PendingWorkload {
    /// The workload, as `namespace/name`.
    pub workload: String,
    /// Its cluster queue; empty if it has none.
    pub queue: String,
    /// Why it waits.
    pub reason: String,
}

/// Runs cycles of Kueue over workloads, and over jobs and pods that name a queue and have no workload yet. Between cycles
/// those who were told to leave are gone, and wait again. Ends early when a cycle decides nothing.
pub fn admit(objects: &Objects, config: &CycleConfig, cycles: u32) -> Result<Admissions, ManifestError> {
    let objects = with_workloads(objects)?;
    let Quotas { model, mut workloads, names } = quotas(&objects, QuotaGates::default())?;
    let name = |id: WorkloadId| names.workloads[id.index()].clone();
    let queue_name = |workload: &Workload| {
        workload.queue.map(|queue| names.nodes[queue.index()].clone()).unwrap_or_default()
    };
    let mut now = latest(&workloads) + PERIOD;
    let mut done = Vec::new();
    let mut reasons: BTreeMap<WorkloadId, String> = BTreeMap::new();
    for _ in 0..cycles {
        let mut cycle = AdmissionCycle::default();
        reasons.clear();
        // Where among the flavors searches went on, the latest last, and who has had its turn.
        let mut cursors: BTreeMap<WorkloadId, Vec<Cursor>> = BTreeMap::new();
        let mut tried: BTreeSet<WorkloadId> = BTreeSet::new();
        loop {
            let mut snapshot = Snapshot::new(&model, &workloads);
            let waiting = turns(&workloads, &tried, |queue| model.queues[queue].strict);
            let heads: Vec<_> = heads(&model, &snapshot, waiting)
                .into_iter()
                .map(|id| (id, cursors.get(&id).and_then(|cursors| cursors.last().cloned())))
                .collect();
            let before = tried.len();
            let mut goes_on = false;
            // Told apart from what comes of it: the snapshot is of the workloads as they were.
            let (mut admissions, mut leaving) = (Vec::new(), BTreeSet::new());
            for outcome in run(&mut snapshot, &heads, config) {
                let id = outcome.workload;
                let workload = &workloads[id.index()];
                match outcome.verdict {
                    Verdict::Admitted(assignment) => {
                        cycle.admitted.push(Admitted {
                            workload: name(id),
                            queue: queue_name(workload),
                            pod_sets: said(&model, &names, id, &assignment),
                        });
                        admissions.push((id, admission(workload, &assignment, now)));
                    }
                    Verdict::Preempting(targets) => {
                        let names: Vec<String> = targets.iter().map(|target| name(target.workload)).collect();
                        reasons.insert(id, format!("waits until {} has left", names.join(", ")));
                        for target in targets {
                            let victim = &workloads[target.workload.index()];
                            if victim.evicted || !leaving.insert(target.workload) {
                                continue;
                            }
                            cycle.preempted.push(Preempted {
                                workload: name(target.workload),
                                queue: queue_name(victim),
                                reason: target.reason.name().to_owned(),
                                beneficiary: name(id),
                            });
                        }
                    }
                    // It has flavors left to try, unless it would go round.
                    Verdict::Pending(Some(cursor))
                        if !cursors.get(&id).is_some_and(|cursors| cursors.contains(&cursor)) =>
                    {
                        reasons.insert(id, lacking(&snapshot, &names, workload));
                        cursors.entry(id).or_default().push(cursor);
                        goes_on = true;
                    }
                    Verdict::Pending(_) => {
                        reasons.insert(id, lacking(&snapshot, &names, workload));
                        tried.insert(id);
                    }
                    Verdict::Inadmissible => {
                        reasons.insert(id, refusal(&snapshot, &names, workload));
                        tried.insert(id);
                    }
                }
            }
            // A head that waits for others to leave stays, so that what it will use is kept for it.
            goes_on |= tried.len() > before || !admissions.is_empty() || !leaving.is_empty();
            for (id, admission) in admissions {
                workloads[id.index()].admission = Some(admission);
            }
            for id in leaving {
                workloads[id.index()].evicted = true;
            }
            if !goes_on {
                break;
            }
        }
        let is_last = cycle == AdmissionCycle::default();
        done.push(cycle);
        if is_last || done.len() == cycles as usize {
            break;
        }
        now = now + PERIOD;
        for workload in workloads.iter_mut().filter(|workload| workload.evicted) {
            (workload.evicted, workload.admission) = (false, None);
        }
    }
    let pending = workloads.iter().enumerate().filter(|(_, workload)| workload.admission.is_none());
    let pending = pending.map(|(index, workload)| {
        let id = WorkloadId::new(index);
        let reason = reasons.get(&id).cloned().unwrap_or_else(|| not_tried(&model, workload).to_owned());
        PendingWorkload { workload: name(id), queue: queue_name(workload), reason }
    });
    Ok(Admissions { pending: pending.collect(), cycles: done })
}

/// Why a workload had no turn.
fn not_tried(model: &foretell_kueue::Model, workload: &Workload) -> &'static str {
    match workload.queue {
        None => "no local queue leads it to a cluster queue, or that is stopped",
        Some(queue) if !model.queues[queue.index()].active => {
            "its cluster queue is stopped, or names a flavor or topology that is not there"
        }
        Some(_) => "behind the head of its queue",
    }
}

/// Those that wait and have their turn: all but those that were tried, and those behind one in a strict queue.
fn turns(
    workloads: &[Workload],
    tried: &BTreeSet<WorkloadId>,
    is_strict: impl Fn(usize) -> bool,
) -> Vec<WorkloadId> {
    let blocked: BTreeSet<usize> = tried
        .iter()
        .filter_map(|id| workloads[id.index()].queue)
        .map(foretell_kueue::QueueId::index)
        .filter(|&queue| is_strict(queue))
        .collect();
    let waits = |&id: &WorkloadId| {
        let workload = &workloads[id.index()];
        let queue = workload.queue.map(foretell_kueue::QueueId::index);
        workload.admission.is_none()
            && !tried.contains(&id)
            && queue.is_some_and(|queue| !blocked.contains(&queue))
    };
    (0..workloads.len()).map(WorkloadId::new).filter(waits).collect()
}

/// The latest time that the workloads name.
fn latest(workloads: &[Workload]) -> Time {
    let reserved = workloads.iter().filter_map(|workload| workload.admission.as_ref());
    let reserved = reserved.map(|admission| admission.reserved).filter(|&time| time < Time::MAX);
    workloads.iter().map(|workload| workload.queued).chain(reserved).max().unwrap_or_default()
}

/// The quota that an assignment gives.
fn admission(workload: &Workload, assignment: &Assignment, now: Time) -> Admission {
    let mut leaves = Vec::new();
    for (set, choice) in workload.pod_sets.iter().zip(&assignment.pod_sets) {
        if let Some(domains) = &choice.domains {
            leaves.extend(domains.leaves.iter().map(|&(leaf, pods)| LeafUse {
                flavor: domains.flavor,
                leaf,
                shape: set.shape.clone(),
                pods,
            }));
        }
    }
    Admission { reserved: now, usage: assignment.usage.clone(), leaves }
}

/// An assignment in words.
fn said(
    model: &foretell_kueue::Model,
    names: &crate::kueue::QuotaNames,
    id: WorkloadId,
    assignment: &Assignment,
) -> Vec<AdmittedPods> {
    let sets = assignment.pod_sets.iter().zip(&names.pod_sets[id.index()]);
    let pods = |(set, name): (&foretell_kueue::PodSetChoice, &String)| {
        let flavors = set.choices.iter().map(|(resource, choice)| {
            (names.resources[resource.index()].clone(), names.flavors[choice.flavor.index()].clone())
        });
        let domains = set.domains.iter().flat_map(|domains| {
            let topology = &model.topologies[&domains.flavor];
            domains.leaves.iter().map(|&(leaf, pods)| (topology.leaf_values(leaf).join("/"), pods))
        });
        AdmittedPods {
            name: name.clone(),
            count: set.count,
            flavors: flavors.collect(),
            domains: domains.collect(),
        }
    };
    sets.map(pods).collect()
}

/// Why a queue never lets a workload in.
fn refusal(snapshot: &Snapshot<'_>, names: &crate::kueue::QuotaNames, workload: &Workload) -> String {
    let namespace = &workload.namespace;
    if workload.queue.is_some_and(|queue| snapshot.model.takes(queue, namespace)) {
        return lacking(snapshot, names, workload);
    }
    format!("its cluster queue takes no workloads of namespace {namespace}")
}

/// What a workload lacks in every flavor of its queue.
fn lacking(snapshot: &Snapshot<'_>, names: &crate::kueue::QuotaNames, workload: &Workload) -> String {
    let Some(queue) = workload.queue else { return String::new() };
    let mut asked: BTreeMap<foretell_kueue::ResourceId, i64> = BTreeMap::new();
    for set in &workload.pod_sets {
        for &(resource, amount) in &set.shape.requests {
            *asked.entry(resource).or_default() += amount * i64::from(set.count);
        }
    }
    for (resource, amount) in asked.into_iter().filter(|&(_, amount)| amount > 0) {
        let name = &names.resources[resource.index()];
        let Some(group) = snapshot.model.queues[queue.index()].group_of(resource) else {
            return format!("its cluster queue has no quota of {name}");
        };
        let free = group.flavors.iter().map(|&flavor| {
            let cell = snapshot.tree.cell(flavor, resource);
            (snapshot.tree.available(queue.node(), cell).max(0), &names.flavors[flavor.index()])
        });
        if let Some((most, flavor)) = free.max_by_key(|&(free, _)| free).filter(|&(free, _)| free < amount) {
            let unit = if name == "cpu" { " (thousandths)" } else { "" };
            return format!("asks for {amount} {name}{unit}; at most {most} are left, in flavor {flavor}");
        }
    }
    "no flavor has enough of everything and suits its pods".to_owned()
}

// ---- As objects

impl Admissions {
    /// What Kueue would write to the API server: the status of workloads.
    pub fn objects(&self) -> Vec<Value> {
        let condition = |kind: &str, status: &str, reason: &str, message: &str| json!({ "type": kind, "status": status, "reason": reason, "message": message });
        let mut objects = Vec::new();
        for cycle in &self.cycles {
            for Admitted { workload, queue, pod_sets } in &cycle.admitted {
                let sets: Vec<Value> = pod_sets
                    .iter()
                    .map(|set| {
                        let mut written =
                            json!({ "name": set.name, "count": set.count, "flavors": set.flavors });
                        if !set.domains.is_empty() {
                            written["topologyAssignment"] = json!({ "domains": set.domains });
                        }
                        written
                    })
                    .collect();
                objects.push(object(
                    workload,
                    &json!({
                        "admission": { "clusterQueue": queue, "podSetAssignments": sets },
                        "conditions": [condition("QuotaReserved", "True", "QuotaReserved", "")],
                    }),
                ));
            }
            for Preempted { workload, reason, beneficiary, .. } in &cycle.preempted {
                let message = format!("Preempted to accommodate workload {beneficiary}");
                let preempted = condition("Preempted", "True", reason, &message);
                let evicted = condition("Evicted", "True", "Preempted", &message);
                objects.push(object(workload, &json!({ "conditions": [evicted, preempted] })));
            }
        }
        for PendingWorkload { workload, reason, .. } in &self.pending {
            let pending = condition("QuotaReserved", "False", "Pending", reason);
            objects.push(object(workload, &json!({ "conditions": [pending] })));
        }
        objects
    }

    /// The objects as a YAML stream.
    pub fn to_yaml(&self) -> String {
        crate::schedule::yaml_stream(self.objects())
    }
}

fn object(workload: &str, status: &Value) -> Value {
    let metadata = crate::schedule::metadata(workload);
    json!({ "apiVersion": "kueue.x-k8s.io/v1beta2", "kind": "Workload", "metadata": metadata, "status": status })
}
