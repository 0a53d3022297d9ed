//! The cluster of a scenario, drawn: the tiers of its network, and the links inside its nodes.
//!
//! What is alike is drawn once, with how often it is there, so that a cluster of thousands of nodes fits on a page.

mod dot;
mod fabric;
mod inside;
mod svg;
mod text;

use std::collections::BTreeMap;

use crate::Scenario;
use crate::catalog::{Interconnect, NodeType};

pub use dot::dot;
pub use svg::svg;
pub use text::text;

/// A part of the cluster: all of it, a domain of a tier, or nodes of a type; or several such parts that are alike.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Part {
    /// Its name, or that of the first.
    name: String,
    /// The name of the last, if there are several.
    last: Option<String>,
    /// How many are alike.
    count: usize,
    /// What it is made of; nothing for nodes.
    parts: Vec<Self>,
    /// The type of nodes.
    node_type: Option<String>,
}

impl Part {
    fn is_like(&self, other: &Self) -> bool {
        let alike = |(one, other): (&Self, &Self)| one.is_like(other) && one.count == other.count;
        self.node_type == other.node_type
            && self.parts.len() == other.parts.len()
            && self.parts.iter().zip(&other.parts).all(alike)
    }

    /// What it is called, and how many there are.
    fn title(&self) -> String {
        match (&self.node_type, &self.last) {
            (Some(node_type), _) if self.count == 1 => node_type.clone(),
            (Some(node_type), _) => format!("{} × {node_type}", self.count),
            (None, None) => self.name.clone(),
            (None, Some(last)) => format!("{} … {last}", self.name),
        }
    }

    /// What is said below that.
    fn subtitle(&self) -> String {
        match (&self.node_type, &self.last) {
            (Some(_), Some(last)) => format!("{} … {last}", self.name),
            (Some(_), None) => self.name.clone(),
            (None, Some(_)) => format!("{} alike", self.count),
            (None, None) => String::new(),
        }
    }
}

/// Neighbours that are alike as one.
fn together(parts: Vec<Part>) -> Vec<Part> {
    let mut found: Vec<Part> = Vec::new();
    for part in parts {
        match found.last_mut().filter(|last| last.is_like(&part)) {
            Some(last) => {
                last.count += part.count;
                last.last = Some(part.last.unwrap_or(part.name));
            }
            None => found.push(part),
        }
    }
    found
}

/// The whole cluster as one part.
fn whole(scenario: &Scenario) -> Part {
    let nodes = scenario.nodes.iter().flat_map(|group| {
        group.names.iter().map(|name| Part {
            name: name.clone(),
            last: None,
            count: 1,
            parts: Vec::new(),
            node_type: Some(group.node_type.name.clone()),
        })
    });
    let mut parts: Vec<Part> = nodes.collect();
    let mut nodes_each = 1;
    for tier in &scenario.tiers {
        let domains = parts.chunks((tier.nodes as usize / nodes_each).max(1)).enumerate();
        let domain = |(index, parts): (usize, &[Part])| Part {
            name: format!("{}-{index:04}", tier.name),
            last: None,
            count: 1,
            parts: together(parts.to_vec()),
            node_type: None,
        };
        parts = domains.map(domain).collect();
        nodes_each = tier.nodes as usize;
    }
    Part { name: scenario.name.clone(), last: None, count: 1, parts: together(parts), node_type: None }
}

/// The types of nodes, by name.
fn types(scenario: &Scenario) -> BTreeMap<&str, &NodeType> {
    scenario.nodes.iter().map(|group| (group.node_type.name.as_str(), &group.node_type)).collect()
}

/// What a node of a type has, in a line.
fn describe(node_type: &NodeType) -> String {
    let gpus = node_type
        .gpus
        .as_ref()
        .map_or_else(|| "no GPUs".to_owned(), |gpus| format!("{} {}", gpus.count, gpus.model));
    let interconnect = match node_type.interconnect {
        Some(Interconnect::Nvswitch) => ", NVSwitch",
        Some(Interconnect::Nvl72) => ", NVLink of the rack",
        Some(Interconnect::NvlinkMesh) => ", NVLink mesh",
        Some(Interconnect::Pcie) => ", PCIe",
        None => "",
    };
    let nics = node_type.network.map_or_else(String::new, |network| {
        let kind = network.kind.map_or_else(String::new, |kind| format!(" ({})", kind.name()));
        format!(", {} NICs of {} Gbit/s{kind}", network.nics, network.nic_bytes_per_s * 8.0 / 1e9)
    });
    format!("{gpus}{interconnect}{nics}")
}

/// A text as Graphviz takes it.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, node_type: &str) -> Part {
        Part { name: name.into(), last: None, count: 1, parts: vec![], node_type: Some(node_type.into()) }
    }

    #[test]
    fn what_is_alike_is_together() {
        let leaf = |name: &str, nodes: Vec<Part>| Part {
            name: name.into(),
            last: None,
            count: 1,
            parts: together(nodes),
            node_type: None,
        };
        let leaves = together(vec![
            leaf("l0", vec![node("a", "x"), node("b", "x")]),
            leaf("l1", vec![node("c", "x"), node("d", "x")]),
            leaf("l2", vec![node("e", "x"), node("f", "y")]),
            leaf("l3", vec![node("g", "x")]),
        ]);
        let titles: Vec<_> = leaves.iter().map(|leaf| (leaf.title(), leaf.subtitle())).collect();
        let said = |title: &str, subtitle: &str| (title.to_owned(), subtitle.to_owned());
        assert_eq!(titles, [said("l0 … l1", "2 alike"), said("l2", ""), said("l3", "")]);
        let nodes: Vec<_> = leaves[0].parts.iter().map(|part| (part.title(), part.subtitle())).collect();
        assert_eq!(nodes, [said("2 × x", "a … b")]);
        assert_eq!(leaves[1].parts.len(), 2);
    }
}
