//! What decides inside a model server: batchers, and who has the blocks of its KV cache.
//!
//! An engine keeps a [`State`]: requests that wait, sequences that run, and a [`BlockPool`] for their keys and values. Whenever a batch may be
//! begun, a [`Batcher`] writes a [`Plan`]: which sequences compute how many tokens, having taken blocks for them and having sent away whoever
//! must give up its own.
//!
//! - [`Vllm`]: vLLM's V1 scheduler, with chunked prefill, prefix caching and preemption by recompute.
//! - [`Sarathi`], [`VllmV0`], [`Orca`], [`Static`] (`FasterTransformer`), [`LightLlm`]: as Vidur has them.
//! - [`TensorRtLlm`]: in-flight batching.
//!
//! Of the [`Adapters`] (`LoRA`) that requests ask for, an engine has some at hand.
//!
//! Models that answer a request in one execution have no state: a [`DynamicBatcher`] (Triton's) says what an idle instance executes.
//!
//! Which of several engines gets a request, a [`Router`] says: [`route`].
//! How many replicas a service has is up to an [`autoscale::Autoscaler`].
//!
//! Nothing here has a clock, or knows of events or files.
#![no_std]

extern crate alloc;

mod adapters;
pub mod autoscale;
mod dynamic;
mod kv;
mod lightllm;
mod orca;
mod pool;
mod prefix;
pub mod route;
mod sarathi;
mod sequence;
mod state;
mod static_batch;
mod tensorrt;
mod tiers;
mod vllm;
mod vllm_v0;
mod waiting;

pub use adapters::{AdapterAt, AdapterLoad, AdapterSource, Adapters};
pub use dynamic::{
    Decision, DynamicBatcher, DynamicBatching, DynamicBatchingError, DynamicRequest, QueuePolicy, Refusal,
    TimeoutAction,
};
pub use kv::{BlockPool, Hit};
pub use lightllm::LightLlm;
pub use orca::{Orca, Reservation};
pub use pool::Limits;
pub use prefix::PrefixCache;
pub use route::{
    ActiveBlocks, Arrival, Caches, Canary, Candidates, KvAware, KvAwareOptions, LeastOutstanding, Load,
    MooncakeOptions, MooncakeRouter, NoCaches, Pool, PowerOfTwo, QueuedTokens, Random, Rejection, RoundRobin,
    Routed, Router, RouterError, ScorerWeights, SessionAffinity, ShortestQueueByTokens, Ties, Tournament,
    Weighted,
};
pub use sarathi::Sarathi;
pub use sequence::{HandOver, Sequence, Sequences, Slot};
pub use state::{Batcher, Plan, PlannedChunk, State};
pub use static_batch::Static;
pub use tensorrt::{Capacity, TensorRtLlm};
pub use tiers::{Fetch, Tier};
pub use vllm::{Order, Vllm};
pub use vllm_v0::VllmV0;
pub use waiting::Waiting;
