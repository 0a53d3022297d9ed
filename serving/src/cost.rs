//! What a service costs: dollars, and energy of its GPUs.

use serde::Serialize;

use crate::classical_served::ClassicalServed;
use crate::metrics::Objective;
use crate::served::{Served, ServedBy};

/// Dollars of a service, and by what it did for them. What is not done has no price.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Cost {
    /// Of all GPU hours that its replicas had, busy or not.
    pub dollars: f64,
    /// For a million tokens of answers that somebody got.
    pub per_million_output_tokens: Option<f64>,
    /// For a million tokens of these answers and their prompts.
    pub per_million_tokens: Option<f64>,
    /// For 1,000 requests that kept all that is promised, where anything is.
    pub per_1000_requests_in_slo: Option<f64>,
}

/// Dollars of a classical service, and by what it did for them. What is not done has no price.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct ClassicalCost {
    /// Of all that its replicas had of GPUs, busy or not.
    pub dollars: f64,
    /// For a million answers.
    pub per_million_answers: Option<f64>,
    /// For a million answers that kept what is promised, where anything is.
    pub per_million_answers_in_slo: Option<f64>,
}

/// What GPUs of a service drew.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Energy {
    /// Kilowatt-hours of the GPUs of its replicas while it had them, busy or not.
    pub kwh: f64,
    /// Joules for a token of answers that somebody got.
    pub joules_per_output_token: Option<f64>,
    /// Watts of a GPU, on average.
    pub mean_gpu_w: f64,
}

impl ServedBy {
    /// Hours that it had each of its GPUs: from when it was placed until it went, or the end.
    pub(crate) fn hours(&self, end_s: f64) -> f64 {
        (self.until_s.unwrap_or(end_s).min(end_s) - self.placed_s).max(0.0) / 3600.0
    }
}

impl Served {
    /// When the last token was there, be it one that nobody waited for any more; in seconds from the beginning.
    pub fn end_s(&self) -> f64 {
        self.recorder.last_ns as f64 / 1e9
    }

    /// How many hours of a GPU its replicas had, from when each was placed until it went, or the last token was there.
    pub fn gpu_hours(&self) -> f64 {
        let end_s = self.end_s();
        self.replicas.iter().map(|one| f64::from(one.gpus) * one.hours(end_s)).sum()
    }

    /// What that costs. None where the price of any replica is not known.
    pub fn cost(&self) -> Option<Cost> {
        if self.replicas.is_empty() {
            return None;
        }
        let end_s = self.end_s();
        let of = |one: &ServedBy| Some(f64::from(one.gpus) * one.hours(end_s) * one.price_per_gpu_hour?);
        let dollars: f64 = self.replicas.iter().map(of).sum::<Option<f64>>()?;
        let outcomes = || self.outcomes.iter().map(|(_, outcome)| outcome);
        let output_tokens = self.output_tokens();
        let prompt_tokens: u64 = outcomes().map(|one| u64::from(one.prompt_tokens)).sum();
        let promised = self.objective != Objective::default();
        let kept = outcomes()
            .filter(|one| promised && !self.is_of_job(one.request) && one.meets(&self.objective))
            .count() as u64;
        let by = |unit: f64, count: u64| (count > 0).then(|| dollars * unit / count as f64);
        Some(Cost {
            dollars,
            per_million_output_tokens: by(1e6, output_tokens),
            per_million_tokens: by(1e6, prompt_tokens + output_tokens),
            per_1000_requests_in_slo: by(1e3, kept),
        })
    }

    /// Tokens of answers that somebody got.
    fn output_tokens(&self) -> u64 {
        self.outcomes.iter().map(|(_, outcome)| u64::from(outcome.output_tokens)).sum()
    }

    /// What its GPUs drew. None where that is not known of any replica.
    pub fn energy(&self) -> Option<Energy> {
        let joules: f64 = self.replicas.iter().map(|one| one.energy_j).sum::<Option<f64>>()?;
        let gpu_s = 3600.0 * self.gpu_hours();
        let output_tokens = self.output_tokens();
        (gpu_s > 0.0).then(|| Energy {
            kwh: joules / 3.6e6,
            joules_per_output_token: (output_tokens > 0).then(|| joules / output_tokens as f64),
            mean_gpu_w: joules / gpu_s,
        })
    }
}

impl ClassicalServed {
    /// Hours of a GPU that each replica had, parts of one in proportion: from when it was placed until the last request ended.
    fn hours(&self) -> impl Iterator<Item = f64> + '_ {
        let last_ns = self.ends.iter().map(|end| end.finished_ns).max().unwrap_or(0);
        let until_s = last_ns as f64 / 1e9;
        let share = f64::from(self.gpu_milli) / 1e3;
        self.replicas.iter().map(move |one| share * ((until_s - one.placed_s).max(0.0) / 3600.0))
    }

    /// How many of them all replicas had.
    pub fn gpu_hours(&self) -> f64 {
        self.hours().sum()
    }

    /// What that costs. None where the price of any replica is not known.
    pub fn cost(&self) -> Option<ClassicalCost> {
        if self.replicas.is_empty() {
            return None;
        }
        let of = self.hours().zip(&self.replicas).map(|(hours, one)| Some(hours * one.price_per_gpu_hour?));
        let dollars: f64 = of.sum::<Option<f64>>()?;
        let by_million = |count: u64| (count > 0).then(|| dollars * 1e6 / count as f64);
        let keeps = |limit_s: f64| self.ends.iter().filter(|end| end.keeps(limit_s)).count() as u64;
        let kept = self.latency_objective_s.map_or(0, keeps);
        Some(ClassicalCost {
            dollars,
            per_million_answers: by_million(self.summary.requests),
            per_million_answers_in_slo: by_million(kept),
        })
    }
}
