//! What is known of a run: `meta.json`, as the benchmark wrote it.

use serde::Deserialize;

/// A run.
#[derive(Deserialize, Clone, Debug)]
pub(crate) struct Meta {
    pub(crate) model: String,
    #[serde(default)]
    pub(crate) engine_kwargs: EngineArguments,
    #[serde(default)]
    pub(crate) dataset_path: Option<String>,
}

/// Arguments of the engine; what is not said is vLLM's default.
#[derive(Deserialize, Clone, Debug)]
#[serde(default)]
pub(crate) struct EngineArguments {
    pub(crate) tensor_parallel_size: u32,
    pub(crate) pipeline_parallel_size: u32,
    pub(crate) data_parallel_size: u32,
    pub(crate) enable_expert_parallel: bool,
    pub(crate) max_num_seqs: Option<u32>,
    pub(crate) max_num_batched_tokens: Option<u32>,
    pub(crate) long_prefill_token_threshold: u32,
    pub(crate) enable_chunked_prefill: Option<bool>,
    pub(crate) enable_prefix_caching: Option<bool>,
    pub(crate) block_size: Option<u32>,
    pub(crate) gpu_memory_utilization: Option<f64>,
    pub(crate) num_gpu_blocks_override: Option<u32>,
    pub(crate) scheduling_policy: Option<String>,
    pub(crate) enforce_eager: bool,
    pub(crate) dtype: Option<String>,
    pub(crate) kv_cache_dtype: Option<String>,
    pub(crate) quantization: Option<String>,
}

impl Default for EngineArguments {
    fn default() -> Self {
        Self {
            tensor_parallel_size: 1,
            pipeline_parallel_size: 1,
            data_parallel_size: 1,
            enable_expert_parallel: false,
            max_num_seqs: None,
            max_num_batched_tokens: None,
            long_prefill_token_threshold: 0,
            enable_chunked_prefill: None,
            enable_prefix_caching: None,
            block_size: None,
            gpu_memory_utilization: None,
            num_gpu_blocks_override: None,
            scheduling_policy: None,
            enforce_eager: false,
            dtype: None,
            kv_cache_dtype: None,
            quantization: None,
        }
    }
}

/// Hardware of a run: `config.json` of the simulator that came with it. Only what the machine is, is read.
#[derive(Deserialize, Clone, Default, Debug)]
pub(crate) struct Machine {
    /// Gigabytes a second between GPUs.
    #[serde(default)]
    pub(crate) link_bw: Option<f64>,
    /// Nanoseconds.
    #[serde(default)]
    pub(crate) link_latency: Option<f64>,
    #[serde(default)]
    nodes: Vec<MachineNode>,
}

#[derive(Deserialize, Clone, Debug)]
struct MachineNode {
    #[serde(default)]
    instances: Vec<Instance>,
}

#[derive(Deserialize, Clone, Debug)]
struct Instance {
    #[serde(default)]
    hardware: Option<String>,
    #[serde(default)]
    npu_mem: Option<InstanceMemory>,
}

#[derive(Deserialize, Clone, Copy, Debug)]
struct InstanceMemory {
    mem_size: Option<f64>,
}

impl Machine {
    fn instances(&self) -> impl Iterator<Item = &Instance> {
        self.nodes.iter().flat_map(|node| &node.instances)
    }

    /// The name of its GPUs.
    pub(crate) fn hardware(&self) -> Option<&str> {
        self.instances().find_map(|instance| instance.hardware.as_deref())
    }

    /// Memory of a GPU, GiB.
    pub(crate) fn memory_gib(&self) -> Option<f64> {
        self.instances().find_map(|instance| instance.npu_mem?.mem_size)
    }
}
