//! Beginnings and ends of collectives per second: rings of 2 to 32 nodes on a full cluster of three tiers, 2:1 at the leaf and 4:1
//! at the pod, jobs packed, packed by halves of nodes, or on random nodes.
//!
//! `cargo bench -p foretell-fabric --bench sharing [-- WORDS]` runs the lines that contain all the words; the figures are kept in
//! `benches/RESULTS.md`.
#![expect(clippy::print_stdout, reason = "a bench of its own prints what it measures")]

use std::time::Instant;

use foretell_fabric::network::{
    Attachment, LinkWeight, Loads, Network, NetworkSpec, Routing, Shape, Uplinks, Width,
};
use foretell_fabric::sharing::{TransferId, TransferSpec, Transfers};

const NODES_PER_LEAF: u32 = 32;
const LEAVES_PER_POD: u32 = 8;
/// Eight NICs of 400 Gbit/s in one.
const NODE_GB_PER_S: f64 = 400.0;
/// What a ring over such nodes reaches.
const RING_GB_PER_S: f64 = 360.0;
const WARM_UP_EVENTS: u64 = 20_000;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Placement {
    Packed,
    /// Packed, on every node the halves of two jobs.
    Halves,
    Random,
}

/// Draws that are the same in every run.
struct Draws(u64);

impl Draws {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn below(&mut self, count: usize) -> usize {
        (self.next() * count as f64) as usize
    }
}

/// Sizes are powers of two from 2 to 32, each as frequent as it is small: 5.16 nodes on average, which fills the cluster.
fn sizes(jobs: usize, draws: &mut Draws) -> Vec<usize> {
    let pattern =
        [(16, 2), (8, 4), (4, 8), (2, 16), (1, 32)].map(|(times, size)| std::iter::repeat_n(size, times));
    let mut sizes: Vec<usize> = pattern.into_iter().flatten().cycle().take(jobs).collect();
    shuffle(&mut sizes, draws);
    sizes
}

fn shuffle<T>(items: &mut [T], draws: &mut Draws) {
    for at in (1..items.len()).rev() {
        items.swap(at, draws.below(at + 1));
    }
}

fn network(nodes: u32) -> Network {
    let up = |ratio| Uplinks { switches: 1, width: Width::Oversubscription(ratio) };
    let shape = Shape::ThreeTier {
        attachment: Attachment::ByNode { nodes_per_leaf: NODES_PER_LEAF },
        spines: up(2.0),
        leaves_per_pod: LEAVES_PER_POD,
        cores: up(4.0),
    };
    let spec = NetworkSpec { nodes, nics_per_node: 1, nic_gb_per_s: NODE_GB_PER_S, shape };
    Network::new(&spec).expect("the description is sound")
}

/// A job that computes 10 to 100 ms and sends for 5 to 50 ms if nothing is in its way, again and again.
struct Job {
    links: Vec<LinkWeight>,
    bytes: f64,
    wait_ns: u64,
}

impl Job {
    fn start(&self, transfers: &mut Transfers, iterations: u64) -> TransferId {
        let (links, bytes, wait_ns) = (&self.links[..], self.bytes, self.wait_ns);
        let spec =
            TransferSpec { links, cap_gb_per_s: RING_GB_PER_S, share: 1.0, bytes, wait_ns, iterations };
        transfers.start(&spec).expect("the transfer is sound")
    }
}

fn jobs(network: &Network, number: usize, placement: Placement) -> Vec<Job> {
    let mut draws = Draws(7);
    let mut nodes: Vec<u32> = (0..network.nodes()).collect();
    if placement == Placement::Random {
        shuffle(&mut nodes, &mut draws);
    }
    let layers = if placement == Placement::Halves { 2 } else { 1 };
    let mut loads = Loads::new(network, Routing::Adaptive);
    let mut jobs = Vec::new();
    for _ in 0..layers {
        let mut rest = &nodes[..];
        for size in sizes(number / layers, &mut draws) {
            let (ring, after) = rest.split_at(size);
            rest = after;
            let wait_ns = (1e7 * 10.0_f64.powf(draws.next())) as u64;
            let bytes = RING_GB_PER_S * 5e6 * 10.0_f64.powf(draws.next());
            jobs.push(Job { links: loads.ring(ring, &[0]).expect("all links are healthy"), bytes, wait_ns });
        }
    }
    jobs
}

/// A day of packed jobs of 10,000 iterations, begun again when they end, with iterations skipped.
fn skip_a_day(gpus: u32, number: usize) {
    let network = network(gpus / 8);
    let jobs = jobs(&network, number, Placement::Packed);
    let mut transfers = Transfers::new(&network.capacities_gb_per_s()).expect("capacities are sound");
    let before = Instant::now();
    // A job that is begun again at once gets the number that it had.
    let ids: Vec<TransferId> = jobs.iter().map(|job| job.start(&mut transfers, 10_000)).collect();
    let mut ended = 0_u64;
    while let Some(completion) = transfers.advance(86_400_000_000_000).expect("time goes on") {
        let job = ids.binary_search(&completion.transfer).expect("the job was begun");
        jobs[job].start(&mut transfers, 10_000);
        ended += 1;
    }
    let (seconds, events) = (before.elapsed().as_secs_f64(), transfers.events());
    println!(
        "{gpus:8} {number:6}  day       {events:13} events simulated, {ended} jobs ended, {seconds:.3} s"
    );
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let chosen = |line: &str| words.iter().all(|word| line.contains(word.as_str()));
    println!("    GPUs   jobs  placement        events    events/s  flows solved/event  changed/event");
    let sizes = [(8_192, 200), (16_384, 400), (65_536, 1_500)];
    let placements = [
        (Placement::Packed, "packed", 1, 2_000_000),
        (Placement::Halves, "halves", 2, 1_000_000),
        (Placement::Random, "random", 1, 100_000),
    ];
    let lines = placements.iter().flat_map(|placement| sizes.iter().map(move |size| (placement, size)));
    for (&(placement, name, layers, events), &(gpus, jobs)) in lines {
        let jobs = jobs * layers;
        if !chosen(&format!("{gpus} {name}")) {
            continue;
        }
        let network = network(gpus / 8);
        let mut transfers =
            Transfers::event_by_event(&network.capacities_gb_per_s()).expect("capacities are sound");
        for job in self::jobs(&network, jobs, placement) {
            job.start(&mut transfers, 1 << 30);
        }
        while transfers.events() < WARM_UP_EVENTS {
            transfers.step().expect("every step is sound");
        }
        let (mut solved, mut changed) = (0, 0);
        let before = Instant::now();
        let end = transfers.events() + events;
        while transfers.events() < end {
            transfers.step().expect("every step is sound");
            solved += transfers.sharing().solved();
            changed += transfers.sharing().changed().len();
        }
        let per_s = events as f64 / before.elapsed().as_secs_f64();
        let (solved, changed) = (solved as f64 / events as f64, changed as f64 / events as f64);
        println!("{gpus:8} {jobs:6}  {name:9} {events:13} {per_s:11.0} {solved:19.1} {changed:14.1}");
    }
    for (gpus, jobs) in sizes.into_iter().filter(|size| chosen(&format!("{} day", size.0))) {
        skip_a_day(gpus, jobs);
    }
}
