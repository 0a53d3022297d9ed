//! When jobs take checkpoints, and what that takes.

use foretell_sim::platform::{CheckpointCost, Checkpoints, FaultKind, SizedBytes, Storage};

use super::Resolver;
use crate::file::{CheckpointFile, CheckpointInterval, FaultsFile, ScenarioFile};

const PATH: &str = "preemption.checkpoint";

/// Whether a job trains a model, whose states say how large its checkpoint is.
fn trains(file: &ScenarioFile) -> bool {
    let classes = file.workload.communication.iter().flat_map(|communication| &communication.classes);
    classes.into_iter().any(|class| class.train.is_some())
}

/// Bytes a second.
fn rate(gb_per_s: f64) -> u64 {
    ((gb_per_s * 1e9).round() as u64).max(1)
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

/// What is said of checkpoints; with storage for them all of it has a default.
fn said(file: &ScenarioFile) -> Option<CheckpointFile> {
    let stored = file.cluster.storage.map(|_| CheckpointFile::default());
    file.preemption.checkpoint.clone().or(stored)
}

impl Resolver<'_, '_> {
    /// Storage that checkpoints share.
    pub(super) fn storage(&mut self, file: &ScenarioFile) -> Option<Storage> {
        let storage = file.cluster.storage?;
        if file.preemption.checkpoint.is_none() && !trains(file) {
            let help = "give `preemption.checkpoint` a size, or let jobs train a model".to_owned();
            self.problem("cluster.storage", "nothing is said of checkpoints that go there", Some(help));
        }
        Some(Storage {
            write_bytes_per_s: rate(storage.write_gb_per_s),
            read_bytes_per_s: rate(storage.read_gb_per_s.unwrap_or(storage.write_gb_per_s)),
            node_bytes_per_s: storage.node_gb_per_s.map(rate),
        })
    }

    /// When checkpoints come: at the best interval where nothing is said of it.
    pub(super) fn checkpoints(&mut self, file: &ScenarioFile) -> Checkpoints {
        let stated = file.preemption.checkpoint_interval_s;
        let checkpoint = said(file);
        if let Some(interval) = checkpoint.as_ref().and_then(|checkpoint| checkpoint.interval) {
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
        let Some(checkpoint) = checkpoint else { return Checkpoints::Never };
        let is_sized = checkpoint.size_per_gpu.is_some() || checkpoint.size_per_job.is_some() || trains(file);
        if is_sized && !is_interrupted(file) {
            let path = if file.preemption.checkpoint.is_some() { PATH } else { "cluster.storage" };
            let help = "give `preemption.checkpoint_interval_s`, `[faults]` with a `preset` or with rates, or `preemption.checkpoint.mean_time_between_evictions_s`";
            self.problem(path, "nothing says when checkpoints are taken", Some(help.to_owned()));
        }
        Checkpoints::Young
    }

    pub(super) fn checkpoint_cost(&mut self, scenario: &ScenarioFile) -> CheckpointCost {
        let Some(file) = said(scenario) else { return CheckpointCost::default() };
        if file.write_gb_per_s.is_none() && scenario.cluster.storage.is_none() {
            let help = "or say with `cluster.storage` what all write to".to_owned();
            self.problem(PATH, "missing field `write_gb_per_s`", Some(help));
        }
        let [base, per_gpu] =
            [file.size_per_job, file.size_per_gpu].map(|size| size.map_or(0, |size| size.0));
        if [base, per_gpu] == [0, 0] && !trains(scenario) && scenario.preemption.checkpoint.is_some() {
            let help = "no job trains a model, whose states would say it".to_owned();
            let message = "expected at least one of `size_per_gpu` and `size_per_job`, got neither";
            self.problem(PATH, message, Some(help));
        }
        let eviction_every = file.mean_time_between_evictions_s.map(|seconds| {
            let path = format!("{PATH}.mean_time_between_evictions_s");
            crate::assemble::time(self.positive_span(&path, seconds))
        });
        CheckpointCost {
            size: ([base, per_gpu] != [0, 0]).then_some(SizedBytes { base, per_gpu }),
            write_bytes_per_s: file.write_gb_per_s.map_or(u64::MAX, rate),
            read_bytes_per_s: file.read_gb_per_s.or(file.write_gb_per_s).map_or(u64::MAX, rate),
            stall_millionths: (file.stall_fraction * 1e6).round() as u32,
            eviction_every,
        }
    }
}
