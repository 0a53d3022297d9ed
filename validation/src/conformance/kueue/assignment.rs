//! Cases of flavors and of victims.

use std::collections::BTreeMap;

use foretell_kueue::{
    Assignment, Cell, Choice, Context, FairRule, Mode, Oracle, PodSetChoice, Possibility, Preemptor,
    Snapshot, Workload, WorkloadId, assign,
};
use foretell_manifests::Quotas;
use serde_json::{Map, Value, json};

use super::{Answer, Names, compare, is_fair, read, snapshot};
use crate::conformance::Case;

/// What preemption could do, as a case states it.
struct Table(BTreeMap<Cell, (Possibility, u32)>);

impl Oracle for Table {
    fn ask(&self, _: &mut Snapshot<'_>, _: WorkloadId, cell: Cell, _: i64) -> (Possibility, u32) {
        self.0.get(&cell).copied().unwrap_or((Possibility::Preempt, 0))
    }
}

fn table(case: &Case, names: &Names<'_>) -> Result<Table, String> {
    let mut found = BTreeMap::new();
    for (flavor, resources) in case.get("/preemptionOracle").as_object().into_iter().flatten() {
        for (resource, answer) in resources.as_object().into_iter().flatten() {
            let possibility = match answer.get("possibility").and_then(Value::as_str) {
                Some("NoCandidates") => Possibility::NoCandidates,
                Some("Preempt") => Possibility::Preempt,
                Some("Reclaim") => Possibility::Reclaim,
                other => return Err(format!("no possibility: {other:?}")),
            };
            let borrowing = answer.get("borrowAfter").and_then(Value::as_u64).unwrap_or(0);
            if let Some(cell) = names.cell(flavor, resource) {
                found.insert(cell, (possibility, borrowing as u32));
            }
        }
    }
    Ok(Table(found))
}

/// The workload that a case is about, and all workloads with it in the queue that the case says.
fn incoming(case: &Case, quotas: &Quotas) -> Result<(WorkloadId, Vec<Workload>), String> {
    let name = case.text("/incoming").unwrap_or_default();
    let id = quotas.names.workload(name).ok_or_else(|| format!("no workload {name}"))?;
    let queue = case.text("/clusterQueue").unwrap_or_default();
    let mut workloads = quotas.workloads.clone();
    workloads[id.index()].queue = quotas.names.queue(queue);
    Ok((id, workloads))
}

const fn mode_name(mode: Mode) -> &'static str {
    match mode {
        Mode::NoFit => "NoFit",
        Mode::Preempt => "Preempt",
        Mode::Fit => "Fit",
    }
}

/// Which flavors a workload gets.
pub(super) fn flavors(case: &Case) -> Answer {
    let quotas = read(case)?;
    let (id, workloads) = incoming(case, &quotas)?;
    let mut snapshot = snapshot(case, &quotas, &workloads)?;
    let names = Names(&quotas.names);
    let table = table(case, &names)?;
    let context = Context { fair_sharing: is_fair(case), oracle: &table };
    let assignment = assign(&mut snapshot, id, None, None, &context);

    let sets = assignment.pod_sets.iter().zip(&quotas.names.pod_sets[id.index()]);
    let by_set = |value: &dyn Fn(&Choice) -> Value| {
        let of_set = |(set, name): (&PodSetChoice, &String)| {
            let of_resource = |(resource, choice): (&foretell_kueue::ResourceId, &Choice)| {
                (quotas.names.resources[resource.index()].clone(), value(choice))
            };
            (name.clone(), Value::Object(set.choices.iter().map(of_resource).collect()))
        };
        Value::Object(sets.clone().map(of_set).collect())
    };
    let mut got = json!({
        "mode": mode_name(assignment.mode()),
        "flavors": by_set(&|choice| json!(quotas.names.flavors[choice.flavor.index()])),
        "modes": by_set(&|choice| json!(mode_name(choice.mode))),
        "borrowing": assignment.borrowing(),
        "usage": names.amounts(assignment.usage.iter().map(|(&cell, &amount)| (cell, amount))),
    });
    // Of pod sets after one that has no flavor, upstream says nothing.
    for part in ["flavors", "modes"] {
        let expected = case.expect(part);
        if let Some(sets) = got[part].as_object_mut() {
            sets.retain(|set, choices| {
                expected.get(set).is_some() || choices.as_object().is_some_and(|choices| !choices.is_empty())
            });
        }
    }
    if let (Some(fields), Some(expected)) = (got.as_object_mut(), case.get("/expect").as_object()) {
        fields.retain(|field, _| expected.contains_key(field));
    }
    compare(case.get("/expect"), &got)
}

