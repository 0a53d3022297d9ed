//! Model servers, as written.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    AdmissionFile, AutoscalerFile, BatchFile, DisaggregationFile, DurationFile, KvStoreFile, LoraFile,
    RolloutFile, RouterFile, SwapFile, is_default,
};
use crate::units::ByteSize;

/// A model that is served by equal replicas, each of which is a pod (or a gang of them) on GPUs of the cluster.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServiceFile {
    /// Name of the service, used in outputs.
    #[schemars(length(min = 1))]
    pub name: String,
    /// The model: a name of the catalogue, or the path of a Hugging Face `config.json` (ending so).
    #[schemars(length(min = 1))]
    pub model: String,
    /// Number of replicas; with an autoscaler, at the beginning.
    #[serde(default = "one")]
    #[schemars(range(min = 0, max = 100_000))]
    pub replicas: u32,
    /// GPU models that replicas may have; any if empty.
    #[serde(default, skip_serializing_if = "is_default")]
    pub gpu_models: Vec<String>,
    /// GPUs over which each layer is split.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 1024))]
    pub tensor_parallel: u32,
    /// Stages, one after another, into which layers are divided.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 1024))]
    pub pipeline_parallel: u32,
    /// Copies of attention that share their experts and go in step.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 1024))]
    pub data_parallel: u32,
    /// Whether experts are spread over all GPUs of a replica rather than split.
    #[serde(default, skip_serializing_if = "is_default")]
    pub expert_parallel: bool,
    /// How weights are kept.
    #[serde(default, skip_serializing_if = "is_default")]
    pub weights: WeightsFile,
    /// How keys and values are kept.
    #[serde(default, skip_serializing_if = "is_default")]
    pub kv_cache: KvCacheFile,
    /// Who launches kernels.
    #[serde(default, skip_serializing_if = "is_default")]
    pub compilation: CompilationFile,
    /// Time from when a replica is placed until it serves.
    #[serde(default, skip_serializing_if = "is_default")]
    #[schemars(range(min = 0))]
    pub startup_s: f64,
    /// CPUs of each pod.
    #[serde(default = "default_cpus")]
    #[schemars(range(min = 0, max = 1e6))]
    pub cpus: f64,
    /// Memory of each pod.
    #[serde(default = "default_memory")]
    pub memory: ByteSize,
    /// The queue of its pods.
    #[serde(default, skip_serializing_if = "is_default")]
    pub queue: String,
    /// The priority of its pods.
    #[serde(default, skip_serializing_if = "is_default")]
    pub priority: i32,
    /// How requests are batched, and what memory they have.
    #[serde(default)]
    pub engine: EngineFile,
    /// Tokens that are drafted and checked; none if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub speculation: Option<SpeculationFile>,
    /// Low-rank adapters that requests ask for; none if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lora: Option<LoraFile>,
    /// Further models on each replica, which take turns; none if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub swap: Option<SwapFile>,
    /// Where requests come from; only from stages of pipelines if absent.
    #[serde(default, skip_serializing_if = "is_default")]
    pub requests: RequestsFile,
    /// Jobs of requests that have to be done by some time, behind the others.
    #[serde(default, skip_serializing_if = "is_default")]
    pub batch: Vec<BatchFile>,
    /// Which replica gets a request.
    #[serde(default, skip_serializing_if = "is_default")]
    pub router: RouterFile,
    /// Who says how many replicas there are; as many as at the beginning if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub autoscaler: Option<AutoscalerFile>,
    /// Prefill and decode apart; each replica does all of a request if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disaggregation: Option<DisaggregationFile>,
    /// Memory for keys and values that its replicas share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kv_store: Option<KvStoreFile>,
    /// A new version that takes over; none if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<RolloutFile>,
    /// Who waits where for how long, and what clients do then.
    #[serde(default, skip_serializing_if = "is_default")]
    pub admission: AdmissionFile,
    /// What is promised.
    #[serde(default, skip_serializing_if = "is_default")]
    pub slo: SloFile,
}

fn one() -> u32 {
    1
}

fn default_cpus() -> f64 {
    8.0
}

fn default_memory() -> ByteSize {
    ByteSize(64 << 30)
}

