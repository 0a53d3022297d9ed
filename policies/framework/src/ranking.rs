//! One filter-and-score pass for all identical tasks, kept between cycles and repaired where nodes changed.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::id::{ClassId, NodeId};
use crate::plugin::{Filter, Scope, Score};
use crate::reason::{Rejection, Rejections};
use crate::recency::Stamp;
use crate::spec::TaskSpec;
use crate::state::ClusterState;

/// Nodes per block. The best node of each block is kept, so that a changed node costs at most one scan of its block
/// and the best of all is a scan over blocks.
const BLOCK: usize = 64;

/// Keys below are infeasible nodes: `i64::MIN` plus the code of the rejection.
const LOWEST_SCORE: i64 = i64::MIN + 256;

/// How nodes rank for one class of identical tasks.
pub struct ClassRanking {
    seen: Stamp,
    /// Verdict of the filters that look at the node's spec only.
    fixed: Vec<Option<Rejection>>,
    keys: Vec<i64>,
    /// First best node of each block; `None` where it must be found again.
    best_of_block: Vec<Option<u32>>,
    feasible: u32,
    rejected: [u32; Rejection::ALL.len()],
    last_use: u64,
}

impl ClassRanking {
    const fn new() -> Self {
        Self {
            seen: Stamp::ZERO,
            fixed: Vec::new(),
            keys: Vec::new(),
            best_of_block: Vec::new(),
            feasible: 0,
            rejected: [0; Rejection::ALL.len()],
            last_use: 0,
        }
    }

    /// Number of nodes, feasible or not.
    pub const fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is no node.
    pub const fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Number of nodes that passed all filters.
    pub const fn feasible(&self) -> u32 {
        self.feasible
    }

    /// The node's score, `None` if a filter rejected it.
    pub fn score(&self, node: NodeId) -> Option<i64> {
        let key = self.keys[node.index()];
        (key >= LOWEST_SCORE).then_some(key)
    }

    /// Why a filter rejected the node, `None` if none did.
    pub fn rejection(&self, node: NodeId) -> Option<Rejection> {
        let key = self.keys[node.index()];
        (key < LOWEST_SCORE).then(|| Rejection::ALL[(key - i64::MIN) as usize])
    }

    /// Feasible nodes in order of id, beginning at `start` and wrapping round.
    pub fn feasible_from(&self, start: usize) -> impl Iterator<Item = NodeId> {
        let (before, after) = self.keys.split_at(start);
        let offset = |base: usize| move |(index, _): (usize, &i64)| NodeId::new(base + index);
        let feasible = |&(_, key): &(usize, &i64)| *key >= LOWEST_SCORE;
        let after = after.iter().enumerate().filter(feasible).map(offset(start));
        after.chain(before.iter().enumerate().filter(feasible).map(offset(0)))
    }

    /// The feasible node with the highest score, the smallest id among equals.
    pub fn best(&mut self) -> Option<NodeId> {
        if self.feasible == 0 {
            return None;
        }
        let mut best: Option<u32> = None;
        for block in 0..self.best_of_block.len() {
            let candidate = self.best_of_block(block);
            if best.is_none_or(|best| self.keys[candidate as usize] > self.keys[best as usize]) {
                best = Some(candidate);
            }
        }
        best.map(|best| NodeId::new(best as usize))
    }

    fn best_of_block(&mut self, block: usize) -> u32 {
        if let Some(best) = self.best_of_block[block] {
            return best;
        }
        let first = block * BLOCK;
        let keys = &self.keys[first..self.keys.len().min(first + BLOCK)];
        let highest = keys.iter().copied().max().unwrap_or(i64::MIN);
        let position = keys.iter().position(|&key| key == highest).unwrap_or(0);
        let best = (first + position) as u32;
        self.best_of_block[block] = Some(best);
        best
    }

    /// Why nodes were rejected.
    pub fn rejections(&self) -> Rejections {
        Rejections::new(self.keys.len(), self.rejected)
    }

    fn set(&mut self, node: usize, key: i64) {
        let old = core::mem::replace(&mut self.keys[node], key);
        self.count(old, false);
        self.count(key, true);
        let best = &mut self.best_of_block[node / BLOCK];
        let Some(holder) = *best else { return };
        if holder as usize == node {
            if key < old {
                *best = None;
            }
        } else {
            let highest = self.keys[holder as usize];
            if key > highest || (key == highest && node < holder as usize) {
                *best = Some(node as u32);
            }
        }
    }

    fn count(&mut self, key: i64, add: bool) {
        let counter = if key >= LOWEST_SCORE {
            &mut self.feasible
        } else {
            &mut self.rejected[(key - i64::MIN) as usize]
        };
        *counter = if add { *counter + 1 } else { *counter - 1 };
    }
}

/// The most node entries that are kept over all classes (9 bytes each): beyond, the class that was not asked for
/// the longest is forgotten and computed anew when it is asked for again.
const MAX_ENTRIES: usize = 16_000_000;

/// The rankings of all classes that were asked for.
pub(crate) struct Rankings {
    classes: Vec<Option<Box<ClassRanking>>>,
    kept: usize,
    max_entries: usize,
    uses: u64,
}

impl Rankings {
    pub(crate) const fn new() -> Self {
        Self { classes: Vec::new(), kept: 0, max_entries: MAX_ENTRIES, uses: 0 }
    }

