//! The inside of a node, drawn: CPUs, PCIe switches, GPUs, network cards, and the links between them.

use std::fmt::Write as _;

use foretell_fabric::node::{Link, LinkKind, Vertex};

use super::quoted;
use crate::catalog::NodeType;

/// Parts of a node, and links between two of them.
struct Inside {
    parts: Vec<Vertex>,
    links: Vec<(usize, usize, Link)>,
}

impl Inside {
    /// Of a node type whose links are known.
    fn of(node_type: &NodeType) -> Option<Self> {
        let graph = node_type.graph()?;
        let graph = graph.graph();
        let parts = graph.node_indices().map(|part| graph[part]).collect();
        let link = |link| {
            let (from, to) = graph.edge_endpoints(link)?;
            Some((from.index(), to.index(), graph[link]))
        };
        Some(Self { parts, links: graph.edge_indices().filter_map(link).collect() })
    }

    /// What hangs below a part of the tree of PCIe, but not what is above it.
    fn below(&self, part: usize, above: Option<usize>) -> Vec<usize> {
        let is_tree = |link: &Link| matches!(link.kind, LinkKind::Pcie | LinkKind::ChipToChip);
        let links = self.links.iter().filter(|(.., link)| is_tree(link));
        let ends = links.filter_map(|&(from, to, _)| match part {
            part if part == from => Some(to),
            part if part == to => Some(from),
            _ => None,
        });
        let mut below: Vec<usize> = ends.filter(|&end| Some(end) != above).collect();
        below.sort_unstable();
        below
    }
}

/// The parts and links of a node in the language of Graphviz; names begin with a prefix.
pub(super) fn dot(prefix: &str, node_type: &NodeType, dot: &mut String) {
    let Some(inside) = Inside::of(node_type) else { return };
    // Writing to a string cannot fail.
    for (index, part) in inside.parts.iter().enumerate() {
        let shape = match part {
            Vertex::Nic(_) => ", shape=ellipse",
            Vertex::NvSwitch => ", shape=hexagon",
            Vertex::PcieSwitch(_) => ", shape=diamond",
            Vertex::Gpu(_) | Vertex::Cpu(_) => "",
        };
        let _ = writeln!(dot, "    {prefix}_{index} [label={}{shape}];", quoted(&part.to_string()));
    }
    for (from, to, link) in &inside.links {
        let style = if link.kind == LinkKind::NvLink { "" } else { ", style=dashed" };
        let label = quoted(&format!("{} {}", link.kind.name(), link.gb_per_s));
        let _ = writeln!(dot, "    {prefix}_{from} -- {prefix}_{to} [label={label}{style}];");
    }
}

const ROW: f64 = 62.0;
const BOX: f64 = 28.0;
const GAP: f64 = 10.0;
/// Text is not measured: a letter is taken to be no wider than this.
const LETTER: f64 = 7.0;

/// A part in its place: its middle, and its row from above.
struct Placed {
    part: usize,
    x: f64,
    row: usize,
}

fn width(part: Vertex) -> f64 {
    part.to_string().len() as f64 * LETTER + 14.0
}

/// Puts a part above the middle of what hangs below it; `right` is where the next may begin.
fn place(
    inside: &Inside,
    (part, above): (usize, Option<usize>),
    row: usize,
    right: &mut f64,
    placed: &mut Vec<Placed>,
) -> f64 {
    let (left, own) = (*right, width(inside.parts[part]));
    let is_end = matches!(inside.parts[part], Vertex::Gpu(_) | Vertex::Nic(_));
    let below = if is_end { Vec::new() } else { inside.below(part, above) };
    let middles: Vec<f64> =
        below.iter().map(|&inner| place(inside, (inner, Some(part)), row + 1, right, placed)).collect();
    let x = match (middles.first(), middles.last()) {
        (Some(first), Some(last)) => f64::midpoint(*first, *last).max(left + own / 2.0),
        _ => left + own / 2.0,
    };
    *right = right.max(x + own / 2.0 + GAP);
    placed.push(Placed { part, x, row });
    x
}

/// A picture of the inside of a node with its upper left corner there; its width and height. `None` where the links are not known.
pub(super) fn svg(node_type: &NodeType, left: f64, top: f64) -> Option<(String, f64, f64)> {
    let inside = Inside::of(node_type)?;
    let mut placed = Vec::new();
    let mut right = left;
    for (part, vertex) in inside.parts.iter().enumerate() {
        if let Vertex::Cpu(_) = vertex {
            place(&inside, (part, None), 0, &mut right, &mut placed);
        }
    }
    // GPUs and cards in one row, below all switches.
    let last = placed.iter().map(|placed| placed.row).max().unwrap_or(0);
    for placed in &mut placed {
        if matches!(inside.parts[placed.part], Vertex::Gpu(_) | Vertex::Nic(_)) {
            placed.row = last;
        }
    }
    if let Some(part) = inside.parts.iter().position(|&part| part == Vertex::NvSwitch) {
        let gpus = placed.iter().filter(|placed| matches!(inside.parts[placed.part], Vertex::Gpu(_)));
        let (sum, count) = gpus.fold((0.0, 0.0), |(sum, count), gpu| (sum + gpu.x, count + 1.0));
        placed.push(Placed { part, x: sum / f64::max(count, 1.0), row: last + 1 });
    }
    let middle = |part: usize| {
        let found = placed.iter().find(|placed| placed.part == part)?;
        Some((found.x, top + found.row as f64 * ROW + BOX / 2.0))
    };
    let mut svg = String::new();
    for &(from, to, link) in &inside.links {
        let (Some((x1, y1)), Some((x2, y2))) = (middle(from), middle(to)) else { continue };
        let colour = if link.kind == LinkKind::NvLink { "#4a8f29" } else { "#6e6e6e" };
        // Links within a row hang through below it.
        let dip = if (y1 - y2).abs() < 1.0 { BOX / 2.0 + 0.12 * (x1 - x2).abs().min(4.0 * ROW) } else { 0.0 };
        // Writing to a string cannot fail.
        let _ = writeln!(
            svg,
            "<path d=\"M{x1:.1} {y1:.1} Q{:.1} {:.1} {x2:.1} {y2:.1}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.2\"/>",
            f64::midpoint(x1, x2),
            f64::midpoint(y1, y2) + 2.0 * dip,
        );
    }
    for Placed { part, x, row } in &placed {
        let (vertex, y) = (inside.parts[*part], top + *row as f64 * ROW);
        let fill = match vertex {
            Vertex::Gpu(_) => "#e8f3ee",
            Vertex::Nic(_) => "#f7f0e2",
            Vertex::NvSwitch => "#dcedc9",
            Vertex::PcieSwitch(_) | Vertex::Cpu(_) => "#e6eff7",
        };
        let wide = width(vertex);
        let _ = writeln!(
            svg,
            "<rect x=\"{:.1}\" y=\"{y:.1}\" width=\"{wide:.1}\" height=\"{BOX}\" rx=\"5\" fill=\"{fill}\" stroke=\"#6e6e6e\"/>\n\
             <text x=\"{x:.1}\" y=\"{:.1}\" font-size=\"12\" fill=\"#222\" text-anchor=\"middle\">{vertex}</text>",
            x - wide / 2.0,
            y + BOX / 2.0 + 4.0,
        );
    }
    let rows = placed.iter().map(|placed| placed.row).max().unwrap_or(0);
    Some((svg, right - GAP - left, (rows as f64 + 1.0) * ROW))
}
