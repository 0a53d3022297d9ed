//! Requests that arrive at given times, and replicas that take them.

use foretell_serving_policies::route::Load;
use foretell_serving_policies::{AdapterAt, Batcher, State};

use crate::adapters::AdapterTotals;
use crate::batch::StepLaw;
use crate::engine::{
    Cancelled, Engine, Iterations, Observer, Outcome, Part, Rejection, Request, Steps, Wanted,
};
use crate::fleet::Refusal;
use crate::group::Group;

/// What requests can be sent to: an [`Engine`], or a [`Group`] of them.
pub trait Replica {
    /// When it must be told to [`Self::advance`]. None if it has nothing to do until something arrives.
    fn next_ns(&self) -> Option<u64>;

    /// Takes a request in, to be considered with the next batch.
    fn enqueue(&mut self, request: &Request<'_>) -> Result<(), Rejection> {
        self.enqueue_part(request, Part::ALL)
    }

    /// See [`Engine::enqueue_part`].
    fn enqueue_part(&mut self, request: &Request<'_>, part: Part) -> Result<(), Rejection>;

    /// Considers those that were taken in. Whatever ends by `now_ns` must have been advanced over. Nothing else arrives before `horizon_ns`, as far as is known.
    fn begin(&mut self, now_ns: u64, horizon_ns: u64, observer: &mut impl Observer);

    /// Carries out what ends at [`Self::next_ns`], and begins what can be begun then. Nothing may arrive before `horizon_ns`.
    fn advance(&mut self, horizon_ns: u64, observer: &mut impl Observer);

    /// Requests that it has and are not done.
    fn requests(&self) -> usize;

    /// Once nothing is under way: those that no batch takes.
    fn left_over(&self) -> Vec<(u32, Rejection)>;

    /// What routers know of it, but for whether it is open and what it serves.
    fn load(&self) -> Load;

    /// Blocks of a request's beginning that are in its cache.
    fn cached_blocks(&self, block_keys: &[u64]) -> u32;

    /// Requests that it has and are not done.
    fn unfinished(&self) -> Vec<u32>;

    /// Tokens of prompts that were looked for in its cache of beginnings, and those that were found.
    fn prefix_tokens(&self) -> (u64, u64);

    /// See [`Engine::adapter_at`].
    fn adapter_at(&self, _adapter: u32) -> AdapterAt {
        AdapterAt::Absent
    }

    /// See [`Engine::adapter_totals`].
    fn adapter_totals(&self) -> AdapterTotals {
        AdapterTotals::default()
    }

    /// See [`Engine::take_wanted`].
    fn take_wanted(&mut self, wanted: &mut Vec<Wanted>);

    /// See [`Engine::deliver`].
    fn deliver(&mut self, request: u32, now_ns: u64) -> bool;

    /// See [`Engine::give_up_awaited`].
    fn give_up_awaited(&mut self, request: u32, now_ns: u64) -> bool;

    /// See [`Engine::give_up_kept`].
    fn give_up_kept(&mut self, request: u32, now_ns: u64) -> bool;

    /// See [`Engine::cancel`].
    fn cancel(&mut self, request: u32, now_ns: u64) -> Option<Cancelled>;
}

impl<L: StepLaw, B: Batcher + ?Sized> Replica for Engine<L, B> {
    fn next_ns(&self) -> Option<u64> {
        self.next_ns()
    }

    fn enqueue_part(&mut self, request: &Request<'_>, part: Part) -> Result<(), Rejection> {
        self.enqueue_part(request, part)
    }

