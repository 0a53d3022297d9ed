//! The choice of a node: the first so many feasible nodes from where the last search stopped, and the best of
//! them.

use alloc::vec::Vec;

use foretell_framework::{ClassRanking, ClusterState, NodeId, SelectNode};
use rand::Rng;

use crate::node_order::NodeOrder;

/// Clusters smaller than this are searched whole, and no search stops before it has found as many feasible
/// nodes.
const MIN_FEASIBLE_NODES: usize = 100;

/// How many feasible nodes a search stops at (kube-scheduler's `numFeasibleNodesToFind`). `percentage` 0
/// adapts to the size of the cluster: 50 % less 1 % for every 125 nodes, at least 5 %.
pub fn nodes_to_find(nodes: usize, percentage: u32) -> usize {
    if nodes < MIN_FEASIBLE_NODES {
        return nodes;
    }
    let percentage = match percentage {
        0 => 50_usize.saturating_sub(nodes / 125).max(5),
        given => given.min(100) as usize,
    };
    (nodes * percentage / 100).max(MIN_FEASIBLE_NODES)
}

/// The best of a sample of the feasible nodes.
///
/// Every search starts where the last one stopped, so the sample rotates over the cluster: the one thing kept
/// between cycles that its choices depend on. Nodes stand in kube-scheduler's order, zone by zone in turn.
/// Among equally good nodes the choice is what a heap built over the sample has at its root, as in
/// kube-scheduler without extenders.
pub struct SampledNodes {
    percentage: u32,
    stops_at_first: bool,
    /// Position at which the next search starts.
    start: usize,
    looked_at: usize,
    order: NodeOrder,
}

impl SampledNodes {
    /// `percentage_of_nodes_to_score` as in [`nodes_to_find`].
    pub fn new(percentage_of_nodes_to_score: u32) -> Self {
        Self {
            percentage: percentage_of_nodes_to_score,
            stops_at_first: false,
            start: 0,
            looked_at: 0,
            order: NodeOrder::default(),
        }
    }

    /// A search that stops at the first feasible node, as where nothing scores.
    #[must_use]
    pub const fn stopping_at_first(mut self) -> Self {
        self.stops_at_first = true;
        self
    }

    /// Nodes that the last search looked at.
    pub const fn looked_at(&self) -> usize {
        self.looked_at
    }

    /// Searches, hands over each node that is feasible in the ranking with its score until enough are accepted, and moves
    /// the start past what it looked at.
    fn sample(&mut self, ranking: &ClassRanking, mut accepts: impl FnMut(NodeId, i64) -> bool) {
        let nodes = ranking.len();
        self.looked_at = nodes;
        if nodes == 0 {
            return;
        }
        let mut wanted = if self.stops_at_first { 1 } else { nodes_to_find(nodes, self.percentage) };
        // With no more to be found the rest need not be looked at, though it counts as such.
        let mut left = ranking.feasible();
        let start = self.start % nodes;
        for (looked_at, position) in (start..nodes).chain(0..start).enumerate() {
            if left == 0 {
                break;
            }
            let node = self.order.node(position);
            if let Some(score) = ranking.score(node) {
                left -= 1;
                wanted -= usize::from(accepts(node, score));
                if wanted == 0 {
                    self.looked_at = looked_at + 1;
                    break;
                }
            }
        }
        self.start = (start + self.looked_at) % nodes;
    }
}

impl SelectNode for SampledNodes {
    fn observe(&mut self, state: &ClusterState) {
        self.order.refresh(state);
    }

    fn select(&mut self, ranking: &mut ClassRanking, _random: &mut dyn Rng) -> Option<NodeId> {
        let mut best = HeapRoot::default();
        let mut choice = None;
        self.sample(ranking, |node, score| {
            if best.offer(score) {
                choice = Some(node);
            }
            true
        });
        choice
    }

