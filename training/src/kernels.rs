//! How long kernels take: the constants, by class of hardware, and the law.
//!
//! A matrix product takes `flops / (peak x efficiency) x (1 + k0/2 (1/K + 1/N))`: inner and outer sizes below some hundreds do not fill
//! the units. What only moves bytes takes `bytes / (0.9 x bandwidth)`. Kernels begin one after the other.

use foretell_fabric::hardware::Architecture;

use crate::device::{Device, Precision};
use crate::plan::PlanError;

foretell_fabric::fitted_constants! {
    /// Share of the peak that large matrix products reach: Ampere and Ada, in 16 bits.
    MatrixAmpere: 0.77 in 0.5 to 0.95, fitted 0.7861;
    /// Hopper; the clock sinks under the load.
    MatrixHopper: 0.62 in 0.4 to 0.9, fitted 0.6499;
    /// What 8 bits leave of that, of their own peak.
    MatrixFp8: 0.75 in 0.4 to 1.0, fitted 0.7580;
    /// Size of a matrix that costs as much again: products of Llama 2 on an A100, profiled by themselves, give about 110.
    MatrixSize: 110.0 in 80.0 to 140.0, fitted 114.5852;
    /// Share of the peak that flash attention reaches, of what it does not skip: Ampere.
    AttentionAmpere: 0.45 in 0.15 to 0.8, fitted 0.3357;
    /// Hopper.
    AttentionHopper: 0.3 in 0.1 to 0.8, fitted 0.1867;
    /// What heads of 64 leave of it.
    AttentionNarrow: 0.85 in 0.5 to 1.0, fitted 0.9252;
    /// What is moved between products in a layer by kernels that are not fused, of what is counted.
    Moved: 1.2 in 0.4 to 3.0, fitted 1.7815;
    /// Bytes moved for each logit, forward and backward.
    Logits: 20.0 in 8.0 to 40.0, fitted 22.5705;
    /// What a collective costs the kernels beside it, of its own time: it takes multiprocessors and memory bandwidth.
    Beside: 0.15 in 0.0 to 0.3, fitted 0.3000;
    /// Seconds of a step of sharded data parallelism beside its kernels: the norm of the gradients, the loss, the next batch.
    ShardedStep: 0.02 in 0.0 to 0.06, fitted 0.0412;
}

/// Share of the peak of memory bandwidth that kernels reach (Calculon's figure for large tensors).
const MEMORY_SHARE: f64 = 0.9;

/// Seconds from one kernel to the next.
const KERNEL_S: f64 = 5e-6;

/// What products and convolutions reach in 32 bits, and on GPUs before Ampere.
const MATRIX_EARLY: f64 = 0.7;

/// Operations that are counted for each that Winograd's algorithm does in 3 x 3 convolutions of 32 bits (Lavin and Gray 2015).
const WINOGRAD: f64 = 2.25;

/// The law, for one GPU and precision.
pub(crate) struct Kernels<'a> {
    calibration: &'a Calibration,
    architecture: Architecture,
    precision: Precision,
    peak: f64,
    half_peak: f64,
    bytes_per_s: f64,
}

impl<'a> Kernels<'a> {
    pub(crate) fn new(
        device: &Device,
        precision: Precision,
        calibration: &'a Calibration,
    ) -> Result<Self, PlanError> {
        let half = match precision {
            Precision::Fp8 => Precision::Bf16,
            other => other,
        };
        Ok(Self {
            calibration,
            architecture: device.architecture,
            precision,
            peak: device.peak_flops(precision)?,
            half_peak: device.peak_flops(half)?,
            bytes_per_s: device.memory_bytes_per_s * MEMORY_SHARE,
        })
    }

    pub(crate) const fn get(&self, parameter: Parameter) -> f64 {
        self.calibration.get(parameter)
    }

    fn matrix_share(&self) -> f64 {
        match self.architecture {
            _ if self.precision == Precision::Fp32 => MATRIX_EARLY,
            Architecture::Pascal | Architecture::Volta => MATRIX_EARLY,
            Architecture::Ampere => self.get(Parameter::MatrixAmpere),
            // None of Blackwell is calibrated: as Hopper.
            Architecture::Hopper | Architecture::Blackwell => self.get(Parameter::MatrixHopper),
        }
    }

    /// Seconds of products of so many operations, of matrices with these inner and outer sizes.
    pub(crate) fn matrix_s(&self, flops: f64, inner: f64, outer: f64) -> f64 {
        let of_peak = if self.precision == Precision::Fp8 { self.get(Parameter::MatrixFp8) } else { 1.0 };
        self.product_s(flops, self.peak * of_peak, inner, outer)
    }

    /// The same of the projection on the vocabulary, which stays in 16 bits.
    pub(crate) fn half_matrix_s(&self, flops: f64, inner: f64, outer: f64) -> f64 {
        self.product_s(flops, self.half_peak, inner, outer)
    }

    fn product_s(&self, flops: f64, peak: f64, inner: f64, outer: f64) -> f64 {
        let size = 0.5 * self.get(Parameter::MatrixSize);
        flops / (peak * self.matrix_share()) * (1.0 + size / inner + size / outer)
    }

    /// Seconds of convolutions of so many operations, of which a part are of 3 x 3 with a stride of 1.
    pub(crate) fn convolution_s(&self, flops: f64, three_by_three: f64) -> f64 {
        let done = match self.precision {
            Precision::Fp32 => flops - three_by_three * (1.0 - 1.0 / WINOGRAD),
            _ => flops,
        };
        done / (self.peak * self.matrix_share())
    }

    /// Seconds of so many operations of flash attention.
    pub(crate) fn attention_s(&self, flops: f64, head_size: u32) -> f64 {
        let share = match self.architecture {
            Architecture::Hopper | Architecture::Blackwell => self.get(Parameter::AttentionHopper),
            _ => self.get(Parameter::AttentionAmpere),
        };
        let narrow = if head_size < 128 { self.get(Parameter::AttentionNarrow) } else { 1.0 };
        flops / (self.half_peak * share * narrow)
    }

    /// Seconds of so many operations on scores that are written out.
    pub(crate) fn scores_s(&self, flops: f64) -> f64 {
        flops / (self.half_peak * self.matrix_share())
    }

    /// Seconds of moving so many bytes.
    pub(crate) fn memory_s(&self, bytes: f64) -> f64 {
        bytes / self.bytes_per_s
    }
}

/// Seconds that so many kernels take beside what they do.
pub(crate) const fn launch_s(kernels: f64) -> f64 {
    kernels * KERNEL_S
}
