//! The scores of kube-scheduler's default profile, each 0..=100 before its weight.
//!
//! A score that looks at one node and is not normalised is a [`Score`], kept between cycles. One that is
//! scaled by the best candidate depends on which nodes the search happened to find, so it is a
//! [`ScoreCandidates`], computed in each cycle; but only for tasks that have such a preference, which few
//! have.

use alloc::vec::Vec;

use foretell_framework::spec::TaintEffect;
use foretell_framework::{ClusterState, NodeId, Score, ScoreCandidates, Stamp, TaskSpec};

/// The highest score of a plugin.
pub(crate) const MAX_NODE_SCORE: i64 = 100;

/// What a task that requests no CPU is scored as.
const DEFAULT_CPU_MILLI: u64 = 100;

/// What a task that requests no memory is scored as.
const DEFAULT_MEMORY_BYTES: u64 = 200 << 20;

/// `NodeResourcesFit` with strategy `LeastAllocated`: mean over CPU and memory of the share that stays free.
#[derive(Default)]
pub struct LeastAllocated {
    requested: NonZeroRequested,
}

impl Score for LeastAllocated {
    fn name(&self) -> &'static str {
        "NodeResourcesFit"
    }

    fn score(&mut self, state: &ClusterState, task: &TaskSpec, node: NodeId) -> i64 {
        mean(self.requested.with(state, task, node), |used, allocatable| {
            percent(allocatable.saturating_sub(used), allocatable)
        })
    }
}

/// `NodeResourcesFit` with strategy `MostAllocated`: mean over CPU and memory of the share in use. Not in the
/// default profile.
#[derive(Default)]
pub struct MostAllocated {
    requested: NonZeroRequested,
}

impl Score for MostAllocated {
    fn name(&self) -> &'static str {
        "NodeResourcesFit"
    }

    fn score(&mut self, state: &ClusterState, task: &TaskSpec, node: NodeId) -> i64 {
        mean(self.requested.with(state, task, node), |used, allocatable| {
            percent(used.min(allocatable), allocatable)
        })
    }
}

/// Used and allocatable amount of a resource.
type Usage = (u64, u64);

/// Mean of a score over the resources that the node has.
fn mean(usages: [Usage; 2], score: impl Fn(u64, u64) -> i64) -> i64 {
    let present = usages.iter().filter(|&&(_, allocatable)| allocatable > 0);
    let (sum, count) = present
        .fold((0, 0), |(sum, count), &(used, allocatable)| (sum + score(used, allocatable), count + 1));
    if count == 0 { 0 } else { sum / count }
}

fn percent(part: u64, whole: u64) -> i64 {
    let percent = match part.checked_mul(100) {
        Some(product) => product / whole,
        None => (u128::from(part) * 100 / u128::from(whole)) as u64,
    };
    percent as i64
}

/// What the tasks of each node count with for scoring beyond their requests, because they request no CPU or
/// no memory; kept until the node changes.
#[derive(Default)]
struct NonZeroRequested {
    nodes: Vec<Extra>,
}

#[derive(Clone, Copy, Default)]
struct Extra {
    at: Stamp,
    cpu_milli: u64,
    memory_bytes: u64,
}

impl NonZeroRequested {
    /// CPU and memory as they would be with the task on the node.
    fn with(&mut self, state: &ClusterState, task: &TaskSpec, node: NodeId) -> [Usage; 2] {
        if self.nodes.len() <= node.index() {
            self.nodes.resize(state.nodes().len(), Extra::default());
        }
        let extra = &mut self.nodes[node.index()];
        if extra.at != state.node_stamp(node) {
            *extra = Extra { at: state.node_stamp(node), ..Extra::default() };
            for spec in state.node(node).tasks().iter().filter_map(|&task| state.task_spec(task)) {
                extra.cpu_milli +=
                    non_zero(spec.requests.cpu_milli, DEFAULT_CPU_MILLI) - spec.requests.cpu_milli;
                extra.memory_bytes +=
                    non_zero(spec.requests.memory_bytes, DEFAULT_MEMORY_BYTES) - spec.requests.memory_bytes;
            }
        }
        let (allocated, allocatable) = (state.node(node).allocated(), &state.node(node).spec.allocatable);
        let cpu_milli = non_zero(task.requests.cpu_milli, DEFAULT_CPU_MILLI);
        let memory_bytes = non_zero(task.requests.memory_bytes, DEFAULT_MEMORY_BYTES);
        [
            (allocated.cpu_milli + extra.cpu_milli + cpu_milli, allocatable.cpu_milli),
            (allocated.memory_bytes + extra.memory_bytes + memory_bytes, allocatable.memory_bytes),
        ]
    }
}

const fn non_zero(requested: u64, default: u64) -> u64 {
    if requested == 0 { default } else { requested }
}

