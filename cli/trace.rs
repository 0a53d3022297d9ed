//! Being written.
#[derive(clap::Args)]
pub(crate) struct TraceArgs {}
pub(crate) fn run(_: &TraceArgs) -> crate::CommandResult { Ok(crate::Outcome::Success) }
