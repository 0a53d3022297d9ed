//! What a group of pod sets asks of a topology, checked and in numbers.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use super::failure::FailureReason;
use super::request::{LevelRequest, PodSetRequest, PodShape, SliceLayer, TopologyGates};
use super::snapshot::TopologySnapshot;

/// What to do where pods do not fit in one domain of the level.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Strictness {
    /// Nothing: they are not assigned.
    Required,
    /// Try the next wider level, at last several domains of the widest.
    Preferred,
    /// Use several domains of the level.
    Unconstrained,
}

/// What a group of pod sets asks for.
#[derive(Debug)]
pub(super) struct Plan<'a> {
    /// The pods, those of the leader apart.
    pub(super) workers: &'a PodShape,
    /// The one pod that leads them.
    pub(super) leader: Option<&'a PodShape>,
    /// How many pods, the leader apart.
    pub(super) pods: i64,
    /// The level within one domain of which they are to be.
    pub(super) level: usize,
    /// What to do where they do not fit in one.
    pub(super) strictness: Strictness,
    /// The level within one domain of which each slice must be.
    pub(super) slice_level: usize,
    /// Pods per slice.
    pub(super) slice_size: i64,
    /// Pods per slice of inner layers, by level; 1 where there is no layer.
    pub(super) inner_sizes: Vec<i64>,
    /// Whether domains with the least room are filled first.
    pub(super) least_free: bool,
    /// Whether preferred node affinity counts.
    pub(super) respects_affinity: bool,
}

impl<'a> Plan<'a> {
    /// Of the sets of a group.
    pub(super) fn new(
        snapshot: &TopologySnapshot,
        group: &[PodSetRequest<'a>],
        gates: TopologyGates,
    ) -> Result<Self, FailureReason> {
        let (workers, leader) = workers_and_leader(group).ok_or(FailureReason::TooManyLeaders)?;
        let (workers, leader) = (&group[workers], leader.map(|leader| group[leader].shape));
        let layers = layers(&workers.topology.slices, gates);
        let find =
            |level: &str| snapshot.level(level).ok_or_else(|| FailureReason::UnknownLevel(level.into()));
        let lowest = snapshot.levels().len().saturating_sub(1);
        let (level, strictness) = match &workers.topology.level {
            Some(LevelRequest::Required(level)) => (find(level)?, Strictness::Required),
            Some(LevelRequest::Preferred(level)) => (find(level)?, Strictness::Preferred),
            Some(LevelRequest::Unconstrained) => (lowest, Strictness::Unconstrained),
            // Slices alone may be in any domains.
            None if !layers.is_empty() => (0, Strictness::Unconstrained),
            None if workers.is_implied => (lowest, Strictness::Unconstrained),
            None => return Err(FailureReason::NoLevel),
        };
        let mut plan = Self {
            workers: workers.shape,
            leader,
            pods: i64::from(workers.count),
            level,
            strictness,
            slice_level: lowest,
            slice_size: 1,
            inner_sizes: vec![1; snapshot.levels().len()],
            least_free: strictness == Strictness::Unconstrained && gates.mixed_profile,
            respects_affinity: gates.respects_preferred_affinity,
        };
        plan.set_layers(snapshot, layers, workers.count)?;
        Ok(plan)
    }

    /// Each layer must be within the one before, and divide it.
    fn set_layers(
        &mut self,
        snapshot: &TopologySnapshot,
        layers: &[SliceLayer],
        mut pods: u32,
    ) -> Result<(), FailureReason> {
        let mut above = self.level;
        for (index, SliceLayer { level: label, size }) in layers.iter().enumerate() {
            let size =
                size.filter(|&size| size > 0).ok_or_else(|| FailureReason::NoSliceSize(label.clone()))?;
            let level = snapshot.level(label).ok_or_else(|| FailureReason::UnknownLevel(label.clone()))?;
            if level < above || (index > 0 && level == above) {
                let within: Box<str> = snapshot.levels()[above].clone();
                return Err(FailureReason::SliceTooWide { slices: label.clone(), within });
            }
            if !pods.is_multiple_of(size) {
                return Err(FailureReason::NotDivisible { pods, size });
            }
            if index == 0 {
                (self.slice_level, self.slice_size) = (level, i64::from(size));
            } else {
                self.inner_sizes[level] = i64::from(size);
            }
            (above, pods) = (level, size);
        }
        Ok(())
    }

    /// Pods per slice of an inner layer at a level; 1 where there is none.
    pub(super) const fn inner_size(&self, level: usize) -> i64 {
        self.inner_sizes.as_slice()[level]
    }

    /// How many slices.
    pub(super) const fn slices(&self) -> i64 {
        self.pods / self.slice_size
    }

    /// Whether one of the pods leads.
    pub(super) const fn has_leader(&self) -> bool {
        self.leader.is_some()
    }
}

/// Positions of the workers and of the leader in a group: the set with fewer pods leads, of two alike the second.
pub(super) fn workers_and_leader(group: &[PodSetRequest<'_>]) -> Option<(usize, Option<usize>)> {
    match group {
        [_] => Some((0, None)),
        [first, second] => {
            let (workers, leader) = if second.count > first.count { (1, 0) } else { (0, 1) };
            (group[leader].count == 1).then_some((workers, Some(leader)))
        }
        _ => None,
    }
}

/// The layers that count.
fn layers(layers: &[SliceLayer], gates: TopologyGates) -> &[SliceLayer] {
    if gates.multi_layer { layers } else { &layers[..layers.len().min(1)] }
}
