//! Quotas of Volcano-style queues as Kueue sees them.
//!
//! A queue that contains others is a cohort, and a cluster queue in it for jobs of its own. Top-level queues share one
//! cohort. Of each resource that a queue names, `deserved` (or, where that names nothing, `capability`) is its nominal
//! quota, what `capability` allows beyond it may be borrowed, and what `guarantee` keeps is not lent. A queue that
//! contains others has for itself what it deserves beyond what they do. Resources that a queue does not name are not held
//! against it.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec;
use alloc::vec::Vec;

use foretell_framework::state::QueueSpec;
use foretell_framework::{ClusterState, Dimension, LabelSelector, QueueId};

use crate::ids::{Cell, FlavorId, NodeId, ResourceId};
use crate::model::{Flavor, Fungibility, Model, Preemption, Queue, ResourceGroup, Victims};
use crate::topology::TopologyGates;
use crate::tree::{CycleError, NodeSpec, Quota, Tree};

/// Amounts that a queue is entitled to, by dimension.
#[derive(Clone, Copy, Default)]
struct Entitlement {
    nominal: i64,
    capability: Option<i64>,
    guarantee: Option<i64>,
}

/// The model of the queues of a cluster. There is one flavor, of which the cells are the dimensions.
pub(super) fn model(state: &ClusterState) -> Result<Model, CycleError> {
    let queues = state.queues();
    let dimensions = Dimension::count(state);
    let mut cohort_of: BTreeMap<Option<usize>, NodeId> = BTreeMap::from([(None, NodeId::new(queues.len()))]);
    for queue in queues {
        let parent = queue.spec.parent.map(QueueId::index);
        let next = NodeId::new(queues.len() + cohort_of.len());
        cohort_of.entry(parent).or_insert(next);
    }
    let own: Vec<_> = queues.iter().map(|queue| entitlements(&queue.spec)).collect();
    let mut specs =
        vec![NodeSpec { parent: None, weight: 1.0, quotas: BTreeMap::new() }; queues.len() + cohort_of.len()];
    for (index, queue) in queues.iter().enumerate() {
        let around = cohort_of.get(&queue.spec.parent.map(QueueId::index)).copied();
        let weight = f64::from(queue.spec.weight);
        let Some(&cohort) = cohort_of.get(&Some(index)) else {
            let quotas = own[index].iter().map(|(&cell, of)| (cell, quota(of, of.nominal))).collect();
            specs[index] = NodeSpec { parent: around, weight, quotas };
            continue;
        };
        let inner = |cell: &Cell| -> i64 {
            let below = queues
                .iter()
                .zip(&own)
                .filter(|(inner, _)| inner.spec.parent.is_some_and(|parent| parent.index() == index));
            below.map(|(_, of)| of.get(cell).map_or(0, |of| of.nominal)).fold(0, i64::saturating_add)
        };
        let of_cohort = |(&cell, of): (&Cell, &Entitlement)| {
            let subtree = of.nominal.max(inner(&cell));
            (cell, Quota { nominal: subtree - inner(&cell), ..quota(of, subtree) })
        };
        specs[cohort.index()] =
            NodeSpec { parent: around, weight, quotas: own[index].iter().map(of_cohort).collect() };
        let nothing = own[index].keys().map(|&cell| (cell, Quota::default())).collect();
        specs[index] = NodeSpec { parent: Some(cohort), weight: 1.0, quotas: nothing };
    }
    let tree = Tree::new(&specs, queues.len(), 1, dimensions)?;
    let queue = |(queue, own): (&foretell_framework::state::Queue, &BTreeMap<Cell, Entitlement>)| Queue {
        groups: vec![ResourceGroup {
            resources: own.keys().map(|cell| ResourceId::new(cell.index())).collect(),
            flavors: vec![FlavorId::new(0)],
        }],
        strict: queue.spec.head_blocks,
        active: queue.spec.open,
        namespaces: Some(LabelSelector::default()),
        fungibility: Fungibility::default(),
        preemption: Preemption {
            within_queue: Victims::LowerPriority,
            reclaim: Victims::Any,
            while_borrowing: None,
        },
    };
    Ok(Model {
        flavors: vec![Flavor::default()],
        queues: queues.iter().zip(&own).map(queue).collect(),
        tree,
        namespaces: BTreeMap::new(),
        pods: None,
        topologies: BTreeMap::new(),
        topology_gates: TopologyGates::default(),
    })
}

fn quota(of: &Entitlement, subtree: i64) -> Quota {
    Quota {
        nominal: of.nominal,
        borrowing_limit: of.capability.map(|most| most.saturating_sub(subtree).max(0)),
        lending_limit: of.guarantee.map(|kept| subtree.saturating_sub(kept).max(0)),
    }
}

fn entitlements(spec: &QueueSpec) -> BTreeMap<Cell, Entitlement> {
    let read = |quota: &foretell_framework::Quota| -> BTreeMap<Cell, i64> {
        let cell = |(dimension, amount): (Dimension, u64)| {
            (Cell::new(dimension.index()), i64::try_from(amount).unwrap_or(i64::MAX))
        };
        quota.named().map(cell).collect()
    };
    let [deserved, capability, guarantee] = [&spec.deserved, &spec.capability, &spec.guarantee].map(read);
    let named: BTreeSet<Cell> = deserved.keys().chain(capability.keys()).copied().collect();
    let entitlement = |cell: Cell| {
        let capability = capability.get(&cell).copied();
        let nominal = deserved.get(&cell).copied().or(capability).unwrap_or(0);
        (cell, Entitlement { nominal, capability, guarantee: guarantee.get(&cell).copied() })
    };
    named.into_iter().map(entitlement).collect()
}
