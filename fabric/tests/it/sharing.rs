//! Max-min fair rates: cases solved by hand, and sequences of operations against filling from scratch.

use foretell_fabric::network::{
    Attachment, LinkId, LinkWeight, Loads, Network, NetworkSpec, Routing, Shape, Uplinks, Width,
};
use foretell_fabric::sharing::{FlowId, Sharing, SharingError};
use proptest::prelude::*;

/// A flow as the oracle sees it: links with weights, cap, share.
#[derive(Clone, Debug)]
struct Flow {
    links: Vec<(usize, f64)>,
    cap: f64,
    share: f64,
}

impl Flow {
    fn new(links: &[(usize, f64)], cap: f64, share: f64) -> Self {
        Self { links: links.to_vec(), cap, share }
    }

    fn hops(&self) -> Vec<LinkWeight> {
        self.links.iter().map(|&(link, weight)| LinkWeight::new(LinkId::new(link as u32), weight)).collect()
    }
}

/// Progressive filling from scratch, with no care for time: after each stop all sums are taken again.
fn max_min(capacities: &[f64], flows: &[Flow]) -> Vec<f64> {
    let mut rates: Vec<Option<f64>> = vec![None; flows.len()];
    loop {
        let mut level = f64::INFINITY;
        let mut full = None;
        for (link, &capacity) in capacities.iter().enumerate() {
            let (mut left, mut weight) = (capacity, 0.0);
            for (flow, rate) in flows.iter().zip(&rates) {
                for &(_, own) in flow.links.iter().filter(|on| on.0 == link) {
                    match rate {
                        Some(rate) => left -= own * rate,
                        None => weight += own * flow.share,
                    }
                }
            }
            if weight > 0.0 && left.max(0.0) / weight < level {
                (level, full) = (left.max(0.0) / weight, Some(link));
            }
        }
        let lowest_cap = flows
            .iter()
            .zip(&rates)
            .filter(|(_, rate)| rate.is_none())
            .map(|(flow, _)| flow.cap / flow.share);
        let lowest_cap = lowest_cap.fold(f64::INFINITY, f64::min);
        let mut stopped = false;
        for (flow, rate) in flows.iter().zip(&mut rates).filter(|(_, rate)| rate.is_none()) {
            if lowest_cap <= level {
                if flow.cap / flow.share <= lowest_cap {
                    (*rate, stopped) = (Some(flow.cap), true);
                }
            } else if flow.links.iter().any(|on| Some(on.0) == full) {
                (*rate, stopped) = (Some(level * flow.share), true);
            }
        }
        if !stopped {
            return rates.into_iter().map(|rate| rate.unwrap_or(f64::NAN)).collect();
        }
    }
}

#[track_caller]
fn assert_rates(sharing: &Sharing, ids: &[FlowId], expected: &[f64]) {
    let rates: Vec<f64> = ids.iter().map(|&id| sharing.rate_gb_per_s(id)).collect();
    let near =
        rates.iter().zip(expected).all(|(rate, expected)| (rate - expected).abs() <= 1e-9 * (1.0 + expected));
    assert!(near && rates.len() == expected.len(), "{rates:?} are not {expected:?}");
}

#[test]
fn rates_are_as_worked_out_by_hand() {
    let check = |capacities: &[f64], flows: &[Flow], expected: &[f64]| {
        let mut sharing = Sharing::new(capacities).unwrap();
        let ids: Vec<FlowId> =
            flows.iter().map(|flow| sharing.add(&flow.hops(), flow.cap, flow.share).unwrap()).collect();
        assert_rates(&sharing, &ids, expected);
        let oracle = max_min(capacities, flows);
        assert_rates(&sharing, &ids, &oracle);
    };
    let infinite = f64::INFINITY;
    let flow = Flow::new;
    // Alone: at its cap, or at what the link gives a flow that crosses it twice.
    check(&[100.0], &[flow(&[(0, 1.0)], 40.0, 1.0)], &[40.0]);
    check(&[100.0], &[flow(&[(0, 1.0), (0, 1.0)], infinite, 1.0)], &[50.0]);
    // Two alike; by shares 1 to 3; one with a low cap leaves the rest.
    check(&[100.0], &[flow(&[(0, 1.0)], infinite, 1.0), flow(&[(0, 1.0)], infinite, 1.0)], &[50.0, 50.0]);
    check(&[100.0], &[flow(&[(0, 1.0)], infinite, 1.0), flow(&[(0, 1.0)], infinite, 3.0)], &[25.0, 75.0]);
    check(&[100.0], &[flow(&[(0, 1.0)], 10.0, 1.0), flow(&[(0, 1.0)], infinite, 1.0)], &[10.0, 90.0]);
    // Equal rates, though one puts four times as much on the link.
    check(&[100.0], &[flow(&[(0, 1.0)], infinite, 1.0), flow(&[(0, 4.0)], infinite, 1.0)], &[20.0, 20.0]);
    // The line of Bertsekas and Gallager: a long flow over two links of 10 and 8, of which the second has two more flows.
    let line = [
        flow(&[(0, 1.0), (1, 1.0)], infinite, 1.0),
        flow(&[(0, 1.0)], infinite, 1.0),
        flow(&[(1, 1.0)], infinite, 1.0),
        flow(&[(1, 1.0)], infinite, 1.0),
    ];
    check(&[10.0, 8.0], &line, &[8.0 / 3.0, 22.0 / 3.0, 8.0 / 3.0, 8.0 / 3.0]);
    // A failed link stops who crosses it, and nobody else.
    check(&[0.0, 8.0], &line[..3], &[0.0, 0.0, 8.0]);
    // No links: at its cap.
    check(&[], &[flow(&[], 7.0, 1.0)], &[7.0]);
}

