//! What a node holds, has free and has promised.

use alloc::boxed::Box;
use alloc::vec::Vec;

use foretell_framework::NodeId;

use crate::model::{GPU, Part, Task, WHOLE};

/// What tasks hold of a device that they share, by how: to stay, on their way out, promised.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Group {
    pub(crate) milli: [i64; 3],
    pub(crate) tasks: [u32; 3],
}

/// Position in [`Group`] of what is held to stay.
pub(crate) const ACTIVE: usize = 0;
/// Of what is on its way out.
pub(crate) const RELEASING: usize = 1;
/// Of what is promised.
pub(crate) const PIPELINED: usize = 2;

impl Group {
    /// What the device takes from the node's idle whole GPUs, and adds to those that are being released.
    pub(crate) const fn whole(&self) -> (i64, i64) {
        let [active, releasing, pipelined] = self.tasks;
        let idle = if active + releasing > 0 { WHOLE } else { 0 };
        let released = if active > 0 { 0 } else { (releasing > 0) as i64 - (pipelined > 0) as i64 };
        (idle, released * WHOLE)
    }

    /// Whether the device counts as a whole one, with (`later`) or without what is being released.
    pub(crate) const fn is_whole(&self, later: bool) -> bool {
        self.tasks[ACTIVE] == 0 && self.tasks[if later { PIPELINED } else { RELEASING }] == 0
    }

    /// What the device has left.
    pub(crate) const fn free_milli(&self, later: bool) -> i64 {
        WHOLE - self.milli[ACTIVE] - self.milli[if later { PIPELINED } else { RELEASING }]
    }
}

/// A node.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) id: NodeId,
    pub(crate) name: Box<str>,
    pub(crate) allocatable: Vec<i64>,
    pub(crate) idle: Vec<i64>,
    /// What is being released and not promised. Negative where more is promised, of what is idle.
    pub(crate) releasing: Vec<i64>,
    pub(crate) gpu_memory_mib: f64,
    pub(crate) healthy_gpus: usize,
    pub(crate) has_gpus: bool,
    /// Devices that tasks share, by name.
    pub(crate) groups: Vec<(u32, Group)>,
}

impl Node {
    /// The devices that tasks share.
    pub(crate) fn shared(&self) -> impl Iterator<Item = &Group> {
        self.groups.iter().map(|(_, group)| group)
    }

    /// What is free of a dimension, with (`later`) or without what is being released.
    pub(crate) fn free(&self, dimension: usize, later: bool) -> i64 {
        self.idle[dimension] + if later { self.releasing[dimension] } else { 0 }
    }

    /// How many devices are free as a whole.
    pub(crate) fn whole_gpus(&self, later: bool) -> usize {
        (self.free(GPU, later) / WHOLE).max(0) as usize
    }

    /// Thousandths of each device that a part comes to here.
    pub(crate) fn part_milli(&self, part: Part) -> i64 {
        match part {
            Part::Milli(milli) => milli,
            Part::MemoryMib(mib) if self.gpu_memory_mib > 0.0 => {
                libm::ceil(mib * WHOLE as f64 / self.gpu_memory_mib) as i64
            }
            Part::MemoryMib(_) => i64::MAX,
        }
    }

    /// Whether a task fits, with or without what is being released.
    pub(crate) fn fits(&self, task: &Task, later: bool) -> bool {
        let fits = |(dimension, &asked): (usize, &i64)| asked == 0 || asked <= self.free(dimension, later);
        if !task.request.iter().enumerate().all(fits) {
            return false;
        }
        let Some((count, part)) = task.share else { return true };
        let milli = self.part_milli(part);
        if milli > WHOLE {
            return false;
        }
        let shared =
            self.shared().filter(|group| !group.is_whole(later) && group.free_milli(later) >= milli).count();
        self.whole_gpus(later) + shared >= count
    }

    /// What tasks could still get of GPUs or CPU, once what is being released is free.
    pub(crate) fn unallocated(&self, dimension: usize, mig_gpus: &[i64]) -> i64 {
        let mut sum = self.free(dimension, true);
        if dimension == GPU {
            let shared = self.shared().filter(|group| !group.is_whole(true));
            sum += shared.map(|group| group.free_milli(true)).sum::<i64>();
            let profiles = mig_gpus.iter().enumerate();
            sum += profiles.map(|(profile, gpus)| self.free(profile, true) * gpus * WHOLE).sum::<i64>();
        }
        sum
    }
}

/// Adds what a task holds to a node, or takes it away.
pub(crate) fn account_on(node: &mut Node, task: &Task, groups: &[u32], kind: usize, sign: i64) {
    for (dimension, &asked) in task.request.iter().enumerate() {
        match kind {
            ACTIVE => node.idle[dimension] -= sign * asked,
            RELEASING => {
                node.idle[dimension] -= sign * asked;
                node.releasing[dimension] += sign * asked;
            }
            _ => node.releasing[dimension] -= sign * asked,
        }
    }
    let Some((_, part)) = task.share else { return };
    let milli = node.part_milli(part);
    for &name in groups {
        let position = node.groups.partition_point(|&(known, _)| known < name);
        if node.groups.get(position).is_none_or(|&(known, _)| known != name) {
            node.groups.insert(position, (name, Group::default()));
        }
        let group = &mut node.groups[position].1;
        let (idle, releasing) = group.whole();
        group.milli[kind] += sign * milli;
        group.tasks[kind] = group.tasks[kind].saturating_add_signed(sign as i32);
        let (idle_after, releasing_after) = group.whole();
        let is_empty = group.tasks == [0; 3];
        node.idle[GPU] += idle - idle_after;
        node.releasing[GPU] += releasing_after - releasing;
        if is_empty {
            node.groups.remove(position);
        }
    }
}
