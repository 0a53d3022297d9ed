//! Fleets of which some replicas read prompts in and others generate answers.

use std::collections::VecDeque;

use foretell_serving_policies::Tier;
use foretell_serving_policies::route::{Load, Routed, Router};

use super::attempts::Attempt;
use super::member::Caching;
use super::store::Store;
use super::transport::{Move, Transport};
use super::{Fleet, Refusal};
use crate::engine::{Handed, Observer, Outcome, Part, Request, Wanted};
use crate::replay::{Arrivals, Replica};

/// Variant of replicas that read prompts in.
pub const PROMPTS: u32 = 0;

/// Variant of replicas that generate answers.
pub const ANSWERS: u32 = 1;

/// What was handed from one replica to another.
#[derive(Clone, Copy, PartialEq, Default, Debug)]
pub struct HandedOver {
    /// Requests.
    pub requests: u64,
    /// Blocks that were moved.
    pub blocks: u64,
    /// From when a prompt was read in until its contents were asked for, all together: until somebody had room for the answer.
    pub room_ns: f64,
    /// From then until they were there, all together.
    pub move_ns: f64,
    /// Beginnings of prompts that were copied from one replica's cache to another's.
    pub copies: u64,
    /// Blocks of these.
    pub copied_blocks: u64,
    /// From when they were asked for until they were there, all together.
    pub copy_ns: f64,
}

/// A beginning of a prompt that comes from another replica.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Copied {
    /// Or [`STORE`](super::STORE).
    pub(super) from: usize,
    pub(super) to: usize,
    /// When it was asked for, or the replica was.
    pub(super) since_ns: u64,
}

/// What a replica of the fleet does of a request, and where.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) enum Stage {
    /// All that is left of it.
    #[default]
    Rest,
    /// Its prompt.
    Prompt,
    /// Its answer, once what `from` has computed is at `to`, of which it is not known yet who it is if there is none.
    HandedOver { from: usize, to: Option<usize>, since_ns: u64 },
}

/// Who generates answers, and how they get what was computed of the prompts.
pub(super) struct HandingOver<T> {
    /// None where all replicas do all of a request.
    router: Option<Box<dyn Router + Send>>,
    transport: T,
    /// Tries whose prompts were read in, and for whose answers nobody is there yet.
    queue: VecDeque<u32>,
    /// Kept to spare its allocation.
    wanted: Vec<Wanted>,
    done: HandedOver,
}

impl<T: Transport> HandingOver<T> {
    pub(super) fn next_ns(&self) -> Option<u64> {
        self.transport.next_ns()
    }

    pub(super) const fn done(&self) -> HandedOver {
        self.done
    }

    /// Tells its router what a replica has to do.
    pub(super) fn changed(&mut self, replica: usize, load: &Load) {
        if let Some(router) = &mut self.router {
            router.changed(replica, load);
        }
    }

    pub(super) const fn hands_over(&self) -> bool {
        self.router.is_some()
    }

    fn new(router: Option<Box<dyn Router + Send>>, transport: T) -> Self {
        let (queue, wanted, done) = (VecDeque::new(), Vec::new(), HandedOver::default());
        Self { router, transport, queue, wanted, done }
    }
}

/// What a replica of a variant is to do of a request that comes to it.
pub(super) const fn part_of(hands_over: bool, variant: u32, attempt: &Attempt, copied_tokens: u32) -> Part {
    if hands_over && variant == PROMPTS && attempt.output_tokens > 1 {
        Part::Prompt { copied_tokens }
    } else {
        Part::Whole { copied_tokens }
    }
}

impl<R: Replica, A: Arrivals, O: Observer, T: Transport> Fleet<R, A, O, T> {
    /// The same fleet, in which replicas of the variant [`PROMPTS`] hand requests over to those of [`ANSWERS`] once they have their first token.
    /// Who of the former reads a prompt in the fleet's router says, and `router` who of the latter generates the answer; a prompt that
    /// is read in by one of the latter stays there.
    #[must_use]
    pub fn handing_over(mut self, router: Box<dyn Router + Send>, transport: T) -> Self {
        self.handing = Some(HandingOver::new(Some(router), transport));
        self
    }

