//! Model servers.

use std::collections::BTreeSet;
use std::sync::Arc;

use foretell_serving::metrics::Objective;
use foretell_serving::options::{AttentionKernels, Compilation, EAGER_LAYER_US, Weights};
use foretell_serving::speculation::Speculation;
use foretell_serving::{FleetOptions, Model, Options, Parallelism};
use foretell_traces::generate::{Arrival, GenerateError};
use foretell_traces::requests::generate::{
    ClosedLoop, ClosedLoopConfig, CountLaw, Groups, LengthsLaw, MmppState, RequestArrival, RequestGenerator,
    RequestGeneratorConfig, Sessions, SessionsConfig, Target,
};
use foretell_traces::requests::read_lengths;

use super::Resolver;
use super::pipeline::is_asked;
use super::workload::duration_law;
use crate::catalog::Catalog;
use crate::file::{
    AdmissionFile, AutoscalerFile, BatcherFile, ClosedUsersFile, CompilationFile, CountFile,
    DisaggregationFile, EngineFile, KvCacheFile, MetricFile, RequestArrivalFile, RequestsFile, RolloutFile,
    ScenarioFile, ServiceFile, SessionsFile, SloFile, SyntheticRequestsFile, WeightsFile,
};
use crate::scenario::NodeGroup;
use crate::service::{Disaggregation, Estimates, Rollout, Service, ServiceRequests, calibration_of};

impl Resolver<'_, '_> {
    /// The services of a scenario on these nodes.
    pub(super) fn services(&mut self, scenario: &ScenarioFile, nodes: &[NodeGroup]) -> Vec<Service> {
        let mut names = BTreeSet::new();
        let mut services = Vec::new();
        for (index, file) in scenario.service.iter().enumerate() {
            let path = format!("service[{index}]");
            if !names.insert(&file.name) {
                self.problem(
                    &format!("{path}.name"),
                    format!("there is another service `{}`", file.name),
                    None,
                );
            }
            let plain = |character: char| character.is_alphanumeric() || "-_.".contains(character);
            if !file.name.chars().all(plain) {
                let message = "expected letters, digits, `-`, `_` and `.`: files are called so";
                self.problem(&format!("{path}.name"), message, None);
            }
            let requests = if file.requests == RequestsFile::default() && is_asked(scenario, &file.name) {
                Some(ServiceRequests::None)
            } else {
                let block_tokens = file.engine.block_tokens;
                self.requests(&format!("{path}.requests"), &file.requests, block_tokens, scenario.seed)
            };
            services.extend(self.service(&path, file, requests, scenario.seed, nodes));
        }
        services
    }

    fn service(
        &mut self,
        path: &str,
        file: &ServiceFile,
        requests: Option<ServiceRequests>,
        seed: u64,
        nodes: &[NodeGroup],
    ) -> Option<Service> {
        if let Some(autoscaler) = &file.autoscaler {
            let apart = file.disaggregation.as_ref();
            let replicas = apart.map_or(file.replicas, |apart| apart.prefill_replicas);
            self.check_autoscaler(path, replicas, autoscaler);
        }
        if file.replicas == 0 && file.autoscaler.is_none() {
            let message = "expected at least 1 where there is no `autoscaler`, got 0";
            self.problem(&format!("{path}.replicas"), message, None);
        }
        let service = self.replicas(path, file, requests, seed, nodes)?;
        let disaggregation = match &file.disaggregation {
            Some(apart) => Some(self.disaggregation(path, file, apart, &service, seed, nodes)?),
            None => None,
        };
        let rollout = match &file.rollout {
            Some(rollout) => Some(self.rollout(path, file, rollout, &service, seed, nodes)?),
            None => None,
        };
        let swap = match &file.swap {
            Some(swap) => Some(self.swap(path, file, &service, swap, seed, nodes)?),
            None => None,
        };
        Some(Service { swap, disaggregation, rollout, ..service })
    }

