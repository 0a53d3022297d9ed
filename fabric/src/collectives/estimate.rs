//! How long a collective takes that has the links to itself.

use thiserror::Error;

use super::calibration::Calibration;
use super::candidates::{Candidate, candidates};
use super::channels::{Bound, Channels};
use super::environment::Sockets;
use super::timing::Timing;
use super::{Algorithm, Collective, Environment, Protocol};
use crate::hardware::{Interconnect, Machine, Ranks};

/// What NCCL does with a collective, and how long it takes.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Estimate {
    /// The algorithm that NCCL chooses; `None` where data go from rank to rank.
    pub algorithm: Option<Algorithm>,
    /// The protocol.
    pub protocol: Protocol,
    /// Time, microseconds.
    pub time_us: f64,
    /// Of which latency, before and beside what bandwidth takes.
    pub latency_us: f64,
    /// Size over time, GB/s.
    pub algorithm_gb_per_s: f64,
    /// That times the factor of the collective, GB/s, as in nccl-tests.
    pub bus_gb_per_s: f64,
    /// What the bus gives messages without end, GB/s.
    pub limit_gb_per_s: f64,
    /// What binds it.
    pub bound: Bound,
}

/// Why there is no estimate.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum EstimateError {
    /// Several nodes, and nothing between them.
    #[error("{nodes} nodes, but their machine has no NICs: expected `nics` and `network`")]
    NoNetwork {
        /// Nodes.
        nodes: u32,
    },
    /// Host memory is forbidden, and there is nothing else.
    #[error("NCCL_SHM_DISABLE leaves GPUs of a node no way to each other: they have no NICs")]
    NoWay,
    /// More ranks on a node than it has GPUs.
    #[error("{ranks} ranks on a node of {gpus} GPUs")]
    TooManyRanks {
        /// Ranks on a node.
        ranks: u32,
        /// Its GPUs.
        gpus: u32,
    },
    /// A collective needs two ranks.
    #[error("a collective of {ranks} ranks: expected at least 2")]
    TooFewRanks {
        /// All ranks.
        ranks: u32,
    },
    /// The environment forbids all algorithms or protocols that there are.
    #[error("NCCL_ALGO and NCCL_PROTO leave nothing for {collective} here: there are {available}")]
    NothingLeft {
        /// The collective.
        collective: Collective,
        /// Algorithms and protocols without them.
        available: String,
    },
}

/// How much longer what NCCL chooses may take than the best that it could have chosen. It chooses by constants of its own, which its
/// authors tune: where ours say that it loses more, it is rather ours that are wrong. So times hardly fall where messages grow
/// and the choice changes. Of what was measured the worst choice loses 18 % (a tree over NVLink SHARP on four nodes of H200).
const WORST_CHOICE: f64 = 1.2;

/// What NCCL does with a collective. It does not depend on the [`Calibration`].
#[derive(Clone, PartialEq, Debug)]
pub struct Choice {
    /// As the environment leaves it.
    pub(super) machine: Machine,
    /// By NVLink domain.
    pub(super) ranks: Ranks,
    pub(super) collective: Collective,
    pub(super) bytes: u64,
    /// What there was to choose from, the chosen one first; none where data go from rank to rank.
    candidates: Vec<Candidate>,
    max_channels: u32,
    pub(super) has_gpu_direct: bool,
    pub(super) sockets: Sockets,
}

/// What NCCL does with a collective of so many bytes (the size of nccl-tests) between these ranks.
pub fn choose(
    machine: &Machine,
    ranks: Ranks,
    collective: Collective,
    bytes: u64,
    environment: &Environment,
) -> Result<Choice, EstimateError> {
    if ranks.per_node > machine.gpus {
        return Err(EstimateError::TooManyRanks { ranks: ranks.per_node, gpus: machine.gpus });
    }
    if ranks.count() < 2 {
        return Err(EstimateError::TooFewRanks { ranks: ranks.count() });
    }
    let machine = environment.applied_to(machine);
    let by_domain = ranks.by_domain(machine.interconnect);
    let has_network = machine.nics > 0 && machine.nic_gb_per_s > 0.0 && machine.network.is_some();
    if by_domain.nodes > 1 && !has_network {
        return Err(EstimateError::NoNetwork { nodes: ranks.nodes });
    }
    if machine.interconnect == Interconnect::Nics && by_domain.per_node > 1 && !has_network {
        return Err(EstimateError::NoWay);
    }
    let is_by_pairs = matches!(collective, Collective::AllToAll | Collective::SendReceive);
    let mut found = candidates(&machine, ranks, collective, bytes, environment);
    // A stable sort: of equals NCCL takes the first.
    found.sort_by(|one, other| one.reckoned_us.total_cmp(&other.reckoned_us));
    if found.is_empty() && !is_by_pairs {
        let all = candidates(&machine, ranks, collective, bytes, &Environment::default());
        let mut names: Vec<_> = all.iter().map(|one| one.algorithm.name()).collect();
        names.sort_unstable();
        names.dedup();
        return Err(EstimateError::NothingLeft { collective, available: names.join(", ") });
    }
    Ok(Choice {
        machine,
        ranks: by_domain,
        collective,
        bytes,
        candidates: found,
        max_channels: environment.max_channels(),
        has_gpu_direct: environment.has_gpu_direct(),
        sockets: environment.sockets(),
    })
}