/// Whom a workload displaces.
pub(super) fn targets(case: &Case) -> Answer {
    let quotas = read(case)?;
    let (id, workloads) = incoming(case, &quotas)?;
    let mut snapshot = snapshot(case, &quotas, &workloads)?;
    let assignment = assigned(case, &quotas, &snapshot, id)?;
    let targets = preemptor(case)?.targets(&mut snapshot, id, &assignment);
    let mut found = Map::new();
    for target in targets {
        let is_leaving = snapshot.workload(target.workload).evicted;
        let reason = if is_leaving { "AlreadyEvicted" } else { target.reason.name() };
        found.insert(quotas.names.workloads[target.workload.index()].clone(), json!(reason));
    }
    compare(case.expect("preempted"), &Value::Object(found))
}

/// How the case wants victims to be found.
pub(super) fn preemptor(case: &Case) -> Result<Preemptor, String> {
    if !is_fair(case) {
        return Ok(Preemptor::Classical);
    }
    let Some(rules) = case.get("/fairSharingStrategies").as_array() else { return Ok(Preemptor::fair()) };
    let rule = |rule: &Value| match rule.as_str() {
        Some("LessThanOrEqualToFinalShare") => Ok(FairRule::LessThanOrEqualToFinalShare),
        Some("LessThanInitialShare") => Ok(FairRule::LessThanInitialShare),
        other => Err(format!("no rule: {other:?}")),
    };
    Ok(Preemptor::Fair(rules.iter().map(rule).collect::<Result<_, _>>()?))
}

/// The flavors that the case says a workload got.
fn assigned(
    case: &Case,
    quotas: &Quotas,
    snapshot: &Snapshot<'_>,
    id: WorkloadId,
) -> Result<Assignment, String> {
    let mut assignment = Assignment::default();
    for (set, name) in snapshot.workload(id).pod_sets.iter().zip(&quotas.names.pod_sets[id.index()]) {
        let mut found = PodSetChoice { count: set.count, ..PodSetChoice::default() };
        let flavors = case.get("/assignedFlavors").get(name).and_then(Value::as_object);
        let modes = case.get("/assignedModes").get(name);
        for (resource_name, flavor) in flavors.into_iter().flatten() {
            let unknown = || format!("no resource {resource_name} of flavor {flavor}");
            let resource = quotas.names.resource(resource_name).ok_or_else(unknown)?;
            let flavor =
                flavor.as_str().and_then(|flavor| quotas.names.flavor(flavor)).ok_or_else(unknown)?;
            let mode = match modes.and_then(|modes| modes.get(resource_name)).and_then(Value::as_str) {
                None | Some("Preempt") => Mode::Preempt,
                Some("Fit") => Mode::Fit,
                Some(other) => return Err(format!("no mode: {other}")),
            };
            found.choices.insert(resource, Choice { flavor, mode, borrowing: 0, next: None });
            let amount = if quotas.names.resources[resource.index()] == "pods" {
                i64::from(set.count)
            } else {
                set.request(resource) * i64::from(set.count)
            };
            found.requests.insert(resource, amount);
            *assignment.usage.entry(snapshot.tree.cell(flavor, resource)).or_default() += amount;
        }
        assignment.pod_sets.push(found);
    }
    Ok(assignment)
}