    /// A service as its replicas are, or those of one variant.
    pub(super) fn replicas(
        &mut self,
        path: &str,
        file: &ServiceFile,
        requests: Option<ServiceRequests>,
        seed: u64,
        nodes: &[NodeGroup],
    ) -> Option<Service> {
        let model = self.served_model(&format!("{path}.model"), &file.model);
        let gpu_models: Vec<String> =
            file.gpu_models.iter().map(|name| Catalog::builtin().canonical_gpu(name).to_owned()).collect();
        let parallelism = Parallelism {
            tensor: file.tensor_parallel,
            pipeline: file.pipeline_parallel,
            data: file.data_parallel,
            expert: if file.expert_parallel { file.tensor_parallel * file.data_parallel } else { 1 },
        };
        self.check_parallelism(path, model.as_deref(), parallelism);
        if file.data_parallel > 1 && file.pipeline_parallel > 1 {
            let message = "expected 1 beside `data_parallel`: groups that go in step have one stage";
            self.problem(&format!("{path}.pipeline_parallel"), message, None);
        }
        let pods = self.pods(path, &gpu_models, parallelism.gpus(), nodes);
        let engine = file.engine.clone();
        self.check_budget(&format!("{path}.engine.max_batched_tokens"), &engine);
        if engine.layer_launch_us.is_some() && file.compilation != CompilationFile::Eager {
            let message =
                "expected `compilation = \"eager\"` beside it: elsewhere kernels are not launched one by one";
            self.problem(&format!("{path}.engine.layer_launch_us"), message, None);
        }
        let alone = file.pipeline_parallel == 1 && engine.batcher == BatcherFile::Vllm;
        if file.speculation.is_some() && !alone {
            let message = "expected `engine.batcher = \"vllm\"` and one stage beside it";
            self.problem(&format!("{path}.speculation"), message, None);
        }
        if file.router.copies() && !(engine.batcher == BatcherFile::Vllm && engine.prefix_caching) {
            let message = "`mooncake` expects `engine.batcher = \"vllm\"` with `prefix_caching` beside it";
            self.problem(&format!("{path}.router"), message, None);
        }
        if file.kv_store.is_some() && !(engine.batcher == BatcherFile::Vllm && engine.prefix_caching) {
            let message = "expected `engine.batcher = \"vllm\"` with `prefix_caching` beside it";
            self.problem(&format!("{path}.kv_store"), message, None);
        }
        if let Err(error) = file.router.build(file.engine.block_tokens, &Estimates::default()) {
            self.problem(&format!("{path}.router"), error.to_string(), None);
        }
        let startup = self.span(&format!("{path}.startup_s"), file.startup_s);
        let options = options(file);
        let lora = self.lora(path, file, seed);
        let batches = self.batches(path, file, seed);
        Some(Service {
            name: file.name.clone(),
            model: model?,
            replicas: file.replicas,
            gpu_models,
            parallelism,
            pods: pods?,
            cpu_milli: (file.cpus * 1000.0).round() as u64,
            memory_bytes: file.memory.0,
            queue: file.queue.clone(),
            priority: file.priority,
            startup,
            options,
            engine,
            speculation: file.speculation.map(|drafts| Speculation {
                draft_tokens: drafts.draft_tokens,
                acceptance: drafts.acceptance,
                draft_ns: drafts.draft_us * 1e3,
                draft_share: drafts.draft_share,
                seed,
            }),
            lora,
            swap: None,
            batches,
            requests: requests?,
            router: file.router,
            autoscaler: file.autoscaler.clone(),
            admission: admission(&file.admission),
            disaggregation: None,
            kv_store: file.kv_store,
            rollout: None,
            objective: Objective { ttft_s: file.slo.ttft_s, tpot_s: file.slo.tpot_s, e2e_s: file.slo.e2e_s },
        })
    }

