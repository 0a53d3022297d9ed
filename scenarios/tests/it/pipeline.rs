//! Requests that go through several services.

use std::io::Write as _;

use foretell_scenarios::service::{PipelineServed, Served, ServedRun};
use foretell_scenarios::serving::classical_served::Ending;
use foretell_scenarios::serving::pipeline_served::{
    Failure, PipelineEnding, PipelineRequest, StageEnding, StageRun,
};
use foretell_scenarios::{Plan, Scenario, parse};
use proptest::prelude::*;

use crate::services::Deaf;
use crate::{check, environment, problems, read};

/// Classical services of a T4 each: `slow` takes 4 ms for a request alone, the others 2 ms; and `language`, Llama 3.1 8B on an H100. `fields` go into all tables of
/// a name.
fn text(fields: &[(&str, &str)], pipelines: &str) -> String {
    let of = |name: &str| {
        let fields = fields.iter().filter(|(known, _)| *known == name);
        fields.flat_map(|(_, fields)| [fields, "\n"]).collect::<String>()
    };
    let classical = |(name, latency_ms): (&str, f64)| {
        format!(
            "[[classical_service]]\nname = \"{name}\"\ngpu_models = [\"T4\"]\n\
             latency = {{ law = \"measured\", points = [{{ batch = 1, latency_ms = {latency_ms:?} }}] }}\n{}",
            of(name)
        )
    };
    let services: String =
        [("first", 2.0), ("left", 2.0), ("slow", 4.0), ("last", 2.0)].map(classical).concat();
    format!(
        "version = 1\nname = \"p\"\n[cluster]\nnodes = [{{ type = \"dgx-h100\", count = 2 }}, {{ type = \"t4-4\", count = 4 }}]\n\
         [scheduler]\npolicies = [\"default\"]\n{services}\
         [[service]]\nname = \"language\"\nmodel = \"llama-3.1-8b\"\ngpu_models = [\"H100\"]\n{}{pipelines}",
        of("language")
    )
}

/// A pipeline of these stages; requests come at equal gaps.
fn pipeline(stages: &str, rate_per_s: f64, count: u32) -> String {
    format!(
        "[[pipeline]]\nname = \"all\"\nslo = {{ latency_s = 0.0095 }}\nstage = [{stages}]\n\
         requests = {{ synthetic = {{ count = {count}, arrival = {{ process = \"constant\", rate_per_s = {rate_per_s:?} }}, \
         prompt = {{ law = \"uniform\", min = 100, max = 900 }}, output = {{ law = \"uniform\", min = 5, max = 60 }} }} }}\n"
    )
}

