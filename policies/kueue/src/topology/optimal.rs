//! The fewest domains that have room for all, and of those the ones with the least room to spare.

use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;

use super::balanced::greedy;
use super::plan::Plan;
use super::take::Taking;

/// A choice of domains: the last one, and the choice before it.
struct Choice {
    domain: usize,
    before: Option<usize>,
}

/// Room of a choice, as the domains are used and as if no leader were among them, and whether one is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    has_leader: bool,
    room: i64,
    room_without_leader: i64,
}

/// As many domains as taking the largest first needs; of all such choices one with the least room, where several have it
/// that of domains whose room is `spread` most evenly. `None` if all domains together have too little room.
///
/// By dynamic programming over the number of domains and their room. A choice is dropped as soon as the largest domains
/// that are left could not complete it, so that only as many sums are kept as the fewest domains have room to spare.
pub(super) fn fewest(
    taking: Taking<'_>,
    plan: &Plan<'_>,
    domains: &[usize],
    spread: impl Fn(usize) -> f64,
) -> Option<Vec<usize>> {
    let wanted = plan.slices();
    let number = greedy(taking, plan, domains)?.domains;
    let mut sorted: Vec<(usize, f64)> = domains
        .iter()
        .filter(|&&domain| taking.room(domain) > 0 || taking.counts[domain].takes_leader)
        .map(|&domain| (domain, spread(domain)))
        .collect();
    sorted.sort_by(|&(a, spread_a), &(b, spread_b)| {
        (taking.room(b).cmp(&taking.room(a)))
            .then_with(|| spread_b.total_cmp(&spread_a))
            .then_with(|| taking.counts[a].pods.cmp(&taking.counts[b].pods))
            .then_with(|| a.cmp(&b))
    });
    // Room of the first n domains.
    let mut largest = vec![0];
    for (position, &(domain, _)) in sorted.iter().enumerate() {
        largest.push(largest[position] + taking.room(domain));
    }
    let most_of = |from: usize, count: usize| largest[(from + count).min(sorted.len())] - largest[from];

    let mut choices: Vec<Choice> = Vec::new();
    // By number of domains: the first choice of each key.
    let mut reached: Vec<BTreeMap<Key, Option<usize>>> = vec![BTreeMap::new(); number + 1];
    let none = Key { has_leader: !plan.has_leader(), room: 0, room_without_leader: 0 };
    reached[0].insert(none, None);
    for (position, &(domain, _)) in sorted.iter().enumerate() {
        for count in (0..number).rev() {
            let most_to_come = most_of(position + 1, number - count - 1);
            let mut added = Vec::new();
            for (&key, &before) in &reached[count] {
                let (room, beside) = (taking.room(domain), taking.room_with_leader(domain));
                let mut add = |has_leader: bool, room_here: i64| {
                    let next = Key {
                        has_leader,
                        room: key.room + room_here,
                        room_without_leader: key.room_without_leader + room,
                    };
                    if next.room + most_to_come >= wanted {
                        added.push((next, before));
                    }
                };
                add(key.has_leader, room);
                if !key.has_leader && taking.counts[domain].takes_leader {
                    add(true, beside);
                }
            }
            for (key, before) in added {
                reached[count + 1].entry(key).or_insert_with(|| {
                    choices.push(Choice { domain, before });
                    Some(choices.len() - 1)
                });
            }
        }
    }
    let complete = reached[number].iter().filter(|(key, _)| key.has_leader && key.room >= wanted);
    let (_, &last) = complete.min_by_key(|(key, _)| (key.room, key.room_without_leader))?;
    let chain = core::iter::successors(last, |&choice| choices[choice].before);
    Some(chain.map(|choice| choices[choice].domain).collect())
}