/// `NodeResourcesBalancedAllocation`: whether the task brings the shares of CPU and memory in use closer
/// together. 75 if it changes nothing, up to 100 if it does, down to 50 if it does the opposite.
pub struct BalancedAllocation;

impl Score for BalancedAllocation {
    fn name(&self) -> &'static str {
        "NodeResourcesBalancedAllocation"
    }

    /// A task that requests neither CPU nor memory scores 0 everywhere, which is as good as being left out.
    fn score(&mut self, state: &ClusterState, task: &TaskSpec, node: NodeId) -> i64 {
        let requests = &task.requests;
        if requests.cpu_milli == 0 && requests.memory_bytes == 0 {
            return 0;
        }
        let (allocated, allocatable) = (state.node(node).allocated(), &state.node(node).spec.allocatable);
        let balance = |cpu_milli: u64, memory_bytes: u64| {
            balance([
                (allocated.cpu_milli + cpu_milli, allocatable.cpu_milli),
                (allocated.memory_bytes + memory_bytes, allocatable.memory_bytes),
            ])
        };
        let half = MAX_NODE_SCORE / 2;
        half + (half + balance(requests.cpu_milli, requests.memory_bytes) - balance(0, 0)) / 2
    }
}

/// 100 if the shares in use are equal, 50 if they are as far apart as can be: 1 less their standard
/// deviation.
fn balance(usages: [Usage; 2]) -> i64 {
    let share =
        |(used, allocatable): Usage| (allocatable > 0).then(|| (used as f64 / allocatable as f64).min(1.0));
    let deviation = match usages.map(share) {
        [Some(cpu), Some(memory)] => ((cpu - memory) / 2.0).abs(),
        _ => 0.0,
    };
    ((1.0 - deviation) * MAX_NODE_SCORE as f64) as i64
}

/// Scales scores so that the highest is 100.
fn normalise(scores: &mut [i64]) {
    let highest = scores.iter().copied().max().unwrap_or(0);
    if highest > 0 {
        for score in scores {
            *score = MAX_NODE_SCORE * *score / highest;
        }
    }
}

/// Scales scores so that 0 becomes 100 and the highest 0.
fn normalise_reversed(scores: &mut [i64]) {
    normalise(scores);
    for score in scores {
        *score = MAX_NODE_SCORE - *score;
    }
}

/// `NodeAffinity`: sum of the weights of the preferred terms that the node matches.
pub struct NodeAffinityScore;

impl ScoreCandidates for NodeAffinityScore {
    fn name(&self) -> &'static str {
        "NodeAffinity"
    }

    fn applies(&mut self, _state: &ClusterState, task: &TaskSpec) -> bool {
        !task.node_affinity.preferred.is_empty()
    }

    fn score(&mut self, state: &ClusterState, task: &TaskSpec, candidates: &[NodeId], scores: &mut Vec<i64>) {
        scores.extend(candidates.iter().map(|&node| {
            let node = &state.node(node).spec;
            let preferred = task.node_affinity.preferred.iter();
            let matching = preferred.filter(|(_, term)| term.matches(&node.name, &node.labels));
            matching.map(|&(weight, _)| i64::from(weight)).sum::<i64>()
        }));
        normalise(scores);
    }
}

/// `TaintToleration`: the fewer `PreferNoSchedule` taints that the task does not tolerate, the better.
#[derive(Default)]
pub struct TaintTolerationScore {
    /// Whether any node has such a taint, as of a change of the nodes. Without any, all nodes score alike.
    any: (Stamp, bool),
}

