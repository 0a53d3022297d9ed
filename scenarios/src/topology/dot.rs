//! The cluster in the language of Graphviz.

use std::fmt::Write as _;

use foretell_sim::framework::interconnect::LinkLevel;

use super::{Part, describe, fabric, types, whole};
use crate::catalog::{Interconnect, NodeType};
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

/// GPUs with their NVLinks, and the network cards nearest to them.
fn inside(index: usize, name: &str, node_type: &NodeType, dot: &mut String) {
    let Some(links) = &node_type.links else { return };
    let label = format!("{name}: {}", describe(node_type));
    let _ = writeln!(dot, "  subgraph cluster_{index} {{\n    label={};", quoted(&label));
    let gpus = links.gpus();
    for gpu in 0..gpus {
        let _ = writeln!(dot, "    type{index}_gpu{gpu} [label=\"GPU{gpu}\"];");
    }
    for nic in 0..links.nics() {
        let _ = writeln!(dot, "    type{index}_nic{nic} [label=\"NIC{nic}\", shape=ellipse];");
    }
    let has_switch = matches!(node_type.interconnect, Some(Interconnect::Nvswitch | Interconnect::Nvl72));
    if has_switch {
        let _ = writeln!(dot, "    type{index}_nvswitch [label=\"NVSwitch\", shape=hexagon];");
    }
    for gpu in 0..gpus {
        let others = (0..gpu).map(|other| (other, links.link(gpu, other).level()));
        for (other, level) in others.filter(|_| !has_switch) {
            if let LinkLevel::Nvlink(_) = level {
                let _ =
                    writeln!(dot, "    type{index}_gpu{other} -- type{index}_gpu{gpu} [label=\"{level}\"];");
            }
        }
        if has_switch {
            let first = usize::from(gpu == 0);
            let label = if gpus > 1 { links.link(gpu, first).level().to_string() } else { String::new() };
            let _ = writeln!(dot, "    type{index}_gpu{gpu} -- type{index}_nvswitch [label=\"{label}\"];");
        }
        for nic in links.nearest_nics(gpu) {
            let path = links.nic_path(gpu, nic);
            let _ = writeln!(
                dot,
                "    type{index}_gpu{gpu} -- type{index}_nic{nic} [label=\"{path}\", style=dashed];"
            );
        }
    }
    dot.push_str("  }\n");
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}