/// How weights are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
pub enum WeightsFile {
    /// 16 bits.
    #[default]
    #[serde(rename = "16bit")]
    Bits16,
    /// 8 bits of floating point, activations too.
    #[serde(rename = "fp8")]
    Fp8,
    /// The same with a scale for each block.
    #[serde(rename = "fp8-block")]
    Fp8Block,
    /// 8-bit integers, activations too.
    #[serde(rename = "int8")]
    Int8,
    /// 4-bit integers, expanded before they are used.
    #[serde(rename = "int4")]
    Int4,
}

/// How keys and values are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
pub enum KvCacheFile {
    /// 16 bits.
    #[default]
    #[serde(rename = "16bit")]
    Bits16,
    /// 8 bits.
    #[serde(rename = "8bit")]
    Bits8,
}

/// Who launches kernels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CompilationFile {
    /// CUDA graphs, as vLLM by default.
    #[default]
    Graphs,
    /// The interpreter, one by one.
    Eager,
    /// An engine built ahead (TensorRT-LLM).
    Tensorrt,
}

/// The batcher.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum BatcherFile {
    /// vLLM V1: a budget of tokens per iteration, chunked prefill, prefix caching, preemption by recompute.
    #[default]
    Vllm,
    /// vLLM before that: prompts are read in before anybody decodes.
    VllmV0,
    /// Sarathi-Serve: decodes first, chunks of prompts in what the budget leaves.
    Sarathi,
    /// Orca: requests join and leave at every iteration; memory is reserved.
    Orca,
    /// Batches that nobody joins (`FasterTransformer`); memory is reserved.
    Static,
    /// `LightLLM`.
    #[serde(rename = "lightllm")]
    LightLlm,
    /// TensorRT-LLM's in-flight batching.
    TensorrtLlm,
}

impl BatcherFile {
    /// As it is written.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Vllm => "vllm",
            Self::VllmV0 => "vllm-v0",
            Self::Sarathi => "sarathi",
            Self::Orca => "orca",
            Self::Static => "static",
            Self::LightLlm => "lightllm",
            Self::TensorrtLlm => "tensorrt-llm",
        }
    }
}

/// What TensorRT-LLM's scheduler takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CapacityFile {
    /// Requests that fit to their end.
    #[default]
    GuaranteedNoEvict,
    /// Requests that fit now; the last pauses when memory runs out.
    MaxUtilization,
    /// A batch at a time.
    StaticBatch,
}

/// How requests are batched, and what memory they have.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EngineFile {
    /// The batcher.
    pub batcher: BatcherFile,
    /// Requests that run at once, at most.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_sequences: u32,
    /// Tokens of an iteration, at most: the budget of `vllm`, `sarathi` and `tensorrt-llm`, what prompts of a batch may have of `vllm-v0` and
    /// `lightllm`.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub max_batched_tokens: u32,
    /// `vllm`, `tensorrt-llm`: whether a prompt may be read in parts.
    pub chunked_prefill: bool,
    /// `vllm`: tokens of one prompt in an iteration, at most; no limit if 0.
    #[serde(skip_serializing_if = "is_default")]
    pub long_prefill_tokens: u32,
    /// `vllm`, `tensorrt-llm`: whether beginnings that requests share are computed once.
    pub prefix_caching: bool,
    /// `vllm`: whether requests of higher priority go first.
    #[serde(skip_serializing_if = "is_default")]
    pub priorities: bool,
    /// `tensorrt-llm`: who is taken.
    #[serde(skip_serializing_if = "is_default")]
    pub capacity: CapacityFile,
    /// `orca`, `static`: tokens for which memory is reserved, whatever a request asks for; what it asks for if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub reserved_tokens: Option<u32>,
    /// Tokens of a block of keys and values.
    #[schemars(range(min = 1, max = 65_536))]
    pub block_tokens: u32,
    /// Share of a GPU's memory that the engine takes.
    #[schemars(range(min = 0.01, max = 1))]
    pub memory_utilization: f64,
    /// Blocks of keys and values; what fits beside the weights if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub kv_blocks: Option<u32>,
    /// `vllm`, `tensorrt-llm` with `prefix_caching`: memory below the GPUs', the nearest first.
    #[serde(skip_serializing_if = "is_default")]
    pub kv_tiers: Vec<KvTierFile>,
    /// With `compilation = "eager"`: time that the host takes to launch the kernels of a layer; 32 if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1e6))]
    pub layer_launch_us: Option<f64>,
    /// Time of every iteration beside its kernels.
    #[schemars(range(min = 0, max = 1e9))]
    pub step_overhead_us: f64,
    /// The same for each of its sequences.
    #[schemars(range(min = 0, max = 1e9))]
    pub sequence_overhead_us: f64,
}

