//! Models that take turns on the same GPUs: one is in their memory, requests for the others wait.

use foretell_serving_policies::route::Load;
use foretell_serving_policies::{AdapterAt, AdapterSource, Batcher, BlockPool};

use crate::adapters::AdapterTotals;
use crate::batch::StepLaw;
use crate::engine::{Cancelled, Engine, Observer, Part, Rejection, Request, Wanted};
use crate::replay::Replica;

/// A model that is served in turns.
pub struct Hosted<L, B: ?Sized = dyn Batcher + Send> {
    /// Who serves it while it is in the GPUs' memory, all of which it has then.
    pub engine: Engine<L, B>,
    /// From when its turn begins until it serves, where the host's memory has its weights.
    pub from_host_ns: u64,
    /// The same where they come from storage.
    pub from_storage_ns: u64,
}

/// How models take turns.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TurnOptions {
    /// For how long a model serves whoever comes while others are waited for.
    pub turn_ns: u64,
    /// Models whose weights memory of the host keeps, at least one: those used last.
    pub host_models: usize,
}

/// A request that is not with its engine.
struct Held {
    request: Request<'static>,
    block_keys: Box<[u64]>,
    part: Part,
    /// Since when it waits for its model.
    since_ns: Option<u64>,
}

/// A replica of several models, of which one at a time is in memory of its GPUs (as Ollama, llama-swap, `ServerlessLLM` and Triton with explicit model control have
/// it, from memory). [`Request::adapter`] says which model is asked for, from 1.
///
/// While requests wait for another model, the present one takes new requests until its turn is over, and then answers those that it has. Then the model is loaded
/// whose first request has waited longest. Whoever has nothing left to do gives way at once, and stays if nobody else is asked for. What is cached of prompts is lost.
pub struct Turns<L, B: ?Sized = dyn Batcher + Send> {
    models: Vec<Hosted<L, B>>,
    /// Memory for keys and values of each as it is at the beginning of a turn.
    blank: Vec<BlockPool>,
    options: TurnOptions,
    /// Whose turn it is.
    current: usize,
    /// Since when it serves, or will.
    since_ns: u64,
    loading: bool,
    /// Its turn is over: it takes nobody more.
    closing: bool,
    held: Vec<Held>,
    /// Models in the host's memory, the one not used for longest first.
    on_host: Vec<usize>,
    totals: AdapterTotals,
}

impl<L: StepLaw, B: Batcher + ?Sized> Turns<L, B> {
    /// Models of which the first is there. At least one.
    pub fn new(models: Vec<Hosted<L, B>>, options: TurnOptions) -> Self {
        Self {
            blank: models.iter().map(|hosted| hosted.engine.state().blocks.clone()).collect(),
            models,
            options,
            current: 0,
            since_ns: 0,
            loading: false,
            closing: false,
            held: Vec::new(),
            on_host: vec![0],
            totals: AdapterTotals::default(),
        }
    }

    fn engine(&self) -> &Engine<L, B> {
        &self.models[self.current].engine
    }

    fn model_of(&self, adapter: u32) -> usize {
        (adapter as usize).saturating_sub(1).min(self.models.len() - 1)
    }

    /// Gives the present engine those that are for it, and changes models where it is time; whether that one got somebody.
    fn settle(&mut self, now_ns: u64) -> bool {
        let mut any = false;
        loop {
            if self.loading {
                if self.since_ns > now_ns {
                    break;
                }
                self.loading = false;
                // Those that it was loaded for, however short its turn.
                any |= self.admit(now_ns);
            }
            let current = self.current;
            let waiting = self.held.iter().map(|held| self.model_of(held.request.adapter));
            let other = waiting.clone().find(|&model| model != current);
            let is_over = now_ns >= self.since_ns.saturating_add(self.options.turn_ns);
            self.closing |= other.is_some() && is_over;
            if !self.closing {
                any |= self.admit(now_ns);
            }
            match other {
                Some(next) if self.engine().requests() == 0 => self.change(now_ns, next),
                _ => break,
            }
        }
        for held in &mut self.held {
            held.since_ns.get_or_insert(now_ns);
        }
        any
    }

    /// The present engine gets those that are for it; whether there were any.
    fn admit(&mut self, now_ns: u64) -> bool {
        let before = self.held.len();
        let current = self.current;
        for held in std::mem::take(&mut self.held) {
            if self.model_of(held.request.adapter) != current {
                self.held.push(held);
                continue;
            }
            if let Some(since_ns) = held.since_ns {
                self.totals.held_back += 1;
                self.totals.held_back_ns += (now_ns - since_ns) as f64;
            }
            // That it could ever be taken was asked when it came.
            let request = Request { adapter: 0, block_keys: &held.block_keys, ..held.request };
            let taken = self.models[current].engine.enqueue_part(&request, held.part);
            debug_assert!(taken.is_ok(), "{taken:?}");
        }
        self.held.len() < before
    }

