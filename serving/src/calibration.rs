//! What kernels reach on a GPU: the constants of the laws, by family of operators, with their errors.
//!
//! An operator takes `((F / (P ef))^p + (B / (bw eb))^p)^(1/p) + o`, where it does `F` operations and moves `B` bytes on a GPU whose peaks are
//! `P` and `bw`. The constants are fitted on kernel timings ([`calibrate`](crate::calibrate)) and kept as TOML.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::correction::Correction;
use crate::device::Device;
use crate::link::{Link, LinkKind, norm};

/// What is wrong with a calibration.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum CalibrationError {
    /// Not TOML, or not of this form.
    #[error("calibration: {0}")]
    Toml(String),
    /// A constant out of its range.
    #[error("calibration of {device}: `{family}`: `{field}` = {value} should be {expected}")]
    Constant {
        /// The GPU.
        device: String,
        /// The family.
        family: &'static str,
        /// The constant.
        field: &'static str,
        /// What it is.
        value: String,
        /// What it should be.
        expected: &'static str,
    },
    /// A family that every calibration must have.
    #[error("calibration of {device}: the family `{family}` is missing")]
    Missing {
        /// The GPU.
        device: String,
        /// The family.
        family: &'static str,
    },
    /// No such GPU in the catalogue.
    #[error("no calibration of `{name}` in the catalogue; it has {known}")]
    Unknown {
        /// What was asked for.
        name: String,
        /// Names that there are.
        known: String,
    },
}

/// Operators that share constants.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Family {
    /// Matrix products in 16 bits.
    Matrix,
    /// Matrix products in 8 bits, scaled by tensor or by row.
    MatrixFp8,
    /// Matrix products in 8 bits, scaled by block.
    MatrixFp8Block,
    /// Matrix products whose weights have 4 or 8 bits and are expanded to 16.
    MatrixWeightOnly,
    /// Norms with the addition of the residual.
    Norm,
    /// The activation between the matrices of a feed-forward network.
    Activation,
    /// Rotation of queries and keys by position, and what puts keys and values in memory.
    Rotary,
    /// Norms of queries and keys.
    QueryKeyNorm,
    /// Looking up the embedding.
    Embedding,
    /// Sampling.
    Sampler,
    /// Attention in an iteration where all sequences decode.
    AttentionDecode,
    /// Attention of chunks alone.
    AttentionPrefill,
    /// Attention of chunks and of sequences that decode, in one call.
    AttentionMixed,
    /// Experts: grouped matrix products in 16 bits.
    Experts,
    /// The same in 8 bits.
    ExpertsFp8,
}

impl Family {
    /// Every family, with its name.
    pub const ALL: [(&'static str, Self); 15] = [
        ("matrix", Self::Matrix),
        ("matrix-fp8", Self::MatrixFp8),
        ("matrix-fp8-block", Self::MatrixFp8Block),
        ("matrix-weight-only", Self::MatrixWeightOnly),
        ("norm", Self::Norm),
        ("activation", Self::Activation),
        ("rotary", Self::Rotary),
        ("query-key-norm", Self::QueryKeyNorm),
        ("embedding", Self::Embedding),
        ("sampler", Self::Sampler),
        ("attention-decode", Self::AttentionDecode),
        ("attention-prefill", Self::AttentionPrefill),
        ("attention-mixed", Self::AttentionMixed),
        ("experts", Self::Experts),
        ("experts-fp8", Self::ExpertsFp8),
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|&&(_, known)| known == self).map_or("", |&(name, _)| name)
    }
}

/// Relative errors of a law on timings that it was not fitted on, in per cent.
#[derive(Clone, Copy, PartialEq, Default, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Errors {
    /// Timings.
    pub points: u32,
    /// Mean.
    pub mean_pct: f64,
    /// Median.
    pub median_pct: f64,
    /// Nine of ten are below.
    pub p90_pct: f64,
}

/// Constants of a family on a GPU.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Constants {
    /// Share of the peak of operations (`ef`).
    #[serde(default = "one")]
    pub flops_share: f64,
    /// Share of the peak of memory bandwidth (`eb`). Above 1 where a cache serves part.
    #[serde(default = "one")]
    pub bandwidth_share: f64,
    /// What only moves bytes: so many megabytes (10^6 bytes) are served by a cache, at `bandwidth_share`; more at [`BEYOND_CACHE`] at most.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub cached_mb: f64,
    /// Of a call (`o`).
    pub overhead_us: f64,
    /// How computing and moving overlap (`p`): 1 one after the other, large: the longer of the two.
    #[serde(default = "one")]
    pub power: f64,
    /// Attention: for each sequence that decodes and each head (of keys and values where all decode, of queries beside a chunk), divided among
    /// the multiprocessors.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub block_us: f64,
    /// Attention with chunks: a block walks alone along the keys of its sequence; this for each token of the longest sequence is the least
    /// that a call takes.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub walk_ns: f64,
    /// Products: what they take against the law of these constants, by size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correction: Option<Correction>,
    /// Errors on timings that were held out, of the law with its correction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_out: Option<Errors>,
    /// The GPU from which the constants are carried over, where there are no timings of this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub carried_from: Option<String>,
    /// What the timings are.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub source: String,
}

