//! New versions of services, and planners that know what replicas do.

use foretell_scenarios::service::Served;
use foretell_serving::served::Role;

use crate::services::served;
use crate::{check, services};

/// Twenty requests a second for five minutes to Llama 3.1 8B on four H100.
const REQUESTS: &str = r#"[service.requests.synthetic]
count = 6000
arrival = { process = "poisson", rate_per_s = 20 }
prompt = { law = "log_normal", median = 600, sigma = 0.8, max = 4000 }
output = { law = "log_normal", median = 150, sigma = 0.6, max = 1000 }"#;

fn rolled_out(to: &str) -> Served {
    let service = format!(
        "replicas = 4\nrouter = {{ policy = \"least-outstanding\" }}\nslo = {{ ttft_s = 1, tpot_s = 0.02 }}\n\
         [service.rollout]\nsteps = [{{ after_s = 60, percent = 25 }}, {{ after_s = 150, percent = 100 }}]\n\
         rollback = {{ attainment = 0.9, window_s = 30 }}\nto = {{ startup_s = 10, {to} }}"
    );
    served(&services::text(&service, REQUESTS), &[]).remove(0)
}

#[test]
fn a_version_that_does_takes_over() {
    let served = rolled_out("weights = \"fp8\"");
    assert_eq!((served.outcomes.len(), served.refused.len()), (6000, 0));
    let percents: Vec<(u64, u32)> =
        served.rollout.iter().map(|event| (event.at_s as u64, event.percent)).collect();
    assert_eq!(percents, [(70, 25), (160, 100)]);
    let of_versions = |canary: bool| {
        let own = served.replicas.iter().filter(move |one| (one.role == Role::Canary) == canary);
        own.map(|one| (one.ready_s as u64, one.until_s.is_some())).collect::<Vec<_>>()
    };
    assert_eq!(of_versions(false), [(0, true); 4]);
    assert_eq!(of_versions(true), [(70, false), (160, false), (160, false), (160, false)]);
    // A quarter of the requests of 90 s, then all of 140 s.
    let new: u64 =
        served.replicas.iter().filter(|one| one.role == Role::Canary).map(|one| one.requests).sum();
    assert!((2900..3600).contains(&new), "{new}");
}

#[test]
fn a_version_that_does_not_is_withdrawn() {
    let served = rolled_out("engine = { max_sequences = 2 }");
    assert_eq!((served.outcomes.len(), served.refused.len()), (6000, 0));
    let percents: Vec<(u64, u32)> =
        served.rollout.iter().map(|event| (event.at_s as u64, event.percent)).collect();
    assert_eq!(percents, [(70, 25), (100, 0)]);
    let reason = &served.rollout[1].reason;
    assert!(reason.starts_with("rolled back: ") && reason.ends_with("90 % have to"), "{reason}");
    let stay: Vec<Role> =
        served.replicas.iter().filter(|one| one.until_s.is_none()).map(|one| one.role).collect();
    assert_eq!(stay, [Role::Whole; 4]);
    let arrived_late = served.outcomes.iter().filter(|(_, one)| one.arrival_ns > 101_000_000_000);
    assert!(arrived_late.clone().all(|(_, one)| one.meets(&served.objective)));
    assert!(arrived_late.count() > 3000);
}

#[test]
fn what_cannot_be_rolled_out_is_said() {
    let service = "replicas = 2\nautoscaler = { policy = \"hpa\", target = 5 }\n\
                   rollout = { steps = [{ after_s = 60, percent = 100 }, { after_s = 50, percent = 10 }], rollback = { attainment = 0.9 }, \
                   to = { tensor_parallel = 3 } }";
    check(
        &services::text(service, REQUESTS),
        "12:11: service[0].rollout: expected no `autoscaler` and no `disaggregation` beside it\n\
         12:21: service[0].rollout.steps: expected times that rise from step to step\n\
         12:99: service[0].rollout.rollback: expected an `slo` of the service beside it, by which requests are judged\n\
         12:126: service[0].rollout.to: `tensor` = 3 should divide the 32 query heads",
    );
}

#[test]
fn planners_have_as_many_replicas_as_their_pools_need() {
    // 20 requests a second of about 800 tokens, and 180 of answer: 16,000 tokens a second to read in, 3,600 to generate.
    let planner = |rate: &str| {
        format!("autoscaler = {{ policy = \"sla-planner\", interval_s = 20, corrections = false, {rate} }}")
    };
    let prompts = planner("prefill_tokens_per_s = 6000, decode = [{ tpot_s = 0.02, tokens_per_s = 1000 }]");
    let answers = planner("prefill_tokens_per_s = 6000, decode = [{ tpot_s = 0.02, tokens_per_s = 1000 }]");
    let service = format!(
        "replicas = 2\nslo = {{ ttft_s = 1, tpot_s = 0.02 }}\n{prompts}\n\
         disaggregation = {{ prefill_replicas = 1, decode = {{ {answers} }} }}"
    );
    let served = served(&services::text(&service, REQUESTS), &[]).remove(0);
    assert_eq!(served.outcomes.len(), 6000);
    let last = |role: Role| {
        served
            .scaling
            .iter()
            .filter(|event| event.role == role && event.at_s < 290.0)
            .map(|event| event.to)
            .next_back()
    };
    assert_eq!((last(Role::Prefill), last(Role::Decode)), (Some(3), Some(4)), "{:?}", served.scaling);
}

#[test]
fn keda_takes_the_last_replica_and_makes_the_first() {
    let requests = r#"[service.requests.synthetic]
count = 2
arrival = { process = "constant", rate_per_s = 0.002 }
prompt = { law = "constant", count = 600 }
output = { law = "constant", count = 10 }"#;
    let service = "replicas = 1\nstartup_s = 5\n\
                   autoscaler = { policy = \"hpa\", target = 5, min_replicas = 0, keda = { cooldown_s = 60, polling_s = 10 } }";
    let served = served(&services::text(service, requests), &[]).remove(0);
    assert_eq!(served.outcomes.len(), 2);
    let counts: Vec<(u32, u32)> = served.scaling.iter().map(|event| (event.from, event.to)).collect();
    assert_eq!(counts[..2], [(1, 0), (0, 1)], "{:?}", served.scaling);
    assert!(served.summary.ttft_s.max > 5.0, "{}", served.summary.ttft_s.max);
}
