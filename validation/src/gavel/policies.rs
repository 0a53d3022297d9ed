//! Gavel's names of policies.

use foretell_gavel::{
    Fifo, FifoMode, FinishTimeFairnessPerf, Gandiva, Isolated, MaxMinFairness, MaxMinFairnessPerf,
    MaxSumThroughput, MinTotalDuration, Policy,
};

/// All of them.
pub(super) const NAMES: [&str; 11] = [
    "fifo",
    "fifo_perf",
    "fifo_packed",
    "max_min_fairness",
    "max_min_fairness_perf",
    "max_min_fairness_packed",
    "finish_time_fairness_perf",
    "min_total_duration_perf",
    "max_sum_throughput_perf",
    "gandiva",
    "isolated",
];

/// The policy of this name.
pub(super) fn policy(name: &str) -> Option<Box<dyn Policy>> {
    Some(match name {
        "fifo" => Box::new(Fifo::new(FifoMode::Agnostic)),
        "fifo_perf" => Box::new(Fifo::new(FifoMode::Fastest)),
        "fifo_packed" => Box::new(Fifo::new(FifoMode::Packed { threshold: 1.5 })),
        "max_min_fairness" => Box::new(MaxMinFairness),
        "max_min_fairness_perf" => Box::new(MaxMinFairnessPerf::new(false)),
        "max_min_fairness_packed" => Box::new(MaxMinFairnessPerf::new(true)),
        "finish_time_fairness_perf" => Box::new(FinishTimeFairnessPerf::default()),
        "min_total_duration_perf" => Box::new(MinTotalDuration),
        "max_sum_throughput_perf" => Box::new(MaxSumThroughput::default()),
        "gandiva" => Box::new(Gandiva::default()),
        "isolated" => Box::new(Isolated),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_means_a_policy() {
        assert!(NAMES.iter().all(|name| policy(name).is_some()));
    }
}