    /// The same fleet, in which beginnings of prompts are copied from one replica's cache to another's where its router says so.
    #[must_use]
    pub fn copying_over(mut self, transport: T) -> Self {
        self.handing = Some(HandingOver::new(None, transport));
        self
    }

    /// The same fleet, whose replicas share memory for keys and values: what of a prompt is there and not in the cache of the replica that gets it is moved
    /// there, from [`STORE`](super::STORE), by the transport of [`Self::copying_over`] or [`Self::handing_over`]. Writing to it costs nothing.
    #[must_use]
    pub fn sharing(mut self, memory: Tier) -> Self {
        self.store = self.handing.is_some().then(|| Store::new(memory));
        self
    }

    /// What moves contents between its replicas.
    pub fn transport_mut(&mut self) -> Option<&mut T> {
        self.handing.as_mut().map(|handing| &mut handing.transport)
    }

    /// A prompt was read in.
    pub(super) fn read_in(&mut self, id: u32, from: usize, outcome: &Outcome) {
        let Some(attempt) = self.attempts.get_mut(id) else { return };
        let cancelled = attempt.cancelled;
        if attempt.given_up {
            self.attempts.remove(id);
            self.watched.leaves(outcome.last_token_ns);
            self.tries.wasted += u64::from(!cancelled);
            self.give_up_kept(from, id);
            return;
        }
        self.members[from].read_in += 1;
        attempt.stage = Stage::HandedOver { from, to: None, since_ns: outcome.last_token_ns };
        // A beginning that was there already was never copied.
        attempt.copy = None;
        attempt.handed = Handed {
            scheduled_ns: outcome.scheduled_ns,
            first_token_ns: outcome.first_token_ns,
            cached_tokens: outcome.cached_tokens,
            preemptions: outcome.preemptions,
        };
        if let Some(store) = &mut self.store {
            store.write(&attempt.block_keys);
        }
        if let Some(handing) = &mut self.handing {
            handing.queue.push_back(id);
        }
    }

    pub(super) fn give_up_kept(&mut self, replica: usize, id: u32) {
        let Some(server) = &mut self.members[replica].replica else { return };
        if server.give_up_kept(id, self.now_ns) {
            self.touch(replica);
        }
    }

    /// Those whose prompts were read in go where answers are generated.
    pub(super) fn dispatch_answers(&mut self) {
        while let Some(&id) = self.handing.as_ref().and_then(|handing| handing.queue.front()) {
            if !self.send_answer(id) {
                return;
            }
            if let Some(handing) = &mut self.handing {
                handing.queue.pop_front();
            }
        }
    }

    /// Sends a request on to whoever generates its answer; whether it need not wait.
    fn send_answer(&mut self, id: u32) -> bool {
        let Some(attempt) = self.attempts.get_mut(id) else { return true };
        let Stage::HandedOver { from, since_ns, .. } = attempt.stage else { return true };
        if attempt.given_up {
            self.attempts.remove(id);
            self.watched.leaves(self.now_ns);
            self.tries.wasted += 1;
            self.give_up_kept(from, id);
            return true;
        }
        let Some(handing) = &mut self.handing else { return true };
        let arrival = attempt.arrival(self.now_ns, &self.options, self.options.random(!attempt.serial));
        let Some(router) = &mut handing.router else { return true };
        let to = match router.route(&arrival, &self.loads, &Caching(&self.members)) {
            Routed::To { replica, .. } => replica,
            Routed::Unavailable => return false,
            Routed::Rejected(why) => {
                self.turn_away(id, why.into());
                self.give_up_kept(from, id);
                return true;
            }
        };
        let request = Request { index: id, ..attempt.request() };
        let Some(server) = &mut self.members[to].replica else { return false };
        match server.enqueue_part(&request, Part::Answer(attempt.handed)) {
            Ok(()) => {
                attempt.replica = Some(to);
                attempt.stage = Stage::HandedOver { from, to: Some(to), since_ns };
                self.touch(to);
                self.told(to);
            }
            Err(rejection) => {
                self.watched.leaves(self.now_ns);
                if let Some(attempt) = self.attempts.remove(id) {
                    self.refuse(&attempt, rejection.into());
                }
                self.give_up_kept(from, id);
            }
        }
        true
    }