impl Default for EngineFile {
    fn default() -> Self {
        Self {
            batcher: BatcherFile::Vllm,
            max_sequences: 256,
            max_batched_tokens: 2048,
            chunked_prefill: true,
            long_prefill_tokens: 0,
            prefix_caching: true,
            priorities: false,
            capacity: CapacityFile::GuaranteedNoEvict,
            reserved_tokens: None,
            block_tokens: 16,
            memory_utilization: 0.9,
            kv_blocks: None,
            kv_tiers: Vec::new(),
            layer_launch_us: None,
            step_overhead_us: 126.0,
            sequence_overhead_us: 4.4,
        }
    }
}

/// Speculative decoding: a small model drafts tokens, which the model checks all at once.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SpeculationFile {
    /// Tokens drafted for each sequence and iteration.
    #[schemars(range(min = 1, max = 64))]
    pub draft_tokens: u32,
    /// How likely a drafted token is accepted whose predecessors were.
    #[schemars(range(min = 0, max = 1))]
    pub acceptance: f64,
    /// What drafting adds to an iteration.
    #[serde(default, skip_serializing_if = "is_default")]
    #[schemars(range(min = 0))]
    pub draft_us: f64,
    /// What it adds besides, as a share of the iteration.
    #[serde(default, skip_serializing_if = "is_default")]
    #[schemars(range(min = 0, max = 100))]
    pub draft_share: f64,
}

/// Memory below the GPUs', to which cached blocks go when their room is needed.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KvTierFile {
    /// How much of it.
    pub memory: ByteSize,
    /// How fast it is read, 10^9 bytes a second.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub gb_per_s: f64,
    /// Time until the first byte.
    #[serde(default, skip_serializing_if = "is_default")]
    #[schemars(range(min = 0))]
    pub latency_us: f64,
    /// Whether layers are read while those before them are computed, so that a request waits for one layer's share.
    #[serde(default, skip_serializing_if = "is_default")]
    pub by_layer: bool,
}

/// What is promised to users; what is not said is not promised.
#[derive(Debug, Clone, Copy, PartialEq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SloFile {
    /// Time to first token.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub ttft_s: Option<f64>,
    /// Time per output token, of a request on average.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub tpot_s: Option<f64>,
    /// Time to the last token.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub e2e_s: Option<f64>,
}

/// Where requests come from: exactly one of these.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RequestsFile {
    /// A file of requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace: Option<RequestTraceFile>,
    /// Requests that arrive whatever becomes of the others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub synthetic: Option<SyntheticRequestsFile>,
    /// Conversations of several turns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sessions: Option<SessionsFile>,
    /// Users who wait for their answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub users: Option<ClosedUsersFile>,
}

/// A file of requests.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RequestTraceFile {
    /// The file, from the folder of the scenario, or `data:` and a path in the public data folder. Its format is told from its first lines.
    pub path: String,
    /// Requests of it, at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub limit: Option<u64>,
    /// How much faster than in the file requests arrive.
    #[serde(default = "same", skip_serializing_if = "is_same")]
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub rate_factor: f64,
}

fn same() -> f64 {
    1.0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
#[expect(clippy::float_cmp, reason = "1 is written, not reckoned")]
fn is_same(factor: &f64) -> bool {
    *factor == 1.0
}

/// Requests that arrive whatever becomes of the others.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SyntheticRequestsFile {
    /// When they arrive.
    pub arrival: RequestArrivalFile,
    /// Tokens of a prompt. With `lengths`, leave it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<CountFile>,
    /// Tokens of an answer. With `lengths`, leave it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<CountFile>,
    /// A file of requests whose lengths these have, one after another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lengths: Option<String>,
    /// How many requests.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub count: u64,
    /// Tokens of prompt and answer together, at most.
    #[serde(default = "default_model_tokens")]
    #[schemars(range(min = 2, max = 10_000_000))]
    pub max_model_tokens: u32,
}

fn default_model_tokens() -> u32 {
    32_768
}

