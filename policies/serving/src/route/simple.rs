//! Routers that look at no more than two replicas.

use super::draws::Draws;
use super::{Arrival, Caches, Load, Routed, Router};

/// One after the other, whoever is open.
#[derive(Clone, Copy, Default, Debug)]
pub struct RoundRobin {
    next: usize,
}

impl Router for RoundRobin {
    fn route(&mut self, _arrival: &Arrival<'_>, loads: &[Load], _caches: &dyn Caches) -> Routed {
        let from = if self.next < loads.len() { self.next } else { 0 };
        let open = (from..loads.len()).chain(0..from).find(|&replica| loads[replica].open);
        if let Some(replica) = open {
            self.next = replica + 1;
        }
        Routed::plain(open)
    }
}

/// Any that is open, all alike.
#[derive(Clone, Copy, Default, Debug)]
pub struct Random;

impl Router for Random {
    fn route(&mut self, arrival: &Arrival<'_>, loads: &[Load], _caches: &dyn Caches) -> Routed {
        Routed::plain(Draws::new(arrival.random).open(loads, None))
    }
}

/// Of two that are drawn, the one with fewer requests that wait or run; the first of them if they have as many (Mitzenmacher, "The power of two
/// choices in randomized load balancing", 2001).
#[derive(Clone, Copy, Default, Debug)]
pub struct PowerOfTwo;

impl Router for PowerOfTwo {
    fn route(&mut self, arrival: &Arrival<'_>, loads: &[Load], _caches: &dyn Caches) -> Routed {
        let mut draws = Draws::new(arrival.random);
        let first = draws.open(loads, None);
        let Some(replica) = first else { return Routed::Unavailable };
        let second = draws.open(loads, first);
        let better = second.filter(|&second| loads[second].outstanding() < loads[replica].outstanding());
        Routed::plain(better.or(first))
    }
}
