//! `foretell nccl`: how long NCCL's collectives take on a machine, as nccl-tests would print it, and what to set for them.

use clap::{Args, Subcommand};
use foretell_scenarios::catalog::Catalog;
use foretell_scenarios::fabric::collectives::{
    Calibration, Choice, Collective, Environment, EstimateError, VARIABLES, Variable, choose, tune,
    tune_paths,
};
use foretell_scenarios::fabric::contention::{Neighbours, Placement, Shared, Spread};
use foretell_scenarios::fabric::hardware::{Gpu, Interconnect, Machine, Network, Ranks};
use foretell_scenarios::fabric::network::{
    Attachment, LinkTier, NetworkSpec, Routing, Shape, Uplinks, Width,
};
use foretell_scenarios::fabric::node::{NodeGraph, PeerAccess};

use crate::{CommandResult, Outcome, output};

#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct NcclArgs {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    machine: MachineArgs,
    /// The sizes in bytes, from the least to the largest, each twice the one before. They count as those of nccl-tests: all-gather,
    /// reduce-scatter and alltoall the data of all ranks together.
    #[arg(long, value_name = "FROM..TO", default_value = "8..8G")]
    sizes: String,
    /// A variable of NCCL's, such as `NCCL_ALGO=Ring`; may be given several times.
    #[arg(long = "env", value_name = "NAME=VALUE")]
    environment: Vec<String>,
    /// Say what NCCL chose from, and which link binds.
    #[arg(long)]
    explain: bool,
    #[command(flatten)]
    contention: ContentionArgs,
}

#[derive(Args)]
struct ContentionArgs {
    /// Run so many equal jobs at once, on a leaf-spine network of their nodes, and print what each gets beside the others.
    #[arg(long, value_name = "JOBS", value_parser = clap::value_parser!(u32).range(2..=10_000))]
    contend: Option<u32>,
    /// Nodes on a leaf.
    #[arg(long, value_name = "N", default_value_t = 16, requires = "contend", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    nodes_per_leaf: u32,
    /// What comes into a leaf from below over what goes up.
    #[arg(long, value_name = "RATIO", default_value_t = 1.0, requires = "contend")]
    oversubscription: f64,
    /// Hang NIC i of all nodes of a unit of leaves on leaf i.
    #[arg(long, requires = "contend")]
    rails: bool,
    /// Let jobs share nodes: beside the GPUs of `--gpus-of-node` further jobs have as many of the others, in order.
    #[arg(long, requires_all = ["contend", "gpus_of_node"])]
    share_nodes: bool,
    /// Deal the nodes out to the jobs like cards, rather than in a row for each.
    #[arg(long, requires = "contend")]
    dealt: bool,
    /// Choose ways by a hash of so many queue pairs for each flow, rather than by free links; `NCCL_IB_QPS_PER_CONNECTION` gives each so
    /// many times as many.
    #[arg(long, value_name = "N", requires = "contend", value_parser = clap::value_parser!(u32).range(1..=128))]
    queue_pairs: Option<u32>,
    /// The seed of the hash.
    #[arg(long, value_name = "N", default_value_t = 42, requires = "contend")]
    seed: u64,
}

impl ContentionArgs {
    /// The network of so many nodes.
    fn network(&self, machine: &Machine, nodes: u32) -> NetworkSpec {
        let attachment = if self.rails {
            Attachment::ByRail { nodes_per_unit: self.nodes_per_leaf }
        } else {
            Attachment::ByNode { nodes_per_leaf: self.nodes_per_leaf }
        };
        // With a hash each cable is a way of its own; without, those to one spine are as one.
        let per_spine = if self.rails { 1.0 } else { f64::from(machine.nics) };
        let width = match self.queue_pairs {
            None => Width::Oversubscription(self.oversubscription),
            Some(_) => Width::Cables {
                parallel: ((per_spine / self.oversubscription).round() as u32).max(1),
                gb_per_s: machine.nic_gb_per_s,
            },
        };
        NetworkSpec {
            nodes,
            nics_per_node: machine.nics,
            nic_gb_per_s: machine.nic_gb_per_s,
            shape: Shape::LeafSpine { attachment, spines: Uplinks { switches: self.nodes_per_leaf, width } },
        }
    }
}

