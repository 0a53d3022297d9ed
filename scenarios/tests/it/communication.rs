//! What jobs communicate: what a file says of it, and what comes of that.

use foretell_scenarios::Plan;
use foretell_scenarios::fabric::collectives::Collective;
use foretell_scenarios::scenario::{CommunicationSize, Steps};
use foretell_scenarios::sim::framework::{ClusterState, Time};
use foretell_scenarios::sim::log::{JobStatus, Observer, Record, RunResult};

use crate::{check, read, with};

/// Ten jobs of 16 GPUs on four nodes of eight, with more lines for the cluster, and a table `workload.communication` at the end.
fn text(fabric: &str, communication: &str) -> String {
    let text = with("count = 2 }]", &format!("count = 4 }}]\n{fabric}"));
    let text = text.replace("weight = 1, gpus_per_task = 1", "weight = 1, tasks = 2, gpus_per_task = 8");
    format!("{text}[workload.communication]\n{communication}\n")
}

fn wrong(communication: &str, expected: &str) {
    check(&text("", communication), expected);
}

#[test]
fn a_file_describes_classes() {
    let text = text(
        "fabric = { shape = \"leaf_spine\", nodes_per_leaf = 1, oversubscription = 4 }",
        "phases = \"synchronised\"\n\
         classes = [{ name = \"a\", share = 0.5 }, { name = \"b\", weight = 3, compute_s = 0.2, \
         bytes = \"2 GiB\", overlap = 0.25, collective = \"all_to_all\" }]",
    );
    let communication = read(&text, &[]).unwrap().communication.unwrap();
    assert!(communication.is_synchronised);
    let [one, other] = &*communication.classes else { panic!("expected two classes") };
    let size = CommunicationSize::Share { share: 0.5, nodes: 2 };
    let steps = Steps::Profile { compute_s: 1.0, size, overlap: 0.0, collective: Collective::AllReduce };
    assert_eq!((one.weight, &one.steps), (1.0, &steps));
    let size = CommunicationSize::Bytes(2 << 30);
    let steps = Steps::Profile { compute_s: 0.2, size, overlap: 0.25, collective: Collective::AllToAll };
    assert_eq!((other.weight, &other.steps), (3.0, &steps));
}

#[test]
fn what_cannot_be_is_said() {
    wrong(
        "classes = [{ name = \"a\", share = 0.5, bytes = \"1 GB\" }, { name = \"a\" },\n\
         { name = \"b\", bytes = \"1 GB\", reference_nodes = 2 }]",
        "14:12: workload.communication.classes[0]: expected exactly one of `share`, `bytes` and `train`, got both\n\
         14:57: workload.communication.classes[1]: expected exactly one of `share`, `bytes` and `train`, got none\n\
         14:66: workload.communication.classes[1].name: there is another class `a`\n\
         15:49: workload.communication.classes[2].reference_nodes: belongs to `share`",
    );
    wrong(
        "phases = \"synchronised\"\nclasses = [{ name = \"a\", share = 0.5 }]",
        "14:10: workload.communication.phases: there is no fabric (without `cluster.fabric` jobs share no links)",
    );
    wrong(
        "classes = [{ name = \"a\", share = 1 }]",
        "14:34: workload.communication.classes[0].share: expected a number of at least 0 and below 1, got 1",
    );
    check(
        &text("", "classes = [{ name = \"a\", share = 0.5 }]").replace("dgx-h100", "philly-8"),
        "13:1: workload.communication: what NCCL does on GPUs of node type `philly-8` is not known",
    );
}