    fn begin(&mut self, now_ns: u64, horizon_ns: u64, observer: &mut impl Observer) {
        self.begin(now_ns, horizon_ns, observer);
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

    fn load(&self) -> Load {
        self.load()
    }

    fn cached_blocks(&self, block_keys: &[u64]) -> u32 {
        self.state().blocks.cached_blocks(block_keys)
    }

    fn unfinished(&self) -> Vec<u32> {
        self.unfinished().collect()
    }

    fn prefix_tokens(&self) -> (u64, u64) {
        let state = self.state();
        (state.prefix_queried_tokens, state.prefix_hit_tokens)
    }

    fn adapter_at(&self, adapter: u32) -> AdapterAt {
        self.adapter_at(adapter)
    }

    fn adapter_totals(&self) -> AdapterTotals {
        self.adapter_totals()
    }

    fn take_wanted(&mut self, wanted: &mut Vec<Wanted>) {
        wanted.extend(self.take_wanted());
    }

    fn deliver(&mut self, request: u32, now_ns: u64) -> bool {
        self.deliver(request, now_ns)
    }

    fn give_up_awaited(&mut self, request: u32, now_ns: u64) -> bool {
        self.give_up_awaited(request, now_ns)
    }

    fn give_up_kept(&mut self, request: u32, now_ns: u64) -> bool {
        self.give_up_kept(request, now_ns)
    }

    fn cancel(&mut self, request: u32, now_ns: u64) -> Option<Cancelled> {
        self.cancel(request, now_ns)
    }
}

impl<L: StepLaw, B: Batcher + ?Sized> Replica for Group<L, B> {
    fn next_ns(&self) -> Option<u64> {
        self.next_ns()
    }

    fn enqueue_part(&mut self, request: &Request<'_>, part: Part) -> Result<(), Rejection> {
        self.enqueue_part(request, part)
    }

    fn begin(&mut self, now_ns: u64, _horizon_ns: u64, observer: &mut impl Observer) {
        self.begin(now_ns, observer);
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

    fn load(&self) -> Load {
        self.ranks().iter().map(Engine::load).fold(Load::default(), |sum, one| Load {
            waiting: sum.waiting + one.waiting,
            running: sum.running + one.running,
            prefill_tokens: sum.prefill_tokens + one.prefill_tokens,
            tokens: sum.tokens + one.tokens,
            used_blocks: sum.used_blocks + one.used_blocks,
            total_blocks: sum.total_blocks + one.total_blocks,
            ..sum
        })
    }

    fn cached_blocks(&self, block_keys: &[u64]) -> u32 {
        let ranks = self.ranks().iter();
        ranks.map(|rank| rank.state().blocks.cached_blocks(block_keys)).max().unwrap_or(0)
    }

    fn unfinished(&self) -> Vec<u32> {
        self.ranks().iter().flat_map(Engine::unfinished).collect()
    }

    fn prefix_tokens(&self) -> (u64, u64) {
        let ranks = self.ranks().iter().map(Replica::prefix_tokens);
        ranks.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    }

    fn take_wanted(&mut self, wanted: &mut Vec<Wanted>) {
        self.ranks_mut().iter_mut().for_each(|rank| wanted.extend(rank.take_wanted()));
    }

    fn deliver(&mut self, request: u32, now_ns: u64) -> bool {
        self.ranks_mut().iter_mut().any(|rank| rank.deliver(request, now_ns))
    }

    fn give_up_awaited(&mut self, request: u32, now_ns: u64) -> bool {
        self.ranks_mut().iter_mut().any(|rank| rank.give_up_awaited(request, now_ns))
    }

    fn give_up_kept(&mut self, request: u32, now_ns: u64) -> bool {
        self.ranks_mut().iter_mut().any(|rank| rank.give_up_kept(request, now_ns))
    }

    fn cancel(&mut self, request: u32, now_ns: u64) -> Option<Cancelled> {
        self.cancel(request, now_ns)
    }
}

/// Where requests come from.
pub trait Arrivals {
    /// When the next one arrives; none if nothing does until something is done.
    fn next_ns(&mut self) -> Option<u64>;

    /// The one that arrives then.
    fn take(&mut self) -> Option<Request<'_>>;

    /// The conversation or user that a request that was taken belongs to; 0 if none is known.
    fn session(&self, _request: u32) -> u64 {
        0
    }

    /// A request is done: whoever sent it may send another.
    fn done(&mut self, _request: u32, _now_ns: u64) {}

