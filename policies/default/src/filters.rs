//! The filters of kube-scheduler's default profile that look at one node.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use foretell_framework::spec::{Taint, TaintEffect};
use foretell_framework::{ClusterState, Filter, NodeId, NodeSpec, Rejection, Scope, TaskSpec};

/// All of them, in kube-scheduler's order: a node stops at its first failing filter, which gives the reason.
pub fn filters() -> Vec<Box<dyn Filter>> {
    vec![
        Box::new(NodeUnschedulable),
        Box::new(TaintToleration),
        Box::new(NodeAffinity),
        Box::new(GpuModel),
        Box::new(NodeResourcesFit),
    ]
}

/// Cordoned nodes take no new tasks, except those that tolerate the taint that stands for a cordon.
pub struct NodeUnschedulable;

/// The taint that Kubernetes puts on cordoned nodes.
const CORDON_TAINT: &str = "node.kubernetes.io/unschedulable";

impl Filter for NodeUnschedulable {
    fn name(&self) -> &'static str {
        "NodeUnschedulable"
    }

    fn scope(&self) -> Scope {
        Scope::NodeSpec
    }

    fn filter(&mut self, state: &ClusterState, task: &TaskSpec, node: NodeId) -> Result<(), Rejection> {
        if !state.node(node).spec.unschedulable {
            return Ok(());
        }
        let taint = Taint { key: CORDON_TAINT.into(), value: "".into(), effect: TaintEffect::NoSchedule };
        let tolerated = task.tolerations.iter().any(|toleration| toleration.tolerates(&taint));
        if tolerated { Ok(()) } else { Err(Rejection::Unschedulable) }
    }
}

/// Taints with effect `NoSchedule` or `NoExecute` keep off tasks that do not tolerate them.
pub struct TaintToleration;

impl Filter for TaintToleration {
    fn name(&self) -> &'static str {
        "TaintToleration"
    }

    fn scope(&self) -> Scope {
        Scope::NodeSpec
    }

    fn filter(&mut self, state: &ClusterState, task: &TaskSpec, node: NodeId) -> Result<(), Rejection> {
        let tolerated = state.node(node).spec.taints.iter().all(|taint| {
            taint.effect == TaintEffect::PreferNoSchedule
                || task.tolerations.iter().any(|toleration| toleration.tolerates(taint))
        });
        if tolerated { Ok(()) } else { Err(Rejection::UntoleratedTaint) }
    }
}

/// The node's labels must meet the task's node selector and required node affinity.
pub struct NodeAffinity;

impl Filter for NodeAffinity {
    fn name(&self) -> &'static str {
        "NodeAffinity"
    }

    fn scope(&self) -> Scope {
        Scope::NodeSpec
    }

    fn filter(&mut self, state: &ClusterState, task: &TaskSpec, node: NodeId) -> Result<(), Rejection> {
        if node_matches(&state.node(node).spec, task) { Ok(()) } else { Err(Rejection::NodeAffinity) }
    }
}

/// Whether a node meets a task's node selector and required node affinity.
pub(crate) fn node_matches(node: &NodeSpec, task: &TaskSpec) -> bool {
    task.node_selector.iter().all(|(key, value)| node.labels.get(key) == Some(value))
        && task.node_affinity.matches(&node.name, &node.labels)
}

/// A GPU task needs a node with enough devices of a model that it accepts.
pub struct GpuModel;

impl Filter for GpuModel {
    fn name(&self) -> &'static str {
        "GpuModel"
    }

    fn scope(&self) -> Scope {
        Scope::NodeSpec
    }

    fn filter(&mut self, state: &ClusterState, task: &TaskSpec, node: NodeId) -> Result<(), Rejection> {
        if task.gpus.count == 0 {
            return Ok(());
        }
        let spec = &state.node(node).spec;
        let model = spec.gpu_model.ok_or(Rejection::NoGpu)?;
        if !task.gpus.models.allows(model) {
            Err(Rejection::GpuModel)
        } else if spec.gpus < task.gpus.count {
            Err(Rejection::TooFewGpus)
        } else {
            Ok(())
        }
    }
}

/// Enough of every requested resource must be free: task slots, CPU, memory, extended resources, and devices
/// that have the requested share left.
pub struct NodeResourcesFit;

impl Filter for NodeResourcesFit {
    fn name(&self) -> &'static str {
        "NodeResourcesFit"
    }

    fn scope(&self) -> Scope {
        Scope::NodeState
    }

    fn filter(&mut self, state: &ClusterState, task: &TaskSpec, node: NodeId) -> Result<(), Rejection> {
        state.node(node).check_resources(&task.requests)?;
        if task.gpus.fits(state.gpu_free_milli(node)) { Ok(()) } else { Err(Rejection::InsufficientGpu) }
    }
}

#[cfg(test)]
mod tests {
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
        filters().iter_mut().try_for_each(|filter| filter.filter(state, task, node))
    }

    fn taint(key: &str, value: &str, effect: TaintEffect) -> Taint {
        Taint { key: key.into(), value: value.into(), effect }
    }

    fn toleration(key: Option<&str>, value: Option<&str>, effect: Option<TaintEffect>) -> Toleration {
        Toleration { key: key.map(Into::into), value: value.map(Into::into), effect }
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
        let task = |tolerations: &[Toleration]| TaskSpec {
            tolerations: tolerations.to_vec(),
            ..TaskSpec::default()
        };
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
        let not_in =
            |values: &[&str]| LabelOperator::NotIn(values.iter().map(|&value| value.into()).collect());
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
        check(
            grid,
            "",
            &[term(&[("GPU", LabelOperator::Exists), ("GPU", within(&["AMD", "INTER"]))])],
            false,
        );
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
        assert_eq!(
            verdict(&state, &task(0, 0, 0, GpuRequest::whole(2)), node),
            Err(Rejection::InsufficientGpu)
        );
        place(&mut state, &TaskSpec::default(), 0);
        assert_eq!(verdict(&state, &TaskSpec::default(), node), Err(Rejection::TooManyTasks));
    }
}
