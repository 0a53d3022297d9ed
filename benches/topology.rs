//! A cycle that fills 5,000 nodes (40,000 GPUs) in three tiers with gangs that demand a tier.
//!
//! `cargo bench --bench topology`; the figures are kept in `benches/RESULTS.md`.

use std::hint::black_box;

use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use foretell_scenarios::registry::{self, Arguments, PolicyConfig, VolcanoPlugin};
use foretell_scenarios::sim::engine::Streams;
use foretell_scenarios::sim::framework::state::{Domain, NetworkTopology};
use foretell_scenarios::sim::framework::{
    ClusterEvent, ClusterState, DomainId, GangSpec, GpuRequest, JobSpec, NodeSpec, Profile, Resources,
    Session, Switches, TaskSpec, Time,
};

const NODES: usize = 5_000;
const NODES_PER_RACK: usize = 32;
const NODES_PER_POD: usize = 512;

/// Racks of 32 nodes with 8 GPUs, pods of 16 racks, one spine.
fn cluster() -> ClusterState {
    let mut state = ClusterState::new();
    let gpu_model = Some(state.gpu_model("H100").expect("one model"));
    let add = |state: &mut ClusterState, name: String, tier, parent: Option<DomainId>| {
        state.add_domain(Domain { name: name.into(), tier, tier_name: "".into(), parent })
    };
    let spine = add(&mut state, "spine".into(), 3, None);
    let (mut pod, mut rack) = (spine, spine);
    for index in 0..NODES {
        if index % NODES_PER_POD == 0 {
            pod = add(&mut state, format!("pod-{index}"), 2, Some(spine));
        }
        if index % NODES_PER_RACK == 0 {
            rack = add(&mut state, format!("rack-{index}"), 1, Some(pod));
        }
        let allocatable = Resources::new(128_000, 1 << 40);
        let domain = Some(rack);
        let spec =
            NodeSpec { allocatable, gpus: 8, gpu_model, domain, ..NodeSpec::new(format!("node-{index}")) };
        state.add_node(spec).expect("a plain node");
    }
    state
}

/// Gangs of whole nodes, a tenth more than the cluster holds.
fn add_jobs(state: &mut ClusterState, profile: &mut Profile, tasks: u32, tier: u32) {
    let queue = state.queue_id("default");
    let gpus = GpuRequest::whole(8);
    let class =
        state.class(&TaskSpec { requests: Resources::new(64_000, 1 << 33), gpus, ..TaskSpec::default() });
    for sequence in 0..(NODES * 11 / 10 / tasks as usize) as u64 {
        let topology = NetworkTopology { highest_tier: Some(tier), ..NetworkTopology::default() };
        let gang = GangSpec { network_topology: Some(topology), ..GangSpec::default() };
        let spec = JobSpec::new(sequence, queue, [(class, tasks)]);
        let submitted = Time::from_nanos(sequence);
        let job = state.add_job(JobSpec { gang: Some(Box::new(gang)), submitted, ..spec });
        profile.notify(state, ClusterEvent::JobAdded(job));
    }
}

fn profile(name: &str) -> Profile {
    if let Ok(profile) = registry::build(name, &PolicyConfig::default()) {
        return profile;
    }
    let mut config = registry::volcano_config("gang").expect("a built-in configuration");
    let name = "network-topology-aware".into();
    let plugin = VolcanoPlugin { name, switches: Switches::default(), arguments: Arguments::default() };
    config.tiers.last_mut().expect("two tiers").push(plugin);
    registry::volcano_profile("volcano", &config).expect("known plugins").profile
}

fn filling_cycle(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("topology");
    group.sample_size(10);
    let empty = cluster();
    for (tasks, tier) in [(32, 1), (32, 2), (20, 1), (48, 2)] {
        for name in ["topology", "volcano"] {
            let setup = || {
                let (mut state, mut profile) = (empty.clone(), profile(name));
                add_jobs(&mut state, &mut profile, tasks, tier);
                (state, profile)
            };
            let id = BenchmarkId::new(name, format!("{tasks} x 8 GPUs in tier {tier}"));
            group.bench_function(id, |bencher| {
                bencher.iter_batched(
                    setup,
                    |(mut state, mut profile)| {
                        let (mut random, mut decisions) = (Streams::new(42).stream("bench", 0), Vec::new());
                        profile.cycle(&mut Session::new(&mut state, Time::ZERO, &mut random, &mut decisions));
                        black_box((state, profile, decisions))
                    },
                    BatchSize::PerIteration,
                );
            });
        }
    }
    group.finish();
}

criterion_group!(benches, filling_cycle);
criterion_main!(benches);
