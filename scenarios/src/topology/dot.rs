//! The cluster in the language of Graphviz.

use std::fmt::Write as _;

use super::{Part, describe, fabric, quoted, types, whole};
use crate::catalog::NodeType;
use crate::{Fabric, Scenario};

/// The cluster of a scenario: a tree of its domains, and beside it a graph for each type of node whose links are known.
pub fn dot(scenario: &Scenario) -> String {
    let mut dot =
        "graph cluster {\n  node [shape=box, fontname=\"sans-serif\"];\n  edge [fontname=\"sans-serif\"];\n"
            .to_owned();
    let mut next = 0;
    tree(&whole(scenario), None, &mut next, &mut dot);
    if let Some(fabric) = &scenario.fabric {
        switches(fabric, &mut dot);
    }
    for (index, (name, node_type)) in types(scenario).into_iter().enumerate() {
        inside(index, name, node_type, &mut dot);
    }
    dot.push_str("}\n");
    dot
}

fn tree(part: &Part, above: Option<usize>, next: &mut usize, dot: &mut String) {
    let id = *next;
    *next += 1;
    let subtitle = part.subtitle();
    let label = if subtitle.is_empty() { part.title() } else { format!("{}\n{subtitle}", part.title()) };
    // Writing to a string cannot fail.
    let _ = writeln!(dot, "  part{id} [label={}];", quoted(&label));
    if let Some(above) = above {
        let _ = writeln!(dot, "  part{above} -- part{id};");
    }
    for inner in &part.parts {
        tree(inner, Some(id), next, dot);
    }
}

/// The tiers of switches, from the network cards up.
fn switches(fabric: &Fabric, dot: &mut String) {
    let lines = fabric::lines(fabric);
    let (title, rows) = lines.split_first().map_or(("", &[][..]), |(title, rows)| (title.as_str(), rows));
    let _ = writeln!(dot, "  subgraph cluster_fabric {{\n    label={};", quoted(title));
    for (index, row) in rows.iter().enumerate() {
        let _ = writeln!(dot, "    fabric{index} [label={}];", quoted(row));
    }
    for index in 1..rows.len() {
        let _ = writeln!(dot, "    fabric{index} -- fabric{};", index - 1);
    }
    dot.push_str("  }\n");
}

/// What a node is made of, and what joins it.
fn inside(index: usize, name: &str, node_type: &NodeType, dot: &mut String) {
    let label = format!("{name}: {}", describe(node_type));
    let _ = writeln!(dot, "  subgraph cluster_{index} {{\n    label={};", quoted(&label));
    super::inside::dot(&format!("type{index}"), node_type, dot);
    dot.push_str("  }\n");
}
