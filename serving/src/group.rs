//! Replicas that share their experts: data-parallel attention.

use foretell_serving_policies::Batcher;

use crate::batch::{Batch, StepLaw};
use crate::engine::{Cancelled, Engine, Observer, Part, Rejection, Request, UnderWay};

/// Engines that go in step, since the experts of a layer are spread over all of them: each batches requests of its own, and an iteration takes as long as the
/// longest of their batches, with the experts of all. An engine without requests computes along.
pub struct Group<L, B: ?Sized = dyn Batcher + Send> {
    ranks: Vec<Engine<L, B>>,
    under_way: Vec<Option<Box<UnderWay>>>,
    end_ns: Option<u64>,
    /// Whose turn it is among equals.
    turn: usize,
}

impl<L: StepLaw, B: Batcher + ?Sized> Group<L, B> {
    /// A group of engines that have nothing to do.
    pub fn new(ranks: Vec<Engine<L, B>>) -> Self {
        let under_way = ranks.iter().map(|_| None).collect();
        Self { ranks, under_way, end_ns: None, turn: 0 }
    }

    /// Its engines.
    pub fn ranks(&self) -> &[Engine<L, B>] {
        &self.ranks
    }

    pub(crate) fn ranks_mut(&mut self) -> &mut [Engine<L, B>] {
        &mut self.ranks
    }

    /// See [`Engine::next_ns`].
    pub const fn next_ns(&self) -> Option<u64> {
        self.end_ns
    }

    /// Takes a request in, at the engine with the fewest: one that waits counts as four that run, as vLLM's front end counts.
    pub fn enqueue_part(&mut self, request: &Request<'_>, part: Part) -> Result<(), Rejection> {
        let count = self.ranks.len();
        let load = |rank: usize| {
            let state = self.ranks[rank].state();
            4 * state.waiting.len() + state.running.len()
        };
        let rank =
            (0..count).map(|next| (self.turn + next) % count).min_by_key(|&rank| load(rank)).unwrap_or(0);
        self.ranks[rank].enqueue_part(request, part)?;
        self.turn = (rank + 1) % count;
        Ok(())
    }

    /// Considers those that were taken in, unless an iteration is under way.
    pub fn begin(&mut self, now_ns: u64, observer: &mut impl Observer) {
        if self.under_way.iter().all(Option::is_none) {
            self.step(now_ns, observer);
        }
    }

    /// Carries out the iteration that ends at [`Self::next_ns`], and begins the next.
    pub fn advance(&mut self, observer: &mut impl Observer) {
        let Some(now_ns) = self.end_ns else { return };
        for (rank, ended) in self.ranks.iter_mut().zip(&mut self.under_way) {
            if let Some(ended) = ended.take() {
                rank.conclude(ended, observer);
            }
        }
        self.step(now_ns, observer);
    }

    fn step(&mut self, now_ns: u64, observer: &mut impl Observer) {
        for (rank, next) in self.ranks.iter_mut().zip(&mut self.under_way) {
            *next = rank.prepare(now_ns, observer);
        }
        if self.under_way.iter().all(Option::is_none) {
            // Somebody may wait for contents of the cache.
            self.end_ns = self.ranks.iter().filter_map(Engine::next_fetch_ns).min();
            return;
        }
        let batch = |next: &'_ Option<Box<UnderWay>>| next.as_ref().map_or(0, |next| next.batch().tokens());
        let group_tokens: u32 = self.under_way.iter().map(batch).sum();
        let step_ns = self
            .ranks
            .iter()
            .zip(&self.under_way)
            .map(|(rank, next)| {
                let batch = next.as_ref().map_or(Batch::default(), |next| next.batch());
                rank.with_drafts_ns(&batch, rank.law().grouped_stage_ns(&batch, 0, group_tokens))
            })
            .fold(0.0, f64::max);
        for next in self.under_way.iter_mut().flatten() {
            next.ends_after(now_ns, step_ns);
        }
        self.end_ns = Some(now_ns + step_ns.round() as u64);
    }

    /// See [`Engine::cancel`].
    pub fn cancel(&mut self, request: u32, now_ns: u64) -> Option<Cancelled> {
        self.ranks.iter_mut().find_map(|rank| rank.cancel(request, now_ns))
    }

    /// See [`Engine::left_over`].
    pub fn left_over(&self) -> impl Iterator<Item = (u32, Rejection)> + '_ {
        self.ranks.iter().flat_map(Engine::left_over)
    }
}