/// Services without requests are only there where stages ask them.
fn kept(text: &str, stages: &str) -> String {
    let mut kept = String::new();
    let mut parts = text.split("[[").enumerate();
    if let Some((_, head)) = parts.next() {
        kept.push_str(head);
    }
    for (_, part) in parts {
        let name = part.split("name = \"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or("");
        if part.starts_with("pipeline") || stages.contains(&format!("service = \"{name}\"")) {
            kept.push_str("[[");
            kept.push_str(part);
        }
    }
    kept
}

fn scenario(fields: &[(&str, &str)], stages: &str, rate_per_s: f64, count: u32) -> Scenario {
    let text = kept(&text(fields, &pipeline(stages, rate_per_s, count)), stages);
    read(&text, &[]).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn run(scenario: Scenario) -> ServedRun {
    Plan::new(scenario).unwrap().run_and_serve("default", &mut Deaf, &mut |_| {}).unwrap()
}

fn one(fields: &[(&str, &str)], stages: &str, rate_per_s: f64, count: u32) -> PipelineServed {
    run(scenario(fields, stages, rate_per_s, count)).pipelines.remove(0)
}

const CHAIN: &str = r#"{ service = "first" }, { service = "slow", after = ["first"] }"#;

const DIAMOND: &str = r#"{ service = "first" }, { service = "left", after = ["first"] }, { service = "slow", after = ["first"] }, { service = "last", after = ["left", "slow"] }"#;

/// What a stage of a request took: its latency and of that how long it waited, in milliseconds.
fn took(run: &StageRun) -> (f64, f64) {
    (run.latency_ns() as f64 / 1e6, run.waiting_ns as f64 / 1e6)
}

#[test]
fn a_chain_takes_the_sum() {
    let served = one(&[], CHAIN, 10.0, 20);
    for (request, ended) in served.requests.iter().enumerate() {
        assert_eq!(ended.latency_ns(), Some(6_000_000), "{request}");
        assert_eq!(served.runs_of(request).iter().map(took).collect::<Vec<_>>(), [(2.0, 0.0), (4.0, 0.0)]);
        assert_eq!(served.critical(request).collect::<Vec<_>>(), [1, 0]);
    }
    let summary = &served.summary;
    assert_eq!((summary.arrived, summary.answered, summary.failed), (20, 20, 0));
    assert!((summary.latency_s.mean - 0.006).abs() < 1e-12 && summary.latency_s.p99 < 0.0061);
    let shares: Vec<f64> = summary.stages.iter().map(|stage| stage.critical_share).collect();
    assert!((shares[0] - 1.0 / 3.0).abs() < 1e-12 && (shares[1] - 2.0 / 3.0).abs() < 1e-12, "{shares:?}");
}

#[test]
fn a_diamond_takes_its_longer_side() {
    let served = one(&[], DIAMOND, 10.0, 20);
    for (request, ended) in served.requests.iter().enumerate() {
        // 2 ms, then 2 beside 4, then 2.
        assert_eq!(ended.latency_ns(), Some(8_000_000), "{request}");
        let runs = served.runs_of(request);
        assert_eq!(runs.iter().map(|run| took(run).0).collect::<Vec<_>>(), [2.0, 2.0, 4.0, 2.0]);
        assert_eq!((runs[1].sent_ns, runs[2].sent_ns), (runs[0].ended_ns, runs[0].ended_ns));
        assert_eq!(runs[3].sent_ns, runs[2].ended_ns);
        assert_eq!(served.critical(request).collect::<Vec<_>>(), [3, 2, 0]);
    }
    let critical: Vec<f64> = served.summary.stages.iter().map(|stage| stage.critical_s).collect();
    let near = |left: f64, right: f64| (left - right).abs() < 1e-12;
    assert!(near(critical[0], 0.002) && near(critical[1], 0.0), "{critical:?}");
    assert!(near(critical[2], 0.004) && near(critical[3], 0.002), "{critical:?}");
    assert_eq!((served.summary.slo_attainment, served.summary.answered), (1.0, 20));
    // The longer side left out, it takes 6 ms; both left out, 4.
    let check = |left: &str, slow: &str, expected_ns: u64| {
        let stages = DIAMOND
            .replace("\"left\", after = [\"first\"]", &format!("\"left\", after = [\"first\"], {left}"))
            .replace("\"slow\", after = [\"first\"]", &format!("\"slow\", after = [\"first\"], {slow}"));
        let served = one(&[], &stages, 10.0, 20);
        assert!(served.requests.iter().all(|one| one.latency_ns() == Some(expected_ns)), "{left} {slow}");
    };
    check("requests = 1", "probability = 0", 6_000_000);
    check("probability = 0", "requests = 1", 8_000_000);
    check("probability = 0", "probability = 0", 4_000_000);
    // Three at once of one instance, one after another: the last waits for two, 2 + 6 + 2 ms.
    check("requests = 3", "requests = 1", 10_000_000);
}

#[test]
fn stages_queue_like_services() {
    // The slow stage takes 4 ms and gets one each 3: the n-th request waits n ms there.
    let served = one(&[], CHAIN, 1000.0 / 3.0, 50);
    for request in 0..50 {
        let slow = served.runs_of(request)[1];
        assert!((took(&slow).1 - request as f64).abs() < 0.01, "{request}: {slow:?}");
    }
    // Of 50 that wait from 0 to 49 ms and take 6, those promised less than 9.5 ms are four.
    assert!((served.summary.slo_attainment - 4.0 / 50.0).abs() < 1e-12, "{}", served.summary.slo_attainment);
    let slow = &served.summary.stages[1];
    assert!((slow.critical_waiting_s - 0.0245).abs() < 1e-5, "{}", slow.critical_waiting_s);
}

#[test]
fn a_share_of_requests_needs_a_stage() {
    let stages = r#"{ service = "first", probability = 0.25 }, { service = "left", after = ["first"] }"#;
    let served = one(&[], stages, 100.0, 4_000);
    let first = &served.summary.stages[0];
    assert_eq!(first.answered + first.skipped, 4_000);
    assert!((850..1150).contains(&first.answered), "{first:?}");
    for (request, ended) in served.requests.iter().enumerate() {
        let needs = served.runs_of(request)[0].ending == StageEnding::Answered;
        assert_eq!(ended.latency_ns(), Some(if needs { 4_000_000 } else { 2_000_000 }));
    }
}

#[test]
fn a_stage_that_fails_fails_the_request() {
    // A second at most 250 of 500 are answered by the slow stage: with a queue of two the others are refused, and never reach the last.
    let stages = r#"{ service = "first" }, { service = "slow", after = ["first"] }, { service = "last", after = ["slow"] }"#;
    let refusing = one(&[("slow", "max_queue_size = 2")], stages, 500.0, 1_000);
    assert!((480..520).contains(&refusing.summary.failed), "{}", refusing.summary.failed);
    for (request, one) in refusing.requests.iter().enumerate() {
        let runs = refusing.runs_of(request);
        match one.ending {
            PipelineEnding::Answered => assert!(runs.iter().all(|run| run.ending == StageEnding::Answered)),
            PipelineEnding::Failed { stage, why } => {
                assert_eq!((stage, why), (1, Failure::Refused));
                assert_eq!(runs[1].ending, StageEnding::Failed(Failure::Refused));
                assert_eq!(runs[2], StageRun::default());
                assert_eq!(one.finished_ns, runs[1].ended_ns);
            }
        }
    }
    let stage = &refusing.summary.stages[1];
    assert_eq!((stage.failed, stage.answered), (refusing.summary.failed, refusing.summary.answered));
    let late = one(&[("slow", "timeout_ms = 10")], stages, 500.0, 1_000);
    assert!(late.summary.failed > 400);
    let why = |one: &PipelineRequest| match one.ending {
        PipelineEnding::Answered => None,
        PipelineEnding::Failed { why, .. } => Some(why),
    };
    assert!(late.requests.iter().filter_map(why).all(|why| why == Failure::TimedOut));
}

/// A stage of a classical model, then Llama on what it lets through.
const ASKED: &str = r#"{ service = "first" }, { service = "language", after = ["first"] }"#;

/// What of an outcome counts from the first arrival.
fn from_the_first(served: &Served) -> Vec<[u64; 4]> {
    let first_ns = served.outcomes.iter().next().unwrap().1.arrival_ns;
    let times = |one: foretell_scenarios::serving::Outcome| {
        [one.arrival_ns, one.scheduled_ns, one.first_token_ns, one.last_token_ns]
            .map(|at_ns| at_ns - first_ns)
    };
    served.outcomes.iter().map(|(_, one)| times(one)).collect()
}

#[test]
fn a_service_serves_stages_as_it_serves_anybody() {
    // The same requests from a file, at the instants at which the stage before let them through.
    for fields in [
        "engine = { max_sequences = 8 }",
        "replicas = 3\nrouter = { policy = \"least-outstanding\" }\nengine = { max_sequences = 4 }",
        "engine = { batcher = \"static\", max_sequences = 8 }",
    ] {
        let piped = run(scenario(&[("language", fields)], ASKED, 40.0, 300));
        let language = &piped.services[0];
        assert_eq!(language.outcomes.len(), 300);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("requests.csv");
        let mut file = std::fs::File::create(&path).unwrap();
        writeln!(file, "arrival_s,prompt_tokens,output_tokens").unwrap();
        for (_, one) in language.outcomes.iter() {
            let (whole, part) = (one.arrival_ns / 1_000_000_000, one.arrival_ns % 1_000_000_000);
            writeln!(file, "{whole}.{part:09},{},{}", one.prompt_tokens, one.output_tokens).unwrap();
        }
        let alone = text(&[("language", fields)], "requests = { trace = { path = \"requests.csv\" } }\n");
        let alone = kept(&alone, "service = \"language\"");
        let alone = parse("s.toml", &alone, &[], folder.path(), environment(None)).unwrap().scenario;
        assert_eq!(from_the_first(&run(alone).services[0]), from_the_first(language), "{fields}");
    }
}

#[test]
fn answers_become_prompts() {
    let stages = r#"{ name = "rewrite", service = "language", prompt = { law = "constant", count = 200 }, output = { law = "uniform", min = 20, max = 40 } },
        { name = "draft", service = "language", requests = 3, after = ["rewrite"], output = { law = "constant", count = 50 } },
        { name = "answer", service = "language", after = ["draft", "rewrite"], adds_answers = true, prompt = { law = "constant", count = 1000 } }"#;
    let ServedRun { services, pipelines, .. } = run(scenario(&[], stages, 4.0, 60));
    let (served, language) = (&pipelines[0], &services[0]);
    assert_eq!((served.summary.answered, language.outcomes.len()), (60, 300));
    let outcomes: Vec<_> = language.outcomes.iter().collect();
    let tokens = |request: Option<u32>| {
        let (_, one) = outcomes[request.unwrap() as usize];
        (one.prompt_tokens, one.output_tokens)
    };
    for request in 0..60 {
        let [rewrite, draft, answer] = served.runs_of(request) else { panic!("three stages") };
        let (rewrite, draft, answer) =
            (tokens(rewrite.last_request), tokens(draft.last_request), tokens(answer.last_request));
        assert!(rewrite.0 == 200 && (20..=40).contains(&rewrite.1), "{rewrite:?}");
        // What a stage does not say is as the pipeline's requests have it.
        assert!((100..=900).contains(&draft.0) && draft.1 == 50, "{draft:?}");
        assert_eq!(answer.0, 1000 + 3 * 50 + rewrite.1);
        assert!((5..=60).contains(&answer.1), "{answer:?}");
    }
}

#[test]
fn users_wait_for_whole_pipelines() {
    let users = r#"requests = { users = { users = 3, count = 200, think = { law = "fixed", value_s = 0.01 }, prompt = { law = "constant", count = 100 }, output = { law = "constant", count = 5 } } }"#;
    let text =
        kept(&text(&[], &format!("[[pipeline]]\nname = \"all\"\nstage = [{DIAMOND}]\n{users}\n")), DIAMOND);
    let served = run(read(&text, &[]).unwrap()).pipelines.remove(0);
    assert_eq!(served.summary.answered, 200);
    let mut changes: Vec<(u64, i32)> =
        served.requests.iter().flat_map(|one| [(one.arrival_ns, 1), (one.finished_ns, -1)]).collect();
    changes.sort_unstable();
    let mut there = 0;
    let most = changes.iter().map(|&(_, change)| {
        there += change;
        there
    });
    assert!(most.max().unwrap() <= 3);
}

#[test]
fn an_autoscaler_scales_what_only_stages_ask() {
    // Nothing is there at the beginning, and nobody but the pipeline asks, two seconds in.
    let fields = "replicas = 0\nstartup_s = 5\nautoscaler = { policy = \"knative\", min_replicas = 0, max_replicas = 4, target = 4 }";
    let ServedRun { services, pipelines, .. } =
        run(scenario(&[("first", "startup_s = 2"), ("language", fields)], ASKED, 20.0, 1_200));
    assert_eq!(pipelines[0].summary.answered, 1_200);
    let most = services[0].scaling.iter().map(|event| event.to).max();
    assert!(most > Some(1), "{:?}", services[0].scaling);
}

/// What must hold of every run.
fn balanced(ServedRun { services, classical, pipelines, .. }: &ServedRun, count: u64) {
    let served = &pipelines[0];
    let summary = &served.summary;
    assert_eq!((summary.arrived, summary.answered + summary.failed), (count, count));
    // Little's law: what was counted as requests came and went is what they add up to.
    let present_s: f64 =
        served.requests.iter().map(|one| (one.finished_ns - one.arrival_ns) as f64 / 1e9).sum();
    let counted_s = summary.concurrency * summary.duration_s;
    assert!((present_s - counted_s).abs() <= 1e-9 * present_s.max(1.0), "{present_s} and {counted_s}");
    for (request, ended) in served.requests.iter().enumerate() {
        let runs = served.runs_of(request);
        let failed = runs.iter().filter(|run| matches!(run.ending, StageEnding::Failed(_)));
        let not_reached = runs.iter().filter(|run| run.ending == StageEnding::NotReached).count();
        match ended.ending {
            PipelineEnding::Answered => {
                assert_eq!((failed.count(), not_reached), (0, 0));
                let critical = served.critical(request).map(|stage| runs[stage as usize].latency_ns());
                assert_eq!(Some(critical.sum()), ended.latency_ns());
            }
            PipelineEnding::Failed { stage, why } => {
                let first_ns = failed.map(|run| run.ended_ns).min().unwrap();
                let of = &runs[stage as usize];
                assert_eq!(of.ending, StageEnding::Failed(why));
                assert!(ended.finished_ns <= first_ns && ended.finished_ns >= of.sent_ns);
            }
        }
        for (stage, run) in served.stages.iter().zip(runs) {
            assert!(run.waiting_ns <= run.latency_ns());
            if run.ending == StageEnding::NotReached {
                continue;
            }
            // It began when the last of those that it depends on was done.
            let after = stage.after.iter().map(|&after| runs[after as usize]);
            assert!(
                after.clone().all(|run| matches!(run.ending, StageEnding::Answered | StageEnding::Skipped))
            );
            let ready_ns = after.map(|run| run.ended_ns).max().unwrap_or(ended.arrival_ns);
            assert_eq!(run.sent_ns, ready_ns);
        }
    }
    // Services got what stages sent, and each request of it ended once.
    let sent = |service: &str| -> u64 {
        let of = served.stages.iter().enumerate().filter(|(_, stage)| stage.service == service);
        of.map(|(place, stage)| {
            let runs = (0..served.requests.len()).map(|request| served.runs_of(request)[place]);
            let began =
                runs.filter(|run| !matches!(run.ending, StageEnding::NotReached | StageEnding::Skipped));
            began.count() as u64 * u64::from(stage.requests)
        })
        .sum()
    };
    for one in services {
        assert_eq!(one.tries.arrived, sent(&one.service), "{}", one.service);
        assert_eq!(one.tries.arrived, (one.outcomes.len() + one.refused.len()) as u64);
    }
    for one in classical {
        assert_eq!(one.ends.len() as u64, sent(&one.service), "{}", one.service);
        assert!(one.ends.iter().zip(0..).all(|(end, request)| end.request == request));
    }
    let refused: usize = services.iter().map(|one| one.refused.len()).sum();
    let lost: usize = classical
        .iter()
        .flat_map(|one| &one.ends)
        .filter(|end| !matches!(end.ending, Ending::Done { .. }))
        .count();
    assert_eq!(refused + lost == 0, summary.failed == 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever the graph of stages is and whatever goes wrong, every request ends once, and times add up.
    #[test]
    fn every_request_ends_once(
        graph in prop::collection::vec((0..5_usize, 0..64_u32, 1..4_u32, 0..4_u32), 1..6),
        rate_per_s in 5.0..400.0_f64,
        queue in 0..3_u32,
        timeout_ms in 0..40_u32,
        (retries, most, patience_s) in (0..3_u32, 1..6_u32, 1..40_u32),
        is_lost in any::<bool>(),
    ) {
        let names = ["first", "left", "slow", "last", "language"];
        let stages: Vec<String> = graph.iter().enumerate().map(|(place, &(service, after, requests, skipped))| {
            let after = (0..place).filter(|bit| after & (1 << bit) != 0).map(|one| format!("\"s{one}\""));
            let after = after.collect::<Vec<_>>().join(", ");
            format!(
                "{{ name = \"s{place}\", service = \"{}\", requests = {requests}, after = [{after}], probability = {:?} }}",
                names[service], if skipped == 0 { 0.5 } else { 1.0 }
            )
        }).collect();
        let limits = format!("max_queue_size = {queue}\ntimeout_ms = {timeout_ms}");
        let patience_s = f64::from(patience_s) / 10.0;
        let language = format!(
            "replicas = 2\nadmission = {{ max_outstanding = {most}, max_queued = 8, timeout_s = {patience_s:?}, retries = {retries}, backoff_s = 0.1 }}"
        );
        let fields = [("left", limits.as_str()), ("slow", limits.as_str()), ("language", language.as_str())];
        let stages = stages.join(", ");
        let mut text = kept(&text(&fields, &pipeline(&stages, rate_per_s, 120)), &stages);
        if is_lost {
            text = text.replace(
                "[scheduler]",
                "[faults]\ndetection_time_s = 0.1\nat = [{ time_s = 0.2, node = \"dgx-h100-0000\", kind = \"node\", duration_s = 1 }, \
                 { time_s = 0.3, node = \"dgx-h100-0001\", kind = \"node\", duration_s = 1 }]\n[scheduler]",
            );
        }
        let scenario = read(&text, &[]).unwrap_or_else(|error| panic!("{error}\n{text}"));
        let ran = run(scenario.clone());
        balanced(&ran, 120);
        let again = run(scenario);
        prop_assert_eq!(&ran.pipelines, &again.pipelines);
    }
}

#[test]
fn a_lost_replica_fails_requests() {
    let (stages, fields) = (ASKED, "replicas = 2\nadmission = { retries = 0 }");
    let text = kept(&text(&[("language", fields)], &pipeline(stages, 100.0, 300)), stages).replace(
        "[scheduler]",
        "[faults]\ndetection_time_s = 0.1\nat = [{ time_s = 1, node = \"dgx-h100-0000\", kind = \"node\", duration_s = 5 }, \
         { time_s = 1, node = \"dgx-h100-0001\", kind = \"node\", duration_s = 5 }]\n[scheduler]",
    );
    let ran = run(read(&text, &[]).unwrap());
    balanced(&ran, 300);
    let served = &ran.pipelines[0];
    assert!(served.summary.failed > 0);
    let lost = |one: &PipelineRequest| match one.ending {
        PipelineEnding::Answered => true,
        PipelineEnding::Failed { stage, why } => (stage, why) == (1, Failure::ReplicaLost),
    };
    assert!(served.requests.iter().all(lost));
    assert_eq!(served.summary.stages[1].failed, served.summary.failed);
}

#[test]
fn what_cannot_be_is_said() {
    let check = |stages: &str, expected: &str| {
        let text = text(&[], &pipeline(stages, 1.0, 1)).replace("[[pipeline]]", "#");
        // All services have requests of their own, so that only the pipeline is wrong.
        let own = "requests = { count = 1, arrival = { process = \"constant\", rate_per_s = 1 } }\n";
        let text = text.replace("gpu_models = [\"T4\"]\n", &format!("gpu_models = [\"T4\"]\n{own}"));
        let start = text.find("#\n").unwrap();
        let language = "requests = { synthetic = { count = 1, arrival = { process = \"constant\", rate_per_s = 1 }, prompt = { law = \"constant\", count = 9 }, output = { law = \"constant\", count = 9 } } }\n";
        let text = format!("{}{language}[[pipeline]]\n{}", &text[..start], &text[start + 2..]);
        assert_eq!(problems(&text, &[]), expected, "{stages}");
    };
    check("", "35:9: pipeline[0].stage: must not be empty");
    check(
        r#"{ service = "frist" }"#,
        "35:22: pipeline[0].stage[0].service: there is no service `frist` (did you mean `first`?)",
    );
    check(
        r#"{ service = "first" }, { service = "first" }"#,
        "35:45: pipeline[0].stage[1].service: there is another stage `first` (give it a `name` of its own)",
    );
    check(
        r#"{ service = "first" }, { name = "first", service = "left" }"#,
        "35:42: pipeline[0].stage[1].name: there is another stage `first`",
    );
    check(
        r#"{ service = "first", after = ["lasst"] }, { service = "last" }"#,
        "35:40: pipeline[0].stage[0].after[0]: there is no stage `lasst` (did you mean `last`?)",
    );
    check(
        r#"{ service = "first" }, { service = "last", after = ["first", "first"] }"#,
        "35:71: pipeline[0].stage[1].after[1]: stage `first` is listed twice",
    );
    check(
        r#"{ service = "first", after = ["first"] }"#,
        "35:39: pipeline[0].stage[0].after: waits for itself: `first` after `first`",
    );
    check(
        r#"{ service = "left" }, { service = "first", after = ["last"] }, { service = "slow", after = ["first", "left"] }, { service = "last", after = ["slow"] }"#,
        "35:61: pipeline[0].stage[1].after: waits for itself: `first` after `last` after `slow` after `first`",
    );
    check(
        r#"{ service = "first", prompt = { law = "constant", count = 5 } }"#,
        "35:40: pipeline[0].stage[0].prompt: expected none: `first` is a classical service, without tokens",
    );
    check(
        r#"{ service = "language", prompt = { law = "uniform", min = 5, max = 4 } }"#,
        "35:77: pipeline[0].stage[0].prompt.max: expected a whole number from 5 to 67108864, got 4",
    );
    check(
        r#"{ service = "first" }, { service = "language", after = ["first"], adds_answers = true }"#,
        "35:91: pipeline[0].stage[1].adds_answers: expected a stage in `after` whose answers have tokens: one of a `service`",
    );
}

#[test]
fn whom_nobody_asks_needs_requests() {
    let stages = r#"{ service = "first" }"#;
    check(
        &text(&[], &pipeline(stages, 1.0, 1)),
        "11:1: classical_service[1].requests: expected `requests`, or a stage of a `pipeline` that asks it\n\
         15:1: classical_service[2].requests: expected `requests`, or a stage of a `pipeline` that asks it\n\
         19:1: classical_service[3].requests: expected `requests`, or a stage of a `pipeline` that asks it\n\
         23:1: service[0].requests: expected exactly one of `trace`, `synthetic`, `sessions` and `users`",
    );
    let twice = kept(&text(&[], &pipeline(stages, 1.0, 1).repeat(2)), stages);
    check(&twice, "17:8: pipeline[1].name: there is another pipeline `all`");
}