#[derive(Subcommand)]
enum Command {
    /// Recommend environment variables for a machine and a placement, and say why.
    Tune(MachineArgs),
    /// List the environment variables that are known here, and what they do.
    Variables,
}

#[derive(Args)]
struct MachineArgs {
    /// A node type of the catalogue, such as `dgx-a100`.
    #[arg(long, value_name = "NAME", required_unless_present = "gpu")]
    node_type: Option<String>,
    /// Number of nodes.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    nodes: u32,
    /// Ranks on each node, one for a GPU. [default: all GPUs of the node]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    gpus_per_node: Option<u32>,
    /// The collective: `all_reduce`, `all_gather`, `reduce_scatter`, `alltoall`, `broadcast`, `reduce`, `sendrecv`.
    #[arg(long, value_name = "NAME", default_value = "all_reduce")]
    collective: String,
    /// Particular GPUs of each node, such as `0,3`, as if there were no others; needs `--node-type`.
    #[arg(
        long,
        value_name = "LIST",
        value_delimiter = ',',
        requires = "node_type",
        conflicts_with_all = ["gpus_per_node", "gpu", "gpus", "interconnect"]
    )]
    gpus_of_node: Vec<u32>,
    /// Another GPU than the node type's, such as `H100-SXM5` or `A100-PCIE`.
    #[arg(long, value_name = "NAME")]
    gpu: Option<String>,
    /// Another number of GPUs on a node. [default: 8 without a node type]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    gpus: Option<u32>,
    /// Another interconnect: `nvswitch`, `nvlink-mesh`, `nvlink-bridge`, `nvl72`, `pcie-switch`, `pcie-host`, `pcie-host-p2p`,
    /// `pcie-cross-socket`.
    #[arg(long, value_name = "NAME")]
    interconnect: Option<String>,
    /// Another number of NICs on a node.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=256))]
    nics: Option<u32>,
    /// Another rate of each NIC, 10^9 bits per second.
    #[arg(long, value_name = "RATE")]
    nic_gbps: Option<f64>,
    /// Another network: `infiniband`, `infiniband-sharp`, `roce`, `efa`, `tcp`, `tcpx`, `tcpxo`, `slingshot`.
    #[arg(long, value_name = "NAME")]
    network: Option<String>,
}

/// No card is as fast, 10^9 bits per second.
const MAX_NIC_GBPS: f64 = 1e6;

/// Largest size: 2^50 bytes are more than all memory that ranks have.
const MAX_BYTES: u64 = 1 << 50;

/// Leaves with more cables than this asks for are not built, and cost memory.
const LEAST_OVERSUBSCRIPTION: f64 = 0.1;

/// NICs of all jobs that run at once: every one is a link of the network.
const MAX_NICS: u64 = 1_000_000;

pub(crate) fn run(args: &NcclArgs) -> CommandResult {
    match &args.command {
        Some(Command::Tune(machine)) => run_tune(machine),
        Some(Command::Variables) => {
            let line = |variable: &Variable| {
                format!("  {:<28}{}\n  {:<28}  {}\n", variable.name, variable.does, "", variable.takes)
            };
            output::print(VARIABLES.iter().map(line).collect::<String>().trim_end())?;
            Ok(Outcome::Success)
        }
        None => run_table(args),
    }
}

fn run_table(args: &NcclArgs) -> CommandResult {
    let Asked { machine, ranks, collective, graph } = asked(&args.machine)?;
    let environment = Environment::parse(args.environment.iter().map(String::as_str))?;
    environment.check_nics(machine.nics)?;
    let sizes = sizes(&args.sizes)?;
    let choices: Vec<(u64, Choice)> = sizes
        .into_iter()
        .map(|bytes| Ok((bytes, choose(&machine, ranks, collective, bytes, &environment)?)))
        .collect::<Result<_, EstimateError>>()?;
    let heading = heading(&machine, ranks, collective);
    let printed = match args.contention.contend {
        None => alone(&choices),
        Some(jobs) => {
            let parts = if args.contention.share_nodes { parts(&args.machine)? } else { Vec::new() };
            beside(&args.contention, jobs, &choices, &environment.applied_to(&machine), &parts, &environment)?
        }
    };
    output::print(&format!("{heading}\n{printed}"))?;
    for variable in environment.without_effect() {
        output::print(&format!("{variable} changes no time here"))?;
    }
    if let Some((bytes, last)) = choices.last().filter(|_| args.explain) {
        output::print(&explanation(*bytes, last))?;
        if let Some(graph) = &graph {
            output::print(&paths(graph, &args.machine.gpus_of_node))?;
        }
    }
    Ok(Outcome::Success)
}

