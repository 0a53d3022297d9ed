//! The replicas of one variant, and others where these have too much to do.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::tournament::Tournament;
use super::{Arrival, Caches, Load, Routed, Router};

/// Sends requests to the replicas of one variant alone, among which another router decides, to which all others are closed. Where whoever that picks
/// has too many tokens of prompts to compute, a replica of another variant with fewer takes the prompt: the mixed pool of Splitwise (Patel
/// et al., ISCA 2024), in which a machine of either pool is for as long as it does the other's work.
pub struct Pool {
    variant: u32,
    inner: Box<dyn Router + Send>,
    /// Loads of all replicas, those of other variants closed.
    loads: Vec<Load>,
    overflow_tokens: Option<u64>,
    /// Those of other variants, by tokens of prompts that they have to compute.
    others: Tournament,
}

impl Pool {
    /// Replicas of this variant alone, or those of others where the chosen one has more than so many tokens of prompts to compute. Splitwise has 8192.
    pub fn new(variant: u32, inner: Box<dyn Router + Send>, overflow_tokens: Option<u64>) -> Self {
        Self { variant, inner, loads: Vec::new(), overflow_tokens, others: Tournament::default() }
    }

    /// Who of another variant has fewer tokens to compute than so many.
    fn relief(&self, loads: &[Load], tokens: u64) -> Option<usize> {
        self.others.nth(0).filter(|&other| loads[other].prefill_tokens < tokens)
    }
}

impl Router for Pool {
    fn changed(&mut self, replica: usize, load: &Load) {
        if self.loads.len() <= replica {
            self.loads.resize(replica + 1, Load::default());
        }
        let own = load.variant == self.variant;
        let seen = Load { open: load.open && own, ..*load };
        // To the inner router a replica of another variant never changes.
        if seen.open || self.loads[replica].open {
            self.loads[replica] = seen;
            self.inner.changed(replica, &seen);
        }
        if self.overflow_tokens.is_some() && !own {
            self.others.set(replica, load.open.then_some(load.prefill_tokens));
        }
    }

    fn route(&mut self, arrival: &Arrival<'_>, loads: &[Load], caches: &dyn Caches) -> Routed {
        let routed = self.inner.route(arrival, &self.loads, caches);
        let Some(overflow_tokens) = self.overflow_tokens else { return routed };
        let relief = match routed {
            Routed::To { replica, .. } => {
                let tokens = self.loads[replica].prefill_tokens;
                if tokens > overflow_tokens { self.relief(loads, tokens) } else { None }
            }
            Routed::Unavailable => self.relief(loads, u64::MAX),
            Routed::Rejected(_) => None,
        };
        relief.map_or(routed, |replica| Routed::To { replica, from: None })
    }
}
