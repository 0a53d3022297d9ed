//! A step's time as a function of the network that is left to the job.

use crate::groups::Bus;
use crate::plan::PlanError;
use crate::step::{Setup, step_and_bus};

/// `fixed + max(overlapped, bytes / bandwidth)`, with the bandwidth of the bus between nodes.
///
/// The step of [`step`](crate::step()) is convex in what the network is slowed by: a part that hides behind computing, then a
/// straight line. Both ends are kept, the bend between them is not.
#[derive(Clone, Copy, PartialEq, Default, Debug)]
pub struct Law {
    /// What neither hides communication nor is hidden by it.
    pub fixed_s: f64,
    /// What communication between nodes hides behind, or takes alone.
    pub overlapped_s: f64,
    /// What a step moves over the bus between nodes; nothing on one node.
    pub bytes: f64,
    /// The bandwidth of the bus on idle links.
    pub cap_gb_per_s: f64,
    /// Bytes over all NICs of a node for each byte of the bus.
    pub sent: f64,
    /// Whether each node sends to each, and not to the next.
    pub is_all_to_all: bool,
}

/// Shares of the network at which the straight part is looked for.
const FEW: [f64; 2] = [1.0 / 16.0, 1.0 / 32.0];

/// The law of a job, whatever its `network_share`.
pub fn law(setup: &Setup<'_>) -> Result<Law, PlanError> {
    let at = |network_share: f64| step_and_bus(&Setup { network_share, ..*setup });
    let (alone, bus) = at(1.0)?;
    let Some(Bus { limit_gb_per_s: cap_gb_per_s, sent, is_all_to_all }) = bus else {
        return Ok(Law { fixed_s: alone.time_s, ..Law::default() });
    };
    let [near, far] = [at(FEW[0])?.0.time_s, at(FEW[1])?.0.time_s];
    let mut slope_s = (far - near).max(0.0) / (1.0 / FEW[1] - 1.0 / FEW[0]);
    let mut fixed_s = (near - slope_s / FEW[0]).clamp(0.0, alone.time_s);
    if fixed_s + slope_s > alone.time_s {
        // Nothing hides: what latency costs bends the line a little the other way.
        slope_s = (near - alone.time_s).max(0.0) / (1.0 / FEW[0] - 1.0);
        fixed_s = (alone.time_s - slope_s).max(0.0);
    }
    Ok(Law {
        fixed_s,
        overlapped_s: alone.time_s - fixed_s,
        bytes: slope_s * cap_gb_per_s * 1e9,
        cap_gb_per_s,
        sent,
        is_all_to_all,
    })
}

impl Law {
    /// A step at a bandwidth of the bus.
    pub fn step_s(&self, bus_gb_per_s: f64) -> f64 {
        let moving_s = if self.bytes > 0.0 { self.bytes / (bus_gb_per_s * 1e9) } else { 0.0 };
        self.fixed_s + self.overlapped_s.max(moving_s)
    }
}
