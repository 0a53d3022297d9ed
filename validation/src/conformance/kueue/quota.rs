//! Cases of quotas and shares.

use foretell_kueue::{NodeId, Share, WorkloadId, offer_order};
use serde_json::{Map, Value, json};

use super::{Answer, Names, compare, read, resource_name, snapshot};
use crate::conformance::Case;

/// What queues can use, now and if nothing were used.
pub(super) fn available(case: &Case) -> Answer {
    let quotas = read(case)?;
    let snapshot = snapshot(case, &quotas, &quotas.workloads)?;
    let names = Names(&quotas.names);
    let tree = &snapshot.tree;
    let mut found = [Map::new(), Map::new()];
    for queue in tree.queue_ids() {
        let node = queue.node();
        let cells: Vec<_> = tree.declared(node).collect();
        let available = cells.iter().map(|&cell| (cell, tree.available(node, cell).max(0)));
        let potential = cells.iter().map(|&cell| (cell, tree.potentially_available(node, cell)));
        let name = &quotas.names.nodes[queue.index()];
        found[0].insert(name.clone(), names.amounts(available));
        found[1].insert(name.clone(), names.amounts(potential));
    }
    let [available, potential] = found;
    compare(case.get("/expect"), &json!({ "available": available, "potentiallyAvailable": potential }))
}

/// Dominant resource shares.
pub(super) fn shares(case: &Case) -> Answer {
    let quotas = read(case)?;
    let snapshot = snapshot(case, &quotas, &quotas.workloads)?;
    let added = Names(&quotas.names).read(case.get("/addedRequest"))?;
    let queues = snapshot.tree.queue_ids().count();
    let mut found = Map::new();
    for (index, name) in quotas.names.nodes.iter().enumerate() {
        let share = Share::of(&snapshot.tree, NodeId::new(index), &added);
        let entry = json!({
            "kind": if index < queues { "ClusterQueue" } else { "Cohort" },
            "share": share.rounded(),
            "resource": resource_name(&quotas.names, share.resource),
            "borrowing": share.borrowing,
        });
        found.insert(name.clone(), entry);
    }
    compare(case.expect("drs"), &Value::Object(found))
}

/// The order in which queues are offered as victims.
pub(super) fn offers(case: &Case) -> Answer {
    let quotas = read(case)?;
    let snapshot = snapshot(case, &quotas, &quotas.workloads)?;
    let name = case.text("/preemptor").unwrap_or_default();
    let own = quotas.names.queue(name).ok_or_else(|| format!("no queue {name}"))?;
    let listed: Vec<_> =
        case.get("/candidateQueues").as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let is_candidate = |&id: &WorkloadId| {
        let queue = snapshot.workload(id).queue;
        queue.is_some_and(|queue| listed.contains(&quotas.names.nodes[queue.index()].as_str()))
    };
    let ids = (0..quotas.workloads.len()).map(WorkloadId::new);
    let candidates: Vec<_> = ids.filter(is_candidate).collect();
    let order: Vec<_> = offer_order(&snapshot, own, &candidates)
        .into_iter()
        .map(|queue| &quotas.names.nodes[queue.index()])
        .collect();
    compare(case.expect("order"), &json!(order))
}
