//! Queueing hints: whether what happened may let in a pod that a plugin rejected.
//!
//! Each is a function of the event and the pod alone, as in kube-scheduler; an event that no plugin listed by a pod's
//! rejection finds helpful leaves the pod in the unschedulable pool.

use alloc::vec::Vec;

use foretell_framework::spec::{PodAffinityTerm, TopologySpreadConstraint, WhenUnsatisfiable};
use foretell_framework::{ClusterState, Labels, NodeSpec, TaskSpec};

use crate::config::{DefaultConfig, KubePlugin};
use crate::filters::{IgnoredResources, node_matches, ports_clash, tolerates_cordon, tolerates_taints};
use crate::spread::Constraints;

/// What a plugin makes of an event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hint {
    /// The pod should be tried again.
    Queue,
    /// It would be rejected again.
    Skip,
}

impl From<bool> for Hint {
    fn from(helps: bool) -> Self {
        if helps { Self::Queue } else { Self::Skip }
    }
}

/// A pod as an event shows it.
#[derive(Clone, Copy, Debug)]
pub struct PodView<'a> {
    /// What it asks for.
    pub spec: &'a TaskSpec,
    /// Whether it is on a node.
    pub is_bound: bool,
    /// Whether room is being made for it on a node.
    pub is_nominated: bool,
}

/// What happened: an object before and after; none before if it was added, none after if it is gone.
#[derive(Clone, Copy, Debug)]
pub enum HintEvent<'a> {
    /// To a node.
    Node {
        /// Before.
        old: Option<&'a NodeSpec>,
        /// After.
        new: Option<&'a NodeSpec>,
    },
    /// To a pod.
    Pod {
        /// Before.
        old: Option<PodView<'a>>,
        /// After.
        new: Option<PodView<'a>>,
        /// Whether it is the rejected pod itself.
        is_own: bool,
    },
}

/// What hints depend on beside the event and the pod.
pub struct Hints<'a> {
    config: &'a DefaultConfig,
    state: &'a ClusterState,
    resizes_in_place: bool,
}

impl<'a> Hints<'a> {
    /// Hints of a profile, in a cluster (for its namespaces and names).
    pub const fn new(config: &'a DefaultConfig, state: &'a ClusterState) -> Self {
        Self { config, state, resizes_in_place: true }
    }

    /// Whether pods can be resized where they run (feature gate `InPlacePodVerticalScaling`, on by default).
    #[must_use]
    pub const fn resizing_in_place(self, resizes_in_place: bool) -> Self {
        Self { resizes_in_place, ..self }
    }

    /// What a plugin that rejected a pod makes of an event.
    pub fn hint(&self, plugin: KubePlugin, pod: &TaskSpec, event: &HintEvent<'_>) -> Hint {
        let helps = match *event {
            HintEvent::Node { old, new: Some(new) } => self.node_helps(plugin, pod, old, new),
            // Only spreading counts nodes; a node that is gone helps nobody else.
            HintEvent::Node { old: Some(old), new: None } => {
                plugin == KubePlugin::PodTopologySpread && self.has_spread_keys(pod, old)
            }
            HintEvent::Node { old: None, new: None } => false,
            HintEvent::Pod { old, new, is_own } => self.pod_helps(plugin, pod, old, new, is_own),
        };
        helps.into()
    }

    fn node_helps(&self, plugin: KubePlugin, pod: &TaskSpec, old: Option<&NodeSpec>, new: &NodeSpec) -> bool {
        match plugin {
            KubePlugin::NodeUnschedulable => !new.unschedulable && old.is_none_or(|old| old.unschedulable),
            KubePlugin::TaintToleration => {
                let tolerates = |node: &NodeSpec| tolerates_taints(&pod.tolerations, &node.taints);
                tolerates(new) && !old.is_some_and(tolerates)
            }
            KubePlugin::NodeAffinity => {
                let added = &self.config.added_affinity;
                let matches =
                    |node: &NodeSpec| added.matches(&node.name, &node.labels) && node_matches(node, pod);
                matches(new) && !old.is_some_and(matches)
            }
            KubePlugin::NodeName | KubePlugin::NodePorts => old.is_none(),
            KubePlugin::NodeResourcesFit => {
                self.fits_when_empty(pod, new) && old.is_none_or(|old| has_more(pod, old, new))
            }
            KubePlugin::PodTopologySpread => self.spread_may_change(pod, old, new),
            KubePlugin::InterPodAffinity => {
                let value =
                    |node: &NodeSpec, term: &PodAffinityTerm| node.labels.get(&term.topology_key).cloned();
                let affinity = pod.pod_affinity.required.iter().any(|term| {
                    let (before, after) = (old.and_then(|old| value(old, term)), value(new, term));
                    after.is_some() && before != after
                });
                let anti_affinity = pod.pod_affinity.anti_required.iter().any(|term| {
                    old.is_none_or(|old| value(old, term).is_some() && value(old, term) != value(new, term))
                });
                affinity || anti_affinity
            }
            KubePlugin::DefaultPreemption
            | KubePlugin::NodeResourcesBalancedAllocation
            | KubePlugin::ImageLocality => false,
        }
    }

