//! Amounts of CPU, memory and extended resources. GPUs are individual devices: see [`crate::gpu`].

use alloc::vec::Vec;

use crate::id::ResourceId;

/// Amounts of divisible resources.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Resources {
    /// Thousandths of a CPU core.
    pub cpu_milli: u64,
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// Counts of extended resources, in order of id, each once, without zeros.
    extended: Vec<(ResourceId, u64)>,
}

impl Resources {
    /// CPU and memory alone.
    pub const fn new(cpu_milli: u64, memory_bytes: u64) -> Self {
        Self { cpu_milli, memory_bytes, extended: Vec::new() }
    }

    /// Extended resources with an amount, in order of id.
    pub fn all_extended(&self) -> impl Iterator<Item = (ResourceId, u64)> {
        self.extended.iter().copied()
    }

    /// The amount of an extended resource; 0 if it is not listed.
    pub fn extended(&self, resource: ResourceId) -> u64 {
        self.extended
            .binary_search_by_key(&resource, |&(id, _)| id)
            .map_or(0, |position| self.extended[position].1)
    }

    /// Sets the amount of an extended resource.
    pub fn set_extended(&mut self, resource: ResourceId, amount: u64) {
        match self.extended.binary_search_by_key(&resource, |&(id, _)| id) {
            Ok(position) if amount == 0 => {
                self.extended.remove(position);
            }
            Ok(position) => self.extended[position].1 = amount,
            Err(_) if amount == 0 => {}
            Err(position) => self.extended.insert(position, (resource, amount)),
        }
    }

    pub(crate) fn checked_add(&self, other: &Self) -> Option<Self> {
        let mut sum = Self::new(
            self.cpu_milli.checked_add(other.cpu_milli)?,
            self.memory_bytes.checked_add(other.memory_bytes)?,
        );
        sum.extended.clone_from(&self.extended);
        for &(resource, amount) in &other.extended {
            sum.set_extended(resource, sum.extended(resource).checked_add(amount)?);
        }
        Some(sum)
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.cpu_milli += other.cpu_milli;
        self.memory_bytes += other.memory_bytes;
        for &(resource, amount) in &other.extended {
            self.set_extended(resource, self.extended(resource) + amount);
        }
    }

    pub(crate) fn subtract(&mut self, other: &Self) {
        self.cpu_milli -= other.cpu_milli;
        self.memory_bytes -= other.memory_bytes;
        for &(resource, amount) in &other.extended {
            self.set_extended(resource, self.extended(resource) - amount);
        }
    }
}