    /// Another model's turn begins.
    fn change(&mut self, now_ns: u64, next: usize) {
        self.models[self.current].engine.forget(self.blank[self.current].clone());
        let known = self.on_host.iter().position(|&model| model == next);
        let hosted = &self.models[next];
        let (from, length_ns) = match known {
            Some(_) => (AdapterSource::Host, hosted.from_host_ns),
            None => (AdapterSource::Storage, hosted.from_storage_ns),
        };
        self.totals.note(from, length_ns as f64);
        self.on_host.retain(|&model| model != next);
        self.on_host.push(next);
        let spare = self.on_host.len().saturating_sub(self.options.host_models.max(1));
        self.on_host.drain(..spare);
        (self.current, self.closing, self.loading) = (next, false, true);
        self.since_ns = now_ns.saturating_add(length_ns);
    }
}

impl<L: StepLaw, B: Batcher + ?Sized> Replica for Turns<L, B> {
    fn next_ns(&self) -> Option<u64> {
        if self.loading { Some(self.since_ns) } else { self.engine().next_ns() }
    }

    fn enqueue_part(&mut self, request: &Request<'_>, part: Part) -> Result<(), Rejection> {
        let model = self.model_of(request.adapter);
        self.models[model].engine.check(request, part)?;
        let Request {
            index, arrival_ns, prompt_tokens, output_tokens, limit_tokens, priority, adapter, ..
        } = *request;
        let kept = Request {
            index,
            arrival_ns,
            prompt_tokens,
            output_tokens,
            limit_tokens,
            priority,
            adapter,
            block_keys: &[],
        };
        self.held.push(Held { request: kept, block_keys: request.block_keys.into(), part, since_ns: None });
        Ok(())
    }

    fn begin(&mut self, now_ns: u64, horizon_ns: u64, observer: &mut impl Observer) {
        if self.settle(now_ns) {
            self.models[self.current].engine.begin(now_ns, horizon_ns, observer);
        }
    }

    fn advance(&mut self, horizon_ns: u64, observer: &mut impl Observer) {
        let Some(now_ns) = self.next_ns() else { return };
        if !self.loading {
            self.models[self.current].engine.advance(horizon_ns, observer);
        }
        self.begin(now_ns, horizon_ns, observer);
    }

    fn requests(&self) -> usize {
        self.held.len() + self.engine().requests()
    }

    fn left_over(&self) -> Vec<(u32, Rejection)> {
        let held = self.held.iter().map(|held| {
            let Request { index, prompt_tokens, output_tokens, .. } = held.request;
            (index, Rejection::NeverTaken { tokens: prompt_tokens.saturating_add(output_tokens) })
        });
        self.engine().left_over().chain(held).collect()
    }

    fn load(&self) -> Load {
        let mut load = self.engine().load();
        for Held { request, .. } in &self.held {
            load.waiting += 1;
            load.tokens += u64::from(request.prompt_tokens);
            load.prefill_tokens += u64::from(request.prompt_tokens);
        }
        load
    }

    fn cached_blocks(&self, block_keys: &[u64]) -> u32 {
        self.engine().state().blocks.cached_blocks(block_keys)
    }

    /// Of a model: the one whose turn it is, any where nobody is waited for, those that are waited for.
    fn adapter_at(&self, adapter: u32) -> AdapterAt {
        let model = self.model_of(adapter);
        if model == self.current && !self.closing {
            AdapterAt::Loaded
        } else if self.requests() == 0 {
            AdapterAt::Room
        } else if self.held.iter().any(|held| self.model_of(held.request.adapter) == model) {
            AdapterAt::Waiting
        } else {
            AdapterAt::Absent
        }
    }

    fn adapter_totals(&self) -> AdapterTotals {
        self.totals
    }

    fn unfinished(&self) -> Vec<u32> {
        self.engine().unfinished().chain(self.held.iter().map(|held| held.request.index)).collect()
    }

    fn prefix_tokens(&self) -> (u64, u64) {
        let states = self.models.iter().map(|hosted| hosted.engine.state());
        states
            .fold((0, 0), |sum, state| (sum.0 + state.prefix_queried_tokens, sum.1 + state.prefix_hit_tokens))
    }

    // Nothing is handed over between replicas of several models.
    fn take_wanted(&mut self, _wanted: &mut Vec<Wanted>) {}

    fn deliver(&mut self, _request: u32, _now_ns: u64) -> bool {
        false
    }

    fn give_up_awaited(&mut self, _request: u32, _now_ns: u64) -> bool {
        false
    }

    fn give_up_kept(&mut self, _request: u32, _now_ns: u64) -> bool {
        false
    }

    fn cancel(&mut self, request: u32, now_ns: u64) -> Option<Cancelled> {
        if let Some(at) = self.held.iter().position(|held| held.request.index == request) {
            self.held.remove(at);
            return Some(Cancelled::AtOnce);
        }
        self.models[self.current].engine.cancel(request, now_ns)
    }
}
