//! Requests to model servers: readers, a writer and generators.
//!
//! ```text
//!   Azure, BurstGPT, Mooncake, Vidur, LLMServingSim, canonical ──► open ──┐
//!                                                                        ├──► RequestRecord in order of arrival
//!   RequestGenerator (open), Sessions, ClosedLoop (RequestSource) ────────┘        ├──► canonical::Writer
//!                                                                                  └──► RequestInfo
//! ```

mod azure;
mod burstgpt;
pub mod canonical;
mod format;
pub mod generate;
mod info;
mod json;
pub mod record;
mod source;
mod vidur;

pub use format::{RequestFormat, open, read_lengths};
pub use generate::{Open, RequestGenerator, RequestSource};
pub use info::{BlockInfo, RequestInfo, TokenCounts};
pub use record::{Lengths, RequestRecord};
pub use source::Requests;
