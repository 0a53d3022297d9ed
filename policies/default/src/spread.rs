//! `PodTopologySpread` for `ScheduleAnyway` constraints.

use alloc::vec::Vec;

use foretell_framework::spec::{NodeSelectorTerm, TopologySpreadConstraint};
use foretell_framework::{ClassId, ClusterState, Labels, NodeId, ScoreCandidates, Stamp, TaskSpec};

use crate::filters::node_matches;
use crate::scores::MAX_NODE_SCORE;

const HOSTNAME_LABEL: &str = "kubernetes.io/hostname";

/// How many sets of constraints are kept counted; beyond, the one not asked for the longest is counted anew
/// when it is.
const MAX_SPREADS: usize = 64;

/// Prefers nodes in topology domains with few tasks of the kind that is to be spread. Nodes that lack a label
/// to spread over score 0.
///
/// Tasks are counted once and then only where nodes changed.
#[derive(Default)]
pub struct PodTopologySpread {
    /// The one asked for last comes first.
    spreads: Vec<Spread>,
}

impl ScoreCandidates for PodTopologySpread {
    fn name(&self) -> &'static str {
        "PodTopologySpread"
    }

    fn applies(&mut self, _state: &ClusterState, task: &TaskSpec) -> bool {
        !task.topology_spread.is_empty()
    }

    fn score(&mut self, state: &ClusterState, task: &TaskSpec, candidates: &[NodeId], scores: &mut Vec<i64>) {
        let position = self.spreads.iter().position(|spread| spread.is_for(task)).unwrap_or_else(|| {
            self.spreads.truncate(MAX_SPREADS - 1);
            self.spreads.push(Spread::new(task));
            self.spreads.len() - 1
        });
        self.spreads[..=position].rotate_right(1);
        let spread = &mut self.spreads[0];
        spread.refresh(state, task);
        spread.score(candidates, scores);
    }
}

/// The tasks that some constraints count, for all newcomers with these constraints, selector and affinity.
struct Spread {
    node_selector: Labels,
    required: Vec<NodeSelectorTerm>,
    constraints: Vec<Constraint>,
    seen: Stamp,
    /// Whether a node counts: it has the labels to spread over and the newcomer may go there.
    eligible: Vec<bool>,
}

struct Constraint {
    spec: TopologySpreadConstraint,
    /// Whether tasks of a class count; `None` where nobody asked yet.
    counts_class: Vec<Option<bool>>,
    /// Counted tasks on each node.
    on_node: Vec<u32>,
    /// Index of each node's domain; meaningless for nodes that are not eligible.
    domain_of: Vec<u32>,
    /// Counted tasks on the eligible nodes of each domain.
    in_domain: Vec<u32>,
    /// The last search that met the domain.
    met: Vec<u64>,
    searches: u64,
}

impl Spread {
    fn new(task: &TaskSpec) -> Self {
        let constraints = task.topology_spread.iter().map(|spec| Constraint {
            spec: spec.clone(),
            counts_class: Vec::new(),
            on_node: Vec::new(),
            domain_of: Vec::new(),
            in_domain: Vec::new(),
            met: Vec::new(),
            searches: 0,
        });
        Self {
            node_selector: task.node_selector.clone(),
            required: task.node_affinity.required.clone(),
            constraints: constraints.collect(),
            seen: Stamp::ZERO,
            eligible: Vec::new(),
        }
    }

    fn is_for(&self, task: &TaskSpec) -> bool {
        self.constraints.iter().map(|constraint| &constraint.spec).eq(&task.topology_spread)
            && self.node_selector == task.node_selector
            && self.required == task.node_affinity.required
    }

    fn refresh(&mut self, state: &ClusterState, task: &TaskSpec) {
        if self.eligible.len() != state.nodes().len() || self.seen < state.node_specs_changed() {
            self.count_all(state, task);
        } else {
            for node in state.changed_since(self.seen) {
                for constraint in &mut self.constraints {
                    constraint.count_again(state, node, self.eligible[node.index()]);
                }
            }
        }
        self.seen = state.stamp();
    }

