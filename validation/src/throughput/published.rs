//! What others measured and published, as gathered in the reference for model serving.

/// TensorRT-LLM at maximum load: tokens generated a second (`perf-overview` of version 1.0, weights in FP8, H100 with 80 GB).
pub(super) struct MaximumLoad {
    /// Tokens of each prompt and of each answer.
    pub lengths: (u32, u32),
    /// Requests, all there from the beginning.
    pub requests: u32,
    /// Llama-3.1-8B on one GPU.
    pub small: f64,
    /// Llama-3.3-70B on two.
    pub large: f64,
}

const fn load(lengths: (u32, u32), requests: u32, small: f64, large: f64) -> MaximumLoad {
    MaximumLoad { lengths, requests, small, large }
}

/// All of them.
pub(super) const MAXIMUM_LOADS: [MaximumLoad; 8] = [
    load((128, 128), 30_000, 28_312.0, 6_378.0),
    load((128, 2048), 3_000, 22_714.0, 6_651.0),
    load((500, 2000), 3_000, 17_660.0, 5_222.0),
    load((1000, 1000), 3_000, 15_220.0, 4_205.0),
    load((2048, 128), 3_000, 3_450.0, 762.0),
    load((2048, 2048), 1_500, 9_305.0, 3_082.0),
    load((5000, 500), 1_500, 3_459.0, 898.0),
    load((20_000, 2000), 1_000, 1_351.0, 437.0),
];

/// NIM under so many users, each of whom sends the next request once the last is answered.
pub(super) struct Users {
    /// How many.
    pub count: u32,
    /// Milliseconds to the first token.
    pub first_token_ms: f64,
    /// Milliseconds between tokens.
    pub inter_token_ms: f64,
    /// Tokens generated a second by all.
    pub tokens_per_s: f64,
}

const fn users(count: u32, first_token_ms: f64, inter_token_ms: f64, tokens_per_s: f64) -> Users {
    Users { count, first_token_ms, inter_token_ms, tokens_per_s }
}

/// Tokens of each prompt and of each answer there.
pub(super) const USERS_LENGTHS: (u32, u32) = (5000, 500);

/// NIM's benchmarking guide: Llama-3.3-70B in FP8 on two H100. Its rows for Llama-3.1-8B are left out: their lengths are not known here.
pub(super) const USERS: [Users; 5] = [
    users(1, 406.8, 18.58, 51.7),
    users(25, 688.7, 38.75, 623.0),
    users(50, 834.5, 59.7, 814.0),
    users(100, 7_996.0, 92.9, 917.0),
    users(250, 88_605.0, 93.2, 920.0),
];

/// Share of the tokens of Mooncake's prompts that a cache without limits has, by trace, in per cent.
pub(super) const HIT_RATES: [(&str, f64); 2] = [("conversation", 36.6), ("synthetic", 64.0)];
