//! The jobs.

use std::sync::Arc;
use std::time::Duration;

use foretell_traces::generate::{self, Arrival, DurationLaw, GeneratorConfig, Queue, Size, Users};
use foretell_traces::record::MAX_TIME_S;
use foretell_traces::{ScalingCurve, ScalingRecord, SpeedLaw};

use super::Resolver;
use crate::file::{
    ArrivalFile, ComponentFile, DurationFile, JobTraceFile, PresetName, QueueNodes, ScalingFile,
    ScenarioFile, SizeFile, SyntheticFile,
};
use crate::scenario::{JobTrace, JobTraits, NodeGroup, Synthetic, Tier, VIRTUAL_CLUSTER_LABEL, Workload};

const SYNTHETIC: &str = "workload.synthetic";

impl Resolver<'_, '_> {
    /// The jobs for a cluster of these nodes.
    pub(super) fn workload(
        &mut self,
        scenario: &ScenarioFile,
        nodes: &[NodeGroup],
        tiers: &[Tier],
    ) -> Option<Workload> {
        let file = &scenario.workload;
        let owned = nodes.iter().any(|group| group.labels.contains_key(VIRTUAL_CLUSTER_LABEL));
        if file.queue_nodes == QueueNodes::VirtualCluster && !owned && !nodes.is_empty() {
            let help = "give `cluster.nodes` a `virtual_cluster`, or use a node list that has them";
            let message = "no node belongs to a virtual cluster, so no job could ever run";
            self.problem("workload.queue_nodes", message, Some(help.to_owned()));
        }
        match (&file.trace, &file.synthetic) {
            (Some(trace), None) => self.job_trace(trace).map(Workload::Trace),
            (None, Some(synthetic)) => {
                let mut synthetic = self.synthetic(synthetic, nodes)?;
                let sizes = file.synthetic.iter().flat_map(|file| &file.sizes).flatten().enumerate();
                let faults = scenario.faults.as_ref();
                synthetic.traits = sizes
                    .map(|(i, size)| {
                        let on_failure = self.failure_policy(i, size, faults).map(Arc::new);
                        JobTraits { on_failure, ..self.traits(i, size, tiers) }
                    })
                    .collect();
                Some(Workload::Synthetic(synthetic))
            }
            (None, None) if !(scenario.service.is_empty() && scenario.classical_service.is_empty()) => {
                Some(Workload::None)
            }
            (both, _) => {
                let message = "expected exactly one of `trace` and `synthetic`, got ";
                let got = if both.is_some() { "both" } else { "neither" };
                self.problem("workload", format!("{message}{got}"), None);
                None
            }
        }
    }

    fn job_trace(&mut self, file: &JobTraceFile) -> Option<JobTrace> {
        let from = self.span("workload.trace.from_s", file.from_s);
        let to = file.to_s.map_or(Duration::MAX, |to_s| self.span("workload.trace.to_s", to_s));
        if to <= from {
            self.problem("workload.trace.to_s", "must be after `from_s`", None);
        }
        let path = self.locate("workload.trace.path", &file.path)?;
        if !(1e-6..=1e6).contains(&file.rate_factor) {
            let message = format!("expected a number from 0.000001 to 1000000, got {}", file.rate_factor);
            self.problem("workload.trace.rate_factor", message, None);
        }
        let limit_jobs = file.limit_jobs.unwrap_or(u64::MAX);
        Some(JobTrace {
            format: file.format,
            path,
            limit_jobs,
            from,
            to,
            arrivals_only: file.arrivals_only,
            rate_factor: file.rate_factor,
        })
    }

    fn synthetic(&mut self, file: &SyntheticFile, nodes: &[NodeGroup]) -> Option<Synthetic> {
        let mut config = match file.preset {
            Some(preset) => preset_config(preset),
            None => self.without_preset(file)?,
        };
        if let Some(arrival) = &file.arrival {
            config.arrival = arrival_law(arrival);
        }
        if let Some(sizes) = &file.sizes {
            config.sizes = sizes.iter().enumerate().map(|(i, size)| self.size(i, size)).collect();
        }
        if let Some(duration) = &file.duration {
            config.duration = duration_law(duration);
            // A preset's sizes may bring run times of their own, which what the file says replaces too.
            if file.sizes.is_none() {
                config.sizes.iter_mut().for_each(|size| size.duration = None);
            }
        }
        if let Some(queues) = &file.queues {
            config.queues =
                queues.iter().map(|queue| Queue { name: queue.name.clone(), weight: queue.weight }).collect();
        }
        config.own_arrivals = file.own_arrivals;
        if let Some(users) = &file.users {
            config.users = Users { count: users.count, zipf_exponent: users.zipf_exponent };
        }

        if let Err(error) = config.validate() {
            self.generator_problem(&error);
            return None;
        }
        let rate_per_s = self.rate_per_s(file, &config, nodes)?;
        config.arrival = config.arrival.with_rate_per_s(rate_per_s);
        if let Err(error) = config.validate() {
            self.generator_problem(&error);
        }
        Some(Synthetic { config, jobs: file.jobs, traits: Vec::new() })
    }

