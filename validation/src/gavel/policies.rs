//! Gavel's names of policies.

use foretell_gavel::{
    Fifo, FifoMode, FinishTimeFairnessPerf, Gandiva, Isolated, MaxMinFairness, MaxMinFairnessPerf,
    MaxSumThroughput, MinTotalDuration, Policy,
};

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
