//! Requests, and why engines do not take them.

/// A request as it reaches an engine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Request<'a> {
    /// The caller's index.
    pub index: u32,
    /// When it arrived, if that was before it reached the engine.
    pub arrival_ns: u64,
    /// Tokens of its prompt, at least one.
    pub prompt_tokens: u32,
    /// Tokens that it will generate, at least one.
    pub output_tokens: u32,
    /// Tokens that it asks for at most; batchers that reserve memory go by it.
    pub limit_tokens: u32,
    /// Lower goes first, where priorities are heeded.
    pub priority: i32,
    /// The adapter that it needs, from 1; 0 where it needs none.
    pub adapter: u32,
    /// A key for each block of tokens from its beginning, as [`foretell_serving_policies::BlockPool::set_keys`] wants them.
    pub block_keys: &'a [u64],
}

/// Why a request gets nothing of an engine.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Rejection {
    /// It would need more memory than there is, alone.
    #[error("its {tokens} tokens do not fit into the KV cache of {cache_tokens} tokens")]
    TooLong {
        /// Tokens of the request, to its end.
        tokens: u32,
        /// Tokens that the cache has room for.
        cache_tokens: u64,
    },
    /// It would never be taken.
    #[error("its {tokens} tokens are more than a batch may have, or than memory is kept for")]
    NeverTaken {
        /// Tokens of the request, to its end.
        tokens: u32,
    },
}
