//! The cluster as text: an outline, and a matrix of links for each type of node, as `nvidia-smi topo -m` prints it.

use std::fmt::Write as _;

use foretell_sim::framework::Interconnect;

use super::{Part, describe, fabric, types, whole};
use crate::Scenario;

/// The cluster of a scenario.
pub fn text(scenario: &Scenario) -> String {
    let mut text = String::new();
    outline(&whole(scenario), 0, &mut text);
    if let Some(fabric) = &scenario.fabric {
        let lines = fabric::lines(fabric);
        // Writing to a string cannot fail.
        let _ = writeln!(text, "\n{}", lines.join("\n  "));
    }
    for (name, node_type) in types(scenario) {
        // Writing to a string cannot fail.
        let _ = write!(text, "\n{name}: {}\n", describe(node_type));
        if let Some(links) = &node_type.links {
            matrix(links, &mut text);
        }
    }
    text
}

fn outline(part: &Part, depth: usize, text: &mut String) {
    let subtitle = part.subtitle();
    let subtitle = if subtitle.is_empty() { subtitle } else { format!("  {subtitle}") };
    let _ = writeln!(text, "{}{}{subtitle}", "  ".repeat(depth), part.title());
    for inner in &part.parts {
        outline(inner, depth + 1, text);
    }
}

/// How GPUs reach each other, and below that how they reach the network cards.
fn matrix(links: &Interconnect, text: &mut String) {
    let gpus = links.gpus();
    let mut table = |columns: usize, name: &str, cell: &dyn Fn(usize, usize) -> String| {
        let mut line = |head: &str, cells: &mut dyn Iterator<Item = String>| {
            let _ = write!(text, "  {head:<5}");
            for cell in cells {
                let _ = write!(text, "{cell:>5}");
            }
            text.push('\n');
        };
        line("", &mut (0..columns).map(|column| format!("{name}{column}")));
        for gpu in 0..gpus {
            line(&format!("GPU{gpu}"), &mut (0..columns).map(|column| cell(gpu, column)));
        }
    };
    table(gpus, "GPU", &|gpu, other| {
        if other == gpu { "X".to_owned() } else { links.link(gpu, other).level().to_string() }
    });
    if links.nics() > 0 {
        table(links.nics(), "NIC", &|gpu, nic| links.nic_path(gpu, nic).to_string());
    }
}
