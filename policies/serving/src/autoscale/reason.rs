//! Why there are as many replicas as there are.

use core::fmt::{Display, Formatter, Result};

use super::Metric;

/// Why a number was decided on. Fits a cell of a CSV file: no commas, no quotes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Reason {
    /// What is measured, over the whole service and a window, and how much of it is for each replica.
    Load {
        /// What is measured.
        metric: Metric,
        /// Over the whole service.
        value: f64,
        /// What a replica is meant to have.
        target: f64,
        /// Over how long.
        window_s: f64,
    },
    /// The same over the panic window.
    Panic {
        /// What is measured.
        metric: Metric,
        /// Over the whole service.
        value: f64,
        /// What a replica is meant to have.
        target: f64,
        /// Over how long.
        window_s: f64,
    },
    /// Less would do, but nothing is taken away while panicking.
    PanicHeld {
        /// What would do.
        wanted: u32,
    },
    /// Less would do since less than the scale-down delay.
    ScaleDownDelay {
        /// What would do.
        wanted: u32,
    },
    /// The last replica stays for a while.
    LastReplica,
    /// The service has not yet had its first replicas.
    Initial,
    /// A recommendation of the stabilisation window prevails.
    Stabilised {
        /// What the latest recommended.
        wanted: u32,
    },
    /// Changes may not be faster.
    RateLimited {
        /// What was recommended.
        wanted: u32,
    },
    /// The fewest or the most replicas prevail.
    Bounded {
        /// What was wanted.
        wanted: u32,
    },
    /// A service without replicas has load.
    Activated {
        /// The load.
        value: f64,
        /// What it had to exceed.
        threshold: f64,
    },
    /// No load for the cooldown period.
    CooledDown,
    /// Tokens per second that are expected.
    Planned {
        /// Of prompts.
        prompt_tokens_per_s: f64,
        /// Generated.
        output_tokens_per_s: f64,
    },
    /// The timetable.
    Scheduled {
        /// Second of the period since which it holds.
        since_s: u64,
    },
    /// The highest rate that is expected before a new replica would be ready.
    Predicted {
        /// Requests per second.
        rate: f64,
        /// What a replica holds.
        replica_rate: f64,
    },
    /// Too little was seen to predict: the latest rate.
    NotYetPredicted {
        /// Requests per second.
        rate: f64,
        /// What a replica holds.
        replica_rate: f64,
    },
    /// Nothing speaks for another number.
    Unchanged,
}

impl Display for Metric {
    fn fmt(&self, out: &mut Formatter<'_>) -> Result {
        out.write_str(match self {
            Self::Concurrency => "concurrency",
            Self::Rate => "requests/s",
            Self::BusyShare => "busy share",
            Self::KvShare => "KV share",
        })
    }
}

impl Display for Reason {
    fn fmt(&self, out: &mut Formatter<'_>) -> Result {
        match *self {
            Self::Load { metric, value, target, window_s } => {
                write!(out, "{metric} {value:.2} of {target:.2} a replica over {window_s} s")
            }
            Self::Panic { metric, value, target, window_s } => {
                write!(out, "panic: {metric} {value:.2} of {target:.2} a replica over {window_s} s")
            }
            Self::PanicHeld { wanted } => write!(out, "panic: no decrease to {wanted}"),
            Self::ScaleDownDelay { wanted } => write!(out, "held: scale-down delay before {wanted}"),
            Self::LastReplica => out.write_str("held: last replica"),
            Self::Initial => out.write_str("initial scale"),
            Self::Stabilised { wanted } => write!(out, "held: stabilisation window before {wanted}"),
            Self::RateLimited { wanted } => write!(out, "limited: rate towards {wanted}"),
            Self::Bounded { wanted } => write!(out, "limited: bounds instead of {wanted}"),
            Self::Activated { value, threshold } => write!(out, "activated: {value:.2} above {threshold:.2}"),
            Self::CooledDown => out.write_str("cooled down"),
            Self::Planned { prompt_tokens_per_s, output_tokens_per_s } => write!(
                out,
                "planned for {prompt_tokens_per_s:.0} prompt and {output_tokens_per_s:.0} output tokens/s"
            ),
            Self::Scheduled { since_s } => write!(out, "scheduled since second {since_s}"),
            Self::Predicted { rate, replica_rate } => {
                write!(out, "predicted {rate:.2} requests/s of {replica_rate:.2} a replica")
            }
            Self::NotYetPredicted { rate, replica_rate } => {
                write!(out, "latest {rate:.2} requests/s of {replica_rate:.2} a replica")
            }
            Self::Unchanged => out.write_str("unchanged"),
        }
    }
}
