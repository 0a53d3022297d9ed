//! One task, one policy: where does it go?

use foretell_framework::select::BestFitGpus;
use foretell_framework::{
    ClusterState, Filter, NodeId, PlaceFailure, Plugins, Rejection, Scope, Score, SelectNode, Session,
    TaskId, TaskSpec, Time,
};
use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;

use crate::fixture::{add_task, cluster};

/// The randomness of a test.
pub fn random(seed: u64) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(seed)
}

/// Plugins that reject what the state would refuse and cordoned nodes, and choose the tightest devices. Scores and
/// more are for the test to add.
pub fn plugins(select_node: impl SelectNode + 'static) -> Plugins {
    Plugins::new(Box::new(select_node), Box::new(BestFitGpus)).with_filters(legal())
}

/// Plugins that take the node with the highest of one score, the smallest id among equals.
pub fn best_by(score: impl Score + 'static) -> Plugins {
    plugins(foretell_framework::select::BestNode).with_score(Box::new(score), 1)
}

/// Filters that say what the state itself would refuse, and cordons.
pub fn legal() -> [Box<dyn Filter>; 2] {
    [Box::new(Suitable), Box::new(Roomy)]
}

/// The part of [`legal`] that looks at what a node is.
struct Suitable;

impl Filter for Suitable {
    fn name(&self) -> &'static str {
        "Suitable"
    }

    fn scope(&self) -> Scope {
        Scope::NodeSpec
    }

    fn filter(&mut self, state: &ClusterState, task: &TaskSpec, node: NodeId) -> Result<(), Rejection> {
        let spec = &state.node(node).spec;
        if spec.unschedulable {
            return Err(Rejection::Unschedulable);
        }
        if task.gpus.count == 0 {
            return Ok(());
        }
        let model = spec.gpu_model.ok_or(Rejection::NoGpu)?;
        if task.gpus.models.allows(model) { Ok(()) } else { Err(Rejection::GpuModel) }
    }
}

/// The part of [`legal`] that looks at what a node holds.
struct Roomy;

impl Filter for Roomy {
    fn name(&self) -> &'static str {
        "Roomy"
    }

    fn scope(&self) -> Scope {
        Scope::NodeState
    }

    fn filter(&mut self, state: &ClusterState, task: &TaskSpec, node: NodeId) -> Result<(), Rejection> {
        state.node(node).check_resources(&task.requests)?;
        if task.gpus.fits(state.gpu_free_milli(node)) { Ok(()) } else { Err(Rejection::InsufficientGpu) }
    }
}

/// Places a waiting task. Panics if the policy chose an illegal placement.
pub fn place(state: &mut ClusterState, plugins: &mut Plugins, task: TaskId) -> Option<NodeId> {
    let (mut random, mut decisions) = (random(0), Vec::new());
    let mut session = Session::new(state, Time::ZERO, &mut random, &mut decisions);
    let (mut transaction, random) = session.begin();
    match plugins.place(&mut transaction, task, random) {
        Ok(node) => {
            transaction.commit();
            Some(node)
        }
        Err(PlaceFailure::NoNode) => None,
        Err(failure) => panic!("the policy chose an illegal placement: {failure:?}"),
    }
}

/// Where a task is: `a@0+2` is node `a`, devices 0 and 2; `a` has no devices; `nowhere` if it is not placed.
pub fn where_placed(state: &ClusterState, task: TaskId) -> String {
    let Some(placement) = state.task(task).and_then(|task| task.placement()) else { return "nowhere".into() };
    let name = &state.node(placement.node).spec.name;
    if placement.gpus.is_empty() {
        return name.to_string();
    }
    let devices: Vec<String> = placement.gpus.iter().map(|device| device.to_string()).collect();
    format!("{name}@{}", devices.join("+"))
}

/// Checks where a policy places a task on a cluster; everything as [`crate::fixture`] and [`where_placed`] write it.
#[track_caller]
pub fn check_placement(cluster_text: &str, mut plugins: Plugins, task: &str, expected: &str) {
    let mut state = cluster(cluster_text);
    let id = add_task(&mut state, task);
    place(&mut state, &mut plugins, id);
    assert_eq!(where_placed(&state, id), expected, "task `{task}` on\n{cluster_text}");
}
