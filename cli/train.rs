//! `foretell train`: how long a step of a training job takes, what its GPUs hold, and how best to split it.

mod emit;

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use foretell_scenarios::catalog::{Catalog, Gpu, NodeType};
use foretell_scenarios::fabric::collectives::{self, Environment};
use foretell_scenarios::fabric::hardware::{Machine, Network, Ranks};
use foretell_scenarios::training::memory::{GIB, advice, capacity};
use foretell_scenarios::training::model::{Kind, Model};
use foretell_scenarios::training::plan::{Attention, Loss, Plan, Recompute};
use foretell_scenarios::training::search::{Fixed, Found, least, pareto, plans};
use foretell_scenarios::training::{
    Calibration, Checkpoint, Device, Memory, ModelCatalog, Precision, Setup, Step, checkpoint,
};
use serde_json::json;

use crate::{CommandResult, Outcome, output};

#[derive(Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct TrainArgs {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    job: JobArgs,
}

#[derive(Subcommand)]
enum Command {
    /// List the models that are known.
    Models,
}

#[derive(Args)]
struct JobArgs {
    /// A model, such as `llama-3-70b`: `foretell train models` lists them.
    #[arg(long, value_name = "NAME", required = true)]
    model: Option<String>,
    /// GPUs of the job; whole nodes, or a part of one.
    #[arg(long, value_name = "N", required = true, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    gpus: Option<u32>,
    /// A node type of the catalogue.
    #[arg(long, value_name = "NAME", default_value = "dgx-h100")]
    node_type: String,
    /// How it is split: `auto`, or parts such as `ddp`, `fsdp`, `fsdp-hybrid`, `zero1`, `tp8pp4dp16`, `tp8-fsdp`, `ps4-async`.
    #[arg(long, value_name = "TEXT", default_value = "auto")]
    strategy: String,
    /// Sequences or samples that a replica computes at a time. [default: the best that fits]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    micro_batch: Option<u32>,
    /// Sequences or samples of a step. [default: 4 Mi tokens, at least one for each GPU; 64 samples for each GPU]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    global_batch: Option<u32>,
    /// Tokens of a sequence. [default: the model's]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=16_777_216))]
    sequence_length: Option<u32>,
    /// Numbers to compute with. [default: bf16; fp32 for models that are no transformers]
    #[arg(long, value_enum)]
    precision: Option<PrecisionArg>,
    /// What is computed again in the backward pass. [default: what fits and is fastest]
    #[arg(long, value_enum)]
    recompute: Option<RecomputeArg>,
    /// Kernels one by one, as a framework runs them without a compiler.
    #[arg(long)]
    eager: bool,
    /// How the loss over the vocabulary is computed. [default: in-place]
    #[arg(long, value_enum)]
    loss: Option<LossArg>,
    /// Attention that writes its scores.
    #[arg(long)]
    unfused_attention: bool,
    /// Tokens (samples of other models) to train for: the time that takes is told.
    #[arg(long, value_name = "COUNT", conflicts_with = "steps")]
    tokens: Option<f64>,
    /// Steps to train for.
    #[arg(long, value_name = "COUNT")]
    steps: Option<f64>,
    /// Share of the network that it gets beside neighbours.
    #[arg(long, value_name = "SHARE", default_value_t = 1.0)]
    network_share: f64,
    /// A variable of NCCL's environment, such as `NCCL_ALGO=Ring`; repeatable.
    #[arg(long = "env", value_name = "NAME=VALUE")]
    environment: Vec<String>,
    /// Print the configuration that a platform would inject in place of the report.
    #[arg(long, value_enum)]
    emit: Option<Emit>,
    /// Write the report as JSON too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum PrecisionArg {
    Fp32,
    Fp16,
    Bf16,
    Fp8,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum RecomputeArg {
    None,
    Selective,
    Alternate,
    Full,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum LossArg {
    /// Gradients overwrite scores, as in Megatron and fused kernels.
    InPlace,
    /// Operation by operation, as in plain `PyTorch`.
    Eager,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Emit {
    /// The YAML block `fsdp_config`.
    FsdpConfig,
    /// Environment variables of NCCL, one per line.
    NcclEnv,
}

/// Least share of the network that can be asked for.
const LEAST_SHARE: f64 = 0.001;

/// Most tokens or steps that can be asked for.
const MAX_COUNT: f64 = 1e18;

/// Lines of the front that are shown.
const FRONT: usize = 12;

pub(crate) fn run(args: &TrainArgs) -> CommandResult {
    if let Some(Command::Models) = args.command {
        return list_models();
    }
    let args = &args.job;
    let asked = Asked::of(args)?;
    let calibration = Calibration::default();
    let collectives = collectives::Calibration::default();
    let setup = asked.setup(&calibration, &collectives);
    let fixed = Fixed {
        is_split: !is_auto(&args.strategy),
        micro_batch: args.micro_batch,
        recompute: args.recompute.map(RecomputeArg::recompute),
        is_all_or_nothing: args.emit == Some(Emit::FsdpConfig),
    };
    asked.check(fixed)?;
    let found = plans(&setup, fixed);
    let Some(best) = found.first() else {
        return does_not_fit(&asked, &setup, fixed);
    };
    match args.emit {
        Some(Emit::FsdpConfig) => output::print(&emit::fsdp_config(best)?)?,
        Some(Emit::NcclEnv) => output::print(&emit::nccl_environment(&asked, &best.plan)?)?,
        None => {
            output::print(&report(args, &asked, best))?;
            if !fixed.is_split {
                output::print(&front(&found))?;
            }
        }
    }
    if let Some(path) = &args.json {
        let text = serde_json::to_string_pretty(&to_json(args, &asked, best, &found))?;
        std::fs::write(path, text + "\n")
            .map_err(|error| format!("failed to write {}: {error}", path.display()))?;
    }
    Ok(Outcome::Success)
}

/// What was asked for, found in the catalogues.
struct Asked {
    model: &'static Model,
    device: Device,
    machine: Machine,
    ranks: Ranks,
    /// Without the split if that is searched.
    plan: Plan,
    environment: Environment,
    network_share: f64,
}

impl Asked {
    fn of(args: &JobArgs) -> Result<Self, Box<dyn std::error::Error>> {
        let (name, gpus) = (args.model.as_deref().unwrap_or_default(), args.gpus.unwrap_or(1));
        let model = ModelCatalog::builtin().get(name).ok_or_else(|| {
            format!("unknown model `{name}`: `foretell train models` lists those that are known")
        })?;
        let (node, device, machine) = node(&args.node_type)?;
        let ranks = if gpus <= machine.gpus {
            Ranks { per_node: gpus, nodes: 1 }
        } else if gpus.is_multiple_of(machine.gpus) {
            Ranks { per_node: machine.gpus, nodes: gpus / machine.gpus }
        } else {
            let (name, count) = (&node.name, machine.gpus);
            return Err(format!(
                "--gpus {gpus}: expected whole nodes of {count} GPUs ({name}), or a part of one"
            )
            .into());
        };
        if !(LEAST_SHARE..=1.0).contains(&args.network_share) {
            let got = args.network_share;
            return Err(format!("--network-share: expected from {LEAST_SHARE} to 1, got {got:e}").into());
        }
        for (name, count) in [("--tokens", args.tokens), ("--steps", args.steps)] {
            if let Some(count) = count.filter(|&count| !(count > 0.0 && count <= MAX_COUNT)) {
                return Err(format!(
                    "{name}: expected a number above 0 and up to {MAX_COUNT:e}, got {count}"
                )
                .into());
            }
        }
        let mut plan = if is_auto(&args.strategy) {
            Plan::of(gpus, model)
        } else {
            Plan::parse(&args.strategy, gpus, model)?
        };
        if let Some(length) = args.sequence_length {
            plan.sequence_length = length;
        }
        plan.micro_batch = args.micro_batch.unwrap_or(1);
        plan.global_batch = args.global_batch.unwrap_or_else(|| {
            let multiple = gpus.saturating_mul(plan.micro_batch);
            plan.usual_batch(model).div_ceil(multiple).saturating_mul(multiple)
        });
        if let Some(precision) = args.precision {
            plan.precision = precision.precision();
            plan.gradient_bytes = plan.precision.bytes();
        }
        plan.is_fused = !args.eager;
        if args.loss == Some(LossArg::Eager) {
            plan.loss = Loss::Eager;
        }
        if args.unfused_attention {
            plan.attention = Attention::Unfused;
        }
        let environment = Environment::parse(args.environment.iter().map(String::as_str))?;
        environment.check_nics(machine.nics)?;
        Ok(Self { model, device, machine, ranks, plan, environment, network_share: args.network_share })
    }

    fn setup<'a>(
        &'a self,
        calibration: &'a Calibration,
        collectives: &'a collectives::Calibration,
    ) -> Setup<'a> {
        Setup {
            model: self.model,
            device: &self.device,
            machine: &self.machine,
            ranks: self.ranks,
            plan: &self.plan,
            environment: &self.environment,
            calibration,
            collectives,
            network_share: self.network_share,
        }
    }

    /// Says what is wrong with a plan of which nothing is left to be searched but the micro-batch.
    fn check(&self, fixed: Fixed) -> Result<(), Box<dyn std::error::Error>> {
        self.device.peak_flops(self.plan.precision)?;
        if self.ranks.nodes > 1 && (self.machine.nics == 0 || self.machine.network.is_none()) {
            return Err(format!(
                "{} nodes, and no NICs of them are known: expected one node",
                self.ranks.nodes
            )
            .into());
        }
        if fixed.is_split {
            self.plan.check(self.model)?;
        }
        Ok(())
    }
}

fn is_auto(strategy: &str) -> bool {
    strategy.eq_ignore_ascii_case("auto")
}

fn node(name: &str) -> Result<(&'static NodeType, Device, Machine), Box<dyn std::error::Error>> {
    let catalog = Catalog::builtin();
    let usable = |node: &&NodeType| node.machine().is_some() && device(node).is_some();
    let found = catalog.node_type(name).ok_or_else(|| {
        let known: Vec<_> = catalog.node_types().filter(usable).map(|node| node.name.as_str()).collect();
        format!("unknown node type `{name}`: expected one of {}", known.join(", "))
    })?;
    let (Some(device), Some(machine)) = (device(found), found.machine()) else {
        return Err(format!("node type `{name}` has no GPUs whose figures are known").into());
    };
    Ok((found, device, machine))
}

fn device(node: &NodeType) -> Option<Device> {
    Catalog::builtin().gpu(&node.gpus.as_ref()?.model).and_then(Gpu::device)
}

impl PrecisionArg {
    const fn precision(self) -> Precision {
        match self {
            Self::Fp32 => Precision::Fp32,
            Self::Fp16 => Precision::Fp16,
            Self::Bf16 => Precision::Bf16,
            Self::Fp8 => Precision::Fp8,
        }
    }
}

impl RecomputeArg {
    const fn recompute(self) -> Recompute {
        match self {
            Self::None => Recompute::None,
            Self::Selective => Recompute::Selective,
            Self::Alternate => Recompute::Alternate,
            Self::Full => Recompute::Full,
        }
    }
}

fn list_models() -> CommandResult {
    let rows = ModelCatalog::builtin().models().map(|model| {
        let shape = match &model.kind {
            Kind::Transformer(one) => format!(
                "{} layers of {}{}",
                one.layers,
                one.width,
                one.experts.map_or_else(String::new, |experts| {
                    format!(", {} of {} experts", experts.active, experts.count)
                })
            ),
            Kind::Layered(one) => format!("{} blocks", one.blocks.len()),
        };
        vec![
            model.name.clone(),
            count(model.parameters()),
            count(model.active_parameters()),
            shape,
            model.source.clone(),
        ]
    });
    let titles = ["model", "parameters", "active", "made of", "source"];
    output::print(&foretell_reports::plain_table(titles, rows, &[1, 2], output::width()))?;
    Ok(Outcome::Success)
}

/// A large number in words: 70.6 B.
fn count(value: f64) -> String {
    for (size, letter) in [(1e12, " T"), (1e9, " B"), (1e6, " M"), (1e3, " k")] {
        if value >= size {
            return format!("{:.1}{letter}", value / size);
        }
    }
    format!("{value:.0}")
}

/// Seconds in words.
fn duration(seconds: f64) -> String {
    match seconds {
        172_800.0.. => format!("{:.1} days", seconds / 86_400.0),
        7_200.0.. => format!("{:.1} hours", seconds / 3600.0),
        120.0.. => format!("{:.1} minutes", seconds / 60.0),
        _ => format!("{seconds:.3} s"),
    }
}

fn heading(asked: &Asked, plan: &Plan) -> String {
    let Ranks { per_node, nodes } = asked.ranks;
    let network = asked.machine.network.map_or("none", Network::name);
    let (what, length) = match asked.model.kind {
        Kind::Transformer(_) => ("sequences", format!(" of {} tokens", plan.sequence_length)),
        Kind::Layered(_) => ("samples", String::new()),
    };
    format!(
        "{} ({} parameters) on {nodes} node{} of {per_node} {} ({}), {} NICs of {} Gbit/s ({network})\n\
         {plan}: global batch {} {what}{length}, micro-batch {}, {}, recompute {}",
        asked.model.name,
        count(asked.model.parameters()),
        if nodes == 1 { "" } else { "s" },
        asked.device.name,
        asked.machine.interconnect.name(),
        asked.machine.nics,
        asked.machine.nic_gb_per_s * 8.0,
        plan.global_batch,
        plan.micro_batch,
        plan.precision.name(),
        plan.recompute.name(),
    )
}

fn report(args: &JobArgs, asked: &Asked, best: &Found) -> String {
    let Found { plan, step, memory } = best;
    let is_transformer = matches!(asked.model.kind, Kind::Transformer(_));
    // Fewer operations are done than are counted.
    let has_quicker = match &asked.model.kind {
        Kind::Transformer(_) => false,
        Kind::Layered(model) => model.blocks.iter().any(|block| block.three_by_three_flops > 0.0),
    };
    let is_quicker = has_quicker && plan.precision == Precision::Fp32;
    let counted = if is_quicker { ", counted as direct convolutions" } else { "" };
    let rate = if is_transformer { "tokens/s/GPU" } else { "samples/s/GPU" };
    let mut text = format!("{}\n\n", heading(asked, plan));
    // Writing to a text does not fail.
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "{name:<22}{value}");
    };
    line("step", duration(step.time_s));
    if step.squeezed > 0.0 {
        line("memory is short", "gathering waits for the allocator, not for the network".to_owned());
    }
    line(rate, format!("{:.1}", step.tokens_per_s_per_gpu));
    line(
        "MFU",
        format!(
            "{:.1} %   (HFU {:.1} %, {:.0} TFLOP/s{counted})",
            step.mfu * 100.0,
            step.hfu * 100.0,
            step.flops_per_gpu / 1e12
        ),
    );
    if let Some(seconds) = time_to_train(args, asked, step) {
        let what = match (args.tokens, args.steps) {
            (Some(tokens), _) => {
                format!("{} {}", count(tokens), if is_transformer { "tokens" } else { "samples" })
            }
            (None, steps) => format!("{} steps", count(steps.unwrap_or(0.0))),
        };
        line("time to train", format!("{}   ({what}, without failures)", duration(seconds)));
    }
    let Checkpoint { bytes, writers } = checkpoint(asked.model, plan, asked.ranks.per_node);
    let parts = if writers == 1 { "whole".to_owned() } else { format!("in {writers} parts") };
    line("checkpoint", format!("{:.1} GB, {parts}", bytes / 1e9));
    text.push('\n');
    let share = |seconds: f64| format!("{:.1}", 100.0 * seconds / step.time_s);
    let parts = [
        ("compute", step.compute_s - step.recompute_s),
        ("compute again", step.recompute_s),
        ("tensor, context, expert collectives", step.inner_s),
        ("data-parallel collectives, exposed", step.data_s),
        ("pipeline: waiting and sending", step.pipeline_s),
        ("optimizer and once a step", step.optimizer_s),
    ];
    let rows = parts
        .into_iter()
        .filter(|&(_, seconds)| seconds > 0.0)
        .map(|(name, seconds)| vec![name.to_owned(), format!("{:.1}", seconds * 1e3), share(seconds)]);
    text.push_str(&foretell_reports::plain_table(["a step", "ms", "%"], rows, &[1, 2], output::width()));
    text.push('\n');
    text.push_str(&memory_table(memory, &asked.device));
    text
}

