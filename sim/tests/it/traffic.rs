//! Jobs that send to each other over links that they share.
//!
//! Leaves of two nodes with one NIC of 10 GB/s each; the uplinks of a leaf carry 10 GB/s at 2:1.

use std::sync::Arc;

use foretell_sim::fabric::network::{
    Attachment, LinkId, LinkTier, Member, Network, NetworkSpec, Routing, Shape, Uplinks, Width,
};
use foretell_sim::framework::{FULL_SPEED, GpuModelSet, JobId, Time};
use foretell_sim::log::{JobStatus, Metrics, Observer, Pace, Record, RunResult, Sampling};
use foretell_sim::platform::{Config, Simulation, Submission};
use foretell_sim::traffic::{
    LinkChange, Pattern, Phases, PlacementShape, StepLaw, StepModel, Stepping, Traffic,
};
use proptest::prelude::*;
use slotmap::SlotMap;

use crate::fixtures::{cluster, job, profile, typical};

/// Computes a second, of which so much beside communication, and moves so much between nodes.
#[derive(Debug)]
struct Steps {
    overlapped_s: f64,
    bytes: f64,
}

impl StepModel for Steps {
    fn law(&self, placement: &PlacementShape) -> StepLaw {
        if placement.nodes() < 2 {
            return StepLaw::local(1.0);
        }
        StepLaw {
            fixed_s: 1.0 - self.overlapped_s,
            overlapped_s: self.overlapped_s,
            latency_s: 0.0,
            bytes: self.bytes,
            cap_gb_per_s: 10.0,
            sent: 1.0,
            pattern: Pattern::Ring,
        }
    }

    fn reference_step_s(&self) -> f64 {
        1.0
    }
}

fn network(nodes: u32, oversubscription: f64) -> Network {
    let spines = Uplinks { switches: 1, width: Width::Oversubscription(oversubscription) };
    let shape = Shape::LeafSpine { attachment: Attachment::ByNode { nodes_per_leaf: 2 }, spines };
    Network::new(&NetworkSpec { nodes, nics_per_node: 1, nic_gb_per_s: 10.0, shape }).unwrap()
}

fn traffic(nodes: u32, oversubscription: f64, phases: Phases) -> Traffic {
    Traffic::new(network(nodes, oversubscription), Routing::Adaptive, phases).unwrap()
}

fn members(nodes: &[u32]) -> Vec<Member> {
    nodes.iter().map(|&node| Member { node, rails: vec![0] }).collect()
}

fn law(overlapped_s: f64, gigabytes: f64) -> Arc<StepLaw> {
    let shape = PlacementShape::new([1, 1], GpuModelSet::ANY);
    Arc::new(Steps { overlapped_s, bytes: gigabytes * 1e9 }.law(&shape))
}

/// The steps of jobs on these nodes, one after the other.
#[track_caller]
fn check_steps(phases: Phases, jobs: &[(&Arc<StepLaw>, &[u32])], expected_s: &[f64]) {
    let mut traffic = traffic(8, 2.0, phases);
    let mut ids = SlotMap::<JobId, ()>::with_key();
    let ids: Vec<JobId> = jobs.iter().map(|_| ids.insert(())).collect();
    for (&id, &(law, nodes)) in ids.iter().zip(jobs) {
        traffic.place(id, Arc::clone(law), members(nodes));
    }
    traffic.take_changed();
    let got: Vec<f64> = ids.iter().map(|&id| traffic.stepping(id).unwrap().step_s).collect();
    for (got_s, expected_s) in got.iter().zip(expected_s) {
        assert!((got_s - expected_s).abs() < 1e-9, "{got:?}, expected {expected_s:?}");
    }
}