/// What a collective takes by the links that its ranks have, under NCCL's choice.
pub fn estimate(
    machine: &Machine,
    ranks: Ranks,
    collective: Collective,
    bytes: u64,
    environment: &Environment,
    calibration: &Calibration,
) -> Result<Estimate, EstimateError> {
    Ok(choose(machine, ranks, collective, bytes, environment)?.estimate(calibration))
}

impl Choice {
    /// Where it runs, by NVLink domain.
    pub const fn ranks(&self) -> Ranks {
        self.ranks
    }

    /// What NCCL chose from, by what it reckons that it takes; none where data go from rank to rank.
    pub fn candidates(&self) -> &[Candidate] {
        &self.candidates
    }

    /// The channels between its ranks.
    pub fn channels(&self) -> Channels {
        Channels::of(&self.machine, self.ranks, self.max_channels)
    }

    /// What runs.
    pub const fn collective(&self) -> Collective {
        self.collective
    }

    /// How long it takes.
    pub fn estimate(&self, calibration: &Calibration) -> Estimate {
        self.limited(calibration, f64::INFINITY)
    }

    /// How long it takes if its bus is given no more than so much.
    pub fn limited(&self, calibration: &Calibration, most_gb_per_s: f64) -> Estimate {
        self.timed(&Timing { choice: self, calibration, most_gb_per_s, is_queued: false })
    }

    /// How long it takes in a stream that has work ahead of it, as in a training step: what the host needs to launch it has
    /// passed before its turn comes. nccl-tests measure with the launch.
    pub fn queued(&self, calibration: &Calibration, most_gb_per_s: f64) -> Estimate {
        self.timed(&Timing { choice: self, calibration, most_gb_per_s, is_queued: true })
    }

    fn timed(&self, timing: &Timing<'_>) -> Estimate {
        let Some(chosen) = self.candidates.first() else { return timing.between_ranks() };
        let chosen = timing.of(chosen);
        let others = self.candidates[1..].iter().map(|candidate| timing.of(candidate));
        match others.min_by(|one, other| one.time_us.total_cmp(&other.time_us)) {
            Some(best) if chosen.time_us > WORST_CHOICE * best.time_us => best.slower(&chosen),
            _ => chosen,
        }
    }

    /// Bytes over all NICs of a node in one direction, for each byte of bus bandwidth, under an algorithm.
    pub fn sent(&self, algorithm: Option<Algorithm>) -> f64 {
        let ranks = self.ranks;
        let (all, nodes, per_node) = (ranks.count(), f64::from(ranks.nodes), f64::from(ranks.per_node));
        let factor = self.collective.bus_factor(all);
        match algorithm {
            // Two nodes: each sends all data once. More: those in the middle of one tree are leaves of the other.
            Some(Algorithm::Tree | Algorithm::NvlsTree) => f64::from(ranks.nodes.min(3) - 1) / factor,
            // Once to the switches that reduce.
            Some(Algorithm::Nvls) => 1.0 / factor,
            None if self.collective == Collective::AllToAll => {
                per_node * (nodes - 1.0) * per_node / f64::from(all - 1)
            }
            // Every byte of the bus crosses every boundary once; or one rank of each node sends to the next node.
            Some(Algorithm::Ring) | None => 1.0,
        }
    }
}

impl Estimate {
    /// The same, as much slower as a choice may be, under the name of what was chosen.
    fn slower(self, chosen: &Self) -> Self {
        Self {
            algorithm: chosen.algorithm,
            protocol: chosen.protocol,
            time_us: self.time_us * WORST_CHOICE,
            latency_us: self.latency_us * WORST_CHOICE,
            algorithm_gb_per_s: self.algorithm_gb_per_s / WORST_CHOICE,
            bus_gb_per_s: self.bus_gb_per_s / WORST_CHOICE,
            limit_gb_per_s: self.limit_gb_per_s / WORST_CHOICE,
            bound: self.bound,
        }
    }
}
