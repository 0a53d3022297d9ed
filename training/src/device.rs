//! What a GPU can do.

use foretell_fabric::hardware::Architecture;

use crate::plan::PlanError;

/// The numbers that a job computes with.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Precision {
    /// 32 bits, without tensor cores.
    Fp32,
    /// 16 bits with 5 of exponent.
    Fp16,
    /// 16 bits with 8 of exponent.
    Bf16,
    /// Linear layers in 8 bits, all else as [`Self::Bf16`].
    Fp8,
}

impl Precision {
    /// Every precision, with its name.
    pub const ALL: [(&'static str, Self); 4] =
        [("fp32", Self::Fp32), ("fp16", Self::Fp16), ("bf16", Self::Bf16), ("fp8", Self::Fp8)];

    /// Its name.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|&&(_, known)| known == self).map_or("", |&(name, _)| name)
    }

    /// Bytes of a weight as it is computed with, gathered and sent; of activations likewise.
    pub const fn bytes(self) -> f64 {
        match self {
            Self::Fp32 => 4.0,
            Self::Fp16 | Self::Bf16 | Self::Fp8 => 2.0,
        }
    }
}

/// What a GPU can do. Rates are peaks without sparsity.
#[derive(Clone, PartialEq, Debug)]
pub struct Device {
    /// Its name.
    pub name: String,
    /// Its generation.
    pub architecture: Architecture,
    /// Memory.
    pub memory_bytes: f64,
    /// Memory bandwidth.
    pub memory_bytes_per_s: f64,
    /// FP32 operations a second, without tensor cores.
    pub fp32_flops: Option<f64>,
    /// FP16 operations a second.
    pub fp16_flops: Option<f64>,
    /// BF16 operations a second.
    pub bf16_flops: Option<f64>,
    /// FP8 operations a second.
    pub fp8_flops: Option<f64>,
}

impl Device {
    /// Operations a second of linear layers in a precision.
    pub fn peak_flops(&self, precision: Precision) -> Result<f64, PlanError> {
        let peak = match precision {
            Precision::Fp32 => self.fp32_flops,
            Precision::Fp16 => self.fp16_flops,
            Precision::Bf16 => self.bf16_flops,
            Precision::Fp8 => self.fp8_flops,
        };
        peak.ok_or_else(|| PlanError::Precision { device: self.name.clone(), precision: precision.name() })
    }
}
