//! Services whose prompts some replicas read in, and whose answers others generate.

use foretell_scenarios::service::Served;
use foretell_serving::served::Role;

use crate::services::served;

/// Llama 3.1 8B: 131,072 bytes of keys and values a token, on replicas of eight H100, one on each node.
fn text(nodes: u32, service: &str, rate_per_s: f64) -> String {
    format!(
        "version = 1\nname = \"s\"\n[cluster]\nnodes = [{{ type = \"dgx-h100\", count = {nodes} }}]\n[scheduler]\npolicies = [\"default\"]\n\
         [[service]]\nname = \"a\"\nmodel = \"llama-3.1-8b\"\n{service}\n[service.requests.synthetic]\ncount = 200\n\
         arrival = {{ process = \"constant\", rate_per_s = {rate_per_s} }}\nprompt = {{ law = \"constant\", count = 4096 }}\n\
         output = {{ law = \"constant\", count = 20 }}\n"
    )
}

fn one(nodes: u32, service: &str, rate_per_s: f64) -> Served {
    served(&text(nodes, service, rate_per_s), &[]).remove(0)
}

/// Bytes of a prompt.
const PROMPT_BYTES: f64 = 4096.0 * 131_072.0;

#[test]
fn keys_and_values_take_the_time_that_the_network_takes() {
    // One request at a time, so that flows are alone.
    let check = |nodes: u32, service: &str, transfer: &str, expected_s: f64| {
        let service =
            format!("{service}\ndisaggregation = {{ prefill_replicas = 1, transfer = {{ {transfer} }} }}");
        let served = one(nodes, &service, 0.2);
        let handed = served.handed_over.unwrap_or_else(|| panic!("{service}"));
        assert_eq!((handed.requests, served.outcomes.len()), (200, 200));
        assert!((handed.bytes / (200.0 * PROMPT_BYTES) - 1.0).abs() < 1e-9, "{} bytes", handed.bytes);
        let off = handed.transfer_s / expected_s - 1.0;
        assert!(off.abs() < 1e-3, "{transfer}: {} s, expected {expected_s} s", handed.transfer_s);
    };
    // Eight cards of 50 GB/s.
    let node = "replicas = 2\ntensor_parallel = 8";
    check(2, node, "", 0.5e-3 + PROMPT_BYTES / (0.76 * 400e9));
    check(2, node, "latency_us = 0, efficiency = 1", PROMPT_BYTES / 400e9);
    check(2, node, "latency_us = 0, gb_per_s = 10", PROMPT_BYTES / 10e9);
    // Two of eight GPUs have a quarter of the cards; on one node, NVLink: 18 links of 20.6 GB/s each.
    let pair = "replicas = 2\ntensor_parallel = 2";
    check(2, pair, "latency_us = 0, efficiency = 1", PROMPT_BYTES / 100e9);
    check(1, pair, "latency_us = 0, efficiency = 1", PROMPT_BYTES / (2.0 * 370.8e9));
    // The last of 32 layers is waited for.
    check(2, node, "latency_us = 0, efficiency = 1, by_layer = true", PROMPT_BYTES / 32.0 / 400e9);
}

#[test]
fn replicas_do_their_parts() {
    let served = one(4, "replicas = 4\ntensor_parallel = 8\ndisaggregation = { prefill_replicas = 1 }", 20.0);
    let parts: Vec<(Role, u64)> = served.replicas.iter().map(|one| (one.role, one.requests)).collect();
    assert_eq!(parts[0], (Role::Prefill, 200));
    let answered: u64 = parts[1..].iter().map(|&(_, requests)| requests).sum();
    assert!(parts[1..].iter().all(|&(role, requests)| role == Role::Decode && requests > 20), "{parts:?}");
    assert_eq!(answered, 200);
    assert_eq!(served.outcomes.len(), 200);
}

#[test]
fn nobody_who_generates_answers_is_held_up_by_prompts() {
    let with = |apart: &str| {
        let text = text(4, &format!("replicas = 4\ntensor_parallel = 8{apart}"), 60.0);
        served(&text.replace("count = 20 ", "count = 200 "), &[]).remove(0).summary
    };
    let (together, apart) = (with(""), with("\ndisaggregation = { prefill_replicas = 2 }"));
    let (slow_s, fast_s) = (together.itl_s.p99, apart.itl_s.p99);
    assert!(fast_s < 0.4 * slow_s, "{fast_s} and {slow_s} s");
    assert!(apart.tpot_s.p90 < together.tpot_s.p90);
}

#[test]
fn prompts_overflow_where_too_many_wait() {
    let with = |overflow: &str| {
        let service = format!(
            "replicas = 4\ntensor_parallel = 8\ndisaggregation = {{ prefill_replicas = 1{overflow} }}"
        );
        one(4, &service, 80.0)
    };
    let (strict, mixed) = (with(""), with(", overflow_tokens = 8192"));
    assert_eq!(strict.handed_over.map(|handed| handed.requests), Some(200));
    assert!(mixed.handed_over.is_some_and(|handed| (20..180).contains(&handed.requests)));
    assert!(mixed.summary.ttft_s.mean < 0.5 * strict.summary.ttft_s.mean);
}

