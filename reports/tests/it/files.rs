//! The files themselves: goldens of a tiny run, and that they read back as what was written.

use foretell_framework::Time;
use foretell_reports::{SummaryFile, recompute, write_evictions, write_faults, write_jobs, write_timeline};
use foretell_sim::log::{
    Communication, CommunicationSummary, Distribution, JobCounts, Pace, RunResult, RunSummary,
};
use proptest::prelude::*;

use crate::fixture::{failing_run, faults, job, summary, tiny_run};

fn jobs_csv(run: &RunResult) -> String {
    let mut bytes = Vec::new();
    write_jobs(run, &mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

/// Only where jobs say what they communicate there is more.
#[test]
fn communication_has_columns_of_its_own() {
    let mut run = tiny_run();
    let plain = jobs_csv(&run);
    run.summary.communication = Some(CommunicationSummary::default());
    let mut communication = Communication::default();
    let pace = Pace { speed: 800_000, is_held_back: true, leaf_bytes_per_s: 7, spine_bytes_per_s: 0 };
    communication.add(Time::from_s(10.0), pace);
    run.jobs[1].communication = Some(Box::new(communication));
    let csv = jobs_csv(&run);
    for (index, (line, plain)) in csv.lines().zip(plain.lines()).enumerate() {
        let more = match index {
            0 => ",step_slowdown,held_back_s,leaf_bytes,spine_bytes",
            2 => ",1.25,10,70,0",
            _ => ",,,,",
        };
        assert_eq!(line, format!("{plain}{more}"));
    }
    assert_eq!(recompute(csv.as_bytes()).unwrap(), recompute(plain.as_bytes()).unwrap());
}

#[test]
fn golden_files() {
    let run = tiny_run();
    insta::assert_snapshot!("jobs_csv", jobs_csv(&run));
    let mut timeline = Vec::new();
    write_timeline(&run, &mut timeline).unwrap();
    insta::assert_snapshot!("timeline_csv", String::from_utf8(timeline).unwrap());
    let mut evictions = Vec::new();
    write_evictions(&run, &mut evictions).unwrap();
    insta::assert_snapshot!("evictions_csv", String::from_utf8(evictions).unwrap());
    let mut small = summary("fifo+fgd");
    small.by_queue.truncate(1);
    small.by_user.truncate(1);
    insta::assert_snapshot!(
        "summary_json",
        serde_json::to_string_pretty(&SummaryFile::new([&small])).unwrap()
    );
}

#[test]
fn what_failed_is_in_files_of_its_own() {
    let run = failing_run();
    let mut bytes = Vec::new();
    write_faults(&run, &mut bytes).unwrap();
    insta::assert_snapshot!("faults_csv", String::from_utf8(bytes).unwrap());
    let jobs = jobs_csv(&run);
    let first: Vec<&str> = jobs.lines().take(2).collect();
    assert!(first[0].ends_with(",deadline_s,failures"), "{}", first[0]);
    assert!(first[1].ends_with(",75000000000.5,80,2,160.5,2"), "{}", first[1]);
    let gpu_s = recompute(jobs.as_bytes()).unwrap().gpu_s;
    let others = recompute(jobs_csv(&tiny_run()).as_bytes()).unwrap().gpu_s - 700.0;
    assert!((gpu_s - others - 75_000_000_000.5).abs() < 1e-3, "{gpu_s} {others}");
}

#[test]
fn summary_reads_back() {
    let failed = RunSummary { faults: Some(faults()), ..summary("sjf+fgd") };
    // More bytes than 64 bits hold.
    let sent = CommunicationSummary { jobs: 1, leaf_bytes: 1 << 70, ..CommunicationSummary::default() };
    let communicated = RunSummary { communication: Some(sent), ..summary("fifo+spread") };
    let file = SummaryFile::new([&summary("fifo"), &failed, &communicated]);
    let text = serde_json::to_string(&file).unwrap();
    assert_eq!(serde_json::from_str::<SummaryFile>(&text).unwrap(), file);
}

#[test]
fn figures_recomputed_from_the_tiny_run() {
    let figures = recompute(jobs_csv(&tiny_run()).as_bytes()).unwrap();
    let jobs = JobCounts {
        submitted: 5,
        completed: 1,
        failed: 1,
        running: 1,
        queued: 1,
        never_placed: 1,
        ..Default::default()
    };
    assert_eq!(figures.jobs, jobs);
    let last_s = 151.499_999_999;
    let mean_s = (0.0 + 61.5 + last_s) / 3.0;
    let delays = Distribution { count: 3, mean_s, p50_s: 61.5, p90_s: last_s, p99_s: last_s, max_s: last_s };
    assert_eq!(figures.queue_delay, delays);
    let completion =
        Distribution { count: 2, mean_s: 110.75, p50_s: 60.0, p90_s: 161.5, p99_s: 161.5, max_s: 161.5 };
    assert_eq!(figures.completion_time, completion);
    assert_eq!((figures.makespan_s, figures.gpu_s), (161.5, 700.0 + 0.25 * 60.0));
    assert!((figures.gpu_allocation(8) - 715.0 / (8.0 * 161.5)).abs() < 1e-12);
}

#[test]
fn rows_that_are_not_ours_are_refused() {
    let good = jobs_csv(&tiny_run());
    let check = |from: &str, to: &str, expected: &str| {
        let bad = good.replacen(from, to, 1);
        assert_ne!(bad, good);
        let error = recompute(bad.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    check("job_id,", "", "line 1: expected the header");
    check("61.5,161.5", "61.5,-1", "line 2: expected seconds, not `-1`");
    check(",completed", ",done", "line 2: expected a status, not `done`");
    check("bob,1,", "bob,many,", "line 3: expected a whole number, not `many`");
    check("1000,0,", "1000,,", "line 2: expected a submit_s");
    check(",1,8,1,700,", ",1,8,many,700,", "line 2: expected a whole number, not `many`");
    check(",1,8,1,700,", ",1,8,1,much,", "line 2: expected seconds, not `much`");
    check(",1,0.25,", ",1,some,", "line 3: expected GPUs, not `some`");
    check(",completed,", ",completed", "line: 2");
}

proptest! {
    /// Nearest rank: the smallest element that at least that share of the set does not exceed.
    #[test]
    fn times_survive_to_the_nanosecond(times in prop::collection::vec((0..1u64 << 50, 0..1u64 << 50, 0..1u64 << 50), 1..200)) {
        let mut run = tiny_run();
        let nanos = Time::from_nanos;
        run.jobs = times
            .iter()
            .map(|&(submit, delay, duration)| {
                let mut job = job("a", 1, 0.0, Some(0.0), Some(0.0));
                job.submit = nanos(submit);
                job.start = Some(nanos(submit + delay));
                job.finish = Some(nanos(submit + delay + duration));
                job
            })
            .collect();
        let figures = recompute(jobs_csv(&run).as_bytes()).unwrap();
        let delays_s: Vec<f64> = times.iter().map(|times| nanos(times.1).as_s()).collect();
        let distribution = figures.queue_delay;
        prop_assert_eq!(distribution.count, times.len() as u64);
        prop_assert!((distribution.mean_s * times.len() as f64 / delays_s.iter().sum::<f64>() - 1.0).abs() < 1e-9);
        for (percent, value_s) in
            [(50, distribution.p50_s), (90, distribution.p90_s), (99, distribution.p99_s), (100, distribution.max_s)]
        {
            let not_larger = |value_s: f64| delays_s.iter().filter(|delay_s| **delay_s <= value_s).count() * 100;
            prop_assert!(not_larger(value_s) >= percent * times.len());
            let smaller = delays_s.iter().filter(|delay_s| **delay_s < value_s).count() * 100;
            prop_assert!(smaller < percent * times.len());
            prop_assert!(delays_s.contains(&value_s));
        }
    }
}
