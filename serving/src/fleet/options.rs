//! What fleets are told.

use foretell_serving_policies::route::mixed;

/// What of a fleet is not its router's business.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FleetOptions {
    /// Decides what is drawn for routers.
    pub seed: u64,
    /// Tokens of a block of keys.
    pub block_tokens: u32,
    /// Requests that a replica has at once, at most; others wait before the fleet until one of its replicas has fewer.
    pub max_outstanding: u32,
    /// Requests that wait before the fleet, at most; others are turned away.
    pub max_queued: u32,
    /// How long a client waits for the end of its answer. Then it gives up.
    pub timeout_ns: Option<u64>,
    /// Whether replicas stop computing what its client gave up, as servers do that notice a connection closed.
    pub cancels: bool,
    /// How often a client tries again after it gave up, was turned away or lost its replica.
    pub retries: u32,
    /// How long it waits before its first further try; twice as long before each one after.
    pub backoff_ns: u64,
}

impl FleetOptions {
    /// What is drawn for a try.
    pub(super) const fn random(&self, serial: u64) -> u64 {
        mixed(self.seed ^ mixed(serial))
    }
}

impl Default for FleetOptions {
    fn default() -> Self {
        Self {
            seed: 0,
            block_tokens: 16,
            max_outstanding: u32::MAX,
            max_queued: u32::MAX,
            timeout_ns: None,
            cancels: false,
            retries: 0,
            backoff_ns: 1_000_000_000,
        }
    }
}