    fn count_all(&mut self, state: &ClusterState, task: &TaskSpec) {
        let constraints = &mut self.constraints;
        self.eligible.clear();
        self.eligible.extend(state.nodes().iter().map(|node| {
            let labels = &node.spec.labels;
            constraints.iter().all(|constraint| labels.contains_key(&constraint.spec.topology_key))
                && node_matches(&node.spec, task)
        }));
        for constraint in constraints {
            constraint.count_all(state, &self.eligible);
        }
    }

    /// kube-scheduler's score and its normalisation: the most crowded candidates get the least.
    fn score(&mut self, candidates: &[NodeId], scores: &mut Vec<i64>) {
        let eligible = |node: NodeId| self.eligible[node.index()];
        let count = candidates.iter().filter(|&&node| eligible(node)).count();
        let weights: Vec<f64> = self
            .constraints
            .iter_mut()
            .map(|constraint| {
                let domains = if constraint.is_hostname() {
                    count
                } else {
                    constraint.domains_of(candidates.iter().copied().filter(|&node| eligible(node)))
                };
                libm::log(domains as f64 + 2.0)
            })
            .collect();
        let raw = |node: NodeId| {
            let parts = self.constraints.iter().zip(&weights).map(|(constraint, weight)| {
                f64::from(constraint.count(node)) * weight
                    + f64::from(constraint.spec.max_skew.saturating_sub(1))
            });
            libm::round(parts.sum()) as i64
        };
        scores.extend(candidates.iter().map(|&node| if eligible(node) { raw(node) } else { 0 }));
        let rated =
            || candidates.iter().zip(scores.iter()).filter(|&(&node, _)| eligible(node)).map(|(_, raw)| *raw);
        let (lowest, highest) = (rated().min().unwrap_or(0), rated().max().unwrap_or(0));
        for (score, &node) in scores.iter_mut().zip(candidates) {
            if eligible(node) {
                *score = if highest == 0 {
                    MAX_NODE_SCORE
                } else {
                    MAX_NODE_SCORE * (highest + lowest - *score) / highest
                };
            }
        }
    }
}

impl Constraint {
    fn is_hostname(&self) -> bool {
        *self.spec.topology_key == *HOSTNAME_LABEL
    }

    fn count_all(&mut self, state: &ClusterState, eligible: &[bool]) {
        let mut domains: Vec<&str> = Vec::new();
        let value = |node: NodeId| state.node(node).spec.labels.get(&self.spec.topology_key);
        domains.extend(state.node_ids().filter_map(value).map(AsRef::as_ref));
        domains.sort_unstable();
        domains.dedup();
        let index = |node: NodeId| {
            let found = value(node).and_then(|value| domains.binary_search(&value.as_ref()).ok());
            found.unwrap_or_default() as u32
        };
        self.domain_of = state.node_ids().map(index).collect();
        self.in_domain = alloc::vec![0; domains.len()];
        self.met = alloc::vec![0; domains.len()];
        self.on_node = alloc::vec![0; eligible.len()];
        for node in state.node_ids() {
            self.count_again(state, node, eligible[node.index()]);
        }
    }

    fn count_again(&mut self, state: &ClusterState, node: NodeId, eligible: bool) {
        let tasks = state.node(node).tasks().iter().filter_map(|&task| state.task(task));
        let count = tasks.filter(|task| self.counts(state, task.class)).count() as u32;
        let before = core::mem::replace(&mut self.on_node[node.index()], count);
        if eligible {
            let domain = &mut self.in_domain[self.domain_of[node.index()] as usize];
            *domain = *domain - before + count;
        }
    }

    fn counts(&mut self, state: &ClusterState, class: ClassId) -> bool {
        if self.counts_class.len() <= class.index() {
            self.counts_class.resize(class.index() + 1, None);
        }
        let spec = &self.spec;
        *self.counts_class[class.index()].get_or_insert_with(|| spec.counts(&state.class_spec(class).labels))
    }