    fn generator_problem(&mut self, error: &generate::GenerateError) {
        let path = format!("{SYNTHETIC}.{}", error.field);
        self.problem(&path, format!("expected {}, got {}", error.expected, error.got), None);
    }

    /// A configuration that the file will fill in; sizes and a duration have to be there.
    fn without_preset(&mut self, file: &SyntheticFile) -> Option<GeneratorConfig> {
        for (name, missing) in [("sizes", file.sizes.is_none()), ("duration", file.duration.is_none())] {
            if missing {
                let help = "without a preset, a synthetic workload needs `sizes` and `duration`";
                self.problem(SYNTHETIC, format!("missing field `{name}`"), Some(help.to_owned()));
            }
        }
        let duration = duration_law(file.duration.as_ref()?);
        Some(GeneratorConfig {
            arrival: Arrival::Poisson { rate_per_s: 1.0 },
            sizes: Vec::new(),
            duration,
            queues: Vec::new(),
            own_arrivals: false,
            users: Users { count: 0, zipf_exponent: 1.0 },
        })
    }

    fn size(&mut self, index: usize, file: &SizeFile) -> Size {
        let mut gpu_models = Vec::with_capacity(file.gpu_models.len());
        for (i, model) in file.gpu_models.iter().enumerate() {
            let path = format!("{SYNTHETIC}.sizes[{index}].gpu_models[{i}]");
            gpu_models.extend(self.gpu(&path, model).map(|gpu| gpu.name.clone()));
        }
        let scaling = file.scaling.as_ref().map(|scaling| Arc::new(self.scaling(index, file, scaling)));
        Size {
            weight: file.weight,
            tasks: file.tasks,
            gpus_per_task: file.gpus_per_task,
            gpu_milli: file.gpu_milli,
            cpu_milli: (file.cpus_per_task * 1000.0).round() as u64,
            memory_bytes: file.memory_per_task.0,
            gpu_models,
            duration: file.duration.as_ref().map(duration_law),
            scaling,
            deadline_slack: file.deadline.as_ref().map(|deadline| (deadline.min_slack, deadline.max_slack)),
        }
    }

    /// How jobs of a size scale: for each phase a curve for each model that is named, and one for all others.
    fn scaling(&mut self, index: usize, size: &SizeFile, file: &ScalingFile) -> ScalingRecord {
        let path = format!("{SYNTHETIC}.sizes[{index}].scaling");
        let mut factors = Vec::new();
        for (name, &factor) in &file.model_speeds {
            let model = self.gpu(&format!("{path}.model_speeds"), name).map(|gpu| gpu.name.clone());
            factors.extend(model.map(|model| (vec![model], factor)));
        }
        factors.push((Vec::new(), 1.0));
        let mut laws = vec![(0.0, self.speed_law(&path, file.amdahl, file.communication, &file.speeds))];
        for (position, phase) in file.phases.iter().enumerate() {
            let path = format!("{path}.phases[{position}]");
            laws.push((phase.from, self.speed_law(&path, phase.amdahl, phase.communication, &phase.speeds)));
        }
        let max_tasks = file.max_tasks.unwrap_or(size.tasks);
        let across = |law: &SpeedLaw, share: f64| {
            SpeedLaw::Speeds((1..=max_tasks).map(|tasks| law.speed(tasks, size.tasks) * share).collect())
        };
        let curves = laws.iter().flat_map(|(from, law)| {
            factors.iter().map(move |(models, factor)| ScalingCurve {
                from: *from,
                models: models.clone(),
                factor: *factor,
                one_node: law.clone(),
                many_nodes: file.across_nodes.map(|share| across(law, share)),
            })
        });
        ScalingRecord { min_tasks: file.min_tasks.unwrap_or(1), max_tasks, curves: curves.collect() }
    }

