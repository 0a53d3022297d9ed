//! That plots are complete, small and the same every time.

use foretell_reports::{Plot, plots};
use foretell_sim::log::RunResult;

use crate::fixture::{POLICIES, job, manifest, pool_run, tiny_run};

fn drawn(runs: &[RunResult]) -> Vec<Plot> {
    plots(&manifest(), &runs.iter().collect::<Vec<_>>()).unwrap()
}

/// Six policies; odd ones run the shortest job first.
fn six_policies() -> Vec<RunResult> {
    let run = |(index, policy): (usize, &&str)| pool_run(policy, 5_000, 600.0, index % 2 == 1, 60.0);
    POLICIES.iter().enumerate().map(run).collect()
}

fn plot<'a>(plots: &'a [Plot], file: &str) -> &'a str {
    &plots.iter().find(|plot| plot.file == file).unwrap().svg
}

#[test]
fn six_policies_in_small_plots_with_all_names() {
    let runs = six_policies();
    assert!(runs.iter().all(|run| run.timeline.len() > 40_000), "enough samples to thin out");
    let plots = drawn(&runs);
    assert_eq!(plots.len(), 5);
    for Plot { file, svg } in &plots {
        assert!(svg.len() < 200_000, "{file}: {} bytes", svg.len());
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"), "{file} is cut off");
        assert!(svg.contains("two teams &amp; one cluster"), "{file} does not name the scenario");
        assert!(svg.contains("scenario blake3 af1349b9f5f9, seed 7"), "{file} does not name its source");
        for policy in POLICIES {
            assert!(svg.contains(policy), "{file} does not name {policy}");
        }
    }
    assert_eq!(drawn(&runs), plots);
}

#[test]
fn runs_with_little_in_them() {
    let mut empty = tiny_run();
    empty.jobs.clear();
    empty.timeline.clear();
    let plots = drawn(&[empty]);
    assert!(plot(&plots, "allocation.svg").contains("no samples"));
    assert!(plot(&plots, "queue_delay_cdf.svg").contains("no job started"));
    assert!(plot(&plots, "jct_cdf.svg").contains("no job ended"));

    let mut one = tiny_run();
    one.jobs = vec![job("a", 8, 0.0, Some(0.0), Some(100.0))];
    one.timeline.truncate(1);
    let plots = drawn(&[one]);
    assert!(plot(&plots, "allocation.svg").contains("<circle"), "a single sample is a dot");
    assert!(!plot(&plots, "queue_delay_cdf.svg").contains("no job started"));

    assert_eq!(drawn(&[]).len(), 5);
}

#[test]
fn a_distribution_says_of_how_many_jobs_it_is() {
    let plots = drawn(&[tiny_run()]);
    assert!(plot(&plots, "queue_delay_cdf.svg").contains("fifo+fgd (60.0% started)"));
    assert!(plot(&plots, "jct_cdf.svg").contains("fifo+fgd (40.0% ended)"));
}

#[test]
fn load_is_what_has_arrived_when_nothing_departs() {
    let mut run = tiny_run();
    let label = "GPUs requested by all arrived jobs";
    assert!(!plot(&drawn(&[run.clone()]), "fragmentation.svg").contains(label));
    for job in &mut run.jobs {
        job.finish = None;
    }
    assert!(plot(&drawn(&[run]), "fragmentation.svg").contains(label));
}

#[test]
fn utilisation_is_shown_where_it_differs() {
    let mut run = tiny_run();
    let key = "pale: utilisation";
    assert!(!plot(&drawn(&[run.clone()]), "allocation.svg").contains(key));
    run.timeline[2].gpu_utilised_milli /= 2;
    assert!(plot(&drawn(&[run]), "allocation.svg").contains(key));
}
