//! Workloads with the composition of published traces. Parameters are counts taken from the traces themselves.

mod openb;
mod philly;

use super::{Arrival, Duration, DurationLaw, GeneratorConfig, Size, Users};

/// A published workload to generate jobs like. Arrivals are Poisson at the mean rate of the source, all jobs go to the
/// default queue, and there are no user names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preset {
    /// The job generator of Gavel (Narayanan et al., OSDI 2020): 1, 2, 4 or 8 GPUs, 30 minutes to 7 days.
    Gavel,
    /// The default pod list of Alibaba's GPU cluster trace of 2023 (Weng et al., USENIX ATC 2023): mostly shares of a
    /// GPU and single GPUs, with CPU and memory requests.
    Openb,
    /// The Philly derivative of 82,247 jobs (Jeon et al., USENIX ATC 2019): 1 to 128 GPUs.
    Philly,
}

impl Preset {
    /// All presets, in the order of declaration.
    pub const ALL: [Self; 3] = [Self::Gavel, Self::Openb, Self::Philly];

    /// The name in scenarios and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gavel => "gavel",
            Self::Openb => "openb",
            Self::Philly => "philly",
        }
    }

    /// The parameters, as a start for changes.
    pub fn config(self) -> GeneratorConfig {
        match self {
            Self::Gavel => gavel(),
            Self::Openb => openb::config(),
            Self::Philly => philly::config(),
        }
    }
}

/// Scale factors and run times as Gavel's job generator draws them: 1, 2, 4 and 8 GPUs with probabilities 0.7, 0.1,
/// 0.15 and 0.05; `60 * 10^U(3, 4)` seconds with probability 0.2, else `60 * 10^U(1.5, 3)`. The published runs use
/// 0.4 to 5.6 jobs per hour on 108 GPUs; the rate here is 4.
fn gavel() -> GeneratorConfig {
    let minutes = |low: f64, high: f64| DurationLaw::LogUniform {
        min_s: 60.0 * 10.0_f64.powf(low),
        max_s: 60.0 * 10.0_f64.powf(high),
    };
    let duration =
        DurationLaw::Mixture { components: vec![(0.8, minutes(1.5, 3.0)), (0.2, minutes(3.0, 4.0))] };
    let sizes = [(0.7, 1), (0.1, 2), (0.15, 4), (0.05, 8)];
    GeneratorConfig {
        arrival: Arrival::Poisson { rate_per_s: 4.0 / 3600.0 },
        sizes: sizes.into_iter().map(|(weight, gpus)| Size::whole_gpus(weight, 1, gpus)).collect(),
        duration: duration.into(),
        queues: Vec::new(),
        own_arrivals: false,
        users: NO_USERS,
    }
}

const NO_USERS: Users = Users { count: 0, zipf_exponent: 1.0 };

/// Run times from a histogram on the R5 series of preferred numbers (ISO 3), 1, 1.6, 2.5, 4, 6.3, 10, ... seconds:
/// `counts[i]` jobs ran between the i-th number and the next. Within a bin the law is log-uniform.
///
/// No textbook law will do: log-normal laws fit the bulk of these traces, but a few jobs that run for months carry
/// much of the GPU time, and the load with it. Bins of a constant ratio bound the error of the mean as well.
fn histogram(counts: &[u32]) -> Duration {
    const R5: [f64; 5] = [1.0, 1.6, 2.5, 4.0, 6.3];
    let edge_s = |bin: usize| R5[bin % R5.len()] * 10.0_f64.powi((bin / R5.len()) as i32);
    let components = counts
        .iter()
        .enumerate()
        .filter(|&(_, &count)| count > 0)
        .map(|(bin, &count)| {
            let law = DurationLaw::LogUniform { min_s: edge_s(bin), max_s: edge_s(bin + 1) };
            (f64::from(count), law)
        })
        .collect();
    DurationLaw::Mixture { components }.into()
}

/// The run times of several classes together: of any job of the trace. Sizes bring laws of their own, so this one only
/// counts for sizes that are put in their place.
fn pooled_histogram(classes: impl Iterator<Item = &'static [u32]>) -> Duration {
    let mut pooled = Vec::new();
    for counts in classes {
        pooled.resize(pooled.len().max(counts.len()), 0);
        pooled.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
    }
    histogram(&pooled)
}
