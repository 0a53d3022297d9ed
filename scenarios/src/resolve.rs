//! From what a person wrote to what it means.
//!
//! Problems go into the document under the path of their field, and resolving goes on, so that one reading finds as much
//! as it can.

mod batch;
mod checkpoint;
mod classical;
mod cluster;
mod colocation;
mod communication;
mod fabric;
mod faults;
mod lora;
mod pipeline;
mod queue;
mod reservation;
mod service;
mod swap;
mod workload;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use foretell_manifests::SchedulerConfig;
use foretell_registry::PolicyConfig;
use foretell_sim::platform::WORKER;

use crate::document::Document;
use crate::file::{MetricsFile, OrderingFile, PastUsageFile, RestartStepFile, ScenarioFile, SchedulerFile};
use crate::scenario::{
    Budget, Cycle, Metrics, Ordering, PastUsage, Preemption, Scenario, Scheduler, Timeline,
};
use crate::solver::simplex;
use crate::suggest;

/// What a scenario may refer to outside of its file. The caller reads it; this crate reads no environment.
#[derive(Clone, Copy)]
pub struct Environment<'a> {
    /// The public data folder, which `data:` paths start from; `None` if there is none.
    pub data_dir: Option<&'a Path>,
}

/// Longest span of time in seconds: some three hundred years, which leaves room in 64-bit nanoseconds.
const MAX_SPAN_S: f64 = 1e10;

/// Longest name of a scenario.
const MAX_NAME_BYTES: usize = 100;

struct Resolver<'r, 'd> {
    document: &'r mut Document<'d>,
    base_dir: &'r Path,
    environment: Environment<'r>,
}

/// The scenario that `file` means; problems are recorded in the document, which makes the result meaningless.
pub(crate) fn resolve(
    file: &ScenarioFile,
    document: &mut Document<'_>,
    base_dir: &Path,
    environment: Environment<'_>,
) -> Option<Scenario> {
    let mut resolver = Resolver { document, base_dir, environment };
    resolver.check_name(&file.name);
    let nodes = resolver.nodes(&file.cluster);
    let fabric = resolver.fabric(&file.cluster, &nodes, file.seed);
    let tiers = resolver.tiers(&file.cluster, fabric.as_ref());
    let blocked_nodes = resolver.blocked_nodes(&file.cluster, &nodes);
    let queues = resolver.queues(&file.queue);
    let reservations = resolver.reservations(&file.reservation, &nodes);
    let workload = resolver.workload(file, &nodes, &tiers);
    let services = resolver.services(file, &nodes);
    let classical_services = resolver.classical_services(file, &nodes);
    let pipelines = resolver.pipelines(file);
    let communication = resolver.communication(file.workload.communication.as_ref(), &nodes, fabric.as_ref());
    let colocation = resolver.colocation(file.workload.colocation.as_ref());
    let scheduler = resolver.scheduler(file);
    let preemption = resolver.preemption(file);
    let storage = resolver.storage(file);
    let sizes = file.workload.synthetic.iter().flat_map(|synthetic| &synthetic.sizes).flatten();
    let roles = sizes.flat_map(|size| &size.roles).map(|role| role.name.as_str());
    let mut roles: Vec<&str> = roles.chain([WORKER]).collect();
    roles.sort_unstable();
    roles.dedup();
    let communicates = communication.is_some();
    let faults = resolver.faults(file.faults.as_ref(), &nodes, fabric.as_ref(), communicates, &roles);
    let metrics = resolver.metrics(file);
    let budget = resolver.budget(file);
    Some(Scenario {
        name: file.name.clone(),
        description: file.description.clone(),
        seed: file.seed,
        seeds: file.seeds,
        nodes,
        tiers,
        fabric,
        storage,
        blocked_nodes,
        queues,
        reservations,
        workload: workload?,
        services,
        classical_services,
        pipelines,
        communication,
        colocation,
        queue_nodes: file.workload.queue_nodes,
        scheduler,
        preemption,
        faults,
        metrics,
        budget,
    })
}

impl Resolver<'_, '_> {
    fn problem(&mut self, path: &str, message: impl Into<String>, help: Option<String>) {
        self.document.problem(path, message, help);
    }

    /// A span of time; the schema has seen to it that it is finite and not negative.
    fn span(&mut self, path: &str, seconds: f64) -> Duration {
        if seconds > MAX_SPAN_S {
            self.problem(path, format!("expected at most {MAX_SPAN_S:e} seconds, got {seconds:?}"), None);
        }
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
    }

    /// The file that a path in the scenario means; it must be there.
    fn locate(&mut self, path: &str, text: &str) -> Option<PathBuf> {
        let file = match (text.strip_prefix("data:"), self.environment.data_dir) {
            (None, _) => self.base_dir.join(text),
            (Some(rest), Some(data_dir)) => data_dir.join(rest),
            (Some(_), None) => {
                let help = "set the environment variable FORETELL_DATA to the folder that holds openb/ and philly/, or \
                            put that folder at ../shared/data";
                self.problem(
                    path,
                    "there is no public data folder for `data:` to stand for",
                    Some(help.to_owned()),
                );
                return None;
            }
        };
        if file.is_file() {
            return Some(file);
        }
        let help = if text.starts_with("data:") {
            "`data:` stands for the public data folder, which FORETELL_DATA names".to_owned()
        } else {
            "paths start from the folder of the scenario file".to_owned()
        };
        self.problem(path, format!("there is no file {}", file.display()), Some(help));
        None
    }