    /// The ranking of a class, brought up to date.
    pub(crate) fn refresh(
        &mut self,
        state: &ClusterState,
        class: ClassId,
        filters: &mut NodeFilters,
        scores: &mut [(Box<dyn Score>, i64)],
    ) -> &mut ClassRanking {
        let nodes = state.nodes().len();
        if self.classes.len() <= class.index() {
            self.classes.resize_with(class.index() + 1, || None);
        }
        self.uses += 1;
        let ranking = self.classes[class.index()].get_or_insert_with(|| {
            self.kept += 1;
            Box::new(ClassRanking::new())
        });
        ranking.last_use = self.uses;
        // More than one may have to go: nodes may have been added.
        while self.kept > 1 && self.kept * nodes > self.max_entries {
            self.forget_oldest();
        }
        let ranking = self.classes[class.index()].as_mut().expect("made above, and used last");
        let mut pass = Pass { state, task: state.class_spec(class), filters, scores };
        if ranking.keys.len() != nodes || ranking.seen < state.node_specs_changed() {
            pass.rebuild(ranking);
        } else {
            for node in state.changed_since(ranking.seen) {
                let key = pass.key(node, ranking.fixed[node.index()]);
                ranking.set(node.index(), key);
            }
        }
        ranking.seen = state.stamp();
        ranking
    }

    fn forget_oldest(&mut self) {
        let oldest = self
            .classes
            .iter()
            .enumerate()
            .filter_map(|(index, ranking)| Some((ranking.as_ref()?.last_use, index)))
            .min();
        if let Some((_, index)) = oldest {
            self.classes[index] = None;
            self.kept -= 1;
        }
    }
}

/// Filters that look at one node, apart by what their verdict depends on, so that the hot loop asks none in vain.
#[derive(Default)]
pub(crate) struct NodeFilters {
    of_spec: Vec<Box<dyn Filter>>,
    of_state: Vec<Box<dyn Filter>>,
}

impl NodeFilters {
    pub(crate) fn push(&mut self, filter: Box<dyn Filter>) {
        let scope = filter.scope();
        self.of(scope).push(filter);
    }

    /// Those of a scope, in order of addition.
    pub(crate) const fn of(&mut self, scope: Scope) -> &mut Vec<Box<dyn Filter>> {
        match scope {
            Scope::NodeSpec => &mut self.of_spec,
            Scope::NodeState | Scope::Cluster => &mut self.of_state,
        }
    }

    /// All of them, those that look at what a node is first.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Box<dyn Filter>> {
        self.of_spec.iter_mut().chain(&mut self.of_state)
    }
}

/// One pass of filters and scores for a task over nodes.
struct Pass<'a> {
    state: &'a ClusterState,
    task: &'a TaskSpec,
    filters: &'a mut NodeFilters,
    scores: &'a mut [(Box<dyn Score>, i64)],
}

impl Pass<'_> {
    fn rebuild(&mut self, ranking: &mut ClassRanking) {
        let nodes = self.state.nodes().len();
        let last_use = ranking.last_use;
        *ranking = ClassRanking::new();
        ranking.last_use = last_use;
        ranking.best_of_block.resize(nodes.div_ceil(BLOCK), None);
        ranking.fixed.reserve_exact(nodes);
        ranking.keys.reserve_exact(nodes);
        for node in self.state.node_ids() {
            let fixed = self.filter(node, Scope::NodeSpec).err();
            let key = self.key(node, fixed);
            ranking.fixed.push(fixed);
            ranking.keys.push(key);
            ranking.count(key, true);
        }
    }

    fn key(&mut self, node: NodeId, fixed: Option<Rejection>) -> i64 {
        if let Some(rejection) = fixed {
            return i64::MIN + rejection as i64;
        }
        if let Err(rejection) = self.filter(node, Scope::NodeState) {
            return i64::MIN + rejection as i64;
        }
        let score = self.scores.iter_mut().fold(0_i64, |total, (score, weight)| {
            total.saturating_add(score.score(self.state, self.task, node).saturating_mul(*weight))
        });
        score.max(LOWEST_SCORE)
    }

    fn filter(&mut self, node: NodeId, scope: Scope) -> Result<(), Rejection> {
        let mut filters = self.filters.of(scope).iter_mut();
        filters.try_for_each(|filter| filter.filter(self.state, self.task, node))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::NodeSpec;
    use proptest::prelude::*;

    struct Index;

    impl Score for Index {
        fn name(&self) -> &'static str {
            "Index"
        }

        fn score(&mut self, _: &ClusterState, task: &TaskSpec, node: NodeId) -> i64 {
            node.index() as i64 * (task.requests.cpu_milli as i64 % 3 - 1)
        }
    }

    proptest! {
        /// However few entries may be kept, the answers are right; and no more are kept, except one class.
        #[test]
        fn memory_is_bounded(max_entries in 0_usize..40, steps in prop::collection::vec((0_u64..9, any::<bool>()), 0..40)) {
            let mut state = ClusterState::new();
            let mut rankings = Rankings { max_entries, ..Rankings::new() };
            let mut scores: [(Box<dyn Score>, i64); 1] = [(Box::new(Index), 1)];
            for (cpu_milli, grow) in steps {
                if grow {
                    prop_assert!(state.add_node(NodeSpec::new("node")).is_ok());
                }
                let mut spec = TaskSpec::default();
                spec.requests.cpu_milli = cpu_milli;
                let class = state.class(&spec);
                let nodes = state.nodes().len();
                let best = rankings.refresh(&state, class, &mut NodeFilters::default(), &mut scores).best();
                let expected = if cpu_milli % 3 == 2 { nodes.checked_sub(1) } else { (nodes > 0).then_some(0) };
                prop_assert_eq!(best, expected.map(NodeId::new));
                let kept = rankings.classes.iter().flatten().count();
                prop_assert_eq!(kept, rankings.kept);
                prop_assert!(kept == 1 || kept * nodes <= max_entries);
            }
        }
    }
}
