//! Promises of the KAI policies.

mod cycle;
mod division;
mod verbs;