#[test]
fn changes_are_told_and_go_no_further_than_they_reach() {
    // Two flows share link 0, two share link 1; a last one is on links 0 and 2.
    let mut sharing = Sharing::new(&[100.0, 60.0, 50.0]).unwrap();
    let link = |link| [LinkWeight::new(LinkId::new(link), 1.0)];
    let mut add = |on| sharing.add(&link(on), 40.0, 1.0).unwrap();
    let (one, two) = ([add(0), add(0)], [add(1), add(1)]);
    assert_rates(&sharing, &one, &[40.0, 40.0]);
    assert_rates(&sharing, &two, &[30.0, 30.0]);
    assert_eq!(sharing.changed(), [two[1], two[0]], "the new one and the one that gives way");
    assert!(!sharing.is_saturated(LinkId::new(0)) && sharing.is_saturated(LinkId::new(1)));
    let last = sharing.add(&[link(0)[0], link(2)[0]], 20.0, 1.0).unwrap();
    assert_eq!((sharing.changed(), sharing.solved()), (&[last][..], 1), "room for all at their caps");
    sharing.set_capacity(LinkId::new(0), 60.0).unwrap();
    assert_rates(&sharing, &[one[0], one[1], last], &[20.0, 20.0, 20.0]);
    assert_eq!(sharing.changed(), one);
    sharing.set_capacity(LinkId::new(0), 0.0).unwrap();
    assert_rates(&sharing, &[one[0], one[1], last], &[0.0, 0.0, 0.0]);
    assert_rates(&sharing, &two, &[30.0, 30.0]);
    sharing.set_capacity(LinkId::new(0), 100.0).unwrap();
    sharing.remove(two[0]).unwrap();
    assert_rates(&sharing, &[one[0], one[1], last], &[40.0, 40.0, 20.0]);
    assert_rates(&sharing, &two, &[0.0, 40.0]);
    assert_eq!(sharing.changed(), [two[1]]);
    sharing.set_cap(two[1], 10.0).unwrap();
    assert_eq!((sharing.changed(), sharing.load_gb_per_s(LinkId::new(1))), (&[two[1]][..], 10.0));
    assert_eq!(sharing.remove(two[0]), Err(SharingError::UnknownFlow { flow: two[0] }));
    let again = sharing.add(&link(1), 5.0, 1.0).unwrap();
    assert_eq!(again, two[0], "a free number is used again");
}

#[test]
fn rings_over_two_leaves_share_what_is_above() {
    // Two nodes of 50 GB/s on each of two leaves; two rings, each over one node of either leaf.
    let check = |spines: u32, oversubscription: f64, routing: Routing, expected: f64| {
        let spines = Uplinks { switches: spines, width: Width::Oversubscription(oversubscription) };
        let shape = Shape::LeafSpine { attachment: Attachment::ByNode { nodes_per_leaf: 2 }, spines };
        let network =
            Network::new(&NetworkSpec { nodes: 4, nics_per_node: 1, nic_gb_per_s: 50.0, shape }).unwrap();
        let mut loads = Loads::new(&network, routing);
        let mut sharing = Sharing::new(&network.capacities_gb_per_s()).unwrap();
        let rings = [[0, 2], [1, 3]].map(|ring| loads.ring(&ring, &[0]).unwrap());
        let flows = rings.map(|ring| sharing.add(&ring, 48.0, 1.0).unwrap());
        assert_rates(&sharing, &flows, &[expected, expected]);
    };
    let ecmp = |seed| Routing::Ecmp { seed, queue_pairs: 1 };
    check(1, 1.0, ecmp(1), 48.0);
    check(1, 2.0, ecmp(1), 25.0);
    check(2, 2.0, Routing::Adaptive, 25.0);
    check(2, 1.0, Routing::Adaptive, 48.0);
    // By one hash the rings go by different spines; by another they meet.
    check(2, 1.0, ecmp(1), 48.0);
    check(2, 1.0, ecmp(11), 25.0);
}

