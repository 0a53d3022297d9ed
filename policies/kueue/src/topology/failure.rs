//! Why pods were not assigned.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use crate::ids::ResourceId;

/// Pod sets that were not assigned, and why.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// Positions of the pod sets: of one, or of a leader and its workers.
    pub pod_sets: Vec<usize>,
    /// Why.
    pub reason: FailureReason,
}

/// Why pods were not assigned.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FailureReason {
    /// A set asks for no level, and its flavor does not imply one.
    NoLevel,
    /// The topology has no such level.
    UnknownLevel(Box<str>),
    /// Slices of this level have no size.
    NoSliceSize(Box<str>),
    /// Slices are of a level wider than that of the whole set, or than that of the slices that they are part of.
    SliceTooWide {
        /// The level of the slices.
        slices: Box<str>,
        /// The level within which they are to be.
        within: Box<str>,
    },
    /// Pods do not divide into slices without a rest.
    NotDivisible {
        /// Pods of the set, or of the slice around.
        pods: u32,
        /// Pods per slice.
        size: u32,
    },
    /// A group has more than a leader and its workers, or more than one leader pod.
    TooManyLeaders,
    /// No node is in a domain of this level.
    NoDomains(Box<str>),
    /// There is not enough room.
    NoRoom {
        /// How many fit in the best domain, or in all where several may be used.
        fits: u32,
        /// How many there are.
        of: u32,
        /// What is counted.
        unit: Unit,
        /// Nodes that have no room for a single pod, and why.
        excluded: Excluded,
    },
}

/// What is counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unit {
    /// Pods.
    Pod,
    /// Slices of several pods.
    Slice,
}

/// Leaves that have no room for a single pod, by reason.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Excluded {
    /// Leaves in all.
    pub leaves: u32,
    /// Those with a taint that pods do not tolerate.
    pub by_taints: u32,
    /// Those that node selector or required node affinity keep pods off.
    pub by_affinity: u32,
    /// Those that lack a resource: the most limiting one of each.
    pub by_resource: Vec<(LimitingResource, u32)>,
}

/// What a node has too little of.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum LimitingResource {
    /// Pods, which have an upper bound per node.
    Pods,
    /// A resource.
    Resource(ResourceId),
}

impl Excluded {
    pub(super) fn add_resource(&mut self, resource: LimitingResource) {
        match self.by_resource.binary_search_by_key(&resource, |&(known, _)| known) {
            Ok(position) => self.by_resource[position].1 += 1,
            Err(position) => self.by_resource.insert(position, (resource, 1)),
        }
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pod => "pods",
            Self::Slice => "slices",
        })
    }
}

impl fmt::Display for FailureReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoLevel => f.write_str("expected a topology level; none is requested"),
            Self::UnknownLevel(level) => write!(f, "expected a level of the topology; got `{level}`"),
            Self::NoSliceSize(level) => write!(f, "expected a size for slices of level {level}; got none"),
            Self::SliceTooWide { slices, within } => {
                write!(f, "expected slices of level {within} or narrower; got {slices}")
            }
            Self::NotDivisible { pods, size } => {
                write!(f, "expected a multiple of the slice size {size}; got {pods} pods")
            }
            Self::TooManyLeaders => {
                f.write_str("expected a leader of one pod and one set of workers per group")
            }
            Self::NoDomains(level) => write!(f, "no node is in a domain of level {level}"),
            Self::NoRoom { fits, of, unit, excluded } => {
                write!(f, "{fits} of {of} {unit} fit")?;
                if excluded.by_taints > 0 {
                    write!(f, "; {} of {} leaves have taints", excluded.by_taints, excluded.leaves)?;
                }
                if excluded.by_affinity > 0 {
                    write!(f, "; {} of {} do not match", excluded.by_affinity, excluded.leaves)?;
                }
                let lacking: u32 = excluded.by_resource.iter().map(|&(_, leaves)| leaves).sum();
                if lacking > 0 {
                    write!(f, "; {lacking} of {} are full", excluded.leaves)?;
                }
                Ok(())
            }
        }
    }
}
