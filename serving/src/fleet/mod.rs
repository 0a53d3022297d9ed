//! Fleets: the replicas of a service behind a router, with requests that wait, are given up and come again.

mod attempts;
mod calendar;
mod clients;
mod hand_over;
mod member;
mod options;
mod parts;
mod store;
mod transport;
mod watch;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};

use foretell_serving_policies::route::{Caches, Load, Routed, Router};

use crate::adapters::AdapterTotals;
use crate::engine::{Handed, Observer, Outcome, Part, Request};
use crate::replay::{Arrivals, Replica};

use attempts::{Attempt, Attempts};
use calendar::Calendar;
use member::{Caching, Listening, Member, Phase};

use hand_over::{Copied, HandingOver, Stage, part_of};
use store::Store;

pub use hand_over::{ANSWERS, HandedOver, PROMPTS};
pub use options::FleetOptions;
pub use parts::{Parts, Recorded, Refusal, Refused, Tries};
pub use store::STORE;
pub use transport::{AtOnce, Move, Transport};
pub use watch::{VARIANTS, Watched};

/// The replicas of a service behind a router.
///
/// Whatever happens to the fleet happens at its present: [`Self::run_until`] brings it there.
pub struct Fleet<R, A, O, T = AtOnce> {
    members: Vec<Member<R, O>>,
    /// Those that are not gone.
    alive: Vec<usize>,
    /// Tokens that those gone looked for in their caches, and found.
    prefix_tokens: (u64, u64),
    /// What adapters did to those gone.
    adapters: AdapterTotals,
    loads: Vec<Load>,
    ends: Calendar,
    /// Replicas that will be ready, by when.
    openings: BinaryHeap<Reverse<(u64, usize)>>,
    router: Box<dyn Router + Send>,
    handing: Option<HandingOver<T>>,
    store: Option<Store>,
    arrivals: A,
    options: FleetOptions,
    attempts: Attempts,
    /// Tries that wait before the fleet.
    queue: VecDeque<u32>,
    /// Of these, those that nobody gave up.
    queued: u32,
    /// When clients give up which tries; deadlines are in order, since all wait equally long.
    deadlines: VecDeque<(u64, u32, u64)>,
    /// Tries to come, by when; the number keeps their order.
    retries: BTreeMap<(u64, u64), Attempt>,
    tried: u64,
    refused: Vec<Refused>,
    tries: Tries,
    /// What is kept of all replicas together, where that is wanted.
    recorded: Option<Box<Recorded>>,
    watched: Watched,
    /// The same when it was last asked for by an autoscaler, by variant.
    seen: [Watched; VARIANTS],
    /// Replicas that have drained.
    drained: Vec<usize>,
    now_ns: u64,
    /// Kept to spare their allocation.
    done: Vec<Outcome>,
    touched: Vec<usize>,
}

impl<R: Replica, A: Arrivals, O: Observer, T: Transport> Fleet<R, A, O, T> {
    /// A fleet without replicas.
    pub fn new(router: Box<dyn Router + Send>, arrivals: A, options: FleetOptions) -> Self {
        Self {
            members: Vec::new(),
            alive: Vec::new(),
            prefix_tokens: (0, 0),
            adapters: AdapterTotals::default(),
            loads: Vec::new(),
            ends: Calendar::default(),
            openings: BinaryHeap::new(),
            router,
            handing: None,
            store: None,
            arrivals,
            options,
            attempts: Attempts::default(),
            queue: VecDeque::new(),
            queued: 0,
            deadlines: VecDeque::new(),
            retries: BTreeMap::new(),
            tried: 0,
            refused: Vec::new(),
            tries: Tries::default(),
            watched: Watched::default(),
            recorded: None,
            seen: [Watched::default(); VARIANTS],
            drained: Vec::new(),
            now_ns: 0,
            done: Vec::new(),
            touched: Vec::new(),
        }
    }

    /// The same fleet, which keeps what became of requests and times between tokens, of all replicas together. Observers are then not told those times.
    #[must_use]
    pub fn recording(self) -> Self {
        Self { recorded: Some(Box::default()), ..self }
    }

