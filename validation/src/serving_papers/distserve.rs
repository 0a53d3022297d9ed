//! DistServe (OSDI'24): prefill and decode apart on the GPUs of one node, with as many GPUs for each as suits it.
//!
//! OPT-13B answers chats. From memory: promised to nine of ten requests are 0.25 s to the first token and 0.1 s between tokens; prompts have 755 tokens and answers 200 on average, and that
//! twice as much is held by each GPU there; up to 4.48 times over models and tasks is published.

use std::path::Path;

use super::deployment::{Deployment, best, capacities_per_s};
use super::judge::Line;
use crate::Error;

const PAPER: &str = "DistServe";

const PUBLISHED: f64 = 2.0;

const NODES: &str = "nodes = [{ type = \"dgx-a100\", count = 1 }]";

/// Means: the median times e to half the variance of the logarithm.
const REQUESTS: &str = "[service.requests.synthetic]\ncount = 1000\narrival = { process = \"poisson\", rate_per_s = 10 }\n\
                        prompt = { law = \"log_normal\", median = 550, sigma = 0.8, max = 1700 }\n\
                        output = { law = \"log_normal\", median = 145, sigma = 0.8, max = 348 }\nmax_model_tokens = 2048";

const SEARCH_REQUESTS: u64 = 1000;

const DEMAND: &str = "attainment >= 90%";

/// GPUs of each replica that reads prompts in, how many of these there are, and how many of one GPU generate answers: eight GPUs.
const APART: [(u32, u32, u32); 5] = [(2, 1, 6), (2, 2, 4), (2, 3, 2), (1, 3, 5), (1, 4, 4)];

/// How many times as much the GPUs hold.
pub(super) fn lines(data: &Path) -> Result<Vec<Line>, Error> {
    let deployment = Deployment {
        cluster: NODES,
        service: "model = \"opt-13b\"\nrouter = { policy = \"shortest-queue\" }\nslo = { ttft_s = 0.25, tpot_s = 0.1 }"
            .to_owned(),
        requests: REQUESTS.to_owned(),
    };
    let mut deployments = vec![deployment.with(
        "replicas = 8\nengine = { batcher = \"vllm-v0\", max_batched_tokens = 4096, prefix_caching = false }",
    )];
    deployments.extend(APART.iter().map(|(tensor, prefill, decode)| {
        deployment.with(&format!(
            "replicas = {}\ntensor_parallel = {tensor}\n\
             engine = {{ chunked_prefill = false, max_batched_tokens = 2048, prefix_caching = false }}\n\
             disaggregation = {{ prefill_replicas = {prefill}, decode = {{ tensor_parallel = 1 }} }}",
            prefill + decode
        ))
    }));
    let per_s = capacities_per_s(data, &deployments, DEMAND, SEARCH_REQUESTS)?;
    let (counts, apart) = best(&APART, &per_s[1..]);
    let (tensor, prefill, decode) = counts.copied().unwrap_or_default();
    let case = format!("OPT 13B, {prefill} of TP{tensor} + {decode} over 8 of TP1");
    Ok(vec![Line::ratio(PAPER, case, PUBLISHED, apart / per_s[0])])
}
