use std::vec;
use std::vec::Vec;

use foretell_framework::state::DisruptionBudget;
use foretell_framework::{
    Decision, JobId, LabelSelector, NodeSpec, Resources, Session, TaskDetails, TaskSpec,
};
use proptest::prelude::*;

use super::*;
use crate::DefaultConfig;
use crate::test_support::{NoRandom, add_job, labels};

/// Draws nothing but zeros.
struct Zeros;

impl rand::TryRng for Zeros {
    type Error = core::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        Ok(0)
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        Ok(0)
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Self::Error> {
        bytes.fill(0);
        Ok(())
    }
}

/// A placed task: node, cores, priority, start in seconds, value of label `app`.
type Placed = (usize, u64, i32, f64, &'static str);

fn cores(cores: u64, app: &str) -> TaskSpec {
    let requests = Resources::new(cores * 1000, 0);
    let text = std::format!("app={app}");
    let labels = if app.is_empty() { labels("") } else { labels(&text) };
    TaskSpec { requests, labels, ..TaskSpec::default() }
}

/// Nodes of ten cores with tasks, and a waiting task; ids of placed tasks in order.
fn cluster(
    nodes: usize,
    placed: &[Placed],
    newcomer: &TaskSpec,
    priority: i32,
) -> (ClusterState, Vec<TaskId>, TaskId) {
    let mut state = ClusterState::new();
    for index in 0..nodes {
        let allocatable = Resources::new(10_000, 1 << 30);
        let name = std::format!("n{index}");
        state.add_node(NodeSpec { allocatable, ..NodeSpec::new(name) }).expect("legal node");
    }
    let tasks = placed.iter().map(|&(node, amount, priority, start_s, app)| {
        let task = waiting(&mut state, &cores(amount, app), priority);
        let started = Some(Time::from_s(start_s));
        state.set_task_details(task, TaskDetails { priority, started, ..TaskDetails::default() });
        state.observe_task(task, NodeId::new(node), None, TaskStatus::Running);
        task
    });
    let tasks: Vec<_> = tasks.collect();
    let newcomer = waiting(&mut state, newcomer, priority);
    (state, tasks, newcomer)
}

fn waiting(state: &mut ClusterState, spec: &TaskSpec, priority: i32) -> TaskId {
    let class = state.class(spec);
    let job: JobId = add_job(state, 0, class, 1, priority, Time::ZERO);
    state.job(job).expect("just added").tasks()[0]
}

/// Preempts, and returns the node and the positions of the victims.
fn run(state: &mut ClusterState, tasks: &[TaskId], newcomer: TaskId) -> (Option<usize>, Vec<usize>) {
    let mut plugins = crate::plugins(&DefaultConfig::default());
    let (mut random, mut decisions) = (Zeros, Vec::new());
    let mut session = Session::new(state, Time::from_s(1000.0), &mut random, &mut decisions);
    let now = session.now;
    let (mut transaction, random) = session.begin();
    let node = preempt(&PreemptionConfig::default(), &mut plugins, &mut transaction, random, newcomer, now);
    transaction.commit();
    let victims = decisions.iter().filter_map(|decision| match decision {
        Decision::Evict { task, beneficiary, .. } => {
            assert_eq!(*beneficiary, Some(newcomer));
            tasks.iter().position(|known| known == task)
        }
        _ => None,
    });
    (node.map(NodeId::index), victims.collect())
}

fn check(placed: &[Placed], newcomer: u64, expected: (Option<usize>, &[usize])) {
    let nodes = 1 + placed.iter().map(|placed| placed.0).max().unwrap_or(0);
    let (mut state, tasks, newcomer) = cluster(nodes, placed, &cores(newcomer, ""), 10);
    let (node, victims) = run(&mut state, &tasks, newcomer);
    assert_eq!((node, &victims[..]), expected, "{placed:?}");
    assert_eq!(state.task(newcomer).and_then(foretell_framework::Task::nominated).map(NodeId::index), node);
}

#[test]
fn the_node_that_hurts_least_is_chosen() {
    // Nobody of lower priority; not enough even without them.
    check(&[(0, 10, 10, 0.0, "")], 5, (None, &[]));
    check(&[(0, 6, 10, 0.0, ""), (0, 4, 0, 0.0, "")], 5, (None, &[]));
    // What can stay stays, the most important first.
    check(&[(0, 5, 1, 0.0, ""), (0, 5, 2, 0.0, "")], 5, (Some(0), &[0]));
    check(&[(0, 5, 1, 7.0, ""), (0, 5, 1, 3.0, "")], 5, (Some(0), &[0]));
    check(&[(0, 2, 3, 0.0, ""), (0, 5, 2, 0.0, ""), (0, 3, 1, 0.0, "")], 5, (Some(0), &[1]));
    // The lowest top priority, the smallest sum, the fewest, the latest start, the first.
    check(&[(0, 10, 5, 0.0, ""), (1, 10, 4, 0.0, "")], 5, (Some(1), &[1]));
    check(
        &[(0, 6, 4, 0.0, ""), (0, 4, 3, 0.0, ""), (1, 6, 4, 0.0, ""), (1, 4, 2, 0.0, "")],
        10,
        (Some(1), &[2, 3]),
    );
    check(&[(0, 5, -9, 0.0, ""), (0, 5, -9, 0.0, ""), (1, 10, -9, 0.0, "")], 10, (Some(1), &[2]));
    check(&[(0, 10, 1, 3.0, ""), (1, 10, 1, 5.0, "")], 5, (Some(1), &[1]));
    check(&[(0, 10, 1, 3.0, ""), (1, 10, 1, 3.0, "")], 5, (Some(0), &[0]));
}

#[test]
fn budgets_are_spared_where_that_is_possible() {
    let placed = [(0, 10, 1, 0.0, "web"), (1, 10, 5, 0.0, "")];
    let (mut state, tasks, newcomer) = cluster(2, &placed, &cores(5, ""), 10);
    let budget = |allowed| DisruptionBudget {
        selector: Some(LabelSelector::of_labels(&labels("app=web"))),
        disruptions_allowed: allowed,
        ..DisruptionBudget::default()
    };
    let mut twin = state.clone();
    state.objects_mut().disruption_budgets = vec![budget(0)];
    assert_eq!(run(&mut state, &tasks, newcomer), (Some(1), vec![1]));
    twin.objects_mut().disruption_budgets = vec![budget(1)];
    assert_eq!(run(&mut twin, &tasks, newcomer), (Some(0), vec![0]));
}

#[test]
fn room_that_is_being_made_is_waited_for() {
    let placed = [(0, 10, 1, 0.0, ""), (1, 10, 1, 0.0, "")];
    let (mut state, tasks, newcomer) = cluster(2, &placed, &cores(5, ""), 10);
    assert_eq!(run(&mut state, &tasks, newcomer), (Some(0), vec![0]));
    assert_eq!(run(&mut state, &tasks, newcomer), (None, vec![]));
    assert_eq!(state.task(newcomer).and_then(foretell_framework::Task::nominated), Some(NodeId::new(0)));
    // Its node is out of the question: it looks for another.
    state.set_unschedulable(NodeId::new(0), true);
    assert_eq!(run(&mut state, &tasks, newcomer), (Some(1), vec![1]));
    // No room can be made any more.
    state.set_unschedulable(NodeId::new(1), true);
    assert_eq!(run(&mut state, &tasks, newcomer), (None, vec![]));
    assert_eq!(state.task(newcomer).and_then(foretell_framework::Task::nominated), None);
}

#[test]
fn tasks_that_never_preempt_do_not() {
    let never = TaskSpec { never_preempts: true, ..cores(5, "") };
    let (mut state, tasks, newcomer) = cluster(1, &[(0, 10, 1, 0.0, "")], &never, 10);
    assert_eq!(run(&mut state, &tasks, newcomer), (None, vec![]));
}

#[test]
fn lower_nominations_on_the_node_are_cleared() {
    let (mut state, tasks, newcomer) = cluster(1, &[(0, 10, 1, 0.0, "")], &cores(10, ""), 10);
    let lower = waiting(&mut state, &cores(10, ""), 5);
    assert_eq!(run(&mut state, &tasks, lower), (Some(0), vec![0]));
    assert_eq!(run(&mut state, &tasks, newcomer), (Some(0), vec![]));
    assert_eq!(state.node(NodeId::new(0)).nominated(), [newcomer]);
}

#[test]
fn a_node_is_kept_for_those_nominated_to_it() {
    // The second node is the emptier one; a task of higher, equal or lower priority is nominated to it.
    for (priority, newcomer_node, nominee_node) in [(11, 0, 1), (10, 0, 1), (9, 1, 0)] {
        let (mut state, _, newcomer) = cluster(2, &[(0, 1, 0, 0.0, "")], &cores(9, ""), 10);
        let nominee = waiting(&mut state, &cores(5, ""), priority);
        let mut plugins = crate::plugins(&DefaultConfig::default());
        let (mut random, mut decisions) = (NoRandom, Vec::new());
        let mut session = Session::new(&mut state, Time::ZERO, &mut random, &mut decisions);
        let (mut transaction, random) = session.begin();
        transaction.nominate(nominee, Some(NodeId::new(1))).expect("it waits");
        let mut place = |task| plugins.place(&mut transaction, task, random).map(NodeId::index);
        assert_eq!((place(newcomer), place(nominee)), (Ok(newcomer_node), Ok(nominee_node)), "{priority}");
    }
}

proptest! {
    /// The victims of every candidate are enough and none of them is needless: with all of them gone the task fits, and
    /// with any one of them back it does not.
    #[test]
    fn victims_are_minimal(
        placed in prop::collection::vec((0_usize..3, 1_u64..6, 0_i32..4, 0_u32..5), 0..14),
        newcomer in 1_u64..11,
    ) {
        let placed: Vec<Placed> =
            placed.into_iter().map(|(node, cores, priority, start)| (node, cores, priority, f64::from(start), "")).collect();
        let (mut state, _, newcomer) = cluster(3, &placed, &cores(newcomer, ""), 3);
        let before = state.clone();
        let mut plugins = crate::plugins(&DefaultConfig::default());
        let (mut random, mut decisions) = (NoRandom, Vec::new());
        let mut session = Session::new(&mut state, Time::from_s(9.0), &mut random, &mut decisions);
        let (mut transaction, _) = session.begin();
        let nodes: Vec<_> = transaction.state().node_ids().collect();
        let mut passes = |transaction: &mut Transaction<'_>, node: NodeId| {
            let state = transaction.state();
            plugins.filter_node(state, state.task_spec(newcomer).expect("it waits"), node).is_ok()
        };
        let dry_run = DryRun { task: newcomer, wanted: 3, now: Time::from_s(9.0) };
        let fitting: Vec<_> = nodes.iter().copied().filter(|&node| passes(&mut transaction, node)).collect();
        let nodes: Vec<_> = nodes.into_iter().filter(|node| !fitting.contains(node)).collect();
        for candidate in dry_run.run(&mut transaction, &nodes, 1, &mut passes) {
            prop_assert!(!candidate.victims.is_empty());
            for spared in 0..=candidate.victims.len() {
                let savepoint = transaction.savepoint();
                for (position, &victim) in candidate.victims.iter().enumerate() {
                    if position != spared {
                        transaction.remove(victim).expect("it is placed");
                    }
                }
                prop_assert_eq!(passes(&mut transaction, candidate.node), spared == candidate.victims.len());
                transaction.rollback_to(savepoint);
            }
        }
        drop(transaction);
        prop_assert!(state == before, "a dry run leaves no trace");
    }
}
