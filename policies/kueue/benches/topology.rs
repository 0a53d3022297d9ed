//! The workloads of Kueue's own performance test of topology-aware scheduling, assigned one after the other: 640 nodes in
//! 10 racks, 15,000 workloads of 2 to 8 pods that require or prefer a rack or are balanced over hosts.
//!
//! `cargo bench -p foretell-kueue`; the figures are kept in `benches/RESULTS.md`.

use std::collections::VecDeque;
use std::hint::black_box;

use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use foretell_framework::Labels;
use foretell_kueue::ResourceId;
use foretell_kueue::topology::{
    AssignOptions, HOSTNAME_LABEL, LeafId, LevelRequest, PodSetRequest, PodShape, SliceLayer, TopologyFlavor,
    TopologyGates, TopologyNode, TopologyRequest, TopologySnapshot, assign,
};

const RACKS: usize = 10;
const NODES_PER_RACK: usize = 64;
const CPU: ResourceId = ResourceId::new(0);
const MEMORY: ResourceId = ResourceId::new(1);
const NODE_CPU_MILLI: i64 = 96_000;
const BLOCK: &str = "cloud.provider.com/topology-block";
const RACK: &str = "cloud.provider.com/topology-rack";
const WORKLOADS: usize = 15_000;

fn snapshot() -> TopologySnapshot {
    let label = |key: &str, value: String| (key.into(), value.into());
    let labels: Vec<Labels> = (0..RACKS * NODES_PER_RACK)
        .map(|node| {
            let rack = format!("rack-{}", node / NODES_PER_RACK);
            let host = format!("node-{node}");
            Labels::from([label(BLOCK, "block-0".to_owned()), label(RACK, rack), label(HOSTNAME_LABEL, host)])
        })
        .collect();
    let allocatable = [(CPU, NODE_CPU_MILLI), (MEMORY, 256 << 30)];
    let nodes: Vec<TopologyNode<'_>> = labels
        .iter()
        .map(|labels| TopologyNode {
            name: &labels[HOSTNAME_LABEL],
            labels,
            taints: &[],
            allocatable: &allocatable,
            pods: 110,
        })
        .collect();
    let levels = [BLOCK, RACK, HOSTNAME_LABEL].map(Into::into);
    TopologySnapshot::new(&levels, &TopologyFlavor::default(), &nodes)
}

/// A class of workloads.
struct Class {
    /// How many of the 500 of a queue.
    number: usize,
    pods: u32,
    shape: PodShape,
    topology: TopologyRequest,
    options: AssignOptions,
}

/// Small, medium and large ones, of each those that require a rack, that prefer one, and that are balanced.
fn classes() -> Vec<Class> {
    let sizes = [(2, 500, [120, 120, 110], 1), (4, 1_250, [34, 33, 33], 2), (8, 2_500, [17, 17, 16], 4)];
    let mut classes = Vec::new();
    for (pods, cpu_milli, numbers, slice) in sizes {
        let shape = PodShape { requests: vec![(CPU, cpu_milli)], ..PodShape::default() };
        for (kind, number) in numbers.into_iter().enumerate() {
            let level = if kind == 0 {
                LevelRequest::Required(RACK.into())
            } else {
                LevelRequest::Preferred(RACK.into())
            };
            let balanced_placement = kind == 2;
            let slices = if balanced_placement {
                vec![SliceLayer { level: HOSTNAME_LABEL.into(), size: Some(slice) }]
            } else {
                Vec::new()
            };
            let gates = TopologyGates { balanced_placement, ..TopologyGates::default() };
            classes.push(Class {
                number,
                pods,
                shape: shape.clone(),
                topology: TopologyRequest { level: Some(level), slices, group: None },
                options: AssignOptions { gates, assumes_empty: false },
            });
        }
    }
    classes
}

/// Classes in the proportion of the test, well mixed.
fn mixed(classes: &[Class]) -> Vec<usize> {
    let mut each: Vec<usize> =
        (0..classes.len()).flat_map(|index| std::iter::repeat_n(index, classes[index].number)).collect();
    let number = each.len();
    // 211 is a prime that does not divide 500: each position comes once.
    each = (0..number).map(|position| each[position * 211 % number]).collect();
    each
}

/// Assigns all workloads; the oldest end as soon as more than so much CPU is held.
fn run(snapshot: &mut TopologySnapshot, classes: &[Class], order: &[usize], held_max_milli: i64) -> usize {
    let mut running: VecDeque<(usize, Vec<(LeafId, u32)>)> = VecDeque::new();
    let (mut held_milli, mut assigned) = (0, 0);
    for position in 0..WORKLOADS {
        let index = order[position % order.len()];
        let class = &classes[index];
        let held = |class: &Class| class.shape.requests[0].1 * i64::from(class.pods);
        while held_milli + held(class) > held_max_milli
            && let Some((ended, leaves)) = running.pop_front()
        {
            held_milli -= held(&classes[ended]);
            for (leaf, pods) in leaves {
                snapshot.remove_usage(leaf, &classes[ended].shape, pods);
            }
        }
        let set = PodSetRequest {
            count: class.pods,
            shape: &class.shape,
            topology: &class.topology,
            is_implied: false,
        };
        if let Ok(mut found) = assign(snapshot, &[set], class.options) {
            let leaves = std::mem::take(&mut found[0].domains);
            for &(leaf, pods) in &leaves {
                snapshot.add_usage(leaf, &class.shape, pods);
            }
            held_milli += held(class);
            running.push_back((index, leaves));
            assigned += 1;
        }
    }
    assigned
}

fn assignments(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("topology");
    group.sample_size(10);
    let (empty, classes) = (snapshot(), classes());
    let order = mixed(&classes);
    let cluster_milli = NODE_CPU_MILLI * (RACKS * NODES_PER_RACK) as i64;
    // What the quotas of the test admit at a time, and nearly all that there is.
    for (name, held_milli) in [("600 CPUs held", 600_000), ("90 % held", cluster_milli / 10 * 9)] {
        group.bench_function(BenchmarkId::new("15,000 workloads", name), |bencher| {
            bencher.iter_batched(
                || empty.clone(),
                |mut snapshot| {
                    let assigned = run(&mut snapshot, &classes, &order, held_milli);
                    assert_eq!(assigned, WORKLOADS);
                    black_box(snapshot)
                },
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, assignments);
criterion_main!(benches);
