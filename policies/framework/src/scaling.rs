//! How fast an elastic job goes on some of its tasks.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::gpu::GpuModelSet;
use crate::id::GpuModelId;

/// The speed of a job on what it asks for. Speeds are whole millionths of it, so that no sum over a run drifts.
pub const FULL_SPEED: u64 = 1_000_000;

/// All of a job's work, as its progress is counted.
pub const WHOLE_WORK: u64 = 1_000_000;

/// How fast a job progresses, by the tasks that run, their GPUs and how far it has come. Only tasks with GPUs count. A job
/// that has none of this goes in proportion to the tasks that run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Scaling {
    /// Tasks that it asks for: on so many, its speed is [`FULL_SPEED`] and it takes its duration.
    pub asked: u32,
    phases: Box<[ScalingPhase]>,
}

/// A part of a job's work in which it scales alike.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ScalingPhase {
    /// Where it begins, in millionths of all work.
    pub from: u64,
    /// Speeds; of several that are for a model the first counts. On a model that none is for the job does not progress.
    pub curves: Vec<SpeedCurve>,
}

/// Speeds by number of tasks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SpeedCurve {
    /// The GPU models that it is for.
    pub models: GpuModelSet,
    /// On one node: on one task, on two and so on, in millionths. More tasks than there are entries add nothing.
    pub one_node: Box<[u64]>,
    /// On several nodes, likewise; as on one if empty.
    pub many_nodes: Box<[u64]>,
}

impl SpeedCurve {
    fn speed(&self, tasks: u32, is_one_node: bool) -> u64 {
        let speeds =
            if is_one_node || self.many_nodes.is_empty() { &self.one_node } else { &self.many_nodes };
        let position = (tasks as usize).min(speeds.len());
        position.checked_sub(1).map_or(0, |position| speeds[position])
    }
}

impl Scaling {
    /// A law of these phases, in any order; the first of them also holds before it begins.
    pub fn new(asked: u32, mut phases: Vec<ScalingPhase>) -> Self {
        phases.sort_by_key(|phase| phase.from);
        Self { asked, phases: phases.into() }
    }

    /// The same at every phase, on every model, on one node or several.
    pub fn of_tasks(asked: u32, speeds: impl Into<Box<[u64]>>) -> Self {
        let curve =
            SpeedCurve { models: GpuModelSet::ANY, one_node: speeds.into(), many_nodes: Box::default() };
        Self::new(asked, alloc::vec![ScalingPhase { from: 0, curves: alloc::vec![curve] }])
    }

    /// The speed on so many tasks of one GPU model, once `done` millionths of the work are done.
    pub fn speed(&self, done: u64, tasks: u32, model: GpuModelId, is_one_node: bool) -> u64 {
        let after = self.phases.partition_point(|phase| phase.from <= done);
        let phase = self.phases.get(after.saturating_sub(1));
        let curve = phase.and_then(|phase| phase.curves.iter().find(|curve| curve.models.allows(model)));
        curve.map_or(0, |curve| curve.speed(tasks, is_one_node))
    }

    /// The speed on tasks of several GPU models: all keep pace with the slowest.
    pub fn speed_on(
        &self,
        done: u64,
        tasks: u32,
        models: impl IntoIterator<Item = GpuModelId>,
        is_one_node: bool,
    ) -> u64 {
        models.into_iter().map(|model| self.speed(done, tasks, model, is_one_node)).min().unwrap_or(0)
    }

    /// Where the phase after `done` begins, if there is one.
    pub fn next_phase(&self, done: u64) -> Option<u64> {
        self.phases.iter().map(|phase| phase.from).find(|&from| from > done && from < WHOLE_WORK)
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    #[test]
    fn a_speed_is_that_of_the_phase_the_model_and_the_spread() {
        let [a100, t4, other] = [0, 1, 2].map(GpuModelId::new);
        let curve = |model: GpuModelId, one_node: &[u64], many_nodes: &[u64]| SpeedCurve {
            models: [model].into_iter().collect(),
            one_node: one_node.into(),
            many_nodes: many_nodes.into(),
        };
        let law = Scaling::new(
            2,
            vec![
                ScalingPhase { from: 500_000, curves: vec![curve(a100, &[700, 1300], &[])] },
                ScalingPhase {
                    from: 0,
                    curves: vec![curve(a100, &[600, 1000, 1300], &[600, 800]), curve(t4, &[200, 350], &[])],
                },
            ],
        );
        for (done, tasks, models, is_one_node, expected) in [
            (0, 0, vec![a100], true, 0),
            (0, 1, vec![a100], true, 600),
            (0, 3, vec![a100], true, 1300),
            (0, 9, vec![a100], true, 1300),
            (0, 2, vec![a100], false, 800),
            (0, 3, vec![a100], false, 800),
            (0, 2, vec![t4], false, 350),
            (0, 2, vec![a100, t4], true, 350),
            (0, 2, vec![other], true, 0),
            (0, 2, vec![], true, 0),
            (499_999, 2, vec![a100], true, 1000),
            (500_000, 2, vec![a100], true, 1300),
            (1_000_000, 2, vec![a100], false, 1300),
        ] {
            let got = law.speed_on(done, tasks, models.clone(), is_one_node);
            assert_eq!(got, expected, "{done} {tasks} {models:?} {is_one_node}");
        }
        assert_eq!(law.next_phase(0), Some(500_000));
        assert_eq!(law.next_phase(500_000), None);
    }
}
