//! Every illegal placement has its error, and changes nothing.

use foretell_framework::{
    ClusterState, EvictionReason, GpuModelId, GpuSet, NodeId, NodeSpec, PlacementError, Resources,
    StateError, TaskId,
};
use foretell_testkit::fixture::devices;
use foretell_testkit::{add_job, add_task, cluster, task_spec, transact};

/// Node 0 of the cluster of this module.
const NODE: NodeId = NodeId::new(0);

fn tight_cluster() -> ClusterState {
    cluster(
        "a: 4xA100 cpu=8 mem=1Gi rdma/nic=2 tasks=3 broken=3 | 0.25gpu@0 cpu=2 mem=256Mi rdma/nic=1, 1gpu@1
         b: cpu=8",
    )
}

fn check(task: &str, node: NodeId, gpus: GpuSet, expected: Result<(), PlacementError>) {
    let mut state = tight_cluster();
    let task = add_task(&mut state, task);
    check_in(&mut state, task, node, gpus, expected);
}

fn check_in(
    state: &mut ClusterState,
    task: TaskId,
    node: NodeId,
    gpus: GpuSet,
    expected: Result<(), PlacementError>,
) {
    let (before, stamp) = (state.clone(), state.stamp());
    let (result, decisions) = transact(state, |transaction| transaction.place(task, node, gpus));
    assert_eq!(result, expected);
    assert_eq!(decisions.len(), usize::from(expected.is_ok()));
    if expected.is_err() {
        assert_eq!((&*state, state.stamp()), (&before, stamp));
    }
}

#[test]
fn each_illegal_placement_has_its_error() {
    use PlacementError as Error;
    let (none, models) = (GpuSet::EMPTY, GpuModelId::new(0));
    check("1gpu cpu=6 mem=768Mi rdma/nic=1", NODE, devices("2"), Ok(()));
    check("0.75gpu", NODE, devices("0"), Ok(()));
    check("1gpu", NodeId::new(2), devices("0"), Err(Error::UnknownNode));
    check("cpu=7", NODE, none, Err(Error::InsufficientCpu { requested_milli: 7000, free_milli: 6000 }));
    let (requested_bytes, free_bytes) = (1 << 30, 768 << 20);
    check("mem=1Gi", NODE, none, Err(Error::InsufficientMemory { requested_bytes, free_bytes }));
    let resource = tight_cluster().resource("rdma/nic");
    check("rdma/nic=2", NODE, none, Err(Error::InsufficientExtended { resource, requested: 2, free: 1 }));
    check("example.com/none=1", NODE, none, {
        let resource = foretell_framework::ResourceId::new(resource.index() + 1);
        Err(Error::InsufficientExtended { resource, requested: 1, free: 0 })
    });
    check("1gpu", NODE, none, Err(Error::WrongGpuCount { requested: 1, given: 0 }));
    check("1gpu", NODE, devices("2+3"), Err(Error::WrongGpuCount { requested: 1, given: 2 }));
    check("cpu=1", NODE, devices("2"), Err(Error::WrongGpuCount { requested: 0, given: 1 }));
    check("1gpu", NODE, devices("4"), Err(Error::UnknownGpu { device: 4 }));
    check("1gpu", NodeId::new(1), devices("0"), Err(Error::UnknownGpu { device: 0 }));
    check("1gpu model=T4", NODE, devices("2"), Err(Error::WrongGpuModel { model: models }));
    check("1gpu", NODE, devices("3"), Err(Error::UnhealthyGpu { device: 3 }));
    check("0.01gpu", NODE, devices("3"), Err(Error::UnhealthyGpu { device: 3 }));
    let full =
        |device, requested_milli, free_milli| Err(Error::GpuFull { device, requested_milli, free_milli });
    check("1gpu", NODE, devices("1"), full(1, 1000, 0));
    check("1gpu", NODE, devices("0"), full(0, 1000, 750));
    check("0.76gpu", NODE, devices("0"), full(0, 760, 750));

    let mut state = tight_cluster();
    let tasks: Vec<TaskId> = state.tasks().map(|(task, _)| task).collect();
    check_in(&mut state, tasks[0], NODE, devices("2"), Err(Error::AlreadyPlaced));
    let (filler, late) = (add_task(&mut state, "cpu=1"), add_task(&mut state, "cpu=1"));
    check_in(&mut state, filler, NODE, none, Ok(()));
    check_in(&mut state, late, NODE, none, Err(Error::TooManyTasks { max: 3 }));
    let job = state.task(late).unwrap().job;
    state.remove_job(job);
    check_in(&mut state, late, NODE, none, Err(Error::UnknownTask));
}

