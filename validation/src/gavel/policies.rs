//! Gavel's names of policies.

use foretell_gavel::{Fifo, FifoMode, Policy};

/// The policy of this name.
pub(super) fn policy(name: &str) -> Option<Box<dyn Policy>> {
    Some(match name {
        "fifo" => Box::new(Fifo::new(FifoMode::Agnostic)),
        "fifo_perf" => Box::new(Fifo::new(FifoMode::Fastest)),
        "fifo_packed" => Box::new(Fifo::new(FifoMode::Packed { threshold: 1.5 })),
        _ => return None,
    })
}