#[test]
fn what_cannot_be_trained_is_said() {
    wrong(
        "classes = [{ name = \"a\", share = 0.5, train = { model = \"llama-3-7b\" } }]",
        "14:34: workload.communication.classes[0].share: follows from the model that `train` names\n\
         14:57: workload.communication.classes[0].train.model: unknown model `llama-3-7b` (did you mean `llama-2-7b`?)",
    );
    wrong(
        "classes = [{ name = \"a\", train = { model = \"llama-3-8b\", strategy = \"tp8qq\" } }]",
        "14:69: workload.communication.classes[0].train.strategy: unknown part `qq` in strategy `tp8qq`: expected auto, ddp, \
         horovod, zero1, zero2, zero3, fsdp, fsdp-grad-op, fsdp-hybrid, ps<N>, ps<N>-async, and tp<N>, sp, cp<N>, pp<N>, v<N>, ep<N>, \
         dp<N>, such as `fsdp-hybrid` or `tp8pp4dp16`",
    );
    // Whether a model fits is known when there is a job.
    let train = "classes = [{ name = \"a\", train = { model = \"llama-3-405b\" } }]";
    let plan = Plan::new(read(&text("", train), &[]).unwrap()).unwrap();
    let error = plan.run("default", &mut Deaf, &mut |_| ()).unwrap_err();
    let mut message = error.to_string();
    let mut cause: &dyn std::error::Error = &error;
    while let Some(next) = cause.source() {
        message = format!("{message}: {next}");
        cause = next;
    }
    assert!(message.contains("llama-3-405b does not fit"), "{message}");
    assert!(message.contains("of which 79.3 GiB are usable: what makes it fit is more GPUs"), "{message}");
}

/// A job that goes out of memory fails by itself, and says why; the others go on.
#[test]
fn what_does_not_fit_fails_alone() {
    let train = "classes = [{ name = \"a\", weight = 1, train = { model = \"llama-3-405b\" } }, \
                 { name = \"b\", weight = 1, share = 0.1 }]";
    let result = run(&text("", train));
    let (mut failed, mut completed) = (0, 0);
    for job in &result.jobs {
        match job.status {
            JobStatus::Failed => {
                failed += 1;
                let reason = job.reason.as_deref().unwrap_or_default();
                assert!(reason.starts_with("llama-3-405b does not fit: "), "{reason}");
                let held = job.finish.zip(job.start).map(|(finish, start)| finish.since(start).as_s());
                assert_eq!(held, Some(120.0));
            }
            _ => completed += 1,
        }
    }
    assert!(failed > 0 && completed > 0, "{failed} {completed}");
    let reasons = &result.summary.reasons;
    assert_eq!(*reasons, [("failed by itself: out of memory".to_owned(), failed)]);
}

/// An elastic job that trains is as fast on other numbers of GPUs as its model is there, unless a law is told.
#[test]
fn elastic_jobs_scale_as_their_model() {
    let ends = |law: &str| {
        let sizes = format!(
            "sizes = [{{ weight = 1, tasks = 8, gpus_per_task = 1, scaling = {{ min_tasks = 2, max_tasks = 16{law} }} }}]"
        );
        let train = "classes = [{ name = \"a\", train = { model = \"vgg-16\", strategy = \"horovod\", precision = \"fp16\", \
                     samples_per_gpu = 32, steps = 5000 } }]";
        let text = text("", train).replace("jobs = 10", "jobs = 1");
        let at = text.find("sizes = ").unwrap();
        let line = &text[at..at + text[at..].find('\n').unwrap()];
        let plan = Plan::new(read(&text.replace(line, &sizes), &[]).unwrap()).unwrap();
        let finish = |policy: &str| {
            let result = plan.run(policy, &mut Deaf, &mut |_| ()).unwrap();
            let job = &result.jobs[0];
            job.finish.unwrap().since(job.start.unwrap()).as_s()
        };
        finish("fifo+binpack") / finish("elasticflow")
    };
    let (model, told) = (ends(""), ends(", amdahl = 0.0"));
    assert!((told - 2.0).abs() < 0.01, "{told}");
    assert!(model > 1.0 && model < 1.9, "{model}");
}

/// An elastic job that grows beyond its node goes on at the pace of where its tasks are then: with little way up between two leaves slower
/// than under one, where it is as fast as its scaling says; on its own node the network is nothing to it.
#[test]
fn elastic_jobs_feel_where_they_grow_to() {
    let finish = |policy: &str, nodes_per_leaf: u32| {
        let fabric = format!(
            "fabric = {{ shape = \"leaf_spine\", nodes_per_leaf = {nodes_per_leaf}, oversubscription = 32 }}"
        );
        let train = "classes = [{ name = \"a\", train = { model = \"vgg-16\", strategy = \"horovod\", precision = \"fp16\", \
                     samples_per_gpu = 32, steps = 5000 } }]";
        let sizes = "sizes = [{ weight = 1, tasks = 8, gpus_per_task = 1, scaling = { min_tasks = 2, max_tasks = 16 } }]";
        let text = text(&fabric, train).replace("jobs = 10", "jobs = 1");
        let at = text.find("sizes = ").unwrap();
        let line = &text[at..at + text[at..].find('\n').unwrap()];
        let plan = Plan::new(read(&text.replace(line, sizes), &[]).unwrap()).unwrap();
        let result = plan.run(policy, &mut Deaf, &mut |_| ()).unwrap();
        let job = &result.jobs[0];
        job.finish.unwrap().since(job.start.unwrap()).as_s()
    };
    let [near, far] = [4, 1].map(|nodes_per_leaf| finish("elasticflow", nodes_per_leaf));
    assert!(far > 1.1 * near, "{far} s across leaves, {near} s under one");
    let [near, far] = [4, 1].map(|nodes_per_leaf| finish("fifo+binpack", nodes_per_leaf));
    assert_eq!(near.to_bits(), far.to_bits());
}

