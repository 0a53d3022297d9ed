use super::*;
use crate::test_support::{labels, place};
use foretell_framework::gpu::GpuRequest;
use foretell_framework::spec::{LabelOperator, LabelRequirement, NodeSelectorTerm, Toleration};
use foretell_framework::{GpuModelSet, Resources};

fn check(node: NodeSpec, task: &TaskSpec, expected: Result<(), Rejection>) {
    let mut state = ClusterState::new();
    let id = state.add_node(node).expect("legal node");
    assert_eq!(verdict(&state, task, id), expected, "{task:?} on {:?}", state.node(id).spec);
}

fn verdict(state: &ClusterState, task: &TaskSpec, node: NodeId) -> Result<(), Rejection> {
    let mut filters = crate::filters();
    let mut asked = filters.iter_mut().filter_map(|filter| filter.prepare(state, task).then_some(filter));
    asked.try_for_each(|filter| filter.filter(state, task, node))
}

fn taint(key: &str, value: &str, effect: TaintEffect) -> Taint {
    Taint { key: key.into(), value: value.into(), effect }
}

fn toleration(key: Option<&str>, value: Option<&str>, effect: Option<TaintEffect>) -> Toleration {
    Toleration { key: key.map(Into::into), value: value.map(Into::into), effect, compares: None }
}

#[test]
fn taints() {
    use TaintEffect::{NoExecute, NoSchedule, PreferNoSchedule};
    let rejected = Err(Rejection::UntoleratedTaint);
    let check = |taints: &[Taint], tolerations: &[Toleration], expected| {
        let node = NodeSpec { taints: taints.to_vec(), ..NodeSpec::new("n") };
        check(node, &TaskSpec { tolerations: tolerations.to_vec(), ..TaskSpec::default() }, expected);
    };
    let dedicated = [taint("dedicated", "user1", NoSchedule)];
    check(&[], &[], Ok(()));
    check(&dedicated, &[], rejected);
    check(&dedicated, &[toleration(Some("dedicated"), Some("user1"), Some(NoSchedule))], Ok(()));
    check(&dedicated, &[toleration(Some("dedicated"), Some("user2"), Some(NoSchedule))], rejected);
    check(&dedicated, &[toleration(Some("dedicated"), None, None)], Ok(()));
    check(&dedicated, &[toleration(None, None, None)], Ok(()));
    check(&dedicated, &[toleration(None, None, Some(PreferNoSchedule))], rejected);
    check(&[taint("dedicated", "user1", NoExecute)], &[], rejected);
    check(&[taint("dedicated", "user1", PreferNoSchedule)], &[], Ok(()));
    check(
        &[dedicated[0].clone(), taint("b", "", NoSchedule)],
        &[toleration(Some("dedicated"), None, None)],
        rejected,
    );
}

#[test]
fn cordons() {
    let cordoned = || NodeSpec { unschedulable: true, ..NodeSpec::new("n") };
    let task =
        |tolerations: &[Toleration]| TaskSpec { tolerations: tolerations.to_vec(), ..TaskSpec::default() };
    check(cordoned(), &task(&[]), Err(Rejection::Unschedulable));
    let tolerated = toleration(Some(CORDON_TAINT), None, Some(TaintEffect::NoSchedule));
    check(cordoned(), &task(&[tolerated]), Ok(()));
    check(cordoned(), &task(&[toleration(Some("other"), None, None)]), Err(Rejection::Unschedulable));
}

