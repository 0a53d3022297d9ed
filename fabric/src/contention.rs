//! What is left of a collective when others run at the same time on the same links.
//!
//! Each job is one flow whose rate is the bandwidth of its bus: it puts that rate, times what its algorithm sends over a boundary
//! between nodes, on every link that its routes take, and is capped by what it has alone. Rates are max-min fair
//! ([`sharing`](crate::sharing)).

use thiserror::Error;

use crate::collectives::{Algorithm, Calibration, Choice, Collective, Estimate};
use crate::network::{AllToAllRails, LinkTier, Loads, Network, NetworkSpec, RouteError, Routing, SpecError};
use crate::sharing::{Sharing, SharingError};

/// How jobs are spread over the nodes of a network.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Spread {
    /// Each job has nodes in a row.
    Packed,
    /// Nodes are dealt out to the jobs like cards, one after the other.
    Dealt,
}

/// Why there is no answer.
#[derive(Clone, PartialEq, Debug, Error)]
pub enum ContentionError {
    /// The network cannot be.
    #[error(transparent)]
    Network(#[from] SpecError),
    /// There is no way between two nodes.
    #[error(transparent)]
    Route(#[from] RouteError),
    /// A rate or capacity is out of range.
    #[error(transparent)]
    Sharing(#[from] SharingError),
    /// All jobs are on one node each.
    #[error("jobs on one node each share no links of the network: expected at least 2 nodes")]
    OneNode,
}

/// What each of several equal jobs gets beside the others.
#[derive(Clone, PartialEq, Debug)]
pub struct Shared {
    /// Of the job that gets least.
    pub estimate: Estimate,
    /// Alone.
    pub alone: Estimate,
    /// The tiers of which links are full, lowest first.
    pub full: Vec<LinkTier>,
}

/// Bytes over all NICs of a node in one direction, for each byte of bus bandwidth.
fn sent(choice: &Choice, algorithm: Option<Algorithm>) -> f64 {
    let ranks = choice.ranks();
    let (all, nodes, per_node) = (ranks.count(), f64::from(ranks.nodes), f64::from(ranks.per_node));
    let factor = choice.collective().bus_factor(all);
    match algorithm {
        // Two nodes: each sends all data once. More: those in the middle of one tree are leaves of the other.
        Some(Algorithm::Tree | Algorithm::NvlsTree) => f64::from(ranks.nodes.min(3) - 1) / factor,
        // Once to the switches that reduce.
        Some(Algorithm::Nvls) => 1.0 / factor,
        None if choice.collective() == Collective::AllToAll => {
            per_node * (nodes - 1.0) * per_node / f64::from(all - 1)
        }
        // Every byte of the bus crosses every boundary once; or one rank of each node sends to the next node.
        Some(Algorithm::Ring) | None => 1.0,
    }
}

/// What a collective takes when so many jobs of its placement run it at once, on a network with as many nodes as they need.
pub fn beside_others(
    choice: &Choice,
    calibration: &Calibration,
    jobs: u32,
    spec: &NetworkSpec,
    spread: Spread,
    routing: Routing,
) -> Result<Shared, ContentionError> {
    let alone = choice.estimate(calibration);
    let nodes = choice.ranks().nodes;
    if nodes < 2 {
        return Err(ContentionError::OneNode);
    }
    let network = Network::new(spec)?;
    let mut sharing = Sharing::new(&network.capacities_gb_per_s())?;
    let rails: Vec<u32> = (0..spec.nics_per_node).collect();
    let mut loads = Loads::new(&network, routing);
    // NICs do not bind a job below what is measured of it alone.
    let nics = f64::from(spec.nics_per_node) * spec.nic_gb_per_s;
    let sent = sent(choice, alone.algorithm).min(nics / alone.limit_gb_per_s);
    let mut flows = Vec::new();
    for job in 0..jobs {
        let node = |index: u32| match spread {
            Spread::Packed => job * nodes + index,
            Spread::Dealt => index * jobs + job,
        };
        let nodes: Vec<u32> = (0..nodes).map(node).collect();
        let mut weights = match choice.collective() {
            Collective::AllToAll => loads.all_to_all(&nodes, &rails, AllToAllRails::Same)?,
            _ => loads.ring(&nodes, &rails)?,
        };
        for weight in &mut weights {
            weight.weight *= sent;
        }
        flows.push((sharing.add(&weights, alone.limit_gb_per_s, 1.0)?, weights));
    }
    let least = flows
        .iter()
        .min_by(|one, other| sharing.rate_gb_per_s(one.0).total_cmp(&sharing.rate_gb_per_s(other.0)));
    let limit = least.map_or(alone.limit_gb_per_s, |(flow, _)| sharing.rate_gb_per_s(*flow));
    let full =
        least.into_iter().flat_map(|(_, weights)| weights).filter(|weight| sharing.is_saturated(weight.link));
    let mut full: Vec<LinkTier> = full.map(|weight| network.tier(weight.link)).collect();
    full.sort_unstable();
    full.dedup();
    if limit >= alone.limit_gb_per_s {
        full.clear();
    }
    Ok(Shared { estimate: choice.limited(calibration, limit), alone, full })
}
