//! The figures of summary.json against jobs.csv, recomputed.

use std::fs::File;

use foretell_reports::{Recomputed, SummaryFile, recompute};

use crate::support::run_into;

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-6 * a.abs().max(b.abs()).max(1e-3)
}

#[test]
fn summaries_follow_from_the_jobs() {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("out");
    let more =
        ["--policy", "fifo+fgd,fifo-skip+spread,sjf+best-fit", "--set", "workload.synthetic.jobs=1500"];
    run_into(&out, "scenarios/library/quickstart.toml", &more);
    let summary: SummaryFile =
        serde_json::from_reader(File::open(out.join("summary.json")).unwrap()).unwrap();
    assert_eq!(summary.runs.len(), 3);
    for (run, directory) in summary.runs.iter().zip(["fifo-fgd", "fifo-skip-spread", "sjf-best-fit"]) {
        let jobs = File::open(out.join(directory).join("jobs.csv")).unwrap();
        let recomputed: Recomputed = recompute(jobs).unwrap();
        assert_eq!(run.jobs.submitted, recomputed.jobs.submitted, "{directory}");
        assert_eq!(run.jobs.completed, recomputed.jobs.completed, "{directory}");
        assert_eq!(run.jobs.never_placed, recomputed.jobs.never_placed, "{directory}");
        assert!(close(run.makespan_s, recomputed.makespan_s), "{directory}");
        let gpus = run.gpus;
        assert!(close(run.gpu_allocation, recomputed.gpu_allocation(gpus)), "{directory}");
        for (reported, naive) in
            [(&run.queue_delay, &recomputed.queue_delay), (&run.completion_time, &recomputed.completion_time)]
        {
            assert_eq!(reported.count, naive.count, "{directory}");
            assert!(
                close(reported.mean_s, naive.mean_s) && close(reported.p99_s, naive.p99_s),
                "{directory}"
            );
        }
    }
}
