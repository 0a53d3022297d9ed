//! The `foretell` command: parses what was typed, calls the libraries, prints what they return.

mod calibrate;
mod environment;
mod explain;
mod manifests;
mod nccl;
mod output;
mod policy;
mod progress;
mod run;
mod scenario;
mod schedule;
mod search;
mod serve;
mod side_by_side;
mod topology;
mod trace;
mod train;
mod validate;

use std::error::Error;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Exit status when a check was made and did not pass.
const CHECK_FAILED: u8 = 1;
/// Exit status when the input is unusable; the same as for a wrong command line.
const UNUSABLE: u8 = 2;

/// Simulate a machine-learning platform: schedulers, GPU clusters, real and synthetic traces.
#[derive(Parser)]
#[command(name = "foretell", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a scenario under one or more policies.
    Run(run::RunArgs),
    /// Serve the requests of a scenario's model servers: latencies, throughput, memory.
    Serve(serve::ServeArgs),
    /// Search for the most load that a model server holds, or the least that holds a load.
    Search(Box<search::SearchArgs>),
    /// Say why a job waits or was evicted, or what a node's failure takes down.
    Explain(explain::ExplainArgs),
    /// Run scheduling cycles over Kubernetes manifests and say why what waits waits.
    Schedule(schedule::ScheduleArgs),
    /// Check scenario files, print their schema.
    Scenario(scenario::ScenarioArgs),
    /// Look at, convert and generate job traces.
    Trace(trace::TraceArgs),
    /// Draw the cluster of a scenario: tiers of its network, links of its nodes.
    Topology(topology::TopologyArgs),
    /// Say how long NCCL's collectives take on a machine, and what to set for them.
    Nccl(Box<nccl::NcclArgs>),
    /// Say how long a step of a training job takes, what its GPUs hold, and how best to split it.
    Train(Box<train::TrainArgs>),
    /// Fit what kernels reach on a GPU from timings of them: the laws of model servers.
    Calibrate(calibrate::CalibrateArgs),
    /// List the scheduling policies.
    Policy(policy::PolicyArgs),
    /// Hold foretell against published results.
    Validate(validate::ValidateArgs),
}

/// What a command comes to if it could do its work.
enum Outcome {
    Success,
    CheckFailed,
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Run(args) => run::run(&args),
        Command::Serve(args) => serve::run(&args),
        Command::Search(args) => search::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Schedule(args) => schedule::run(&args),
        Command::Scenario(args) => scenario::run(&args),
        Command::Trace(args) => trace::run(&args),
        Command::Topology(args) => topology::run(&args),
        Command::Nccl(args) => nccl::run(&args),
        Command::Train(args) => train::run(&args),
        Command::Calibrate(args) => calibrate::run(&args),
        Command::Policy(args) => policy::run(&args),
        Command::Validate(args) => validate::run(&args),
    };
    match result {
        Ok(Outcome::Success) => ExitCode::SUCCESS,
        Ok(Outcome::CheckFailed) => ExitCode::from(CHECK_FAILED),
        Err(error) if output::is_broken_pipe(&*error) => ExitCode::SUCCESS,
        Err(error) => {
            output::print_error(&*error);
            ExitCode::from(UNUSABLE)
        }
    }
}

type CommandResult = Result<Outcome, Box<dyn Error>>;
