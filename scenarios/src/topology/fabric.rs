//! The fabric in words.

use foretell_fabric::network::{Attachment, LinkTier, Network, Routing, Shape, SwitchId, Tier, Vertex};

use crate::Fabric;

/// What it is, then one line for each tier from the network cards up. Only the first for one that cannot be.
pub(super) fn lines(fabric: &Fabric) -> Vec<String> {
    let (shape, hangs) = match fabric.spec.shape {
        Shape::FatTree { k } => (format!("fat tree of arity {k}"), String::new()),
        Shape::LeafSpine { attachment, .. } => {
            let (rails, hangs) = hanging(attachment);
            (format!("leaf-spine{rails}"), hangs)
        }
        Shape::ThreeTier { attachment, .. } => {
            let (rails, hangs) = hanging(attachment);
            (format!("three tiers{rails}"), hangs)
        }
    };
    let routing = match fabric.routing {
        Routing::Adaptive => "adaptive routing".to_owned(),
        Routing::Ecmp { queue_pairs: 1, .. } => "hashed routes".to_owned(),
        Routing::Ecmp { queue_pairs, .. } => format!("hashed routes of {queue_pairs} queue pairs"),
    };
    let degraded = match fabric.degraded.len() {
        0 => String::new(),
        count => format!(", {count} links degraded"),
    };
    let mut lines = vec![format!("fabric: {shape}, {routing}{degraded}")];
    let Ok(network) = fabric.network() else { return lines };
    let spec = &fabric.spec;
    lines.push(format!(
        "{} NICs of {:.1} GB/s on each of {} nodes",
        spec.nics_per_node, spec.nic_gb_per_s, spec.nodes
    ));
    let leaves = network.switches(Tier::Leaf);
    let spines = network.switches(Tier::Spine);
    lines.push(format!("{leaves} leaves{hangs}, each with {}", rates(&network, 0, LinkTier::Nic)));
    let cores = network.switches(Tier::Core);
    if cores == 0 {
        lines.push(counted(spines, "spine"));
    } else {
        lines.push(format!(
            "{}, each with {}",
            counted(spines, "spine"),
            rates(&network, leaves, LinkTier::Leaf)
        ));
        lines.push(counted(cores, "core"));
    }
    lines
}

fn hanging(attachment: Attachment) -> (&'static str, String) {
    match attachment {
        Attachment::ByNode { nodes_per_leaf } => ("", format!(" of {nodes_per_leaf} nodes")),
        Attachment::ByRail { nodes_per_unit } => {
            (" with rails", format!(", one for each rail of {nodes_per_unit} nodes"))
        }
    }
}

/// What comes from below into a switch, and what goes up.
fn rates(network: &Network, switch: u32, below: LinkTier) -> String {
    let switch = SwitchId::new(switch);
    let is_from = |link| network.ends(link).0 == Vertex::Switch(switch);
    let sum = |links: &mut dyn Iterator<Item = _>| -> f64 {
        links.map(|link| network.nominal_gb_per_s(link)).sum()
    };
    let links = || network.switch_links(switch);
    let from_below = sum(&mut links().filter(|&link| network.tier(link) == below && !is_from(link)));
    let up = sum(&mut links().filter(|&link| network.tier(link) != below && is_from(link)));
    format!("{from_below:.1} GB/s from below and {up:.1} GB/s up")
}

/// So many switches, in words.
fn counted(count: u32, name: &str) -> String {
    format!("{count} {name}{}", if count == 1 { "" } else { "s" })
}