#[test]
fn what_cannot_be_shared_is_refused() {
    let mut sharing = Sharing::new(&[1.0]).unwrap();
    let on = |link, weight| [LinkWeight::new(LinkId::new(link), weight)];
    let mut check = |links: &[LinkWeight], cap, share, message: &str| {
        assert_eq!(sharing.add(links, cap, share).unwrap_err().to_string(), message);
    };
    check(&on(1, 1.0), 1.0, 1.0, "link 1 is not one of 1");
    check(&on(0, 0.0), 1.0, 1.0, "a flow's weight on a link must be positive and finite, not 0");
    check(&on(0, 1.0), -1.0, 1.0, "a flow's cap must be not negative, not -1");
    check(&on(0, 1.0), 1.0, f64::INFINITY, "a flow's share must be positive and finite, not inf");
    check(&[], f64::INFINITY, 1.0, "a flow over no links needs a finite cap");
    assert!(Sharing::new(&[f64::NAN]).is_err());
    assert!(sharing.set_capacity(LinkId::new(0), f64::INFINITY).is_err());
}

#[derive(Clone, Debug)]
enum Operation {
    Add(Flow),
    Remove(usize),
    Cap(usize, f64),
    Capacity(usize, f64),
}

const LINKS: usize = 7;

/// Round values, so that levels coincide, or any in three orders of magnitude.
fn quantity() -> impl Strategy<Value = f64> {
    prop_oneof![
        prop::sample::select(vec![1.0, 2.0, 3.0, 4.0, 8.0]),
        (-1.0..2.0_f64).prop_map(|power| 10.0_f64.powf(power))
    ]
}

fn cap() -> impl Strategy<Value = f64> {
    prop_oneof![8 => quantity(), 2 => Just(f64::INFINITY), 1 => Just(0.0)]
}

/// On so many links, flows that cross fewer than `crossed` of them.
fn operation(links: usize, crossed: usize) -> impl Strategy<Value = Operation> {
    let crossing = prop::collection::vec((0..links, quantity()), 1..crossed);
    prop_oneof![
        6 => (crossing, cap(), quantity()).prop_map(|(links, cap, share)| Operation::Add(Flow { links, cap, share })),
        3 => any::<usize>().prop_map(Operation::Remove),
        2 => (any::<usize>(), cap()).prop_map(|(flow, cap)| Operation::Cap(flow, cap)),
        3 => (0..links, prop_oneof![3 => quantity(), 1 => Just(0.0)])
            .prop_map(|(link, capacity)| Operation::Capacity(link, capacity)),
    ]
}

/// Runs operations on both; after each, rates must be the same and `changed` name what changed and nothing else.
fn compare(capacities: &[f64], operations: &[Operation]) -> Sharing {
    let mut capacities = capacities.to_vec();
    let mut sharing = Sharing::new(&capacities).unwrap();
    let mut flows: Vec<(FlowId, Flow)> = Vec::new();
    for operation in operations {
        let mut before: Vec<(FlowId, f64)> =
            flows.iter().map(|flow| (flow.0, sharing.rate_gb_per_s(flow.0))).collect();
        match operation {
            Operation::Add(flow) => {
                let id = sharing.add(&flow.hops(), flow.cap, flow.share).unwrap();
                flows.push((id, flow.clone()));
                before.push((id, 0.0));
            }
            Operation::Remove(at) if !flows.is_empty() => {
                let (id, _) = flows.remove(at % flows.len());
                sharing.remove(id).unwrap();
                before.retain(|flow| flow.0 != id);
            }
            Operation::Cap(at, cap) if !flows.is_empty() => {
                let at = at % flows.len();
                sharing.set_cap(flows[at].0, *cap).unwrap();
                flows[at].1.cap = *cap;
            }
            Operation::Capacity(link, capacity) => {
                sharing.set_capacity(LinkId::new(*link as u32), *capacity).unwrap();
                capacities[*link] = *capacity;
            }
            _ => continue,
        }
        let (ids, specs): (Vec<FlowId>, Vec<Flow>) = flows.iter().cloned().unzip();
        assert_rates(&sharing, &ids, &max_min(&capacities, &specs));
        let mut changed: Vec<FlowId> = before
            .iter()
            .filter(|(id, rate)| sharing.rate_gb_per_s(*id).to_bits() != rate.to_bits())
            .map(|flow| flow.0)
            .collect();
        let mut told = sharing.changed().to_vec();
        changed.sort_unstable();
        told.sort_unstable();
        assert_eq!(told, changed, "after {operation:?}");
        for (link, capacity) in capacities.iter().enumerate() {
            let load = sharing.load_gb_per_s(LinkId::new(link as u32));
            assert!(load <= capacity * (1.0 + 1e-9), "link {link} of {capacity} carries {load}");
        }
    }
    sharing
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(10_000) })]

    #[test]
    fn steps_give_what_filling_from_scratch_gives(
        capacities in prop::collection::vec(quantity(), LINKS),
        operations in prop::collection::vec(operation(LINKS, 5), 1..40),
    ) {
        compare(&capacities, &operations);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(20) })]

    #[test]
    fn many_links_and_flows_give_the_same(
        capacities in prop::collection::vec(100.0..1000.0_f64, 40),
        operations in prop::collection::vec(operation(40, 15), 200..300),
    ) {
        compare(&capacities, &operations);
    }

    #[test]
    fn long_sequences_do_not_drift(
        capacities in prop::collection::vec(quantity(), LINKS),
        operations in prop::collection::vec(operation(LINKS, 5), 400..800),
    ) {
        compare(&capacities, &operations);
    }
}

