//! Requests that arrive at given times, and replicas that take them.

use foretell_serving_policies::Batcher;

use crate::batch::StepLaw;
use crate::engine::{Engine, Observer, Rejection, Request};
use crate::group::Group;

/// What requests can be sent to: an [`Engine`], or a [`Group`] of them.
pub trait Replica {
    /// When it must be told to [`Self::advance`]. None if it has nothing to do until something arrives.
    fn next_ns(&self) -> Option<u64>;

    /// Takes a request in. Whatever ends by `now_ns` must have been advanced over. Nothing else may arrive before `horizon_ns`.
    fn arrive(
        &mut self,
        now_ns: u64,
        request: &Request<'_>,
        horizon_ns: u64,
        observer: &mut impl Observer,
    ) -> Result<(), Rejection>;

    /// Carries out what ends at [`Self::next_ns`], and begins what can be begun then. Nothing may arrive before `horizon_ns`.
    fn advance(&mut self, horizon_ns: u64, observer: &mut impl Observer);

    /// Requests that it has and are not done.
    fn requests(&self) -> usize;

    /// Once nothing is under way: those that no batch takes.
    fn left_over(&self) -> Vec<(u32, Rejection)>;
}

impl<L: StepLaw, B: Batcher + ?Sized> Replica for Engine<L, B> {
    fn next_ns(&self) -> Option<u64> {
        self.next_ns()
    }

    fn arrive(
        &mut self,
        now_ns: u64,
        request: &Request<'_>,
        horizon_ns: u64,
        observer: &mut impl Observer,
    ) -> Result<(), Rejection> {
        self.arrive(now_ns, request, horizon_ns, observer)
    }

    fn advance(&mut self, horizon_ns: u64, observer: &mut impl Observer) {
        self.advance(horizon_ns, observer);
    }

    fn requests(&self) -> usize {
        self.requests()
    }

    fn left_over(&self) -> Vec<(u32, Rejection)> {
        self.left_over().collect()
    }
}

impl<L: StepLaw, B: Batcher + ?Sized> Replica for Group<L, B> {
    fn next_ns(&self) -> Option<u64> {
        self.next_ns()
    }

    fn arrive(
        &mut self,
        now_ns: u64,
        request: &Request<'_>,
        _horizon_ns: u64,
        observer: &mut impl Observer,
    ) -> Result<(), Rejection> {
        self.arrive(now_ns, request, observer)
    }

    fn advance(&mut self, _horizon_ns: u64, observer: &mut impl Observer) {
        self.advance(observer);
    }

    fn requests(&self) -> usize {
        self.ranks().iter().map(Engine::requests).sum()
    }

    fn left_over(&self) -> Vec<(u32, Rejection)> {
        self.left_over().collect()
    }
}

/// Hands requests, in order of arrival, to the replicas that `route` picks, and runs until all are done; those that get nothing are returned.
///
/// When `route` is asked, all replicas have come to the instant of the arrival.
pub fn replay<'a, R: Replica>(
    replicas: &mut [R],
    requests: impl IntoIterator<Item = Request<'a>>,
    mut route: impl FnMut(&[R], &Request<'_>) -> usize,
    observer: &mut impl Observer,
) -> Vec<(u32, Rejection)> {
    let mut rejected = Vec::new();
    let mut requests = requests.into_iter().peekable();
    while let Some(request) = requests.next() {
        let now_ns = request.arrival_ns;
        for replica in replicas.iter_mut() {
            while replica.next_ns().is_some_and(|next_ns| next_ns <= now_ns) {
                replica.advance(now_ns, observer);
            }
        }
        let horizon_ns = requests.peek().map_or(u64::MAX, |next| next.arrival_ns);
        let replica = route(replicas, &request);
        if let Err(rejection) = replicas[replica].arrive(now_ns, &request, horizon_ns, observer) {
            rejected.push((request.index, rejection));
        }
    }
    for replica in replicas {
        while replica.next_ns().is_some() {
            replica.advance(u64::MAX, observer);
        }
        rejected.extend(replica.left_over());
    }
    rejected
}
