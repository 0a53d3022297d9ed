//! Fragmentation of node states that were asked for before.
//!
//! Nodes of one type go through the same states over and over, and a task is tried on all of them: of the states that
//! a run of the FGD study asks for, seven in eight were asked for before.

use alloc::vec::Vec;

use foretell_framework::{GpuModelId, TypicalTasks};

/// Devices of a state that is remembered; nodes with more are computed each time.
const DEVICES: usize = 8;

/// Number of states that are remembered, a power of two. A state displaces the one in its place.
const ENTRIES: usize = 1 << 13;

#[derive(Clone, Copy, PartialEq, Eq)]
struct Key {
    cpu_free_milli: u64,
    /// Padded with a value that no device has, so that the number of devices is part of the key.
    gpu_free_milli: [u32; DEVICES],
    model: GpuModelId,
}

const PADDING: u32 = u32::MAX;

impl Key {
    /// An index below [`ENTRIES`].
    fn slot(&self) -> usize {
        // Multiplicative hashing with the golden ratio; the high bits are the well mixed ones.
        const GOLDEN_RATIO: u64 = 0x9e37_79b9_7f4a_7c15;
        let mix = |hash: u64, word: u64| (hash.rotate_left(5) ^ word).wrapping_mul(GOLDEN_RATIO);
        let seed = mix(self.cpu_free_milli, self.model.index() as u64);
        let pairs =
            self.gpu_free_milli.chunks_exact(2).map(|pair| u64::from(pair[0]) << 32 | u64::from(pair[1]));
        (pairs.fold(seed, mix) >> (u64::BITS - ENTRIES.trailing_zeros())) as usize
    }
}

/// A table of one entry per slot.
pub(crate) struct Memo {
    entries: Vec<Option<(Key, f64)>>,
}

impl Memo {
    pub(crate) const fn new() -> Self {
        Self { entries: Vec::new() }
    }

    /// [`TypicalTasks::evaluate`], remembered.
    pub(crate) fn expected_milli(
        &mut self,
        typical: &TypicalTasks,
        cpu_free_milli: u64,
        gpu_free_milli: &[u32],
        model: GpuModelId,
    ) -> f64 {
        let evaluate = || typical.evaluate(cpu_free_milli, gpu_free_milli, model).expected_milli;
        if gpu_free_milli.len() > DEVICES {
            return evaluate();
        }
        let mut key = Key { cpu_free_milli, gpu_free_milli: [PADDING; DEVICES], model };
        key.gpu_free_milli[..gpu_free_milli.len()].copy_from_slice(gpu_free_milli);
        self.entries.resize(ENTRIES, None);
        let entry = &mut self.entries[key.slot()];
        match entry {
            Some((known, expected_milli)) if *known == key => *expected_milli,
            _ => entry.insert((key, evaluate())).1,
        }
    }
}
