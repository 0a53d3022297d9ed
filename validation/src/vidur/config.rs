//! The configuration of a run, as Vidur writes it down: the part that decides.

use foretell_serving::policies::{
    Batcher, BlockPool, LightLlm, Limits, Orca, Reservation, Sarathi, State, Static, VllmV0,
};
use serde::Deserialize;

/// A run.
#[derive(Deserialize, Clone, Debug)]
pub(crate) struct Config {
    #[serde(rename = "cluster_config")]
    pub(crate) cluster: ClusterConfig,
    #[serde(rename = "request_generator_config")]
    pub(crate) requests: RequestGeneratorConfig,
    #[serde(rename = "execution_time_predictor_config")]
    pub(crate) predictor: PredictorConfig,
}

#[derive(Deserialize, Clone, Debug)]
pub(crate) struct RequestGeneratorConfig {
    #[serde(default = "default_max_tokens")]
    pub(crate) max_tokens: u32,
}

const fn default_max_tokens() -> u32 {
    4096
}

#[derive(Deserialize, Clone, Debug)]
pub(crate) struct ClusterConfig {
    pub(crate) num_replicas: u32,
    pub(crate) replica_config: ReplicaConfig,
    pub(crate) global_scheduler_config: Named,
    pub(crate) replica_scheduler_config: SchedulerConfig,
}

#[derive(Deserialize, Clone, Debug)]
pub(crate) struct Named {
    pub(crate) name: String,
}

#[derive(Deserialize, Clone, Debug)]
pub(crate) struct ReplicaConfig {
    pub(crate) memory_margin_fraction: f64,
    pub(crate) num_pipeline_stages: u32,
    pub(crate) tensor_parallel_size: u32,
    pub(crate) model_config: ModelConfig,
    pub(crate) device_config: DeviceConfig,
}

#[derive(Deserialize, Clone, Debug)]
pub(crate) struct ModelConfig {
    pub(crate) num_layers: u32,
    pub(crate) num_q_heads: u32,
    pub(crate) num_kv_heads: u32,
    pub(crate) embedding_dim: u32,
    pub(crate) mlp_hidden_dim: u32,
    pub(crate) use_gated_mlp: bool,
}

#[derive(Deserialize, Clone, Debug)]
pub(crate) struct DeviceConfig {
    pub(crate) total_memory_gb: f64,
}

#[derive(Deserialize, Clone, Debug)]
pub(crate) struct SchedulerConfig {
    pub(crate) name: String,
    pub(crate) batch_size_cap: u32,
    pub(crate) block_size: u32,
    pub(crate) watermark_blocks_fraction: f64,
    pub(crate) num_blocks: Option<u32>,
    #[serde(default)]
    pub(crate) chunk_size: Option<u32>,
    #[serde(default)]
    pub(crate) max_tokens_in_batch: Option<u32>,
    #[serde(default)]
    pub(crate) max_waiting_iters: Option<u32>,
}

#[derive(Deserialize, Clone, Debug)]
pub(crate) struct PredictorConfig {
    pub(crate) kv_cache_prediction_granularity: u32,
    pub(crate) attention_decode_batching_overhead_fraction: f64,
    pub(crate) attention_prefill_batching_overhead_fraction: f64,
    pub(crate) nccl_cpu_launch_overhead_ms: f64,
    pub(crate) nccl_cpu_skew_overhead_per_device_ms: f64,
    pub(crate) skip_cpu_overhead_modeling: bool,
}

impl Config {
    /// Blocks of a replica's KV cache, by Vidur's memory planner: as many requests of the greatest length as fit beside the weights.
    pub(crate) fn blocks(&self) -> u32 {
        let scheduler = &self.cluster.replica_scheduler_config;
        if let Some(blocks) = scheduler.num_blocks {
            return blocks;
        }
        let replica = &self.cluster.replica_config;
        let model = &replica.model_config;
        let (layers, hidden) = (f64::from(model.num_layers), f64::from(model.embedding_dim));
        let head = hidden / f64::from(model.num_q_heads);
        let tensor_parallel = f64::from(replica.tensor_parallel_size);
        let query_heads = (f64::from(model.num_q_heads) / tensor_parallel).ceil();
        let kv_heads = (f64::from(model.num_kv_heads) / tensor_parallel).ceil();
        let mlp_matrices = if model.use_gated_mlp { 3.0 } else { 2.0 };
        let layer_parameters = hidden * head * (query_heads + 2.0 * kv_heads)
            + hidden * head * query_heads
            + mlp_matrices
                * hidden
                * f64::from((model.mlp_hidden_dim).div_ceil(replica.tensor_parallel_size));
        let stages = f64::from(replica.num_pipeline_stages);
        let weights = 2.0 * layer_parameters * (layers / stages).floor();
        let most_tokens = f64::from(self.requests.max_tokens);
        let memory = replica.device_config.total_memory_gb
            * 1024.0_f64.powi(3)
            * (1.0 - replica.memory_margin_fraction);
        let request = 2.0 * 2.0 * head * kv_heads * most_tokens * layers;
        let slots = ((memory - weights) / request).floor() * stages;
        (slots * most_tokens / f64::from(scheduler.block_size)) as u32
    }

    /// The batcher of a replica with so many blocks, or its name if it is not known.
    pub(crate) fn batcher(&self, blocks: u32) -> Result<Box<dyn Batcher + Send>, String> {
        let scheduler = &self.cluster.replica_scheduler_config;
        let stages = self.cluster.replica_config.num_pipeline_stages;
        let watermark = (scheduler.watermark_blocks_fraction * f64::from(blocks)) as u32;
        let limits = Limits::of_stages(scheduler.batch_size_cap, stages, watermark);
        let longest =
            Reservation::Longest(self.requests.max_tokens / scheduler.block_size * scheduler.block_size);
        let batched = scheduler.max_tokens_in_batch.unwrap_or(4096);
        Ok(match scheduler.name.to_ascii_lowercase().as_str() {
            "sarathi" => Box::new(Sarathi::new(limits, scheduler.chunk_size.unwrap_or(512))),
            "vllm" => Box::new(VllmV0::new(limits, batched)),
            "orca" => Box::new(Orca::new(limits, longest)),
            "faster_transformer" => Box::new(Static::new(limits, longest)),
            "lightllm" => Box::new(LightLlm::new(limits, batched, scheduler.max_waiting_iters.unwrap_or(10))),
            name => return Err(name.to_owned()),
        })
    }

    /// An empty replica.
    pub(crate) fn state(&self, blocks: u32) -> State {
        State::new(BlockPool::new(blocks, self.cluster.replica_scheduler_config.block_size))
    }
}
