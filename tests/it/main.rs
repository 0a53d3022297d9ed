//! The command as its users run it.

mod bad_input;
mod commands;
mod conformance;
mod consistency;
mod determinism;
mod explain;
mod search;
mod study;
mod support;
mod tidy;