    fn candidates(
        &mut self,
        ranking: &ClassRanking,
        passes: &mut dyn FnMut(NodeId) -> bool,
        candidates: &mut Vec<NodeId>,
    ) {
        self.sample(ranking, |node, _| {
            let found = passes(node);
            if found {
                candidates.push(node);
            }
            found
        });
    }

    fn pick(&mut self, totals: &[i64], _random: &mut dyn Rng) -> usize {
        let mut best = HeapRoot::default();
        for &total in totals {
            best.offer(total);
        }
        best.holder
    }
}

/// The order in which nodes are preferred, as positions: by total, then by the random number that is drawn for a node where
/// extenders have a say (0 elsewhere), ties as a heap over the list gives them out.
pub fn host_order(candidates: &[(i64, u64)]) -> Vec<usize> {
    let mut left: Vec<_> = candidates.iter().copied().zip(0..).collect();
    sift_all(&mut left);
    let mut order = Vec::with_capacity(left.len());
    while !left.is_empty() {
        // As Go's heap pops: the last entry takes the place of the root and sinks.
        order.push(left.swap_remove(0).1);
        sift_down(&mut left, 0);
    }
    order
}

type Entry = ((i64, u64), usize);

fn sift_all(heap: &mut [Entry]) {
    for top in (0..heap.len() / 2).rev() {
        sift_down(heap, top);
    }
}

fn sift_down(heap: &mut [Entry], mut parent: usize) {
    loop {
        let (left, right) = (2 * parent + 1, 2 * parent + 2);
        if left >= heap.len() {
            break;
        }
        let child = if right < heap.len() && heap[right].0 > heap[left].0 { right } else { left };
        if heap[child].0 <= heap[parent].0 {
            break;
        }
        heap.swap(parent, child);
        parent = child;
    }
}

/// Finds what a binary heap made of a list would have at its root, without making it.
///
/// Building the heap (as Go's `container/heap` does: from the last parent up, a child moves up only if it is
/// strictly better, the right one only if strictly better than the left) is a tournament in which an entry
/// wins ties against those below it and the left subtree against the right. So the root is, of the best
/// entries, the first in pre-order.
#[derive(Default)]
struct HeapRoot {
    offered: usize,
    best: i64,
    holder: usize,
}

impl HeapRoot {
    /// Takes the next entry of the list and says whether it is the root so far.
    fn offer(&mut self, total: i64) -> bool {
        let position = self.offered;
        self.offered += 1;
        let wins = position == 0
            || total > self.best
            || (total == self.best && pre_order(position) < pre_order(self.holder));
        if wins {
            self.best = total;
            self.holder = position;
        }
        wins
    }
}

