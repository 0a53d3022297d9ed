//! `PodTopologySpread`: tasks of a kind are spread over the values of node labels.

mod counts;

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use foretell_framework::spec::{TopologySpreadConstraint, WhenUnsatisfiable};
use foretell_framework::{
    ClusterState, Filter, LabelSelector, Labels, NodeId, Rejection, Scope, ScoreCandidates, TaskSpec,
};

use counts::Spreads;

/// What tasks that bring no constraints of their own are spread by.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum SpreadDefaults {
    /// kube-scheduler's own: over nodes with skew 3 and over zones with skew 5, as a wish. Nodes may lack the labels.
    #[default]
    System,
    /// These. Their selectors are filled in.
    List(Vec<TopologySpreadConstraint>),
}

impl SpreadDefaults {
    fn constraints(&self) -> Vec<TopologySpreadConstraint> {
        let wish = |key: &str, max_skew| {
            TopologySpreadConstraint::new(key, max_skew, WhenUnsatisfiable::ScheduleAnyway, None)
        };
        match self {
            Self::System => {
                Vec::from([wish("kubernetes.io/hostname", 3), wish("topology.kubernetes.io/zone", 5)])
            }
            Self::List(constraints) => constraints.clone(),
        }
    }
}

/// The constraints of newcomers, their own or the defaults.
pub(crate) struct Constraints {
    /// Which of them count.
    kind: WhenUnsatisfiable,
    defaults: Vec<TopologySpreadConstraint>,
    is_system: bool,
    /// Of newcomers without their own, by namespace and labels; found for the version of the cluster's objects.
    found: BTreeMap<Box<str>, BTreeMap<Labels, Vec<TopologySpreadConstraint>>>,
    version: u64,
}

impl Constraints {
    pub(crate) fn new(kind: WhenUnsatisfiable, defaults: &SpreadDefaults) -> Self {
        let mut constraints = defaults.constraints();
        constraints.retain(|constraint| constraint.when_unsatisfiable == kind);
        Self {
            kind,
            defaults: constraints,
            is_system: *defaults == SpreadDefaults::System,
            found: BTreeMap::new(),
            version: 0,
        }
    }

    /// A newcomer's constraints, and whether nodes must have all their keys; none if it has none.
    pub(crate) fn of<'a>(
        &'a mut self,
        state: &ClusterState,
        task: &'a TaskSpec,
    ) -> (Vec<&'a TopologySpreadConstraint>, bool) {
        if !task.topology_spread.is_empty() {
            let own = task.topology_spread.iter();
            return (own.filter(|constraint| constraint.when_unsatisfiable == self.kind).collect(), true);
        }
        if self.defaults.is_empty() || state.objects().owners.is_empty() {
            return (Vec::new(), true);
        }
        if self.version != state.objects_version() {
            self.version = state.objects_version();
            self.found.clear();
        }
        let known = self.found.get(&task.namespace).is_some_and(|found| found.contains_key(&task.labels));
        if !known {
            let selector = owners_selector(state, task);
            let constraints = selector.map_or_else(Vec::new, |selector| {
                let selector = Some(selector);
                let filled = self.defaults.iter().map(|constraint| TopologySpreadConstraint {
                    selector: selector.clone(),
                    ..constraint.clone()
                });
                filled.collect()
            });
            let of_namespace = self.found.entry(task.namespace.clone()).or_default();
            of_namespace.insert(task.labels.clone(), constraints);
        }
        let found = self.found.get(&task.namespace).and_then(|found| found.get(&task.labels));
        (found.into_iter().flatten().collect(), !self.is_system)
    }
}

/// What the services, replica sets and stateful sets that a task belongs to select, all together.
fn owners_selector(state: &ClusterState, task: &TaskSpec) -> Option<LabelSelector> {
    let mut merged = LabelSelector::default();
    for (namespace, selector) in &state.objects().owners {
        if *namespace == task.namespace && !selector.requirements.is_empty() && selector.matches(&task.labels)
        {
            merged.requirements.extend(selector.requirements.iter().cloned());
        }
    }
    merged.requirements.sort_unstable();
    merged.requirements.dedup();
    (!merged.requirements.is_empty()).then_some(merged)
}

/// The filter: `DoNotSchedule` constraints. No domain may have more tasks of the kind than the emptiest and `maxSkew`.
pub struct PodTopologySpread {
    constraints: Constraints,
    spreads: Spreads,
}

impl PodTopologySpread {
    /// With these defaults.
    pub fn new(defaults: &SpreadDefaults) -> Self {
        let constraints = Constraints::new(WhenUnsatisfiable::DoNotSchedule, defaults);
        Self { constraints, spreads: Spreads::default() }
    }
}

impl Filter for PodTopologySpread {
    fn name(&self) -> &'static str {
        "PodTopologySpread"
    }

    fn scope(&self) -> Scope {
        Scope::Cluster
    }

    fn prepare(&mut self, state: &ClusterState, task: &TaskSpec) -> bool {
        let (constraints, _) = self.constraints.of(state, task);
        if !constraints.is_empty() {
            self.spreads.refresh(state, task, &constraints, true);
        }
        !constraints.is_empty()
    }

    fn filter(&mut self, _state: &ClusterState, task: &TaskSpec, node: NodeId) -> Result<(), Rejection> {
        self.spreads.latest().map_or(Ok(()), |spread| spread.filter(task, node))
    }
}

/// The score: `ScheduleAnyway` constraints. Prefers nodes in domains with few tasks of the kind. Nodes that lack a label
/// to spread over score 0.
pub struct PodTopologySpreadScore {
    constraints: Constraints,
    spreads: Spreads,
}

impl PodTopologySpreadScore {
    /// With these defaults.
    pub fn new(defaults: &SpreadDefaults) -> Self {
        let constraints = Constraints::new(WhenUnsatisfiable::ScheduleAnyway, defaults);
        Self { constraints, spreads: Spreads::default() }
    }
}

impl ScoreCandidates for PodTopologySpreadScore {
    fn name(&self) -> &'static str {
        "PodTopologySpread"
    }

    fn applies(&mut self, state: &ClusterState, task: &TaskSpec) -> bool {
        !self.constraints.of(state, task).0.is_empty()
    }

    fn score(&mut self, state: &ClusterState, task: &TaskSpec, candidates: &[NodeId], scores: &mut Vec<i64>) {
        let (constraints, needs_all_keys) = self.constraints.of(state, task);
        self.spreads.refresh(state, task, &constraints, needs_all_keys).score(candidates, scores);
    }
}

#[cfg(test)]
mod tests;
