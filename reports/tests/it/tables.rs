//! Goldens of the terminal tables, and that no line is wider than asked for.

use foretell_reports::{comparison_table, summary_table};
use foretell_sim::log::{CommunicationSummary, Distribution, Fairness, JobCounts, RunSummary};
use proptest::prelude::*;

use crate::fixture::{faults, summaries, summary};

fn widest(text: &str) -> usize {
    text.lines().map(|line| line.chars().count()).max().unwrap_or(0)
}

fn check_summary(name: &str, summary: &RunSummary, width: u16) {
    let text = summary_table(summary, width);
    assert!(widest(&text) <= width.into(), "{} columns:\n{text}", widest(&text));
    insta::assert_snapshot!(name, text);
}

fn check_comparison(name: &str, summaries: &[RunSummary], width: u16) {
    let text = comparison_table(summaries, width);
    assert!(widest(&text) <= width.into(), "{} columns:\n{text}", widest(&text));
    insta::assert_snapshot!(name, text);
}

#[test]
fn summary_of_a_month() {
    check_summary("summary_80", &summary("fifo+gpu-clustering"), 80);
    check_summary("summary_120", &summary("fifo+gpu-clustering"), 120);
}

#[test]
fn summary_of_nothing() {
    let nothing = RunSummary {
        jobs: JobCounts::default(),
        queue_delay: Distribution::default(),
        completion_time: Distribution::default(),
        fairness: Fairness::default(),
        by_size: Vec::new(),
        by_queue: Vec::new(),
        by_user: Vec::new(),
        reasons: Vec::new(),
        waits: Vec::new(),
        evictions: 0,
        gpu_lost_s: 0.0,
        gpu_partial_s: 0.0,
        ..summary("fifo")
    };
    check_summary("summary_empty_80", &nothing, 80);
}

#[test]
fn deadlines_and_resizes_are_shown_where_there_are_any() {
    let elastic = |policy, deadlines, deadlines_met, resizes| RunSummary {
        deadlines,
        deadlines_met,
        resizes,
        ..summary(policy)
    };
    check_summary("summary_elastic_80", &elastic("optimus", 1_000, 812, 34_567), 80);
    assert!(!summary_table(&elastic("optimus", 0, 0, 3), 80).contains("Deadlines"));
    assert!(!summary_table(&elastic("optimus", 5, 3, 0), 80).contains("Resizes"));
    let runs = [elastic("fifo", 1_000, 512, 0), elastic("optimus", 1_000, 812, 34_567)];
    check_comparison("comparison_elastic_80", &runs, 80);
}

#[test]
fn communication_is_shown_where_jobs_say_what_they_communicate() {
    let communicating = |policy, slowdown_mean, leaf_bytes| RunSummary {
        communication: Some(CommunicationSummary {
            jobs: 800,
            slowdown_mean,
            slowdown_p99: 2.0 * slowdown_mean,
            held_back: 0.25,
            leaf_bytes,
            spine_bytes: leaf_bytes / 8,
        }),
        ..summary(policy)
    };
    let runs = [
        communicating("fifo+random", 1.5, 12_000_000_000_000_000),
        communicating("fifo+topology", 1.0625, 1_500_000_000_000_000),
    ];
    check_summary("summary_communication_80", &runs[0], 80);
    check_comparison("comparison_communication_80", &runs, 80);
}

#[test]
fn failures_are_shown_where_anything_fails() {
    check_summary("summary_faults_80", &RunSummary { faults: Some(faults()), ..summary("fifo") }, 80);
}

#[test]
fn comparison_of_six_policies() {
    check_comparison("comparison_80", &summaries(), 80);
    check_comparison("comparison_120", &summaries(), 120);
}

/// Means and deviations of two policies over three seeds, by hand: 100, 200, 300 evictions are 200 ± 100.
#[test]
fn comparison_of_seeds() {
    let mut runs = Vec::new();
    for (policy, delays_s) in [("fifo", [600.0, 1_200.0, 1_800.0]), ("sjf", [300.0, 300.0, 300.0])] {
        for (index, delay_s) in delays_s.into_iter().enumerate() {
            let mut run = summary(policy);
            run.seed = 42 + index as u64;
            run.evictions = 100 * (index as u64 + 1);
            run.queue_delay.mean_s = delay_s;
            runs.push(run);
        }
    }
    check_comparison("comparison_seeds_80", &runs, 80);
}

#[test]
fn a_policy_that_started_nothing_does_not_win() {
    let mut runs = summaries();
    runs.truncate(2);
    runs[1].queue_delay = Distribution::default();
    runs[1].completion_time = Distribution::default();
    check_comparison("comparison_nothing_started_80", &runs, 80);
}

proptest! {
    #[test]
    fn no_line_is_wider_than_asked_for(
        policy in "[a-z+ -]{0,60}",
        scale in prop_oneof![Just(0.0), Just(1.0), 1e-6..1e4f64],
        width in 72u16..160,
    ) {
        let mut run = summary(&policy);
        for distribution in [&mut run.queue_delay, &mut run.completion_time] {
            distribution.mean_s *= scale;
            distribution.p99_s *= scale;
        }
        let table = summary_table(&run, width);
        prop_assert!(widest(&table) <= width.into(), "{table}");
        let table = comparison_table([&run, &summary("fifo"), &summary("sjf")], width);
        prop_assert!(widest(&table) <= width.into(), "{table}");
    }
}
