//! Splitwise (ISCA'24): prefill and decode apart, on the same machines and on cheaper ones.
//!
//! Llama 2 70B over the eight GPUs of each machine, lengths of the two services of Azure that it published, arrivals at random. From memory: promised to nine
//! of ten requests are three times the time to the first token and 1.5 times the time between tokens of a request that is alone on a DGX A100 (there each request beside
//! itself, here the ninth decile of all beside that of all); a DGX A100 costs 17.6 and a DGX H100 38 dollars an hour.

use std::path::Path;

use super::deployment::{Deployment, best, capacities_per_s};
use super::judge::Line;
use crate::Error;

const PAPER: &str = "Splitwise";

/// The two services.
pub(super) const TRACES: [&str; 2] = ["code", "conv"];

/// More requests at the same cost and power, and more on machines that cost four fifths.
const SAME_MACHINES: f64 = 2.35;
const CHEAPER: f64 = 1.4;

/// How many times as long as alone.
const TTFT_TIMES: f64 = 3.0;
const TPOT_TIMES: f64 = 1.5;

/// Requests of a search, and of a run in which each is alone.
const SEARCH_REQUESTS: u64 = 1000;
const CALM_REQUESTS: u64 = 400;

const ONE: &str = "nodes = [{ type = \"dgx-a100\", count = 1 }]";
const A100: &str = "nodes = [{ type = \"dgx-a100\", count = 8 }]";
const H100: &str = "nodes = [{ type = \"dgx-h100\", count = 8 }]";
const BOTH: &str = "nodes = [{ type = \"dgx-h100\", count = 8 }, { type = \"dgx-a100\", count = 9 }]";

/// Of eight machines those that read prompts in.
const PREFILL_REPLICAS: [u32; 6] = [2, 3, 4, 5, 6, 7];

/// DGX H100 that read prompts in and DGX A100 that generate answers, for about four fifths of what eight DGX H100 cost.
const MIXED: [(u32, u32); 4] = [(2, 9), (3, 7), (4, 5), (5, 3)];

/// What there was when it was measured: `PyTorch` without graphs.
const MODEL: &str = "model = \"llama-2-70b\"\ntensor_parallel = 8\ncompilation = \"eager\"\nrouter = { policy = \"shortest-queue\" }";

/// Prompts first and whole, nobody goes on meanwhile.
const TOGETHER: &str =
    "engine = { batcher = \"vllm-v0\", max_batched_tokens = 8192, prefix_caching = false }";
const APART: &str = "engine = { chunked_prefill = false, max_batched_tokens = 8192, prefix_caching = false }";

fn deployment(cluster: &'static str, trace: &str, fields: &str) -> Deployment {
    Deployment {
        cluster,
        service: format!("{MODEL}\n{fields}"),
        requests: format!(
            "[service.requests.synthetic]\ncount = {CALM_REQUESTS}\narrival = {{ process = \"poisson\", rate_per_s = 0.01 }}\n\
             lengths = \"data:serving/traces-azure2023/AzureLLMInferenceTrace_{trace}.csv.gz\"\nmax_model_tokens = 8192"
        ),
    }
}

fn apart(prefill: u32, replicas: u32, decode: &str) -> String {
    format!(
        "replicas = {replicas}\n{APART}\n\
         disaggregation = {{ prefill_replicas = {prefill}, transfer = {{ by_layer = true }}{decode} }}"
    )
}

/// How much more is held than by each machine for itself.
pub(super) fn lines(data: &Path, trace: &str) -> Result<Vec<Line>, Error> {
    let calm = deployment(ONE, trace, &format!("replicas = 1\n{TOGETHER}")).served(data)?.summary;
    let (ttft_s, tpot_s) = (TTFT_TIMES * calm.ttft_s.p90, TPOT_TIMES * calm.tpot_s.p90);
    let deployments: Vec<Deployment> = [A100, H100]
        .into_iter()
        .map(|cluster| deployment(cluster, trace, &format!("replicas = 8\n{TOGETHER}")))
        .chain(PREFILL_REPLICAS.iter().map(|&prefill| deployment(A100, trace, &apart(prefill, 8, ""))))
        .chain(MIXED.iter().map(|&(prefill, decode)| {
            let fields = apart(prefill, prefill + decode, ", decode = { gpu_models = [\"A100-80\"] }");
            deployment(BOTH, trace, &format!("gpu_models = [\"H100\"]\n{fields}"))
        }))
        .collect();
    let slo = format!("p90 ttft <= {}us, p90 tpot <= {}us", (1e6 * ttft_s).round(), (1e6 * tpot_s).round());
    let per_s = capacities_per_s(data, &deployments, &slo, SEARCH_REQUESTS)?;
    let (together, rest) = per_s.split_at(2);
    let (same, mixed) = rest.split_at(PREFILL_REPLICAS.len());
    let (prefill, same) = best(&PREFILL_REPLICAS, same);
    let prefill = prefill.copied().unwrap_or_default();
    let (machines, mixed) = best(&MIXED, mixed);
    let (h100, a100) = machines.copied().unwrap_or_default();
    let same_machines = format!("{trace}: {prefill} + {} A100 nodes", 8 - prefill);
    let cheaper = format!("{trace}: {h100} H100 + {a100} A100 nodes");
    let promised = |what: &str, value_s: f64| {
        Line::shown(PAPER, format!("{trace}: promised {what}"), "ms", 1e3 * value_s)
    };
    Ok(vec![
        Line::ratio(PAPER, same_machines, SAME_MACHINES, same / together[0]),
        Line::ratio(PAPER, cheaper, CHEAPER, mixed / together[1]),
        promised("TTFT", ttft_s),
        promised("TPOT", tpot_s),
    ])
}
