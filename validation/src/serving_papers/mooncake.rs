//! Mooncake (FAST'25): how much more of its conversations prefill and decode apart hold than vLLM, and what of prompts is found in caches.
//!
//! A model like Llama 3 70B on 16 nodes of eight A800 (here A100 with 80 GB, which differ in their `NVLinks`). The share of requests that have to keep what is promised is
//! taken to be 90 %, from memory. Whether what is promised between tokens is of a request on average or of single tokens is not known here: both are looked at.

use std::path::Path;

use foretell_serving::metrics::Summary;

use super::deployment::{Deployment, best, capacities_per_s};
use super::judge::Line;
use crate::Error;

const PAPER: &str = "Mooncake";

const NODES: &str = "nodes = [{ type = \"dgx-a100\", count = 16 }]";

const REQUESTS: &str =
    "requests = { trace = { path = \"data:serving/mooncake-traces/conversation_trace.jsonl.gz\" } }";

/// What is promised between tokens, milliseconds, and how many times as much is held as by the best of the baselines (published as +498, +157 and +59 %).
pub(super) const CAPACITIES: [(u32, f64); 3] = [(100, 5.98), (200, 2.57), (300, 1.59)];

/// Requests of a search: the first of the trace.
const SEARCH_REQUESTS: u64 = 2000;

/// Requests of a run that is only looked at.
const HIT_REQUESTS: u64 = 4000;

/// Demanded of each request on average.
const OF_REQUESTS: &str = "attainment >= 90%";

/// vLLM as there was: each replica finds what it has itself, and nobody asks which one has it. Prompts are read whole, before anybody goes on (in
/// pieces of the longest one), or in chunks.
const BASELINES: [&str; 3] = [
    "engine = { chunked_prefill = false, max_batched_tokens = 131072 }",
    "engine = { max_batched_tokens = 512 }",
    "engine = { max_batched_tokens = 2048 }",
];

/// What vLLM would be beside a router that knows caches.
const KV_AWARE: [&str; 2] =
    ["engine = { max_batched_tokens = 2048 }", "engine = { max_batched_tokens = 8192 }"];

/// Replicas that read prompts in, of 16.
const PREFILL_REPLICAS: [u32; 3] = [10, 12, 14];

/// How often what one cache finds is found by all together.
const HITS: f64 = 2.36;

/// How many times as long the first token takes on average where requests only go to caches as where caches are copied from too: published is that the
/// latter takes 14 % off.
const FIRST_TOKEN: f64 = 1.0 / (1.0 - 0.14);

fn deployment(router: &str, fields: &str) -> Deployment {
    Deployment {
        cluster: NODES,
        service: format!(
            "model = \"llama-3-70b\"\nreplicas = 16\ntensor_parallel = 8\nrouter = {{ policy = \"{router}\" }}\n{fields}"
        ),
        requests: REQUESTS.to_owned(),
    }
}

/// How much more of the trace is held with so many milliseconds between tokens: of each request on average, and of all tokens but one in a hundred.
pub(super) fn capacity(data: &Path, (tpot_ms, published): (u32, f64)) -> Result<Vec<Line>, Error> {
    let slo = format!("slo = {{ ttft_s = 30, tpot_s = {} }}", f64::from(tpot_ms) / 1e3);
    let together = |router: &'static str| {
        let slo = &slo;
        move |engine: &&str| deployment(router, &format!("{slo}\n{engine}"))
    };
    let apart = |prefill: &u32| {
        let fields = format!(
            "{slo}\nengine = {{ max_batched_tokens = 8192 }}\ndisaggregation = {{ prefill_replicas = {prefill} }}"
        );
        deployment("kv-aware", &fields)
    };
    let deployments: Vec<Deployment> = BASELINES
        .iter()
        .map(together("least-outstanding"))
        .chain(KV_AWARE.iter().map(together("kv-aware")))
        .chain(PREFILL_REPLICAS.iter().map(apart))
        .collect();
    let of_tokens = format!("p90 ttft <= 30s, p99 itl <= {tpot_ms}ms");
    let mut lines = Vec::new();
    for (what, demand) in [("requests", OF_REQUESTS), ("tokens", of_tokens.as_str())] {
        let per_s = capacities_per_s(data, &deployments, demand, SEARCH_REQUESTS)?;
        let (baselines, rest) = per_s.split_at(BASELINES.len());
        let (aware, apart) = rest.split_at(KV_AWARE.len());
        let (prefill, held) = best(&PREFILL_REPLICAS, apart);
        let prefill = prefill.copied().unwrap_or_default();
        let over = |other: &str| format!("{tpot_ms} ms of {what}: {prefill} + {} over {other}", 16 - prefill);
        lines.push(Line::ratio(PAPER, over("vLLM"), published, held / best(&BASELINES, baselines).1));
        lines.push(Line::shown(PAPER, over("kv-aware"), "ratio", held / best(&KV_AWARE, aware).1));
    }
    Ok(lines)
}

/// How much more of prompts is found where the router knows who has what, and how much sooner the first token is there if replicas copy from one another.
pub(super) fn caches(data: &Path) -> Result<Vec<Line>, Error> {
    let served = |router: &str| -> Result<Summary, Error> {
        let deployment = deployment(router, "");
        let requests = REQUESTS.replace(" } }", &format!(", limit = {HIT_REQUESTS} }} }}"));
        Ok(Deployment { requests, ..deployment }.served(data)?.summary)
    };
    let (own, known, copied) = (served("round-robin")?, served("kv-aware")?, served("mooncake")?);
    let found = known.prefix_hit_rate / own.prefix_hit_rate;
    let sooner = known.ttft_s.mean / copied.ttft_s.mean;
    Ok(vec![
        Line::ratio(PAPER, "found in caches: kv-aware over round-robin".to_owned(), HITS, found),
        Line::ratio(PAPER, "mean TTFT: kv-aware over mooncake".to_owned(), FIRST_TOKEN, sooner),
    ])
}
