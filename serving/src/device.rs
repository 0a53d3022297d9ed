//! What a GPU can do.

use serde::{Deserialize, Serialize};

/// What a GPU can do. Rates are peaks of the data sheet, without sparsity: what kernels reach of them is in a
/// [`Calibration`](crate::calibration::Calibration), which holds for these very figures.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Device {
    /// Its name.
    pub name: String,
    /// Operations a second in 16 bits, with accumulation in 32.
    pub flops_16bit: f64,
    /// Operations a second in 8 bits; those of 16 where the GPU has none.
    pub flops_8bit: f64,
    /// Memory bandwidth.
    pub memory_bytes_per_s: f64,
    /// Memory.
    pub memory_bytes: f64,
    /// Streaming multiprocessors.
    pub multiprocessors: u32,
}
