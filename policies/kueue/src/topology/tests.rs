//! Small trees, by hand and drawn: what an assignment must always be, and when there must be one.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

use foretell_framework::Labels;
use proptest::prelude::*;

use super::*;
use crate::ids::ResourceId;

const CPU: ResourceId = ResourceId::new(0);

/// A node: its value per level, its CPUs, its pods.
type Host = (Vec<u8>, i64, i64);

fn levels(count: usize) -> Vec<Box<str>> {
    let wide = ["zone", "block", "rack"].into_iter().take(count - 1);
    wide.chain([HOSTNAME_LABEL]).map(Into::into).collect()
}

fn snapshot(levels: &[Box<str>], hosts: &[Host]) -> TopologySnapshot {
    let labels: Vec<_> = hosts
        .iter()
        .enumerate()
        .map(|(index, (values, cpus, _))| {
            let name = format!("n{index}");
            let mut labels: Labels = levels
                .iter()
                .zip(values)
                .map(|(level, value)| (level.clone(), format!("{value}").into()))
                .collect();
            labels.insert(HOSTNAME_LABEL.into(), name.as_str().into());
            (name, labels, [(CPU, *cpus)])
        })
        .collect();
    let nodes: Vec<TopologyNode<'_>> = labels
        .iter()
        .zip(hosts)
        .map(|((name, labels, allocatable), &(_, _, pods))| TopologyNode {
            name,
            labels,
            taints: &[],
            allocatable,
            pods,
        })
        .collect();
    TopologySnapshot::new(levels, &TopologyFlavor::default(), &nodes)
}

fn shape(cpus: i64) -> PodShape {
    PodShape { requests: vec![(CPU, cpus)], ..PodShape::default() }
}

/// A drawn case.
#[derive(Clone, Debug)]
struct Case {
    levels: Vec<Box<str>>,
    hosts: Vec<Host>,
    /// The level asked for, and whether it is required; unconstrained if absent.
    level: Option<(usize, bool)>,
    slice: Option<(usize, u32)>,
    workers: (u32, i64),
    leader: Option<i64>,
    balanced: bool,
}

impl Case {
    fn request(&self) -> TopologyRequest {
        let level = match self.level {
            Some((level, true)) => LevelRequest::Required(self.levels[level].clone()),
            Some((level, false)) => LevelRequest::Preferred(self.levels[level].clone()),
            None => LevelRequest::Unconstrained,
        };
        let slices = self
            .slice
            .iter()
            .map(|&(level, size)| SliceLayer { level: self.levels[level].clone(), size: Some(size) });
        TopologyRequest { level: Some(level), slices: slices.collect(), group: Some("group".into()) }
    }

    fn assign(&self) -> Result<Vec<PodSetAssignment>, Failure> {
        let snapshot = snapshot(&self.levels, &self.hosts);
        let topology = self.request();
        let (workers, leader) = (shape(self.workers.1), self.leader.map(shape));
        let set = |count, shape| PodSetRequest { count, shape, topology: &topology, is_implied: false };
        let mut sets = vec![set(self.workers.0, &workers)];
        sets.extend(leader.as_ref().map(|shape| set(1, shape)));
        let gates = TopologyGates { balanced_placement: self.balanced, ..TopologyGates::default() };
        assign(&snapshot, &sets, AssignOptions { gates, assumes_empty: false })
    }

    /// The host of a leaf: leaves are in order of values, names of hosts last.
    fn host(&self, snapshot: &TopologySnapshot, leaf: LeafId) -> usize {
        let name = &snapshot.leaf_values(leaf)[0];
        (0..self.hosts.len()).find(|index| format!("n{index}") == **name).unwrap()
    }

    /// What names the domain of a host at a level.
    fn domain(&self, host: usize, level: usize) -> (Vec<u8>, Option<usize>) {
        let wide = self.levels.len() - 1;
        (self.hosts[host].0[..wide.min(level + 1)].to_vec(), (level == wide).then_some(host))
    }

    /// How many workers a host has room for beside the leader, if it is there.
    fn room(&self, host: usize, has_leader: bool) -> i64 {
        let (_, cpus, pods) = self.hosts[host];
        let (cpus, pods) =
            if has_leader { (cpus - self.leader.unwrap_or(0), pods - 1) } else { (cpus, pods) };
        pods.min(cpus.div_euclid(self.workers.1)).max(0)
    }