#[test]
fn selectors_and_affinity() {
    let term = |requirements: &[(&str, LabelOperator)]| {
        let requirements = requirements.iter();
        let requirement = |(key, operator): &(&str, LabelOperator)| LabelRequirement {
            key: (*key).into(),
            operator: operator.clone(),
        };
        NodeSelectorTerm::new(requirements.map(requirement).collect())
    };
    let within = |values: &[&str]| LabelOperator::In(values.iter().map(|&value| value.into()).collect());
    let not_in = |values: &[&str]| LabelOperator::NotIn(values.iter().map(|&value| value.into()).collect());
    let check = |node: &str, selector: &str, required: &[NodeSelectorTerm], fits: bool| {
        let node = NodeSpec { labels: labels(node), ..NodeSpec::new("n") };
        let mut task = TaskSpec { node_selector: labels(selector), ..TaskSpec::default() };
        task.node_affinity.required = required.to_vec();
        check(node, &task, if fits { Ok(()) } else { Err(Rejection::NodeAffinity) });
    };
    check("", "foo=bar", &[], false);
    check("foo=bar", "foo=bar", &[], true);
    check("foo=bar", "foo=bar,baz=blah", &[], false);
    check("foo=bar", "", &[term(&[("foo", within(&["bar", "value2"]))])], true);
    let grid = "GPU=NVIDIA-GRID-K1";
    check(grid, "", &[term(&[("GPU", LabelOperator::Exists), ("GPU", not_in(&["AMD", "INTER"]))])], true);
    check(grid, "", &[term(&[("GPU", LabelOperator::Exists), ("GPU", within(&["AMD", "INTER"]))])], false);
    // Terms are alternatives, and one without requirements matches nothing.
    check("foo=bar", "", &[term(&[("foo", within(&["bar"]))]), term(&[("diff", within(&["x"]))])], true);
    check("foo=bar", "", &[term(&[])], false);
    check("foo=bar", "foo=bar", &[term(&[("foo", LabelOperator::DoesNotExist)])], false);
    check("foo=barrrrrr", "foo=bar", &[term(&[("foo", LabelOperator::Exists)])], false);
    check(
        "cores=64",
        "",
        &[term(&[("cores", LabelOperator::Gt(63)), ("cores", LabelOperator::Lt(65))])],
        true,
    );
    check("cores=many", "", &[term(&[("cores", LabelOperator::Gt(63))])], false);
}

#[test]
fn resources() {
    let mut state = ClusterState::new();
    let (a100, t4) =
        (state.gpu_model("A100").expect("few models"), state.gpu_model("T4").expect("few models"));
    let nic = state.resource("nic");
    let mut spec = NodeSpec { gpus: 2, gpu_model: Some(a100), max_tasks: 2, ..NodeSpec::new("gpus") };
    spec.allocatable = Resources::new(10, 20);
    spec.allocatable.set_extended(nic, 5);
    let node = state.add_node(spec).expect("legal node");
    let plain = state.add_node(NodeSpec::new("plain")).expect("legal node");
    let task = |cpu_milli, memory_bytes, nics, gpus: GpuRequest| {
        let mut task =
            TaskSpec { requests: Resources::new(cpu_milli, memory_bytes), gpus, ..TaskSpec::default() };
        task.requests.set_extended(nic, nics);
        task
    };
    let no_gpu = GpuRequest::default();
    place(&mut state, &task(5, 19, 3, no_gpu), 0);
    let only_t4 = GpuRequest { models: GpuModelSet::from_iter([t4]), ..GpuRequest::whole(1) };
    for (task, expected) in [
        (task(5, 1, 2, no_gpu), Ok(())),
        (task(6, 1, 0, no_gpu), Err(Rejection::InsufficientCpu)),
        (task(5, 2, 0, no_gpu), Err(Rejection::InsufficientMemory)),
        (task(5, 1, 3, no_gpu), Err(Rejection::InsufficientExtended)),
        (task(0, 0, 0, GpuRequest::whole(2)), Ok(())),
        (task(0, 0, 0, GpuRequest::whole(3)), Err(Rejection::TooFewGpus)),
        (task(0, 0, 0, only_t4), Err(Rejection::GpuModel)),
    ] {
        assert_eq!(verdict(&state, &task, node), expected, "{task:?}");
    }
    assert_eq!(verdict(&state, &task(0, 0, 0, GpuRequest::share(500)), plain), Err(Rejection::NoGpu));
    state.set_gpu_healthy(node, 0, false);
    assert_eq!(verdict(&state, &task(0, 0, 0, GpuRequest::whole(2)), node), Err(Rejection::InsufficientGpu));
    place(&mut state, &TaskSpec::default(), 0);
    assert_eq!(verdict(&state, &TaskSpec::default(), node), Err(Rejection::TooManyTasks));
}
