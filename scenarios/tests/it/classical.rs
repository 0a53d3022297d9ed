//! Servers of classical models.

use foretell_scenarios::Plan;
use foretell_scenarios::service::{ClassicalServed, ServedRun};
use foretell_scenarios::serving::classical_served::{ClassicalEnd, Ending};

use crate::{Nobody, problems, read};

/// Services of these fields on two nodes of four T4s; a batch of `n` takes 2 ms and 0.5 ms a request.
fn text(services: &[&str]) -> String {
    let law = "latency = { law = \"measured\", points = [{ batch = 1, latency_ms = 2.5 }, { batch = 33, latency_ms = 18.5 }] }";
    let service = |(number, fields): (usize, &&str)| {
        format!("[[classical_service]]\nname = \"s{number}\"\n{law}\n{fields}\n")
    };
    let services: String = services.iter().enumerate().map(service).collect();
    format!(
        "version = 1\nname = \"classical\"\n[cluster]\nnodes = [{{ type = \"t4-4\", count = 2 }}]\n\
         [scheduler]\npolicies = [\"default\"]\n{services}"
    )
}

fn requests(rate_per_s: u32, count: u32) -> String {
    format!(
        "slo = {{ latency_s = 0.05 }}\n\
         requests = {{ count = {count}, arrival = {{ process = \"poisson\", rate_per_s = {rate_per_s} }} }}\n"
    )
}

fn served(services: &[&str]) -> Vec<ClassicalServed> {
    let plan = Plan::new(read(&text(services), &[]).unwrap()).unwrap();
    let ServedRun { services: language, classical, .. } =
        plan.run_and_serve("default", &mut Nobody, &mut |_| ()).unwrap();
    assert!(language.is_empty());
    classical
}

#[test]
fn dynamic_batching_serves_more_at_the_same_latency() {
    // Alone a request takes 2.5 ms, so that 400 a second are the most without batches; 32 at once take 18 ms.
    let requests = requests(1200, 12_000);
    let batched = format!("max_batch_size = 32\n{requests}");
    let services = served(&[&requests, &batched]);
    let [plain, batched] = [&services[0], &services[1]].map(|served| &served.summary);
    assert_eq!([plain.requests, batched.requests], [12_000, 12_000]);
    assert!(plain.requests_per_s < 400.1 && batched.requests_per_s > 1_150.0);
    assert!(plain.latency_s.p50 > 1.0 && batched.latency_s.p99 < 0.05);
    assert!(plain.slo_attainment < 0.05 && batched.slo_attainment > 0.99);
    assert!(plain.gpu_busy_share > 0.999 && plain.batches == 12_000);
    // As many as arrive meanwhile: 1.2 times 2 and 0.5 for each of them, which is 6.
    assert!((5.5..6.5).contains(&batched.batch_size), "{}", batched.batch_size);
    for one in &services {
        assert!(one.ends.iter().zip(0..).all(|(end, request)| end.request == request));
        assert!(one.ends.iter().all(|end| match end.ending {
            Ending::Done { dispatched_ns, batch_size } => {
                let executed_ns = end.finished_ns - dispatched_ns;
                end.arrival_ns <= dispatched_ns && executed_ns == 2_000_000 + 500_000 * u64::from(batch_size)
            }
            _ => false,
        }));
    }
    assert_eq!(served(&[&requests])[0], services[0], "the same again");
}

#[test]
fn instances_fill_what_the_host_leaves_idle() {
    let load = requests(500, 5_000);
    let of = |instances: u32| format!("host_share = 0.5\ninstances = {instances}\n{load}");
    let services = served(&[&of(1), &of(2), &of(4)]);
    let rates: Vec<f64> = services.iter().map(|served| served.summary.requests_per_s).collect();
    assert!(rates[0] < 400.1 && rates[1] > 450.0, "{rates:?}");
    // More than the gaps there are does not help.
    assert!((rates[2] - rates[1]).abs() < 0.01 * rates[1], "{rates:?}");
    assert!(services[0].summary.gpu_busy_share < 0.501);
}