    /// It got nothing: whoever sent it may go on all the same.
    fn refused(&mut self, request: u32, now_ns: u64, _why: Refusal) {
        self.done(request, now_ns);
    }
}

/// Requests that arrive whatever becomes of the others.
struct Open<'a, I: Iterator<Item = Request<'a>>>(std::iter::Peekable<I>);

impl<'a, I: Iterator<Item = Request<'a>>> Arrivals for Open<'a, I> {
    fn next_ns(&mut self) -> Option<u64> {
        self.0.peek().map(|next| next.arrival_ns)
    }

    fn take(&mut self) -> Option<Request<'_>> {
        self.0.next()
    }
}

/// Listens, and remembers who is done.
struct Listening<'o, O> {
    observer: &'o mut O,
    done: &'o mut Vec<(u32, u64)>,
}

impl<O: Observer> Observer for Listening<'_, O> {
    fn inter_token(&mut self, latency_ns: u64, tokens: u32) {
        self.observer.inter_token(latency_ns, tokens);
    }

    fn inter_tokens(&mut self, steps: &Steps<'_>, tokens: u32) {
        self.observer.inter_tokens(steps, tokens);
    }

    fn preempted(&mut self, request: u32, now_ns: u64) {
        self.observer.preempted(request, now_ns);
    }

    fn finished(&mut self, outcome: &Outcome) {
        self.done.push((outcome.request, outcome.last_token_ns));
        self.observer.finished(outcome);
    }

    fn iterations(&mut self, iterations: &Iterations<'_>, state: &State) {
        self.observer.iterations(iterations, state);
    }
}

/// Hands requests to the replicas that `route` picks, and runs until all are done; those that get nothing are returned. Each replica has its observer.
///
/// What ends at an instant ends before what arrives then. When `route` is asked, all replicas have come to the instant of the arrival.
pub fn drive<R: Replica, A: Arrivals, O: Observer>(
    replicas: &mut [R],
    arrivals: &mut A,
    mut route: impl FnMut(&[R], &Request<'_>) -> usize,
    observers: &mut [O],
) -> Vec<(u32, Rejection)> {
    let mut rejected = Vec::new();
    let (mut done, mut touched) = (Vec::new(), Vec::new());
    loop {
        let arrival_ns = arrivals.next_ns();
        let first =
            replicas.iter().enumerate().filter_map(|(one, replica)| Some((replica.next_ns()?, one))).min();
        if let Some((next_ns, one)) = first
            && arrival_ns.is_none_or(|arrival_ns| next_ns <= arrival_ns)
        {
            let mut observer = Listening { observer: &mut observers[one], done: &mut done };
            replicas[one].advance(arrival_ns.unwrap_or(u64::MAX), &mut observer);
            for (request, now_ns) in done.drain(..) {
                arrivals.done(request, now_ns);
            }
            continue;
        }
        let Some(now_ns) = arrival_ns else { break };
        // All that arrive at an instant may share a batch.
        while arrivals.next_ns() == Some(now_ns) {
            let Some(request) = arrivals.take() else { break };
            let one = route(replicas, &request);
            let index = request.index;
            match replicas[one].enqueue(&request) {
                Ok(()) if touched.contains(&one) => {}
                Ok(()) => touched.push(one),
                Err(rejection) => {
                    rejected.push((index, rejection));
                    arrivals.done(index, now_ns);
                }
            }
        }
        let horizon_ns = arrivals.next_ns().unwrap_or(u64::MAX);
        for one in touched.drain(..) {
            let mut observer = Listening { observer: &mut observers[one], done: &mut done };
            replicas[one].begin(now_ns, horizon_ns, &mut observer);
        }
    }
    rejected.extend(replicas.iter().flat_map(Replica::left_over));
    rejected
}

/// [`drive`] with requests that arrive in this order whatever becomes of the others.
pub fn replay<'a, R: Replica, O: Observer>(
    replicas: &mut [R],
    requests: impl IntoIterator<Item = Request<'a>>,
    route: impl FnMut(&[R], &Request<'_>) -> usize,
    observers: &mut [O],
) -> Vec<(u32, Rejection)> {
    drive(replicas, &mut Open(requests.into_iter().peekable()), route, observers)
}