#[test]
fn steps_by_hand() {
    use Phases::{Interleaved, Synchronised};
    // 1 s of computation and 10 GB at 10 GB/s.
    let half = law(0.0, 10.0);
    for phases in [Interleaved, Synchronised] {
        // In one leaf.
        check_steps(phases, &[(&half, &[0, 1])], &[2.0]);
        // Two leaves: one boundary each way, so that the uplinks are just enough.
        check_steps(phases, &[(&half, &[0, 2])], &[2.0]);
        // In and out of each leaf twice: alone it has 5 GB/s.
        check_steps(phases, &[(&half, &[0, 2, 1, 3])], &[3.0]);
    }
    // Each sends half of the time: there is room for both if they take turns.
    let two: [(&Arc<StepLaw>, &[u32]); 2] = [(&half, &[0, 2]), (&half, &[1, 3])];
    check_steps(Interleaved, &two, &[2.0, 2.0]);
    check_steps(Synchronised, &two, &[3.0, 3.0]);
    // Two thirds of the time: on average they ask for 4/3 of the link.
    let most = law(0.0, 20.0);
    let two: [(&Arc<StepLaw>, &[u32]); 2] = [(&most, &[0, 2]), (&most, &[1, 3])];
    check_steps(Interleaved, &two, &[4.0, 4.0]);
    check_steps(Synchronised, &two, &[5.0, 5.0]);
    // Behind computation: 1 s hides 10 GB, and of 4 s of communication all but that.
    let hidden = law(1.0, 10.0);
    check_steps(Synchronised, &[(&hidden, &[0, 2]), (&hidden, &[4, 6])], &[1.0, 1.0]);
    check_steps(Synchronised, &[(&hidden, &[0, 2]), (&hidden, &[1, 3])], &[2.0, 2.0]);
    // The bystander in the leaf does not notice.
    check_steps(Interleaved, &[(&most, &[0, 2]), (&half, &[4, 5])], &[3.0, 2.0]);
}

#[test]
fn an_all_to_all_loads_what_lies_between() {
    let law = Arc::new(StepLaw { pattern: Pattern::AllToAll, ..*law(0.0, 10.0) });
    // Of what each of four nodes sends, two thirds leave the leaf: 4/3 of its uplinks.
    check_steps(Phases::Interleaved, &[(&law, &[0, 1, 2, 3])], &[1.0 + 4.0 / 3.0]);
}

#[test]
fn tiers_carry_what_crosses_them() {
    let mut traffic = traffic(8, 2.0, Phases::Interleaved);
    let mut ids = SlotMap::<JobId, ()>::with_key();
    let (inside, across) = (ids.insert(()), ids.insert(()));
    traffic.place(inside, law(0.0, 10.0), members(&[0, 1]));
    traffic.place(across, law(0.0, 10.0), members(&[2, 4]));
    traffic.take_changed();
    assert_eq!(traffic.stepping(inside).map(|step| step.leaf_bytes_per_s), Some(0.0));
    // 10 GB in 2 s over both boundaries, each once up.
    let step = traffic.stepping(across).unwrap();
    assert_eq!((step.leaf_bytes_per_s, step.spine_bytes_per_s), (10e9, 0.0));
}

#[test]
fn a_link_that_fails_stops_whom_it_cuts_off() {
    let mut traffic = traffic(8, 2.0, Phases::Interleaved);
    let mut ids = SlotMap::<JobId, ()>::with_key();
    let (cut, other) = (ids.insert(()), ids.insert(()));
    traffic.place(cut, law(0.0, 10.0), members(&[0, 2]));
    traffic.place(other, law(0.0, 10.0), members(&[4, 6]));
    traffic.take_changed();
    let up = traffic.network().nic_up(traffic.network().nic(0, 0).unwrap());
    let step_s = |traffic: &Traffic, job| traffic.stepping(job).unwrap().step_s;
    for (factor, expected_s) in [(0.5, 3.0), (0.0, f64::INFINITY), (1.0, 2.0)] {
        traffic.change_links(&[(up, factor)]).unwrap();
        assert_eq!(traffic.take_changed(), [cut], "only who is concerned hears of it");
        assert_eq!((step_s(&traffic, cut), step_s(&traffic, other)), (expected_s, 2.0));
    }
    assert!(traffic.change_links(&[(LinkId::new(10_000), 0.0)]).is_err());
}

/// Jobs of `tasks` one-GPU pods with steps on one-GPU nodes, over a network, under a policy.
fn simulate(
    nodes: u32,
    jobs: &[Submission],
    traffic: Option<Traffic>,
    policy: &str,
    observer: &mut dyn Observer,
) -> RunResult {
    let state = cluster(&vec![1; nodes as usize]);
    let mut metrics = Metrics::new(typical(jobs), Sampling::Auto);
    let workload = jobs.iter().cloned().map(Ok::<_, ()>);
    let mut observers: [&mut dyn Observer; 2] = [&mut metrics, observer];
    let mut simulation =
        Simulation::new(Config::default(), state, profile(policy, jobs), workload, &mut observers);
    if let Some(traffic) = traffic {
        simulation = simulation.over(traffic);
    }
    let counts = simulation.run(&mut |_| ()).unwrap();
    metrics.finish(policy, 0, u64::from(nodes), u64::from(nodes), counts)
}