    fn rollout(
        &mut self,
        path: &str,
        service: &ServiceFile,
        file: &RolloutFile,
        old: &Service,
        seed: u64,
        nodes: &[NodeGroup],
    ) -> Option<Rollout> {
        let own = format!("{path}.rollout");
        if service.autoscaler.is_some() || service.disaggregation.is_some() {
            self.problem(&own, "expected no `autoscaler` and no `disaggregation` beside it", None);
        }
        if !file.steps.is_sorted_by(|before, after| before.after_s < after.after_s) {
            self.problem(&format!("{own}.steps"), "expected times that rise from step to step", None);
        }
        if file.rollback.is_some() && service.slo == SloFile::default() {
            let message = "expected an `slo` of the service beside it, by which requests are judged";
            self.problem(&format!("{own}.rollback"), message, None);
        }
        let to = file.to.of(service);
        if to.engine.block_tokens != service.engine.block_tokens {
            let message =
                format!("expected the service's `engine.block_tokens` ({})", service.engine.block_tokens);
            self.problem(&format!("{own}.to.engine.block_tokens"), message, None);
        }
        let requests = Some(old.requests.clone());
        let to = self.replicas(&format!("{own}.to"), &to, requests, seed, nodes)?;
        Some(Rollout { file: file.clone(), to: Box::new(to) })
    }

    fn disaggregation(
        &mut self,
        path: &str,
        service: &ServiceFile,
        file: &DisaggregationFile,
        prompts: &Service,
        seed: u64,
        nodes: &[NodeGroup],
    ) -> Option<Disaggregation> {
        let path = format!("{path}.disaggregation");
        let scaled = (service.autoscaler.is_some(), file.decode.autoscaler.is_some());
        let answers = service.replicas.checked_sub(file.prefill_replicas);
        let nobody = !scaled.0 && file.prefill_replicas == 0 || !scaled.1 && answers == Some(0);
        let Some(answers) = answers.filter(|_| !nobody) else {
            let message = format!(
                "expected at least 1, and less than `replicas` ({}), some of which generate answers, got {}",
                service.replicas, file.prefill_replicas
            );
            self.problem(&format!("{path}.prefill_replicas"), message, None);
            return None;
        };
        if service.engine.batcher != BatcherFile::Vllm || service.speculation.is_some() {
            let message = "expected `engine.batcher = \"vllm\"` beside it, and no `speculation`";
            self.problem(&path, message, None);
        }
        if file.router.copies() {
            let message = "`mooncake` says who reads a prompt in: it may be the service's `router`";
            self.problem(&format!("{path}.router"), message, None);
        }
        if let Err(error) = file.router.build(service.engine.block_tokens, &Estimates::default()) {
            self.problem(&format!("{path}.router"), error.to_string(), None);
        }
        let own = format!("{path}.decode");
        if let Some(autoscaler) = &file.decode.autoscaler {
            self.check_autoscaler(&own, answers, autoscaler);
        }
        let decode = file.decode.of(service, answers);
        let requests = Some(prompts.requests.clone());
        let decode = self.replicas(&own, &decode, requests, seed, nodes)?;
        Some(Disaggregation {
            prefill_replicas: file.prefill_replicas,
            router: file.router,
            overflow_tokens: file.overflow_tokens,
            transfer: file.transfer,
            decode: Box::new(decode),
        })
    }

    fn check_parallelism(&mut self, path: &str, model: Option<&Model>, parallelism: Parallelism) {
        if let Some(Err(error)) = model.map(|model| parallelism.check(model)) {
            self.problem(path, error.to_string(), None);
        }
    }

    /// That a batch has a token for each sequence.
    fn check_budget(&mut self, path: &str, engine: &EngineFile) {
        if engine.batcher == BatcherFile::Vllm && engine.max_batched_tokens < engine.max_sequences {
            let message = format!(
                "expected at least max_sequences ({}), one token for each, got {}",
                engine.max_sequences, engine.max_batched_tokens
            );
            self.problem(path, message, None);
        }
    }

