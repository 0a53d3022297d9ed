//! How long a collective takes that has the links to itself.

use thiserror::Error;

use super::calibration::{Calibration, Parameter};
use super::candidates::{Candidate, candidates};
use super::channels::{Bound, Channels, in_node};
use super::{Algorithm, Collective, Environment, Protocol};
use crate::hardware::{Architecture, Interconnect, Machine, Network, Ranks};

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

/// What NCCL does with a collective. It does not depend on the [`Calibration`].
#[derive(Clone, PartialEq, Debug)]
pub struct Choice {
    /// As the environment leaves it.
    machine: Machine,
    /// By NVLink domain.
    ranks: Ranks,
    collective: Collective,
    bytes: u64,
    /// What there was to choose from, the chosen one first; none where data go from rank to rank.
    candidates: Vec<Candidate>,
    max_channels: u32,
    has_gpu_direct: bool,
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
        match self.candidates.first() {
            Some(candidate) => timing.of(candidate),
            None => timing.between_ranks(),
        }
    }
}

struct Timing<'a> {
    choice: &'a Choice,
    calibration: &'a Calibration,
    most_gb_per_s: f64,
    /// Whether the host is ahead.
    is_queued: bool,
}

/// Microseconds from one kernel of a stream to the next.
const KERNEL_US: f64 = 5.0;

