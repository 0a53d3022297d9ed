//! GPU devices: which ones a task holds, and what it asks for.

use core::fmt;

use crate::id::GpuModelId;

/// Thousandths in a whole GPU.
pub const WHOLE_GPU_MILLI: u32 = 1000;

/// The most GPU devices that one node can have (a [`GpuSet`] is one word).
pub const MAX_GPUS_PER_NODE: usize = 64;

/// The most GPU models that one cluster can have (a [`GpuModelSet`] is one word).
pub const MAX_GPU_MODELS: usize = 64;

/// A set of devices of one node, by their index within the node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct GpuSet(u64);

impl GpuSet {
    /// No device.
    pub const EMPTY: Self = Self(0);

    /// One device.
    pub const fn single(device: usize) -> Self {
        Self(1 << device)
    }

    /// The devices of a word: device `d` is bit `d`.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// The word: device `d` is bit `d`.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// Adds a device.
    pub const fn insert(&mut self, device: usize) {
        self.0 |= 1 << device;
    }

    /// Whether the device belongs to the set.
    pub const fn contains(self, device: usize) -> bool {
        self.0 >> device & 1 == 1
    }

    /// Number of devices.
    pub const fn len(self) -> u32 {
        self.0.count_ones()
    }

    /// Whether there is no device.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The devices in ascending order.
    pub fn iter(self) -> impl Iterator<Item = usize> {
        let mut rest = self.0;
        core::iter::from_fn(move || {
            (rest != 0).then(|| {
                let device = rest.trailing_zeros() as usize;
                rest &= rest - 1;
                device
            })
        })
    }
}

impl FromIterator<usize> for GpuSet {
    fn from_iter<I: IntoIterator<Item = usize>>(devices: I) -> Self {
        let mut set = Self::EMPTY;
        devices.into_iter().for_each(|device| set.insert(device));
        set
    }
}

impl fmt::Debug for GpuSet {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.iter()).finish()
    }
}

/// A set of GPU models. The empty set, as a constraint, allows every model.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct GpuModelSet(u64);

impl GpuModelSet {
    /// No constraint.
    pub const ANY: Self = Self(0);

    /// Whether a request with this constraint may use the model.
    pub const fn allows(self, model: GpuModelId) -> bool {
        self.0 == 0 || self.0 >> model.index() & 1 == 1
    }

    /// Whether there is no constraint.
    pub const fn is_any(self) -> bool {
        self.0 == 0
    }
}

impl FromIterator<GpuModelId> for GpuModelSet {
    fn from_iter<I: IntoIterator<Item = GpuModelId>>(models: I) -> Self {
        Self(models.into_iter().fold(0, |bits, model| bits | 1 << model.index()))
    }
}

/// What one task asks of the GPUs of one node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct GpuRequest {
    /// Number of devices; 0 for a CPU-only task.
    pub count: u32,
    /// Thousandths of each device, 1..=1000; 1000 asks for whole devices. 0 exactly when `count` is 0.
    pub milli: u32,
    /// Allowed models.
    pub models: GpuModelSet,
}

impl GpuRequest {
    /// No GPU.
    pub const NONE: Self = Self { count: 0, milli: 0, models: GpuModelSet::ANY };

    /// Whole devices of any model.
    pub const fn whole(count: u32) -> Self {
        let milli = if count == 0 { 0 } else { WHOLE_GPU_MILLI };
        Self { count, milli, models: GpuModelSet::ANY }
    }

    /// A share of one device of any model.
    pub const fn share(milli: u32) -> Self {
        Self { count: 1, milli, models: GpuModelSet::ANY }
    }

    /// Thousandths of a GPU over all devices.
    pub const fn total_milli(&self) -> u64 {
        self.count as u64 * self.milli as u64
    }

    /// Whether it asks for part of one device.
    pub const fn is_share(&self) -> bool {
        self.count == 1 && self.milli < WHOLE_GPU_MILLI
    }

    /// Whether enough devices have `milli` left.
    pub fn fits(&self, free_milli: &[u32]) -> bool {
        free_milli.iter().filter(|&&free| free >= self.milli).count() >= self.count as usize
    }
}
