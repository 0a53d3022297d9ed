//! Parts of the requests for each of several variants.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::draws::{Draws, mixed};
use super::{Arrival, Caches, Load, Routed, Router, RouterError};

/// What a variant gets.
struct Arm {
    variant: u32,
    weight: u32,
    inner: Box<dyn Router + Send>,
    /// Loads of all replicas, those of other variants closed.
    loads: Vec<Load>,
}

/// Sends a part of the requests to the replicas of each variant, by weights: a canary release, the arms of a test. Within a variant another router
/// decides, to which the replicas of others are closed. If nobody of a variant is open, the next takes its place, in the order given, of those
/// that have a weight.
pub struct Canary {
    arms: Vec<Arm>,
    total: u64,
    sticky: bool,
}

impl Canary {
    /// Variants, their weights (percentages, or any other numbers) and who decides within them. If it is `sticky`, all requests of a session go to the
    /// same variant, while that has an open replica.
    pub fn new(variants: Vec<(u32, u32, Box<dyn Router + Send>)>, sticky: bool) -> Result<Self, RouterError> {
        let mut arms: Vec<Arm> = Vec::new();
        for (variant, weight, inner) in variants {
            if arms.iter().any(|arm| arm.variant == variant) {
                return Err(RouterError::VariantTwice(variant));
            }
            arms.push(Arm { variant, weight, inner, loads: Vec::new() });
        }
        let total = arms.iter().map(|arm| u64::from(arm.weight)).sum();
        if total == 0 {
            return Err(RouterError::NoWeights);
        }
        Ok(Self { arms, total, sticky })
    }

    /// The variant that a point below all weights falls on.
    fn arm_of(&self, mut point: u64) -> usize {
        let falls = |arm: &Arm| match point.checked_sub(u64::from(arm.weight)) {
            Some(left) => {
                point = left;
                false
            }
            None => true,
        };
        self.arms.iter().position(falls).unwrap_or(0)
    }
}

impl Router for Canary {
    fn changed(&mut self, replica: usize, load: &Load) {
        for arm in &mut self.arms {
            if arm.loads.len() <= replica {
                arm.loads.resize(replica + 1, Load::default());
            }
            let seen = Load { open: load.open && load.variant == arm.variant, ..*load };
            // To inner routers a replica of another variant never changes.
            if seen.open || arm.loads[replica].open {
                arm.loads[replica] = seen;
                arm.inner.changed(replica, &seen);
            }
        }
    }

    /// Without any weight things stay as they are.
    fn set_weights(&mut self, weights: &[u32]) {
        let total = weights.iter().map(|&weight| u64::from(weight)).sum();
        if total > 0 {
            self.total = total;
            let all = weights.iter().copied().chain(core::iter::repeat(0));
            self.arms.iter_mut().zip(all).for_each(|(arm, weight)| arm.weight = weight);
        }
    }

    fn route(&mut self, arrival: &Arrival<'_>, _loads: &[Load], caches: &dyn Caches) -> Routed {
        let mut draws = Draws::new(arrival.random);
        let mut of_session = Draws::new(mixed(arrival.session));
        let stays = self.sticky && arrival.session != 0;
        let point = if stays { of_session.below(self.total) } else { draws.below(self.total) };
        // The variant must tell nothing of the inner router's chance.
        let arrival = Arrival { random: draws.next(), ..*arrival };
        let first = self.arm_of(point);
        let count = self.arms.len();
        for at in (first..count).chain(0..first) {
            let arm = &mut self.arms[at];
            if arm.weight == 0 {
                continue;
            }
            let routed = arm.inner.route(&arrival, &arm.loads, caches);
            if routed != Routed::Unavailable {
                return routed;
            }
        }
        Routed::Unavailable
    }
}
