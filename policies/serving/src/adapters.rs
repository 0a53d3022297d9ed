//! Adapters of a model: which of them an engine has on its GPUs and in its host's memory.

use alloc::vec::Vec;

use crate::sequence::{Sequences, Slot};

/// Where an adapter comes from that is put on the GPUs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AdapterSource {
    /// Memory of the host.
    Host,
    /// Storage; memory of the host has it from then on.
    Storage,
}

/// An adapter that is to be put on the GPUs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AdapterLoad {
    /// Which, from 1.
    pub adapter: u32,
    /// Where it is.
    pub from: AdapterSource,
}

/// How near an adapter is at a replica.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum AdapterAt {
    /// On its GPUs.
    Loaded,
    /// It could be put there: fewer adapters than have room are needed by requests.
    Room,
    /// Requests wait for it.
    Waiting,
    /// None of these.
    #[default]
    Absent,
}

/// When the batch after that in which an adapter was last needed was composed, and where it is.
#[derive(Clone, Copy, Default, Debug)]
struct Known {
    used_at: u64,
    counted_at: u64,
    on_gpu: bool,
    on_host: bool,
    loading: bool,
}

/// Adapters of an engine, numbered from 1; 0 is the model as it is, which needs nothing.
///
/// As vLLM has it (from memory): a batch has sequences with at most so many different adapters, as many as there is room for on the GPUs; of those that wait,
/// whoever would need one more is passed over. An adapter that is not there takes the place of the one that was not used for longest. Memory of the host keeps
/// more, those on the GPUs among them, by the same rule; whatever leaves it leaves the GPUs too.
#[derive(Clone, Default, Debug)]
pub struct Adapters {
    /// Different ones in a batch and on the GPUs, at most; 0 where the model has none.
    gpu_slots: u32,
    host_slots: u32,
    /// Whether those that run go on while one is loaded, which then nobody has until [`Self::loaded`].
    overlapped: bool,
    /// By number.
    known: Vec<Known>,
    on_gpu: Vec<u32>,
    on_host: Vec<u32>,
    /// Batches composed.
    now: u64,
    counts: u64,
    /// Different ones that are needed by those that run, or are being loaded.
    active: u32,
    loads: Vec<AdapterLoad>,
    held_back: Vec<Slot>,
}

impl Adapters {
    /// Room for so many on the GPUs, and in memory of the host (no fewer).
    pub fn new(gpu_slots: u32, host_slots: u32) -> Self {
        Self { gpu_slots, host_slots: host_slots.max(gpu_slots), ..Self::default() }
    }

    /// The same, where nobody but who needs it waits while an adapter is loaded (S-LoRA's prefetching). Otherwise it is there at once, and whoever carries
    /// out the batch adds what loading takes (vLLM).
    #[must_use]
    pub fn overlapped(self) -> Self {
        Self { overlapped: true, ..self }
    }

    /// Whether those that run go on while one is loaded.
    pub const fn is_overlapped(&self) -> bool {
        self.overlapped
    }

    /// Whether there are any.
    #[inline]
    pub const fn any(&self) -> bool {
        self.gpu_slots > 0
    }

    /// Different ones in a batch, at most.
    pub const fn capacity(&self) -> u32 {
        self.gpu_slots
    }

    /// Whether an adapter has a place on the GPUs, be it that it is on its way there.
    pub fn is_on_gpu(&self, adapter: u32) -> bool {
        self.get(adapter).on_gpu
    }

    /// Whether memory of the host has it.
    pub fn is_on_host(&self, adapter: u32) -> bool {
        self.get(adapter).on_host
    }

    /// What was to be loaded since this was last asked.
    pub fn take_loads(&mut self) -> Vec<AdapterLoad> {
        core::mem::take(&mut self.loads)
    }

