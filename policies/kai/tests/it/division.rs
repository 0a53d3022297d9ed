//! What division between queues promises.

use foretell_kai::division::{Claim, Claimant, divide};
use proptest::prelude::*;

prop_compose! {
    fn claimant()(
        deserved in prop::option::weighted(0.9, 0_u32..12),
        limit in prop::option::of(0_u32..30),
        weight in 0_u32..5,
        request in 0_u32..40,
        usage in 0.0..1.0,
        priority in 0..3,
    ) -> Claimant {
        let claim = Claim {
            deserved: deserved.map(f64::from),
            limit: limit.map(f64::from),
            over_quota_weight: f64::from(weight),
            request: f64::from(request),
            usage,
        };
        Claimant { priority, claim, ..Claimant::default() }
    }
}

fn claimants() -> impl Strategy<Value = Vec<Claimant>> {
    prop::collection::vec(claimant(), 1..7).prop_map(|mut queues| {
        queues.iter_mut().enumerate().for_each(|(order, queue)| queue.order = order);
        queues
    })
}

/// What queues are given before anything is divided by weight.
fn deserved(queue: &Claimant, total: f64) -> f64 {
    queue.claim.deserved.unwrap_or(total).min(queue.claim.requestable())
}

proptest! {
    #[test]
    fn no_more_is_given_than_there_is_or_is_deserved(
        total in 0_u32..60, factor in 0.0..3.0, mut queues in claimants(),
    ) {
        let total = f64::from(total);
        let left = divide(total, factor, &mut queues);
        let given: f64 = queues.iter().map(|queue| queue.share).sum();
        let owed: f64 = queues.iter().map(|queue| deserved(queue, total)).sum();
        prop_assert!(given <= total.max(owed) + 1e-9, "{given} of {total}");
        prop_assert!((left - (total - given).max(0.0)).abs() < 1e-9);
        for queue in &queues {
            prop_assert!(queue.share >= deserved(queue, total) - 1e-9);
            prop_assert!(queue.share <= queue.claim.requestable() + 1e-9);
        }
    }

    #[test]
    fn a_larger_weight_never_gets_less(
        total in 0_u32..60, more in 1_u32..5, which in any::<prop::sample::Index>(), before in claimants(),
    ) {
        let (mut before, total) = (before, f64::from(total));
        let which = which.index(before.len());
        let mut after = before.clone();
        after[which].claim.over_quota_weight += f64::from(more);
        divide(total, 0.0, &mut before);
        divide(total, 0.0, &mut after);
        // Left-overs go by fraction, not by weight: a unit may move the other way.
        prop_assert!(after[which].share >= before[which].share - 1.0);
    }

    #[test]
    fn what_is_wanted_is_not_left_over(total in 0_u32..60, mut queues in claimants()) {
        for queue in &mut queues {
            queue.claim.over_quota_weight = queue.claim.over_quota_weight.max(1.0);
        }
        let left = divide(f64::from(total), 0.0, &mut queues);
        let wanted = queues.iter().any(|queue| queue.share < queue.claim.requestable() - 1e-9);
        prop_assert!(left < 1e-9 || !wanted, "{left} left of {total} in {queues:?}");
    }
}
