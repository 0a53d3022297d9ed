//! Paths between the parts of a node.

use std::collections::VecDeque;
use std::fmt;

use petgraph::graph::NodeIndex;
use petgraph::visit::EdgeRef;

use super::{Link, LinkKind, NodeGraph, Vertex};

/// What a path crosses, best first, by NCCL's names.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum PathType {
    /// Nothing: to itself.
    Loc,
    /// NVLink.
    Nvl,
    /// NVLink through another GPU.
    Nvb,
    /// NVLink to the CPU.
    C2c,
    /// One PCIe switch at most.
    Pix,
    /// Several PCIe switches, but no CPU.
    Pxb,
    /// NVLink to the CPU, and PCIe from there.
    P2c,
    /// NVLink to another GPU, and PCIe from there to a network card.
    Pxn,
    /// A CPU.
    Phb,
    /// The link between CPUs.
    Sys,
}

impl PathType {
    /// Its name in NCCL.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Loc => "LOC",
            Self::Nvl => "NVL",
            Self::Nvb => "NVB",
            Self::C2c => "C2C",
            Self::Pix => "PIX",
            Self::Pxb => "PXB",
            Self::P2c => "P2C",
            Self::Pxn => "PXN",
            Self::Phb => "PHB",
            Self::Sys => "SYS",
        }
    }
}

/// A path through a node.
#[derive(Clone, PartialEq, Debug)]
pub struct Path {
    /// What it crosses.
    pub kind: PathType,
    /// The least of its links in each direction, GB/s; infinite for a path to itself.
    pub gb_per_s: f64,
    /// From where to where.
    pub vertices: Vec<Vertex>,
    pub(super) indices: Vec<NodeIndex>,
    pub(super) links: Vec<Link>,
}

impl Path {
    /// Whether NCCL prefers it: by type, rate, hops.
    pub fn is_better(&self, other: &Self) -> bool {
        let by_rate = || other.gb_per_s.total_cmp(&self.gb_per_s);
        self.kind.cmp(&other.kind).then_with(by_rate).then(self.links.len().cmp(&other.links.len())).is_lt()
    }

    /// The GPUs at its ends, if both are GPUs.
    pub fn ends(&self) -> Option<(u32, u32)> {
        match (self.vertices.first()?, self.vertices.last()?) {
            (&Vertex::Gpu(from), &Vertex::Gpu(to)) => Some((from, to)),
            _ => None,
        }
    }

    fn start(vertex: Vertex, index: NodeIndex) -> Self {
        Self {
            kind: PathType::Loc,
            gb_per_s: f64::INFINITY,
            vertices: vec![vertex],
            indices: vec![index],
            links: Vec::new(),
        }
    }

    fn extended(&self, link: Link, vertex: Vertex, index: NodeIndex) -> Self {
        let mut path = self.clone();
        path.vertices.push(vertex);
        path.indices.push(index);
        path.links.push(link);
        path.gb_per_s = path.gb_per_s.min(link.gb_per_s);
        path.kind = kind(&path.vertices, &path.links);
        path
    }

    /// That path, and another from where it ends.
    pub(super) fn then(&self, other: &Self) -> Self {
        let mut path = self.clone();
        path.vertices.extend(other.vertices.iter().skip(1));
        path.indices.extend(other.indices.iter().skip(1));
        path.links.extend(&other.links);
        path.gb_per_s = path.gb_per_s.min(other.gb_per_s);
        path.kind = kind(&path.vertices, &path.links);
        path
    }

    /// Whether it may go on from where it ends, by a link of that kind: not through network cards, and through another GPU only from
    /// NVLink to NVLink, once.
    fn may_go_on(&self, by: LinkKind) -> bool {
        match self.vertices.last() {
            _ if self.vertices.len() == 1 => true,
            Some(Vertex::Nic(_)) => false,
            Some(Vertex::Gpu(_)) => {
                self.vertices.len() == 2 && by == LinkKind::NvLink && self.kind == PathType::Nvl
            }
            _ => true,
        }
    }
}

impl fmt::Display for Path {
    /// `GPU0 -NVLink 40- GPU3`: the parts, and between them kind and rate of the links.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, vertex) in self.vertices.iter().enumerate() {
            if let Some(link) = position.checked_sub(1).and_then(|before| self.links.get(before)) {
                write!(f, " -{} {}- ", link.kind.name(), link.gb_per_s)?;
            }
            write!(f, "{vertex}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Vertex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gpu(number) => write!(f, "GPU{number}"),
            Self::NvSwitch => f.write_str("NVSwitch"),
            Self::PcieSwitch(number) => write!(f, "PCIe switch {number}"),
            Self::Cpu(number) => write!(f, "CPU{number}"),
            Self::Nic(number) => write!(f, "NIC{number}"),
        }
    }
}

impl LinkKind {
    /// In words.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NvLink => "NVLink",
            Self::ChipToChip => "C2C",
            Self::Pcie => "PCIe",
            Self::Socket => "socket link",
        }
    }
}

/// The type of a path of these parts.
fn kind(vertices: &[Vertex], links: &[Link]) -> PathType {
    let inner = vertices.get(1..vertices.len().saturating_sub(1)).unwrap_or_default();
    let has = |wanted: LinkKind| links.iter().any(|link| link.kind == wanted);
    let passes = |is_such: fn(&Vertex) -> bool| inner.iter().any(is_such);
    let through_gpu: fn(&Vertex) -> bool = |vertex| matches!(vertex, Vertex::Gpu(_));
    let through_host: fn(&Vertex) -> bool = |vertex| matches!(vertex, Vertex::Cpu(_));
    match (has(LinkKind::NvLink), has(LinkKind::ChipToChip), has(LinkKind::Pcie)) {
        _ if links.is_empty() => PathType::Loc,
        _ if has(LinkKind::Socket) => PathType::Sys,
        (true, false, false) if passes(through_gpu) => PathType::Nvb,
        (true, false, false) => PathType::Nvl,
        (true, ..) if !passes(through_host) => PathType::Pxn,
        (false, true, false) => PathType::C2c,
        (false, true, true) => PathType::P2c,
        _ if passes(through_host) => PathType::Phb,
        _ if inner.iter().filter(|vertex| matches!(vertex, Vertex::PcieSwitch(_))).count() > 1 => {
            PathType::Pxb
        }
        _ => PathType::Pix,
    }
}

impl NodeGraph {
    /// The best path between two parts.
    pub(super) fn path(&self, from: NodeIndex, to: NodeIndex) -> Option<Path> {
        let mut best: Vec<Option<Path>> = vec![None; self.graph.node_count()];
        best[from.index()] = Some(Path::start(self.graph[from], from));
        let mut changed = VecDeque::from([from]);
        while let Some(at) = changed.pop_front() {
            let Some(path) = best[at.index()].clone() else { continue };
            let mut links: Vec<(NodeIndex, Link)> =
                self.graph.edges(at).map(|edge| (edge.target(), *edge.weight())).collect();
            links.sort_by_key(|&(next, _)| next);
            for (next, link) in links {
                if path.indices.contains(&next) || !path.may_go_on(link.kind) {
                    continue;
                }
                let found = path.extended(link, self.graph[next], next);
                if best[next.index()].as_ref().is_none_or(|known| found.is_better(known)) {
                    best[next.index()] = Some(found);
                    changed.push_back(next);
                }
            }
        }
        best[to.index()].take()
    }
}
