//! Adapters of a service's model, as written.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::is_default;

/// Which matrices adapters change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LoraTargetsFile {
    /// Those of attention.
    Attention,
    /// Those of the feed-forward network too, in layers without experts.
    #[default]
    All,
}

/// Who waits while an adapter is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LoraLoadingFile {
    /// The batch that needs it, all of it (vLLM).
    #[default]
    Blocking,
    /// Requests that need it; others go on (S-LoRA).
    Overlapped,
}

/// Low-rank adapters (`LoRA`): requests ask for the model with one of them.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LoraFile {
    /// How many there are; each request, conversation or user asks for one of them. If absent, the column `model` of the trace says which.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub adapters: Option<u32>,
    /// How much more often some are asked for than others: 0 all alike, 1 the classic law of Zipf.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    #[schemars(range(min = 0, max = 10))]
    pub zipf_exponent: f64,
    /// Share of requests, conversations or users that ask for the model without an adapter.
    #[serde(default, skip_serializing_if = "is_default")]
    #[schemars(range(min = 0, max = 1))]
    pub base_share: f64,
    /// Rank of all of them.
    #[schemars(range(min = 1, max = 4096))]
    pub rank: u32,
    /// Which matrices they change.
    #[serde(default, skip_serializing_if = "is_default")]
    pub targets: LoraTargetsFile,
    /// Different ones in a batch at most, and on the GPUs of a replica, which keep room for so many.
    #[schemars(range(min = 1, max = 10_000))]
    pub max_loras: u32,
    /// Those that memory of a replica's host keeps, the ones on its GPUs among them; `max_loras` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_cpu_loras: Option<u32>,
    /// Who waits while one is loaded.
    #[serde(default, skip_serializing_if = "is_default")]
    pub loading: LoraLoadingFile,
    /// From memory of the host to each GPU, 10^9 bytes a second.
    #[serde(default = "default_host", skip_serializing_if = "is_default_host")]
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub host_gb_per_s: f64,
    /// From storage to memory of the host, 10^9 bytes a second.
    #[serde(default = "default_storage", skip_serializing_if = "is_default_storage")]
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub storage_gb_per_s: f64,
    /// Time until the first byte comes from storage.
    #[serde(default, skip_serializing_if = "is_default")]
    #[schemars(range(min = 0))]
    pub storage_latency_ms: f64,
}

fn one() -> f64 {
    1.0
}

fn default_host() -> f64 {
    20.0
}

fn default_storage() -> f64 {
    2.0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
#[expect(clippy::float_cmp, reason = "it is written, not reckoned")]
fn is_one(value: &f64) -> bool {
    *value == one()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
#[expect(clippy::float_cmp, reason = "it is written, not reckoned")]
fn is_default_host(value: &f64) -> bool {
    *value == default_host()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
#[expect(clippy::float_cmp, reason = "it is written, not reckoned")]
fn is_default_storage(value: &f64) -> bool {
    *value == default_storage()
}
