//! A scheduling cycle, whole simulations of growing size, and the FGD experiment on real data.
//!
//! `cargo bench --bench scheduling`; the figures are kept in `benches/RESULTS.md`.

#![expect(clippy::print_stderr, reason = "a bench that is skipped says so")]

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use foretell_scenarios::registry::{self, PolicyConfig};
use foretell_scenarios::sim::framework::{
    ClusterEvent, ClusterState, GpuRequest, JobSpec, Labels, NodeSpec, Resources, Session, TaskSpec, Time,
};
use foretell_scenarios::sim::log::{Metrics, Sampling};
use foretell_scenarios::sim::platform::{Config, Role, Simulation, Submission};
use foretell_scenarios::sim::{engine::Streams, log::JobStatus};
use foretell_traces::generate::{Arrival, Generator, Preset};
use foretell_traces::openb;
use foretell_validation::openb::Experiment;

/// Nodes with 8 GPUs each.
fn cluster(nodes: usize) -> ClusterState {
    let mut state = ClusterState::new();
    let gpu_model = Some(state.gpu_model("H100").expect("one model"));
    for index in 0..nodes {
        let allocatable = Resources::new(128_000, 1 << 40);
        let spec = NodeSpec { allocatable, gpus: 8, gpu_model, ..NodeSpec::new(format!("node-{index}")) };
        state.add_node(spec).expect("a plain node");
    }
    state
}

fn task(gpus: u32) -> TaskSpec {
    TaskSpec {
        requests: Resources::new(8000 * u64::from(gpus), 1 << 33),
        gpus: GpuRequest::whole(gpus),
        ..TaskSpec::default()
    }
}

/// One job arrives, a cycle places it, and the oldest of those that run ends: a cluster in a steady state.
fn scheduling_cycle(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("cycle");
    for nodes in [1_250, 5_000, 12_500] {
        for policy in ["fifo+binpack", "fifo-skip+best-fit", "default"] {
            let mut state = cluster(nodes);
            let mut profile = registry::build(policy, &PolicyConfig::default()).expect("a known policy");
            let mut random = Streams::new(42).stream("bench", 0);
            let mut decisions = Vec::new();
            let queue = state.queue_id("default");
            let classes = [1, 2, 4, 8].map(|gpus| state.class(&task(gpus)));
            let mut running = std::collections::VecDeque::new();
            let mut sequence = 0_u64;
            let mut step = |running_max: usize| {
                let class = classes[(sequence % 4) as usize];
                let submitted = Time::from_nanos(sequence);
                let spec = JobSpec { submitted, ..JobSpec::new(sequence, queue, [(class, 1)]) };
                let job = state.add_job(spec);
                profile.notify(&state, ClusterEvent::JobAdded(job));
                running.push_back(job);
                decisions.clear();
                let now = Time::from_nanos(sequence);
                profile.cycle(&mut Session::new(&mut state, now, &mut random, &mut decisions));
                sequence += 1;
                if running.len() > running_max {
                    let done = running.pop_front().expect("not empty");
                    state.remove_job(done);
                    profile.notify(&state, ClusterEvent::TasksReleased);
                }
                decisions.len()
            };
            // Four jobs take 15 GPUs: 90 % of the GPUs are in use.
            let running_max = nodes * 8 * 9 / 10 * 4 / 15;
            for _ in 0..running_max {
                step(running_max);
            }
            group.throughput(Throughput::Elements(1));
            group.bench_function(BenchmarkId::new(policy, format!("{nodes} nodes")), |bencher| {
                bencher.iter(|| black_box(step(running_max)));
            });
        }
    }
    group.finish();
}

/// The scale scenario in small: synthetic Philly jobs at 90 % load, FIFO and binpack.
fn simulation(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("simulation");
    group.sample_size(10).measurement_time(Duration::from_secs(5));
    for (jobs, nodes) in [(10_000, 125), (10_000, 1_250), (100_000, 1_250)] {
        let mut config = Preset::Philly.config();
        let rate_per_s = config.rate_for_load(0.9, nodes as u64 * 8).expect("GPU work");
        config.arrival = Arrival::Poisson { rate_per_s };
        let submissions: Vec<Submission> = Generator::new(config, 42)
            .expect("a valid preset")
            .take(jobs)
            .map(|job| Submission {
                id: job.id,
                user: job.user,
                queue: Box::default(),
                submit: Time::from_s(job.submit_s),
                duration: Some(Time::from_s(job.duration_s)),
                roles: vec![Role::gang(job.tasks, task(job.gpus_per_task))],
                priority: 0,
                preemptable: None,
                network_topology: None,
                scaling: None,
                step_model: None,
                deadline: None,
                time_limit: None,
                checkpoint: None,
                on_failure: None,
                annotations: Labels::new(),
                end: JobStatus::Completed,
                defect: None,
            })
            .collect();
        let state = cluster(nodes);
        group.throughput(Throughput::Elements(jobs as u64));
        group.bench_function(
            BenchmarkId::new("fifo+binpack", format!("{jobs} jobs, {nodes} nodes")),
            |bencher| {
                bencher.iter(|| {
                    let mut metrics = Metrics::new(PolicyConfig::default().typical, Sampling::Auto);
                    let profile =
                        registry::build("fifo+binpack", &PolicyConfig::default()).expect("a known policy");
                    let workload = submissions.iter().cloned().map(Ok::<_, ()>);
                    Simulation::new(Config::default(), state.clone(), profile, workload, &mut [&mut metrics])
                        .run(&mut |_| ())
                        .expect("within budget")
                });
            },
        );
    }
    group.finish();
}

/// One experiment of the study on the default trace, per policy.
fn experiment(criterion: &mut Criterion) {
    let data =
        std::env::var_os("FORETELL_DATA").map_or_else(|| PathBuf::from("../shared/data"), PathBuf::from);
    let root = data.join("openb");
    if !root.is_dir() {
        eprintln!("skipped: experiment: no public data in {} (set FORETELL_DATA)", data.display());
        return;
    }
    let path = |name: &str| root.join(format!("{name}.csv.gz"));
    let read = |path: &Path| openb::read_pods(path).expect("readable pods");
    let nodes = openb::read_nodes(&path("openb_node_list_gpu_node")).expect("readable nodes");
    let pods = read(&path("openb_pod_list_default"));
    let order = openb::read_order(&path("order/order_openb_pod_list_default"), &[42], pods.len() as u32);
    let rank =
        openb::read_node_rank(&path("order/noderank_openb_pod_list_default"), &[42], nodes.len() as u32);
    let (order, rank) = (&order.expect("readable order")[&42], &rank.expect("readable ranks")[&42]);
    let experiment = Experiment::new(&nodes, &pods).expect("a valid cluster");
    let mut group = criterion.benchmark_group("experiment");
    group.sample_size(20).throughput(Throughput::Elements(order.len() as u64));
    for policy in ["fgd", "best-fit", "gpu-packing", "gpu-clustering", "dot-product", "random"] {
        group.bench_function(policy, |bencher| {
            bencher.iter(|| experiment.run(rank, order, policy, 42).expect("a known policy"));
        });
    }
    group.finish();
}

criterion_group!(benches, scheduling_cycle, simulation, experiment);
criterion_main!(benches);
