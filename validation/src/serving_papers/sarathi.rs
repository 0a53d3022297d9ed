//! Sarathi-Serve (OSDI'24): prompts in chunks beside those that go on, against vLLM, whose prompts stopped everybody.
//!
//! From memory: lengths of `openchat_sharegpt4` (prompts of 1,730 tokens at the median and 5,696 at the ninth decile, answers of 415 and 834), what is demanded
//! between tokens (the strict limits: 0.1 s for Mistral, 0.2 s for Yi, 1 s for Falcon), that half of the requests may wait for 2 s at most until they are first computed, and that Falcon was
//! on two stages of four GPUs.

use std::path::Path;

use super::deployment::{Deployment, capacities_per_s};
use super::judge::Line;
use crate::Error;

const PAPER: &str = "Sarathi";

/// A model on A100, and how many times as much it holds.
pub(super) struct Served {
    name: &'static str,
    model: &'static str,
    /// Tensor and pipeline.
    parallel: (u32, u32),
    /// What 99 of 100 tokens have to keep.
    tbt_ms: u32,
    published: f64,
}

/// All of them.
pub(super) const MODELS: [Served; 3] = [
    Served { name: "Mistral 7B", model: "mistral-7b", parallel: (1, 1), tbt_ms: 100, published: 2.6 },
    Served { name: "Yi 34B, TP2", model: "yi-34b", parallel: (2, 1), tbt_ms: 200, published: 3.7 },
    Served {
        name: "Falcon 180B, TP4 PP2",
        model: "falcon-180b",
        parallel: (4, 2),
        tbt_ms: 1000,
        published: 5.6,
    },
];

const NODES: &str = "nodes = [{ type = \"dgx-a100\", count = 1 }]";

/// Standard deviations of logarithms: the ninth decile is 1.2816 of them above the median.
const REQUESTS: &str = "[service.requests.synthetic]\ncount = 1000\narrival = { process = \"poisson\", rate_per_s = 1 }\n\
                        prompt = { law = \"log_normal\", median = 1730, sigma = 0.930, max = 7000 }\n\
                        output = { law = \"log_normal\", median = 415, sigma = 0.545, max = 1192 }\nmax_model_tokens = 8192";

const SEARCH_REQUESTS: u64 = 500;

const VLLM: &str = "engine = { batcher = \"vllm-v0\", max_batched_tokens = 8192, prefix_caching = false }";
const SARATHI: &str = "engine = { batcher = \"sarathi\", max_batched_tokens = 512, prefix_caching = false }";

/// How many times as much a model holds.
pub(super) fn lines(data: &Path, served: &Served) -> Result<Vec<Line>, Error> {
    let Served { name, model, parallel: (tensor, pipeline), tbt_ms, published } = served;
    let deployment = Deployment {
        cluster: NODES,
        service: format!("model = \"{model}\"\ntensor_parallel = {tensor}\npipeline_parallel = {pipeline}"),
        requests: REQUESTS.to_owned(),
    };
    let deployments = [deployment.with(VLLM), deployment.with(SARATHI)];
    let slo = format!("p99 itl <= {tbt_ms}ms, p50 queue <= 2s");
    let per_s = capacities_per_s(data, &deployments, &slo, SEARCH_REQUESTS)?;
    let case = format!("{name}, p99 TBT {tbt_ms} ms");
    Ok(vec![Line::ratio(PAPER, case, *published, per_s[1] / per_s[0])])
}
