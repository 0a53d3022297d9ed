//! Requests to model servers: readers, a writer and generators.
//!
//! ```text
//!   Azure, BurstGPT, Mooncake, Vidur, LLMServingSim, canonical ──► open ──► RequestRecord in order of arrival
//! ```

mod azure;
mod burstgpt;
pub mod canonical;
mod format;
mod json;
pub mod record;
mod source;
mod vidur;

pub use format::{RequestFormat, open, read_lengths};
pub use record::{Lengths, RequestRecord};
pub use source::Requests;
