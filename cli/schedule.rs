//! `foretell schedule`: scheduling cycles over manifests.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use foretell_manifests::admit::{AdmissionCycle, PendingWorkload, Preempted};
use foretell_manifests::schedule::{Cycle, Pending};
use foretell_manifests::{Admissions, Objects, Schedule, admit, cluster, read_config, schedule};
use foretell_scenarios::registry::{self, CycleConfig, PolicyConfig};
use foretell_scenarios::sim::framework::Profile;

use crate::{CommandResult, Outcome, manifests, output};

#[derive(Args)]
pub(crate) struct ScheduleArgs {
    /// Files with Kubernetes objects, folders of such files, or snapshots of KAI-Scheduler (ZIP archives).
    #[arg(long, value_name = "PATH", num_args = 1.., required = true)]
    manifests: Vec<PathBuf>,
    /// A `volcano-scheduler.conf` or `KubeSchedulerConfiguration`, plain or in a `ConfigMap`.
    #[arg(long, value_name = "FILE", conflicts_with = "policy")]
    config: Option<PathBuf>,
    /// A policy by name (see `foretell policy list`).
    #[arg(long, value_name = "NAME", default_value = "default")]
    policy: String,
    /// Number of scheduling cycles. Between them bound pods start and evicted pods leave.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    cycles: u32,
    /// How to print the decisions.
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: Format,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    /// For a person.
    Table,
    /// The objects that a scheduler would write: bindings, evictions, status of pods.
    Yaml,
    /// One record.
    Json,
}

pub(crate) fn run(args: &ScheduleArgs) -> CommandResult {
    let objects = manifests::read(&args.manifests)?;
    if let Some(rules) = registry::kueue_rules(&args.policy)
        && args.config.is_none()
        && !objects.cluster_queues.is_empty()
    {
        return print_admissions(args, &objects, &rules);
    }
    let (mut profile, mut warnings) = profile(args, &objects)?;
    let mut cluster = cluster(&objects)?;
    warnings.append(&mut cluster.warnings);
    for warning in &warnings {
        output::print_warning(warning);
    }
    let nodes = cluster.state.nodes().len();
    let result = schedule(&mut cluster, &mut profile, args.cycles);
    match args.format {
        Format::Table => output::print(table(&result, nodes, &profile.name).trim_end())?,
        Format::Yaml => output::print(result.to_yaml().trim_end())?,
        Format::Json => output::print(&serde_json::to_string_pretty(&result)?)?,
    }
    Ok(Outcome::Success)
}

/// What Kueue would let in: where there are cluster queues, that comes before any placement.
fn print_admissions(args: &ScheduleArgs, objects: &Objects, rules: &CycleConfig) -> CommandResult {
    for warning in objects.unread() {
        output::print_warning(&warning);
    }
    let result = admit(objects, rules, args.cycles)?;
    match args.format {
        Format::Table => output::print(admissions_table(&result, objects, &args.policy).trim_end())?,
        Format::Yaml => output::print(result.to_yaml().trim_end())?,
        Format::Json => output::print(&serde_json::to_string_pretty(&result)?)?,
    }
    Ok(Outcome::Success)
}

fn admissions_table(result: &Admissions, objects: &Objects, policy: &str) -> String {
    let queues = match objects.cluster_queues.len() {
        1 => "1 cluster queue".to_owned(),
        count => format!("{count} cluster queues"),
    };
    let mut text = format!(" Policy {policy} on {queues}\n");
    for (index, AdmissionCycle { admitted, preempted }) in result.cycles.iter().enumerate() {
        let counts = [(admitted.len(), "admitted"), (preempted.len(), "preempted")];
        text.push_str(&heading(index, &counts));
        let rows = admitted.iter().flat_map(|workload| {
            workload.pod_sets.iter().map(|set| {
                let flavors = set.flavors.iter().map(|(resource, flavor)| format!("{resource}: {flavor}"));
                let flavors: Vec<_> = flavors.collect();
                let domains = set.domains.iter().map(|(domain, pods)| format!("{domain}: {pods}"));
                let domains: Vec<_> = domains.collect();
                let pods = format!("{} {}", set.count, set.name);
                let (name, queue) = (workload.workload.clone(), workload.queue.clone());
                vec![name, queue, pods, flavors.join(", "), domains.join(", ")]
            })
        });
        let header = ["Workload", "admitted by", "pods", "flavors", "domains"];
        section(&mut text, header, rows.collect());
        let rows = preempted.iter().map(|workload| {
            let Preempted { workload, queue, reason, beneficiary } = workload.clone();
            vec![workload, queue, reason, beneficiary]
        });
        section(&mut text, ["Workload", "leaves", "why", "for"], rows.collect());
    }
    let rows = result.pending.iter().map(|pending| {
        let PendingWorkload { workload, queue, reason } = pending.clone();
        vec![workload, queue, reason]
    });
    section(&mut text, ["Pending workload", "queue", "why it waits"], rows.collect());
    text
}