    /// Those that were passed over for their adapter since this was last asked, some of them several times.
    pub fn take_held_back(&mut self) -> impl Iterator<Item = Slot> + '_ {
        self.held_back.drain(..)
    }

    /// An adapter is on the GPUs.
    pub fn loaded(&mut self, adapter: u32) {
        self.entry(adapter).loading = false;
    }

    /// How many different ones sequences have.
    pub fn distinct(&mut self, sequences: &Sequences, slots: impl Iterator<Item = Slot>) -> u32 {
        self.counts += 1;
        let now = self.counts;
        let mut count = 0;
        for slot in slots {
            let adapter = sequences[slot].adapter;
            if adapter > 0 && core::mem::replace(&mut self.entry(adapter).counted_at, now) != now {
                count += 1;
            }
        }
        count
    }

    /// A batch is composed while these run: what they need stays.
    pub(crate) fn begin(&mut self, sequences: &Sequences, running: &[Slot]) {
        if !self.any() {
            return;
        }
        self.now += 1;
        self.active = 0;
        for &slot in running {
            self.mark(sequences[slot].adapter);
        }
        for place in 0..self.on_gpu.len() {
            let adapter = self.on_gpu[place];
            if self.get(adapter).loading {
                self.mark(adapter);
            }
        }
    }

    /// Whether a sequence with an adapter that a batch does not yet have could be part of it now.
    pub(crate) fn is_ready(&self, adapter: u32) -> bool {
        if adapter == 0 || !self.any() {
            return true;
        }
        let known = self.get(adapter);
        let fits = known.used_at == self.now || self.active < self.gpu_slots;
        fits && (!self.overlapped || (known.on_gpu && !known.loading))
    }

    /// The same; where it could once its adapter is loaded, that is begun. Else it is noted that it is passed over.
    pub(crate) fn prepare(&mut self, slot: Slot, adapter: u32) -> bool {
        let ready = self.is_ready(adapter);
        if !ready {
            self.held_back.push(slot);
            let known = self.get(adapter);
            if self.overlapped && !known.on_gpu && self.active < self.gpu_slots {
                self.mark(adapter);
                self.bring(adapter);
                self.entry(adapter).loading = true;
            }
        }
        ready
    }

    /// A sequence that is ready becomes part of the batch.
    pub(crate) fn take(&mut self, adapter: u32) {
        if adapter == 0 || !self.any() {
            return;
        }
        self.mark(adapter);
        if !self.get(adapter).on_gpu {
            self.bring(adapter);
        }
    }

    fn get(&self, adapter: u32) -> Known {
        self.known.get(adapter as usize).copied().unwrap_or_default()
    }

    fn entry(&mut self, adapter: u32) -> &mut Known {
        let place = adapter as usize;
        if self.known.len() <= place {
            self.known.resize(place + 1, Known::default());
        }
        &mut self.known[place]
    }

    fn mark(&mut self, adapter: u32) {
        let now = self.now;
        if adapter > 0 && core::mem::replace(&mut self.entry(adapter).used_at, now) != now {
            self.active += 1;
        }
    }

    /// Gives an adapter that is needed now a place on the GPUs.
    fn bring(&mut self, adapter: u32) {
        let from = if self.get(adapter).on_host { AdapterSource::Host } else { AdapterSource::Storage };
        if from == AdapterSource::Storage {
            if self.on_host.len() >= self.host_slots as usize
                && let Some(place) = self.oldest(&self.on_host)
            {
                let gone = self.on_host.remove(place);
                self.entry(gone).on_host = false;
                if core::mem::take(&mut self.entry(gone).on_gpu) {
                    self.on_gpu.retain(|&other| other != gone);
                }
            }
            self.on_host.push(adapter);
            self.entry(adapter).on_host = true;
        }
        if self.on_gpu.len() >= self.gpu_slots as usize
            && let Some(place) = self.oldest(&self.on_gpu)
        {
            let gone = self.on_gpu.remove(place);
            self.entry(gone).on_gpu = false;
        }
        self.on_gpu.push(adapter);
        self.entry(adapter).on_gpu = true;
        self.loads.push(AdapterLoad { adapter, from });
    }

    /// Where the one is that was not used for longest, the one that was put there first of several. None that is needed now: there is always another, since
    /// no more are needed than have room.
    fn oldest(&self, of: &[u32]) -> Option<usize> {
        let idle = of.iter().enumerate().map(|(place, &adapter)| (self.get(adapter).used_at, place));
        idle.filter(|&(used_at, _)| used_at != self.now).min().map(|(_, place)| place)
    }
}
