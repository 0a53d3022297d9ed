//! Promises of the KAI policies.

mod division;
