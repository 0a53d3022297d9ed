//! New versions of services, as written.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{CompilationFile, EngineFile, KvCacheFile, ServiceFile, WeightsFile, is_default};

/// A new version that gets more and more of the requests, and is withdrawn if it does not do.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RolloutFile {
    /// When it gets which part of the requests: as soon after that as its replicas serve, beside those of the old version, which go once it has all of them.
    #[schemars(length(min = 1))]
    pub steps: Vec<RolloutStepFile>,
    /// Whether all requests of a conversation go to the same version.
    #[serde(default, skip_serializing_if = "is_default")]
    pub sticky: bool,
    /// When the new version is withdrawn; never if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback: Option<RollbackFile>,
    /// What is different.
    #[serde(default)]
    pub to: VersionFile,
}

/// From when on the new version gets which part of the requests.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RolloutStepFile {
    /// Seconds from the beginning.
    #[schemars(range(min = 0))]
    pub after_s: f64,
    /// Per cent of the requests. As large a part of `replicas` is asked for, one at least.
    #[schemars(range(min = 1, max = 100))]
    pub percent: u32,
}

/// When the new version is withdrawn: when too few of its requests keep the service's `slo`.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RollbackFile {
    /// Share of its requests that must keep it.
    #[schemars(range(min = 0, max = 1))]
    pub attainment: f64,
    /// Seconds over which they are counted, and after which they are counted again.
    #[serde(default = "minute")]
    #[schemars(range(min = 1, max = 86_400))]
    pub window_s: f64,
    /// With fewer requests nothing is decided.
    #[serde(default = "twenty")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub min_requests: u32,
}

const fn minute() -> f64 {
    60.0
}

const fn twenty() -> u32 {
    20
}

/// What is different in a new version; what is not said is as before.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct VersionFile {
    /// The model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// GPU models that replicas may have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpu_models: Option<Vec<String>>,
    /// GPUs over which each layer is split.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1024))]
    pub tensor_parallel: Option<u32>,
    /// Stages, one after another, into which layers are divided.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1024))]
    pub pipeline_parallel: Option<u32>,
    /// How weights are kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weights: Option<WeightsFile>,
    /// How keys and values are kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kv_cache: Option<KvCacheFile>,
    /// Who launches kernels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compilation: Option<CompilationFile>,
    /// Time from when a replica is placed until it serves.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub startup_s: Option<f64>,
    /// How requests are batched, and what memory they have: all of it, fields that are not said have their defaults.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub engine: Option<EngineFile>,
}

impl VersionFile {
    /// A service as it will be.
    pub(crate) fn of(&self, service: &ServiceFile) -> ServiceFile {
        let Self {
            model,
            gpu_models,
            tensor_parallel,
            pipeline_parallel,
            weights,
            kv_cache,
            compilation,
            startup_s,
            engine,
        } = self.clone();
        ServiceFile {
            model: model.unwrap_or_else(|| service.model.clone()),
            gpu_models: gpu_models.unwrap_or_else(|| service.gpu_models.clone()),
            tensor_parallel: tensor_parallel.unwrap_or(service.tensor_parallel),
            pipeline_parallel: pipeline_parallel.unwrap_or(service.pipeline_parallel),
            weights: weights.unwrap_or(service.weights),
            kv_cache: kv_cache.unwrap_or(service.kv_cache),
            compilation: compilation.unwrap_or(service.compilation),
            startup_s: startup_s.unwrap_or(service.startup_s),
            engine: engine.unwrap_or_else(|| service.engine.clone()),
            autoscaler: None,
            disaggregation: None,
            kv_store: None,
            rollout: None,
            ..service.clone()
        }
    }
}
