//! What engines do whose sequences have adapters.

use foretell_serving_policies::{AdapterAt, Batcher};

use super::{Engine, NEVER, UnderWay};
use crate::adapters::{AdapterLaw, AdapterTotals};
use crate::batch::StepLaw;

/// What adapters take, and what they did.
#[derive(Clone, Debug)]
pub(super) struct Adapting {
    law: AdapterLaw,
    /// When all are loaded that are wanted: one after another.
    free_ns: f64,
    /// What was loaded for the next batch, which waits for it.
    before_ns: f64,
    totals: AdapterTotals,
}

impl<L: StepLaw, B: Batcher + ?Sized> Engine<L, B> {
    /// The same engine, whose sequences may have adapters: [`State::adapters`](foretell_serving_policies::State::adapters) says which are at hand. With one stage.
    #[must_use]
    pub fn adapting(mut self, law: AdapterLaw) -> Self {
        let totals = AdapterTotals::default();
        self.adapting = Some(Box::new(Adapting { law, free_ns: 0.0, before_ns: 0.0, totals }));
        self
    }

    /// What adapters did to it.
    pub fn adapter_totals(&self) -> AdapterTotals {
        self.adapting.as_ref().map_or_else(AdapterTotals::default, |adapting| adapting.totals)
    }

    /// How near an adapter is.
    pub fn adapter_at(&self, adapter: u32) -> AdapterAt {
        let adapters = &self.state.adapters;
        if adapters.is_on_gpu(adapter) {
            return AdapterAt::Loaded;
        }
        let of = |slot| self.state.sequences[slot].adapter;
        let mut needed: Vec<u32> = Vec::new();
        for other in self.state.running.iter().chain(self.state.waiting.iter()).map(|&slot| of(slot)) {
            if other > 0 && !needed.contains(&other) {
                needed.push(other);
            }
        }
        if needed.len() < adapters.capacity() as usize {
            AdapterAt::Room
        } else if needed.contains(&adapter) {
            AdapterAt::Waiting
        } else {
            AdapterAt::Absent
        }
    }

    /// Begins to load what a batcher wants, and notes who waits for it.
    pub(super) fn begin_loads(&mut self, now_ns: u64) {
        let Some(adapting) = &mut self.adapting else { return };
        let adapters = &mut self.state.adapters;
        for load in adapters.take_loads() {
            let length_ns = adapting.law.load_ns(load.from);
            adapting.totals.note(load.from, length_ns);
            if adapters.is_overlapped() {
                adapting.free_ns = adapting.free_ns.max(now_ns as f64) + length_ns;
                self.fetches.begin_adapter(adapting.free_ns.round() as u64, load.adapter);
            } else {
                adapting.before_ns += length_ns;
            }
        }
        for slot in adapters.take_held_back() {
            let timing = &mut self.timings[slot.index()];
            timing.held_back_ns = timing.held_back_ns.min(now_ns);
        }
    }

    /// What a batch takes longer for its adapters: each of its iterations, and the first besides.
    pub(super) fn weigh_adapters(&mut self, next: &mut UnderWay, now_ns: u64) {
        (next.adapters_ns, next.loads_ns) = (0.0, 0.0);
        let Some(adapting) = &mut self.adapting else { return };
        let sequences = &self.state.sequences;
        let decodes = next.plan.decodes.iter().filter(|&&slot| sequences[slot].adapter > 0).count() as u32;
        let chunks = next.plan.chunks.iter().filter(|chunk| sequences[chunk.slot].adapter > 0);
        let tokens = decodes * next.decode_tokens + chunks.map(|chunk| chunk.tokens).sum::<u32>();
        let adapters = self.state.adapters.distinct(sequences, next.plan.slots());
        next.adapters_ns = adapting.law.added_ns(tokens, adapters);
        next.loads_ns = std::mem::take(&mut adapting.before_ns);
        for slot in next.plan.slots() {
            let timing = &mut self.timings[slot.index()];
            let held_back_ns = std::mem::replace(&mut timing.held_back_ns, NEVER);
            if held_back_ns != NEVER {
                adapting.totals.held_back += 1;
                adapting.totals.held_back_ns += (now_ns - held_back_ns) as f64;
            }
        }
    }

    /// Counts what low-rank products took.
    pub(super) fn count_adapters(&mut self, ended: &UnderWay) {
        if let Some(adapting) = &mut self.adapting {
            adapting.totals.products_ns += f64::from(ended.ends.count()) * ended.adapters_ns;
        }
    }
}
