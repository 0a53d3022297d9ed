//! How a model is served: numbers, attention, compilation, and what an iteration costs beside its kernels.

use crate::calibration::Family;

/// How weights are kept.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Weights {
    /// 16 bits.
    #[default]
    Bits16,
    /// 8 bits of floating point with a scale for each tensor or row; activations too, so that products run at the peak of 8 bits.
    Fp8,
    /// The same with a scale for each block of 128 (`DeepSeek`).
    Fp8Block,
    /// 8-bit integers, weights and activations (`SmoothQuant`): timed as [`Self::Fp8`].
    Int8,
    /// 4-bit integers with a 16-bit scale for each 128 (GPTQ, AWQ): products run in 16 bits after the weights are expanded.
    Int4,
}

impl Weights {
    /// Every format, with its name.
    pub const ALL: [(&'static str, Self); 5] = [
        ("16bit", Self::Bits16),
        ("fp8", Self::Fp8),
        ("fp8-block", Self::Fp8Block),
        ("int8", Self::Int8),
        ("int4", Self::Int4),
    ];

    /// Bytes of a weight, scales included.
    pub const fn bytes(self) -> f64 {
        match self {
            Self::Bits16 => 2.0,
            Self::Fp8 | Self::Int8 => 1.0,
            Self::Fp8Block => 1.0 + 4.0 / (128.0 * 128.0),
            Self::Int4 => 0.5 + 2.0 / 128.0,
        }
    }

    /// Bytes of an activation that a product reads.
    pub(crate) const fn activation_bytes(self) -> f64 {
        match self {
            Self::Bits16 | Self::Int4 => 2.0,
            Self::Fp8 | Self::Fp8Block | Self::Int8 => 1.0,
        }
    }

    /// Families of its products and of its experts, the best known first.
    pub(crate) const fn families(self) -> (&'static [Family], &'static [Family]) {
        match self {
            Self::Bits16 => (&[Family::Matrix], &[Family::Experts, Family::Matrix]),
            Self::Fp8 | Self::Int8 => {
                (&[Family::MatrixFp8, Family::Matrix], &[Family::ExpertsFp8, Family::Experts, Family::Matrix])
            }
            Self::Fp8Block => (
                &[Family::MatrixFp8Block, Family::MatrixFp8, Family::Matrix],
                &[Family::ExpertsFp8, Family::Experts, Family::Matrix],
            ),
            Self::Int4 => (&[Family::MatrixWeightOnly, Family::Matrix], &[Family::Experts, Family::Matrix]),
        }
    }

    /// Whether products run at the peak of 8 bits.
    pub(crate) const fn eight_bits(self) -> bool {
        matches!(self, Self::Fp8 | Self::Fp8Block | Self::Int8)
    }
}

/// Weights that were taken out.
#[derive(Clone, Copy, PartialEq, Default, Debug)]
pub enum Pruning {
    /// None.
    #[default]
    None,
    /// Whole rows, columns or heads: this share of operations and bytes of every product is gone.
    Structured {
        /// From 0 to 1.
        share: f64,
    },
    /// Two of every four, which tensor cores skip: half of the operations; half of the bytes and 2 bits for each weight kept (cuSPARSELt's
    /// format). What sparse kernels reach of the doubled peak is assumed to be what dense ones reach of theirs.
    TwoOfFour,
}

impl Pruning {
    /// Shares of the operations and of the bytes of weights that are left, the latter for weights of so many bytes.
    pub(crate) fn left(self, weight_bytes: f64) -> (f64, f64) {
        match self {
            Self::None => (1.0, 1.0),
            Self::Structured { share } => (1.0 - share, 1.0 - share),
            Self::TwoOfFour => (0.5, 0.5 * (1.0 + 0.25 / weight_bytes)),
        }
    }
}

/// Who launches kernels.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Compilation {
    /// The interpreter, one by one, ahead of the GPU: an iteration takes at least [`EAGER_STEP_US`] and [`Options::layer_launch_us`] a layer.
    Eager,
    /// CUDA graphs (vLLM's default): the GPU never waits for the next kernel. Small batches are padded to the sizes that were captured.
    #[default]
    Graphs,
    /// An engine built ahead (TensorRT-LLM): graphs, and elementwise operators fused into their neighbours ([`FUSED_ELEMENTWISE`]).
    TensorRt,
}

/// Microseconds of an iteration that the interpreter takes at least, beside its layers (published for vLLM by inference-sim, as fitted).
pub const EAGER_STEP_US: f64 = 126.0;

/// And for each layer, of vLLM as it is now (same source). `PyTorch` and hosts of 2023 took more than ten times as long.
pub const EAGER_LAYER_US: f64 = 32.0;

/// What is left of the time of elementwise operators once they are fused: assumed, not measured. A fused operator saves one of two
/// passes over memory, and its launch.
pub const FUSED_ELEMENTWISE: f64 = 0.5;

/// Which kernels attend.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum AttentionKernels {
    /// One call of `FlashAttention` for chunks and for sequences that decode, as vLLM makes.
    #[default]
    OneCall,
    /// A call for chunks and another for sequences that decode, one after the other: TensorRT-LLM, `FlashInfer`, Vidur, all with a latent.
    TwoCalls,
    /// No tiles: scores are written to memory and read again (before `FlashAttention`).
    Unfused,
}

/// How tokens reach the experts of other GPUs, and come back, where replicas share experts.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum ExpertExchange {
    /// Tokens of all replicas are gathered everywhere, and sums scattered back: vLLM's default.
    #[default]
    Gather,
    /// Each token is sent to the GPUs of its experts alone, and back (`DeepEP`, all-to-all).
    AllToAll,
}

/// How a model is served.
#[derive(Clone, PartialEq, Debug)]
pub struct Options {
    /// How weights are kept.
    pub weights: Weights,
    /// Bytes of a number in the KV cache: 2, or 1 in 8 bits.
    pub cache_number_bytes: f64,
    /// Which kernels attend.
    pub attention: AttentionKernels,
    /// How tokens reach experts of other GPUs.
    pub expert_exchange: ExpertExchange,
    /// Weights taken out.
    pub pruning: Pruning,
    /// Who launches kernels.
    pub compilation: Compilation,
    /// Microseconds that the host takes to launch the kernels of a layer, where they are launched one by one ([`Compilation::Eager`]).
    pub layer_launch_us: f64,
    /// Of every iteration beside its kernels: scheduling, preparing inputs, collecting tokens, as far as it does not overlap. vLLM's
    /// asynchronous scheduler hides most; residuals against real runs are 0 to 2 ms.
    pub step_overhead_us: f64,
    /// The same for each sequence of the batch (inference-sim: 4.4 us, fitted on real runs).
    pub sequence_overhead_us: f64,
    /// Tokens of an iteration at most: up to there the law is tabulated, beyond it is continued.
    pub max_tokens: u32,
    /// Sequences of an iteration at most, likewise.
    pub max_sequences: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            weights: Weights::default(),
            cache_number_bytes: 2.0,
            attention: AttentionKernels::default(),
            expert_exchange: ExpertExchange::default(),
            pruning: Pruning::default(),
            compilation: Compilation::default(),
            layer_launch_us: EAGER_LAYER_US,
            step_overhead_us: 0.0,
            sequence_overhead_us: 0.0,
            max_tokens: 8192,
            max_sequences: 256,
        }
    }
}