    /// What the schema cannot say of an autoscaler.
    fn check_autoscaler(&mut self, path: &str, replicas: u32, file: &AutoscalerFile) {
        match file {
            AutoscalerFile::Knative { min_replicas, max_replicas, metric, .. } => {
                self.check_bounds(path, replicas, *min_replicas, *max_replicas);
                if !matches!(metric, MetricFile::Concurrency | MetricFile::Rate) {
                    let message = "expected `concurrency` or `rate`: Knative follows nothing else";
                    self.problem(&format!("{path}.autoscaler.metric"), message, None);
                }
            }
            AutoscalerFile::SlaPlanner { min_replicas, max_replicas, decode, .. } => {
                self.check_bounds(path, replicas, *min_replicas, *max_replicas);
                if !decode.is_sorted_by(|before, after| before.tpot_s < after.tpot_s) {
                    let message = "expected times that rise from point to point";
                    self.problem(&format!("{path}.autoscaler.decode"), message, None);
                }
            }
            AutoscalerFile::Hpa { min_replicas, max_replicas, keda, .. } => {
                self.check_bounds(path, replicas, *min_replicas, *max_replicas);
                if *min_replicas == 0 && keda.is_none() {
                    let message = "expected at least 1 where there is no `keda`, got 0";
                    self.problem(&format!("{path}.autoscaler.min_replicas"), message, None);
                }
            }
            AutoscalerFile::Predictive { min_replicas, max_replicas, .. } => {
                self.check_bounds(path, replicas, *min_replicas, *max_replicas);
            }
            AutoscalerFile::Scheduled { period_s, rows } => {
                for (index, row) in rows.iter().enumerate().filter(|(_, row)| row.from_s >= *period_s) {
                    let message = format!("expected less than `period_s` ({period_s}), got {}", row.from_s);
                    self.problem(&format!("{path}.autoscaler.rows[{index}].from_s"), message, None);
                }
            }
        }
    }

    fn check_bounds(&mut self, path: &str, replicas: u32, min_replicas: u32, max_replicas: u32) {
        if min_replicas > max_replicas {
            let message = format!("expected at least `min_replicas` ({min_replicas}), got {max_replicas}");
            self.problem(&format!("{path}.autoscaler.max_replicas"), message, None);
        }
        if replicas > max_replicas {
            let message =
                format!("expected at most autoscaler.max_replicas ({max_replicas}), got {replicas}");
            self.problem(&format!("{path}.replicas"), message, None);
        }
    }

    /// A model of the catalogue, or that of a configuration file.
    fn served_model(&mut self, path: &str, name: &str) -> Option<Arc<Model>> {
        let read = if std::path::Path::new(name).extension().is_some_and(|extension| extension == "json") {
            let file = self.locate(path, name)?;
            let stem = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or("model").to_owned();
            match std::fs::read_to_string(&file) {
                Ok(text) => Model::from_config(&stem, &text).map_err(|error| error.to_string()),
                Err(error) => Err(format!("{}: {error}", file.display())),
            }
        } else {
            Model::named(name).map_err(|error| error.to_string())
        };
        match read {
            Ok(model) => Some(Arc::new(model)),
            Err(message) => {
                self.problem(path, message, None);
                None
            }
        }
    }

    /// Pods of a replica and GPUs of each: as few pods as the largest node allows.
    fn pods(
        &mut self,
        path: &str,
        gpu_models: &[String],
        gpus: u32,
        nodes: &[NodeGroup],
    ) -> Option<(u32, u32)> {
        let accepted = nodes
            .iter()
            .filter_map(|group| group.node_type.gpus.as_ref())
            .filter(|of_node| gpu_models.is_empty() || gpu_models.contains(&of_node.model));
        let mut largest = 0;
        for of_node in accepted {
            largest = largest.max(of_node.count);
            if let Err(error) = calibration_of(&of_node.model) {
                let help = "say with `gpu_models` which GPUs replicas may have".to_owned();
                self.problem(path, error.to_string(), Some(help));
                return None;
            }
        }
        if largest == 0 {
            if !nodes.is_empty() {
                self.problem(path, "the cluster has no node with GPUs that its replicas may have", None);
            }
            return None;
        }
        let each = (1..=largest.min(gpus)).rev().find(|each| gpus.is_multiple_of(*each)).unwrap_or(1);
        Some((gpus / each, each))
    }

