//! Requests of a session stay together.

use super::draws::{GOLDEN, mixed};
use super::{Arrival, Caches, LeastOutstanding, Load, Routed, Router, RouterError, Ties, check_parameters};

/// Requests of a session go to the same replica, by rendezvous hashing (Thaler and Ravishankar, "Using name-based mappings to increase hit rates",
/// 1998): each replica has a score for each session, the highest wins. When a replica leaves, only its sessions move; when one comes, sessions move
/// only to it. Requests without a session go to whoever has the fewest that wait or run.
///
/// With a bound on loads (after Mirrokni, Thorup and Zadimoghaddam, "Consistent hashing with bounded loads", 2018) a session goes to the best of
/// its replicas that has, with this request, no more than `bound` times the mean of requests that wait or run, rounded up.
#[derive(Clone, Debug)]
pub struct SessionAffinity {
    bound: Option<f64>,
    others: LeastOutstanding,
}

impl Default for SessionAffinity {
    fn default() -> Self {
        Self { bound: None, others: LeastOutstanding::new(Ties::Lowest) }
    }
}

impl SessionAffinity {
    /// With a bound on loads, at least 1, or without.
    pub fn new(bound: Option<f64>) -> Result<Self, RouterError> {
        check_parameters(&[("bound", bound.unwrap_or(1.0), 1.0)])?;
        Ok(Self { bound, ..Self::default() })
    }

    /// Most requests that wait or run which a replica may have before it gets another.
    fn most_outstanding(&self, loads: &[Load]) -> u64 {
        let Some(bound) = self.bound else { return u64::MAX };
        let open = loads.iter().filter(|load| load.open);
        let (count, outstanding) =
            open.fold((0_u64, 1_u64), |(count, sum), load| (count + 1, sum + u64::from(load.outstanding())));
        let most = libm::ceil(bound * outstanding as f64 / count as f64) as u64;
        most.saturating_sub(1)
    }
}

impl Router for SessionAffinity {
    fn changed(&mut self, replica: usize, load: &Load) {
        self.others.changed(replica, load);
    }

    fn route(&mut self, arrival: &Arrival<'_>, loads: &[Load], caches: &dyn Caches) -> Routed {
        if arrival.session == 0 {
            return self.others.route(arrival, loads, caches);
        }
        let most = self.most_outstanding(loads);
        let open = loads.iter().enumerate();
        let open = open.filter(|(_, load)| load.open && u64::from(load.outstanding()) <= most);
        Routed::plain(open.map(|(replica, _)| replica).max_by_key(|&replica| score(arrival.session, replica)))
    }
}

/// A replica's score for a session.
fn score(session: u64, replica: usize) -> u64 {
    mixed(mixed(session).wrapping_add((replica as u64).wrapping_mul(GOLDEN)))
}