/// Two nodes alone are the reference; on leaves of a node at 8:1 what a model sends is slowed, of a heavy model more.
#[test]
fn models_are_slowed_by_where_they_are() {
    let slowest = |train: &str| {
        let fabric = "fabric = { shape = \"leaf_spine\", nodes_per_leaf = 1, oversubscription = 8 }";
        let result = run(&text(fabric, &format!("classes = [{{ name = \"a\", train = {{ {train} }} }}]")));
        let slowdowns = result.jobs.iter().filter_map(|job| job.communication.as_ref()?.slowdown());
        slowdowns.fold(0.0, f64::max)
    };
    let vgg = slowest("model = \"vgg-16\", strategy = \"ddp\", precision = \"fp16\", samples_per_gpu = 32");
    let resnet =
        slowest("model = \"resnet-50\", strategy = \"ddp\", precision = \"fp16\", samples_per_gpu = 32");
    let llama = slowest("model = \"llama-3-8b\", strategy = \"fsdp\", samples_per_gpu = 1");
    assert!(vgg > 1.2 && vgg > resnet && resnet >= 1.0, "vgg-16 {vgg}, resnet-50 {resnet}");
    assert!(llama > 1.05, "llama-3-8b {llama}");
}

#[test]
fn how_long_is_said_once_and_in_what_there_is() {
    wrong(
        "classes = [{ name = \"a\", train = { model = \"resnet-50\", steps = 10, tokens = 10 } }]",
        "14:78: workload.communication.classes[0].train.tokens: expected one of `steps` and `tokens`, got both\n\
         14:78: workload.communication.classes[0].train.tokens: `resnet-50` knows no tokens (give `steps`)",
    );
    wrong(
        "classes = [{ name = \"a\", train = { model = \"llama-3-8b\", steps = 0 } }]",
        "14:66: workload.communication.classes[0].train.steps: expected a whole number of at least 1, got 0",
    );
}

/// One job on two nodes, each under a leaf of its own if `nodes_per_leaf` is 1. When it ends, and its steps' slowdown.
fn trains(nodes_per_leaf: u32, train: &str) -> (f64, f64) {
    let fabric = format!(
        "fabric = {{ shape = \"leaf_spine\", nodes_per_leaf = {nodes_per_leaf}, oversubscription = 8 }}"
    );
    let train = format!("model = \"llama-3-8b\", strategy = \"fsdp\", samples_per_gpu = 1, {train}");
    let text = text(&fabric, &format!("classes = [{{ name = \"a\", train = {{ {train} }} }}]"));
    let result = run(&text.replace("jobs = 10", "jobs = 1"));
    let [job] = &*result.jobs else { panic!("expected one job") };
    let slowdown = job.communication.as_ref().unwrap().slowdown().unwrap();
    (job.finish.unwrap().as_s() - job.start.unwrap().as_s(), slowdown)
}

#[test]
fn what_a_job_trains_says_when_it_ends() {
    let near =
        |one: f64, other: f64| assert!((one / other - 1.0).abs() < 1e-5, "{one} s, expected {other} s");
    // Alone under one leaf it makes its reference steps.
    let (one_s, slowdown) = trains(4, "steps = 1");
    assert!((slowdown - 1.0).abs() < 1e-6, "{slowdown}");
    near(trains(4, "steps = 1000").0, 1000.0 * one_s);
    // A step is 16 sequences of 8,192 tokens; one that is begun is made.
    near(trains(4, "tokens = 131_072").0, one_s);
    near(trains(4, "tokens = 131_073").0, 2.0 * one_s);
    // Under leaves of their own, with an eighth of the way up, every step takes longer and so does the job.
    let (far_s, slowdown) = trains(1, "steps = 1000");
    assert!(slowdown > 1.05, "{slowdown}");
    near(far_s, 1000.0 * one_s * slowdown);
}

