//! Rings between GPUs that links join pair by pair.

use petgraph::graph::NodeIndex;
use petgraph::visit::EdgeRef;

use super::{LinkKind, NodeGraph, PathType};

/// Rings that use no link twice in a direction.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Rings {
    /// How many.
    pub count: u32,
    /// What each carries, GB/s.
    pub gb_per_s: f64,
}

/// Steps after which the search is content with what it has: that of NCCL gives up too.
const MAX_STEPS: u32 = 200_000;

struct Search {
    gpus: usize,
    /// For each ordered pair the directed links that a hop takes; none if there is no NVLink between them.
    hops: Vec<Option<Vec<usize>>>,
    /// Rings that each directed link still has room for.
    room: Vec<u32>,
    steps: u32,
}

impl NodeGraph {
    /// How many rings at the rate of one NVLink there are between these GPUs over NVLink alone, each in one direction. `None` if
    /// NVLink does not join them all, or through switches, where every GPU has all its links to itself.
    pub fn rings(&self, gpus: &[u32], each_gb_per_s: f64) -> Option<Rings> {
        if gpus.len() < 2 || each_gb_per_s <= 0.0 || self.has_nvswitch() {
            return None;
        }
        // Both directions of every edge.
        let room = self.graph.edge_weights().flat_map(|link| {
            let rings =
                if link.kind == LinkKind::NvLink { (link.gb_per_s / each_gb_per_s + 1e-9) as u32 } else { 0 };
            [rings; 2]
        });
        let room: Vec<u32> = room.collect();
        // Hops through other GPUs take two links: only where there is no ring without.
        let count = [PathType::Nvl, PathType::Nvb].into_iter().find_map(|farthest| {
            let hops = gpus.iter().flat_map(|&from| gpus.iter().map(move |&to| self.hop(from, to, farthest)));
            let mut search = Search { gpus: gpus.len(), hops: hops.collect(), room: room.clone(), steps: 0 };
            Some(search.most()).filter(|&count| count > 0)
        });
        count.map(|count| Rings { count, gb_per_s: each_gb_per_s })
    }

    /// The directed links of the path between two GPUs, if it is no worse than that.
    fn hop(&self, from: u32, to: u32, farthest: PathType) -> Option<Vec<usize>> {
        let path = self.gpu_path(from, to).filter(|path| path.kind <= farthest)?;
        path.indices.windows(2).map(|pair| self.directed(pair[0], pair[1])).collect()
    }

    fn directed(&self, from: NodeIndex, to: NodeIndex) -> Option<usize> {
        let edges = self.graph.edges_connecting(from, to);
        let edge = edges.filter(|edge| edge.weight().kind == LinkKind::NvLink).map(|edge| edge.id());
        edge.min().map(|edge| 2 * edge.index() + usize::from(from > to))
    }
}

impl Search {
    /// The most rings in what room there is.
    fn most(&mut self) -> u32 {
        // No more than the GPU with least room has: the bound at which a search may stop.
        let bound = self.bound();
        let mut best = 0;
        let mut visited = vec![false; self.gpus];
        visited[0] = true;
        self.extend(0, 1, &mut visited, &mut |search| {
            let found = 1 + search.most();
            best = best.max(found);
            best >= bound
        });
        best
    }

    fn bound(&self) -> u32 {
        let of = |from: usize| -> u32 {
            let mut links: Vec<usize> = (0..self.gpus)
                .filter_map(|to| self.hops[from * self.gpus + to].as_ref()?.first().copied())
                .collect();
            links.sort_unstable();
            links.dedup();
            links.into_iter().map(|link| self.room[link]).sum()
        };
        (0..self.gpus).map(of).min().unwrap_or(0)
    }

    /// Goes on from a GPU until all are visited and the first is reached again; `closed` says whether that is enough.
    fn extend(
        &mut self,
        at: usize,
        visited_count: usize,
        visited: &mut Vec<bool>,
        closed: &mut dyn FnMut(&mut Self) -> bool,
    ) -> bool {
        self.steps += 1;
        if self.steps > MAX_STEPS {
            return true;
        }
        let is_last = visited_count == self.gpus;
        for next in 0..self.gpus {
            if (next == 0) != is_last || visited[next] && !is_last {
                continue;
            }
            let Some(links) = self.hops[at * self.gpus + next].clone() else { continue };
            if links.iter().any(|&link| self.room[link] == 0) {
                continue;
            }
            for &link in &links {
                self.room[link] -= 1;
            }
            let done = if is_last {
                closed(self)
            } else {
                visited[next] = true;
                let done = self.extend(next, visited_count + 1, visited, closed);
                visited[next] = false;
                done
            };
            for &link in &links {
                self.room[link] += 1;
            }
            if done {
                return true;
            }
        }
        false
    }
}