/// The paths of particular GPUs of a node: the worst between two of them, and those to the nearest network cards.
fn paths(graph: &NodeGraph, gpus: &[u32]) -> String {
    let mut lines = Vec::new();
    if let Some(worst) = graph.worst_path(gpus) {
        let access = match worst.ends().and_then(|(from, to)| graph.peer_access(from, to)) {
            Some(PeerAccess::HostMemory) => ", by host memory",
            Some(PeerAccess::Direct) | None => "",
        };
        lines.push(format!(
            "\nThe path that binds inside the node ({}{access}):\n  {worst}",
            worst.kind.name()
        ));
    }
    let cards: Vec<String> = gpus
        .iter()
        .flat_map(|&gpu| graph.nearest_nics(gpu).into_iter().map(move |nic| (gpu, nic)))
        .filter_map(|(gpu, nic)| {
            let path = graph.nic_path(gpu, nic, false)?;
            let direct = if graph.has_gpu_direct(gpu, nic)? { "" } else { ", by host memory" };
            Some(format!("\n  {path} ({}{direct})", path.kind.name()))
        })
        .collect();
    if !cards.is_empty() {
        lines.push(format!("\nThe nearest network cards:{}", cards.concat()));
    }
    lines.join("\n")
}

/// What a job takes that has the links to itself.
fn alone(choices: &[(u64, Choice)]) -> String {
    let calibration = Calibration::default();
    let rows = choices.iter().map(|(bytes, choice)| {
        let estimate = choice.estimate(&calibration);
        vec![
            bytes.to_string(),
            figure(estimate.time_us),
            figure(estimate.algorithm_gb_per_s),
            figure(estimate.bus_gb_per_s),
            estimate.algorithm.map_or("p2p", |algorithm| algorithm.name()).to_owned(),
            estimate.protocol.name().to_owned(),
        ]
    });
    let titles = ["size\nB", "time\nus", "algbw\nGB/s", "busbw\nGB/s", "algorithm", "protocol"];
    foretell_reports::plain_table(titles, rows, &[0, 1, 2, 3], output::width())
}

