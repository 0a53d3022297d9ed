//! Elastic jobs and deadlines, as scenarios say them.

use foretell_scenarios::Plan;
use foretell_scenarios::sim::framework::{ClusterState, GpuModelId, Time};
use foretell_scenarios::sim::log::{Observer, Record};

use crate::{check, read, with};

/// One size of one-GPU tasks with something more said of it.
fn size(tasks: u32, text: &str) -> String {
    let sizes = format!("sizes = [{{ weight = 1, tasks = {tasks}, gpus_per_task = 1, {text} }}]");
    with("sizes = [{ weight = 1, gpus_per_task = 1 }]", &sizes)
}

#[test]
fn a_reservation_that_nobody_honours_is_a_warning() {
    let kept = "[[reservation]]\nname = \"k\"\nstart_s = 0\nduration_s = 9\ngpus = 1\n";
    let text =
        format!("{}{kept}", with("policies = [\"default\"]", "policies = [\"fifo+binpack\", \"sia\"]"));
    let warnings = read(&text, &[]).unwrap().scheduler.warnings;
    assert_eq!(warnings, ["sia: does not honour reservations"]);
}

#[test]
fn what_cannot_be_is_said() {
    check(
        &size(4, "scaling = { amdahl = 0.1, speeds = [1, 2] }"),
        "8:64: workload.synthetic.sizes[0].scaling: expected at most one of `amdahl`, `communication` and `speeds`",
    );
    check(
        &size(4, "scaling = { max_tasks = 3 }"),
        "8:78: workload.synthetic.sizes[0].scaling.max_tasks: expected a whole number from 4 to 4096, got 3",
    );
    check(
        &size(4, "scaling = { model_speeds = { H10 = 0.5 } }"),
        "8:81: workload.synthetic.sizes[0].scaling.model_speeds: unknown GPU model `H10` (did you mean `H100`?)",
    );
    check(
        &size(4, "deadline = { min_slack = 2, max_slack = 1 }"),
        "8:79: workload.synthetic.sizes[0].deadline.min_slack: expected a number from 0 to 1, got 2",
    );
}

#[test]
fn a_policy_that_gives_no_shares_of_gpus_refuses_them() {
    let sizes = with("gpus_per_task = 1", "gpus_per_task = 1, gpu_milli = 500")
        .replace("\"default\"", "\"sia+binpack\"");
    let error = Plan::new(read(&sizes, &[]).unwrap()).err().map(|error| error.to_string());
    let expected = "policy `sia+binpack` gives whole GPUs only: job `job-0` asks for a share of one and would wait for ever";
    assert_eq!(error.as_deref(), Some(expected));
}

/// What the first job is like.
#[derive(Default)]
struct First {
    tasks: Option<(u32, u32)>,
    speeds: Vec<u64>,
    slack_s: Option<(f64, f64)>,
}

impl Observer for First {
    fn advance(&mut self, _from: Time, _to: Time, _state: &ClusterState) {}

    fn record(&mut self, now: Time, record: &Record<'_>, _state: &ClusterState) {
        let Record::JobSubmitted { job: 0, submission } = record else { return };
        self.tasks = Some((submission.min_member(), submission.tasks()));
        if let Some(law) = &submission.scaling {
            let model = GpuModelId::new(0);
            let speeds =
                |done, is_one_node| (1..=3).map(move |tasks| law.speed(done, tasks, model, is_one_node));
            self.speeds = speeds(0, true).chain(speeds(0, false)).chain(speeds(600_000, true)).collect();
        }
        let due_s = submission.deadline.map(|deadline| deadline.since(now).as_s());
        self.slack_s = due_s.zip(submission.duration.map(Time::as_s));
    }
}

#[test]
fn only_policies_that_choose_sizes_have_a_choice() {
    let text = size(
        2,
        "scaling = { max_tasks = 8, communication = 0.5, across_nodes = 0.5, model_speeds = { H100 = 0.5 }, \
         phases = [{ from = 0.5, speeds = [0.5, 1, 3] }] }, deadline = { min_slack = 2, max_slack = 2.5 }",
    );
    let plan = Plan::new(read(&text, &[]).unwrap()).unwrap();
    for (policy, tasks) in [("fifo+binpack", (2, 2)), ("optimus", (1, 8)), ("elasticflow+spread", (1, 8))] {
        let mut first = First::default();
        let result = plan.run(policy, &mut first, &mut |_| ()).unwrap();
        assert_eq!(first.tasks, Some(tasks), "{policy}");
        // Of 2 s on two tasks 1 is communication: 2 s on one, 1 + 2/3 on three; half as fast on this model.
        let expected = [500_000, 500_000, 600_000, 250_000, 250_000, 300_000, 250_000, 500_000, 1_500_000];
        assert_eq!(first.speeds, expected, "{policy}");
        let (slack_s, duration_s) = first.slack_s.unwrap();
        assert!((2.0..=2.5).contains(&(slack_s / duration_s)), "{slack_s} of {duration_s}");
        assert_eq!((result.summary.jobs.completed, result.summary.deadlines), (10, 10), "{policy}");
        assert_eq!(result.jobs[0].gpu_milli_total, 2000);
    }
}

/// Two GPUs of two models, and two jobs that are as fast on the first: one keeps nearly all of that on the second, the other
/// nearly nothing.
const TWO_MODELS: &str = r#"
version = 1
name = "two-models"

[cluster]
nodes = [{ type = "one-v100", count = 1 }, { type = "one-p100", count = 1 }]
node_types = [
    { name = "one-v100", cpus = 8, memory = "64 GiB", gpu = "V100-16", gpus = 1 },
    { name = "one-p100", cpus = 8, memory = "64 GiB", gpu = "P100", gpus = 1 },
]

[workload.synthetic]
jobs = 40
load = 0.5
duration = { law = "fixed", value_s = 7200 }
sizes = [
    { weight = 1, gpus_per_task = 1, scaling = { max_tasks = 1, model_speeds = { "V100-16" = 1, P100 = 0.9 } } },
    { weight = 1, gpus_per_task = 1, scaling = { max_tasks = 1, model_speeds = { "V100-16" = 1, P100 = 0.1 } } },
]

[scheduler]
policies = ["POLICY"]
ordering = { gpu_cost_per_h = { "V100-16" = 2.0, P100 = 1.0 } }

[preemption]
checkpoint_interval_s = 0
"#;

#[test]
fn who_knows_speeds_gives_jobs_the_gpus_that_suit_them() {
    let mean_s = |policy: &str| {
        let text = TWO_MODELS.replace("POLICY", policy);
        let plan = Plan::new(read(&text, &[]).unwrap()).unwrap();
        let result = plan.run(policy, &mut First::default(), &mut |_| ()).unwrap();
        assert_eq!(result.summary.jobs.completed, 40, "{policy}");
        result.summary.completion_time.mean_s
    };
    let fifo_s = mean_s("fifo+binpack");
    for policy in ["gavel", "gavel-finish-time", "gavel-makespan", "gavel-throughput", "gavel-cost"] {
        let policy_s = mean_s(policy);
        assert!(policy_s < 0.8 * fifo_s, "{policy}: {policy_s} s, fifo {fifo_s} s");
    }
}

#[test]
fn prices_are_of_known_models_and_above_zero() {
    check(
        &TWO_MODELS.replace("POLICY", "gavel-cost").replace("P100 = 1.0", "P101 = 0"),
        "23:57: scheduler.ordering.gpu_cost_per_h.P101: unknown GPU model `P101` (did you mean `P100`?)\n\
         23:57: scheduler.ordering.gpu_cost_per_h.P101: expected a number above 0, got 0",
    );
}
