//! Requests that arrive at given times, and replicas that take them.

use foretell_serving_policies::Batcher;

use crate::batch::StepLaw;
use crate::engine::{Engine, Observer, Rejection, Request};

/// Hands requests, in order of arrival, to the replicas that `route` picks, and runs until all are done; those that get nothing are returned.
///
/// When `route` is asked, all replicas have come to the instant of the arrival.
pub fn replay<'a, L: StepLaw, B: Batcher + ?Sized>(
    replicas: &mut [Engine<L, B>],
    requests: impl IntoIterator<Item = Request<'a>>,
    mut route: impl FnMut(&[Engine<L, B>], &Request<'_>) -> usize,
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