    /// The obvious way: whether some choice of the leader's host leaves room for all slices, in one domain of a level or
    /// in all together.
    fn fits(&self, within: Option<usize>) -> bool {
        let lowest = self.levels.len() - 1;
        let (slice_level, size) = self.slice.unwrap_or((lowest, 1));
        let mut leads: Vec<Option<usize>> = vec![None];
        if let Some(cpus) = self.leader {
            let able = |&host: &usize| self.hosts[host].1 >= cpus && self.hosts[host].2 >= 1;
            leads = (0..self.hosts.len()).filter(able).map(Some).collect();
        }
        leads.iter().any(|&lead| {
            let mut per_slice_domain: BTreeMap<_, (i64, usize)> = BTreeMap::new();
            for host in 0..self.hosts.len() {
                let entry = per_slice_domain.entry(self.domain(host, slice_level)).or_insert((0, host));
                entry.0 += self.room(host, lead == Some(host));
            }
            let mut slices: BTreeMap<_, i64> = BTreeMap::new();
            for (pods, host) in per_slice_domain.into_values() {
                let key = within.map(|level| self.domain(host, level));
                *slices.entry(key).or_default() += pods / i64::from(size);
            }
            let wanted = i64::from(self.workers.0 / size);
            let of_lead = |key: &Option<_>| {
                lead.is_none_or(|lead| key.is_none() || *key == within.map(|level| self.domain(lead, level)))
            };
            slices.iter().any(|(key, &slices)| of_lead(key) && slices >= wanted)
        })
    }
}