/// The line above what a cycle decided.
fn heading(index: usize, counts: &[(usize, &str)]) -> String {
    let counts = counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}"));
    let counts: Vec<_> = counts.collect();
    let counts = if counts.is_empty() { "nothing decided".to_owned() } else { counts.join(", ") };
    format!("\n Cycle {}: {counts}\n", index + 1)
}

/// The profile, and what of its configuration is not supported.
fn profile(
    args: &ScheduleArgs,
    objects: &Objects,
) -> Result<(Profile, Vec<String>), Box<dyn std::error::Error>> {
    let Some(path) = &args.config else {
        // A snapshot says how its scheduler was set up.
        let kai = objects.kai_config.clone().unwrap_or_default();
        let config = PolicyConfig { kai, ..PolicyConfig::default() };
        return Ok((registry::build(&args.policy, &config)?, Vec::new()));
    };
    let name = path.display().to_string();
    let (config, mut warnings) = read_config(&manifests::read_file(path)?, &name)?;
    let (profile, more) = config.profile(&name, &PolicyConfig::default())?;
    warnings.extend(more);
    Ok((profile, warnings))
}

fn table(result: &Schedule, nodes: usize, policy: &str) -> String {
    let mut text = format!(" Policy {policy} on {nodes} nodes\n");
    for (index, cycle) in result.cycles.iter().enumerate() {
        let Cycle { binds, evictions, nominations } = cycle;
        let counts = [(binds.len(), "bound"), (evictions.len(), "evicted"), (nominations.len(), "nominated")];
        text.push_str(&heading(index, &counts));
        let bound = binds.iter().map(|bind| {
            let gpus: Vec<_> = bind.gpus.iter().map(ToString::to_string).collect();
            vec![bind.pod.clone(), bind.node.clone(), gpus.join(" ")]
        });
        section(&mut text, ["Pod", "bound to", "GPUs"], bound.collect());
        let evicted = evictions.iter().map(|eviction| {
            let beneficiary = eviction.beneficiary.clone().unwrap_or_default();
            vec![eviction.pod.clone(), eviction.node.clone(), eviction.reason.clone(), beneficiary]
        });
        section(&mut text, ["Pod", "evicted from", "why", "for"], evicted.collect());
        let nominated = nominations.iter().map(|nomination| {
            let node = nomination.node.clone().unwrap_or_else(|| "no longer".to_owned());
            vec![nomination.pod.clone(), node]
        });
        section(&mut text, ["Pod", "nominated to"], nominated.collect());
    }
    let pending = result.pending.iter().map(|pending| {
        let Pending { job, queue, waiting, pods, reason } = pending;
        vec![job.clone(), queue.clone(), format!("{} of {pods}", waiting.len()), reason.clone()]
    });
    section(&mut text, ["Pending job", "queue", "pods", "why it waits"], pending.collect());
    text
}

/// A table with a blank line before it; nothing without rows.
fn section<const N: usize>(text: &mut String, header: [&str; N], rows: Vec<Vec<String>>) {
    if !rows.is_empty() {
        text.push('\n');
        text.push_str(&foretell_reports::plain_table(header, rows, &[], output::width()));
    }
}