    fn pod_helps(
        &self,
        plugin: KubePlugin,
        pod: &TaskSpec,
        old: Option<PodView<'_>>,
        new: Option<PodView<'_>>,
        is_own: bool,
    ) -> bool {
        // A pod that holds nothing, and for which nothing is held, does not matter to others.
        let matters = |view: Option<PodView<'_>>| view.is_some_and(|view| view.is_bound || view.is_nominated);
        let gone = new.is_none();
        match plugin {
            KubePlugin::NodeUnschedulable => {
                is_own && new.is_some_and(|new| tolerates_cordon(&new.spec.tolerations))
            }
            KubePlugin::TaintToleration => {
                let changed =
                    |old: PodView<'_>, new: PodView<'_>| old.spec.tolerations != new.spec.tolerations;
                is_own && old.zip(new).is_some_and(|(old, new)| changed(old, new))
            }
            KubePlugin::NodePorts => {
                gone && old.is_some_and(|old| old.is_bound && ports_clash(pod, old.spec))
            }
            KubePlugin::NodeResourcesFit if gone => matters(old),
            KubePlugin::NodeResourcesFit => {
                self.resizes_in_place
                    && old.zip(new).is_some_and(|(old, new)| {
                        (is_own || new.is_bound) && frees_what_is_asked(pod, old.spec, new.spec)
                    })
            }
            KubePlugin::PodTopologySpread if is_own || matters(new) || (gone && matters(old)) => {
                self.spread_may_change_by_pod(pod, old, new, is_own)
            }
            KubePlugin::InterPodAffinity if is_own => {
                old.zip(new).is_some_and(|(old, new)| old.spec.labels != new.spec.labels)
            }
            KubePlugin::InterPodAffinity if matters(new) || (gone && matters(old)) => {
                self.affinity_may_change_by_pod(pod, old, new)
            }
            KubePlugin::PodTopologySpread
            | KubePlugin::InterPodAffinity
            | KubePlugin::NodeName
            | KubePlugin::NodeAffinity
            | KubePlugin::DefaultPreemption
            | KubePlugin::NodeResourcesBalancedAllocation
            | KubePlugin::ImageLocality => false,
        }
    }

    fn fits_when_empty(&self, pod: &TaskSpec, node: &NodeSpec) -> bool {
        let ignored: &IgnoredResources = &self.config.ignored_resources;
        node.max_tasks > 0
            && pod.requests.cpu_milli <= node.allocatable.cpu_milli
            && pod.requests.memory_bytes <= node.allocatable.memory_bytes
            && pod.gpus.count <= node.gpus
            && node.gpu_model.is_none_or(|model| pod.gpus.count == 0 || pod.gpus.models.allows(model))
            && pod.requests.all_extended().all(|(resource, amount)| {
                amount <= node.allocatable.extended(resource)
                    || ignored.contains(self.state.resource_name(resource))
            })
    }

    /// Calls `look` with the hard spread constraints of a pod.
    fn with_constraints<T>(&self, pod: &TaskSpec, look: impl FnOnce(&[&TopologySpreadConstraint]) -> T) -> T {
        let mut constraints =
            Constraints::new(WhenUnsatisfiable::DoNotSchedule, &self.config.spread_defaults);
        let found: Vec<_> = constraints.of(self.state, pod).0;
        look(&found)
    }