impl Timing<'_> {
    fn get(&self, parameter: Parameter) -> f64 {
        self.calibration.get(parameter)
    }

    fn launch_us(&self) -> f64 {
        let launch = self.get(match self.choice.machine.gpu.architecture {
            _ if !self.choice.machine.interconnect.is_nvlink() => Parameter::LaunchPcie,
            Architecture::Pascal | Architecture::Volta => Parameter::LaunchVolta,
            Architecture::Ampere => Parameter::LaunchAmpere,
            Architecture::Hopper => Parameter::LaunchHopper,
            Architecture::Blackwell => Parameter::LaunchBlackwell,
        });
        if self.is_queued { launch.min(KERNEL_US) } else { launch }
    }

    /// Microseconds that the network takes beside NCCL's own, for each level of a tree or once around a ring.
    fn network_us(&self) -> f64 {
        if self.choice.ranks.nodes <= 1 {
            return 0.0;
        }
        match self.choice.machine.network {
            Some(Network::InfiniBand | Network::InfiniBandSharp) | None => {
                self.get(Parameter::NetworkInfiniBand)
            }
            // None of Slingshot was measured: it is RDMA over Ethernet too.
            Some(Network::Roce | Network::Slingshot) => self.get(Parameter::NetworkRoce),
            Some(Network::Efa) if self.choice.machine.gpu.architecture < Architecture::Hopper => {
                self.get(Parameter::NetworkEfaEarly)
            }
            Some(Network::Efa) => self.get(Parameter::NetworkEfa),
            Some(Network::Tcp) => self.get(Parameter::NetworkTcp),
            Some(Network::TcpX) => self.get(Parameter::NetworkTcpX),
            Some(Network::TcpXo) => self.get(Parameter::NetworkTcpXo),
        }
    }

    /// Share that the network leaves of a bandwidth.
    fn network_share(&self) -> f64 {
        if self.choice.ranks.nodes <= 1 {
            return 1.0;
        }
        let share = match self.choice.machine.network {
            Some(Network::Efa) => self.get(Parameter::ShareEfa),
            Some(Network::Roce | Network::Slingshot) => self.get(Parameter::ShareRoce),
            Some(Network::TcpX) => self.get(Parameter::ShareTcpX),
            Some(Network::TcpXo) => self.get(Parameter::ShareTcpXo),
            Some(Network::Tcp) => self.get(Parameter::ShareTcp),
            Some(Network::InfiniBand | Network::InfiniBandSharp) | None => 1.0,
        };
        if self.is_staged() { share * self.get(Parameter::StagedNic) } else { share }
    }

    /// Whether what goes to the NICs goes through host memory: where it is asked for, and under EFA on GPUs without NVLink,
    /// whose instances have no `GPUDirect`. TCP is paced by its sockets anyway.
    fn is_staged(&self) -> bool {
        match self.choice.machine.network {
            Some(Network::Tcp | Network::TcpX | Network::TcpXo) | None => false,
            Some(Network::Efa) => {
                !self.choice.machine.interconnect.is_nvlink() || !self.choice.has_gpu_direct
            }
            Some(_) => !self.choice.has_gpu_direct,
        }
    }

    /// Share of NCCL's bandwidth that is measured.
    fn share(&self, algorithm: Algorithm) -> f64 {
        let of_links = match (algorithm, self.choice.machine.interconnect) {
            (Algorithm::Nvls | Algorithm::NvlsTree, Interconnect::Nvl72) => {
                let nodes = if algorithm == Algorithm::Nvls { Parameter::Nvls } else { Parameter::NvlsTree };
                self.get(nodes) * self.get(Parameter::NvlsRack)
            }
            (Algorithm::Nvls, _) => self.get(Parameter::Nvls),
            (Algorithm::NvlsTree, _) => self.get(Parameter::NvlsTree),
            (_, Interconnect::PcieCrossSocket) => self.get(Parameter::HostMemory) * self.get(Parameter::Pcie),
            (_, kind) if !kind.is_nvlink() => self.get(Parameter::Pcie),
            (Algorithm::Tree, _) => self.get(Parameter::Tree),
            (Algorithm::Ring, _) if self.choice.ranks.nodes > 1 => self.get(Parameter::RingNodes),
            (Algorithm::Ring, kind) => {
                let ring = self.get(match self.choice.machine.gpu.architecture {
                    Architecture::Pascal | Architecture::Volta => Parameter::RingVolta,
                    Architecture::Ampere => Parameter::RingAmpere,
                    Architecture::Hopper => Parameter::RingHopper,
                    Architecture::Blackwell => Parameter::RingBlackwell,
                });
                if kind == Interconnect::NvLinkBridge { ring * self.get(Parameter::Bridge) } else { ring }
            }
        };
        of_links * self.network_share()
    }

    fn of(&self, chosen: &Candidate) -> Estimate {
        let Candidate { algorithm, protocol, .. } = *chosen;
        let levels = match algorithm {
            Algorithm::Tree | Algorithm::NvlsTree => f64::from(self.choice.ranks.nodes.ilog2().max(1)),
            Algorithm::Ring | Algorithm::Nvls => 1.0,
        };
        let steps = self.get(match protocol {
            Protocol::Ll => Parameter::StepsLl,
            Protocol::Ll128 => Parameter::StepsLl128,
            Protocol::Simple => Parameter::StepsSimple,
        });
        let latency_us = self.launch_us() + steps * chosen.latency_us + levels * self.network_us();
        let ramp = self.get(match (algorithm, protocol) {
            (Algorithm::Nvls, _) => Parameter::RampNvls,
            (Algorithm::NvlsTree, _) => Parameter::RampNvlsTree,
            (Algorithm::Ring, Protocol::Ll) => Parameter::RampRingLl,
            (Algorithm::Ring, Protocol::Ll128) => Parameter::RampRingLl128,
            (Algorithm::Ring, Protocol::Simple) => Parameter::RampRingSimple,
            (Algorithm::Tree, Protocol::Ll) => Parameter::RampTreeLl,
            (Algorithm::Tree, Protocol::Ll128) => Parameter::RampTreeLl128,
            (Algorithm::Tree, Protocol::Simple) => Parameter::RampTreeSimple,
        });
        let limit = chosen.bus_gb_per_s * self.share(algorithm);
        self.estimate((Some(algorithm), protocol, chosen.bound), latency_us, ramp, limit)
    }

    /// Each rank to each, or to the next: no algorithm, one transfer per pair.
    fn between_ranks(&self) -> Estimate {
        let Choice { ranks, collective, .. } = *self.choice;
        let (inside, bound) = in_node(&self.choice.machine);
        let mut limit = inside * self.get(Parameter::Peers);
        let mut binds = bound;
        if self.choice.machine.interconnect == Interconnect::PcieCrossSocket {
            limit *= self.get(Parameter::HostMemory);
        } else if self.choice.machine.interconnect == Interconnect::NvLinkBridge {
            limit *= self.get(Parameter::Bridge);
        }
        if ranks.nodes > 1 {
            let channels = self.choice.channels();
            let nics = f64::from(channels.count) * channels.between_nodes_gb_per_s;
            let per_gpu = if self.choice.machine.interconnect == Interconnect::Nvl72 {
                self.choice.machine.nic_gb_per_s * f64::from(self.choice.machine.nics)
                    / f64::from(self.choice.machine.gpus)
            } else {
                nics / f64::from(ranks.per_node)
            };
            let network = match collective {
                // Only what goes to other nodes goes by the NICs.
                Collective::AllToAll => {
                    per_gpu * f64::from(ranks.count() - 1) / f64::from((ranks.nodes - 1) * ranks.per_node)
                }
                // The one rank of a node that sends to another has a NIC, or its part of one, to itself.
                _ => channels.between_nodes_gb_per_s,
            } * self.get(Parameter::PeersNetwork)
                * self.network_share();
            if network < limit {
                let is_slot = channels.bound == Bound::Pcie;
                (limit, binds) = (network, if is_slot { Bound::Pcie } else { Bound::Nic });
            }
        }
        let peers = if collective == Collective::AllToAll { ranks.count() - 1 } else { 1 };
        // A call and a hop of NVLink for each peer, as for rings.
        let latency_us = self.launch_us() + 8.4 + 3.4 * f64::from(peers) + self.network_us();
        let ramp = self.get(Parameter::RampPeers);
        self.estimate((None, Protocol::Simple, binds), latency_us, ramp, limit)
    }

    fn estimate(
        &self,
        (algorithm, protocol, bound): (Option<Algorithm>, Protocol, Bound),
        latency_us: f64,
        ramp: f64,
        limit_gb_per_s: f64,
    ) -> Estimate {
        let limit_gb_per_s = limit_gb_per_s.min(self.most_gb_per_s);
        let bytes = self.choice.bytes as f64;
        let factor = self.choice.collective.bus_factor(self.choice.ranks.count());
        let moving_us = bytes * factor / (limit_gb_per_s * 1e3);
        let time_us = latency_us + moving_us + 2.0 * ramp * (latency_us * moving_us).sqrt();
        let algorithm_gb_per_s = bytes / (time_us * 1e3);
        Estimate {
            algorithm,
            protocol,
            time_us,
            latency_us,
            algorithm_gb_per_s,
            bus_gb_per_s: algorithm_gb_per_s * factor,
            limit_gb_per_s,
            bound,
        }
    }
}
