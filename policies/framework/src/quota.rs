//! Amounts that may leave dimensions open: capabilities, guarantees, quotas.

use alloc::vec::Vec;

use crate::id::ResourceId;

/// An amount per resource; a resource that is not named is open. What an open dimension means (no limit, or nothing)
/// is for the reader to say.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Quota {
    /// Thousandths of a CPU core.
    pub cpu_milli: Option<u64>,
    /// Bytes of memory.
    pub memory_bytes: Option<u64>,
    /// Thousandths of GPUs.
    pub gpu_milli: Option<u64>,
    /// Number of tasks.
    pub tasks: Option<u64>,
    /// Extended resources, in order of id, each once. Zeros are kept: they differ from what is not named.
    pub extended: Vec<(ResourceId, u64)>,
}

impl Quota {
    /// Whether nothing is named.
    pub const fn is_open(&self) -> bool {
        self.cpu_milli.is_none()
            && self.memory_bytes.is_none()
            && self.gpu_milli.is_none()
            && self.tasks.is_none()
            && self.extended.is_empty()
    }

    /// The amount of an extended resource, if it is named.
    pub fn extended(&self, resource: ResourceId) -> Option<u64> {
        self.extended
            .binary_search_by_key(&resource, |&(id, _)| id)
            .ok()
            .map(|position| self.extended[position].1)
    }

    /// Names an extended resource.
    pub fn set_extended(&mut self, resource: ResourceId, amount: u64) {
        match self.extended.binary_search_by_key(&resource, |&(id, _)| id) {
            Ok(position) => self.extended[position].1 = amount,
            Err(position) => self.extended.insert(position, (resource, amount)),
        }
    }
}
