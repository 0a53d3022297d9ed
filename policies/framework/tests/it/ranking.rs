//! Rankings that are kept and repaired equal rankings made anew, whatever happens in between.

use foretell_framework::{
    ClassId, ClusterState, Filter, NodeId, Plugins, Rejection, Rejections, Score, TaskSpec, select::BestNode,
};
use foretell_testkit::generate::{clusters, operations};
use foretell_testkit::placement::{legal, plugins};
use proptest::prelude::*;

/// A score with many ties that depends on everything that a node holds.
struct Mixed;

impl Score for Mixed {
    fn name(&self) -> &'static str {
        "Mixed"
    }

    fn score(&mut self, state: &ClusterState, task: &TaskSpec, node: NodeId) -> i64 {
        let free = state.gpu_free_milli(node).iter().map(|&free| i64::from(free)).sum::<i64>();
        let entry = state.node(node);
        let mixed = free / 250 + entry.cpu_free_milli() as i64 / 1000 * 3 + 7 * entry.tasks().len() as i64;
        mixed * i64::from(task.gpus.count + 1) % 5 - 2
    }
}

/// What a ranking says, recomputed node by node.
#[derive(PartialEq, Debug)]
struct Naive {
    scores: Vec<Option<i64>>,
    best: Option<NodeId>,
    rejections: Rejections,
}

fn naive(state: &ClusterState, class: ClassId) -> Naive {
    let task = state.class_spec(class);
    let mut rejected = vec![0; Rejection::ALL.len()];
    let verdict = |node| legal().iter_mut().try_for_each(|filter| filter.filter(state, task, node));
    let scores: Vec<Option<i64>> = state
        .node_ids()
        .map(|node| match verdict(node) {
            Ok(()) => Some(3 * Mixed.score(state, task, node)),
            Err(rejection) => {
                rejected[rejection as usize] += 1;
                None
            }
        })
        .collect();
    let highest = scores.iter().flatten().max().copied();
    let best = scores.iter().position(|score| score.is_some() && *score == highest).map(NodeId::new);
    let mut counts: Vec<_> =
        Rejection::ALL.into_iter().zip(rejected).filter(|&(_, count)| count > 0).collect();
    counts.sort_by(|(left, more), (right, less)| less.cmp(more).then(left.cmp(right)));
    Naive { scores, best, rejections: Rejections { nodes: state.nodes().len() as u32, counts } }
}

fn check(kept: &mut Plugins, state: &ClusterState, class: ClassId) -> Result<(), TestCaseError> {
    let expected = naive(state, class);
    let ranking = kept.ranking(state, class);
    let scores: Vec<Option<i64>> = state.node_ids().map(|node| ranking.score(node)).collect();
    prop_assert_eq!(ranking.len(), scores.len());
    prop_assert_eq!(ranking.feasible() as usize, scores.iter().flatten().count());
    let feasible: Vec<NodeId> = state.node_ids().filter(|node| scores[node.index()].is_some()).collect();
    for start in [0, scores.len() / 2, scores.len()] {
        let mut rotated = feasible.clone();
        rotated.rotate_left(feasible.iter().filter(|node| node.index() < start).count());
        prop_assert_eq!(ranking.feasible_from(start).collect::<Vec<_>>(), rotated);
    }
    prop_assert_eq!(Naive { scores, best: ranking.best(), rejections: ranking.rejections() }, expected);
    Ok(())
}

fn check_throughout(
    mut state: ClusterState,
    operations: &[foretell_testkit::Operation],
) -> Result<(), TestCaseError> {
    let mut kept = plugins(BestNode).with_score(Box::new(Mixed), 3);
    for (turn, operation) in operations.iter().enumerate() {
        let mut failure = Ok(());
        // Classes take turns, so that some have much to catch up with and others little.
        let mut look = |state: &ClusterState, step: usize| {
            let classes = state.classes().count();
            for class in (0..classes).filter(|class| (class + turn + step).is_multiple_of(3)) {
                if failure.is_ok() {
                    failure = check(&mut kept, state, ClassId::new(class));
                }
            }
        };
        let mut step = 0;
        operation.apply_observed(&mut state, |state| {
            step += 1;
            look(state, step);
        });
        look(&state, 0);
        failure?;
    }
    Ok(())
}

