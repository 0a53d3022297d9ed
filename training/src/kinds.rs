//! What a plan chooses besides sizes: what is computed again, how attention and the loss are computed, when weights are gathered.

/// What is computed again in the backward pass in place of being kept.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Recompute {
    /// Nothing.
    None,
    /// The core of attention (Korthikanti et al. 2022); flash attention does so by itself.
    Selective,
    /// That, and every second product of a layer (torchtitan's `op`, as its source of 2024 is remembered).
    Alternate,
    /// Every layer, of which only the input is kept.
    Full,
}

impl Recompute {
    /// Every kind, with its name.
    pub const ALL: [(&'static str, Self); 4] = [
        ("none", Self::None),
        ("selective", Self::Selective),
        ("alternate", Self::Alternate),
        ("full", Self::Full),
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|&&(_, known)| known == self).map_or("", |&(name, _)| name)
    }
}

/// How attention is computed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Attention {
    /// In tiles, never writing the scores; what is masked is not computed.
    Flash,
    /// Scores are written, masked and read again.
    Unfused,
}

/// When weights of the next unit are gathered in the backward pass of sharded data parallelism.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Prefetch {
    /// Before the current unit computes (`BACKWARD_PRE`).
    Before,
    /// After it (`BACKWARD_POST`).
    After,
    /// When they are needed.
    None,
}

/// How the loss over the vocabulary is computed, which says what is there for each score at the widest moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Loss {
    /// In place: gradients overwrite scores (Megatron's, flash attention's fused cross entropy).
    InPlace,
    /// Operation by operation in 32 bits, as `PyTorch` does by itself.
    Eager,
}

impl Loss {
    /// Every kind, with its name.
    pub const ALL: [(&'static str, Self); 2] = [("in-place", Self::InPlace), ("eager", Self::Eager)];
}
