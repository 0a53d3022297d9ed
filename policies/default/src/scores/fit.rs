//! `NodeResourcesFit` as a score, with its three strategies.

use alloc::vec::Vec;

use foretell_framework::{ClusterState, NodeId, Score, TaskSpec};

use super::MAX_NODE_SCORE;
use super::resource::{Counted, Extras, Usage, WeightedResource, scoring_requests};

/// Points of utilisation in percent and score, utilisation ascending; linear between them, constant beyond.
pub type UtilizationShape = Vec<(i64, i64)>;

/// What a node is scored for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum ScoringStrategy {
    /// What stays free.
    #[default]
    LeastAllocated,
    /// What is in use.
    MostAllocated,
    /// A function of what is in use. Scores of its points are 0..=100 (ten times those of Kubernetes).
    RequestedToCapacityRatio(UtilizationShape),
}

/// `scoringStrategy` of the plugin's arguments.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FitScoring {
    /// The strategy.
    pub strategy: ScoringStrategy,
    /// The resources that count.
    pub resources: Vec<WeightedResource>,
}

impl Default for FitScoring {
    fn default() -> Self {
        let resources = WeightedResource::cpu_and_memory();
        Self { strategy: ScoringStrategy::LeastAllocated, resources }
    }
}

/// `NodeResourcesFit`: weighted mean of a strategy's score over resources.
pub struct FitScore {
    scoring: FitScoring,
    /// What the resources are, `None` where the cluster does not know the name yet.
    counted: Vec<Option<Counted>>,
    extras: Extras,
}

impl FitScore {
    /// With this strategy.
    pub fn new(scoring: FitScoring) -> Self {
        let counted = scoring.resources.iter().map(|_| None).collect();
        Self { scoring, counted, extras: Extras::default() }
    }
}

impl Score for FitScore {
    fn name(&self) -> &'static str {
        "NodeResourcesFit"
    }

    fn score(&mut self, state: &ClusterState, task: &TaskSpec, node: NodeId) -> i64 {
        let Self { scoring, counted, extras } = self;
        let (extra, own) = (extras.of(state, node), scoring_requests(task));
        let (mut sum, mut weights) = (0, 0);
        for (resource, counted) in scoring.resources.iter().zip(counted) {
            let found = counted.or_else(|| {
                *counted = Counted::find(state, &resource.name);
                *counted
            });
            let usage = found.and_then(|counted| Some((counted, counted.usage(state, task, node)?)));
            let Some((counted, (used, allocatable))) = usage else { continue };
            let used = match counted {
                Counted::Cpu => used + extra.cpu_milli + own.cpu_milli,
                Counted::Memory => used + extra.memory_bytes + own.memory_bytes,
                Counted::Gpu | Counted::Extended { .. } => used + counted.requested(task),
            };
            let score = scoring.strategy.score((used, allocatable));
            // By capacity ratio, what scores nothing does not count.
            if score > 0 || !matches!(scoring.strategy, ScoringStrategy::RequestedToCapacityRatio(_)) {
                sum += score * i64::from(resource.weight);
                weights += i64::from(resource.weight);
            }
        }
        match scoring.strategy {
            _ if weights == 0 => 0,
            ScoringStrategy::RequestedToCapacityRatio(_) => libm::round(sum as f64 / weights as f64) as i64,
            _ => sum / weights,
        }
    }
}

impl ScoringStrategy {
    /// The score of one resource that the node has.
    fn score(&self, (used, allocatable): Usage) -> i64 {
        match self {
            Self::LeastAllocated => percent(allocatable.saturating_sub(used), allocatable),
            Self::MostAllocated => percent(used.min(allocatable), allocatable),
            Self::RequestedToCapacityRatio(shape) => at(shape, percent(used.min(allocatable), allocatable)),
        }
    }
}

/// `part` of `whole`, in percent rounded down.
fn percent(part: u64, whole: u64) -> i64 {
    let scaled = part.checked_mul(MAX_NODE_SCORE as u64).map_or_else(
        || (u128::from(part) * MAX_NODE_SCORE as u128 / u128::from(whole)) as u64,
        |scaled| scaled / whole,
    );
    scaled as i64
}

/// The value of a shape, in whole numbers truncated toward zero.
fn at(shape: &UtilizationShape, utilization: i64) -> i64 {
    let next = shape.iter().position(|&(point, _)| utilization <= point);
    match next.map(|next| (next.checked_sub(1).map(|before| shape[before]), shape[next])) {
        Some((Some((from, low)), (to, high))) => low + (high - low) * (utilization - from) / (to - from),
        Some((None, (_, score))) => score,
        None => shape.last().map_or(0, |&(_, score)| score),
    }
}
