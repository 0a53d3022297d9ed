//! How much of a resource someone holds, of how much, for reasons.

use alloc::boxed::Box;
use core::fmt;

/// How much of a resource is used, asked for and allowed, in thousandths of the unit that the name says.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ResourceUse {
    /// The resource with its unit: `GPUs`, `CPU cores`, `GiB of memory`, or its name.
    pub resource: Box<str>,
    /// What is used.
    pub used_milli: u64,
    /// What is asked for in addition.
    pub asked_milli: u64,
    /// The most.
    pub limit_milli: u64,
}

/// Thousandths as a number with at most two decimals.
pub(crate) struct Milli(pub(crate) u64);

impl fmt::Display for Milli {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hundredths = self.0 / 10 + u64::from(self.0 % 10 >= 5);
        write!(formatter, "{}", hundredths / 100)?;
        match hundredths % 100 {
            0 => Ok(()),
            rest if rest % 10 == 0 => write!(formatter, ".{}", rest / 10),
            rest => write!(formatter, ".{rest:02}"),
        }
    }
}

impl ResourceUse {
    /// "allocated 62 of deserved 48 GPUs, 8 more asked for".
    pub(crate) fn write(&self, formatter: &mut fmt::Formatter<'_>, used: &str, limit: &str) -> fmt::Result {
        let Self { resource, used_milli, asked_milli, limit_milli } = self;
        let (used_milli, limit_milli) = (Milli(*used_milli), Milli(*limit_milli));
        write!(formatter, "{used} {used_milli} of {limit} {limit_milli} {resource}, ")?;
        write!(formatter, "{} more asked for", Milli(*asked_milli))
    }
}

/// What keeps a queue from holding more.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum QueueBound {
    /// What it deserves, now that others want theirs.
    Deserved,
    /// The most that it may ever hold.
    Capability,
    /// Its fixed part of the cluster.
    Part,
}

impl QueueBound {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Deserved => "deserved",
            Self::Capability => "at most",
            Self::Part => "its own",
        }
    }
}
