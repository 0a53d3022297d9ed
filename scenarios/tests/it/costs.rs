//! What services cost.

use foretell_scenarios::service::Served;
use foretell_scenarios::serving::power::Power;

use crate::services::{POISSON, served};

/// A replica on an H100 and one on an A100; `prices` go into their groups of nodes.
fn two_kinds(prices: [&str; 2]) -> Served {
    let text = format!(
        "version = 1\nname = \"s\"\n[cluster]\nnodes = [{{ type = \"dgx-h100\", count = 1{} }}, {{ type = \"dgx-a100\", count = 1{} }}]\n\
         [scheduler]\npolicies = [\"fifo+spread\"]\n\
         [[service]]\nname = \"a\"\nmodel = \"llama-3.1-8b\"\nreplicas = 2\nslo = {{ ttft_s = 0.5, tpot_s = 0.05 }}\n{POISSON}\n",
        prices[0], prices[1]
    );
    served(&text, &[]).remove(0)
}

fn near(left: f64, right: f64) {
    assert!((left - right).abs() <= 1e-9 * right.abs(), "{left} for {right}");
}

#[test]
fn each_replica_costs_what_its_node_does() {
    let prices = [", price_per_gpu_hour = 4.0", ", price_per_gpu_hour = 1.5"];
    let served = two_kinds(prices);
    let mut models: Vec<&str> = served.replicas.iter().map(|one| one.gpu.as_str()).collect();
    models.sort_unstable();
    assert_eq!(models, ["A100-80", "H100"]);
    // Both are there from the beginning to the last token.
    let hours = served.outcomes.iter().map(|(_, one)| one.last_token_ns).max().unwrap() as f64 / 3600e9;
    near(served.gpu_hours(), 2.0 * hours);
    let cost = served.cost().unwrap();
    near(cost.dollars, 5.5 * hours);
    let summary = &served.summary;
    let output_tokens = summary.output_tokens_per_s * summary.duration_s;
    near(cost.per_million_output_tokens.unwrap(), cost.dollars * 1e6 / output_tokens);
    let tokens = output_tokens + summary.prompt_tokens_per_s * summary.duration_s;
    near(cost.per_million_tokens.unwrap(), cost.dollars * 1e6 / tokens);
    let kept = summary.slo_attainment * summary.requests as f64;
    near(cost.per_1000_requests_in_slo.unwrap(), cost.dollars * 1e3 / kept);
    // A price that is not known is not nothing.
    assert_eq!(two_kinds([prices[0], ""]).cost(), None);
}

/// Llama 3.1 8B on one GPU of the node, with so many requests a second.
fn at_load(node: &str, rate_per_s: f64) -> Served {
    let requests = POISSON.replace("rate_per_s = 8", &format!("rate_per_s = {rate_per_s}"));
    let text = format!(
        "version = 1\nname = \"s\"\n[cluster]\nnodes = [{{ type = \"{node}\", count = 1 }}]\n[scheduler]\npolicies = [\"default\"]\n\
         [[service]]\nname = \"a\"\nmodel = \"llama-3.1-8b\"\n{requests}\n"
    );
    served(&text, &[]).remove(0)
}

#[test]
fn energy_is_what_work_takes_and_what_idle_gpus_draw() {
    let power = Power::of_gpu("A100-80").unwrap().unwrap();
    let [calm, busy] = [0.2, 8.0].map(|rate| at_load("dgx-a100", rate));
    for served in [&calm, &busy] {
        let energy = served.energy().unwrap();
        let there_s = served.end_s();
        let busy_s = served.replicas[0].busy_s;
        let idle_j = power.idle_share * power.limit_w * (there_s - busy_s);
        let busy_w = (3.6e6 * energy.kwh - idle_j) / busy_s;
        assert!(
            busy_w > power.active_share * power.limit_w && busy_w < power.most_share * power.limit_w,
            "{busy_w}"
        );
        near(energy.mean_gpu_w, 3.6e6 * energy.kwh / there_s);
    }
    let token_j = |served: &Served| served.energy().unwrap().joules_per_output_token.unwrap();
    assert!(token_j(&busy) < 0.5 * token_j(&calm), "{} and {}", token_j(&busy), token_j(&calm));
    // What an H100 draws was not measured.
    assert_eq!(at_load("dgx-h100", 8.0).energy(), None);
}
