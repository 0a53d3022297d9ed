//! How jobs that share a GPU slow each other, as written.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How jobs that take parts of the same GPU slow each other. Nobody is slowed where this is absent.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ColocationFile {
    /// Kinds of jobs; one is drawn for each job that takes a part of a GPU.
    #[schemars(length(min = 1, max = 1000))]
    pub classes: Vec<ColocationClassFile>,
    /// How fast jobs of two kinds are beside each other; those that are not listed do not slow each other.
    pub pairs: Vec<ColocationPairFile>,
}

/// A kind of jobs.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ColocationClassFile {
    /// What it is called.
    #[schemars(length(min = 1))]
    pub name: String,
    /// Relative frequency among the classes.
    #[serde(default = "unit")]
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub weight: f64,
}

/// Two kinds of jobs on one GPU.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ColocationPairFile {
    /// Which; the same one twice for two jobs of a kind.
    pub classes: [String; 2],
    /// How fast each is beside the other, relative to alone.
    #[schemars(inner(range(min = 0.000_001, max = 1)))]
    pub speeds: [f64; 2],
}

fn unit() -> f64 {
    1.0
}