pub(crate) fn stepping_job(submit_s: f64, duration_s: f64, tasks: u32, gigabytes: f64) -> Submission {
    let model: Arc<dyn StepModel> = Arc::new(Steps { overlapped_s: 0.0, bytes: gigabytes * 1e9 });
    Submission { step_model: Some(model), ..job(submit_s, duration_s, tasks, 1) }
}

#[track_caller]
fn check_run(jobs: &[Submission], traffic: Option<Traffic>, finishes_s: &[f64], slowdowns: &[f64]) {
    let result = simulate(8, jobs, traffic, "fifo+binpack", &mut Heard::default());
    let got: Vec<f64> = result.jobs.iter().map(|job| job.finish.unwrap().as_s()).collect();
    let slowed: Vec<f64> =
        result.jobs.iter().map(|job| job.communication.as_ref().unwrap().slowdown().unwrap()).collect();
    for (got, expected) in got.iter().zip(finishes_s).chain(slowed.iter().zip(slowdowns)) {
        assert!((got - expected).abs() < 1e-5 * expected, "{got} in place of {expected}");
    }
}

#[test]
fn a_job_is_as_fast_as_its_place_and_neighbours_let_it() {
    let over = |phases| Some(traffic(8, 2.0, phases));
    // 100 steps of a second, that take two each on two nodes.
    let one = [stepping_job(0.0, 100.0, 2, 10.0)];
    check_run(&one, None, &[200.0], &[2.0]);
    check_run(&one, over(Phases::Synchronised), &[200.0], &[2.0]);
    check_run(&[stepping_job(0.0, 100.0, 1, 10.0)], over(Phases::Synchronised), &[100.0], &[1.0]);
    // Nodes are taken in order. The first takes node 0; the second 1 and 2; the third 3 and 4, and both cross the uplinks of leaf 1: 3 s
    // a step until the third ends.
    let beside = [
        stepping_job(0.0, 100.0, 1, 0.0),
        stepping_job(0.0, 100.0, 2, 10.0),
        stepping_job(0.0, 50.0, 2, 10.0),
    ];
    check_run(&beside, over(Phases::Synchronised), &[100.0, 250.0, 150.0], &[1.0, 2.5, 3.0]);
    check_run(&beside, over(Phases::Interleaved), &[100.0, 200.0, 100.0], &[1.0, 2.0, 2.0]);
    // On 0, 1, 2 and on 3, 4, 5: the first crosses from leaf 0 to 1 and back, the second from leaf 1 to 2 and back. On leaf 1
    // each has half while both run.
    let beside = [stepping_job(0.0, 50.0, 3, 10.0), stepping_job(0.0, 100.0 / 3.0, 3, 10.0)];
    let rest_s = 2.0 * (50.0 - 100.0 / 3.0);
    check_run(&beside, over(Phases::Synchronised), &[100.0 + rest_s, 100.0], &[(100.0 + rest_s) / 50.0, 3.0]);
    check_run(&beside, over(Phases::Interleaved), &[100.0, 200.0 / 3.0], &[2.0, 2.0]);
}

#[test]
fn links_change_while_jobs_run() {
    let over = traffic(8, 2.0, Phases::Interleaved);
    let up = over.network().nic_up(over.network().nic(0, 0).unwrap());
    let change = |at_s: f64, factor| LinkChange { at: Time::from_s(at_s), link: up, factor };
    // 20 s at 2 s a step, 10 s of nothing, 30 s at 3 s a step, and what is left of 100 steps; twice as much again after the end.
    let changes = vec![change(60.0, 1.0), change(20.0, 0.0), change(30.0, 0.5), change(1e6, 0.0)];
    let jobs = [stepping_job(0.0, 100.0, 2, 10.0)];
    check_run(&jobs, Some(over.with_link_changes(changes)), &[60.0 + 80.0 * 2.0], &[2.2]);
}

