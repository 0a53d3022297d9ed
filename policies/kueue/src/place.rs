//! Where the pods of a workload would go, by the topologies of its flavors.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::assign::{Assignment, PodSetChoice};
use crate::ids::FlavorId;
use crate::model::{LeafUse, Workload};
use crate::snapshot::Snapshot;
use crate::topology::{self, AssignOptions, LeafId, PodSetRequest};

/// The domains of a pod set: the flavor whose topology they are of, and pods per leaf.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Domains {
    /// The flavor.
    pub flavor: FlavorId,
    /// Leaves of its topology and how many pods go to each.
    pub leaves: Vec<(LeafId, u32)>,
}

/// The flavor of a pod set by whose topology it is assigned, if it has one.
fn flavor_of(snapshot: &Snapshot<'_>, set: &PodSetChoice) -> Option<FlavorId> {
    set.choices.values().map(|choice| choice.flavor).find(|flavor| snapshot.topologies.contains_key(flavor))
}

/// Domains for the pod sets that have a flavor with a topology, by position; `Err` with the pod sets that find none.
pub(crate) fn find(
    snapshot: &Snapshot<'_>,
    workload: &Workload,
    assignment: &Assignment,
    assumes_empty: bool,
) -> Result<Vec<(usize, Domains)>, Vec<usize>> {
    let mut by_flavor: BTreeMap<FlavorId, Vec<usize>> = BTreeMap::new();
    for (index, set) in assignment.pod_sets.iter().enumerate() {
        if let Some(flavor) = flavor_of(snapshot, set) {
            by_flavor.entry(flavor).or_default().push(index);
        }
    }
    let options = AssignOptions { gates: snapshot.model.topology_gates, assumes_empty };
    let mut found = Vec::new();
    for (flavor, sets) in by_flavor {
        let request = |&index: &usize| {
            let set = &workload.pod_sets[index];
            PodSetRequest {
                count: assignment.pod_sets[index].count,
                shape: &set.shape,
                topology: &set.topology,
                is_implied: !set.asks_for_topology(),
            }
        };
        let requests: Vec<_> = sets.iter().map(request).collect();
        let assigned = topology::assign(&snapshot.topologies[&flavor], &requests, options);
        let assigned = assigned
            .map_err(|failure| failure.pod_sets.iter().map(|&index| sets[index]).collect::<Vec<_>>())?;
        let domains = assigned.into_iter().map(|set| Domains { flavor, leaves: set.domains });
        found.extend(sets.into_iter().zip(domains));
    }
    Ok(found)
}

/// What the pods of a workload would use where they are assigned to.
pub(crate) fn uses(workload: &Workload, assignment: &Assignment) -> Vec<LeafUse> {
    let sets = workload.pod_sets.iter().zip(&assignment.pod_sets);
    let of_set = |(set, choice): (&crate::model::PodSet, &PodSetChoice)| {
        let domains = choice.domains.clone();
        let uses = domains.map(|Domains { flavor, leaves }| {
            let shape = &set.shape;
            let leaves = leaves.into_iter();
            leaves
                .map(|(leaf, pods)| LeafUse { flavor, leaf, shape: shape.clone(), pods })
                .collect::<Vec<_>>()
        });
        uses.unwrap_or_default()
    };
    sets.flat_map(of_set).collect()
}