fn memory_table(memory: &Memory, device: &Device) -> String {
    let gib = |bytes: f64| format!("{:.1}", bytes / GIB);
    let mut rows: Vec<Vec<String>> = memory
        .parts()
        .into_iter()
        .filter(|&(_, bytes)| bytes > 0.0)
        .map(|(name, bytes)| vec![name.to_owned(), gib(bytes)])
        .collect();
    rows.push(vec!["all".to_owned(), gib(memory.total())]);
    rows.push(vec![format!("usable of {}", gib(device.memory_bytes)), gib(capacity(device))]);
    foretell_reports::plain_table(["memory of the fullest GPU", "GiB"], rows, &[1], output::width())
}

fn time_to_train(args: &JobArgs, asked: &Asked, step: &Step) -> Option<f64> {
    let gpus = f64::from(asked.ranks.count());
    match (args.tokens, args.steps) {
        (Some(tokens), _) => Some(tokens / (step.tokens_per_s_per_gpu * gpus)),
        (None, Some(steps)) => Some(steps * step.time_s),
        (None, None) => None,
    }
}

/// Plans that none is both faster and smaller than.
fn front(found: &[Found]) -> String {
    let front = pareto(found);
    let rows = front.iter().take(FRONT).map(|one| {
        vec![
            one.plan.to_string(),
            one.plan.micro_batch.to_string(),
            one.plan.recompute.name().to_owned(),
            format!("{:.3}", one.step.time_s),
            format!("{:.1}", one.step.mfu * 100.0),
            format!("{:.1}", one.memory.total() / GIB),
        ]
    });
    let titles = ["plan", "micro-batch", "recompute", "step s", "MFU %", "GiB"];
    let table = foretell_reports::plain_table(titles, rows, &[1, 3, 4, 5], output::width());
    format!("\nOf {} plans that fit, those that none is both faster and smaller than:\n{table}", found.len())
}