    fn speed_law(
        &mut self,
        path: &str,
        amdahl: Option<f64>,
        communication: Option<f64>,
        speeds: &[f64],
    ) -> SpeedLaw {
        match (amdahl, communication, speeds) {
            (None, None, []) => SpeedLaw::Linear,
            (Some(serial), None, []) => SpeedLaw::Amdahl(serial),
            (None, Some(share), []) => SpeedLaw::Communication(share),
            (None, None, speeds) => SpeedLaw::Speeds(speeds.to_vec()),
            _ => {
                let message = "expected at most one of `amdahl`, `communication` and `speeds`";
                self.problem(path, message, None);
                SpeedLaw::Linear
            }
        }
    }

    /// The mean rate of arrivals.
    fn rate_per_s(
        &mut self,
        file: &SyntheticFile,
        config: &GeneratorConfig,
        nodes: &[NodeGroup],
    ) -> Option<f64> {
        match (file.load, file.rate_per_hour) {
            (None, Some(rate_per_hour)) => Some(rate_per_hour / 3600.0),
            (Some(load), None) => {
                let gpus = nodes.iter().map(|group| {
                    let per_node = group.node_type.gpus.as_ref().map_or(0, |gpus| gpus.count);
                    u64::from(per_node) * group.names.len() as u64
                });
                match gpus.sum() {
                    // Broken nodes have been reported, and say nothing about the load.
                    0 if self.document.has_problems() => None,
                    gpus => config
                        .rate_for_load(load, gpus)
                        .map_err(|error| {
                            let message = format!(
                                "no arrival rate gives this load: {}: expected {}, got {}",
                                error.field, error.expected, error.got
                            );
                            self.problem(&format!("{SYNTHETIC}.load"), message, None);
                        })
                        .ok(),
                }
            }
            (both, _) => {
                let got = if both.is_some() { "both" } else { "neither" };
                self.problem(
                    SYNTHETIC,
                    format!("expected exactly one of `load` and `rate_per_hour`, got {got}"),
                    None,
                );
                None
            }
        }
    }
}

/// The law of arrivals at one per second; the rate is set once it is known.
fn arrival_law(file: &ArrivalFile) -> Arrival {
    let rate_per_s = 1.0;
    match *file {
        ArrivalFile::Poisson {} => Arrival::Poisson { rate_per_s },
        ArrivalFile::Gamma { coefficient_of_variation } => {
            Arrival::Gamma { rate_per_s, coefficient_of_variation }
        }
        ArrivalFile::Diurnal { peak_to_trough, peak_s, period_s } => {
            Arrival::Diurnal { rate_per_s, peak_to_trough, peak_s, period_s }
        }
    }
}

pub(super) fn duration_law(file: &DurationFile) -> generate::Duration {
    let (law, min_s, max_s) = match file {
        DurationFile::Fixed { value_s } => (DurationLaw::Fixed { seconds: *value_s }, 0.0, None),
        DurationFile::Exponential { mean_s, min_s, max_s } => {
            (DurationLaw::Exponential { mean_s: *mean_s }, *min_s, *max_s)
        }
        DurationFile::LogNormal { median_s, sigma, min_s, max_s } => {
            (DurationLaw::LogNormal { median_s: *median_s, sigma: *sigma }, *min_s, *max_s)
        }
        DurationFile::LogUniform { min_s, max_s } => {
            (DurationLaw::LogUniform { min_s: *min_s, max_s: *max_s }, 0.0, None)
        }
        DurationFile::Mixture { components, min_s, max_s } => {
            (DurationLaw::Mixture { components: components.iter().map(component).collect() }, *min_s, *max_s)
        }
    };
    generate::Duration { law, min_s, max_s: max_s.unwrap_or(MAX_TIME_S) }
}

fn component(file: &ComponentFile) -> (f64, DurationLaw) {
    match *file {
        ComponentFile::Fixed { weight, value_s } => (weight, DurationLaw::Fixed { seconds: value_s }),
        ComponentFile::Exponential { weight, mean_s } => (weight, DurationLaw::Exponential { mean_s }),
        ComponentFile::LogNormal { weight, median_s, sigma } => {
            (weight, DurationLaw::LogNormal { median_s, sigma })
        }
        ComponentFile::LogUniform { weight, min_s, max_s } => {
            (weight, DurationLaw::LogUniform { min_s, max_s })
        }
    }
}

fn preset_config(name: PresetName) -> GeneratorConfig {
    match name {
        PresetName::Openb => generate::Preset::Openb,
        PresetName::Philly => generate::Preset::Philly,
    }
    .config()
}
