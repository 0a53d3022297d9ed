//! Promises of the KAI policies.

mod again;
mod cycle;
mod division;
mod usage;
mod verbs;
