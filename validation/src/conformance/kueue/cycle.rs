//! Cases of one cycle.

use foretell_kueue::{
    Assignment, CycleConfig, Domains, Preemptor, Snapshot, Verdict, WorkloadId, heads, run,
};
use foretell_manifests::Quotas;
use serde_json::{Map, Value, json};

use super::assignment::preemptor;
use super::{Answer, compare, gate, read};
use crate::conformance::Case;

/// What becomes of the heads of all queues.
pub(super) fn one_cycle(case: &Case) -> Answer {
    let quotas = read(case)?;
    let mut snapshot = Snapshot::new(&quotas.model, &quotas.workloads);
    let config = CycleConfig {
        preemptor: preemptor(case)?,
        partial_admission: gate(case, "PartialAdmission", true),
        prefers_non_borrowing: gate(case, "FairSharingPrioritizeNonBorrowing", true),
    };
    let is_fair = matches!(config.preemptor, Preemptor::Fair(_));
    debug_assert_eq!(is_fair, super::is_fair(case));
    let ids = (0..quotas.workloads.len()).map(WorkloadId::new);
    let is_waiting = |&id: &WorkloadId| {
        let workload = snapshot.workload(id);
        workload.admission.is_none() && workload.queue.is_some()
    };
    let waiting: Vec<_> = ids.filter(is_waiting).collect();
    let heads: Vec<_> =
        heads(&quotas.model, &snapshot, waiting.iter().copied()).into_iter().map(|id| (id, None)).collect();
    let outcomes = run(&mut snapshot, &heads, &config);

    let name = |id: WorkloadId| quotas.names.workloads[id.index()].clone();
    let (mut admitted, mut preempted) = (Map::new(), Map::new());
    let mut inadmissible = Vec::new();
    // Those behind the heads wait as before.
    let is_head = |id: WorkloadId| heads.iter().any(|&(head, _)| head == id);
    let mut pending: Vec<_> = waiting.into_iter().filter(|&id| !is_head(id)).map(name).collect();
    for outcome in outcomes {
        let id = outcome.workload;
        match outcome.verdict {
            Verdict::Admitted(assignment) => {
                admitted.insert(name(id), admission(&quotas, id, &assignment));
            }
            Verdict::Preempting(targets) => {
                for target in targets {
                    if !quotas.workloads[target.workload.index()].evicted {
                        preempted.insert(name(target.workload), json!(target.reason.name()));
                    }
                }
                pending.push(name(id));
            }
            Verdict::Pending(_) => pending.push(name(id)),
            Verdict::Inadmissible => inadmissible.push(name(id)),
        }
    }
    pending.sort();
    inadmissible.sort();
    let got = json!({
        "admitted": admitted,
        "pending": pending,
        "inadmissible": inadmissible,
        "preempted": preempted,
    });
    let mut expected = case.get("/expect").clone();
    for list in ["pending", "inadmissible"] {
        if let Some(Value::Array(names)) = expected.get_mut(list) {
            names.sort_by_key(Value::to_string);
        }
    }
    compare(&expected, &got)
}

fn admission(quotas: &Quotas, id: WorkloadId, assignment: &Assignment) -> Value {
    let mut sets = Map::new();
    for (set, name) in assignment.pod_sets.iter().zip(&quotas.names.pod_sets[id.index()]) {
        let flavor = |(resource, choice): (&foretell_kueue::ResourceId, &foretell_kueue::Choice)| {
            let flavor = &quotas.names.flavors[choice.flavor.index()];
            (quotas.names.resources[resource.index()].clone(), json!(flavor))
        };
        let flavors: Map<String, Value> = set.choices.iter().map(flavor).collect();
        let mut entry = json!({ "flavors": flavors, "count": set.count });
        if let Some(Domains { flavor, leaves }) = &set.domains {
            let topology = &quotas.model.topologies[flavor];
            let domain = |&(leaf, pods): &(_, u32)| (topology.leaf_values(leaf).join("/"), json!(pods));
            let domains: Map<String, Value> = leaves.iter().map(domain).collect();
            entry["topology"] = json!({ "levels": topology.naming_levels(), "domains": domains });
        }
        sets.insert(name.clone(), entry);
    }
    let queue = quotas.workloads[id.index()].queue.map(|queue| &quotas.names.nodes[queue.index()]);
    json!({ "clusterQueue": queue, "podSets": sets })
}