proptest! {
    #[test]
    fn kept_rankings_equal_new_ones(state in clusters(0..6), operations in operations(0..40)) {
        check_throughout(state, &operations)?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    /// More than one block of nodes, and blocks that are partly filled.
    #[test]
    fn kept_rankings_equal_new_ones_in_large_clusters(state in clusters(60..200), operations in operations(0..40)) {
        check_throughout(state, &operations)?;
    }
}

/// A filter that the repair must not ask: nodes' specs have not changed.
struct Counting(std::rc::Rc<std::cell::Cell<u32>>, foretell_framework::Scope);

impl Filter for Counting {
    fn name(&self) -> &'static str {
        "Counting"
    }

    fn scope(&self) -> foretell_framework::Scope {
        self.1
    }

    fn filter(&mut self, _: &ClusterState, _: &TaskSpec, _: NodeId) -> Result<(), Rejection> {
        self.0.set(self.0.get() + 1);
        Ok(())
    }
}

/// The point of keeping a ranking: identical tasks share one pass, and only what changed is asked again.
#[test]
fn only_changed_nodes_are_asked_again() {
    use foretell_framework::{GpuSet, Scope};
    use foretell_testkit::{add_job, cluster, transact};
    let mut state = cluster("a: 8xA100\nb: 8xA100\nc: 8xA100\nd: 8xA100");
    let job = add_job(&mut state, "3 x 1gpu");
    let tasks = state.job(job).unwrap().tasks().to_vec();
    let class = state.task(tasks[0]).unwrap().class;
    let [specs, states] = [0, 0].map(|zero| std::rc::Rc::new(std::cell::Cell::new(zero)));
    let mut kept = plugins(BestNode).with_filters([
        Box::new(Counting(specs.clone(), Scope::NodeSpec)) as Box<dyn Filter>,
        Box::new(Counting(states.clone(), Scope::NodeState)),
    ]);
    let mut look = |state: &ClusterState, expected: (u32, u32)| {
        kept.ranking(state, class);
        assert_eq!((specs.take(), states.take()), expected);
    };
    look(&state, (4, 4));
    look(&state, (0, 0));
    let place = |transaction: &mut foretell_framework::Transaction<'_>, task, node, device| {
        transaction.place(task, NodeId::new(node), GpuSet::single(device)).unwrap();
    };
    transact(&mut state, |transaction| {
        place(transaction, tasks[0], 1, 0);
        look(transaction.state(), (0, 1));
        place(transaction, tasks[1], 1, 1);
        place(transaction, tasks[2], 2, 0);
        look(transaction.state(), (0, 2));
    });
    state.set_gpu_healthy(NodeId::new(3), 0, false);
    look(&state, (0, 1));
}

/// Scores and weights at the edge of their type still rank, and do not turn feasible nodes into infeasible ones.
#[test]
fn absurd_weights_saturate() {
    struct Constant(i64);
    impl Score for Constant {
        fn name(&self) -> &'static str {
            "Constant"
        }

        fn score(&mut self, _: &ClusterState, _: &TaskSpec, node: NodeId) -> i64 {
            if node.index() == 0 { self.0 } else { 0 }
        }
    }
    let mut state = foretell_testkit::cluster("a: cpu=1\nb: cpu=1");
    let spec = foretell_testkit::task_spec(&mut state, "cpu=1");
    let class = state.class(&spec);
    for (score, weight, best) in [
        (i64::MAX, 2, 0),
        (i64::MIN, 2, 1),
        (i64::MIN, 1, 1),
        (i64::MAX, -1, 1),
        (i64::MIN, -1, 0),
        (1, i64::MIN, 1),
    ] {
        let mut kept = plugins(BestNode)
            .with_score(Box::new(Constant(score)), weight)
            .with_score(Box::new(Constant(score)), weight);
        let ranking = kept.ranking(&state, class);
        assert_eq!((ranking.feasible(), ranking.best()), (2, Some(NodeId::new(best))), "{score} * {weight}");
    }
}