    /// Adds a replica that serves from an instant on; its number.
    pub fn add(&mut self, replica: R, observer: O, ready_ns: u64, variant: u32) -> usize {
        let index = self.members.len();
        self.members.push(Member {
            replica: Some(replica),
            observer,
            phase: Phase::Starting,
            variant,
            read_in: 0,
        });
        self.alive.push(index);
        self.loads.push(Load { variant, ..Load::default() });
        self.openings.push(Reverse((ready_ns.max(self.now_ns), index)));
        index
    }

    /// A replica takes no more requests; [`Self::take_drained`] says when it has none any more.
    pub fn drain(&mut self, index: usize) {
        let Some(member) = self.members.get_mut(index) else { return };
        if matches!(member.phase, Phase::Gone | Phase::Draining) {
            return;
        }
        member.phase = Phase::Draining;
        self.told(index);
        self.look_for_drained(index);
    }

    /// A replica is lost, and what it was at with it.
    pub fn lose(&mut self, index: usize) {
        let Some(replica) = self.members.get(index).and_then(|member| member.replica.as_ref()) else {
            return;
        };
        let mut lost = replica.unfinished();
        lost.sort_unstable();
        self.retire(index);
        self.lose_contents(index);
        for attempt in lost {
            self.lose_attempt(attempt);
        }
        self.begin_touched();
    }

    fn lose_attempt(&mut self, attempt: u32) {
        let Some(attempt) = self.attempts.remove(attempt) else { return };
        self.watched.leaves(self.now_ns);
        if !attempt.given_up {
            self.tries.lost += 1;
            self.again(attempt, Refusal::ReplicaLost);
        }
    }

    /// A replica is gone: what it did is known, what it held is not needed any more.
    fn retire(&mut self, index: usize) {
        let member = &mut self.members[index];
        member.phase = Phase::Gone;
        if let Some(replica) = member.replica.take() {
            let (queried, hit) = replica.prefix_tokens();
            self.prefix_tokens = (self.prefix_tokens.0 + queried, self.prefix_tokens.1 + hit);
            self.adapters = self.adapters.plus(replica.adapter_totals());
        }
        self.alive.retain(|&alive| alive != index);
        self.ends.set(index, None);
        self.told(index);
    }

    /// Replicas that have drained since this was last asked: they hold nothing any more.
    pub fn take_drained(&mut self) -> Vec<usize> {
        std::mem::take(&mut self.drained)
    }

    /// When something next happens by itself.
    pub fn next_ns(&mut self) -> Option<u64> {
        self.next().map(|(at_ns, _)| at_ns)
    }

    /// When something next happens at replicas that drain.
    pub fn next_of_draining_ns(&self) -> Option<u64> {
        let alive = self.alive.iter().map(|&index| &self.members[index]);
        let draining = alive.filter(|member| member.phase == Phase::Draining);
        let next_ns = draining.clone().filter_map(|member| member.replica.as_ref()?.next_ns()).min();
        // What they hand over, they have until it is there.
        let moved = self.handing.as_ref().filter(|_| draining.count() > 0).and_then(HandingOver::next_ns);
        [next_ns, moved].into_iter().flatten().min()
    }

    /// Whether requests are there, or may still come.
    pub fn is_busy(&mut self) -> bool {
        self.arrivals.next_ns().is_some()
            || !self.retries.is_empty()
            || self.tries.arrived > self.tries.answered + self.tries.refused
    }

    /// What it leaves.
    pub fn into_parts(mut self) -> Parts<A, O> {
        for index in 0..self.members.len() {
            self.retire(index);
        }
        let read_in = self.members.iter().map(|member| member.read_in).collect();
        let observers = self.members.into_iter().map(|member| member.observer).collect();
        let handed_over = self.handing.as_ref().map_or_else(HandedOver::default, HandingOver::done);
        let Self { arrivals, refused, tries, prefix_tokens, adapters, recorded, .. } = self;
        let recorded = recorded.map_or_else(Recorded::default, |recorded| *recorded);
        Parts { observers, recorded, read_in, prefix_tokens, adapters, arrivals, refused, tries, handed_over }
    }

    /// Loads of the replicas that serve.
    pub fn serving(&self) -> impl Iterator<Item = &Load> + Clone {
        let serving = self.alive.iter().filter(|&&index| self.members[index].phase == Phase::Serving);
        serving.map(|&index| &self.loads[index])
    }

    /// Whether a replica is not ready yet.
    pub fn is_starting(&self, index: usize) -> bool {
        self.members.get(index).is_some_and(|member| member.phase == Phase::Starting)
    }

