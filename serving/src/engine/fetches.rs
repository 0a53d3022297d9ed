//! Contents of blocks on their way from memory below the GPU's.

use std::collections::VecDeque;

use foretell_serving_policies::{Batcher, Fetch};

use super::{Engine, Wanted};
use crate::batch::StepLaw;

/// What reading from a tier takes: memory of the host, or of another machine.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct TierLink {
    /// Before the first byte.
    pub latency_ns: f64,
    /// For each block. Reads of a tier follow one another.
    pub block_ns: f64,
    /// Share of a read that a request waits for: all of it, or with reads that keep ahead of the layers that need them one layer's, 1 / layers.
    pub exposed_share: f64,
}

impl TierLink {
    /// For blocks of so many bytes at so many a second.
    pub fn new(block_bytes: f64, bytes_per_s: f64, latency_s: f64) -> Self {
        Self { latency_ns: latency_s * 1e9, block_ns: block_bytes / bytes_per_s * 1e9, exposed_share: 1.0 }
    }

    /// The same, read layer by layer while the layers before are computed.
    #[must_use]
    pub fn by_layer(self, layers: u32) -> Self {
        Self { exposed_share: 1.0 / f64::from(layers.max(1)), ..self }
    }
}

/// Reads that are under way.
#[derive(Clone, Default, Debug)]
pub(super) struct Fetches {
    links: Vec<TierLink>,
    /// When each link has read all that is wanted of it.
    free_ns: Vec<f64>,
    /// In the order in which they are done, with when.
    pending: Vec<(u64, Fetch)>,
    /// Adapters on their way to the GPUs, the next first.
    adapters: VecDeque<(u64, u32)>,
}

impl Fetches {
    pub(super) fn over(links: Vec<TierLink>) -> Self {
        Self { free_ns: vec![0.0; links.len()], links, pending: Vec::new(), adapters: VecDeque::new() }
    }

    /// When the next is done.
    #[inline]
    pub(super) fn next_ns(&self) -> Option<u64> {
        let adapter_ns = self.adapters.front().map(|&(done_ns, _)| done_ns);
        match self.pending.first() {
            Some(&(done_ns, _)) => Some(adapter_ns.map_or(done_ns, |adapter_ns| adapter_ns.min(done_ns))),
            None => adapter_ns,
        }
    }

    /// Begins to load an adapter, which is there once those before it are.
    pub(super) fn begin_adapter(&mut self, done_ns: u64, adapter: u32) {
        self.adapters.push_back((done_ns, adapter));
    }

    /// Begins a read. A tier without a link is read in no time.
    pub(super) fn begin(&mut self, now_ns: u64, fetch: Fetch) {
        let from_ns = now_ns as f64;
        let mut ready_ns = from_ns;
        for ((link, free_ns), &blocks) in self.links.iter().zip(&mut self.free_ns).zip(&fetch.blocks) {
            if blocks == 0 {
                continue;
            }
            let start_ns = from_ns.max(*free_ns);
            let length_ns = link.latency_ns + f64::from(blocks) * link.block_ns;
            *free_ns = start_ns + length_ns;
            ready_ns = ready_ns.max(start_ns + link.exposed_share * length_ns);
        }
        let done_ns = now_ns + (ready_ns - from_ns).round() as u64;
        let place = self.pending.partition_point(|&(before_ns, _)| before_ns <= done_ns);
        self.pending.insert(place, (done_ns, fetch));
    }
}

impl<L: StepLaw, B: Batcher + ?Sized> Engine<L, B> {
    /// The same engine, with what reading from the tiers of its cache takes, the nearest first.
    #[must_use]
    pub fn reading_over(mut self, links: Vec<TierLink>) -> Self {
        self.fetches = Fetches::over(links);
        self
    }

    /// When the next contents are there that somebody waits for.
    pub(crate) fn next_fetch_ns(&self) -> Option<u64> {
        self.fetches.next_ns()
    }

    /// Lets those be taken whose contents are there.
    pub(super) fn end_fetches(&mut self, now_ns: u64) {
        if self.fetches.next_ns().is_none_or(|done_ns| done_ns > now_ns) {
            return;
        }
        let done = self.fetches.pending.partition_point(|&(done_ns, _)| done_ns <= now_ns);
        for (_, fetch) in self.fetches.pending.drain(..done) {
            self.state.fetched(&fetch);
        }
        while let Some((_, adapter)) =
            self.fetches.adapters.pop_front_if(|&mut (done_ns, _)| done_ns <= now_ns)
        {
            self.state.adapters.loaded(adapter);
        }
    }

    /// Begins to read what a batcher wants.
    pub(super) fn begin_fetches(&mut self, now_ns: u64) {
        if self.state.fetches.is_empty() {
            return;
        }
        for fetch in self.state.fetches.drain(..) {
            match fetch.handed_blocks {
                Some(blocks) => {
                    let request = self.state.sequences[fetch.slot].request;
                    self.handing.want(Wanted { request, blocks }, fetch);
                }
                None => self.fetches.begin(now_ns, fetch),
            }
        }
    }
}
