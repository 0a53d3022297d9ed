//! The network between nodes.

use foretell_fabric::collectives;
use foretell_fabric::network::{
    Attachment, LinkId, LinkTier, Network, NetworkSpec, Routing, Shape, SpecError, SwitchId, Uplinks, Vertex,
    Width,
};

use super::Resolver;
use crate::file::{ClusterFile, DegradedLinkFile, FabricFile, FabricRouting, FabricShape};
use crate::scenario::{Fabric, NodeGroup, Tier};
use crate::suggest;

const PATH: &str = "cluster.fabric";

/// Directed links that a fabric may have: each is kept in memory for as long as a run takes.
const MAX_LINKS: u32 = 10_000_000;

/// Names of the tiers that a fabric makes, lowest first.
const TIER_NAMES: [&str; 2] = ["leaf", "pod"];

/// The tiers of domains that the switches of a fabric make: nodes of a leaf (with rails, of a unit), then those of a pod.
///
/// A fat tree whose leaves do not hold whole nodes has no such tier.
pub(super) fn tiers(fabric: &Fabric) -> Vec<Tier> {
    let nics = fabric.spec.nics_per_node;
    let (leaf, pod) = match fabric.spec.shape {
        Shape::FatTree { k } => {
            let of_ports = |ports: u32| ports.is_multiple_of(nics).then(|| ports / nics);
            (of_ports(k / 2), (k / 2).checked_mul(k / 2).and_then(of_ports))
        }
        Shape::LeafSpine { attachment, .. } => (Some(nodes_of(attachment)), None),
        Shape::ThreeTier { attachment, leaves_per_pod, .. } => {
            let leaves = match attachment {
                Attachment::ByNode { .. } => leaves_per_pod,
                Attachment::ByRail { .. } => leaves_per_pod / nics,
            };
            (Some(nodes_of(attachment)), nodes_of(attachment).checked_mul(leaves))
        }
    };
    let mut tiers: Vec<Tier> = Vec::new();
    for (name, nodes) in TIER_NAMES.into_iter().zip([leaf, pod]) {
        if let Some(nodes) = nodes.filter(|&nodes| tiers.last().is_none_or(|below| nodes > below.nodes)) {
            tiers.push(Tier { name: name.to_owned(), nodes });
        }
    }
    tiers
}

const fn nodes_of(attachment: Attachment) -> u32 {
    match attachment {
        Attachment::ByNode { nodes_per_leaf } => nodes_per_leaf,
        Attachment::ByRail { nodes_per_unit } => nodes_per_unit,
    }
}

impl Resolver<'_, '_> {
    /// The fabric that joins these nodes.
    pub(super) fn fabric(&mut self, cluster: &ClusterFile, nodes: &[NodeGroup], seed: u64) -> Option<Fabric> {
        let file = cluster.fabric.as_ref()?;
        self.misplaced(file);
        let (nics_per_node, nic_gb_per_s) = self.nics(file, nodes)?;
        let environment = self.nccl_environment(file, nics_per_node);
        let shape = self.shape(file, cluster, nics_per_node, nic_gb_per_s)?;
        let node_count: usize = nodes.iter().map(|group| group.names.len()).sum();
        if node_count == 0 {
            return None;
        }
        let spec = NetworkSpec { nodes: node_count as u32, nics_per_node, nic_gb_per_s, shape };
        let network = match spec.links() {
            Ok(links) if links > MAX_LINKS => {
                let message = format!("the fabric has {links} links, expected at most {MAX_LINKS}");
                self.problem(PATH, message, None);
                None
            }
            Ok(_) => Network::new(&spec).ok(),
            Err(error) => {
                let field = match error {
                    SpecError::OddArity { .. } | SpecError::TooFewPorts { .. } => "cluster.fabric.arity",
                    SpecError::SplitUnit { .. } => "cluster.fabric.leaves_per_pod",
                    _ => PATH,
                };
                self.problem(field, error.to_string(), None);
                None
            }
        }?;
        let routing = match file.routing {
            FabricRouting::Adaptive => Routing::Adaptive,
            FabricRouting::Ecmp => {
                let of_connection = environment.as_ref().and_then(collectives::Environment::queue_pairs);
                Routing::Ecmp {
                    seed,
                    queue_pairs: file.queue_pairs.unwrap_or(1) * of_connection.unwrap_or(1),
                }
            }
        };
        let degraded = file.degraded.iter().enumerate();
        let degraded = degraded.flat_map(|(i, link)| self.degraded(i, link, &network, nodes)).collect();
        Some(Fabric { spec, routing, environment: environment?, degraded })
    }

