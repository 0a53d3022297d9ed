//! Keys and values on their way from where prompts were read in to where answers are generated: flows on the network of the cluster.

use std::collections::{BTreeMap, VecDeque};

use foretell_fabric::hardware::Machine;
use foretell_fabric::network::{LinkId, LinkWeight, Loads, Member, Network, RouteError, Routing};
use foretell_fabric::sharing::{TransferError, TransferId, TransferSpec, Transfers};
use foretell_serving::fleet::{Move, STORE, Transport};
use thiserror::Error;

use super::Service;
use super::classical::group_of;
use crate::file::{KvStoreFile, TransferFile};
use crate::scenario::{FabricError, NodeGroup, Scenario};

/// Why keys and values do not get from one replica to another.
#[derive(Debug, Error)]
pub enum TransportError {
    /// A network that cannot be.
    #[error(transparent)]
    Fabric(#[from] FabricError),
    /// No way over it.
    #[error(transparent)]
    Route(#[from] RouteError),
    /// Flows that cannot be.
    #[error(transparent)]
    Flow(#[from] TransferError),
    /// Nodes of whose way out nothing is known.
    #[error(
        "the network cards of node type `{0}` are not known: say with `disaggregation.transfer.gb_per_s` what a replica reaches"
    )]
    NoCards(String),
}

/// A replica at its place.
#[derive(Clone, Copy, Debug)]
struct End {
    /// Its first node, by its place in the cluster.
    node: usize,
    /// The kind of that.
    group: usize,
    /// Pods, on as many nodes, and GPUs of each.
    pods: (u32, u32),
}

/// Memory that all replicas share.
struct Shared {
    options: TransferFile,
    /// Nodes whose memory it is, as ends that have all of their cards.
    parts: Vec<End>,
    /// How often it was read: what is spread evenly comes from all in turn.
    read: usize,
}

/// Where contents are.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Source {
    /// At a place in the fleet.
    Replica(usize),
    /// In a part of the memory that all share.
    Part(usize),
}

/// What moves at most, GB/s, and over which links.
type Path = (f64, Vec<LinkWeight>);

impl Shared {
    fn new(scenario: &Scenario, machines: &[Option<Machine>], file: KvStoreFile) -> Self {
        let KvStoreFile { latency_us, efficiency, gb_per_s, .. } = file;
        let options = TransferFile { latency_us, efficiency, gb_per_s, by_layer: false };
        let (mut parts, mut node) = (Vec::new(), 0);
        for (group, (nodes, machine)) in scenario.nodes.iter().zip(machines).enumerate() {
            let gpus = machine.as_ref().map(|machine| machine.gpus);
            let first = node;
            node += nodes.names.len();
            parts.extend(
                gpus.into_iter()
                    .flat_map(|gpus| (first..node).map(move |node| End { node, group, pods: (1, gpus) })),
            );
        }
        Self { options, parts, read: 0 }
    }

    /// The part of the next read.
    fn next(&mut self) -> Source {
        self.read += 1;
        Source::Part(self.read % self.parts.len().max(1))
    }
}

/// The network between nodes.
enum Wires {
    /// Switches and links.
    Fabric(Box<Network>, Routing),
    /// Nothing is narrow but the cards: a link out of each node, and one into it.
    Cards,
}

/// What moves keys and values of a service. Flows share the links with one another, not with those of training jobs.
pub(super) struct Flows<'a> {
    scenario: &'a Scenario,
    options: TransferFile,
    /// Of a block, on all GPUs together, each number once.
    block_bytes: f64,
    layers: u32,
    /// Of each group of nodes: finding out what its links carry takes longer than a flow.
    machines: Vec<Option<Machine>>,
    wires: Wires,
    transfers: Transfers,
    /// By place in the fleet.
    ends: Vec<End>,
    /// From one place to another. Found out once, at the first move.
    paths: BTreeMap<(Source, usize), Path>,
    store: Option<Shared>,
    /// By flow.
    ids: Vec<u32>,
    under_way: BTreeMap<u32, TransferId>,
    done: VecDeque<(u64, u32)>,
    error: Option<TransportError>,
}

