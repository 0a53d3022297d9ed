//! When jobs take checkpoints, and what that takes.

use foretell_sim::platform::{CheckpointCost, Checkpoints, FaultKind, SizedBytes};

use super::Resolver;
use crate::file::{CheckpointFile, CheckpointInterval, FaultsFile, ScenarioFile};

const PATH: &str = "preemption.checkpoint";

/// Whether a job trains a model, whose states say how large its checkpoint is.
fn trains(file: &ScenarioFile) -> bool {
    let classes = file.workload.communication.iter().flat_map(|communication| &communication.classes);
    classes.into_iter().any(|class| class.train.is_some())
}

/// Whether anything interrupts jobs that their intervals can be weighed against: what the nodes of a job do, and evictions that are reckoned with.
fn is_interrupted(file: &ScenarioFile) -> bool {
    let fails = |faults: &FaultsFile| {
        let rate = |&kind: &FaultKind| faults.rate(kind).map(|rate| rate.per_1000_node_days);
        FaultKind::ALL[..FaultKind::OF_NODES].iter().any(|kind| rate(kind).unwrap_or(0.0) > 0.0)
            || faults.preset.is_some()
    };
    let evicted = |file: &CheckpointFile| file.mean_time_between_evictions_s.is_some();
    file.faults.as_ref().is_some_and(fails) || file.preemption.checkpoint.as_ref().is_some_and(evicted)
}

impl Resolver<'_, '_> {
    /// When checkpoints come. Where their size is that of models and nothing is said of the interval, at the best.
    pub(super) fn checkpoints(&mut self, file: &ScenarioFile) -> Checkpoints {
        let stated = file.preemption.checkpoint_interval_s;
        let checkpoint = file.preemption.checkpoint.as_ref();
        if let Some(interval) = checkpoint.and_then(|checkpoint| checkpoint.interval) {
            let path = format!("{PATH}.interval");
            if stated.is_some() {
                self.problem(&path, "expected this or `checkpoint_interval_s`, got both", None);
            }
            if !is_interrupted(file) {
                let help = "add a section `[faults]` with a `preset` or with rates, or `mean_time_between_evictions_s`";
                let message = "nothing fails, so that there is no best interval";
                self.problem(&path, message, Some(help.to_owned()));
            }
            return match interval {
                CheckpointInterval::Young => Checkpoints::Young,
                CheckpointInterval::Daly => Checkpoints::Daly,
            };
        }
        if let Some(interval_s) = stated {
            let interval = self.span("preemption.checkpoint_interval_s", interval_s);
            return Checkpoints::Every(crate::assemble::time(interval));
        }
        let of_models = checkpoint.is_some_and(|file| file.size_per_gpu.is_none() && file.size_per_job.is_none());
        if of_models && is_interrupted(file) { Checkpoints::Young } else { Checkpoints::Never }
    }

    pub(super) fn checkpoint_cost(&mut self, scenario: &ScenarioFile) -> CheckpointCost {
        let Some(file) = &scenario.preemption.checkpoint else { return CheckpointCost::default() };
        let [base, per_gpu] = [file.size_per_job, file.size_per_gpu].map(|size| size.map_or(0, |size| size.0));
        if [base, per_gpu] == [0, 0] && !trains(scenario) {
            let help = "no job trains a model, whose states would say it".to_owned();
            let message = "expected at least one of `size_per_gpu` and `size_per_job`, got neither";
            self.problem(PATH, message, Some(help));
        }
        let rate = |gb_per_s: f64| ((gb_per_s * 1e9).round() as u64).max(1);
        let eviction_every = file.mean_time_between_evictions_s.map(|seconds| {
            let path = format!("{PATH}.mean_time_between_evictions_s");
            crate::assemble::time(self.positive_span(&path, seconds))
        });
        CheckpointCost {
            size: ([base, per_gpu] != [0, 0]).then_some(SizedBytes { base, per_gpu }),
            write_bytes_per_s: rate(file.write_gb_per_s),
            read_bytes_per_s: rate(file.read_gb_per_s.unwrap_or(file.write_gb_per_s)),
            stall_millionths: (file.stall_fraction * 1e6).round() as u32,
            eviction_every,
        }
    }
}