    /// Fields that belong to another shape or routing than the file's.
    fn misplaced(&mut self, file: &FabricFile) {
        let (fat_tree, three_tier) =
            (file.shape == FabricShape::FatTree, file.shape == FabricShape::ThreeTier);
        let fields = [
            ("rails", file.rails, !fat_tree, "a `leaf_spine` or `three_tier` fabric"),
            (
                "nodes_per_leaf",
                file.nodes_per_leaf.is_some(),
                !fat_tree,
                "a `leaf_spine` or `three_tier` fabric",
            ),
            ("spines", file.spines.is_some(), !fat_tree, "a `leaf_spine` or `three_tier` fabric"),
            (
                "oversubscription",
                file.oversubscription.is_some(),
                !fat_tree,
                "a `leaf_spine` or `three_tier` fabric",
            ),
            ("leaves_per_pod", file.leaves_per_pod.is_some(), three_tier, "a `three_tier` fabric"),
            ("cores", file.cores.is_some(), three_tier, "a `three_tier` fabric"),
            (
                "spine_oversubscription",
                file.spine_oversubscription.is_some(),
                three_tier,
                "a `three_tier` fabric",
            ),
            ("arity", file.arity.is_some(), fat_tree, "a `fat_tree` fabric"),
            (
                "queue_pairs",
                file.queue_pairs.is_some(),
                file.routing == FabricRouting::Ecmp,
                "`routing = \"ecmp\"`",
            ),
        ];
        for (field, _, _, owner) in fields.into_iter().filter(|&(_, given, fits, _)| given && !fits) {
            self.problem(&format!("{PATH}.{field}"), format!("belongs to {owner}"), None);
        }
    }

    /// Network cards of each node and their rate in GB/s: what the file says, or else the most of any node type.
    fn nics(&mut self, file: &FabricFile, nodes: &[NodeGroup]) -> Option<(u32, f64)> {
        let networks = || nodes.iter().filter_map(|group| group.node_type.network);
        let nics = file.nics_per_node.or_else(|| networks().map(|network| network.nics).max());
        let fastest = networks().map(|network| network.nic_bytes_per_s / 1e9).reduce(f64::max);
        let rate = file.nic_gbit_per_s.map(|gbit_per_s| gbit_per_s / 8.0).or(fastest);
        if let (Some(nics @ 1..), Some(rate)) = (nics, rate) {
            return Some((nics, rate));
        }
        if !nodes.is_empty() {
            let help = "give `nics_per_node` and `nic_gbit_per_s`";
            let message = "no node type of the cluster says what network cards it has";
            self.problem(PATH, message, Some(help.to_owned()));
        }
        None
    }

    fn nccl_environment(&mut self, file: &FabricFile, nics: u32) -> Option<collectives::Environment> {
        let texts: Vec<(&String, String)> =
            file.environment.iter().map(|(name, value)| (name, format!("{name}={value}"))).collect();
        for (name, text) in &texts {
            if let Err(error) = collectives::Environment::parse([text.as_str()]) {
                let path = format!("{PATH}.environment.{name}");
                match error {
                    collectives::EnvironmentError::Unknown { .. } => {
                        let known = collectives::VARIABLES.iter().map(|variable| variable.name);
                        let help = suggest::hint(name, known);
                        self.problem(&path, format!("unknown variable `{name}`"), Some(help));
                    }
                    error => self.problem(&path, error.to_string(), None),
                }
            }
        }
        let environment =
            collectives::Environment::parse(texts.iter().map(|(_, text)| text.as_str())).ok()?;
        if let Err(error) = environment.check_nics(nics) {
            self.problem(&format!("{PATH}.environment"), error.to_string(), None);
        }
        Some(environment)
    }

