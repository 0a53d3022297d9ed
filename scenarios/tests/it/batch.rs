//! Jobs of requests with a deadline.

use foretell_scenarios::service::Served;

use crate::check;
use crate::services::{POISSON, served, text};

/// Eight requests a second to an H100 for 50 s, and what else there is.
fn one(more: &str) -> Served {
    let service = format!("engine = {{ priorities = true }}\nslo = {{ ttft_s = 1, tpot_s = 0.03 }}\n{more}");
    served(&text(&service, POISSON), &[]).remove(0)
}

fn job(deadline_s: u32, more: &str) -> String {
    format!(
        "batch = [{{ name = \"nightly\", submit_s = 10, deadline_s = {deadline_s}, count = 600, prompt = {{ law = \"constant\", count = 500 }}, \
         output = {{ law = \"uniform\", min = 50, max = 150 }}{more} }}]"
    )
}

#[test]
fn what_cannot_be_is_said() {
    check(
        &text(&job(60, ""), POISSON),
        "10:9: service[0].batch: expected `engine.priorities = true` and `engine.batcher = \"vllm\"` beside it: else jobs delay all others",
    );
}

#[test]
fn a_job_is_done_beside_the_others() {
    let alone = one("");
    let served = one(&job(60, ", max_outstanding = 64"));
    assert_eq!((served.outcomes.len(), served.refused.len()), (1000, 0));
    let nightly = &served.batches[0];
    assert_eq!((nightly.requests, nightly.answered, nightly.refused), (600, 600, 0));
    assert_eq!(nightly.prompt_tokens, 600 * 500);
    assert!((600 * 90..600 * 110).contains(&nightly.output_tokens), "{}", nightly.output_tokens);
    assert!(nightly.is_met(), "{nightly:?}");
    // What is promised is promised to the others, of which nobody is missing.
    assert_eq!(served.summary.requests, 400);
    assert_eq!(served.windows().iter().map(|window| window.arrived).sum::<u64>(), 400);
    assert!(served.summary.slo_attainment > 0.99, "{}", served.summary.slo_attainment);
    assert!(served.summary.tpot_s.mean > alone.summary.tpot_s.mean);
    // Nothing of it is there before it is submitted, and never more than it may have at once.
    let mut changes: Vec<(u64, i32)> = Vec::new();
    for (_, outcome) in served.outcomes.iter().filter(|(_, one)| served.is_of_job(one.request)) {
        assert!(outcome.arrival_ns >= 10_000_000_000);
        changes.extend([(outcome.arrival_ns, 1), (outcome.last_token_ns, -1)]);
    }
    changes.sort_unstable();
    let mut there = 0;
    let most = changes.iter().map(|&(_, change)| {
        there += change;
        there
    });
    assert_eq!(most.max(), Some(64));
    // Requests that are of no job are what they were.
    let lengths = |served: &Served| -> Vec<(u64, u32, u32)> {
        let others = served.outcomes.iter().filter(|(_, one)| !served.is_of_job(one.request));
        others.map(|(_, one)| (one.arrival_ns, one.prompt_tokens, one.output_tokens)).collect()
    };
    assert_eq!(lengths(&alone), lengths(&served));
}

#[test]
fn a_job_that_is_late_has_missed() {
    let served = one(&job(1, ""));
    let nightly = &served.batches[0];
    assert_eq!(nightly.answered, 600);
    assert!(!nightly.is_met() && nightly.last_s > 11.0, "{nightly:?}");
}

#[test]
fn the_others_go_first() {
    // All of a job at once, more than can run: the others wait for one of its sequences to end, not for the job.
    let served = one(&job(600, ""));
    let without = one(&job(600, ", priority = 0"));
    assert!(served.summary.ttft_s.mean < without.summary.ttft_s.mean);
    assert!(served.summary.slo_attainment > without.summary.slo_attainment);
}
