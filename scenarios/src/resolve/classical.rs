//! Servers of classical models.

use foretell_serving::Series;
use foretell_serving::policies::{
    DynamicBatcher, DynamicBatching, DynamicBatchingError, QueuePolicy, TimeoutAction,
};
use foretell_traces::generate::GenerateError;
use foretell_traces::requests::generate::{
    CountLaw, LengthsLaw, RequestGenerator, RequestGeneratorConfig, Target,
};

use super::Resolver;
use super::pipeline::is_asked;
use super::service::arrival;
use crate::catalog::Catalog;
use crate::file::{
    ClassicalLatencyFile, ClassicalRequestsFile, ClassicalServiceFile, LatencyPointFile, ScenarioFile,
    TimeoutActionFile,
};
use crate::scenario::NodeGroup;
use crate::service::{ClassicalService, LEVEL_TOKENS_MAX, LatencyLaw, RooflineLaw, level_law};

impl Resolver<'_, '_> {
    /// The servers of classical models of a scenario on these nodes.
    pub(super) fn classical_services(
        &mut self,
        scenario: &ScenarioFile,
        nodes: &[NodeGroup],
    ) -> Vec<ClassicalService> {
        let mut services = Vec::new();
        for (index, file) in scenario.classical_service.iter().enumerate() {
            let path = format!("classical_service[{index}]");
            let others = scenario.classical_service[..index].iter().map(|other| &other.name);
            if others.chain(scenario.service.iter().map(|other| &other.name)).any(|name| *name == file.name) {
                let message = format!("there is another service `{}`", file.name);
                self.problem(&format!("{path}.name"), message, None);
            }
            let plain = |character: char| character.is_alphanumeric() || "-_.".contains(character);
            if !file.name.chars().all(plain) {
                let message = "expected letters, digits, `-`, `_` and `.`: files are called so";
                self.problem(&format!("{path}.name"), message, None);
            }
            if file.requests.is_none() && !is_asked(scenario, &file.name) {
                let message = "expected `requests`, or a stage of a `pipeline` that asks it";
                self.problem(&format!("{path}.requests"), message, None);
            }
            services.extend(self.classical_service(&path, file, scenario.seed, nodes));
        }
        services
    }

    fn classical_service(
        &mut self,
        path: &str,
        file: &ClassicalServiceFile,
        seed: u64,
        nodes: &[NodeGroup],
    ) -> Option<ClassicalService> {
        let gpu_models: Vec<String> =
            file.gpu_models.iter().map(|name| Catalog::builtin().canonical_gpu(name).to_owned()).collect();
        let latency = self.latency(&format!("{path}.latency"), &file.latency);
        let placeable = self.check_classical_gpus(path, &gpu_models, latency.as_ref(), nodes);
        let batching = self.batching(path, file);
        let startup = self.span(&format!("{path}.startup_s"), file.startup_s);
        let requests = match &file.requests {
            Some(file) => {
                Some((self.classical_requests(&format!("{path}.requests"), file, seed)?, file.count))
            }
            None => None,
        };
        placeable.then_some(())?;
        Some(ClassicalService {
            name: file.name.clone(),
            replicas: file.replicas,
            gpu_models,
            gpu_milli: file.gpu_milli,
            latency: latency?,
            instances: file.instances,
            host_share: file.host_share,
            batching: batching?,
            level_weights: file.priorities.iter().map(|level| level.weight).collect(),
            cpu_milli: (file.cpus * 1000.0).round() as u64,
            memory_bytes: file.memory.0,
            queue: file.queue.clone(),
            priority: file.priority,
            startup,
            requests,
            latency_objective_s: file.slo.latency_s,
        })
    }

    fn latency(&mut self, path: &str, file: &ClassicalLatencyFile) -> Option<LatencyLaw> {
        match *file {
            ClassicalLatencyFile::Measured { ref points } => {
                let path = format!("{path}.points");
                if points.is_empty() {
                    self.problem(&path, "must not be empty", None);
                    return None;
                }
                // The last line is continued: one that fell would come to nothing.
                for (index, pair) in points.windows(2).enumerate() {
                    let [before, after] = [pair[0], pair[1]];
                    let path = format!("{path}[{}]", index + 1);
                    if after.batch <= before.batch {
                        let message =
                            format!("expected more than the {} before, got {}", before.batch, after.batch);
                        self.problem(&format!("{path}.batch"), message, None);
                    }
                    if after.latency_ms < before.latency_ms {
                        let message = format!(
                            "expected at least the {} of a smaller batch, got {}",
                            before.latency_ms, after.latency_ms
                        );
                        self.problem(&format!("{path}.latency_ms"), message, None);
                    }
                }
                let point = |point: &LatencyPointFile| (f64::from(point.batch), point.latency_ms * 1e-3);
                Some(LatencyLaw::Measured(Series::new(points.iter().map(point).collect())))
            }
            ClassicalLatencyFile::Roofline {
                flops_per_item,
                weight_bytes,
                io_bytes_per_item,
                precision,
                efficiency,
                overhead_us,
            } => Some(LatencyLaw::Roofline(RooflineLaw {
                item_flops: flops_per_item,
                weight_bytes,
                item_bytes: io_bytes_per_item,
                precision,
                efficiency,
                overhead_s: overhead_us * 1e-6,
            })),
        }
    }