impl<'a> Flows<'a> {
    /// The network of a scenario without flows.
    pub(super) fn new(
        scenario: &'a Scenario,
        service: &Service,
        options: TransferFile,
    ) -> Result<Self, TransportError> {
        let machine = |group: &NodeGroup| group.machine(scenario.fabric.as_ref());
        let machines: Vec<Option<Machine>> = scenario.nodes.iter().map(machine).collect();
        let (wires, capacities) = if let Some(fabric) = &scenario.fabric {
            let network = fabric.network()?;
            let capacities = network.capacities_gb_per_s();
            (Wires::Fabric(Box::new(network), fabric.routing), capacities)
        } else {
            let nodes = scenario.nodes.iter().zip(&machines).flat_map(|(group, machine)| {
                let out = machine.as_ref().map_or(0.0, way_out);
                std::iter::repeat_n([out, out], group.names.len()).flatten()
            });
            (Wires::Cards, nodes.collect())
        };
        let store = service.kv_store.map(|file| Shared::new(scenario, &machines, file));
        Ok(Self {
            scenario,
            options,
            store,
            block_bytes: service.block_bytes(),
            layers: service.model.layers,
            machines,
            wires,
            transfers: Transfers::new(&capacities)?,
            ends: Vec::new(),
            paths: BTreeMap::new(),
            ids: Vec::new(),
            under_way: BTreeMap::new(),
            done: VecDeque::new(),
            error: None,
        })
    }

    /// The next replica of the fleet is at this node.
    pub(super) fn place(&mut self, node: usize, service: &Service) {
        let group = group_of(self.scenario, node).unwrap_or(0);
        self.ends.push(End { node, group, pods: service.pods });
    }

    /// What two replicas of a service usually reach, on the first kind of nodes that they may have: over the cards.
    pub(super) fn usual_bytes_per_s(&self, service: &Service) -> Result<f64, TransportError> {
        if let Some(gb_per_s) = self.options.gb_per_s {
            return Ok(gb_per_s * 1e9);
        }
        let group = self.scenario.nodes.iter().position(|group| {
            let gpus = group.node_type.gpus.as_ref();
            gpus.is_some_and(|gpus| service.gpu_models.is_empty() || service.gpu_models.contains(&gpus.model))
        });
        let end = End { node: 0, group: group.unwrap_or(0), pods: service.pods };
        Ok(self.options.efficiency * self.cards_gb_per_s(end)? * 1e9)
    }

    pub(super) fn take_error(&mut self) -> Option<TransportError> {
        self.error.take()
    }

    fn machine(&self, end: End) -> Result<&Machine, TransportError> {
        let machine = self.machines[end.group].as_ref();
        machine.ok_or_else(|| TransportError::NoCards(self.scenario.nodes[end.group].node_type.name.clone()))
    }

    /// What a replica gets out of its nodes: its GPUs' share of their cards.
    fn cards_gb_per_s(&self, end: End) -> Result<f64, TransportError> {
        let machine = self.machine(end)?;
        let out = way_out(machine);
        if out <= 0.0 {
            return Err(TransportError::NoCards(self.scenario.nodes[end.group].node_type.name.clone()));
        }
        let (pods, gpus) = end.pods;
        Ok(out * f64::from(pods * gpus) / f64::from(machine.gpus.max(1)))
    }

    /// What moves at most, and over which links.
    fn path(&self, from: End, to: End) -> Result<Path, TransportError> {
        if let Some(gb_per_s) = self.options.gb_per_s {
            return Ok((gb_per_s, Vec::new()));
        }
        if from.node == to.node {
            let machine = self.machine(from)?;
            let each = match machine.gpu.nvlink_gb_per_s {
                nvlink if nvlink > 0.0 && machine.interconnect.is_nvlink() => nvlink,
                _ => machine.gpu.pcie_gb_per_s,
            };
            let gpus = from.pods.1.min(to.pods.1);
            return Ok((self.options.efficiency * each * f64::from(gpus), Vec::new()));
        }
        self.path_between(from, to, self.options.efficiency)
    }

    /// The same from a part of the memory that all share.
    fn store_path(&self, part: usize, to: End) -> Result<Path, TransportError> {
        let options = self.store.as_ref().map_or(self.options, |store| store.options);
        if let Some(gb_per_s) = options.gb_per_s {
            return Ok((gb_per_s, Vec::new()));
        }
        // Of the replica's own node nothing is known if it is none of those that have a part.
        let machine = self.machine(to)?;
        match self.store.as_ref().and_then(|store| store.parts.get(part)) {
            Some(from) if from.node != to.node => self.path_between(*from, to, options.efficiency),
            _ => Ok((options.efficiency * machine.gpu.pcie_gb_per_s * f64::from(to.pods.1), Vec::new())),
        }
    }

