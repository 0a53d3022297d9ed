//! What is left of a collective when others run at the same time on the same links.
//!
//! Each job is one flow whose rate is the bandwidth of its bus: it puts that rate, times what its algorithm sends over a boundary
//! between nodes, on every link that its routes take, and is capped by what it has alone. Rates are max-min fair
//! ([`sharing`](crate::sharing)).

use thiserror::Error;

use crate::collectives::{Algorithm, Calibration, Choice, Collective, Environment, Estimate};
use crate::hardware::Ranks;
use crate::network::{
    AllToAllRails, LinkTier, LinkWeight, Loads, Network, NetworkSpec, RouteError, Routing, SpecError,
};
use crate::sharing::{FlowId, Sharing, SharingError};

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
    /// Jobs for which the network has too few nodes.
    #[error("jobs on {needed} nodes, and a network of {nodes}")]
    TooFewNodes {
        /// Of all jobs.
        needed: u64,
        /// Of the network.
        nodes: u32,
    },
    /// A choice for another placement or collective.
    #[error("a choice for another placement or collective than that of the jobs")]
    AnotherJob,
}

/// What each of several equal jobs gets beside the others.
#[derive(Clone, PartialEq, Debug)]
pub struct Shared {
    /// Of the job that gets least.
    pub estimate: Estimate,
    /// Alone.
    pub alone: Estimate,
    /// The tiers of its links that are full, lowest first; none if it has what it has alone.
    pub full: Vec<LinkTier>,
}

/// Bytes over all NICs of a node in one direction, for each byte of bus bandwidth, under an algorithm of the choice.
pub fn sent(choice: &Choice, algorithm: Option<Algorithm>) -> f64 {
    choice.sent(algorithm)
}

/// Where a job is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Placement {
    /// Its nodes, in the order of its ranks.
    pub nodes: Vec<u32>,
    /// The NICs that it uses on each of them: those nearest to its GPUs.
    pub rails: Vec<u32>,
}

/// Equal jobs on a network, and what each puts on its links.
pub struct Neighbours {
    network: Network,
    ranks: Ranks,
    collective: Collective,
    /// Of the job with the fewest, on one node.
    nics_gb_per_s: f64,
    /// For each job, by byte that leaves a node.
    loads: Vec<Vec<LinkWeight>>,
}

impl Neighbours {
    /// So many jobs of a placement, all in an environment, that run a collective at once, on a network of all their nodes.
    pub fn new(
        ranks: Ranks,
        collective: Collective,
        jobs: u32,
        spec: &NetworkSpec,
        spread: Spread,
        routing: Routing,
        environment: &Environment,
    ) -> Result<Self, ContentionError> {
        if ranks.nodes < 2 {
            return Err(ContentionError::OneNode);
        }
        let needed = u64::from(ranks.nodes) * u64::from(jobs);
        if needed > u64::from(spec.nodes) {
            return Err(ContentionError::TooFewNodes { needed, nodes: spec.nodes });
        }
        let rails: Vec<u32> = (0..spec.nics_per_node).collect();
        let placement = |job: u32| {
            let node = |index: u32| match spread {
                Spread::Packed => job * ranks.nodes + index,
                Spread::Dealt => index * jobs + job,
            };
            Placement { nodes: (0..ranks.nodes).map(node).collect(), rails: rails.clone() }
        };
        let placements: Vec<Placement> = (0..jobs).map(placement).collect();
        Self::placed(ranks, collective, &placements, spec, routing, environment)
    }

    /// Jobs at these places that run a collective at once. Those on the same nodes share what NICs they have in common.
    pub fn placed(
        ranks: Ranks,
        collective: Collective,
        placements: &[Placement],
        spec: &NetworkSpec,
        routing: Routing,
        environment: &Environment,
    ) -> Result<Self, ContentionError> {
        if ranks.nodes < 2 {
            return Err(ContentionError::OneNode);
        }
        let network = Network::new(spec)?;
        let mut sums = Loads::new(&network, routing);
        let talk = if environment.uses_proxies() { AllToAllRails::Same } else { AllToAllRails::All };
        let mut loads = Vec::new();
        for Placement { nodes, rails } in placements {
            loads.push(match collective {
                Collective::AllToAll => sums.all_to_all(nodes, rails, talk)?,
                _ if environment.changes_rails() => sums.ring_across(nodes, rails)?,
                _ => sums.ring(nodes, rails)?,
            });
        }
        let rails = placements.iter().map(|placement| placement.rails.len()).min().unwrap_or(0);
        let nics_gb_per_s = rails as f64 * spec.nic_gb_per_s;
        Ok(Self { network, ranks, collective, nics_gb_per_s, loads })
    }

    /// What a choice for that placement and collective comes to when all jobs run it at once.
    pub fn share(&self, choice: &Choice, calibration: &Calibration) -> Result<Shared, ContentionError> {
        if choice.ranks() != self.ranks || choice.collective() != self.collective {
            return Err(ContentionError::AnotherJob);
        }
        let alone = choice.estimate(calibration);
        // NICs do not bind a job below what is measured of it alone.
        let sent = sent(choice, alone.algorithm).min(self.nics_gb_per_s / alone.limit_gb_per_s);
        let mut sharing = Sharing::new(&self.network.capacities_gb_per_s())?;
        let mut flows = Vec::with_capacity(self.loads.len());
        for loads in &self.loads {
            let weights: Vec<LinkWeight> =
                loads.iter().map(|load| LinkWeight::new(load.link, load.weight * sent)).collect();
            flows.push((sharing.add(&weights, alone.limit_gb_per_s, 1.0)?, loads));
        }
        let rate = |flow: &(FlowId, &Vec<LinkWeight>)| sharing.rate_gb_per_s(flow.0);
        let least = flows.iter().min_by(|one, other| rate(one).total_cmp(&rate(other)));
        let limit = least.map_or(alone.limit_gb_per_s, rate);
        let mut full: Vec<LinkTier> = Vec::new();
        if let Some((_, loads)) = least.filter(|_| limit < alone.limit_gb_per_s) {
            let links = loads.iter().map(|load| load.link).filter(|&link| sharing.is_saturated(link));
            full.extend(links.map(|link| self.network.tier(link)));
        }
        full.sort_unstable();
        full.dedup();
        Ok(Shared { estimate: choice.limited(calibration, limit), alone, full })
    }
}