/// When requests arrive.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(tag = "process", rename_all = "snake_case", deny_unknown_fields)]
pub enum RequestArrivalFile {
    /// At equal gaps.
    Constant {
        /// Arrivals a second.
        #[schemars(extend("exclusiveMinimum" = 0))]
        rate_per_s: f64,
    },
    /// Independent of one another.
    Poisson {
        /// Arrivals a second.
        #[schemars(extend("exclusiveMinimum" = 0))]
        rate_per_s: f64,
    },
    /// In bursts: Gamma-distributed gaps.
    Gamma {
        /// Arrivals a second.
        #[schemars(extend("exclusiveMinimum" = 0))]
        rate_per_s: f64,
        /// Standard deviation of the gap divided by its mean.
        #[schemars(range(min = 0.01, max = 100))]
        coefficient_of_variation: f64,
    },
    /// Independent, at a rate that follows the time of day.
    Diurnal {
        /// Arrivals a second, on average.
        #[schemars(extend("exclusiveMinimum" = 0))]
        rate_per_s: f64,
        /// Rate at the peak divided by the rate at the trough.
        #[schemars(range(min = 1, max = 1e6))]
        peak_to_trough: f64,
        /// Time of the first peak.
        #[serde(default = "default_peak_s")]
        peak_s: f64,
        /// Length of a period.
        #[serde(default = "default_period_s")]
        #[schemars(extend("exclusiveMinimum" = 0))]
        period_s: f64,
    },
    /// Independent, at the rate of a state that changes at random: one state after another.
    Mmpp {
        /// Two or more states.
        states: Vec<MmppStateFile>,
    },
}

fn default_peak_s() -> f64 {
    43_200.0
}

fn default_period_s() -> f64 {
    86_400.0
}

/// A state of a modulated process.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MmppStateFile {
    /// Arrivals a second, which may be 0.
    #[schemars(range(min = 0))]
    pub rate_per_s: f64,
    /// How long the state lasts, on average.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub mean_sojourn_s: f64,
}

/// A law of whole numbers.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(tag = "law", rename_all = "snake_case", deny_unknown_fields)]
pub enum CountFile {
    /// Always the same.
    Constant {
        /// The number.
        count: u32,
    },
    /// Any number within bounds, equally often.
    Uniform {
        /// Least.
        min: u32,
        /// Most.
        max: u32,
    },
    /// The logarithm is normal.
    LogNormal {
        /// Median.
        #[schemars(extend("exclusiveMinimum" = 0))]
        median: f64,
        /// Standard deviation of the natural logarithm.
        #[schemars(range(min = 0, max = 10))]
        sigma: f64,
        /// Smaller draws become this.
        #[serde(default = "one")]
        min: u32,
        /// Larger draws become this.
        #[serde(default = "default_model_tokens")]
        max: u32,
    },
    /// Small numbers are frequent, a few are large.
    Zipf {
        /// Least.
        #[serde(default = "one")]
        min: u32,
        /// Most.
        max: u32,
        /// 0 is uniform, 1 the classic law.
        #[schemars(range(min = 0, max = 10))]
        exponent: f64,
    },
}

/// Conversations of several turns: each prompt begins with the one before it, its answer included.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SessionsFile {
    /// When conversations begin.
    pub arrival: RequestArrivalFile,
    /// How many conversations.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub count: u64,
    /// Turns of each.
    pub turns: CountFile,
    /// New tokens of the user in each turn.
    pub user: CountFile,
    /// Tokens of each answer.
    pub output: CountFile,
    /// From the end of an answer to the next turn.
    pub think: DurationFile,
    /// Tokens of the system prompt with which conversations begin.
    #[serde(default, skip_serializing_if = "is_default")]
    pub system_tokens: u32,
    /// How many different system prompts there are.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub system_prompts: u32,
    /// Tokens of a conversation, at most.
    #[serde(default = "default_model_tokens")]
    #[schemars(range(min = 2, max = 10_000_000))]
    pub max_model_tokens: u32,
}

/// Users who wait for their answers, and think before they ask again.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClosedUsersFile {
    /// How many users.
    #[schemars(range(min = 1, max = 100_000))]
    pub users: u32,
    /// How long they think before a request.
    pub think: DurationFile,
    /// Tokens of a prompt.
    pub prompt: CountFile,
    /// Tokens of an answer.
    pub output: CountFile,
    /// Requests of all users together.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub count: u64,
    /// Tokens of prompt and answer together, at most.
    #[serde(default = "default_model_tokens")]
    #[schemars(range(min = 2, max = 10_000_000))]
    pub max_model_tokens: u32,
}