    /// Loads as the router sees them.
    pub fn loads(&self) -> &[Load] {
        &self.loads
    }

    /// What the autoscaler of a variant looks at, since this was last asked for it.
    pub fn watch(&mut self, variant: u32) -> Watched {
        let seen = &mut self.seen[variant as usize % VARIANTS];
        let watched = self.watched.since(seen, self.now_ns);
        *seen = self.watched;
        watched
    }

    /// Whom a replica tells what it does.
    pub fn observer(&self, index: usize) -> Option<&O> {
        self.members.get(index).map(|member| &member.observer)
    }

    /// Who decides where requests go.
    pub fn router_mut(&mut self) -> &mut dyn Router {
        &mut *self.router
    }

    /// Where requests come from.
    pub fn arrivals_mut(&mut self) -> &mut A {
        &mut self.arrivals
    }

    fn next(&mut self) -> Option<(u64, What)> {
        // What happens first at one instant comes first here.
        let mut next = None;
        sooner(&mut next, self.ends.next().map(|(at_ns, _)| at_ns), What::End);
        sooner(&mut next, self.handing.as_ref().and_then(HandingOver::next_ns), What::Moved);
        sooner(&mut next, self.openings.peek().map(|&Reverse((at_ns, _))| at_ns), What::Opening);
        sooner(&mut next, self.deadlines.front().map(|&(at_ns, ..)| at_ns), What::Deadline);
        sooner(&mut next, self.retries.keys().next().map(|&(at_ns, _)| at_ns), What::Retry);
        sooner(&mut next, self.arrivals.next_ns(), What::Arrival);
        next
    }

    /// Carries out all that happens up to an instant, and at it.
    pub fn run_until(&mut self, until_ns: u64) {
        while let Some((at_ns, what)) = self.next().filter(|&(at_ns, _)| at_ns <= until_ns) {
            self.now_ns = self.now_ns.max(at_ns);
            match what {
                What::End => self.ended(),
                What::Moved => self.moved(),
                What::Opening => self.opened(),
                What::Deadline => self.deadline(),
                What::Retry | What::Arrival => self.arrived(),
            }
        }
        if until_ns != u64::MAX {
            self.now_ns = self.now_ns.max(until_ns);
        }
    }

    /// Turns away those for whom no replica is left, and those that no batch takes, at the end of a run.
    pub fn close(&mut self) {
        while let Some(attempt) = self.queue.pop_front() {
            if let Some(attempt) = self.attempts.remove(attempt).filter(|attempt| !attempt.given_up) {
                self.watched.leaves(self.now_ns);
                self.refuse(&attempt, Refusal::NoReplica);
            }
        }
        self.queued = 0;
        self.close_answers();
        for index in self.alive.clone() {
            let Some(replica) = &self.members[index].replica else { continue };
            for (attempt, rejection) in replica.left_over() {
                let Some(attempt) = self.attempts.remove(attempt) else { continue };
                self.watched.leaves(self.now_ns);
                if !attempt.given_up {
                    self.refuse(&attempt, rejection.into());
                }
            }
        }
    }

    /// Something ends at a replica.
    fn ended(&mut self) {
        let Some((_, index)) = self.ends.next() else { return };
        let horizon_ns = self.horizon_ns();
        let Member { replica: Some(replica), observer, variant, .. } = &mut self.members[index] else {
            return;
        };
        let mut listening = Listening {
            observer,
            done: &mut self.done,
            watched: &mut self.watched,
            inter_token: self.recorded.as_mut().map(|recorded| &mut recorded.inter_token),
            variant: *variant,
        };
        replica.advance(horizon_ns, &mut listening);
        self.settle(index);
        self.begin_touched();
    }