    /// Whether the cluster has GPUs that replicas may have, and the law knows what they do.
    fn check_classical_gpus(
        &mut self,
        path: &str,
        gpu_models: &[String],
        latency: Option<&LatencyLaw>,
        nodes: &[NodeGroup],
    ) -> bool {
        let mut found = false;
        let of_nodes = nodes.iter().filter_map(|group| group.node_type.gpus.as_ref());
        for gpus in of_nodes.filter(|gpus| gpu_models.is_empty() || gpu_models.contains(&gpus.model)) {
            found |= gpus.count > 0;
            if let Some(latency) = latency
                && latency.of_gpu(&gpus.model, 1.0).is_none()
            {
                let message = format!("the catalogue has no such peak of {}", gpus.model);
                let help = "say with `gpu_models` which GPUs replicas may have, or take another `precision`";
                self.problem(&format!("{path}.latency"), message, Some(help.to_owned()));
                return false;
            }
        }
        if !found && !nodes.is_empty() {
            self.problem(path, "the cluster has no node with GPUs that its replicas may have", None);
        }
        found
    }

    fn batching(&mut self, path: &str, file: &ClassicalServiceFile) -> Option<DynamicBatching> {
        let policy = |size: u32, timeout_ms: f64, action: TimeoutActionFile| QueuePolicy {
            max_queue_size: size,
            default_timeout_ns: (timeout_ms * 1e6).round() as u64,
            allow_timeout_override: false,
            timeout_action: match action {
                TimeoutActionFile::Reject => TimeoutAction::Reject,
                TimeoutActionFile::Delay => TimeoutAction::Delay,
            },
        };
        let levels = file.priorities.iter().zip(1..).map(|(level, number)| {
            let own = policy(
                level.max_queue_size.unwrap_or(file.max_queue_size),
                level.timeout_ms.unwrap_or(file.timeout_ms),
                level.timeout_action.unwrap_or(file.timeout_action),
            );
            (number, own)
        });
        let weights: f64 = file.priorities.iter().map(|level| level.weight).sum();
        let drawable = weights.is_finite() && weights > 0.0;
        if !(drawable || file.priorities.is_empty()) {
            let message = format!("expected weights that come to more than 0, got {weights}");
            self.problem(&format!("{path}.priorities"), message, None);
        }
        let batching = DynamicBatching {
            max_batch_size: file.max_batch_size,
            preferred_batch_sizes: file.preferred_batch_sizes.clone(),
            max_queue_delay_ns: (file.max_queue_delay_us * 1e3).round() as u64,
            preserve_ordering: false,
            priority_levels: file.priorities.len() as u32,
            default_priority_level: u32::from(!file.priorities.is_empty()),
            default_queue_policy: policy(file.max_queue_size, file.timeout_ms, file.timeout_action),
            queue_policies: levels.collect(),
        };
        match DynamicBatcher::new(batching.clone()) {
            Ok(_) => Some(batching),
            Err(error) => {
                let field = match error {
                    DynamicBatchingError::PreferredSize(_) => "preferred_batch_sizes",
                    DynamicBatchingError::NoBatchSize | DynamicBatchingError::OrderCannotHold => {
                        "max_batch_size"
                    }
                    DynamicBatchingError::NoSuchLevel(_) => "priorities",
                };
                self.problem(&format!("{path}.{field}"), error.to_string(), None);
                None
            }
        }
    }

    fn classical_requests(
        &mut self,
        path: &str,
        file: &ClassicalRequestsFile,
        seed: u64,
    ) -> Option<RequestGeneratorConfig> {
        let config = RequestGeneratorConfig {
            arrival: arrival(&file.arrival),
            // Such requests have no tokens: what is drawn for them decides their levels.
            lengths: LengthsLaw::Independent { prompt: level_law(), output: CountLaw::Constant { count: 1 } },
            target: Target { model: String::new(), priority: 0, max_model_tokens: LEVEL_TOKENS_MAX },
        };
        match RequestGenerator::new(&config, seed) {
            Ok(_) => Some(config),
            Err(GenerateError { field, expected, got }) => {
                self.problem(&format!("{path}.{field}"), format!("expected {expected}, got {got}"), None);
                None
            }
        }
    }
}
