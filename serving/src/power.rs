//! What GPUs draw while they serve.
//!
//! A GPU with nothing to do draws what it draws idle. While an iteration is under way it draws `active + bandwidth x ub + flops x uf` of its limit, and no more
//! than `most`, where `ub` and `uf` are the shares of the peaks of memory bandwidth and of operations that the model's own work takes of the
//! iteration ([`Work`]). So a byte and an operation cost the same energy in prompts and in answers, and time that the GPU is on costs beside.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::calibration::CalibrationError;
use crate::model::work::Work;

/// Constants of GPUs whose power was measured, by name.
const CATALOG: &str = include_str!("../catalog/power.toml");

/// What a GPU draws, in shares of its limit.
#[derive(Clone, Copy, PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Power {
    /// The limit of a board, in watts.
    pub limit_w: f64,
    /// With nothing to do.
    pub idle_share: f64,
    /// While an iteration is under way, before it does anything.
    pub active_share: f64,
    /// Further, at the peak of memory bandwidth.
    pub bandwidth_share: f64,
    /// Further, at the peak of operations.
    pub flops_share: f64,
    /// At the most.
    pub most_share: f64,
}

/// GPUs that compute together, and their peaks: of what power is a share.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Drawing {
    /// What one draws.
    pub power: Power,
    /// How many.
    pub gpus: f64,
    /// Operations a second of one.
    pub peak_flops: f64,
    /// Bytes a second of one.
    pub peak_bytes_per_s: f64,
}

impl Power {
    /// That of a GPU of the catalogue, if it was measured.
    pub fn of_gpu(name: &str) -> Result<Option<Self>, CalibrationError> {
        let all: Result<BTreeMap<String, Self>, _> = toml::from_str(CATALOG);
        Ok(all.map_err(|error| CalibrationError::Toml(error.to_string()))?.remove(name))
    }

    /// Share of the limit drawn at these shares of the peaks of operations and of memory bandwidth.
    pub fn busy_share(&self, flops_use: f64, bandwidth_use: f64) -> f64 {
        let wanted = self.active_share + self.flops_share * flops_use + self.bandwidth_share * bandwidth_use;
        wanted.min(self.most_share)
    }
}

impl Drawing {
    /// Joules of all of them for so much work in so long a time.
    pub fn busy_j(&self, work: Work, length_s: f64) -> f64 {
        if length_s <= 0.0 {
            return 0.0;
        }
        let gpu_s = self.gpus * length_s;
        let share = self
            .power
            .busy_share(work.flops / (gpu_s * self.peak_flops), work.bytes / (gpu_s * self.peak_bytes_per_s));
        gpu_s * share * self.power.limit_w
    }

    /// Joules of so many seconds of one of them with nothing to do.
    pub fn idle_j(&self, gpu_s: f64) -> f64 {
        gpu_s * self.power.idle_share * self.power.limit_w
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn power_follows_work() {
        let power = Power::of_gpu("A100-80").unwrap().unwrap();
        assert_eq!(Power::of_gpu("H100").unwrap(), None);
        let drawing = Drawing { power, gpus: 2.0, peak_flops: 100.0, peak_bytes_per_s: 10.0 };
        // Five seconds of two GPUs: 1,000 operations and 100 bytes at most.
        let joules = |flops, bytes| drawing.busy_j(Work { flops, bytes }, 5.0) / (10.0 * power.limit_w);
        let near = |left: f64, right: f64| assert!((left - right).abs() < 1e-12, "{left} for {right}");
        near(joules(0.0, 0.0), power.active_share);
        near(joules(0.0, 50.0), power.active_share + 0.5 * power.bandwidth_share);
        near(joules(100.0, 0.0), power.active_share + 0.1 * power.flops_share);
        near(joules(1000.0, 100.0), power.most_share);
        near(drawing.idle_j(10.0), 10.0 * power.idle_share * power.limit_w);
        near(drawing.busy_j(Work::default(), 0.0), 0.0);
    }
}