/// Says what a job would need at least that fits nowhere, and what would make it fit.
fn does_not_fit(asked: &Asked, setup: &Setup<'_>, fixed: Fixed) -> CommandResult {
    let (plan, held) = least(setup, fixed)?;
    let setup = Setup { plan: &plan, ..*setup };
    let text = format!(
        "{}\n\nout of memory: at least {:.1} GiB on a GPU of which {:.1} GiB are usable\n\n{}",
        heading(asked, &plan),
        held.total() / GIB,
        capacity(&asked.device) / GIB,
        memory_table(&held, &asked.device)
    );
    output::print(&text)?;
    let advice = if fixed.is_split { advice(&setup) } else { Vec::new() };
    if !advice.is_empty() {
        output::print(&format!("what makes it fit:\n  - {}", advice.join("\n  - ")))?;
    } else if fixed.is_split {
        output::print("no one change makes it fit: try `--strategy auto`, or more GPUs")?;
    } else {
        output::print("no plan fits: it takes more GPUs, or GPUs with more memory")?;
    }
    Ok(Outcome::CheckFailed)
}

fn to_json(args: &JobArgs, asked: &Asked, best: &Found, found: &[Found]) -> serde_json::Value {
    let one = |found: &Found| {
        let Found { plan, step, memory } = found;
        json!({
            "plan": plan.to_string(),
            "micro_batch": plan.micro_batch,
            "global_batch": plan.global_batch,
            "sequence_length": plan.sequence_length,
            "precision": plan.precision.name(),
            "recompute": plan.recompute.name(),
            "step_s": step.time_s,
            "samples_per_s": step.samples_per_s,
            "tokens_per_s_per_gpu": step.tokens_per_s_per_gpu,
            "mfu": step.mfu,
            "hfu": step.hfu,
            "compute_s": step.compute_s,
            "recompute_s": step.recompute_s,
            "inner_collectives_s": step.inner_s,
            "exposed_data_parallel_s": step.data_s,
            "pipeline_s": step.pipeline_s,
            "optimizer_s": step.optimizer_s,
            "memory_bytes": memory.total(),
            "squeezed": step.squeezed,
        })
    };
    json!({
        "model": asked.model.name,
        "gpus": asked.ranks.count(),
        "node_type": args.node_type,
        "best": one(best),
        "time_to_train_s": time_to_train(args, asked, &best.step),
        "pareto": pareto(found).into_iter().map(one).collect::<Vec<_>>(),
    })
}