    /// Where requests come from; `block_tokens` are those of a block of a conversation's beginnings.
    pub(super) fn requests(
        &mut self,
        path: &str,
        file: &RequestsFile,
        block_tokens: u32,
        seed: u64,
    ) -> Option<ServiceRequests> {
        let RequestsFile { trace, synthetic, sessions, users } = file;
        let given = [trace.is_some(), synthetic.is_some(), sessions.is_some(), users.is_some()];
        if given.iter().filter(|&&given| given).count() != 1 {
            let message = "expected exactly one of `trace`, `synthetic`, `sessions` and `users`";
            self.problem(path, message, None);
            return None;
        }
        if let Some(trace) = trace {
            let located = self.locate(&format!("{path}.trace.path"), &trace.path)?;
            return Some(ServiceRequests::Trace {
                path: located,
                limit: trace.limit.unwrap_or(u64::MAX),
                rate_factor: trace.rate_factor,
            });
        }
        let (kind, checked) = if let Some(synthetic) = synthetic {
            let config = self.open_requests(&format!("{path}.synthetic"), synthetic)?;
            let checked = RequestGenerator::new(&config, seed).map(drop);
            ("synthetic", checked.map(|()| ServiceRequests::Open { config, count: synthetic.count }))
        } else if let Some(sessions) = sessions {
            let config = conversations(sessions, block_tokens);
            ("sessions", Sessions::new(config.clone(), seed).map(|_| ServiceRequests::Sessions(config)))
        } else {
            let config = closed_loop(users.as_ref()?);
            ("users", ClosedLoop::new(&config, seed).map(|_| ServiceRequests::Users(config)))
        };
        match checked {
            Ok(requests) => Some(requests),
            Err(GenerateError { field, expected, got }) => {
                self.problem(
                    &format!("{path}.{kind}.{field}"),
                    format!("expected {expected}, got {got}"),
                    None,
                );
                None
            }
        }
    }

    fn open_requests(&mut self, path: &str, file: &SyntheticRequestsFile) -> Option<RequestGeneratorConfig> {
        let lengths = match (&file.prompt, &file.output, &file.lengths) {
            (Some(prompt), Some(output), None) => {
                LengthsLaw::Independent { prompt: count_law(prompt), output: count_law(output) }
            }
            (None, None, Some(lengths)) => {
                let located = self.locate(&format!("{path}.lengths"), lengths)?;
                match read_lengths(&located, None) {
                    Ok(lengths) => LengthsLaw::Trace { lengths: lengths.into(), drawn: false },
                    Err(error) => {
                        self.problem(&format!("{path}.lengths"), error.to_string(), None);
                        return None;
                    }
                }
            }
            _ => {
                let message = "expected either `prompt` and `output`, or `lengths`";
                self.problem(path, message, None);
                return None;
            }
        };
        Some(RequestGeneratorConfig {
            arrival: arrival(&file.arrival),
            lengths,
            target: target(file.max_model_tokens),
        })
    }
}

/// Numbers, kernels and overheads.
fn options(file: &ServiceFile) -> Options {
    let engine = &file.engine;
    Options {
        weights: match file.weights {
            WeightsFile::Bits16 => Weights::Bits16,
            WeightsFile::Fp8 => Weights::Fp8,
            WeightsFile::Fp8Block => Weights::Fp8Block,
            WeightsFile::Int8 => Weights::Int8,
            WeightsFile::Int4 => Weights::Int4,
        },
        cache_number_bytes: match file.kv_cache {
            KvCacheFile::Bits16 => 2.0,
            KvCacheFile::Bits8 => 1.0,
        },
        compilation: match file.compilation {
            CompilationFile::Graphs => Compilation::Graphs,
            CompilationFile::Eager => Compilation::Eager,
            CompilationFile::Tensorrt => Compilation::TensorRt,
        },
        layer_launch_us: engine.layer_launch_us.unwrap_or(EAGER_LAYER_US),
        step_overhead_us: engine.step_overhead_us,
        sequence_overhead_us: engine.sequence_overhead_us,
        // Those that know no budget have larger iterations, which must not be continued from small ones: those are padded.
        // TensorRT-LLM attends in a call for prompts and one for those that decode.
        attention: match engine.batcher {
            BatcherFile::TensorrtLlm => AttentionKernels::TwoCalls,
            _ => AttentionKernels::default(),
        },
        max_tokens: match engine.batcher {
            BatcherFile::Orca | BatcherFile::Static => {
                engine.max_batched_tokens.max(Options::default().max_tokens)
            }
            _ => engine.max_batched_tokens,
        },
        max_sequences: engine.max_sequences,
        ..Options::default()
    }
}