    /// The name is also that of the directory that results go to.
    fn check_name(&mut self, name: &str) {
        let is_plain = |character: char| character.is_alphanumeric() || "-_. ".contains(character);
        if name.is_empty()
            || name.len() > MAX_NAME_BYTES
            || name.starts_with('.')
            || !name.chars().all(is_plain)
        {
            let help =
                format!("at most {MAX_NAME_BYTES} letters, digits, blanks, `-`, `_` and `.`, not `.` first");
            self.problem("name", "not a name for a directory", Some(help));
        }
    }

    fn scheduler(&mut self, file: &ScenarioFile) -> Scheduler {
        let scheduler = &file.scheduler;
        let (profiles, mut warnings) = self.profiles(scheduler);
        if !file.reservation.is_empty() {
            let divide = scheduler
                .policies
                .iter()
                .filter(|policy| foretell_registry::scaling(policy) != foretell_registry::Scaling::Unknown);
            warnings.extend(divide.map(|policy| format!("{policy}: does not honour reservations")));
        }
        if scheduler.policies.is_empty() {
            self.problem("scheduler", "expected `profile` or at least one of `policies`", None);
        }
        for (i, name) in scheduler.policies.iter().enumerate() {
            let path = format!("scheduler.policies[{i}]");
            let config = PolicyConfig { solver: Some(simplex), ..PolicyConfig::default() };
            let is_known = scheduler.profiles.iter().any(|profile| profile.name == *name)
                || foretell_registry::build(name, &config).is_ok();
            if !is_known {
                let mut names = foretell_registry::all_names();
                names.extend(scheduler.profiles.iter().map(|profile| profile.name.clone()));
                let help = suggest::nearest(name, names.iter().map(String::as_str)).map_or_else(
                    || {
                        let alone = names.iter().map(String::as_str).filter(|name| !name.contains('+'));
                        let orders = foretell_registry::ORDERS.iter().map(|&(order, _)| order);
                        let (alone, orders) = (suggest::one_of(alone), suggest::one_of(orders));
                        format!("expected {alone}, or ORDER+PLACEMENT such as `fifo+binpack`, ORDER {orders}")
                    },
                    |candidate| format!("did you mean `{candidate}`?"),
                );
                let help = format!("{help}; `foretell policy list` explains them");
                self.problem(&path, format!("unknown policy `{name}`"), Some(help));
            } else if scheduler.policies[..i].contains(name) {
                self.problem(&path, format!("policy `{name}` is listed twice"), None);
            }
        }
        let cycle = match self.span("scheduler.cycle_period_s", scheduler.cycle_period_s) {
            Duration::ZERO => Cycle::OnChange,
            period => Cycle::Every(period),
        };
        Scheduler {
            policies: scheduler.policies.clone(),
            profiles,
            warnings,
            cycle,
            decision_latency: self.span("scheduler.decision_latency_s", scheduler.decision_latency_s),
            retry: scheduler.retry,
            gpu_choice: scheduler.gpu_choice,
            backfill_depth: scheduler.backfill_depth,
            aging_per_point: scheduler
                .aging_per_point_s
                .map(|per_point_s| self.positive_span("scheduler.aging_per_point_s", per_point_s)),
            estimate_error: scheduler.estimate_error,
            ordering: self.ordering(&scheduler.ordering),
        }
    }

    /// The configurations that policies refer to, and what of them has no effect.
    fn profiles(&mut self, file: &SchedulerFile) -> (BTreeMap<String, SchedulerConfig>, Vec<String>) {
        let (mut profiles, mut warnings) = (BTreeMap::new(), Vec::new());
        for (i, profile) in file.profiles.iter().enumerate() {
            let path = format!("scheduler.profiles[{i}]");
            let name = &profile.name;
            self.check_policy_name(&format!("{path}.name"), name);
            if profiles.contains_key(name) || foretell_registry::build(name, &PolicyConfig::default()).is_ok()
            {
                let message = format!("there is another policy `{name}`");
                self.problem(&format!("{path}.name"), message, None);
            }
            // Files have been read already.
            let Some(config) = &profile.config else { continue };
            let built = foretell_manifests::read_config(config, name)
                .map_err(|error| error.to_string())
                .and_then(|(config, warnings)| {
                    let built = config.profile(name, &PolicyConfig::default());
                    let (_, more) = built.map_err(|error| format!("{name}: {error}"))?;
                    Ok((config, warnings, more))
                });
            match built {
                Ok((config, some, more)) => {
                    warnings.extend(some.into_iter().chain(more).map(|warning| format!("{name}: {warning}")));
                    profiles.insert(name.clone(), config);
                }
                Err(message) => self.problem(&format!("{path}.config"), message, None),
            }
        }
        (profiles, warnings)
    }