#[test]
fn replicas_share_requests_and_gpus() {
    let load = requests(600, 3_000);
    let shares = format!("replicas = 16\ngpu_milli = 500\nstartup_s = 1\n{load}");
    let one = &served(&[&shares])[0];
    let mut of_replica = [0; 16];
    one.ends.iter().for_each(|end| of_replica[end.replica as usize] += 1);
    assert!(of_replica.iter().all(|count| (187..=188).contains(count)), "{of_replica:?}");
    // Nobody is served before replicas are there, and waiting for them counts.
    let first = &one.ends[0];
    let Ending::Done { dispatched_ns, .. } = first.ending else { panic!("{first:?}") };
    assert!(first.arrival_ns < 1_000_000_000 && dispatched_ns >= 1_000_000_000);
}

#[test]
fn levels_and_limits_of_queues() {
    let load = requests(1_000, 10_000);
    let levels = "priorities = [{ weight = 1 }, { weight = 3, timeout_ms = 20 }]\nmax_queue_size = 100\n";
    let summary = &served(&[&format!("{levels}{load}")])[0].summary;
    // A quarter of the requests, 250 a second, goes first; the others share what is left of 400.
    let [first, second] = summary.level_latency_s[..] else { panic!("{summary:?}") };
    assert!((2_300..2_700).contains(&first.count), "{first:?}");
    assert!(first.p50 < second.p50 && second.max <= 0.0226, "{first:?} {second:?}");
    assert!(summary.timed_out > 1_000, "{summary:?}");
    assert_eq!(summary.requests + summary.timed_out + summary.refused, 10_000);
    let full = &served(&[&format!("max_queue_size = 10\n{load}")])[0].summary;
    assert!(full.refused > 5_000 && full.latency_s.max <= 11.0 * 0.002_501, "{full:?}");
}

#[test]
fn a_roofline_follows_the_gpu() {
    let load = requests(10, 100);
    let law = |precision: &str| {
        format!(
            "latency = {{ law = \"roofline\", flops_per_item = 65e9, efficiency = 0.5, overhead_us = 100, precision = \"{precision}\" }}\n"
        )
    };
    let with = |law: &str, fields: &str| {
        let text = text(&[&format!("{fields}{load}")]);
        let start = text.find("latency = ").unwrap();
        let end = start + text[start..].find('\n').unwrap() + 1;
        format!("{}{law}{}", &text[..start], &text[end..])
    };
    let least = |fields: &str| {
        let plan = Plan::new(read(&with(&law("fp16"), fields), &[]).unwrap()).unwrap();
        let classical = plan.run_and_serve("default", &mut Nobody, &mut |_| ()).unwrap().classical;
        classical[0].ends.iter().filter_map(ClassicalEnd::latency_ns).min().unwrap()
    };
    // Half of 65e12 operations a second.
    assert_eq!(least(""), 2_100_000);
    assert_eq!(least("gpu_milli = 250\n"), 8_100_000);
    assert_eq!(
        problems(&with(&law("fp8"), ""), &[]),
        "9:11: classical_service[0].latency: the catalogue has no such peak of T4 (say with `gpu_models` which GPUs \
         replicas may have, or take another `precision`)"
    );
}

#[test]
fn what_cannot_be_is_said() {
    let load = requests(10, 100);
    let check = |fields: &str, expected: &str| {
        assert_eq!(problems(&text(&[&format!("{fields}{load}")]), &[]), expected);
    };
    check(
        "max_batch_size = 4\npreferred_batch_sizes = [4, 8]\n",
        "11:25: classical_service[0].preferred_batch_sizes: the preferred size 8 is not between 1 and the largest size",
    );
    check(
        "gpu_models = [\"A100-80\"]\n",
        "7:1: classical_service[0]: the cluster has no node with GPUs that its replicas may have",
    );
    check(
        "priorities = [{ weight = 0 }]\n",
        "10:14: classical_service[0].priorities: expected weights that come to more than 0, got 0",
    );
    let text = text(&[&load, &load]).replace("s1", "s0").replacen("batch = 33", "batch = 1", 1);
    assert_eq!(
        problems(&text, &[]),
        "9:84: classical_service[0].latency.points[1].batch: expected more than the 1 before, got 1\n\
         14:8: classical_service[1].name: there is another service `s0`"
    );
}