/// What each of several jobs gets beside the others.
fn beside(
    args: &ContentionArgs,
    jobs: u32,
    choices: &[(u64, Choice)],
    machine: &Machine,
    parts: &[Part],
    environment: &Environment,
) -> Result<String, Box<dyn std::error::Error>> {
    if !(LEAST_OVERSUBSCRIPTION..=1e6).contains(&args.oversubscription) {
        let got = args.oversubscription;
        return Err(format!(
            "--oversubscription: expected a number from {LEAST_OVERSUBSCRIPTION} to 1000000, got {got}"
        )
        .into());
    }
    if machine.interconnect == Interconnect::Nvl72 {
        return Err("--contend: racks of NVLink are not modelled beside each other".into());
    }
    let spread = if args.dealt { Spread::Dealt } else { Spread::Packed };
    let routing = match args.queue_pairs {
        Some(queue_pairs) => {
            let queue_pairs = queue_pairs * environment.queue_pairs().unwrap_or(1);
            Routing::Ecmp { seed: args.seed, queue_pairs }
        }
        None => Routing::Adaptive,
    };
    let Some((_, first)) = choices.first() else { return Ok(String::new()) };
    let ranks = first.ranks();
    let on_nodes = u32::try_from(parts.len()).unwrap_or(u32::MAX).max(1);
    // Jobs in turn on the parts of the same nodes.
    let groups = jobs.div_ceil(on_nodes);
    let nodes = u64::from(ranks.nodes) * u64::from(groups);
    let mut node = machine.clone();
    if let Some(part) = parts.first() {
        if part.rails.len() != machine.nics as usize {
            return Err("--share-nodes: a choice of NICs by the environment is not modelled with it".into());
        }
        node.nics = part.nics_of_node;
    }
    let nics = nodes * u64::from(node.nics);
    if nics > MAX_NICS {
        return Err(format!("--contend: {nics} NICs of all jobs, expected at most {MAX_NICS}").into());
    }
    let spec = args.network(&node, nodes as u32);
    let neighbours = if parts.is_empty() {
        Neighbours::new(ranks, first.collective(), jobs, &spec, spread, routing, environment)?
    } else {
        let placement = |job: u32| {
            let group = job / on_nodes;
            let node = |index: u32| match spread {
                Spread::Packed => group * ranks.nodes + index,
                Spread::Dealt => index * groups + group,
            };
            let rails = parts[(job % on_nodes) as usize].rails.clone();
            Placement { nodes: (0..ranks.nodes).map(node).collect(), rails }
        };
        let placements: Vec<Placement> = (0..jobs).map(placement).collect();
        Neighbours::placed(ranks, first.collective(), &placements, &spec, routing, environment)?
    };
    let mut rows = Vec::new();
    for (bytes, choice) in choices {
        let Shared { estimate, alone, full } = neighbours.share(choice, &Calibration::default())?;
        let full: Vec<&str> = full.into_iter().map(LinkTier::describe).collect();
        rows.push(vec![
            bytes.to_string(),
            figure(alone.time_us),
            figure(estimate.time_us),
            figure(alone.bus_gb_per_s),
            figure(estimate.bus_gb_per_s),
            format!("{:.2}", estimate.time_us / alone.time_us),
            if full.is_empty() { "-".to_owned() } else { full.join(", ") },
        ]);
    }
    let titles = [
        "size\nB",
        "alone\nus",
        "beside others\nus",
        "alone\nbusbw GB/s",
        "beside others\nbusbw GB/s",
        "times\nas long",
        "full links",
    ];
    let placed = match (args.dealt, on_nodes) {
        (true, 1) => "dealt out over the leaves".to_owned(),
        (false, 1) => "in a row".to_owned(),
        (true, _) => format!("up to {on_nodes} on a node, dealt out over the leaves"),
        (false, _) => format!("up to {on_nodes} on a node, in a row"),
    };
    let table = foretell_reports::plain_table(titles, rows, &[0, 1, 2, 3, 4, 5], output::width());
    Ok(format!(
        "{jobs} such jobs at once, {placed}; leaves of {} nodes, oversubscribed {}:1\n\n{table}",
        args.nodes_per_leaf, args.oversubscription
    ))
}

/// GPUs of a node that one job has.
struct Part {
    /// The NICs nearest to them.
    rails: Vec<u32>,
    /// NICs of the whole node.
    nics_of_node: u32,
}

/// The parts of a node of equal jobs: the GPUs that were named, then as many of the others, in order.
fn parts(args: &MachineArgs) -> Result<Vec<Part>, Box<dyn std::error::Error>> {
    let unknown = || "--share-nodes: expected a node type whose links the catalogue gives";
    let name = args.node_type.as_deref().unwrap_or_default();
    let node_type = Catalog::builtin().node_type(name).ok_or_else(unknown)?;
    let graph = node_type.graph().ok_or_else(unknown)?;
    let first = node_type.machine_of(&args.gpus_of_node)?;
    let others: Vec<u32> = (0..graph.gpus()).filter(|gpu| !args.gpus_of_node.contains(gpu)).collect();
    let mut parts = Vec::new();
    for gpus in std::iter::once(&args.gpus_of_node[..]).chain(others.chunks_exact(args.gpus_of_node.len())) {
        if node_type.machine_of(gpus)? != first {
            let gpus: Vec<String> = gpus.iter().map(u32::to_string).collect();
            return Err(format!(
                "--share-nodes: GPUs {} of `{name}` are not joined as those of the first job",
                gpus.join(",")
            )
            .into());
        }
        let mut rails: Vec<u32> = gpus.iter().flat_map(|&gpu| graph.nearest_nics(gpu)).collect();
        rails.sort_unstable();
        rails.dedup();
        parts.push(Part { rails, nics_of_node: graph.nics() });
    }
    Ok(parts)
}