#[test]
fn a_job_with_one_gpu_trains_as_long_as_it_says() {
    let train = |steps: u32| {
        let train = format!("train = {{ model = \"resnet-50\", steps = {steps} }}");
        let text = text("", &format!("classes = [{{ name = \"a\", {train} }}]"));
        let result = run(&text.replace("tasks = 2, gpus_per_task = 8", "gpus_per_task = 1"));
        let durations = result.jobs.iter().map(|job| job.finish.unwrap().as_s() - job.start.unwrap().as_s());
        durations.collect::<Vec<_>>()
    };
    let (one, hundred) = (train(1), train(100));
    assert!(one[0] > 0.01 && one.iter().all(|one_s| (one_s - one[0]).abs() < 1e-6), "{one:?}");
    assert!((hundred[0] / one[0] - 100.0).abs() < 1e-3, "{hundred:?} {one:?}");
}

/// Listens to nothing.
struct Deaf;

impl Observer for Deaf {
    fn advance(&mut self, _from: Time, _to: Time, _state: &ClusterState) {}

    fn record(&mut self, _now: Time, _record: &Record<'_>, _state: &ClusterState) {}
}

pub(crate) fn run(text: &str) -> RunResult {
    let plan = Plan::new(read(text, &[]).unwrap()).unwrap();
    plan.run("default", &mut Deaf, &mut |_| ()).unwrap()
}

#[test]
fn jobs_are_slowed_by_where_they_are_and_by_each_other() {
    let class = "classes = [{ name = \"a\", share = 0.5 }]";
    let slowest = |fabric: &str, communication: &str| {
        let result = run(&text(fabric, communication));
        let slowdowns = result.jobs.iter().filter_map(|job| job.communication.as_ref()?.slowdown());
        slowdowns.fold(0.0, f64::max)
    };
    let near =
        |value: f64, expected: f64| assert!((value - expected).abs() < 0.02, "{value}, expected {expected}");
    // Two nodes alone are the reference. A fabric that blocks nothing changes nothing.
    near(slowest("", class), 1.0);
    near(slowest("fabric = { shape = \"leaf_spine\", nodes_per_leaf = 1 }", class), 1.0);
    // A leaf each at 4:1: a quarter of the bandwidth of cards, of which NCCL's trees on two nodes send half of what the bus has.
    let narrow = "fabric = { shape = \"leaf_spine\", nodes_per_leaf = 1, oversubscription = 4 }";
    let slowed = slowest(narrow, class);
    assert!((1.5..3.5).contains(&slowed), "{slowed}");
    // Jobs on nodes of their own share no uplinks of such leaves: it is the same whenever they communicate.
    near(slowest(narrow, &format!("phases = \"synchronised\"\n{class}")), slowed);
    // Jobs that communicate nothing are as fast everywhere.
    near(slowest(narrow, "classes = [{ name = \"a\", share = 0 }]"), 1.0);
}

#[test]
fn classes_come_by_their_weights_and_leave_jobs_as_they_were() {
    let classes = "classes = [{ name = \"a\", weight = 3, share = 0 }, { name = \"b\", share = 0.9 }]";
    let many = |communication: &str| {
        text("fabric = { shape = \"leaf_spine\", nodes_per_leaf = 1, oversubscription = 2 }", communication)
            .replace("jobs = 10", "jobs = 1000")
    };
    let result = run(&many(classes));
    let slowed =
        result.jobs.iter().filter(|job| job.communication.as_ref().unwrap().slowdown().unwrap() > 1.2);
    let slowed = slowed.count();
    assert!((210..290).contains(&slowed), "{slowed} of 1000, expected a quarter");
    let without = run(&many("").replace("[workload.communication]", ""));
    for (job, other) in result.jobs.iter().zip(&without.jobs) {
        assert_eq!((job.submit, job.duration), (other.submit, other.duration));
        assert_eq!(other.communication, None);
    }
    assert_eq!(run(&many(classes)), result);
}