    /// Number of distinct domains of nodes that have the label.
    fn domains_of(&mut self, nodes: impl Iterator<Item = NodeId>) -> usize {
        self.searches += 1;
        let mut domains = 0;
        for node in nodes {
            let met = &mut self.met[self.domain_of[node.index()] as usize];
            domains += usize::from(*met != self.searches);
            *met = self.searches;
        }
        domains
    }

    fn count(&self, node: NodeId) -> u32 {
        if self.is_hostname() {
            self.on_node[node.index()]
        } else {
            self.in_domain[self.domain_of[node.index()] as usize]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::{labels, place};
    use foretell_framework::spec::{LabelOperator, LabelRequirement};
    use foretell_framework::{LabelSelector, NodeSpec};
    use proptest::prelude::*;

    const HOST: &str = HOSTNAME_LABEL;

    fn newcomer(constraints: &[(&str, u32, &str)]) -> TaskSpec {
        let topology_spread = constraints.iter().map(|&(key, max_skew, selector)| TopologySpreadConstraint {
            topology_key: key.into(),
            max_skew,
            selector: Some(LabelSelector::of_labels(&labels(selector))),
            honours_node_affinity: true,
            ..TopologySpreadConstraint::default()
        });
        TaskSpec { topology_spread: topology_spread.collect(), ..TaskSpec::default() }
    }

    /// Nodes with their labels and those of the tasks on them.
    fn cluster(nodes: &[(&str, &[&str])]) -> ClusterState {
        let mut state = ClusterState::new();
        for (index, (node, tasks)) in nodes.iter().enumerate() {
            state.add_node(NodeSpec { labels: labels(node), ..NodeSpec::new("n") }).expect("legal node");
            for task in *tasks {
                place(&mut state, &TaskSpec { labels: labels(task), ..TaskSpec::default() }, index);
            }
        }
        state
    }

    fn scores(
        plugin: &mut PodTopologySpread,
        state: &ClusterState,
        task: &TaskSpec,
        nodes: &[usize],
    ) -> Vec<i64> {
        let candidates: Vec<_> = nodes.iter().copied().map(NodeId::new).collect();
        let mut scores = Vec::new();
        plugin.score(state, task, &candidates, &mut scores);
        scores
    }

    fn check(nodes: &[(&str, &[&str])], task: &TaskSpec, candidates: &[usize], expected: &[i64]) {
        let actual = scores(&mut PodTopologySpread::default(), &cluster(nodes), task, candidates);
        assert_eq!(actual, expected, "{nodes:?}");
    }

    /// Source: the table of `TestPodTopologySpreadScore`.
    #[test]
    fn one_constraint() {
        let hosts = ["a", "b", "c", "d"].map(|host| std::format!("{HOST}={host}"));
        let check = |counts: &[usize], skew, selector, expected: &[i64]| {
            let tasks = counts.iter().map(|&count| &["foo="; 4][..count]);
            let nodes: Vec<_> = hosts.iter().map(AsRef::as_ref).zip(tasks).collect();
            let candidates: Vec<_> = (0..nodes.len()).collect();
            check(&nodes, &newcomer(&[(HOST, skew, selector)]), &candidates, expected);
        };
        check(&[0, 0], 1, "foo=", &[100, 100]);
        check(&[1, 1], 1, "foo=", &[100, 100]);
        check(&[2, 1, 0, 3], 1, "foo=", &[20, 60, 100, 0]);
        check(&[4, 3, 2, 1], 3, "foo=", &[44, 66, 77, 100]);
        // An empty selector counts nothing.
        check(&[2, 1, 0, 3], 1, "", &[100, 100, 100, 100]);
    }

    #[test]
    fn several_constraints() {
        let (foo, both, bar) = ("foo=", "foo=,bar=", "bar=");
        // Tasks on nodes that are no candidates count for their zone.
        check(
            &[("zone=1", &[both, foo]), ("zone=2", &[]), ("zone=1", &[both]), ("zone=2", &[foo, both, foo])],
            &newcomer(&[("zone", 1, foo), ("zone", 1, bar)]),
            &[0, 1],
            &[85, 100],
        );
        let host = |host: &str, zone: &str| std::format!("zone={zone},{HOST}={host}");
        let [a, b, c, d] = [host("a", "1"), host("b", "1"), host("c", "2"), host("d", "2")];
        let zone_and_host = newcomer(&[("zone", 1, foo), (HOST, 1, bar)]);
        check(
            &[(&a, &[foo]), (&b, &[both]), (&c, &[]), (&d, &[foo, bar])],
            &zone_and_host,
            &[0, 1, 2],
            &[50, 25, 100],
        );
        check(
            &[(&a, &[foo]), (&b, &[both]), (&c, &[foo, bar]), (&d, &[])],
            &zone_and_host,
            &[0, 1, 2, 3],
            &[60, 20, 60, 100],
        );
        check(
            &[("n=a", &[foo, foo]), ("n=b", &[foo, foo]), ("n=c", &[foo])],
            &newcomer(&[("n", 2, foo)]),
            &[0, 1, 2],
            &[75, 75, 100],
        );
        // Nodes without a label to spread over score 0 and do not count.
        check(
            &[("n=a", &[foo]), ("n=b", &[]), ("", &[foo])],
            &newcomer(&[("n", 1, foo)]),
            &[0, 1, 2],
            &[0, 100, 0],
        );
    }

    #[test]
    fn only_nodes_that_the_task_may_use_count() {
        let task = TaskSpec { node_selector: labels("mine="), ..newcomer(&[("zone", 1, "foo=")]) };
        let nodes: [(&str, &[&str]); 4] = [
            ("zone=1,mine=", &[]),
            ("zone=1", &["foo=", "foo="]),
            ("zone=2,mine=", &["foo="]),
            ("zone=2", &[]),
        ];
        check(&nodes, &task, &[0, 2], &[100, 0]);
    }

    proptest! {
        /// Counts that are kept and repaired equal those of a plugin that has seen nothing before.
        #[test]
        fn kept_counts_equal_fresh_ones(
            steps in prop::collection::vec((0_usize..5, 0_usize..4, any::<bool>()), 0..60),
        ) {
            let nodes = ["zone=1,n=a", "zone=1,n=b", "zone=2,n=c", "zone=3", ""];
            let mut state = cluster(&nodes.map(|node| (node, &[][..])));
            let tasks = ["foo=", "foo=,bar=", "bar=", ""]
                .map(|text| TaskSpec { labels: labels(text), ..TaskSpec::default() });
            let plain = newcomer(&[("zone", 1, "foo=")]);
            let mut with_affinity = plain.clone();
            let requirement = LabelRequirement { key: "n".into(), operator: LabelOperator::DoesNotExist };
            let term = NodeSelectorTerm::new(Vec::from([requirement]));
            with_affinity.node_affinity.required.push(term);
            let newcomers = [
                newcomer(&[("n", 2, "foo="), ("zone", 1, "bar=")]),
                TaskSpec { node_selector: labels("n=a"), ..plain.clone() },
                with_affinity,
                plain,
            ];
            let mut kept = PodTopologySpread::default();
            let mut jobs = Vec::new();
            for (node, kind, remove) in steps {
                if remove && !jobs.is_empty() {
                    state.remove_job(jobs.swap_remove(node % jobs.len()));
                } else {
                    jobs.push(place(&mut state, &tasks[kind], node));
                }
                let newcomer = &newcomers[kind];
                let expected = scores(&mut PodTopologySpread::default(), &state, newcomer, &[0, 1, 2, 3, 4]);
                prop_assert_eq!(scores(&mut kept, &state, newcomer, &[0, 1, 2, 3, 4]), expected);
            }
        }
    }
}
