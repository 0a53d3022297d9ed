//! Jobs of requests with a deadline.

use foretell_traces::generate::GenerateError;
use foretell_traces::requests::RequestGenerator;
use foretell_traces::requests::generate::{LengthsLaw, RequestArrival, RequestGeneratorConfig, Target};

use super::Resolver;
use super::service::count_law;
use crate::file::{BatcherFile, ServiceFile};
use crate::service::BatchJob;

impl Resolver<'_, '_> {
    pub(super) fn batches(&mut self, path: &str, service: &ServiceFile, seed: u64) -> Vec<BatchJob> {
        let heeded = service.engine.batcher == BatcherFile::Vllm && service.engine.priorities;
        if !service.batch.is_empty() && !heeded {
            let message = "expected `engine.priorities = true` and `engine.batcher = \"vllm\"` beside it: else jobs delay all others";
            self.problem(&format!("{path}.batch"), message, None);
        }
        let ns = |seconds: f64| (seconds * 1e9).round() as u64;
        let mut jobs = Vec::new();
        for (index, file) in service.batch.iter().enumerate() {
            let requests = RequestGeneratorConfig {
                // They are sent when they are due, not when they would arrive.
                arrival: RequestArrival::Constant { rate_per_s: 1e6 },
                lengths: LengthsLaw::Independent {
                    prompt: count_law(&file.prompt),
                    output: count_law(&file.output),
                },
                target: Target {
                    model: String::new(),
                    priority: file.priority,
                    max_model_tokens: file.max_model_tokens,
                },
            };
            if let Err(GenerateError { field, expected, got }) = RequestGenerator::new(&requests, seed) {
                let message = format!("expected {expected}, got {got}");
                self.problem(&format!("{path}.batch[{index}].{field}"), message, None);
            }
            jobs.push(BatchJob {
                name: file.name.clone(),
                submit_ns: ns(file.submit_s),
                deadline_ns: ns(file.submit_s + file.deadline_s),
                count: file.count,
                max_outstanding: file.max_outstanding.unwrap_or(u32::MAX),
                requests,
            });
        }
        jobs
    }
}