    fn has_spread_keys(&self, pod: &TaskSpec, node: &NodeSpec) -> bool {
        self.with_constraints(pod, |constraints| {
            constraints.iter().all(|constraint| node.labels.contains_key(&constraint.topology_key))
        })
    }

    fn spread_may_change(&self, pod: &TaskSpec, old: Option<&NodeSpec>, new: &NodeSpec) -> bool {
        let has_keys = self.has_spread_keys(pod, new);
        let Some(old) = old else { return has_keys };
        let moved = self.with_constraints(pod, |constraints| {
            constraints.iter().any(|constraint| {
                old.labels.get(&constraint.topology_key) != new.labels.get(&constraint.topology_key)
            })
        });
        has_keys != self.has_spread_keys(pod, old) || (has_keys && (moved || old.taints != new.taints))
    }

    fn spread_may_change_by_pod(
        &self,
        pod: &TaskSpec,
        old: Option<PodView<'_>>,
        new: Option<PodView<'_>>,
        is_own: bool,
    ) -> bool {
        if [old, new].into_iter().flatten().any(|view| view.spec.namespace != pod.namespace) {
            return false;
        }
        self.with_constraints(pod, |constraints| {
            let selects = |constraint: &TopologySpreadConstraint, labels: &Labels| {
                constraint.selector.as_ref().is_some_and(|selector| selector.matches(labels))
            };
            let (Some(old), Some(new)) = (old, new) else {
                let labels = old.or(new).map(|view| &view.spec.labels);
                return labels
                    .is_some_and(|labels| constraints.iter().any(|constraint| selects(constraint, labels)));
            };
            let may_go_elsewhere = is_own
                && old.spec.tolerations != new.spec.tolerations
                && constraints.iter().any(|constraint| constraint.honours_node_taints);
            may_go_elsewhere
                || constraints.iter().any(|constraint| {
                    selects(constraint, &old.spec.labels) != selects(constraint, &new.spec.labels)
                })
        })
    }

    fn affinity_may_change_by_pod(
        &self,
        pod: &TaskSpec,
        old: Option<PodView<'_>>,
        new: Option<PodView<'_>>,
    ) -> bool {
        let namespaces = &self.state.objects().namespaces;
        let selects = |term: &PodAffinityTerm, view: Option<PodView<'_>>| {
            view.is_some_and(|view| term.selects(view.spec, namespaces))
        };
        let affinity = &pod.pod_affinity;
        // The newcomer must find one pod that all its terms select.
        let selected_by_all =
            |view| !affinity.required.is_empty() && affinity.required.iter().all(|term| selects(term, view));
        let joins = selected_by_all(new) && !selected_by_all(old);
        let leaves = affinity.anti_required.iter().any(|term| selects(term, old) && !selects(term, new));
        // A pod that kept this one away is gone.
        let kept_away = |old: PodView<'_>| {
            old.spec.pod_affinity.anti_required.iter().any(|term| term.selects(pod, namespaces))
        };
        joins || leaves || (new.is_none() && old.is_some_and(kept_away))
    }
}

/// Whether a node has more of something that the pod asks for than before.
fn has_more(pod: &TaskSpec, old: &NodeSpec, new: &NodeSpec) -> bool {
    let (before, after) = (&old.allocatable, &new.allocatable);
    new.max_tasks > old.max_tasks
        || (pod.requests.cpu_milli > 0 && after.cpu_milli > before.cpu_milli)
        || (pod.requests.memory_bytes > 0 && after.memory_bytes > before.memory_bytes)
        || (pod.gpus.count > 0 && new.gpus > old.gpus)
        || pod
            .requests
            .all_extended()
            .any(|(resource, _)| after.extended(resource) > before.extended(resource))
}

/// Whether a pod asks for less of something that the rejected pod asks for than before.
fn frees_what_is_asked(pod: &TaskSpec, old: &TaskSpec, new: &TaskSpec) -> bool {
    let (before, after) = (&old.requests, &new.requests);
    (pod.requests.cpu_milli > 0 && after.cpu_milli < before.cpu_milli)
        || (pod.requests.memory_bytes > 0 && after.memory_bytes < before.memory_bytes)
        || (pod.gpus.count > 0 && new.gpus.total_milli() < old.gpus.total_milli())
        || pod
            .requests
            .all_extended()
            .any(|(resource, _)| after.extended(resource) < before.extended(resource))
}

#[cfg(test)]
mod tests;
