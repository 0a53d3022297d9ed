//! What fails, as written.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::is_default;

/// What fails, how long it stays broken, and what jobs do about it. Nothing fails where this section is absent.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FaultsFile {
    /// Rates that were published; kinds that are given here replace the preset's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preset: Option<FaultPreset>,
    /// Whole nodes: power, boards, hosts, maintenance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<FaultRateFile>,
    /// GPUs, those of a node together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpu: Option<FaultRateFile>,
    /// Network cards, those of a node together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nic: Option<FaultRateFile>,
    /// Cables and ports of switches, those of a node together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link: Option<FaultRateFile>,
    /// Crashes of a job's software.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub software: Option<FaultRateFile>,
    /// Links of `cluster.fabric` between leaves and spines, each by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leaf_link: Option<DeviceRateFile>,
    /// Links between spines and cores.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spine_link: Option<DeviceRateFile>,
    /// Leaves: one that is down cuts its nodes off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leaf_switch: Option<DeviceRateFile>,
    /// Spines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spine_switch: Option<DeviceRateFile>,
    /// Cores.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub core_switch: Option<DeviceRateFile>,
    /// Time until what broke works again, on average, where a kind does not say it.
    #[schemars(range(min = 0))]
    pub repair_time_s: f64,
    /// How repair times spread about their mean.
    #[serde(skip_serializing_if = "is_default")]
    pub repair_spread: RepairSpreadFile,
    /// With `repair_spread = "log_normal"`, the standard deviation of the natural logarithm.
    #[serde(skip_serializing_if = "is_default_sigma")]
    #[schemars(range(min = 0, max = 10))]
    pub repair_sigma: f64,
    /// Time from a failure until the job notices. Until then it holds its nodes in vain.
    #[schemars(range(min = 0))]
    pub detection_time_s: f64,
    /// What a job does when pods of it fail, where its size does not say it.
    #[serde(skip_serializing_if = "is_default")]
    pub on_failure: OnFailureFile,
    /// How many failures a job survives, where its size does not say it; the one after ends it, as failed. Any number if
    /// absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_retries: Option<u32>,
    /// What differs for pods of a role, where a job's size does not say it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<RoleFailureFile>,
    /// Nodes that are held back for those that fail: the last of the cluster.
    #[serde(skip_serializing_if = "is_default")]
    pub spares: u32,
    /// When a node is taken out for good; never if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub block: Option<BlockFile>,
    /// Nodes that are slow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stragglers: Option<StragglersFile>,
    /// What jobs do before they compute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub check: Option<NodeCheckFile>,
    /// Faults at given times.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub at: Vec<ScheduledFaultFile>,
}

/// Repairs take four hours: an assumption, no figure was published.
const DEFAULT_REPAIR_S: f64 = 14_400.0;

/// The default of `PyTorch`'s watchdog over NCCL.
const DEFAULT_DETECTION_S: f64 = 600.0;

const DEFAULT_SIGMA: f64 = 1.0;

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_default_sigma(sigma: &f64) -> bool {
    sigma.total_cmp(&DEFAULT_SIGMA).is_eq()
}

impl Default for FaultsFile {
    fn default() -> Self {
        Self {
            preset: None,
            node: None,
            gpu: None,
            nic: None,
            link: None,
            software: None,
            leaf_link: None,
            spine_link: None,
            leaf_switch: None,
            spine_switch: None,
            core_switch: None,
            repair_time_s: DEFAULT_REPAIR_S,
            repair_spread: RepairSpreadFile::default(),
            repair_sigma: DEFAULT_SIGMA,
            detection_time_s: DEFAULT_DETECTION_S,
            on_failure: OnFailureFile::default(),
            max_retries: None,
            roles: Vec::new(),
            spares: 0,
            block: None,
            stragglers: None,
            check: None,
            at: Vec::new(),
        }
    }
}

/// Rates that were published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FaultPreset {
    /// Llama 3's training on 16,384 H100 (Meta 2024): 419 unexpected interruptions in 54 days, by cause.
    Llama3,
}

