//! How a total is divided between queues that share a parent: what is deserved first, then what is left by weight.
//!
//! After `resource_division` of KAI-Scheduler's proportion plugin.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::cmp::{Ordering, Reverse};

/// What a queue says of one resource. Amounts are in the resource's own unit: GPUs, thousandths of a core, bytes.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Claim {
    /// What it should have; `None` is everything.
    pub deserved: Option<f64>,
    /// The most that it may hold; `None` is no limit.
    pub limit: Option<f64>,
    /// Its weight when what nobody deserves is divided.
    pub over_quota_weight: f64,
    /// What its jobs hold and ask for.
    pub request: f64,
    /// What it used in the past, as a part of what the cluster had, 0 to 1.
    pub usage: f64,
}

impl Claim {
    /// The most that could be of use to it: what it requests, up to its limit.
    pub fn requestable(&self) -> f64 {
        self.limit.map_or(self.request, |limit| self.request.min(limit))
    }
}

/// A queue among its siblings.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Claimant {
    /// Larger takes what is left before others.
    pub priority: i32,
    /// Smaller goes first among equals; no two are the same.
    pub order: usize,
    /// What it says of the resource.
    pub claim: Claim,
    /// What it has been given.
    pub share: f64,
}

/// Gives each queue the smaller of what it deserves and what it could use, then divides the rest by weight. Returns
/// what nobody took.
///
/// `usage_factor` (KAI's `kValue`) says how far past usage lowers a weight; 0 forgets the past.
pub fn divide(total: f64, usage_factor: f64, queues: &mut [Claimant]) -> f64 {
    let mut left = total;
    for queue in &mut *queues {
        let given = queue.claim.deserved.unwrap_or(total).min(queue.claim.requestable());
        queue.share = given;
        left -= given;
    }
    if left > 0.0 { divide_over_quota(left, usage_factor, queues) } else { 0.0 }
}

/// Divides an amount by weight between queues that want more than their share so far, those of higher priority first.
/// Returns what nobody took.
pub fn divide_over_quota(total: f64, usage_factor: f64, queues: &mut [Claimant]) -> f64 {
    let mut classes: BTreeMap<Reverse<i32>, Vec<usize>> = BTreeMap::new();
    for (index, queue) in queues.iter().enumerate() {
        classes.entry(Reverse(queue.priority)).or_default().push(index);
    }
    let mut left = total;
    for class in classes.into_values() {
        if left <= 0.0 {
            break;
        }
        let fractions = divide_whole_units(&mut left, usage_factor, &class, queues);
        hand_out_rest(&mut left, fractions, queues);
    }
    left
}

/// How much more could be of use to a queue.
fn wanted(queue: &Claimant) -> f64 {
    queue.claim.requestable() - queue.share
}

/// Rounds of division by weight until no queue is satisfied in a round: a queue that wants less than its part gets what it
/// wants, which leaves more to others; one that wants more gets whole units. Returns the fractions that remained.
fn divide_whole_units(
    left: &mut f64,
    usage_factor: f64,
    class: &[usize],
    queues: &mut [Claimant],
) -> BTreeMap<usize, f64> {
    let mut fractions = BTreeMap::new();
    loop {
        let amount = *left;
        let weights = usage_weights(usage_factor, class, queues);
        let mut was_satisfied = false;
        for &(index, weight) in &weights {
            let (queue, part) = (&mut queues[index], amount * weight);
            let wanted = wanted(queue);
            let given = if wanted <= part {
                fractions.remove(&index);
                was_satisfied |= wanted < part;
                wanted
            } else {
                let whole = libm::floor(part);
                fractions.insert(index, part - whole);
                whole
            };
            queue.share += given;
            *left -= given;
        }
        // Without a queue that took less than its part, another round would divide the fractions alone.
        if !was_satisfied || *left <= 0.0 {
            return fractions;
        }
    }
}

/// The weights, which sum to 1, of the queues that want more: `max(0, w + k (w - u))` of the weight `w` relative to the
/// others' and the usage `u`.
fn usage_weights(usage_factor: f64, class: &[usize], queues: &[Claimant]) -> Vec<(usize, f64)> {
    let wants_more = |index: &usize| {
        let queue = &queues[*index];
        queue.claim.over_quota_weight != 0.0 && wanted(queue) > 0.0
    };
    let mut weights: Vec<(usize, f64)> = class
        .iter()
        .copied()
        .filter(wants_more)
        .map(|index| (index, queues[index].claim.over_quota_weight))
        .collect();
    for usage_factor in [0.0, usage_factor] {
        for (index, weight) in &mut weights {
            let usage = queues[*index].claim.usage;
            *weight += usage_factor * (*weight - usage);
            // A negative weight, which stands for no limit, is relative to negative ones only.
            if usage_factor > 0.0 {
                *weight = weight.max(0.0);
            }
        }
        let sum: f64 = weights.iter().map(|&(_, weight)| weight).sum();
        for (_, weight) in &mut weights {
            *weight = if sum == 0.0 { 0.0 } else { *weight / sum };
        }
    }
    weights.retain(|&(_, weight)| weight > 0.0);
    weights
}

/// Hands out what is left unit by unit: the largest fraction first, then the order of the queues.
fn hand_out_rest(left: &mut f64, fractions: BTreeMap<usize, f64>, queues: &mut [Claimant]) {
    let mut fractions: Vec<_> = fractions.into_iter().collect();
    fractions.sort_by(|a, b| {
        let by_fraction = b.1.partial_cmp(&a.1).unwrap_or(Ordering::Equal);
        by_fraction.then_with(|| queues[a.0].order.cmp(&queues[b.0].order))
    });
    for (index, _) in fractions {
        let given = left.min(1.0).min(wanted(&queues[index]));
        if given <= 0.0 {
            continue;
        }
        queues[index].share += given;
        *left -= given;
    }
}