impl ScoreCandidates for TaintTolerationScore {
    fn name(&self) -> &'static str {
        "TaintToleration"
    }

    fn applies(&mut self, state: &ClusterState, _task: &TaskSpec) -> bool {
        let (seen, any) = self.any;
        if seen == state.node_specs_changed() {
            return any;
        }
        let mut taints = state.nodes().iter().flat_map(|node| &node.spec.taints);
        let any = taints.any(|taint| taint.effect == TaintEffect::PreferNoSchedule);
        self.any = (state.node_specs_changed(), any);
        any
    }

    fn score(&mut self, state: &ClusterState, task: &TaskSpec, candidates: &[NodeId], scores: &mut Vec<i64>) {
        scores.extend(candidates.iter().map(|&node| {
            let taints = state.node(node).spec.taints.iter();
            let soft = taints.filter(|taint| taint.effect == TaintEffect::PreferNoSchedule);
            soft.filter(|taint| !task.tolerations.iter().any(|toleration| toleration.tolerates(taint)))
                .count() as i64
        }));
        normalise_reversed(scores);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::{NoRandom, labels, place};
    use foretell_framework::select::{BestFitGpus, BestNode};
    use foretell_framework::spec::{LabelOperator, LabelRequirement, NodeSelectorTerm, Taint, Toleration};
    use foretell_framework::{NodeSpec, Plugins, Resources};
    use proptest::prelude::*;
    use std::boxed::Box;

    /// CPU in cores and memory in bytes.
    type Amount = (u64, u64);

    fn task((cpu, memory_bytes): Amount) -> TaskSpec {
        TaskSpec { requests: Resources::new(cpu * 1000, memory_bytes), ..TaskSpec::default() }
    }

    /// The score of a newcomer on a node with placed tasks.
    fn check(mut score: impl Score, allocatable: Amount, placed: &[Amount], newcomer: Amount, expected: i64) {
        let mut state = ClusterState::new();
        let allocatable = task(allocatable).requests;
        let node = state.add_node(NodeSpec { allocatable, ..NodeSpec::new("n") }).expect("legal node");
        for &amount in placed {
            place(&mut state, &task(amount), 0);
        }
        let actual = score.score(&state, &task(newcomer), node);
        assert_eq!(actual, expected, "{}: {newcomer:?} beside {placed:?}", score.name());
    }

    /// Source of the first seven rows: `TestLeastAllocatedScoringStrategy`,
    /// `TestMostAllocatedScoringStrategy`.
    #[test]
    fn allocation_scores() {
        let nodes = [(4_000, 10_000), (6_000, 10_000)];
        for (node, placed, newcomer, least, most) in [
            (nodes[0], &[(2_000, 4_000)][..], (1_000, 2_000), 32, 67),
            (nodes[1], &[(1_000, 2_000)], (1_000, 2_000), 63, 36),
            (nodes[0], &[(1_000, 2_000)], (1_000, 2_000), 55, 45),
            (nodes[0], &[], (3_000, 5_000), 37, 62),
            (nodes[1], &[], (3_000, 5_000), 50, 50),
            ((10_000, 50_000), &[(3_000, 5_000)], (3_000, 5_000), 60, 40),
            ((10_000, 20_000), &[(3_000, 5_000)], (3_000, 5_000), 45, 55),
            // Nodes without anything, without memory; a newcomer too large.
            ((0, 0), &[], (1, 1), 0, 0),
            ((10, 0), &[], (1, 0), 90, 10),
            ((10, 1_000), &[], (20, 500), 25, 75),
            // No request counts as 0.1 cores and 200 MiB, for placed tasks too.
            ((1, 1 << 30), &[], (0, 0), 85, 14),
            ((1, 1 << 30), &[(0, 0)], (0, 0), 70, 29),
            ((1, u64::MAX), &[], (0, u64::MAX / 4), 82, 17),
        ] {
            check(LeastAllocated::default(), node, placed, newcomer, least);
            check(MostAllocated::default(), node, placed, newcomer, most);
        }
    }

    /// Source of all rows but the last: `TestNodeResourcesBalancedAllocation`.
    #[test]
    fn balanced_allocation() {
        for (node, placed, newcomer, expected) in [
            ((4, 10_000), &[][..], (0, 0), 0),
            ((10, 20_000), &[(3, 0)], (3, 5_000), 73),
            ((10, 50_000), &[(3, 5_000)], (3, 5_000), 70),
            ((3, 5_000), &[(3, 0)], (0, 5_000), 100),
            ((3, 5_000), &[], (0, 5_000), 50),
            ((6, 10_000), &[(3, 0)], (3, 0), 62),
            ((6, 10_000), &[(3, 5_000)], (3, 0), 62),
            ((10, 0), &[], (5, 0), 75),
        ] {
            check(BalancedAllocation, node, placed, newcomer, expected);
        }
    }

    #[test]
    fn normalising() {
        let check = |scores: &[i64], expected: &[i64], reversed: &[i64]| {
            let (mut up, mut down) = (scores.to_vec(), scores.to_vec());
            normalise(&mut up);
            normalise_reversed(&mut down);
            assert_eq!((&up[..], &down[..]), (expected, reversed), "{scores:?}");
        };
        check(&[1, 2, 3, 4], &[25, 50, 75, 100], &[75, 50, 25, 0]);
        check(&[1000, 10, 20, 30], &[100, 1, 2, 3], &[0, 99, 98, 97]);
        check(&[0, 1, 1, 1], &[0, 100, 100, 100], &[100, 0, 0, 0]);
        check(&[0, 0, 0, 0], &[0, 0, 0, 0], &[100, 100, 100, 100]);
        check(&[], &[], &[]);
    }

    /// Scores of candidates, all nodes of a cluster; `None` if the plugin is left out.
    fn candidate_scores(
        mut plugin: impl ScoreCandidates,
        nodes: impl IntoIterator<Item = NodeSpec>,
        task: &TaskSpec,
    ) -> Option<Vec<i64>> {
        let mut state = ClusterState::new();
        let candidates: Vec<_> =
            nodes.into_iter().map(|node| state.add_node(node).expect("legal node")).collect();
        let mut scores = Vec::new();
        plugin.applies(&state, task).then(|| plugin.score(&state, task, &candidates, &mut scores))?;
        Some(scores)
    }

    #[test]
    fn preferred_node_affinity() {
        let check = |preferred: &[(u32, &str)], nodes: &[&str], expected: Option<&[i64]>| {
            let mut task = TaskSpec::default();
            task.node_affinity.preferred = preferred
                .iter()
                .map(|&(weight, wanted)| {
                    let requirements = labels(wanted).into_iter().map(|(key, value)| LabelRequirement {
                        key,
                        operator: LabelOperator::In(Vec::from([value])),
                    });
                    (weight, NodeSelectorTerm::new(requirements.collect()))
                })
                .collect();
            let nodes = nodes.iter().map(|node| NodeSpec { labels: labels(node), ..NodeSpec::new("n") });
            assert_eq!(candidate_scores(NodeAffinityScore, nodes, &task).as_deref(), expected);
        };
        check(&[], &["foo=bar"], None);
        check(&[(2, "foo=bar")], &["abc=az11,def=az22", "key=value", "az=az1"], Some(&[0, 0, 0]));
        check(
            &[(2, "foo=bar"), (4, "key=value"), (5, "foo=bar,key=value,az=az1")],
            &["foo=bar", "az=az1,foo=bar,key=value", "key=value"],
            Some(&[18, 100, 36]),
        );
        check(
            &[(2, "foo=bar"), (3, "key=value")],
            &["foo=bar", "key=value", "foo=bar,key=value"],
            Some(&[40, 60, 100]),
        );
    }

    #[test]
    fn soft_taints() {
        let check = |tolerated: &[(&str, &str)], nodes: &[&[(&str, &str)]], expected: Option<&[i64]>| {
            let effect = TaintEffect::PreferNoSchedule;
            let tolerations = tolerated.iter().map(|&(key, value)| Toleration {
                key: Some(key.into()),
                value: Some(value.into()),
                effect: Some(effect),
                compares: None,
            });
            let task = TaskSpec { tolerations: tolerations.collect(), ..TaskSpec::default() };
            let nodes = nodes.iter().map(|taints| {
                let taints =
                    taints.iter().map(|&(key, value)| Taint { key: key.into(), value: value.into(), effect });
                NodeSpec { taints: taints.collect(), ..NodeSpec::new("n") }
            });
            assert_eq!(candidate_scores(TaintTolerationScore::default(), nodes, &task).as_deref(), expected);
        };
        let (arm, ssd) = (("cpu-type", "arm64"), ("disk-type", "ssd"));
        check(&[], &[&[], &[]], None);
        check(&[], &[&[], &[arm]], Some(&[100, 0]));
        check(&[arm, ssd], &[&[], &[arm], &[arm, ssd]], Some(&[100, 100, 100]));
        check(&[("foo", "bar")], &[&[], &[arm], &[arm, ssd]], Some(&[100, 50, 0]));
    }

    proptest! {
        /// Scores that are kept and repaired equal those of a plugin that has seen nothing before.
        #[test]
        fn kept_scores_equal_fresh_ones(
            steps in prop::collection::vec((0_usize..4, 0_usize..3, any::<bool>()), 0..60),
        ) {
            let mut state = ClusterState::new();
            for _ in 0..4 {
                let allocatable = Resources::new(64_000, 64 << 30);
                state.add_node(NodeSpec { allocatable, ..NodeSpec::new("n") }).expect("legal node");
            }
            let kinds = [(0, 0), (1, 0), (2, 1 << 30)].map(task);
            let classes = [0, 1, 2].map(|kind| state.class(&kinds[kind]));
            let plugins = || Plugins::new(Box::new(BestNode), Box::new(BestFitGpus))
                .with_filters(crate::filters())
                .with_score(Box::new(LeastAllocated::default()), 1)
                .with_score(Box::new(BalancedAllocation), 1);
            let mut kept = plugins();
            let mut jobs = Vec::new();
            for (node, kind, remove) in steps {
                if remove && !jobs.is_empty() {
                    state.remove_job(jobs.swap_remove(node % jobs.len()));
                } else {
                    jobs.push(place(&mut state, &kinds[kind], node));
                }
                let mut fresh = plugins();
                for node in state.node_ids() {
                    let expected = fresh.ranking(&state, classes[kind]).score(node);
                    prop_assert_eq!(kept.ranking(&state, classes[kind]).score(node), expected);
                }
                let choice = fresh.choose_node(&state, classes[kind], &mut NoRandom);
                prop_assert_eq!(kept.choose_node(&state, classes[kind], &mut NoRandom), choice);
            }
        }
    }
}