#[test]
fn work_and_traffic_are_in_the_result() {
    // On nodes 0, 1, 2: two of three boundaries leave a leaf. 100 steps of 10 GB.
    let jobs = [stepping_job(0.0, 100.0, 3, 10.0)];
    let result =
        simulate(8, &jobs, Some(traffic(8, 2.0, Phases::Interleaved)), "fifo+binpack", &mut Heard::default());
    let summary = result.summary.communication.unwrap();
    assert_eq!((summary.jobs, summary.slowdown_mean, summary.held_back), (1, 2.0, 0.0));
    assert_eq!((summary.leaf_bytes, summary.spine_bytes), (2_000_000_000_000, 0));
    // Jobs that do not say what their steps take are left out.
    let result = simulate(8, &[job(0.0, 1.0, 2, 1)], None, "fifo+binpack", &mut Heard::default());
    assert_eq!((result.summary.communication, &result.jobs[0].communication), (None, &None));
}

/// What jobs did, by their paces.
#[derive(Default)]
struct Heard {
    /// By job: since when, at which pace.
    paces: Vec<Option<(Time, Pace)>>,
    done: Vec<u128>,
}

impl Heard {
    fn settle(&mut self, job: u64, now: Time, pace: Option<Pace>) {
        if let Some((since, before)) =
            std::mem::replace(&mut self.paces[job as usize], pace.map(|pace| (now, pace)))
        {
            self.done[job as usize] += u128::from(before.speed) * u128::from(now.since(since).as_nanos());
        }
    }
}

impl Observer for Heard {
    fn advance(&mut self, _from: Time, _to: Time, _state: &foretell_sim::framework::ClusterState) {}

    fn record(&mut self, now: Time, record: &Record<'_>, _state: &foretell_sim::framework::ClusterState) {
        match *record {
            Record::JobSubmitted { .. } => {
                self.paces.push(None);
                self.done.push(0);
            }
            Record::JobPaced { job, pace } => self.settle(job, now, Some(pace)),
            Record::JobFinished { job, .. } => self.settle(job, now, None),
            _ => {}
        }
    }
}

fn any_phases() -> impl Strategy<Value = Phases> {
    prop::sample::select(vec![Phases::Interleaved, Phases::Synchronised])
}

fn any_law() -> impl Strategy<Value = Arc<StepLaw>> {
    (0.0..1.0, 0.1..40.0, any::<bool>()).prop_map(|(overlapped_s, gigabytes, is_ring)| {
        let pattern = if is_ring { Pattern::Ring } else { Pattern::AllToAll };
        Arc::new(StepLaw { pattern, ..*law(overlapped_s, gigabytes) })
    })
}

/// Twelve nodes of three cards in rail-optimised units of three nodes.
fn rail_network(oversubscription: f64) -> Network {
    let spines = Uplinks { switches: 2, width: Width::Oversubscription(oversubscription) };
    let shape = Shape::LeafSpine { attachment: Attachment::ByRail { nodes_per_unit: 3 }, spines };
    Network::new(&NetworkSpec { nodes: 12, nics_per_node: 3, nic_gb_per_s: 10.0, shape }).unwrap()
}

/// What may happen to the traffic of twelve nodes.
#[derive(Clone, Debug)]
enum Change {
    Place(usize, Arc<StepLaw>, Vec<Member>),
    Remove(usize),
    Link(u32, f64),
}

/// On a network of so many rails and links.
fn any_change(rails: u32, links: u32) -> impl Strategy<Value = Change> {
    let nodes = prop::sample::subsequence((0..12).collect::<Vec<u32>>(), 2..6).prop_shuffle();
    let factors = prop::sample::select(vec![0.0, 0.5, 1.0]);
    // Most use all rails of their nodes, as jobs on whole nodes do.
    let all: Vec<u32> = (0..rails).collect();
    let rails = prop_oneof![4 => Just(all.clone()), 1 => prop::sample::subsequence(all, 1..=rails as usize)];
    let place = (0_usize..8, any_law(), nodes, rails).prop_map(|(job, law, nodes, rails)| {
        let member = |node| Member { node, rails: rails.clone() };
        Change::Place(job, law, nodes.into_iter().map(member).collect())
    });
    prop_oneof![
        4 => place,
        2 => (0_usize..8).prop_map(Change::Remove),
        1 => (0..links, factors).prop_map(|(link, factor)| Change::Link(link, factor)),
    ]
}