#[test]
fn what_is_not_placed_cannot_be_evicted() {
    let mut state = tight_cluster();
    let job = add_job(&mut state, "1gpu");
    let task = state.job(job).unwrap().tasks()[0];
    let evict = |state: &mut ClusterState| {
        let before = state.clone();
        let (result, decisions) =
            transact(state, |transaction| transaction.evict(task, EvictionReason::Preempted, None));
        assert_eq!((&*state, decisions.len()), (&before, 0));
        result
    };
    assert_eq!(evict(&mut state), Err(PlacementError::NotPlaced));
    assert!(state.remove_job(job).is_some());
    assert_eq!(evict(&mut state), Err(PlacementError::UnknownTask));
    assert_eq!(state.remove_job(job), None);
}

#[test]
fn a_cluster_that_cannot_be_described_is_refused() {
    let mut state = ClusterState::new();
    let model = state.gpu_model("A100").unwrap();
    let with = |gpus, gpu_model| NodeSpec { gpus, gpu_model, ..NodeSpec::new("a") };
    assert_eq!(
        state.add_node(with(65, Some(model))),
        Err(StateError::TooManyGpus { node: "a".into(), gpus: 65 })
    );
    assert_eq!(state.add_node(with(1, None)), Err(StateError::GpuModelMissing { node: "a".into() }));
    assert_eq!(state.add_node(with(0, Some(model))), Err(StateError::GpuModelMissing { node: "a".into() }));
    assert_eq!(state, cluster_with_model("A100"), "nothing was added");
    assert!(state.add_node(with(64, Some(model))).is_ok());
    for index in 1..64 {
        state.gpu_model(&format!("model {index}")).unwrap();
    }
    assert_eq!(state.gpu_model("one more"), Err(StateError::TooManyGpuModels));
    assert_eq!(state.gpu_model("model 63").unwrap().index(), 63);
}

fn cluster_with_model(name: &str) -> ClusterState {
    let mut state = ClusterState::new();
    state.gpu_model(name).unwrap();
    state
}

/// A device belongs to one node: the health of "device 2" of a node with two is not that of the next node's first.
#[test]
fn a_device_that_a_node_lacks_is_nobody_elses() {
    let state = cluster("a: 2xA100\nb: 2xA100");
    let broken = std::panic::catch_unwind(|| {
        let mut state = state.clone();
        state.set_gpu_healthy(NODE, 2, false);
    });
    assert!(broken.is_err());
    assert!(std::panic::catch_unwind(|| state.is_gpu_healthy(NODE, 2)).is_err());
}

/// Amounts at the edge of their types are refused or held, never wrapped.
#[test]
fn absurd_amounts_do_not_overflow() {
    let mut state = ClusterState::new();
    let allocatable = Resources::new(u64::MAX, u64::MAX);
    state.add_node(NodeSpec { allocatable: allocatable.clone(), ..NodeSpec::new("a") }).unwrap();
    for more in [Resources::new(1, 0), Resources::new(0, 1)] {
        let refused = StateError::ResourcesOverflow { node: "b".into() };
        assert_eq!(state.add_node(NodeSpec { allocatable: more, ..NodeSpec::new("b") }), Err(refused));
    }
    assert_eq!((state.nodes().len(), state.allocatable()), (1, &allocatable));
    let mut spec = task_spec(&mut state, "cpu=0");
    spec.requests = allocatable;
    let class = state.class(&spec);
    let job = foretell_testkit::job_spec(&mut state, "2 x cpu=0");
    let job = state.add_job(foretell_framework::JobSpec { tasks: [(class, 2)].into(), ..job });
    let tasks = state.job(job).unwrap().tasks().to_vec();
    check_in(&mut state, tasks[0], NODE, GpuSet::EMPTY, Ok(()));
    let refused = PlacementError::InsufficientCpu { requested_milli: u64::MAX, free_milli: 0 };
    check_in(&mut state, tasks[1], NODE, GpuSet::EMPTY, Err(refused));
}