    /// From one node to another.
    fn path_between(&self, from: End, to: End, efficiency: f64) -> Result<Path, TransportError> {
        let cards = self.cards_gb_per_s(from)?.min(self.cards_gb_per_s(to)?);
        // Where a replica has several nodes each carries its part, and that of the first is looked at.
        let part = 1.0 / f64::from(from.pods.0.max(to.pods.0).max(1));
        let links = match &self.wires {
            Wires::Cards => vec![
                LinkWeight::new(LinkId::new(2 * from.node as u32), part),
                LinkWeight::new(LinkId::new(2 * to.node as u32 + 1), part),
            ],
            Wires::Fabric(network, routing) => {
                let rails: Vec<u32> = (0..network.nics_per_node()).collect();
                let member = |end: End| Member { node: end.node as u32, rails: rails.clone() };
                let mut links = Loads::new(network, *routing).flow(&member(from), &member(to))?;
                for hop in &mut links {
                    hop.weight *= part;
                }
                links
            }
        };
        Ok((efficiency * cards, links))
    }

    fn start(&mut self, contents: &Move) -> Result<(), TransportError> {
        let source = match (&mut self.store, contents.from) {
            (Some(store), STORE) => store.next(),
            (_, from) => Source::Replica(from),
        };
        let between = (source, contents.to);
        if !self.paths.contains_key(&between) {
            let to = self.ends[contents.to];
            let path = match source {
                Source::Replica(from) => self.path(self.ends[from], to)?,
                Source::Part(part) => self.store_path(part, to)?,
            };
            self.paths.insert(between, path);
        }
        let (cap_gb_per_s, links) = &self.paths[&between];
        let cap_gb_per_s = *cap_gb_per_s;
        let options = match (&self.store, source) {
            (Some(store), Source::Part(_)) => &store.options,
            _ => &self.options,
        };
        let all_bytes = f64::from(contents.blocks) * self.block_bytes;
        let bytes = if options.by_layer {
            // A GB/s is a byte a nanosecond.
            let meanwhile = cap_gb_per_s * contents.computed_ns as f64;
            (all_bytes - meanwhile).max(all_bytes / f64::from(self.layers.max(1)))
        } else {
            all_bytes
        };
        let wait_ns = (options.latency_us * 1e3).round() as u64;
        let spec = TransferSpec { links, cap_gb_per_s, share: 1.0, bytes, wait_ns, iterations: 1 };
        let flow = self.transfers.start(&spec)?;
        if self.ids.len() <= flow.index() {
            self.ids.resize(flow.index() + 1, 0);
        }
        self.ids[flow.index()] = contents.id;
        self.under_way.insert(contents.id, flow);
        Ok(())
    }

    /// Lets flows go on to an instant.
    fn pass(&mut self, now_ns: u64) -> Result<(), TransportError> {
        while let Some(completion) = self.transfers.advance(now_ns.max(self.transfers.now_ns()))? {
            let id = self.ids[completion.transfer.index()];
            self.under_way.remove(&id);
            self.done.push_back((completion.time_ns, id));
        }
        Ok(())
    }

    fn note(&mut self, result: Result<(), TransportError>) {
        if let Err(error) = result {
            self.error.get_or_insert(error);
        }
    }
}

impl Transport for Flows<'_> {
    fn begin(&mut self, now_ns: u64, contents: &Move) {
        let begun = self.pass(now_ns).and_then(|()| self.start(contents));
        if begun.is_err() {
            // The run goes on to its end, which says so.
            self.done.push_back((now_ns, contents.id));
        }
        self.note(begun);
    }

    fn next_ns(&self) -> Option<u64> {
        let done = self.done.front().map(|&(at_ns, _)| at_ns);
        done.or_else(|| self.transfers.next_ns())
    }

    fn take_done(&mut self, now_ns: u64) -> Option<u32> {
        let passed = self.pass(now_ns);
        self.note(passed);
        self.done.pop_front().map(|(_, id)| id)
    }

    fn cancel(&mut self, now_ns: u64, id: u32) {
        let passed = self.pass(now_ns);
        self.note(passed);
        self.done.retain(|&(_, other)| other != id);
        if let Some(flow) = self.under_way.remove(&id) {
            let cancelled = self.transfers.cancel(flow).map_err(Into::into);
            self.note(cancelled);
        }
    }
}

/// What all cards of a node carry, GB/s.
fn way_out(machine: &Machine) -> f64 {
    f64::from(machine.nics) * machine.nic_gb_per_s
}
