//! What pod sets ask for.

use alloc::boxed::Box;
use alloc::vec::Vec;

use foretell_framework::Labels;
use foretell_framework::spec::{NodeAffinity, Toleration};

use crate::ids::ResourceId;

/// What decides where a pod may go: what it requests and which nodes it puts up with.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct PodShape {
    /// Amounts that one pod requests, each resource once. That it is one pod is not among them.
    pub requests: Vec<(ResourceId, i64)>,
    /// Labels that a node must carry.
    pub node_selector: Labels,
    /// Required and preferred node affinity.
    pub node_affinity: NodeAffinity,
    /// Taints that it puts up with.
    pub tolerations: Vec<Toleration>,
}

/// Where the pods of a set want to be: `topologyRequest` of a pod set.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct TopologyRequest {
    /// The level within one domain of which they are to be.
    pub level: Option<LevelRequest>,
    /// Slices of the set that must each be within one domain of a level, and slices of those: from the widest level to
    /// the narrowest.
    pub slices: Vec<SliceLayer>,
    /// Sets of one group are assigned together: the smaller one is the leader.
    pub group: Option<Box<str>>,
}

/// The level within one domain of which pods are to be.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum LevelRequest {
    /// They must be.
    Required(Box<str>),
    /// They should be; else within one domain of the next wider level, at last in several of the widest.
    Preferred(Box<str>),
    /// Anywhere: what there is room for is all that counts.
    Unconstrained,
}

/// A layer of slices.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct SliceLayer {
    /// The level within one domain of which each slice must be.
    pub level: Box<str>,
    /// Pods per slice; a layer without is refused.
    pub size: Option<u32>,
}

/// Annotations of pods that say where they want to be; each begins with the prefix.
const PREFIX: &str = "kueue.x-k8s.io/podset-";

impl TopologyRequest {
    /// What the annotations of a pod template ask for (`kueue.x-k8s.io/podset-required-topology` and its like); `None` if
    /// they ask for nothing. `Err` is the value of a slice size that is no number.
    pub fn of_annotations(annotations: &Labels) -> Result<Option<Self>, &str> {
        let get = |name: &str| {
            let own = annotations.iter().find(|(key, _)| key.strip_prefix(PREFIX) == Some(name));
            own.map(|(_, value)| &**value).filter(|value| !value.is_empty())
        };
        let level = match (get("required-topology"), get("preferred-topology")) {
            (Some(level), _) => Some(LevelRequest::Required(level.into())),
            (None, Some(level)) => Some(LevelRequest::Preferred(level.into())),
            (None, None) => {
                (get("unconstrained-topology") == Some("true")).then_some(LevelRequest::Unconstrained)
            }
        };
        let size = get("slice-size").map(|size| size.parse::<u32>().map_err(|_| size)).transpose()?;
        let slices = get("slice-required-topology").map(|level| SliceLayer { level: level.into(), size });
        let request =
            Self { level, slices: slices.into_iter().collect(), group: get("group-name").map(Into::into) };
        Ok((request != Self::default()).then_some(request))
    }
}

/// A pod set that is to be assigned.
#[derive(Clone, Copy, Debug)]
pub struct PodSetRequest<'a> {
    /// How many pods.
    pub count: u32,
    /// The pods.
    pub shape: &'a PodShape,
    /// Where they want to be.
    pub topology: &'a TopologyRequest,
    /// Whether the flavor alone makes it subject to a topology: without a level of its own it is then unconstrained.
    pub is_implied: bool,
}

/// Feature gates of Kueue that change what is assigned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "they are independent switches of Kueue")]
pub struct TopologyGates {
    /// `TASProfileMixed`: unconstrained sets fill the domains with the least room first. On by default.
    pub mixed_profile: bool,
    /// `TASBalancedPlacement`: preferred sets are spread evenly over the fewest domains. Off by default.
    pub balanced_placement: bool,
    /// `TASRespectNodeAffinityPreferred`: preferred node affinity goes before room. Off by default.
    pub respects_preferred_affinity: bool,
    /// `TASMultiLayerTopology`: slices of slices count; otherwise only the outermost layer does. Off by default.
    pub multi_layer: bool,
}

impl Default for TopologyGates {
    fn default() -> Self {
        Self {
            mixed_profile: true,
            balanced_placement: false,
            respects_preferred_affinity: false,
            multi_layer: false,
        }
    }
}
