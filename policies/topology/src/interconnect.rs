//! The best devices of a node for a task, by what its links are. Tables of all sets of devices make the exact answer
//! cheap.

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::cmp::Reverse;

use foretell_framework::{GpuSet, Interconnect, LinkLevel};

/// The most GPUs of a node for which every set of devices is looked at; with more, sets are grown device by device.
pub const EXACT_GPUS_MAX: usize = 16;

/// What the links within a set of devices are worth, worse first: the worst of them decides, since a collective is as
/// slow as its slowest link, then the sum of their weights.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Quality {
    worst: LinkLevel,
    weight: u32,
}

impl Quality {
    /// Of a set without two devices.
    const ALONE: Self = Self { worst: LinkLevel::Nvlink(u8::MAX), weight: 0 };

    /// Of a set with one more device.
    fn with(self, interconnect: &Interconnect, gpus: GpuSet, gpu: usize) -> Self {
        gpus.iter().fold(self, |quality, other| {
            let link = interconnect.link(gpu, other);
            Self { worst: quality.worst.min(link.level()), weight: quality.weight + link.weight() }
        })
    }
}

/// The sets of devices of one interconnect.
struct Table {
    interconnect: Arc<Interconnect>,
    /// By the bits of the set; empty where there are too many.
    qualities: Vec<Quality>,
    /// The answers so far, by number of devices and the bits of the free ones; 0 where none was asked for.
    answers: Vec<u16>,
}

impl Table {
    fn new(interconnect: &Arc<Interconnect>) -> Self {
        let gpus = interconnect.gpus();
        let interconnect = Arc::clone(interconnect);
        if gpus > EXACT_GPUS_MAX {
            return Self { interconnect, qualities: Vec::new(), answers: Vec::new() };
        }
        let sets = 1 << gpus;
        let mut qualities = Vec::with_capacity(sets);
        qualities.push(Quality::ALONE);
        for bits in 1..sets {
            let highest = bits.ilog2() as usize;
            let rest = bits ^ 1 << highest;
            qualities.push(qualities[rest].with(&interconnect, GpuSet::from_bits(rest as u64), highest));
        }
        Self { interconnect, qualities, answers: vec![0; sets * (gpus + 1)] }
    }

    fn best(&mut self, free: GpuSet, count: u32) -> GpuSet {
        if count == 0 {
            return GpuSet::EMPTY;
        }
        if free.len() <= count {
            return free;
        }
        if self.qualities.is_empty() {
            return grow(&self.interconnect, free, count);
        }
        let free = free.bits() as usize;
        let answer = count as usize * self.qualities.len() + free;
        if self.answers[answer] == 0 {
            self.answers[answer] = self.search(free, count) as u16;
        }
        GpuSet::from_bits(u64::from(self.answers[answer]))
    }

    /// The best set: by its own links, then by those among the devices that stay free, then by lowest bits.
    fn search(&self, free: usize, count: u32) -> usize {
        let mut best = None;
        let mut set = (1_usize << count) - 1;
        while set < self.qualities.len() {
            if set & !free == 0 {
                let key = (self.qualities[set], self.qualities[free & !set].weight);
                if best.is_none_or(|(best, _)| key > best) {
                    best = Some((key, set));
                }
            }
            // The next larger word with as many bits.
            let lowest = set & set.wrapping_neg();
            let ripple = set + lowest;
            set = ripple | (((set ^ ripple) >> 2) / lowest);
        }
        best.map_or(0, |(_, set)| set)
    }
}

/// From each device in turn, adds the device that is best for the set; the best of these sets. Not always the best of
/// all.
fn grow(interconnect: &Interconnect, free: GpuSet, count: u32) -> GpuSet {
    let mut best = None;
    for first in free.iter() {
        let (mut set, mut quality) = (GpuSet::single(first), Quality::ALONE);
        for _ in 1..count {
            let rest = free.iter().filter(|&gpu| !set.contains(gpu));
            let grown = rest.map(|gpu| (quality.with(interconnect, set, gpu), Reverse(gpu)));
            let Some((next, Reverse(gpu))) = grown.max() else { break };
            quality = next;
            set.insert(gpu);
        }
        if best.is_none_or(|(best, _)| quality > best) {
            best = Some((quality, set));
        }
    }
    best.map_or(GpuSet::EMPTY, |(_, set)| set)
}

/// The best devices on nodes of any interconnect. A cluster has few different ones; each is worked out once.
#[derive(Default)]
pub struct BestGpus {
    tables: Vec<Table>,
}

impl BestGpus {
    /// The `count` free devices whose worst link to each other is best; among such sets the one with the largest sum of
    /// [weights](foretell_framework::Link::weight), then the one that leaves the largest sum among the devices that
    /// stay free, then the one with the lowest bits. All free devices if there are no more than `count`.
    pub fn best(&mut self, interconnect: &Arc<Interconnect>, free: GpuSet, count: u32) -> GpuSet {
        let known = self.tables.iter().position(|table| {
            Arc::ptr_eq(&table.interconnect, interconnect) || table.interconnect == *interconnect
        });
        let index = known.unwrap_or_else(|| {
            self.tables.push(Table::new(interconnect));
            self.tables.len() - 1
        });
        self.tables[index].best(free, count)
    }
}