    /// Begins to move what a replica has blocks for now.
    pub(super) fn move_wanted(&mut self, to: usize) {
        let Some(handing) = &mut self.handing else { return };
        let Some(server) = &mut self.members[to].replica else { return };
        server.take_wanted(&mut handing.wanted);
        for Wanted { request: id, blocks } in handing.wanted.drain(..) {
            let Some(attempt) = self.attempts.get_mut(id) else { continue };
            if let Some(copy) = attempt.copy.as_mut().filter(|copy| copy.to == to) {
                let from = copy.from;
                handing.transport.begin(self.now_ns, &Move { id, from, to, blocks, computed_ns: 0 });
                handing.done.copies += 1;
                handing.done.copied_blocks += u64::from(blocks);
                copy.since_ns = self.now_ns;
                continue;
            }
            let Stage::HandedOver { from, to: Some(to), since_ns } = attempt.stage else { continue };
            let Handed { scheduled_ns, first_token_ns, .. } = attempt.handed;
            let computed_ns = first_token_ns.saturating_sub(scheduled_ns);
            handing.transport.begin(self.now_ns, &Move { id, from, to, blocks, computed_ns });
            handing.done.requests += 1;
            handing.done.blocks += u64::from(blocks);
            handing.done.room_ns += (self.now_ns - since_ns) as f64;
            attempt.stage = Stage::HandedOver { from, to: Some(to), since_ns: self.now_ns };
        }
    }

    /// Contents are where they are needed.
    pub(super) fn moved(&mut self) {
        while let Some(handing) = &mut self.handing
            && let Some(id) = handing.transport.take_done(self.now_ns)
        {
            let Some(attempt) = self.attempts.get_mut(id) else { continue };
            let to = if let Some(copy) = attempt.copy.take() {
                handing.done.copy_ns += (self.now_ns - copy.since_ns) as f64;
                copy.to
            } else {
                let Stage::HandedOver { from, to: Some(to), since_ns } = attempt.stage else { continue };
                attempt.stage = Stage::Rest;
                handing.done.move_ns += (self.now_ns - since_ns) as f64;
                self.give_up_kept(from, id);
                to
            };
            let Some(server) = &mut self.members[to].replica else { continue };
            if server.deliver(id, self.now_ns) {
                self.touch(to);
            }
        }
        self.begin_touched();
    }

    /// A replica is lost: what it was to read is not needed, what others were to read of it does not come.
    pub(super) fn lose_contents(&mut self, lost: usize) {
        let Some(handing) = &mut self.handing else { return };
        let (mut kept, mut awaited, mut stranded) = (Vec::new(), Vec::new(), Vec::new());
        for (id, attempt) in self.attempts.iter_mut() {
            match attempt.copy {
                Some(copy) if copy.to == lost => {
                    attempt.copy = None;
                    handing.transport.cancel(self.now_ns, id);
                }
                Some(copy) if copy.from == lost => {
                    attempt.copy = None;
                    awaited.push((copy.to, id));
                }
                _ => {}
            }
            match attempt.stage {
                Stage::HandedOver { from, to: Some(to), .. } if to == lost => kept.push((from, id)),
                Stage::HandedOver { from, to: Some(to), .. } if from == lost => {
                    attempt.stage = Stage::Rest;
                    awaited.push((to, id));
                }
                Stage::HandedOver { from, to: None, .. } if from == lost => stranded.push(id),
                _ => {}
            }
        }
        for &(_, id) in kept.iter().chain(&awaited) {
            handing.transport.cancel(self.now_ns, id);
        }
        handing.queue.retain(|id| !stranded.contains(id));
        for (from, id) in kept {
            self.give_up_kept(from, id);
        }
        for (to, id) in awaited {
            let server = self.members[to].replica.as_mut();
            if server.is_some_and(|server| server.give_up_awaited(id, self.now_ns)) {
                self.touch(to);
            }
        }
        for id in stranded {
            self.lose_attempt(id);
        }
    }

    /// Turns away those whose prompts were read in and for whose answers nobody came.
    pub(super) fn close_answers(&mut self) {
        while let Some(id) = self.handing.as_mut().and_then(|handing| handing.queue.pop_front()) {
            let Some(attempt) = self.attempts.remove(id) else { continue };
            self.watched.leaves(self.now_ns);
            if attempt.given_up {
                self.tries.wasted += 1;
            } else {
                self.refuse(&attempt, Refusal::NoReplica);
            }
        }
    }
}