const fn one() -> f64 {
    1.0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(value: &f64) -> bool {
    *value == 0.0
}

/// Share of the peak of memory bandwidth beyond what a cache serves.
pub const BEYOND_CACHE: f64 = 0.95;

impl Constants {
    /// Seconds of moving so many bytes, what a call costs included.
    pub fn moving_s(&self, bytes: f64, bytes_per_s: f64) -> f64 {
        let cached = if self.cached_mb > 0.0 { bytes.min(self.cached_mb * 1e6) } else { bytes };
        let beyond = (bytes - cached) / (bytes_per_s * self.bandwidth_share.min(BEYOND_CACHE));
        cached / (bytes_per_s * self.bandwidth_share) + beyond + self.overhead_us * 1e-6
    }

    /// Seconds of so many operations and bytes on a GPU with these peaks.
    pub fn seconds(&self, flops: f64, bytes: f64, peak_flops: f64, bytes_per_s: f64) -> f64 {
        self.work_s(flops, bytes, peak_flops, bytes_per_s) + self.overhead_us * 1e-6
    }

    /// The same without what a call costs.
    pub fn work_s(&self, flops: f64, bytes: f64, peak_flops: f64, bytes_per_s: f64) -> f64 {
        norm(
            flops / (peak_flops * self.flops_share),
            bytes / (bytes_per_s * self.bandwidth_share),
            self.power,
        )
    }
}

/// A collective as measured on machines with this GPU.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Collective {
    /// `all_reduce`, `all_gather`, `reduce_scatter`, `all_to_all` or `send`.
    pub operation: String,
    /// What carries it out, and on which machine: `nccl`, `custom` (vLLM's own under CUDA graphs), ...
    pub by: String,
    /// GPUs that take part.
    pub gpus: u32,
    /// Of few bytes.
    pub latency_us: f64,
    /// Bus bandwidth: `2 (n - 1) / n x bytes / time` of an all-reduce.
    pub bytes_per_s: f64,
    /// As of [`Link::power`].
    #[serde(default = "one")]
    pub power: f64,
    /// Errors on sizes that were held out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_out: Option<Errors>,
    /// What the timings are.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub source: String,
}

impl Collective {
    /// The link that it amounts to.
    pub const fn link(&self, kind: LinkKind) -> Link {
        Link { kind, bytes_per_s: self.bytes_per_s, latency_s: self.latency_us * 1e-6, power: self.power }
    }
}

/// What kernels reach on a GPU.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// The GPU whose peaks the shares are of.
    pub device: Device,
    /// Constants by family.
    pub families: BTreeMap<Family, Constants>,
    /// Collectives that were measured.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub collectives: Vec<Collective>,
}

/// Families without which there is no law.
const NEEDED: [Family; 10] = [
    Family::Matrix,
    Family::Norm,
    Family::Activation,
    Family::Rotary,
    Family::QueryKeyNorm,
    Family::Embedding,
    Family::Sampler,
    Family::AttentionDecode,
    Family::AttentionPrefill,
    Family::AttentionMixed,
];

impl Calibration {
    /// Reads TOML.
    pub fn from_toml(text: &str) -> Result<Self, CalibrationError> {
        let read: Self = toml::from_str(text).map_err(|error| CalibrationError::Toml(error.to_string()))?;
        read.check()?;
        Ok(read)
    }

    /// Writes TOML.
    pub fn to_toml(&self) -> Result<String, CalibrationError> {
        toml::to_string(self).map_err(|error| CalibrationError::Toml(error.to_string()))
    }

    fn check(&self) -> Result<(), CalibrationError> {
        for (&family, of) in &self.families {
            if of.correction.as_ref().is_some_and(|correction| !correction.is_whole()) {
                return Err(CalibrationError::Constant {
                    device: self.device.name.clone(),
                    family: family.name(),
                    field: "correction",
                    value: "a grid with holes".to_owned(),
                    expected: "a number for each of its sizes, which rise",
                });
            }
            let positive = |value: f64| value > 0.0 && value.is_finite();
            let not_negative = |value: f64| value >= 0.0 && value.is_finite();
            for (field, value, holds, expected) in [
                ("flops_share", of.flops_share, positive(of.flops_share), "above 0"),
                ("bandwidth_share", of.bandwidth_share, positive(of.bandwidth_share), "above 0"),
                ("power", of.power, positive(of.power), "above 0"),
                ("cached_mb", of.cached_mb, not_negative(of.cached_mb), "at least 0"),
                ("overhead_us", of.overhead_us, not_negative(of.overhead_us), "at least 0"),
                ("block_us", of.block_us, not_negative(of.block_us), "at least 0"),
                ("walk_ns", of.walk_ns, not_negative(of.walk_ns), "at least 0"),
            ] {
                if !holds {
                    return Err(CalibrationError::Constant {
                        device: self.device.name.clone(),
                        family: family.name(),
                        field,
                        value: value.to_string(),
                        expected,
                    });
                }
            }
        }
        match NEEDED.iter().find(|family| !self.families.contains_key(family)) {
            Some(family) => Err(self.missing(*family)),
            None => Ok(()),
        }
    }

    fn missing(&self, family: Family) -> CalibrationError {
        CalibrationError::Missing { device: self.device.name.clone(), family: family.name() }
    }

    /// The constants of a family.
    pub fn of(&self, family: Family) -> Result<&Constants, CalibrationError> {
        self.families.get(&family).ok_or_else(|| self.missing(family))
    }

    /// What joins so many GPUs of a node, as measured: vLLM's own all-reduce under CUDA graphs if it was timed, else NCCL's. `None` if neither was.
    pub fn link(&self, gpus: u32) -> Option<Link> {
        let by = ["vllm-custom-graph", "nccl", "nccl-dgx"];
        let found = by.iter().find_map(|by| self.collective("all_reduce", by, gpus));
        found.map(|of| of.link(LinkKind::NvLink))
    }

    /// The measured collective of this name over so many GPUs.
    pub fn collective(&self, operation: &str, by: &str, gpus: u32) -> Option<&Collective> {
        self.collectives.iter().find(|one| one.operation == operation && one.by == by && one.gpus == gpus)
    }
}
