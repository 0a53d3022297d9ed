//! Model servers: what a file says of them, and what becomes of their requests.

use foretell_scenarios::Plan;
use foretell_scenarios::service::{Served, ServedRun};
use foretell_scenarios::sim::framework::{ClusterState, Time};
use foretell_scenarios::sim::log::{Observer, Record};

use crate::{check, crate_dir, environment, read};

/// Eight requests a second to Llama 3.1 8B on one H100; `service` goes into its table, `requests` says where they come from.
pub(crate) fn text(service: &str, requests: &str) -> String {
    format!(
        "version = 1\nname = \"s\"\n[cluster]\nnodes = [{{ type = \"dgx-h100\", count = 1 }}]\n[scheduler]\npolicies = [\"default\"]\n\
         [[service]]\nname = \"a\"\nmodel = \"llama-3.1-8b\"\n{service}\n{requests}\n"
    )
}

pub(crate) const POISSON: &str = r#"[service.requests.synthetic]
count = 400
arrival = { process = "poisson", rate_per_s = 8 }
prompt = { law = "log_normal", median = 600, sigma = 0.8, max = 4000 }
output = { law = "log_normal", median = 150, sigma = 0.6, max = 1000 }"#;

/// Listens to nothing.
pub(crate) struct Deaf;

impl Observer for Deaf {
    fn advance(&mut self, _from: Time, _to: Time, _state: &ClusterState) {}