/// A figure with as many decimals as it needs.
fn figure(value: f64) -> String {
    if value < 10.0 { format!("{value:.2}") } else { format!("{value:.1}") }
}

fn run_tune(args: &MachineArgs) -> CommandResult {
    let Asked { machine, ranks, collective, graph } = asked(args)?;
    let mut advice = tune(&machine, ranks, collective, &Calibration::default())?;
    if let Some(graph) = &graph {
        // What its paths ask for is more than what its class does.
        let of_paths = tune_paths(graph, &args.gpus_of_node, ranks.nodes);
        advice.retain(|known| of_paths.iter().all(|other| other.variable != known.variable));
        advice.extend(of_paths);
    }
    output::print(&heading(&machine, ranks, collective))?;
    if advice.is_empty() {
        output::print("nothing to set: NCCL's own choices are the best known here")?;
    }
    for advice in advice {
        output::print(&format!("{}={}\n    {}", advice.variable, advice.value, advice.reason))?;
    }
    Ok(Outcome::Success)
}

struct Asked {
    machine: Machine,
    ranks: Ranks,
    collective: Collective,
    /// The inside of the node, where particular GPUs were asked for.
    graph: Option<NodeGraph>,
}

fn asked(args: &MachineArgs) -> Result<Asked, Box<dyn std::error::Error>> {
    let mut graph = None;
    let mut machine = match &args.node_type {
        Some(name) => {
            let catalog = Catalog::builtin();
            let Some(found) = catalog.node_type(name) else {
                let known = catalog.node_types().filter(|node| node.machine().is_some());
                let known: Vec<_> = known.map(|node| node.name.as_str()).collect();
                return Err(
                    format!("unknown node type `{name}`: expected one of {}", known.join(", ")).into()
                );
            };
            if args.gpus_of_node.is_empty() {
                found.machine().ok_or_else(|| {
                    format!(
                        "node type `{name}` has no GPUs that NCCL's model knows: expected `--gpu` to name them"
                    )
                })?
            } else {
                graph = found.graph();
                found.machine_of(&args.gpus_of_node).map_err(|error| format!("--gpus-of-node: {error}"))?
            }
        }
        None => Machine {
            gpu: gpu(args.gpu.as_deref().unwrap_or_default())?,
            gpus: 8,
            interconnect: Interconnect::NvSwitch,
            nics: 0,
            nic_gb_per_s: 0.0,
            network: None,
            cpu: None,
        },
    };
    if let Some(name) = &args.gpu {
        machine.gpu = gpu(name)?;
    }
    if args.node_type.is_none() && machine.gpu.nvlink_gb_per_s <= 0.0 {
        machine.interconnect = Interconnect::PcieHost;
    }
    machine.gpus = args.gpus.unwrap_or(machine.gpus);
    if let Some(name) = &args.interconnect {
        machine.interconnect = name.parse()?;
    }
    if machine.interconnect.is_nvlink() && machine.gpu.nvlink_gb_per_s <= 0.0 {
        return Err(format!("{} has no NVLink: expected an interconnect by PCIe", machine.gpu.name).into());
    }
    machine.nics = args.nics.unwrap_or(machine.nics);
    if let Some(rate) = args.nic_gbps {
        if !(rate > 0.0 && rate <= MAX_NIC_GBPS) {
            return Err(
                format!("--nic-gbps: expected a number above 0, at most {MAX_NIC_GBPS}, got {rate}").into()
            );
        }
        machine.nic_gb_per_s = rate / 8.0;
    }
    if let Some(name) = &args.network {
        machine.network = Some(name.parse::<Network>()?);
    }
    if args.nodes > 1 && machine.nics > 0 && machine.nic_gb_per_s <= 0.0 {
        return Err("--nics: expected --nic-gbps with it".into());
    }
    if args.nodes > 1 && machine.network.is_none() && machine.nics > 0 {
        return Err("what the NICs are on is not known: expected --network NAME".into());
    }
    let ranks = Ranks { per_node: args.gpus_per_node.unwrap_or(machine.gpus), nodes: args.nodes };
    if ranks.by_domain(machine.interconnect).nodes > 1 && machine.nics == 0 {
        return Err("several nodes, and no NICs: expected --nics, --nic-gbps and --network".into());
    }
    Ok(Asked { machine, ranks, collective: args.collective.parse()?, graph })
}

