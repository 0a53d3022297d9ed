//! The network between nodes, as written.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The network between nodes: what collectives share. Nodes hang on leaves in the order of the cluster.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FabricFile {
    /// How the switches are arranged.
    pub shape: FabricShape,
    /// Rail-optimised: card i of every node of a unit hangs on leaf i of that unit.
    #[serde(default)]
    pub rails: bool,
    /// Nodes on a leaf, or of a unit with rails; the lowest tier of `cluster.topology` if absent.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub nodes_per_leaf: Option<u32>,
    /// Spines, of each pod in three tiers. One for each cable of a leaf if absent and routes are hashed, else one.
    #[schemars(range(min = 1, max = 100_000))]
    pub spines: Option<u32>,
    /// What comes into a leaf from below over what goes up; 1, which blocks nothing, if absent.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub oversubscription: Option<f64>,
    /// Leaves of a pod in three tiers; the second tier of `cluster.topology` if absent.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub leaves_per_pod: Option<u32>,
    /// Cores above each spine in three tiers. One for each cable of a spine if absent and routes are hashed, else one.
    #[schemars(range(min = 1, max = 100_000))]
    pub cores: Option<u32>,
    /// What comes into a spine from below over what goes up; 1 if absent.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub spine_oversubscription: Option<f64>,
    /// Ports of every switch of a fat tree; even.
    #[schemars(range(min = 2, max = 2048))]
    pub arity: Option<u32>,
    /// Network cards of each node; the most of any of the cluster's node types if absent.
    #[schemars(range(min = 1, max = 256))]
    pub nics_per_node: Option<u32>,
    /// Rate of each card in one direction; the highest of any of the cluster's node types if absent.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub nic_gbit_per_s: Option<f64>,
    /// How flows choose among equal ways.
    #[serde(default)]
    pub routing: FabricRouting,
    /// Queue pairs of a flow, each of which goes its own hashed way; 1 if absent. `NCCL_IB_QPS_PER_CONNECTION` in `environment` gives
    /// so many times as many.
    #[schemars(range(min = 1, max = 128))]
    pub queue_pairs: Option<u32>,
    /// Variables of NCCL that all jobs run with.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// Links that carry less than they should.
    #[serde(default)]
    pub degraded: Vec<DegradedLinkFile>,
}

/// How switches are arranged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FabricShape {
    /// Two tiers: every leaf has links to every spine.
    LeafSpine,
    /// Three tiers: leaves and spines make pods, and cores join the spines of one number in all pods.
    ThreeTier,
    /// Three tiers of equal switches with equal links, after Al-Fares et al.
    FatTree,
}

/// How flows choose among equal ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FabricRouting {
    /// Every packet takes a free link: flows do not collide.
    #[default]
    Adaptive,
    /// A hash chooses the way of each queue pair: flows collide.
    Ecmp,
}

/// Links that carry less than they should, in both directions: those of a node's cards, or those of a leaf to its spines.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DegradedLinkFile {
    /// The name of a node.
    #[schemars(length(min = 1))]
    pub node: Option<String>,
    /// The number of its card, from 0; all if absent.
    pub nic: Option<u32>,
    /// The number of a leaf, from 0.
    pub leaf: Option<u32>,
    /// The number of a spine, from 0 and of the leaf's pod; all if absent.
    pub spine: Option<u32>,
    /// What is left of their rate.
    #[schemars(range(max = 1), extend("exclusiveMinimum" = 0))]
    pub factor: f64,
}
