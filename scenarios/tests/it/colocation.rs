//! Jobs that share GPUs: what a file says of how they slow each other, and what comes of that.

use foretell_scenarios::Plan;
use foretell_scenarios::sim::framework::{ClusterState, Time};
use foretell_scenarios::sim::log::{Observer, Record, RunResult};

use crate::{check, read, with};

/// Twelve jobs of half a GPU each that come at once to sixteen GPUs, with a table `workload.colocation` at the end.
fn text(colocation: &str) -> String {
    let text = with("weight = 1, gpus_per_task = 1", "weight = 1, gpus_per_task = 1, gpu_milli = 500");
    let text = text.replace("jobs = 10\nload = 0.5", "jobs = 12\nrate_per_hour = 1e9");
    let text = text.replace("law = \"exponential\", mean_s = 60", "law = \"fixed\", value_s = 60");
    let text = text.replace("policies = [\"default\"]", "policies = [\"fifo+binpack\"]");
    format!("{text}[workload.colocation]\n{colocation}\n")
}

#[test]
fn what_cannot_be_is_said() {
    check(
        &text(
            "classes = [{ name = \"a\" }, { name = \"a\" }, { name = \"bert\" }]\n\
             pairs = [{ classes = [\"a\", \"berd\"], speeds = [0.5, 0.5] }, { classes = [\"a\", \"a\"], speeds = [0.5, 0.6] },\n\
             { classes = [\"a\", \"bert\"], speeds = [1, 0.6] }, { classes = [\"bert\", \"a\"], speeds = [1, 0.6] }]",
        ),
        "13:37: workload.colocation.classes[1].name: there is another class `a`\n\
         14:28: workload.colocation.pairs[0].classes[1]: unknown class `berd` (did you mean `bert`?)\n\
         14:93: workload.colocation.pairs[1].speeds: expected the same speed twice: both are of one class\n\
         15:61: workload.colocation.pairs[3].classes: there is another pair of `bert` and `a`",
    );
    check(
        &text("classes = [{ name = \"a\" }]\npairs = [{ classes = [\"a\", \"a\"], speeds = [0, 2] }]"),
        "14:44: workload.colocation.pairs[0].speeds[0]: expected a number from 0.000001 to 1, got 0\n\
         14:47: workload.colocation.pairs[0].speeds[1]: expected a number from 0.000001 to 1, got 2",
    );
}

/// Listens to nothing.
struct Deaf;

impl Observer for Deaf {
    fn advance(&mut self, _from: Time, _to: Time, _state: &ClusterState) {}

    fn record(&mut self, _now: Time, _record: &Record<'_>, _state: &ClusterState) {}
}

fn run(text: &str) -> RunResult {
    let plan = Plan::new(read(text, &[]).unwrap()).unwrap();
    plan.run("fifo+binpack", &mut Deaf, &mut |_| ()).unwrap()
}

#[test]
fn jobs_take_as_long_as_the_table_says() {
    let took_s = |pairs: &str| -> Vec<f64> {
        let classes = "classes = [{ name = \"a\", weight = 1 }]";
        let result = run(&text(&format!("{classes}\npairs = [{pairs}]")));
        result.jobs.iter().map(|job| job.finish.unwrap().since(job.start.unwrap()).as_s()).collect()
    };
    // Packed in pairs, all at once: twice as long at half speed.
    for (pairs, expected_s) in [("", 60.0), ("{ classes = [\"a\", \"a\"], speeds = [0.5, 0.5] }", 120.0)] {
        let took_s = took_s(pairs);
        assert!(took_s.iter().all(|took_s| (took_s - expected_s).abs() < 1e-3), "{took_s:?}");
    }
}
