//! Which policies need not run with another seed.

use std::fmt::Write as _;

use foretell_scenarios::registry::all_names;
use foretell_scenarios::sim::log::{RunResult, RunSummary};
use foretell_scenarios::{Plan, parse};

use crate::{Nobody, environment};

/// Jobs of 1 to 16 GPUs that come faster than 16 GPUs can run them, so that orders matter and jobs are preempted.
fn trace() -> String {
    let mut trace = String::from("job_id,user,queue,submit_s,duration_s,tasks,gpus_per_task\n");
    for job in 0..60_u32 {
        let (tasks, gpus) = [(1, 1), (1, 4), (2, 8), (1, 2), (1, 8)][job as usize % 5];
        let (user, queue, duration_s) = (job % 3, job % 2, 100 + job * 7919 % 900);
        writeln!(trace, "j{job},u{user},q{queue},{},{duration_s},{tasks},{gpus}", job * 40).unwrap();
    }
    trace
}

#[test]
fn a_run_that_depends_on_no_seed_is_the_same_with_another() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("jobs.csv"), trace()).unwrap();
    let plan = |policy: &str, seed: u64| {
        let text = format!(
            "version = 1\nname = \"seeds\"\nseed = {seed}\n[cluster]\nnodes = [{{ type = \"dgx-h100\", count = 2 }}]\n\
             [workload]\ntrace = {{ path = \"jobs.csv\" }}\n[preemption]\ncheckpoint_interval_s = 0\n\
             [scheduler]\nestimate_error = 0.8\npolicies = [\"{policy}\"]\n[scheduler.ordering]\ninterval_s = 60\n\
             [metrics]\nwait_reasons = false\n"
        );
        let loaded = parse("s.toml", &text, &[], directory.path(), environment(None)).unwrap();
        Plan::new(loaded.scenario).unwrap()
    };
    let run = |plan: &Plan, policy: &str| plan.run(policy, &mut Nobody, &mut |_| ()).unwrap();
    let shown = |result: &RunResult| {
        let summary = RunSummary { seed: 0, ..result.summary.clone() };
        format!("{:?} {:?} {:?} {summary:?}", result.jobs, result.timeline, result.evictions)
    };
    let placements = ["+binpack", "+random"];
    let is_tried = |name: &String| !name.contains('+') || placements.iter().any(|end| name.ends_with(end));
    let mut independent = Vec::new();
    for policy in all_names().into_iter().filter(is_tried) {
        let first = plan(&policy, 1);
        let result = run(&first, &policy);
        if !first.depends_on_seed(&policy, &result) {
            let other = run(&plan(&policy, 2), &policy);
            assert_eq!(shown(&result), shown(&other), "{policy}");
            independent.push(policy);
        }
    }
    for (policy, expected) in [
        ("fifo+binpack", true),
        ("las+binpack", true),
        ("kai", true),
        ("kueue", true),
        ("las+random", false),
        ("srtf+binpack", false),
    ] {
        assert_eq!(independent.iter().any(|name| name == policy), expected, "{policy} in {independent:?}");
    }
}