fn gpu(name: &str) -> Result<Gpu, String> {
    Gpu::named(name).ok_or_else(|| {
        format!("unknown GPU `{name}`: expected a name such as A100-SXM4, H100-PCIE, B200, L40S")
    })
}

fn heading(machine: &Machine, ranks: Ranks, collective: Collective) -> String {
    let network = machine.network.map_or("none", Network::name);
    let nics = if machine.nics == 0 {
        "no NICs".to_owned()
    } else {
        format!("{} NICs of {} Gbit/s ({network})", machine.nics, machine.nic_gb_per_s * 8.0)
    };
    format!(
        "{collective}, {} ranks: {} node{} of {} {} ({}), {nics}\n",
        ranks.count(),
        ranks.nodes,
        if ranks.nodes == 1 { "" } else { "s" },
        ranks.per_node,
        machine.gpu.name,
        machine.interconnect.name(),
    )
}

/// What NCCL chose from at a size, and what binds what it chose.
fn explanation(bytes: u64, choice: &Choice) -> String {
    let (chosen, channels) = (choice.estimate(&Calibration::default()), choice.channels());
    let mut text = format!(
        "\nAt {bytes} B: bound by {}.\n{} channels of {} GB/s; messages without end would have {:.1} GB/s of busbw. Latency {:.1} us.\n",
        chosen.bound.describe(),
        channels.count,
        channels.between_nodes_gb_per_s,
        chosen.limit_gb_per_s,
        chosen.latency_us,
    );
    if !choice.candidates().is_empty() {
        text.push_str("\nWhat NCCL's model reckons (it chooses the first):\n");
    }
    text.extend(choice.candidates().iter().map(|one| {
        let (algorithm, protocol) = (one.algorithm.name(), one.protocol.name());
        format!(
            "  {algorithm:<9}{protocol:<8}{:>14.1} us{:>10.1} GB/s of busbw\n",
            one.reckoned_us, one.bus_gb_per_s
        )
    }));
    text.trim_end().to_owned()
}

/// Sizes from one to another by powers of two: `8..8G`, or one alone.
fn sizes(text: &str) -> Result<Vec<u64>, String> {
    let wrong = || format!("--sizes: expected FROM..TO such as 8..8G, or one size, got `{text}`");
    let (from, to) = text.split_once("..").unwrap_or((text, text));
    let (from, to) = (size(from).ok_or_else(wrong)?, size(to).ok_or_else(wrong)?);
    if from > to {
        return Err(wrong());
    }
    let next = |bytes: &u64| bytes.checked_mul(2).filter(|&next| next <= to);
    Ok(std::iter::successors(Some(from), next).collect())
}

/// Bytes, with K, M, G or T for powers of 1,024 as in nccl-tests.
fn size(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.trim_end_matches(|char: char| char.is_ascii_alphabetic());
    let factor = match text[digits.len()..].to_ascii_uppercase().as_str() {
        "" | "B" => 1,
        "K" | "KIB" | "KB" => 1 << 10,
        "M" | "MIB" | "MB" => 1 << 20,
        "G" | "GIB" | "GB" => 1 << 30,
        "T" | "TIB" | "TB" => 1 << 40,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(factor).filter(|bytes| (1..=MAX_BYTES).contains(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_double() {
        assert_eq!(sizes("8..64").unwrap(), [8, 16, 32, 64]);
        assert_eq!(sizes("1K..3K").unwrap(), [1024, 2048]);
        assert_eq!(sizes("1G").unwrap(), [1 << 30]);
        for bad in ["", "8..", "0..8", "8..4", "8..9X", "2000000T", "-1..8"] {
            assert!(sizes(bad).is_err(), "{bad}");
        }
    }
}