fn is_near(one: Stepping, other: Stepping) -> bool {
    one.step_s.to_bits() == other.step_s.to_bits() || (one.step_s / other.step_s - 1.0).abs() < 1e-9
}

/// What is kept from change to change is what one gets who begins afresh and counts every link by itself; and who is not told of a change
/// has none.
fn compare_with_scratch(network: &Network, routing: Routing, phases: Phases, instants: Vec<Vec<Change>>) {
    let mut kept = Traffic::new(network.clone(), routing, phases).unwrap();
    let mut ids = SlotMap::<JobId, ()>::with_key();
    let ids: Vec<JobId> = (0..8).map(|_| ids.insert(())).collect();
    let mut placed: Vec<Option<(Arc<StepLaw>, Vec<Member>)>> = vec![None; 8];
    let mut links: Vec<(LinkId, f64)> = Vec::new();
    let mut known: Vec<Option<Stepping>> = vec![None; 8];
    for instant in instants {
        for change in instant {
            match change {
                Change::Place(job, law, members) => {
                    kept.place(ids[job], Arc::clone(&law), members.clone());
                    placed[job] = Some((law, members));
                }
                Change::Remove(job) => {
                    kept.remove(ids[job]);
                    placed[job] = None;
                }
                Change::Link(link, factor) => {
                    links.push((LinkId::new(link), factor));
                    kept.change_links(&links[links.len() - 1..]).unwrap();
                }
            }
        }
        let mut fresh = Traffic::link_by_link(network.clone(), routing, phases).unwrap();
        fresh.change_links(&links).unwrap();
        for (&id, placed) in ids.iter().zip(&placed) {
            if let Some((law, members)) = placed {
                fresh.place(id, Arc::clone(law), members.clone());
            }
        }
        fresh.take_changed();
        let told = kept.take_changed();
        for (&id, known) in ids.iter().zip(&mut known) {
            let (now, expected) = (kept.stepping(id), fresh.stepping(id));
            assert_eq!(now.is_some(), expected.is_some());
            if let Some((now, expected)) = now.zip(expected) {
                assert!(is_near(now, expected), "{now:?}, from scratch {expected:?}");
                assert!(told.contains(&id) || known.is_some_and(|known| known == now));
            }
            *known = now;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn steps_equal_those_from_scratch(
        phases in any_phases(),
        routing in prop::sample::select(vec![Routing::Adaptive, Routing::Ecmp { seed: 7, queue_pairs: 1 }]),
        oversubscription in 1.0..4.0,
        instants in prop::collection::vec(prop::collection::vec(any_change(1, 36), 1..5), 1..12),
    ) {
        compare_with_scratch(&network(12, oversubscription), routing, phases, instants);
    }

    #[test]
    fn rails_that_carry_the_same_are_as_good_as_one(
        phases in any_phases(),
        routing in prop::sample::select(vec![Routing::Adaptive, Routing::Ecmp { seed: 7, queue_pairs: 1 }]),
        oversubscription in 1.0..4.0,
        instants in prop::collection::vec(prop::collection::vec(any_change(3, 72 + 48), 1..5), 1..12),
    ) {
        compare_with_scratch(&rail_network(oversubscription), routing, phases, instants);
    }

    /// On one bottleneck a neighbour never speeds a job up; and nobody is faster beside others than alone.
    #[test]
    fn a_neighbour_never_helps(phases in any_phases(), laws in prop::collection::vec(any_law(), 2..6)) {
        let mut ids = SlotMap::<JobId, ()>::with_key();
        let mut before: Vec<(JobId, f64)> = Vec::new();
        // All between the same two leaves, on NICs that they do not share: a network of leaves of twelve nodes.
        let spines = Uplinks { switches: 1, width: Width::Oversubscription(12.0) };
        let shape = Shape::LeafSpine { attachment: Attachment::ByNode { nodes_per_leaf: 12 }, spines };
        let spec = NetworkSpec { nodes: 24, nics_per_node: 1, nic_gb_per_s: 10.0, shape };
        let mut traffic = Traffic::new(Network::new(&spec).unwrap(), Routing::Adaptive, phases).unwrap();
        for (index, law) in laws.iter().enumerate() {
            let id = ids.insert(());
            let index = index as u32;
            traffic.place(id, Arc::clone(law), members(&[index, index + 12]));
            traffic.take_changed();
            for (other, step_s) in &mut before {
                let now_s = traffic.stepping(*other).unwrap().step_s;
                prop_assert!(now_s >= *step_s * (1.0 - 1e-9), "{} after {}", now_s, step_s);
                *step_s = now_s;
            }
            let step = traffic.stepping(id).unwrap();
            prop_assert!(step.step_s >= law.alone_s() * (1.0 - 1e-9));
            before.push((id, step.step_s));
        }
    }

    /// Alone, a ring over the same number of nodes is no faster on more leaves, nor on more nodes of the same leaves.
    #[test]
    fn a_worse_place_is_never_faster(phases in any_phases(), law in any_law(), oversubscription in 1.0..8.0) {
        let step_s = |nodes: &[u32]| {
            let mut traffic = traffic(16, oversubscription, phases);
            let id = SlotMap::<JobId, ()>::with_key().insert(());
            traffic.place(id, Arc::clone(&law), members(nodes));
            traffic.take_changed();
            traffic.stepping(id).unwrap().step_s
        };
        let law_is_ring = law.pattern == Pattern::Ring;
        for (better, worse) in [
            (&[0, 1][..], &[0, 2][..]),
            (&[0, 1, 2, 3], &[0, 2, 1, 3]),
            (&[0, 1, 2, 3], &[0, 2, 4, 6]),
            (&[0, 1, 2, 3, 4, 5], &[0, 1, 2, 4, 6, 8]),
        ] {
            // All-to-alls gain from more leaves: each has uplinks of its own.
            if law_is_ring || better.len() == 2 {
                prop_assert!(step_s(better) <= step_s(worse) * (1.0 + 1e-9), "{:?} and {:?}", better, worse);
            }
        }
    }

    /// What a job does at the paces that are told is its work, to rounding, whoever comes and goes beside it.
    #[test]
    fn work_is_conserved(
        phases in any_phases(),
        policy in prop::sample::select(vec!["fifo+binpack", "fifo+random", "fifo+spread"]),
        shapes in prop::collection::vec((0_u32..40, 1_u32..60, 1_u32..6, 0.0_f64..40.0), 1..16),
        links in prop::collection::vec((0_u32..200, 0_u32..24, prop::sample::select(vec![0.25, 1.0])), 0..6),
    ) {
        let mut clock_s = 0.0;
        let jobs: Vec<Submission> = shapes.iter().map(|&(gap, duration, tasks, gigabytes)| {
            clock_s += f64::from(gap);
            stepping_job(clock_s, f64::from(duration), tasks, gigabytes)
        }).collect();
        let change = |&(at, link, factor): &(u32, u32, f64)| LinkChange {
            at: Time::from_s(f64::from(at)), link: LinkId::new(link), factor,
        };
        let run = || {
            let over = traffic(8, 2.0, phases).with_link_changes(links.iter().map(change).collect());
            let mut heard = Heard::default();
            let result = simulate(8, &jobs, Some(over), policy, &mut heard);
            (result, heard)
        };
        let (result, heard) = run();
        for ((job, submission), done) in result.jobs.iter().zip(&jobs).zip(&heard.done) {
            prop_assert_eq!(job.status, JobStatus::Completed);
            let work = u128::from(submission.duration.unwrap().as_nanos()) * u128::from(FULL_SPEED);
            // One nanosecond at full speed at the most.
            prop_assert!(*done >= work && *done <= work + u128::from(FULL_SPEED), "{} of {}", done, work);
            prop_assert!(job.communication.as_ref().unwrap().slowdown().unwrap() >= 1.0 - 1e-6);
        }
        prop_assert_eq!(run().0, result);
    }
}

#[test]
fn links_of_nics_come_first() {
    // What the tests above take for granted of link numbers.
    assert_eq!(rail_network(2.0).links(), 72 + 48);
    let network = network(12, 2.0);
    assert_eq!(network.links(), 36);
    assert_eq!(network.tier(LinkId::new(23)), LinkTier::Nic);
    assert_eq!(network.tier(LinkId::new(24)), LinkTier::Leaf);
}
