//! NCCL's cost model: what each algorithm and protocol would take, as NCCL reckons it when it chooses.

use super::channels::{Bound, Channels};
use super::constants::{
    Hop, LL_MAX, NVLS_EFFICIENCY, NVLS_TREE, RING_LL128, TREE, TREE_LL128, base_latency_us, column,
    hop_latency_us, row, tree_correction,
};
use super::{Algorithm, Collective, Environment, Protocol};
use crate::hardware::{Architecture, Interconnect, Machine, Network, Ranks};

/// One way to run a collective.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Candidate {
    /// The algorithm.
    pub algorithm: Algorithm,
    /// The protocol.
    pub protocol: Protocol,
    /// Latency by NCCL's model, microseconds.
    pub latency_us: f64,
    /// What its steps take one after the other, without what NCCL adds to make it choose well, microseconds.
    pub steps_us: f64,
    /// Steps between nodes that follow one another.
    pub network_steps: u32,
    /// Bandwidth of the bus (busbw of nccl-tests) by NCCL's model, GB/s.
    pub bus_gb_per_s: f64,
    /// What NCCL reckons it takes, microseconds: what it chooses by.
    pub reckoned_us: f64,
    /// What binds its bandwidth.
    pub bound: Bound,
}

/// A ring of large messages on several nodes: NCCL's factor on its latency, from Ampere on and before.
const RING_PLATEAU: (f64, f64) = (1.4, 1.9);

/// The least bytes per channel and rank from which that holds.
const RING_PLATEAU_BYTES: u64 = 64;

/// NCCL prefers a ring to NVLink SHARP that gains less than this. With it, NVLink SHARP sets in from five GPUs on Hopper and from
/// six on Blackwell, as measured.
const NVLS_LEAST_GAIN: f64 = 1.03;

/// What a plain tree, without balance over the NICs of a node, is worth.
const PLAIN_TREE: f64 = 0.85;

/// The steps of a collective around a ring, and those of them that leave a node.
fn ring_steps(collective: Collective, ranks: Ranks) -> (u32, u32) {
    let (all, nodes) = (ranks.count(), ranks.nodes);
    let between = |once: u32| if nodes > 1 { once } else { 0 };
    match collective {
        Collective::AllReduce => (2 * (all - 1), between(2 * (nodes - 1))),
        Collective::AllGather | Collective::ReduceScatter => (all - 1, between(nodes - 1)),
        _ => (all, between(nodes)),
    }
}

/// What network calls cost beside the hop: hosts with AMD's CPUs take twice as long. Those of A100s mostly are AMD's.
fn post_us(machine: &Machine, nodes: u32, told_us: Option<f64>) -> f64 {
    match (told_us, machine.gpu.architecture) {
        _ if nodes <= 1 => 0.0,
        (Some(told_us), _) => told_us,
        (None, Architecture::Ampere) => 2.0,
        (None, _) => 1.0,
    }
}

/// Everything that NCCL could run this collective by, as the environment leaves it; none for what goes from rank to rank. `bytes`
/// is the size of nccl-tests.
pub fn candidates(
    machine: &Machine,
    ranks: Ranks,
    collective: Collective,
    bytes: u64,
    environment: &Environment,
) -> Vec<Candidate> {
    let ranks = ranks.by_domain(machine.interconnect);
    if ranks.count() < 2 || matches!(collective, Collective::AllToAll | Collective::SendReceive) {
        return Vec::new();
    }
    let model = Model {
        machine,
        ranks,
        collective,
        bytes,
        channels: Channels::of(machine, ranks, environment.max_channels()),
        post_us: post_us(machine, ranks.nodes, environment.network_overhead_us()),
    };
    let mut found = Vec::new();
    for protocol in Protocol::ALL {
        // LL128 needs links that keep the order of stores.
        if protocol == Protocol::Ll128 && !machine.interconnect.is_nvlink() {
            continue;
        }
        found.push(model.ring(protocol));
        if collective == Collective::AllReduce {
            found.push(model.tree(protocol));
        }
    }
    if collective == Collective::AllReduce && environment.has_nvls() {
        found.extend(model.nvls(environment));
    }
    found.retain(|candidate| {
        candidate.bus_gb_per_s > 0.0
            && environment.allows(collective, candidate.algorithm, candidate.protocol)
    });
    found
}

/// Latency of a candidate.
#[derive(Clone, Copy)]
struct Latency {
    reckoned_us: f64,
    steps_us: f64,
    network_steps: u32,
}

impl Latency {
    /// All of it by steps.
    const fn of(us: f64, network_steps: u32) -> Self {
        Self { reckoned_us: us, steps_us: us, network_steps }
    }
}

struct Model<'a> {
    machine: &'a Machine,
    /// By NVLink domain.
    ranks: Ranks,
    collective: Collective,
    bytes: u64,
    channels: Channels,
    /// What NCCL takes a call of the network to cost.
    post_us: f64,
}