fn cases() -> impl Strategy<Value = Case> {
    let shapes = (1..=3_usize, proptest::collection::vec((0..3_u8, 0..3_u8, 0..7_i64, 0..6_i64), 1..8));
    (shapes, any::<[u8; 4]>(), 1..5_u32, 1..3_i64, proptest::option::of(1..4_i64), any::<[bool; 3]>())
        .prop_map(
            |((depth, hosts), [level, slice, size, kind], number, cpus, leader, [balanced, sliced, _])| {
                let hosts = hosts.into_iter().map(|(a, b, cpus, pods)| (vec![a, b], cpus, pods)).collect();
                let level = usize::from(level) % depth;
                let slice_level = level + usize::from(slice) % (depth - level);
                let size = u32::from(size) % 3 + 1;
                let kind = kind % 3;
                let slice_level = if kind == 2 { depth - 1 } else { slice_level };
                Case {
                    levels: levels(depth),
                    hosts,
                    level: (kind < 2).then_some((level, kind == 0)),
                    slice: sliced.then_some((slice_level, size)),
                    workers: (if sliced { number * size } else { number }, cpus),
                    leader,
                    balanced,
                }
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn an_assignment_is_complete_and_within_room_level_and_slices(case in cases()) {
        let Ok(found) = case.assign() else { return Ok(()) };
        let snapshot = snapshot(&case.levels, &case.hosts);
        let mut held = vec![(0, 0); case.hosts.len()];
        let mut used = Vec::new();
        for (position, assignment) in found.iter().enumerate() {
            let cpus = if position == 0 { case.workers.1 } else { case.leader.unwrap() };
            let total: u32 = assignment.domains.iter().map(|&(_, pods)| pods).sum();
            prop_assert_eq!(total, if position == 0 { case.workers.0 } else { 1 });
            for &(leaf, pods) in &assignment.domains {
                let host = case.host(&snapshot, leaf);
                held[host].0 += cpus * i64::from(pods);
                held[host].1 += i64::from(pods);
                used.push((position, host, pods));
            }
        }
        for ((cpus, pods), &(_, cpus_max, pods_max)) in held.into_iter().zip(&case.hosts) {
            prop_assert!(cpus <= cpus_max && pods <= pods_max);
        }
        if let Some((level, true)) = case.level {
            let first = case.domain(used[0].1, level);
            prop_assert!(used.iter().all(|&(_, host, _)| case.domain(host, level) == first));
        }
        if let Some((level, size)) = case.slice {
            let mut pods_of: BTreeMap<_, u32> = BTreeMap::new();
            for &(_, host, pods) in used.iter().filter(|&&(position, ..)| position == 0) {
                *pods_of.entry(case.domain(host, level)).or_default() += pods;
            }
            prop_assert!(pods_of.values().all(|pods| pods % size == 0));
        }
    }

    #[test]
    fn there_is_an_assignment_if_and_only_if_one_is_possible(case in cases()) {
        let within = case.level.filter(|&(_, is_required)| is_required).map(|(level, _)| level);
        prop_assert_eq!(case.assign().is_ok(), case.fits(within));
    }

    #[test]
    fn a_preferred_level_is_kept_wherever_it_can_be(case in cases()) {
        let Some((level, false)) = case.level else { return Ok(()) };
        // What is balanced may use several domains for an even spread.
        if case.balanced || !case.fits(Some(level)) {
            return Ok(());
        }
        let snapshot = snapshot(&case.levels, &case.hosts);
        let found = case.assign().unwrap();
        let leaves = found.iter().flat_map(|assignment| &assignment.domains);
        let mut domains: Vec<_> =
            leaves.map(|&(leaf, _)| case.domain(case.host(&snapshot, leaf), level)).collect();
        domains.sort();
        domains.dedup();
        prop_assert_eq!(domains.len(), 1);
    }

    #[test]
    fn a_balanced_set_is_as_even_as_it_can_be_on_the_fewest_hosts(
        cpus in proptest::collection::vec(0..9_i64, 1..8),
        number in 1..25_u32,
    ) {
        let case = Case {
            levels: levels(1),
            hosts: cpus.iter().map(|&cpus| (vec![], cpus, 99)).collect(),
            level: Some((0, false)),
            slice: None,
            workers: (number, 1),
            leader: None,
            balanced: true,
        };
        // All choices of hosts with room for all: of the fewest, the evenest share that their rooms allow.
        let mut best: Option<(u32, i64)> = None;
        for choice in 1_u32..1 << cpus.len() {
            let rooms = || (0..cpus.len()).filter(|index| choice >> index & 1 == 1).map(|index| cpus[index]);
            let hosts = choice.count_ones();
            if rooms().sum::<i64>() >= i64::from(number) {
                let share = i64::from(number / hosts).min(rooms().min().unwrap());
                best = match best {
                    Some((fewest, evenest)) if fewest < hosts || (fewest == hosts && evenest >= share) => best,
                    _ => Some((hosts, share)),
                };
            }
        }
        let found = case.assign().ok().map(|found| {
            let pods = found[0].domains.iter().map(|&(_, pods)| i64::from(pods));
            (found[0].domains.len() as u32, pods.min().unwrap())
        });
        prop_assert_eq!(found, best);
    }
}

#[test]
fn usage_is_taken_and_given_back() {
    let levels = levels(1);
    let mut snapshot = snapshot(&levels, &[(vec![], 4, 10), (vec![], 2, 10)]);
    let topology = TopologyRequest {
        level: Some(LevelRequest::Required(HOSTNAME_LABEL.into())),
        ..TopologyRequest::default()
    };
    let one = shape(1);
    let ask = |snapshot: &TopologySnapshot, count, assumes_empty| {
        let set = PodSetRequest { count, shape: &one, topology: &topology, is_implied: false };
        let options = AssignOptions { assumes_empty, ..AssignOptions::default() };
        assign(snapshot, &[set], options).map(|found| found[0].domains.clone())
    };
    let large = LeafId::new(0);
    assert_eq!(snapshot.leaf(&["n0".into()]), Some(large));
    assert_eq!(ask(&snapshot, 4, false), Ok(vec![(large, 4)]));
    snapshot.add_usage(large, &one, 3);
    let failure = ask(&snapshot, 4, false).unwrap_err();
    let FailureReason::NoRoom { fits: 2, of: 4, unit: Unit::Pod, excluded } = failure.reason else {
        panic!("{failure:?}");
    };
    assert_eq!(excluded, Excluded { leaves: 2, ..Excluded::default() });
    assert_eq!(ask(&snapshot, 4, true), Ok(vec![(large, 4)]));
    snapshot.remove_usage(large, &one, 3);
    assert_eq!(ask(&snapshot, 4, false), Ok(vec![(large, 4)]));
    snapshot.hold("n0", &one.requests, 1);
    assert!(ask(&snapshot, 4, true).is_err());
}

#[test]
fn each_group_sees_what_those_before_it_took() {
    let snapshot = snapshot(&levels(1), &[(vec![], 2, 10), (vec![], 2, 10)]);
    let topology = TopologyRequest { level: Some(LevelRequest::Unconstrained), ..TopologyRequest::default() };
    let one = shape(1);
    let set = PodSetRequest { count: 2, shape: &one, topology: &topology, is_implied: false };
    let found = assign(&snapshot, &[set, set], AssignOptions::default()).unwrap();
    assert_eq!(found[0].domains, [(LeafId::new(0), 2)]);
    assert_eq!(found[1].domains, [(LeafId::new(1), 2)]);
    let failure = assign(&snapshot, &[set, set, set], AssignOptions::default()).unwrap_err();
    assert_eq!(failure.pod_sets, [2]);
}

/// Slices of slices: hosts of 3 and 4 pods make up racks of multiples of 2 pods only.
#[test]
fn pods_that_make_up_no_inner_slice_are_none() {
    let levels = levels(3);
    let hosts = [(vec![0, 0], 3, 9), (vec![0, 0], 4, 9), (vec![0, 1], 5, 9), (vec![0, 1], 3, 9)];
    let snapshot = snapshot(&levels, &hosts);
    let layer = |level: &str, size| SliceLayer { level: level.into(), size: Some(size) };
    let topology = TopologyRequest {
        level: Some(LevelRequest::Required("zone".into())),
        slices: vec![layer("block", 6), layer(HOSTNAME_LABEL, 2)],
        group: None,
    };
    let one = shape(1);
    let set = PodSetRequest { count: 12, shape: &one, topology: &topology, is_implied: false };
    let gates = TopologyGates { multi_layer: true, ..TopologyGates::default() };
    let found = assign(&snapshot, &[set], AssignOptions { gates, assumes_empty: false }).unwrap();
    let pods: Vec<u32> = found[0].domains.iter().map(|&(_, pods)| pods).collect();
    assert_eq!(pods, [2, 4, 4, 2]);
    let set = PodSetRequest { count: 8, ..set };
    let failure = assign(&snapshot, &[set], AssignOptions { gates, assumes_empty: false }).unwrap_err();
    assert_eq!(failure.reason, FailureReason::NotDivisible { pods: 8, size: 6 });
}

#[test]
fn annotations_say_where_pods_want_to_be() {
    let check = |given: &[(&str, &str)], expected: Result<Option<TopologyRequest>, &str>| {
        let annotations: Labels = given
            .iter()
            .map(|(key, value)| (format!("kueue.x-k8s.io/{key}").into(), (*value).into()))
            .collect();
        assert_eq!(TopologyRequest::of_annotations(&annotations), expected, "{given:?}");
    };
    let level = |level| Ok(Some(TopologyRequest { level: Some(level), ..TopologyRequest::default() }));
    check(&[], Ok(None));
    check(&[("queue-name", "team"), ("podset-unconstrained-topology", "false")], Ok(None));
    check(&[("podset-required-topology", "rack")], level(LevelRequest::Required("rack".into())));
    check(&[("podset-preferred-topology", "rack")], level(LevelRequest::Preferred("rack".into())));
    check(&[("podset-unconstrained-topology", "true")], level(LevelRequest::Unconstrained));
    let slices = [
        ("podset-preferred-topology", "block"),
        ("podset-slice-required-topology", "rack"),
        ("podset-slice-size", "4"),
        ("podset-group-name", "all"),
    ];
    let expected = TopologyRequest {
        level: Some(LevelRequest::Preferred("block".into())),
        slices: vec![SliceLayer { level: "rack".into(), size: Some(4) }],
        group: Some("all".into()),
    };
    check(&slices, Ok(Some(expected)));
    check(&[("podset-slice-required-topology", "rack"), ("podset-slice-size", "four")], Err("four"));
}