#[test]
fn pools_may_have_other_gpus() {
    let text = text(
        2,
        "replicas = 3\ntensor_parallel = 4\ngpu_models = [\"H100\"]\n\
         disaggregation = { prefill_replicas = 1, decode = { gpu_models = [\"A100-80\"], tensor_parallel = 2 } }",
        5.0,
    );
    let text = text.replace("count = 2 }", "count = 1 }, { type = \"dgx-a100\", count = 1 }");
    let served = served(&text, &[]).remove(0);
    let mut gpus: Vec<(Role, &str, u32)> =
        served.replicas.iter().map(|one| (one.role, one.gpu.as_str(), one.gpus)).collect();
    gpus.sort_by_key(|one| one.2);
    assert_eq!(
        gpus,
        [(Role::Decode, "A100-80", 2), (Role::Decode, "A100-80", 2), (Role::Prefill, "H100", 4)]
    );
    assert_eq!(served.outcomes.len(), 200);
}

/// Conversations of five turns, whose prompts grow to 5,000 tokens.
const CONVERSATIONS: &str = r#"[service.requests.sessions]
count = 60
arrival = { process = "poisson", rate_per_s = 20 }
turns = { law = "constant", count = 5 }
user = { law = "constant", count = 900 }
output = { law = "constant", count = 100 }
think = { law = "exponential", mean_s = 2.0 }"#;

fn conversing(nodes: u32, service: &str) -> Served {
    let text = format!(
        "version = 1\nname = \"s\"\n[cluster]\nnodes = [{{ type = \"dgx-h100\", count = {nodes} }}]\n[scheduler]\npolicies = [\"default\"]\n\
         [[service]]\nname = \"a\"\nmodel = \"llama-3.1-8b\"\n{service}\n{CONVERSATIONS}\n"
    );
    served(&text, &[]).remove(0)
}

#[test]
fn beginnings_are_copied_where_another_has_much_more() {
    let with = |router: &str| conversing(1, &format!("replicas = 4\n{router}"));
    let alone = with("router = { policy = \"kv-aware\" }");
    let copying = with("router = { policy = \"mooncake\" }");
    let Some(copied) = copying.copied else { panic!("nothing is said of copies") };
    assert!(copied.requests > 10 && copied.bytes > 1e9 && copied.transfer_s > 0.5e-3, "{copied:?}");
    assert_eq!((alone.copied, copying.outcomes.len()), (None, 300));
    let hits = |served: &Served| served.summary.prefix_hit_rate;
    assert!(hits(&copying) > hits(&alone), "{} and {}", hits(&copying), hits(&alone));
    // Beside prefill and decode apart, too.
    let apart = conversing(
        1,
        "replicas = 4\nrouter = { policy = \"mooncake\" }\ndisaggregation = { prefill_replicas = 2 }",
    );
    assert_eq!(apart.outcomes.len(), 300);
    assert!(apart.copied.is_some_and(|copied| copied.requests > 0), "{:?}", apart.copied);
    assert_eq!(apart.handed_over.map(|handed| handed.requests), Some(300));
}

#[test]
fn what_one_replica_read_others_find_in_the_memory_of_all() {
    let with = |store: &str| {
        conversing(
            2,
            &format!(
                "replicas = 8
router = {{ policy = \"round-robin\" }}\n{store}"
            ),
        )
    };
    let hits = |served: &Served| served.summary.prefix_hit_rate;
    let alone = with("");
    let shared = with("kv_store = { memory = \"500 GB\" }");
    // Of five turns' prompts 900, 1,900 to 4,900 tokens: at most 10,000 of 14,500 were there before.
    assert!(
        hits(&alone) < 0.2 && (0.6..=0.69).contains(&hits(&shared)),
        "{} {}",
        hits(&alone),
        hits(&shared)
    );
    let copied = shared.copied.expect("said where there is memory that all share");
    assert!(copied.requests > 150, "{copied:?}");
    assert_eq!(shared.outcomes.len(), 300);
    // With room for a few conversations only, between the two; over a link of a thousandth of the bandwidth it takes longer.
    let small = with("kv_store = { memory = \"2 GB\" }");
    assert!(hits(&small) < hits(&shared) - 0.1, "{}", hits(&small));
    let slow = with("kv_store = { memory = \"500 GB\", gb_per_s = 0.1 }");
    let seconds = |served: &Served| served.copied.map_or(0.0, |copied| copied.transfer_s);
    assert!(seconds(&slow) > 50.0 * seconds(&shared), "{} {}", seconds(&slow), seconds(&shared));
}

#[test]
fn who_would_wait_too_long_is_turned_away() {
    let with = |early: bool| {
        let service = format!(
            "replicas = 1\nrouter = {{ policy = \"mooncake\", early_rejection = {early} }}\nslo = {{ ttft_s = 1 }}\nadmission = {{ retries = 0 }}"
        );
        one(1, &service, 20.0)
    };
    let (late, early) = (with(false), with(true));
    assert_eq!((late.refused.len(), late.outcomes.len()), (0, 200));
    assert!(late.summary.ttft_s.max > 2.0, "{}", late.summary.ttft_s.max);
    assert!(early.refused.len() > 20 && early.refused.len() + early.outcomes.len() == 200);
    assert!(early.summary.ttft_s.p90 < 1.2, "{}", early.summary.ttft_s.p90);
    // What is foreseen leaves out the iteration under way, and those that decode.
    let soon = |served: &Served| served.outcomes.iter().filter(|(_, one)| one.ttft_s() < 1.2).count();
    assert!(soon(&early) > 2 * soon(&late), "{} and {}", soon(&early), soon(&late));
}