    /// What follows from what a replica did.
    fn settle(&mut self, index: usize) {
        // Most iterations end nothing.
        let mut done = std::mem::take(&mut self.done);
        for outcome in done.iter().copied() {
            let id = outcome.request;
            if self.attempts.get_mut(id).is_some_and(|attempt| attempt.stage == Stage::Prompt) {
                self.read_in(id, index, &outcome);
                continue;
            }
            let Some(attempt) = self.attempts.remove(id) else { continue };
            self.watched.leaves(outcome.last_token_ns);
            if attempt.given_up {
                self.tries.wasted += u64::from(!attempt.cancelled);
                continue;
            }
            self.tries.answered += 1;
            if let Some(store) = self.store.as_mut().filter(|_| attempt.handed == Handed::default()) {
                store.write(&attempt.block_keys);
            }
            let outcome = Outcome { request: attempt.index, ..outcome };
            self.watched.answered(&outcome);
            if let Some(recorded) = &mut self.recorded {
                recorded.outcomes.insert(index as u32, &outcome);
            }
            self.members[index].observer.finished(&outcome);
            self.arrivals.done(attempt.index, outcome.last_token_ns);
        }
        done.clear();
        self.done = done;
        self.ends.set(index, self.members[index].replica.as_ref().and_then(Replica::next_ns));
        self.told(index);
        self.move_wanted(index);
        self.look_for_drained(index);
        self.dispatch_answers();
        if !self.queue.is_empty() && self.loads[index].open {
            self.dispatch_queue();
        }
    }

    /// Replicas are ready.
    fn opened(&mut self) {
        while let Some(Reverse((_, index))) =
            self.openings.peek().copied().filter(|Reverse((at_ns, _))| *at_ns <= self.now_ns)
        {
            self.openings.pop();
            let member = &mut self.members[index];
            if member.phase == Phase::Starting {
                member.phase = Phase::Serving;
                self.told(index);
            }
        }
        self.dispatch_answers();
        self.dispatch_queue();
    }

    /// All requests of an instant arrive.
    fn arrived(&mut self) {
        while let Some(retry) = self.retries.first_entry().filter(|retry| retry.key().0 <= self.now_ns) {
            let attempt = retry.remove();
            self.take_in(attempt);
        }
        while self.arrivals.next_ns().is_some_and(|at_ns| at_ns <= self.now_ns) {
            let Some(request) = self.arrivals.take() else { break };
            let attempt = Attempt::of(&request);
            let session = self.arrivals.session(attempt.index);
            self.tries.arrived += 1;
            self.watched.arrived(attempt.prompt_tokens);
            self.take_in(Attempt { session, ..attempt });
        }
        self.begin_touched();
    }

    /// A try arrives.
    fn take_in(&mut self, mut attempt: Attempt) {
        self.tried += 1;
        attempt.serial = self.tried;
        self.watched.comes(self.now_ns);
        let id = self.attempts.insert(attempt);
        if let Some(timeout_ns) = self.options.timeout_ns {
            self.deadlines.push_back((self.now_ns.saturating_add(timeout_ns), id, self.tried));
        }
        // Nobody overtakes those who wait.
        if self.queued == 0 && self.route(id) {
            return;
        }
        if self.attempts.get_mut(id).is_none() {
            return;
        }
        if self.queued >= self.options.max_queued {
            self.turn_away(id, Refusal::QueueFull);
            return;
        }
        if let Some(attempt) = self.attempts.get_mut(id) {
            attempt.queued = true;
        }
        self.queue.push_back(id);
        self.queued += 1;
    }

    /// Those that wait go where there is room.
    fn dispatch_queue(&mut self) {
        while let Some(&id) = self.queue.front() {
            let Some(attempt) = self.attempts.get_mut(id) else {
                self.queue.pop_front();
                continue;
            };
            if attempt.given_up {
                self.attempts.remove(id);
                self.queue.pop_front();
                continue;
            }
            attempt.queued = false;
            if !self.route(id)
                && let Some(attempt) = self.attempts.get_mut(id)
            {
                attempt.queued = true;
                break;
            }
            self.queue.pop_front();
            self.queued -= 1;
        }
        self.begin_touched();
    }