fn admission(file: &AdmissionFile) -> FleetOptions {
    let ns = |seconds: f64| (seconds * 1e9).round() as u64;
    FleetOptions {
        max_outstanding: file.max_outstanding.unwrap_or(u32::MAX),
        max_queued: file.max_queued.unwrap_or(u32::MAX),
        timeout_ns: file.timeout_s.map(ns),
        cancels: file.cancel,
        retries: file.retries,
        backoff_ns: ns(file.backoff_s),
        ..FleetOptions::default()
    }
}

fn target(max_model_tokens: u32) -> Target {
    Target { model: String::new(), priority: 0, max_model_tokens }
}

fn conversations(file: &SessionsFile, block_tokens: u32) -> SessionsConfig {
    SessionsConfig {
        arrival: arrival(&file.arrival),
        turns: count_law(&file.turns),
        groups: Groups { count: file.system_prompts, zipf_exponent: 0.0, system_tokens: file.system_tokens },
        user: count_law(&file.user),
        output: count_law(&file.output),
        think: duration_law(&file.think),
        block_tokens,
        target: target(file.max_model_tokens),
        sessions: Some(file.count),
    }
}

fn closed_loop(file: &ClosedUsersFile) -> ClosedLoopConfig {
    ClosedLoopConfig {
        users: file.users,
        think: duration_law(&file.think),
        lengths: LengthsLaw::Independent { prompt: count_law(&file.prompt), output: count_law(&file.output) },
        target: target(file.max_model_tokens),
        requests: Some(file.count),
    }
}

pub(super) fn arrival(file: &RequestArrivalFile) -> RequestArrival {
    match file {
        RequestArrivalFile::Constant { rate_per_s } => RequestArrival::Constant { rate_per_s: *rate_per_s },
        RequestArrivalFile::Poisson { rate_per_s } => RequestArrival::poisson(*rate_per_s),
        RequestArrivalFile::Gamma { rate_per_s, coefficient_of_variation } => {
            RequestArrival::Law(Arrival::Gamma {
                rate_per_s: *rate_per_s,
                coefficient_of_variation: *coefficient_of_variation,
            })
        }
        RequestArrivalFile::Diurnal { rate_per_s, peak_to_trough, peak_s, period_s } => {
            RequestArrival::Law(Arrival::Diurnal {
                rate_per_s: *rate_per_s,
                peak_to_trough: *peak_to_trough,
                peak_s: *peak_s,
                period_s: *period_s,
            })
        }
        RequestArrivalFile::Mmpp { states } => RequestArrival::Mmpp {
            states: states
                .iter()
                .map(|state| MmppState { rate_per_s: state.rate_per_s, mean_sojourn_s: state.mean_sojourn_s })
                .collect(),
        },
    }
}

pub(super) fn count_law(file: &CountFile) -> CountLaw {
    match *file {
        CountFile::Constant { count } => CountLaw::Constant { count },
        CountFile::Uniform { min, max } => CountLaw::Uniform { min, max },
        CountFile::LogNormal { median, sigma, min, max } => CountLaw::LogNormal { median, sigma, min, max },
        CountFile::Zipf { min, max, exponent } => CountLaw::Zipf { min, max, exponent },
    }
}
