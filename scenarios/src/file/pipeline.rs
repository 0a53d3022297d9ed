//! Requests that go through several services, as written.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ClassicalSloFile, CountFile, RequestsFile, is_default};

/// Services that a request goes through: an ensemble, or a pipeline of models.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PipelineFile {
    /// Name of the pipeline, used in outputs.
    #[schemars(length(min = 1))]
    pub name: String,
    /// Its stages. A request is answered when all of them are done.
    #[schemars(length(min = 1, max = 64))]
    pub stage: Vec<StageFile>,
    /// Where its requests come from.
    pub requests: RequestsFile,
    /// What is promised.
    #[serde(default, skip_serializing_if = "is_default")]
    pub slo: ClassicalSloFile,
}

/// A stage of a pipeline: what it asks of one service.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StageFile {
    /// Its name, used in outputs and by `after`; that of its service if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub name: Option<String>,
    /// The service that it asks: a `service` or `classical_service` of the scenario.
    #[schemars(length(min = 1))]
    pub service: String,
    /// Stages that must be done before it begins; it begins at once if empty.
    #[serde(default, skip_serializing_if = "is_default")]
    pub after: Vec<String>,
    /// Requests that it sends at once for each of the pipeline's. It is done when all are answered.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    #[schemars(range(min = 1, max = 10_000))]
    pub requests: u32,
    /// Share of the pipeline's requests that need it. Where it is not needed it is done as soon as it would begin.
    #[serde(default = "always", skip_serializing_if = "is_always")]
    #[schemars(range(min = 0, max = 1))]
    pub probability: f64,
    /// A `service`: tokens of its prompt; those of the pipeline's request if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<CountFile>,
    /// A `service`: tokens of its answer; those of the pipeline's request if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<CountFile>,
    /// A `service`: whether the answers of the stages in `after` are part of its prompt, behind the rest.
    #[serde(default, skip_serializing_if = "is_default")]
    pub adds_answers: bool,
}

fn one() -> u32 {
    1
}

fn always() -> f64 {
    1.0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_one(number: &u32) -> bool {
    *number == 1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
#[expect(clippy::float_cmp, reason = "1 is written, not reckoned")]
fn is_always(share: &f64) -> bool {
    *share == 1.0
}