    /// A policy's name is that of a directory below the run's.
    fn check_policy_name(&mut self, path: &str, name: &str) {
        let is_plain = |character: char| character.is_alphanumeric() || "-_.".contains(character);
        if name.is_empty() || name.starts_with('.') || !name.chars().all(is_plain) {
            let help = "letters, digits, `-`, `_` and `.`, not `.` first".to_owned();
            self.problem(path, "not a name for a policy", Some(help));
        }
    }

    fn preemption(&mut self, file: &ScenarioFile) -> Preemption {
        let preemption = &file.preemption;
        Preemption {
            checkpoints: self.checkpoints(file),
            checkpoint_cost: self.checkpoint_cost(file),
            restart_cost: self.span("preemption.restart_cost_s", preemption.restart_cost_s),
            restart_cost_by_gpus: self.restart_steps(&preemption.restart_cost_by_gpus),
            resize_cost: self.span("preemption.resize_cost_s", preemption.resize_cost_s),
            termination_grace: self.span("preemption.termination_grace_s", preemption.termination_grace_s),
        }
    }

    fn ordering(&mut self, file: &OrderingFile) -> Ordering {
        let limits = &file.queue_limits_gpu_s;
        for (position, pair) in limits.windows(2).enumerate() {
            if pair[0] >= pair[1] {
                let message = format!("expected more than the {} before", pair[0]);
                self.problem(
                    &format!("scheduler.ordering.queue_limits_gpu_s[{}]", position + 1),
                    message,
                    None,
                );
            }
        }
        Ordering {
            quantum: self.positive_span("scheduler.ordering.quantum_s", file.quantum_s),
            queue_limits_gpu_s: limits.clone(),
            promote_after: file.promote_after,
            lease: self.positive_span("scheduler.ordering.lease_s", file.lease_s),
            interval: file
                .interval_s
                .map(|interval_s| self.positive_span("scheduler.ordering.interval_s", interval_s)),
            late_jobs: file.late_jobs,
            gpu_cost_per_h: self.gpu_costs(&file.gpu_cost_per_h),
            past_usage: file.past_usage.map(|past| self.past_usage(past)),
        }
    }

    fn past_usage(&mut self, PastUsageFile { factor, half_life_s, window_s }: PastUsageFile) -> PastUsage {
        const PATH: &str = "scheduler.ordering.past_usage";
        if !(factor.is_finite() && factor >= 0.0) {
            self.problem(&format!("{PATH}.factor"), format!("expected 0 or more, got {factor}"), None);
        }
        let half_life = half_life_s.map(|span_s| self.positive_span(&format!("{PATH}.half_life_s"), span_s));
        PastUsage { factor, half_life, window: self.positive_span(&format!("{PATH}.window_s"), window_s) }
    }

    fn gpu_costs(&mut self, costs: &BTreeMap<String, f64>) -> BTreeMap<String, f64> {
        for (model, &cost) in costs {
            let path = format!("scheduler.ordering.gpu_cost_per_h.{model}");
            self.gpu(&path, model);
            if !(cost.is_finite() && cost > 0.0) {
                self.problem(&path, format!("expected a number above 0, got {cost}"), None);
            }
        }
        costs.clone()
    }

    fn restart_steps(&mut self, steps: &[RestartStepFile]) -> Vec<(u32, Duration)> {
        let path = |position: usize, field| format!("preemption.restart_cost_by_gpus[{position}].{field}");
        for (position, pair) in steps.windows(2).enumerate() {
            if pair[0].above >= pair[1].above {
                let message = format!("expected more than the {} of the step before", pair[0].above);
                self.problem(&path(position + 1, "above"), message, None);
            }
        }
        let steps = steps.iter().enumerate();
        steps
            .map(|(position, step)| (step.above, self.span(&path(position, "cost_s"), step.cost_s)))
            .collect()
    }

    fn metrics(&mut self, file: &ScenarioFile) -> Metrics {
        let timeline = match file.metrics.timeline_interval_s {
            None => Timeline::Auto,
            Some(interval_s) => {
                Timeline::Every(self.positive_span("metrics.timeline_interval_s", interval_s))
            }
        };
        let MetricsFile { typical_share, wait_reasons, .. } = file.metrics;
        Metrics { timeline, typical_share, wait_reasons }
    }

    fn budget(&mut self, file: &ScenarioFile) -> Budget {
        Budget {
            max_events: file.budget.max_events,
            max_events_at_instant: file.budget.max_events_at_instant,
            max_simulated: self.positive_span("budget.max_simulated_s", file.budget.max_simulated_s),
            max_wall: self.positive_span("budget.max_wall_s", file.budget.max_wall_s),
            max_queued_jobs: file.budget.max_queued_jobs,
        }
    }

    /// A span of time that must not round to nothing.
    fn positive_span(&mut self, path: &str, seconds: f64) -> Duration {
        let span = self.span(path, seconds);
        if span.is_zero() {
            self.problem(path, format!("expected at least a nanosecond, got {seconds} s"), None);
        }
        span
    }
}