/// How often parts of a kind fail.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FaultRateFile {
    /// Failures in a thousand days of one node, or a day of a thousand.
    #[schemars(range(min = 0, max = 1e9))]
    pub per_1000_node_days: f64,
    /// Time until one is repaired, on average; as for all kinds if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub repair_time_s: Option<f64>,
}

/// How often links or switches of a kind fail.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeviceRateFile {
    /// Failures in a thousand days of one of them.
    #[schemars(range(min = 0, max = 1e9))]
    pub per_1000_device_days: f64,
    /// Time until one is repaired, on average; as for all kinds if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub repair_time_s: Option<f64>,
}

/// When a node is taken out for good.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BlockFile {
    /// Its hardware failed so often,
    #[schemars(range(min = 1))]
    pub failures: u32,
    /// within this time.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub window_s: f64,
}

/// Nodes that are slow until somebody finds out. A job computes at the pace of its slowest node.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StragglersFile {
    /// Which share of the nodes, each drawn by itself.
    #[schemars(range(min = 0, max = 1))]
    pub share: f64,
    /// How fast they are, relative to the others.
    #[schemars(range(max = 1), extend("exclusiveMinimum" = 0))]
    pub speed: f64,
    /// How long a job runs on one until it is found, taken out and repaired; never if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub detection_time_s: Option<f64>,
}

/// Jobs check their nodes before they compute, each time they start.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NodeCheckFile {
    /// How long that takes.
    #[schemars(range(min = 0))]
    pub time_s: f64,
    /// The probability that a slow node is found.
    #[schemars(range(min = 0, max = 1))]
    pub catches: f64,
}

/// How repair times spread about their mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RepairSpreadFile {
    /// Not at all.
    #[default]
    Fixed,
    /// Exponentially distributed.
    Exponential,
    /// Log-normally.
    LogNormal,
}

/// What a job does when pods of it fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnFailureFile {
    /// All its pods stop, and it starts again from its last checkpoint.
    #[default]
    RestartJob,
    /// The pods that failed wait to be placed again; if the others are enough it goes on with them, else all stop.
    RestartPod,
    /// It ends, as failed.
    Fail,
}

/// What a job does about failures of pods of a role.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RoleFailureFile {
    /// Name of the role, such as `ps`; `worker` for the tasks of a job.
    #[schemars(length(min = 1))]
    pub name: String,
    /// What the job does when one of these fails; as when any of its pods does if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_failure: Option<OnFailureFile>,
    /// How many failures of these the job survives, beside its `max_retries`; no bound of their own if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_retries: Option<u32>,
}

/// The kind of part that fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FaultKindFile {
    /// The whole node.
    Node,
    /// One of its GPUs.
    Gpu,
    /// Its network cards.
    Nic,
    /// Its cables.
    Link,
    /// The software of a job on it.
    Software,
    /// A link between a leaf and a spine.
    LeafLink,
    /// A link between a spine and a core.
    SpineLink,
    /// A leaf.
    LeafSwitch,
    /// A spine.
    SpineSwitch,
    /// A core.
    CoreSwitch,
}

/// A fault at a given time.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScheduledFaultFile {
    /// When.
    #[schemars(range(min = 0))]
    pub time_s: f64,
    /// The node, by name; absent where a part of the fabric fails.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// What fails.
    pub kind: FaultKindFile,
    /// With `kind = "leaf_switch"` or `"leaf_link"`, which leaf, from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leaf: Option<u32>,
    /// With `kind = "spine_switch"`, `"leaf_link"` or `"spine_link"`, which spine, from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spine: Option<u32>,
    /// With `kind = "core_switch"` or `"spine_link"`, which core, from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub core: Option<u32>,
    /// With `kind = "gpu"`, which one; the first if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 63))]
    pub gpu: Option<u32>,
    /// How long it stays broken; as long as its kind does on average if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub duration_s: Option<f64>,
}