impl Model<'_> {
    fn hop_in_node(&self) -> Hop {
        match self.machine.interconnect {
            kind if kind.is_nvlink() => Hop::NvLink,
            Interconnect::Nics => Hop::Network,
            _ => Hop::Pcie,
        }
    }

    fn count(&self) -> f64 {
        f64::from(self.channels.count)
    }

    fn factor(&self) -> f64 {
        self.collective.bus_factor(self.ranks.count())
    }

    /// The most of LL: by generation on one node, by the make of the CPUs on several.
    fn ll_max(&self) -> f64 {
        let architecture = self.machine.gpu.architecture;
        let by_cpu = usize::from(architecture == Architecture::Ampere);
        let row = if self.ranks.nodes == 1 { row(architecture) } else { by_cpu };
        LL_MAX[row][column(self.ranks.nodes)]
    }

    fn ring(&self, protocol: Protocol) -> Candidate {
        let (ranks, machine) = (self.ranks, self.machine);
        let (row, column) = (row(machine.gpu.architecture), column(ranks.nodes));
        let speed = if ranks.nodes <= 2 {
            self.channels.in_node_gb_per_s
        } else {
            self.channels.between_nodes_gb_per_s
        };
        let all = self.count() * speed;
        let bus = match protocol {
            Protocol::Ll => (0.5 * all).min(self.ll_max()),
            Protocol::Ll128 => (0.92 * all).min(self.count() * RING_LL128[row][column]),
            Protocol::Simple => all,
        };
        let index = protocol as usize;
        let in_node = hop_latency_us(self.hop_in_node(), Algorithm::Ring)[index];
        let by = if ranks.per_node == 1 { Algorithm::Tree } else { Algorithm::Ring };
        let between = hop_latency_us(Hop::Network, by)[index];
        let base = base_latency_us(Algorithm::Ring)[index];
        let (steps, steps_between) = ring_steps(self.collective, ranks);
        let is_rooted = matches!(self.collective, Collective::Broadcast | Collective::Reduce);
        let mut latency_us = if is_rooted {
            base + if ranks.nodes > 1 { between } else { in_node }
        } else {
            let post = self.post_us * if protocol == Protocol::Simple { 3.0 } else { 1.0 };
            base + f64::from(steps - steps_between) * in_node.max(post) + f64::from(steps_between) * between
        };
        // A broadcast goes down the ring once.
        let (in_node_steps, network_steps) = if is_rooted {
            (ranks.count() - ranks.nodes, ranks.nodes - 1)
        } else {
            (steps - steps_between, steps_between)
        };
        let steps_us = base + f64::from(in_node_steps) * in_node + f64::from(network_steps) * between;
        let per_rank = self.bytes / u64::from(self.channels.count.max(1) * ranks.count());
        let is_plateau = protocol == Protocol::Simple
            && self.collective == Collective::AllReduce
            && ranks.nodes > 1
            && per_rank >= RING_PLATEAU_BYTES;
        if is_plateau {
            let before_ampere = machine.gpu.architecture < Architecture::Ampere;
            latency_us *= if before_ampere { RING_PLATEAU.1 } else { RING_PLATEAU.0 };
        }
        let bound = if bus < 0.999 * all && protocol == Protocol::Simple {
            Bound::Channel
        } else {
            self.channels.bound
        };
        self.candidate(
            Algorithm::Ring,
            protocol,
            Latency { reckoned_us: latency_us, steps_us, network_steps },
            bus,
            1.0,
            bound,
        )
    }

    fn tree(&self, protocol: Protocol) -> Candidate {
        let (ranks, machine) = (self.ranks, self.machine);
        let (row, column) = (row(machine.gpu.architecture), column(ranks.nodes));
        // Two nodes: each is a leaf of one tree and the root of the other, so that NICs carry half of what rings need.
        let speed = if ranks.nodes <= 2 {
            self.channels.tree_in_node_gb_per_s
        } else {
            self.channels.between_nodes_gb_per_s
        };
        let links = 0.92 * self.count() * speed;
        let most = self.count() * TREE[row][column];
        let mut all = links.min(most);
        match protocol {
            Protocol::Ll => all = (all / 3.8).min(self.ll_max()),
            Protocol::Ll128 => {
                let share = if ranks.nodes == 1 { 7.0 / 9.0 } else { 120.0 / 128.0 };
                all = (all * share).min(self.count() * TREE_LL128[row][column]);
            }
            Protocol::Simple => {}
        }
        if machine.interconnect == Interconnect::NvLinkMesh {
            all *= PLAIN_TREE;
        }
        let index = protocol as usize;
        let chain =
            f64::from(ranks.per_node - 1) * hop_latency_us(self.hop_in_node(), Algorithm::Tree)[index];
        let depth = f64::from(ranks.nodes.ilog2()) * hop_latency_us(Hop::Network, Algorithm::Tree)[index];
        let latency_us = base_latency_us(Algorithm::Tree)[index] + 2.0 * (chain + depth);
        let bus = 0.5 * all * self.factor();
        let bound = if most < links { Bound::Channel } else { self.channels.bound };
        self.candidate(
            Algorithm::Tree,
            protocol,
            Latency::of(latency_us, 2 * ranks.nodes.ilog2()),
            bus,
            tree_correction(protocol, self.bytes),
            bound,
        )
    }

    /// NVLink SHARP inside nodes; between them a tree, or the same in the switches of the network.
    fn nvls(&self, environment: &Environment) -> Vec<Candidate> {
        let (ranks, machine) = (self.ranks, self.machine);
        let (row, column) = (row(machine.gpu.architecture), column(ranks.nodes));
        if machine.gpu.architecture < Architecture::Hopper || !machine.interconnect.has_switches() {
            return Vec::new();
        }
        // Each GPU has all it holds read by the switches, and puts its part of the sum out: R + 1 parts of R, where NCCL
        // reckons with none of that. Fits 414 to 480 GB/s on five to eight H200 within 2 %.
        let inside = Channels::of(machine, Ranks { nodes: 1, ..ranks }, environment.max_channels());
        let gpus = f64::from(ranks.per_node);
        let algorithm_gb_per_s =
            f64::from(inside.count) * inside.in_node_gb_per_s * NVLS_EFFICIENCY[row] * gpus / (gpus + 1.0);
        let sharp = algorithm_gb_per_s * self.factor();
        let hop = |hop, algorithm| hop_latency_us(hop, algorithm)[Protocol::Simple as usize];
        let in_node = hop(Hop::NvLink, Algorithm::Nvls);
        let candidate = |algorithm, latency_us, network_steps, bus, bound| {
            let latency = Latency::of(latency_us, network_steps);
            self.candidate(algorithm, Protocol::Simple, latency, bus, 1.0, bound)
        };
        if ranks.nodes == 1 {
            let ring = self.count() * self.channels.in_node_gb_per_s;
            let gains = sharp >= NVLS_LEAST_GAIN * ring;
            let nvls = candidate(Algorithm::Nvls, in_node, 0, sharp, Bound::NvLinkSharp);
            return if gains { vec![nvls] } else { Vec::new() };
        }
        let is_rack = machine.interconnect == Interconnect::Nvl72;
        let between = self.count() * self.channels.between_nodes_gb_per_s;
        let least = |options: &[(f64, Bound)]| {
            options
                .iter()
                .copied()
                .min_by(|one, other| one.0.total_cmp(&other.0))
                .unwrap_or((0.0, Bound::Nic))
        };
        let mut found = Vec::new();
        // Over more than two racks, rings are measured.
        if !is_rack || ranks.nodes == 2 {
            let most = if is_rack { f64::INFINITY } else { self.count() * NVLS_TREE[row][column] };
            let nic = between * if ranks.nodes == 2 { 2.0 } else { 1.0 };
            let (bus, bound) =
                least(&[(sharp, Bound::NvLinkSharp), (nic, Bound::Nic), (most, Bound::Channel)]);
            let network_steps = 2 * ranks.nodes.ilog2();
            let depth = f64::from(network_steps) * hop(Hop::Network, Algorithm::NvlsTree);
            found.push(candidate(Algorithm::NvlsTree, in_node + depth, network_steps, bus, bound));
        }
        if machine.network == Some(Network::InfiniBandSharp) && environment.has_network_sharp() {
            // The NICs alone, where rings must fit on NVLink too: 386 GB/s measured on twelve nodes with eight of 50.
            let nic = machine.nic_gb_per_s.min(machine.gpu.pcie_gb_per_s);
            let most = nic * f64::from(machine.nics);
            let (bus, bound) = least(&[(sharp, Bound::NvLinkSharp), (most, Bound::Nic)]);
            let latency_us = in_node + hop(Hop::Network, Algorithm::Nvls);
            // Up to the switches and down again.
            found.push(candidate(Algorithm::Nvls, latency_us, 2, bus, bound));
        }
        found
    }

    fn candidate(
        &self,
        algorithm: Algorithm,
        protocol: Protocol,
        latency: Latency,
        bus_gb_per_s: f64,
        correction: f64,
        bound: Bound,
    ) -> Candidate {
        let Latency { reckoned_us: latency_us, steps_us, network_steps } = latency;
        let reckoned_us = latency_us + self.bytes as f64 * self.factor() / (bus_gb_per_s * correction * 1e3);
        Candidate {
            algorithm,
            protocol,
            latency_us,
            steps_us,
            network_steps,
            bus_gb_per_s,
            reckoned_us,
            bound,
        }
    }
}
