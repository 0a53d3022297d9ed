//! NCCL collectives: which algorithm and protocol runs them, and how long they take.
//!
//! ```text
//!   machine, ranks ──► Channels ──► Candidate per algorithm and protocol ──► NCCL's choice ──► time
//!                                        ▲                                       (calibrated)
//!                                   Environment
//! ```
//!
//! [`Channels`] stands for NCCL's graph, [`candidates`] for its cost model (2.30.7), and [`estimate`] takes what NCCL would
//! choose and says how long it takes: `T = L + x + 2 k sqrt(L x)`, with `x` the bytes over the bus bandwidth and `L` the
//! latency. The constants of that are fitted to measurements by class of hardware ([`Calibration`]).

mod calibration;
mod candidates;
mod channels;
mod constants;
mod environment;
mod estimate;
mod timing;
mod tune;

use std::fmt;
use std::str::FromStr;

pub use calibration::{Calibration, Parameter};
pub use candidates::{Candidate, candidates};
pub use channels::{Bound, Channels};
pub use environment::{Environment, EnvironmentError, VARIABLES, Variable};
pub use estimate::{Choice, Estimate, EstimateError, choose, estimate};
pub use tune::{Advice, tune, tune_paths};

use crate::hardware::{UnknownName, find, name_of};

/// A collective.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Collective {
    /// All ranks get the sum.
    AllReduce,
    /// All ranks get what all have.
    AllGather,
    /// Each rank gets its part of the sum.
    ReduceScatter,
    /// Each rank sends a part to each.
    AllToAll,
    /// All get what one has.
    Broadcast,
    /// One gets the sum.
    Reduce,
    /// Each rank sends to the next.
    SendReceive,
}

impl Collective {
    /// Every collective, with the names of nccl-tests.
    pub const ALL: [(&'static str, Self); 7] = [
        ("all_reduce", Self::AllReduce),
        ("all_gather", Self::AllGather),
        ("reduce_scatter", Self::ReduceScatter),
        ("alltoall", Self::AllToAll),
        ("broadcast", Self::Broadcast),
        ("reduce", Self::Reduce),
        ("sendrecv", Self::SendReceive),
    ];

    /// What nccl-tests multiplies the algorithm's bandwidth by to get that of the bus.
    pub fn bus_factor(self, ranks: u32) -> f64 {
        let ranks = f64::from(ranks.max(1));
        match self {
            Self::AllReduce => 2.0 * (ranks - 1.0) / ranks,
            Self::AllGather | Self::ReduceScatter | Self::AllToAll => (ranks - 1.0) / ranks,
            Self::Broadcast | Self::Reduce | Self::SendReceive => 1.0,
        }
    }
}

impl FromStr for Collective {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        let plain = name.replace('-', "_");
        let plain = match plain.as_str() {
            "all_to_all" => "alltoall",
            "send_recv" | "send_receive" => "sendrecv",
            other => other,
        };
        find(&Self::ALL, "collective", plain)
    }
}

impl fmt::Display for Collective {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(name_of(&Self::ALL, *self))
    }
}

/// How NCCL runs a collective.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Algorithm {
    /// Double binary trees over nodes, chains inside.
    Tree,
    /// Rings through all ranks.
    Ring,
    /// Reduction in the switches of NVLink, between nodes in those of the network.
    Nvls,
    /// Reduction in the switches of NVLink, trees over nodes.
    NvlsTree,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Tree, Self::Ring, Self::Nvls, Self::NvlsTree];

    /// NCCL's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tree => "Tree",
            Self::Ring => "Ring",
            Self::Nvls => "NVLS",
            Self::NvlsTree => "NVLSTree",
        }
    }
}

/// How NCCL moves bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Protocol {
    /// Four bytes of data beside four of flag.
    Ll,
    /// 120 bytes of data beside eight of flag.
    Ll128,
    /// Chunks, with a fence.
    Simple,
}

impl Protocol {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Ll, Self::Ll128, Self::Simple];

    /// NCCL's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ll => "LL",
            Self::Ll128 => "LL128",
            Self::Simple => "Simple",
        }
    }
}
