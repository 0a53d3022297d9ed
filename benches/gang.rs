//! One cycle of `drf-reclaim` over 5,000 nodes (40,000 GPUs) with 10,000 pending pods in 500 gangs of four queues.
//!
//! `cargo bench --bench gang`; the figures are kept in `benches/RESULTS.md`.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use foretell_scenarios::registry::{self, PolicyConfig};
use foretell_scenarios::sim::engine::Streams;
use foretell_scenarios::sim::framework::{
    ClusterState, GpuRequest, GpuSet, JobSpec, NodeId, NodeSpec, Resources, Session, TaskSpec, TaskStatus,
    Time,
};

const NODES: usize = 5000;
const GANGS: u64 = 500;
const PODS_PER_GANG: u32 = 20;

/// Nodes with 8 GPUs each, of which a task of the queue `lender` holds as many as said.
fn cluster(held: u32) -> ClusterState {
    let mut state = ClusterState::new();
    let gpu_model = Some(state.gpu_model("H100").expect("one model"));
    let lender = state.queue_id("lender");
    for index in 0..NODES {
        let allocatable = Resources::new(128_000, 1 << 40);
        let spec = NodeSpec { allocatable, gpus: 8, gpu_model, ..NodeSpec::new(format!("node-{index}")) };
        state.add_node(spec).expect("a plain node");
    }
    if held > 0 {
        let class = state.class(&task(held));
        for index in 0..NODES {
            let job = state.add_job(JobSpec::new(index as u64, lender, [(class, 1)]));
            let task = state.job(job).expect("just added").tasks()[0];
            let gpus: GpuSet = (0..held as usize).collect();
            state.observe_task(task, NodeId::new(index), Some(gpus), TaskStatus::Running);
        }
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

/// Adds the gangs, of pods with 1, 2, 4 or 8 GPUs.
fn add_gangs(state: &mut ClusterState, gpus: [u32; 4]) {
    let queues = ["a", "b", "c", "d"].map(|name| state.queue_id(name));
    let classes = gpus.map(|gpus| state.class(&task(gpus)));
    for gang in 0..GANGS {
        let (queue, class) = (queues[(gang % 4) as usize], classes[(gang / 4 % 4) as usize]);
        let submitted = Time::from_nanos(gang);
        state.add_job(JobSpec { submitted, ..JobSpec::new(100_000 + gang, queue, [(class, PODS_PER_GANG)]) });
    }
}

fn cycle(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("drf-reclaim, 5,000 nodes, 10,000 pods in 500 gangs");
    group.sample_size(10);
    for (name, held, gpus) in [
        // 37,500 GPUs asked for, 40,000 free.
        ("all placed", 0, [1, 2, 4, 8]),
        // 20,000 asked for, 10,000 free: half is placed, for the rest some of what the lender holds is taken back.
        ("half placed, half reclaimed", 6, [2, 2, 2, 2]),
        // Whole nodes are asked for and none is free.
        ("all reclaimed", 6, [8, 8, 8, 8]),
    ] {
        let mut state = cluster(held);
        add_gangs(&mut state, gpus);
        group.bench_function(name, |bencher| {
            let setup = || {
                let profile =
                    registry::build("drf-reclaim", &PolicyConfig::default()).expect("a known policy");
                (state.clone(), profile, Streams::new(42).stream("bench", 0), Vec::new())
            };
            bencher.iter_batched_ref(
                setup,
                |(state, profile, random, decisions)| {
                    profile.cycle(&mut Session::new(state, Time::ZERO, random, decisions));
                    black_box(decisions.len())
                },
                BatchSize::LargeInput,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, cycle);
criterion_main!(benches);