    fn shape(
        &mut self,
        file: &FabricFile,
        cluster: &ClusterFile,
        nics_per_node: u32,
        nic_gb_per_s: f64,
    ) -> Option<Shape> {
        if file.shape == FabricShape::FatTree {
            if file.arity.is_none() {
                let help = "the number of ports of each switch";
                self.problem(PATH, "a fat tree needs `arity`", Some(help.to_owned()));
            }
            return file.arity.map(|k| Shape::FatTree { k });
        }
        let tier = |index: usize| cluster.topology.get(index).map(|tier| tier.nodes);
        let Some(nodes) = file.nodes_per_leaf.or_else(|| tier(0)) else {
            let help = "or name the tiers of the network in `cluster.topology`, of which the lowest counts";
            self.problem(PATH, "missing field `nodes_per_leaf`", Some(help.to_owned()));
            return None;
        };
        let rails = if file.rails { nics_per_node } else { 1 };
        let (attachment, ports) = if file.rails {
            (Attachment::ByRail { nodes_per_unit: nodes }, u64::from(nodes))
        } else {
            let ports = u64::from(nodes) * u64::from(nics_per_node);
            (Attachment::ByNode { nodes_per_leaf: nodes }, ports)
        };
        let is_hashed = file.routing == FabricRouting::Ecmp;
        let uplinks = |switches: Option<u32>, below_gb_per_s: f64, ratio: Option<f64>| {
            let ratio = ratio.unwrap_or(1.0);
            // Flows that spread over all links do not see how many there are; hashed ones do: a cable as fast as a card each.
            let cables = if is_hashed { (below_gb_per_s / ratio / nic_gb_per_s).ceil() } else { 1.0 };
            let switches = switches.unwrap_or((cables as u32).max(1));
            Uplinks { switches, width: Width::Oversubscription(ratio) }
        };
        let below_leaf = ports as f64 * nic_gb_per_s;
        let spines = uplinks(file.spines, below_leaf, file.oversubscription);
        if file.shape == FabricShape::LeafSpine {
            return Some(Shape::LeafSpine { attachment, spines });
        }
        // A pod of so many nodes has so many leaves, for each rail.
        let of_tier = tier(1).map(|pod| (pod / nodes).saturating_mul(rails)).filter(|&leaves| leaves > 0);
        let Some(leaves_per_pod) = file.leaves_per_pod.or(of_tier) else {
            let help = "or name the tiers of the network in `cluster.topology`, of which the second counts";
            self.problem(PATH, "missing field `leaves_per_pod`", Some(help.to_owned()));
            return None;
        };
        let up_leaf = below_leaf / file.oversubscription.unwrap_or(1.0);
        let below_spine = f64::from(leaves_per_pod) * up_leaf / f64::from(spines.switches);
        let cores = uplinks(file.cores, below_spine, file.spine_oversubscription);
        Some(Shape::ThreeTier { attachment, spines, leaves_per_pod, cores })
    }

    /// The links, in both directions, that an entry of `degraded` means.
    fn degraded(
        &mut self,
        index: usize,
        file: &DegradedLinkFile,
        network: &Network,
        nodes: &[NodeGroup],
    ) -> Vec<(LinkId, f64)> {
        let path = |field: &str| format!("{PATH}.degraded[{index}]{field}");
        let links = match (&file.node, file.leaf) {
            (Some(name), None) if file.spine.is_none() => {
                let names = || nodes.iter().flat_map(|group| &group.names);
                let Some(node) = names().position(|known| known == name) else {
                    let help = suggest::hint(name, names().map(String::as_str));
                    self.problem(&path(".node"), format!("unknown node `{name}`"), Some(help));
                    return Vec::new();
                };
                let rails = network.nics_per_node();
                if let Some(nic) = file.nic.filter(|&nic| nic >= rails) {
                    let message = format!("expected a number below {rails}, the cards of a node, got {nic}");
                    self.problem(&path(".nic"), message, None);
                }
                let nics = (0..rails).filter(|&rail| file.nic.is_none_or(|nic| nic == rail));
                let nics = nics.filter_map(|rail| network.nic(node as u32, rail));
                nics.flat_map(|nic| [network.nic_up(nic), network.nic_down(nic)]).collect()
            }
            (None, Some(leaf)) if file.nic.is_none() => {
                let leaves = network.switches(foretell_fabric::network::Tier::Leaf);
                if leaf >= leaves {
                    let message = format!("expected a number below {leaves}, the leaves, got {leaf}");
                    self.problem(&path(".leaf"), message, None);
                    return Vec::new();
                }
                let links = leaf_links(network, SwitchId::new(leaf));
                let spines = links.last().map_or(0, |&(spine, _)| spine + 1);
                if let Some(spine) = file.spine.filter(|&spine| spine as usize >= spines) {
                    let message =
                        format!("expected a number below {spines}, the spines of the leaf, got {spine}");
                    self.problem(&path(".spine"), message, None);
                }
                let chosen = |spine: usize| file.spine.is_none_or(|wanted| wanted as usize == spine);
                links.into_iter().filter(|&(spine, _)| chosen(spine)).map(|(_, link)| link).collect()
            }
            _ => {
                let help =
                    "`node`, and `nic` for one of its cards; or `leaf`, and `spine` for one of its links up";
                self.problem(&path(""), "expected either a node or a leaf", Some(help.to_owned()));
                Vec::new()
            }
        };
        links.into_iter().map(|link| (link, file.factor)).collect()
    }
}

/// The links between a leaf and the spines, each with the number of its spine, in order of spines.
fn leaf_links(network: &Network, leaf: SwitchId) -> Vec<(usize, LinkId)> {
    let up = network.switch_links(leaf).filter(|&link| network.tier(link) == LinkTier::Leaf);
    let mut links: Vec<(Vertex, LinkId)> = up
        .map(|link| {
            let (from, to) = network.ends(link);
            (if from == Vertex::Switch(leaf) { to } else { from }, link)
        })
        .collect();
    links.sort_unstable();
    let mut number = 0;
    let mut numbered = Vec::with_capacity(links.len());
    for (position, &(spine, link)) in links.iter().enumerate() {
        number += usize::from(position > 0 && links[position - 1].0 != spine);
        numbered.push((number, link));
    }
    numbered
}
