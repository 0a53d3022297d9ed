//! Services whose requests ask for adapters.

use foretell_scenarios::service::Served;
use foretell_serving::served::AdaptersServed;

use crate::check;
use crate::services::{POISSON, served, text};

fn one(service: &str, requests: &str) -> Served {
    served(&text(service, requests), &[]).remove(0)
}

fn adapters(served: &Served) -> &AdaptersServed {
    served.adapters.as_ref().unwrap_or_else(|| panic!("{} has adapters", served.service))
}

#[test]
fn what_cannot_be_is_said() {
    check(
        &text("pipeline_parallel = 2\nlora = { adapters = 4, rank = 16, max_loras = 2 }", POISSON),
        "11:8: service[0].lora: expected `engine.batcher = \"vllm\"`, one stage and no `data_parallel` beside it",
    );
    check(
        &text("lora = { rank = 16, max_loras = 2, max_cpu_loras = 1 }", POISSON),
        "10:8: service[0].lora: expected `adapters` where requests are drawn: a column `model` is that of a trace\n\
         10:52: service[0].lora.max_cpu_loras: expected at least `max_loras` (2): adapters on the GPUs are among them, got 1",
    );
}

#[test]
fn every_adapter_is_asked_for_and_answered() {
    let base = one("", POISSON);
    let served = one(
        "lora = { adapters = 6, base_share = 0.25, rank = 16, max_loras = 2, max_cpu_loras = 6 }",
        POISSON,
    );
    assert_eq!((served.outcomes.len(), served.refused.len()), (400, 0));
    let by_adapter = served.by_adapter();
    assert_eq!(by_adapter.len(), 7);
    assert_eq!(by_adapter.iter().map(|of| of.requests).sum::<u64>(), 400);
    assert!(by_adapter.iter().all(|of| of.requests == of.done && of.requests > 0), "{by_adapter:?}");
    assert!((70..130).contains(&by_adapter[0].requests), "{}", by_adapter[0].requests);
    assert!(by_adapter[1].requests > by_adapter[6].requests);
    assert_eq!(adapters(&served).name(3), "adapter-3");
    let totals = adapters(&served).totals;
    assert!(
        totals.loads_from_storage == 6 && totals.loads_from_host > 0 && totals.held_back > 0,
        "{totals:?}"
    );
    // Their room is taken from that for keys and values: two of 84 MB, a block has 2 MiB.
    let lacking = base.replicas[0].blocks - served.replicas[0].blocks;
    assert_eq!(lacking, 80);
    assert!(served.summary.tpot_s.mean > base.summary.tpot_s.mean);
    assert!(base.adapters.is_none() && base.by_adapter().is_empty());
}

#[test]
fn beginnings_are_shared_by_requests_with_one_adapter() {
    let sessions = r#"[service.requests.sessions]
count = 60
arrival = { process = "poisson", rate_per_s = 2 }
turns = { law = "constant", count = 1 }
user = { law = "constant", count = 100 }
output = { law = "constant", count = 20 }
think = { law = "fixed", value_s = 1 }
system_tokens = 1600"#;
    let base = one("", sessions);
    let served = one("lora = { adapters = 4, rank = 8, max_loras = 4, zipf_exponent = 0 }", sessions);
    let prefix_hits = |served: &Served| served.summary.prefix_hit_rate * 1700.0 * 60.0;
    // All but the first of each find 1,600 of 1,700 tokens, if that one is read in.
    assert!((prefix_hits(&base) - 59.0 * 1600.0).abs() < 1.0, "{}", prefix_hits(&base));
    assert!((prefix_hits(&served) - 56.0 * 1600.0).abs() < 1600.0 * 3.5, "{}", prefix_hits(&served));
    assert!(prefix_hits(&served) < prefix_hits(&base));
}

#[test]
fn a_trace_says_which_adapter() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("asked.csv");
    let rows = "arrival_s,prompt_tokens,output_tokens,model\n0,100,5,tuned\n0.1,100,5,\n0.2,100,5,other\n0.3,100,5,tuned\n0.4,100,5,llama-3.1-8b\n";
    std::fs::write(&path, rows).unwrap();
    let requests = format!("requests = {{ trace = {{ path = {path:?} }} }}");
    let served = one("lora = { rank = 8, max_loras = 1 }", &requests);
    let adapters = adapters(&served);
    let names: Vec<&str> = (0..5).map(|request| adapters.name(adapters.of(request))).collect();
    assert_eq!(names, ["tuned", "", "other", "tuned", ""]);
    assert_eq!(adapters.totals.loads_from_storage, 3, "one has room");
}

#[test]
fn affinity_spares_loads() {
    let requests = POISSON.replace("rate_per_s = 8", "rate_per_s = 30");
    let with = |router: &str, more: &str| {
        let service = format!(
            "replicas = 4\nrouter = {{ policy = \"weighted\", queue = 1, prefix = 0, running = 1{router} }}\n\
             lora = {{ adapters = 60, rank = 16, max_loras = 4, max_cpu_loras = 15{more} }}"
        );
        one(&service, &requests)
    };
    let (blind, affine) = (with("", ""), with(", lora = 2", ""));
    let loads = |served: &Served| {
        let totals = adapters(served).totals;
        totals.loads_from_host + totals.loads_from_storage
    };
    assert!(loads(&affine) < loads(&blind), "{} and {}", loads(&affine), loads(&blind));
    assert!(affine.summary.ttft_s.mean < blind.summary.ttft_s.mean);
    // Who need not wait for others' adapters is answered sooner.
    let overlapped = with(", lora = 2", ", loading = \"overlapped\"");
    assert!(overlapped.summary.tpot_s.mean < affine.summary.tpot_s.mean);
    assert_eq!(overlapped.outcomes.len(), 400);
}