    /// Sends a try to a replica; whether it need not wait.
    fn route(&mut self, id: u32) -> bool {
        let Some(attempt) = self.attempts.get_mut(id) else { return true };
        let arrival = attempt.arrival(self.now_ns, &self.options, self.options.random(attempt.serial));
        let routed = self.router.route(&arrival, &self.loads, &Caching(&self.members));
        let (replica, source) = match routed {
            Routed::To { replica, from } => (replica, from),
            Routed::Unavailable => return false,
            Routed::Rejected(why) => {
                self.turn_away(id, why.into());
                return true;
            }
        };
        let source = source.filter(|&(from, _)| self.handing.is_some() && from != replica);
        let source = source.or_else(|| {
            let store = self.store.as_mut()?;
            let own = Caching(&self.members).cached_blocks(replica, &arrival);
            let more = store.beyond(arrival.block_keys, own);
            (more > 0).then_some((STORE, more))
        });
        let copied_tokens = source.map_or(0, |(_, blocks)| {
            let own = Caching(&self.members).cached_blocks(replica, &arrival);
            // The first token needs one that is computed.
            ((own + blocks) * self.options.block_tokens).min(attempt.prompt_tokens.saturating_sub(1))
        });
        let hands_over = self.handing.as_ref().is_some_and(HandingOver::hands_over);
        let part = part_of(hands_over, self.members[replica].variant, attempt, copied_tokens);
        let is_prompt = matches!(part, Part::Prompt { .. });
        let mut request = Request { index: id, ..attempt.request() };
        if is_prompt {
            (request.output_tokens, request.limit_tokens) = (1, 1);
        }
        // Whom a router sends somebody to is open, and so is there.
        let Some(server) = &mut self.members[replica].replica else { return false };
        match server.enqueue_part(&request, part) {
            Ok(()) => {
                attempt.replica = Some(replica);
                attempt.stage = if is_prompt { Stage::Prompt } else { Stage::Rest };
                attempt.copy = source.filter(|_| copied_tokens > 0).map(|(from, _)| Copied {
                    from,
                    to: replica,
                    since_ns: self.now_ns,
                });
                self.touch(replica);
                self.told(replica);
            }
            Err(rejection) => {
                self.watched.leaves(self.now_ns);
                if let Some(attempt) = self.attempts.remove(id) {
                    self.refuse(&attempt, rejection.into());
                }
            }
        }
        true
    }

    /// A replica has something to consider.
    fn touch(&mut self, replica: usize) {
        if !self.touched.contains(&replica) {
            self.touched.push(replica);
        }
    }

    /// Replicas consider what they were sent.
    fn begin_touched(&mut self) {
        let horizon_ns = self.horizon_ns();
        while let Some(index) = self.touched.pop() {
            let Member { replica: Some(replica), observer, variant, .. } = &mut self.members[index] else {
                continue;
            };
            let mut listening = Listening {
                observer,
                done: &mut self.done,
                watched: &mut self.watched,
                inter_token: self.recorded.as_mut().map(|recorded| &mut recorded.inter_token),
                variant: *variant,
            };
            replica.begin(self.now_ns, horizon_ns, &mut listening);
            self.settle(index);
        }
    }

    /// Until when nothing else arrives at a replica, as far as is known. With many replicas the next arrival is hardly theirs: whoever does get it
    /// breaks off what was begun.
    fn horizon_ns(&mut self) -> u64 {
        if self.members.len() > 1 {
            return u64::MAX;
        }
        let arrival_ns = self.arrivals.next_ns().unwrap_or(u64::MAX);
        let retry_ns = self.retries.keys().next().map_or(u64::MAX, |&(at_ns, _)| at_ns);
        arrival_ns.min(retry_ns)
    }

    /// Tells the router what a replica has to do.
    fn told(&mut self, index: usize) {
        let member = &self.members[index];
        let load = member.replica.as_ref().map(Replica::load).unwrap_or_default();
        let open = member.phase == Phase::Serving && load.outstanding() < self.options.max_outstanding;
        let load = Load { open, variant: member.variant, ..load };
        if self.loads[index] != load {
            self.loads[index] = load;
            self.router.changed(index, &load);
            if let Some(handing) = &mut self.handing {
                handing.changed(index, &load);
            }
        }
    }

    fn look_for_drained(&mut self, index: usize) {
        let member = &self.members[index];
        if member.phase == Phase::Draining
            && member.replica.as_ref().is_some_and(|replica| replica.requests() == 0)
        {
            self.retire(index);
            self.drained.push(index);
        }
    }
}

/// Takes what happens sooner than what was found so far.
#[inline]
fn sooner(next: &mut Option<(u64, What)>, at_ns: Option<u64>, what: What) {
    if let Some(at_ns) = at_ns
        && next.is_none_or(|(next_ns, _)| at_ns < next_ns)
    {
        *next = Some((at_ns, what));
    }
}

/// What happens next, in the order in which it happens at one instant: what ends makes room before what arrives needs it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum What {
    End,
    Moved,
    Opening,
    Deadline,
    Retry,
    Arrival,
}
