//! How long what NCCL chose takes: latency, and what the links give.

use super::calibration::{Calibration, Parameter};
use super::candidates::Candidate;
use super::channels::{Bound, in_node, socket_gb_per_s};
use super::estimate::{Choice, Estimate};
use super::{Algorithm, Collective, Protocol};
use crate::hardware::{Architecture, Interconnect, Network};

/// Microseconds from one kernel of a stream to the next.
const KERNEL_US: f64 = 5.0;

/// Share of the rule for what goes from rank to rank between nodes that a tuned system has: 69.4 and 35.9 GB/s of 92 and 48 on two nodes
/// of eight B200. Not fitted: the only rows are of that system before it was tuned, with 42.4 and 19.8.
const PEERS_NETWORK: f64 = 0.75;

/// What one connection over TCP carries, GB/s: 20 Gbit/s. Not measured: what a core copies for one stream is commonly said to be.
const SOCKET_GB_PER_S: f64 = 2.5;

/// What one thread carries over all its connections, GB/s. Not measured either.
const THREAD_GB_PER_S: f64 = 5.0;

/// Connections of a card: NCCL doubles its channels when it connects them.
const CONNECTIONS: f64 = 2.0;

/// What times follow from.
pub(super) struct Timing<'a> {
    pub(super) choice: &'a Choice,
    pub(super) calibration: &'a Calibration,
    pub(super) most_gb_per_s: f64,
    /// Whether the host is ahead.
    pub(super) is_queued: bool,
}

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

    /// Microseconds that the network takes beside NCCL's own, for each step between nodes.
    fn network_us(&self) -> f64 {
        match self.choice.machine.network {
            Some(Network::InfiniBand | Network::InfiniBandSharp) | None => {
                self.get(Parameter::NetworkInfiniBand)
            }
            // None of Slingshot was measured: it is RDMA over Ethernet too.
            Some(Network::Roce | Network::Slingshot) => self.get(Parameter::NetworkRoce),
            Some(Network::Efa) if self.choice.machine.gpu.architecture == Architecture::Ampere => {
                self.get(Parameter::NetworkEfaAmpere)
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
            // CPUs pace it.
            Some(Network::TcpX) => self.get(Parameter::ShareTcpX),
            _ => 1.0,
        };
        if self.is_staged() { share * self.get(Parameter::StagedNic) } else { share }
    }

    /// What so many cards send over sockets at most, GB/s.
    fn sockets_gb_per_s(&self, cards: f64) -> f64 {
        if self.choice.machine.network != Some(Network::Tcp) || self.choice.ranks.nodes <= 1 {
            return f64::INFINITY;
        }
        let sockets = self.choice.sockets;
        let thread = (f64::from(sockets.of_thread) * SOCKET_GB_PER_S).min(THREAD_GB_PER_S);
        cards * CONNECTIONS * f64::from(sockets.threads) * thread
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
            (_, kind) if !kind.is_nvlink() => self.get(Parameter::Pcie) * self.host_memory_share(),
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

    /// Share that the way through host memory from socket to socket has of what its links have: `GeForce` cards of PCIe 3 are measured far
    /// below it.
    fn host_memory_share(&self) -> f64 {
        let machine = &self.choice.machine;
        let is_slow = machine.interconnect == Interconnect::PcieCrossSocket && is_geforce(&machine.gpu.name);
        if is_slow { self.get(Parameter::HostMemory) } else { 1.0 }
    }

    pub(super) fn of(&self, chosen: &Candidate) -> Estimate {
        let Candidate { algorithm, protocol, .. } = *chosen;
        let between_us = f64::from(chosen.network_steps) * self.network_us();
        let latency_us = self.launch_us() + chosen.steps_us + between_us;
        let ramp = self.get(match (algorithm, protocol) {
            (Algorithm::Nvls, _) => Parameter::RampNvls,
            (Algorithm::NvlsTree, _) => Parameter::RampNvlsTree,
            (Algorithm::Ring, _) => Parameter::RampRing,
            (Algorithm::Tree, Protocol::Ll) => Parameter::RampTreeLl,
            (Algorithm::Tree, Protocol::Ll128) => Parameter::RampTreeLl128,
            (Algorithm::Tree, Protocol::Simple) => Parameter::RampTreeSimple,
        });
        let mut limit = chosen.bus_gb_per_s * self.share(algorithm);
        let mut bound = chosen.bound;
        let sockets = self.sockets_gb_per_s(f64::from(self.choice.channels().count))
            / self.choice.sent(Some(algorithm));
        if sockets < limit {
            (limit, bound) = (sockets, Bound::Sockets);
        }
        self.estimate((Some(algorithm), protocol, bound), latency_us, ramp, limit)
    }

    /// Each rank to each, or to the next: no algorithm, one transfer per pair.
    pub(super) fn between_ranks(&self) -> Estimate {
        let Choice { ranks, collective, machine, .. } = self.choice;
        let (inside, bound) = in_node(machine, ranks.per_node);
        let mut limit = inside * self.get(Parameter::Peers) * self.host_memory_share();
        let mut binds = bound;
        if machine.interconnect == Interconnect::NvLinkBridge {
            limit *= self.get(Parameter::Bridge);
        }
        let gpus = f64::from(ranks.per_node);
        if machine.interconnect == Interconnect::PcieCrossSocket && *collective == Collective::AllToAll {
            // Half of the GPUs send to the other half over the one link between their sockets, where a ring crosses it once.
            let all = f64::from(ranks.count() - 1) / (gpus / 2.0 * gpus / 2.0);
            let link = socket_gb_per_s(machine) * all;
            if link < limit {
                (limit, binds) = (link, Bound::SocketLink);
            }
        }
        if ranks.nodes > 1 {
            let channels = self.choice.channels();
            let (network, cards) = if *collective == Collective::AllToAll {
                // Only what goes to other nodes goes by the NICs: of each GPU to all of the others.
                let cards = f64::from(channels.count);
                let of_rack = machine.nic_gb_per_s * f64::from(machine.nics) / f64::from(machine.gpus) * gpus;
                let is_rack = machine.interconnect == Interconnect::Nvl72;
                (if is_rack { of_rack } else { cards * channels.between_nodes_gb_per_s }, cards)
            } else {
                // The one rank of a node that sends to another has the cards beside it to itself.
                let cards = f64::from((machine.nics / machine.gpus.max(1)).max(1));
                ((cards * machine.nic_gb_per_s).min(machine.gpu.pcie_gb_per_s), cards)
            };
            let sent = self.choice.sent(None);
            let nics = network * PEERS_NETWORK * self.network_share() / sent;
            let sockets = self.sockets_gb_per_s(cards) / sent;
            if nics.min(sockets) < limit {
                let is_slot = channels.bound == Bound::Pcie;
                let of_nics = if is_slot { Bound::Pcie } else { Bound::Nic };
                (limit, binds) = (nics.min(sockets), if sockets < nics { Bound::Sockets } else { of_nics });
            }
        }
        let peers = if *collective == Collective::AllToAll { ranks.count() - 1 } else { 1 };
        let between_us = if ranks.nodes > 1 { self.network_us() } else { 0.0 };
        // A call and a hop of NVLink for each peer, as for rings.
        let latency_us = self.launch_us() + 8.4 + 3.4 * f64::from(peers) + between_us;
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
        // Chunks are cut so that steps and bytes cost the same; the call itself is not among the steps.
        let steps_us = latency_us - self.launch_us();
        let time_us = latency_us + moving_us + 2.0 * ramp * (steps_us * moving_us).sqrt();
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

/// Whether that is the name of a `GeForce` card of PCIe 3.
fn is_geforce(name: &str) -> bool {
    name.as_bytes().windows(3).any(|part| part.eq_ignore_ascii_case(b"GTX"))
}