    fn record(&mut self, _now: Time, _record: &Record<'_>, _state: &ClusterState) {}
}

pub(crate) fn served(text: &str, overrides: &[&str]) -> Vec<Served> {
    let scenario = read(text, overrides).unwrap_or_else(|error| panic!("{error}"));
    let policy = scenario.scheduler.policies[0].clone();
    let plan = Plan::new(scenario).unwrap();
    plan.run_and_serve(&policy, &mut Deaf, &mut |_| {}).unwrap().services
}

fn one(service: &str, requests: &str) -> Served {
    served(&text(service, requests), &[]).remove(0)
}

#[test]
fn what_cannot_be_is_said() {
    check(
        &text("replicas = 0\ntensor_parallel = 3", "requests = {}"),
        "7:1: service[0]: `tensor` = 3 should divide the 32 query heads\n\
         10:12: service[0].replicas: expected at least 1 where there is no `autoscaler`, got 0\n\
         12:12: service[0].requests: expected exactly one of `trace`, `synthetic`, `sessions` and `users`",
    );
    check(
        &text("tensor_parallel = 3", "requests = {}"),
        "7:1: service[0]: `tensor` = 3 should divide the 32 query heads\n\
         11:12: service[0].requests: expected exactly one of `trace`, `synthetic`, `sessions` and `users`",
    );
    check(
        &text("gpu_models = [\"T4\"]", POISSON),
        "7:1: service[0]: the cluster has no node with GPUs that its replicas may have",
    );
    check(
        &text("engine = { max_batched_tokens = 100 }", POISSON),
        "10:33: service[0].engine.max_batched_tokens: expected at least max_sequences (256), one token for each, got 100",
    );
    check(
        &text(
            "autoscaler = { policy = \"knative\", target = 5, metric = \"kv_share\", min_replicas = 9, max_replicas = 4 }",
            POISSON,
        ),
        "10:57: service[0].autoscaler.metric: expected `concurrency` or `rate`: Knative follows nothing else\n\
         10:102: service[0].autoscaler.max_replicas: expected at least `min_replicas` (9), got 4",
    );
    check(
        &text(
            "autoscaler = { policy = \"scheduled\", period_s = 60, rows = [{ from_s = 60, replicas = 1 }] }",
            POISSON,
        ),
        "10:72: service[0].autoscaler.rows[0].from_s: expected less than `period_s` (60), got 60",
    );
    check(
        &text("replicas = 2\ndisaggregation = { prefill_replicas = 2 }", POISSON),
        "11:39: service[0].disaggregation.prefill_replicas: expected at least 1, and less than `replicas` (2), some of which generate answers, got 2",
    );
    check(
        &text(
            "replicas = 2\nengine = { batcher = \"orca\" }\ndisaggregation = { prefill_replicas = 1, decode = { tensor_parallel = 3 } }",
            POISSON,
        ),
        "12:18: service[0].disaggregation: expected `engine.batcher = \"vllm\"` beside it, and no `speculation`\n\
         12:51: service[0].disaggregation.decode: `tensor` = 3 should divide the 32 query heads",
    );
    check(
        &text(
            "replicas = 2\ndisaggregation = { prefill_replicas = 1, router = { policy = \"mooncake\" } }",
            POISSON,
        ),
        "11:51: service[0].disaggregation.router: `mooncake` says who reads a prompt in: it may be the service's `router`",
    );
    check(
        &text("router = { policy = \"mooncake\" }\nengine = { prefix_caching = false }", POISSON),
        "10:10: service[0].router: `mooncake` expects `engine.batcher = \"vllm\"` with `prefix_caching` beside it",
    );
    check(
        &text(
            "replicas = 2\ndata_parallel = 2\ndisaggregation = { prefill_replicas = 1, decode = { pipeline_parallel = 2 } }",
            POISSON,
        ),
        "12:73: service[0].disaggregation.decode.pipeline_parallel: expected 1 beside `data_parallel`: groups that go in step have one stage",
    );
    let unknown = text("", POISSON).replace("llama-3.1-8b", "lama");
    let found = crate::problems(&unknown, &[]);
    assert!(found.starts_with("9:9: service[0].model: ") && found.contains("llama-3.1-8b"), "{found}");
}

#[test]
fn weights_that_do_not_fit_are_said() {
    let text = text("", POISSON).replace("llama-3.1-8b", "llama-3.1-405b");
    let scenario = read(&text, &[]).unwrap();
    let plan = Plan::new(scenario).unwrap();
    let error = plan.run_and_serve("default", &mut Deaf, &mut |_| {}).unwrap_err().to_string();
    assert!(error.contains("leave no room for keys and values on H100: split it over more GPUs"), "{error}");
}

#[test]
fn every_request_is_served_and_the_same_each_time() {
    let first = one("slo = { ttft_s = 0.5, tpot_s = 0.05 }", POISSON);
    assert_eq!((first.summary.requests, first.summary.rejected), (400, 0));
    assert!(first.summary.slo_attainment > 0.95, "{}", first.summary.slo_attainment);
    assert!(first.mfu > 0.0 && first.mfu < 1.0 && first.bandwidth_use < 1.0);
    for (_, outcome) in first.outcomes.iter() {
        assert!(outcome.arrival_ns <= outcome.scheduled_ns && outcome.scheduled_ns < outcome.first_token_ns);
    }
    let again = one("slo = { ttft_s = 0.5, tpot_s = 0.05 }", POISSON);
    assert_eq!(first.outcomes, again.outcomes);
    assert_eq!(first.recorder.timeline, again.recorder.timeline);
}

#[test]
fn more_replicas_and_less_load_make_it_faster() {
    let base = one("", &POISSON.replace("rate_per_s = 8", "rate_per_s = 30"));
    let two = one("replicas = 2", &POISSON.replace("rate_per_s = 8", "rate_per_s = 30"));
    let idle = one("", &POISSON.replace("rate_per_s = 8", "rate_per_s = 1"));
    assert_eq!(two.replicas.len(), 2);
    assert!(two.summary.e2e_s.mean < base.summary.e2e_s.mean);
    assert!(idle.summary.tpot_s.mean < base.summary.tpot_s.mean);
}

#[test]
fn a_replica_that_starts_late_makes_requests_wait() {
    let late = one("startup_s = 30", POISSON);
    let (_, first) = late.outcomes.iter().next().unwrap();
    assert!(first.arrival_ns < 5_000_000_000 && first.scheduled_ns >= 30_000_000_000, "{first:?}");
    assert!((late.replicas[0].ready_s - 30.0).abs() < 1.0);
}

#[test]
fn blocks_serve_more_than_memory_that_is_reserved() {
    let path = crate_dir().join("library/paged-kv.toml");
    let scenario = foretell_scenarios::load(&path, &[], environment(None)).unwrap().scenario;
    let plan = Plan::new(scenario).unwrap();
    let served = plan.run_and_serve("default", &mut Deaf, &mut |_| {}).unwrap().services;
    let [longest, asked, paged] = &served[..] else { panic!("three services") };
    let rate = |of: &Served| of.summary.output_tokens_per_s;
    assert!(rate(paged) > 2.0 * rate(longest), "{} against {}", rate(paged), rate(longest));
    assert!(rate(paged) > 1.1 * rate(asked), "{} against {}", rate(paged), rate(asked));
    assert!(longest.summary.kv_waste > 0.6 && paged.summary.kv_waste < 0.05);
}

#[test]
fn conversations_find_what_was_said_before() {
    let sessions = r#"[service.requests.sessions]
count = 60
arrival = { process = "poisson", rate_per_s = 1 }
turns = { law = "constant", count = 4 }
user = { law = "uniform", min = 50, max = 150 }
output = { law = "constant", count = 100 }
think = { law = "fixed", value_s = 5 }
system_tokens = 512"#;
    let cached = one("", sessions);
    assert_eq!(cached.summary.requests, 240);
    assert!(cached.summary.prefix_hit_rate > 0.6, "{}", cached.summary.prefix_hit_rate);
    let without = one("engine = { prefix_caching = false }", sessions);
    assert!(without.summary.prefix_hit_rate <= 0.0);
    assert!(cached.summary.totals.computed_tokens < without.summary.totals.computed_tokens / 2);
    // A small cache forgets; memory below it does not.
    let small = one("engine = { kv_blocks = 300, max_sequences = 8 }", sessions);
    let below = one(
        "engine = { kv_blocks = 300, max_sequences = 8, kv_tiers = [{ memory = \"64 GiB\", gb_per_s = 25 }] }",
        sessions,
    );
    assert!(small.summary.prefix_hit_rate < cached.summary.prefix_hit_rate);
    assert!(below.summary.totals.computed_tokens < small.summary.totals.computed_tokens);
}

#[test]
fn users_wait_for_their_answers() {
    let users = r#"[service.requests.users]
users = 7
count = 100
think = { law = "fixed", value_s = 0 }
prompt = { law = "constant", count = 500 }
output = { law = "constant", count = 50 }"#;
    let closed = one("", users);
    assert_eq!(closed.summary.requests, 100);
    assert!(closed.summary.running <= 7.0 + 1e-9);
    // Never more than seven at once.
    let mut events: Vec<(u64, i32)> =
        closed.outcomes.iter().flat_map(|(_, one)| [(one.arrival_ns, 1), (one.last_token_ns, -1)]).collect();
    events.sort_unstable();
    let mut at_once = 0;
    for (_, change) in events {
        at_once += change;
        assert!(at_once <= 7);
    }
}

#[test]
fn drafts_that_are_accepted_make_it_faster() {
    let plain = one("", &POISSON.replace("rate_per_s = 8", "rate_per_s = 1"));
    let drafted = one(
        "speculation = { draft_tokens = 3, acceptance = 0.8, draft_share = 0.1 }",
        &POISSON.replace("rate_per_s = 8", "rate_per_s = 1"),
    );
    assert!(drafted.summary.tpot_s.mean < 0.6 * plain.summary.tpot_s.mean);
    assert_eq!(drafted.summary.totals.output_tokens, plain.summary.totals.output_tokens);
}

#[test]
fn jobs_and_services_share_a_cluster() {
    let jobs = "[workload.synthetic]\njobs = 20\nrate_per_hour = 3600\nsizes = [{ weight = 1, gpus_per_task = 8 }]\n\
                duration = { law = \"fixed\", value_s = 60 }\n";
    let text = text("tensor_parallel = 2", POISSON).replace("[scheduler]", &format!("{jobs}[scheduler]"));
    let text = text.replace("count = 1 }", "count = 2 }");
    let scenario = read(&text, &[]).unwrap();
    let plan = Plan::new(scenario).unwrap();
    let ServedRun { result, services: served, .. } =
        plan.run_and_serve("default", &mut Deaf, &mut |_| {}).unwrap();
    assert_eq!(served[0].summary.requests, 400);
    // The replica holds two GPUs of a node, so that one node is left for jobs of eight: one after another.
    assert_eq!(result.summary.jobs.completed, 20);
    assert!(result.summary.makespan.as_s() >= 1200.0, "{}", result.summary.makespan.as_s());
}

#[test]
fn replicas_come_and_go_by_the_clock() {
    let service = "replicas = 1\nstartup_s = 5\nrouter = { policy = \"least-outstanding\" }\n\
                   autoscaler = { policy = \"scheduled\", period_s = 3600, rows = [{ from_s = 0, replicas = 1 }, { from_s = 15, replicas = 3 }, { from_s = 30, replicas = 1 }] }";
    let served = one(service, POISSON);
    let scaled: Vec<_> = served.scaling.iter().map(|event| (event.at_s, event.from, event.to)).collect();
    assert_eq!(scaled, [(15.0, 1, 3), (30.0, 3, 1)]);
    let ready: Vec<_> = served.replicas.iter().map(|one| (one.replica, one.placed_s, one.ready_s)).collect();
    assert_eq!(ready, [(0, 0.0, 5.0), (1, 15.0, 20.0), (2, 15.0, 20.0)]);
    // Two go, each when it has answered what it had.
    let gone: Vec<f64> = served.replicas.iter().filter_map(|one| one.until_s).collect();
    assert_eq!(gone.len(), 2);
    for until_s in gone {
        assert!((30.0..45.0).contains(&until_s), "{until_s}");
    }
    assert_eq!(served.outcomes.len(), 400);
    assert!(served.refused.is_empty());
    assert_eq!(served.replicas.iter().map(|one| one.requests).sum::<u64>(), 400);
}

#[test]
fn a_service_may_begin_with_nobody() {
    let service = "replicas = 0\ngpu_models = [\"H100\"]\nstartup_s = 10\nautoscaler = { policy = \"knative\", target = 10, max_replicas = 4 }";
    let served = one(service, POISSON);
    assert_eq!((served.scaling[0].from, served.scaling[0].at_s), (0, 2.0));
    assert_eq!(served.outcomes.len(), 400);
    // Nobody is served before the first replica is ready.
    let first_ns = served.outcomes.iter().map(|(_, one)| one.scheduled_ns).min();
    assert_eq!(first_ns, Some(12_000_000_000));
}

#[test]
fn what_waits_too_long_or_finds_no_room_tries_again() {
    let service = "replicas = 1\nadmission = { max_outstanding = 2, max_queued = 4, timeout_s = 2.5, retries = 2, backoff_s = 0.5 }";
    let served = one(service, POISSON);
    let tries = served.tries;
    assert_eq!(tries.arrived, 400);
    assert_eq!((tries.answered, tries.refused), (served.outcomes.len() as u64, served.refused.len() as u64));
    assert_eq!(tries.answered + tries.refused, 400);
    assert!(tries.retried > 0 && tries.refused > 0, "{tries:?}");
    // Who was answered was so within the time of its last try.
    for (_, one) in served.outcomes.iter() {
        assert!(one.e2e_s() < 3.0 * 2.5 + 0.5 + 1.0);
    }
}

#[test]
fn a_replica_whose_node_fails_is_lost_and_its_clients_try_again() {
    // Two nodes, a replica on each. One is down from 20 s to 30 s: what the replica there was at is lost, and the other serves all.
    let faults = "\n[faults]\ndetection_time_s = 0\n[[faults.at]]\ntime_s = 20\nnode = \"dgx-h100-0000\"\nkind = \"node\"\nduration_s = 10\n";
    let text = text("replicas = 2\ntensor_parallel = 8\nstartup_s = 1", POISSON)
        .replace("count = 1 }", "count = 2 }");
    let served = served(&(text + faults), &[]).remove(0);
    let placed: Vec<_> = served.replicas.iter().map(|one| (one.replica, one.until_s)).collect();
    assert_eq!(placed.len(), 3, "{placed:?}");
    let lost = placed.iter().filter(|(_, until_s)| *until_s == Some(20.0)).count();
    assert_eq!(lost, 1, "{placed:?}");
    assert!(served.tries.lost > 0);
    assert_eq!(served.tries.retried, served.tries.lost);
    assert_eq!((served.outcomes.len(), served.refused.len()), (400, 0));
    let again = &served.replicas[2];
    // Its pod left after the grace of 30 s, and was placed again.
    assert_eq!((again.replica, again.placed_s), (0, 50.0));
}

#[test]
fn a_conversation_stays_with_its_replica() {
    let sessions = r#"[service.requests.sessions]
count = 40
arrival = { process = "poisson", rate_per_s = 4 }
turns = { law = "constant", count = 5 }
user = { law = "constant", count = 100 }
output = { law = "constant", count = 50 }
think = { law = "fixed", value_s = 3 }"#;
    let replicas = |router: &str| {
        let served = one(&format!("replicas = 4\nrouter = {{ policy = \"{router}\" }}"), sessions);
        assert_eq!(served.outcomes.len(), 200);
        assert!(served.replicas.iter().all(|one| one.requests > 0));
        served.summary.prefix_hit_rate
    };
    // Four of five turns begin with all that was said; whoever has that spares it.
    let (affine, in_turn, aware) =
        (replicas("session-affinity"), replicas("round-robin"), replicas("kv-aware"));
    assert!(affine > 0.6 && affine > in_turn + 0.2, "{affine} and {in_turn}");
    assert!(aware > in_turn + 0.2, "{aware} and {in_turn}");
}