/// Sorts positions of a heap in pre-order: the binary digits of `position + 1` are the path from the root, so
/// flush left they sort by path, and an entry goes before those below it.
const fn pre_order(position: usize) -> (u64, u32) {
    let path = position as u64 + 1;
    let shift = path.leading_zeros();
    (path << shift, u64::BITS - shift)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::{NoRandom, class, cluster};
    use foretell_framework::select::BestFitGpus;
    use foretell_framework::{NodeSpec, Plugins};
    use proptest::prelude::*;
    use std::boxed::Box;

    /// Source of the first four: `TestNumFeasibleNodesToFind`.
    #[test]
    fn sample_sizes() {
        for (nodes, percentage, expected) in [
            (10, 0, 10),
            (10, 40, 10),
            (1000, 40, 400),
            (6000, 0, 300),
            (1000, 0, 420),
            (99, 1, 99),
            (100, 1, 100),
            (5000, 0, 500),
            (5000, 100, 5000),
            (5000, 300, 5000),
        ] {
            assert_eq!(nodes_to_find(nodes, percentage), expected, "{nodes} nodes, {percentage} %");
        }
    }

    proptest! {
        #[test]
        fn ties_fall_as_in_a_built_heap(totals in prop::collection::vec(-3_i64..3, 1..700)) {
            let picked = SampledNodes::new(0).pick(&totals, &mut NoRandom);
            let candidates: Vec<_> = totals.iter().map(|&total| (total, 0)).collect();
            prop_assert_eq!(picked, host_order(&candidates)[0]);
        }
    }

    #[test]
    fn orders_of_hosts() {
        assert_eq!(host_order(&[(1, 0), (2, 0)]), [1, 0]);
        assert_eq!(host_order(&[(2, 2), (2, 1), (2, 3), (5, 0)]), [3, 2, 0, 1]);
        // Without random numbers ties are the heap's.
        assert_eq!(host_order(&[(2, 0); 4]), [0, 3, 2, 1]);
    }

    #[test]
    fn tie_break_examples() {
        let check = |totals: &[i64], expected: usize| {
            assert_eq!(SampledNodes::new(0).pick(totals, &mut NoRandom), expected, "{totals:?}");
        };
        check(&[5], 0);
        check(&[1, 2], 1);
        check(&[2, 2, 2], 0);
        check(&[1, 2, 2], 1);
        // The left subtree wins, though its entry comes later in the list.
        check(&[0, 0, 1, 1], 3);
    }

    /// Where every feasible node is equal, the first of the sample is chosen, so choices show where searches
    /// start.
    #[test]
    fn searches_start_where_the_last_one_stopped() {
        let check = |cordoned: &[usize], percentage, expected: &[usize]| {
            let mut state = cluster(200, || NodeSpec::new("n"));
            for &node in cordoned {
                state.set_unschedulable(NodeId::new(node), true);
            }
            let class = class(&mut state, 0, 0);
            let mut plugins = Plugins::new(Box::new(SampledNodes::new(percentage)), Box::new(BestFitGpus))
                .with_filters(crate::filters());
            let choices: Vec<_> = expected
                .iter()
                .map(|_| plugins.choose_node(&state, class, &mut NoRandom).map(NodeId::index))
                .collect();
            assert_eq!(
                choices,
                expected.iter().copied().map(Some).collect::<Vec<_>>(),
                "cordoned {cordoned:?}"
            );
        };
        // 100 of 200 are found each time.
        check(&[], 0, &[0, 100, 0, 100]);
        // Rejected nodes count as looked at: the second search starts at node 103.
        check(&[0, 50, 51], 0, &[1, 103, 4]);
        // 75 % of 200.
        check(&[], 75, &[0, 150, 100, 50, 0]);
        // Fewer feasible than wanted: all are looked at and the start stays.
        let all_but_three: Vec<_> = (0..200).filter(|node| ![7, 90, 150].contains(node)).collect();
        check(&all_but_three, 0, &[7, 7, 7]);
    }

    proptest! {
        /// The sample is the first so many feasible nodes of the rotation, whatever is rejected in each
        /// cycle.
        #[test]
        fn sample_equals_a_scan(
            cycles in prop::collection::vec(prop::collection::vec(prop::bool::weighted(0.3), 200), 1..6),
            nodes in 100_usize..200,
            percentage in 0_u32..101,
        ) {
            let mut state = cluster(nodes, || NodeSpec::new("n"));
            let class = class(&mut state, 0, 0);
            let mut plugins = crate::plugins(&crate::DefaultConfig::default());
            let mut select = SampledNodes::new(percentage);
            let mut start = 0;
            for cordoned in cycles {
                for (node, &cordoned) in state.node_ids().zip(&cordoned) {
                    state.set_unschedulable(node, cordoned);
                }
                let mut expected = Vec::new();
                let mut looked_at = 0;
                while looked_at < nodes && expected.len() < nodes_to_find(nodes, percentage) {
                    let node = (start + looked_at) % nodes;
                    looked_at += 1;
                    if !cordoned[node] {
                        expected.push(NodeId::new(node));
                    }
                }
                start = (start + looked_at) % nodes;
                let mut sample = Vec::new();
                select.candidates(plugins.ranking(&state, class), &mut |_| true, &mut sample);
                prop_assert_eq!(sample, expected);
            }
        }
    }
}