/// Runs operations in groups, each solved for at once; after each, rates must be those of filling from scratch, and `changed` name what
/// changed in the group and nothing else.
fn compare_held(capacities: &[f64], groups: &[Vec<Operation>]) {
    let mut capacities = capacities.to_vec();
    let mut sharing = Sharing::new(&capacities).unwrap();
    let mut flows: Vec<(FlowId, Flow)> = Vec::new();
    for group in groups {
        let before: Vec<(FlowId, f64)> =
            flows.iter().map(|flow| (flow.0, sharing.rate_gb_per_s(flow.0))).collect();
        let mut added: Vec<FlowId> = Vec::new();
        sharing.hold();
        for operation in group {
            match operation {
                Operation::Add(flow) => {
                    let id = sharing.add(&flow.hops(), flow.cap, flow.share).unwrap();
                    flows.push((id, flow.clone()));
                    added.push(id);
                }
                Operation::Remove(at) if !flows.is_empty() => {
                    let (id, _) = flows.remove(at % flows.len());
                    sharing.remove(id).unwrap();
                    added.retain(|&added| added != id);
                }
                Operation::Cap(at, cap) if !flows.is_empty() => {
                    let at = at % flows.len();
                    sharing.set_cap(flows[at].0, *cap).unwrap();
                    flows[at].1.cap = *cap;
                }
                Operation::Capacity(link, capacity) => {
                    sharing.set_capacity(LinkId::new(*link as u32), *capacity).unwrap();
                    capacities[*link] = *capacity;
                }
                _ => {}
            }
        }
        sharing.release();
        let (ids, specs): (Vec<FlowId>, Vec<Flow>) = flows.iter().cloned().unzip();
        assert_rates(&sharing, &ids, &max_min(&capacities, &specs));
        let was = |id: FlowId| {
            let old = before.iter().find(|flow| flow.0 == id && !added.contains(&id));
            old.map_or(0.0, |flow| flow.1)
        };
        let mut changed: Vec<FlowId> =
            ids.into_iter().filter(|&id| sharing.rate_gb_per_s(id).to_bits() != was(id).to_bits()).collect();
        let mut told = sharing.changed().to_vec();
        changed.sort_unstable();
        told.sort_unstable();
        assert_eq!(told, changed, "after {group:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(4_000) })]

    #[test]
    fn changes_solved_for_together_give_what_filling_from_scratch_gives(
        capacities in prop::collection::vec(quantity(), LINKS),
        groups in prop::collection::vec(prop::collection::vec(operation(LINKS, 5), 0..8), 1..12),
    ) {
        compare_held(&capacities, &groups);
    }
}

/// A cap so large that what others ask for is lost in its rounding leaves no trace once it is gone.
#[test]
fn a_huge_cap_hides_nobody() {
    for huge in [1e18, f64::MAX] {
        let link = [LinkWeight::new(LinkId::new(0), 2.0)];
        let mut sharing = Sharing::new(&[100.0]).unwrap();
        let first = sharing.add(&link, huge, 1.0).unwrap();
        let others = [60.0, 60.0].map(|cap| sharing.add(&link, cap, 1.0).unwrap());
        sharing.remove(first).unwrap();
        let check = |sharing: &Sharing, expected: f64| {
            for rate in others.map(|flow| sharing.rate_gb_per_s(flow)) {
                assert!((rate - expected).abs() < 1e-9, "{huge}: {rate} for {expected}");
            }
        };
        check(&sharing, 25.0);
        let first = sharing.add(&link, 1.0, 1.0).unwrap();
        sharing.set_cap(first, huge).unwrap();
        sharing.set_cap(first, 1.0).unwrap();
        check(&sharing, 24.5);
    }
}
