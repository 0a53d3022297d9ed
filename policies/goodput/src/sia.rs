//! Sia (SOSP'23): in every round a shape for each job, by an integer program over their goodput.

use alloc::vec;
use alloc::vec::Vec;

use crate::{
    Choice, JobView, NodeType, Placement, Selection, Shape, Solver, Wanted, node_types, pack, restart_factor,
    shape_of,
};

/// Sia's policy. Section numbers are those of the paper.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Sia {
    /// The exponent of normalised goodput: below zero what has least counts most, above zero what gains most.
    pub power: f64,
    /// What it costs to leave a job without GPUs.
    pub queueing_penalty: f64,
}

impl Default for Sia {
    /// The paper's settings: -0.5 and 1.1 (from memory).
    fn default() -> Self {
        Self { power: -0.5, queueing_penalty: 1.1 }
    }
}

impl Sia {
    /// The shapes that Sia considers (section 3.3): 1, 2, 4, ... GPUs of a node and any number of whole nodes, per type.
    pub fn shapes(cluster: &[NodeType]) -> Vec<Shape> {
        let mut shapes = Vec::new();
        for (gpu_type, nodes) in cluster.iter().enumerate().filter(|(_, nodes)| nodes.gpus() > 0) {
            let parts = (0..u32::BITS).map(|power| 1 << power).take_while(|&gpus| gpus < nodes.gpus_per_node);
            shapes.extend(parts.map(|gpus| Shape { gpu_type, gpus, nodes: 1 }));
            let wholes = (1..=nodes.nodes).map(|count| (count, count * nodes.gpus_per_node));
            shapes.extend(wholes.map(|(nodes, gpus)| Shape { gpu_type, gpus, nodes }));
        }
        shapes
    }

    /// The integer program of a round (section 3.4). Goodput is relative to the job's least in any shape, times the
    /// fewest GPUs that it runs on; in another shape than the current it is less by what a restart costs. Then, for a negative power, the
    /// sum of goodput^power, and of the penalty over jobs without GPUs, is least where the worth of what is chosen is greatest.
    pub fn selection(&self, cluster: &[NodeType], jobs: &[JobView<'_>]) -> Selection {
        let types = node_types(cluster);
        let shapes = Self::shapes(cluster);
        let mut selection = Selection {
            jobs: jobs.len(),
            capacities: cluster.iter().map(NodeType::gpus).collect(),
            choices: Vec::new(),
        };
        for (number, job) in jobs.iter().enumerate() {
            let current = shape_of(job.current, &types);
            let allowed =
                shapes.iter().filter(|shape| (job.gpus_least..=job.gpus_most).contains(&shape.gpus));
            let goodputs: Vec<(Shape, f64)> = allowed
                .map(|&shape| (shape, job.goodput.goodput(shape)))
                .filter(|&(_, goodput)| goodput > 0.0)
                .collect();
            let least = goodputs.iter().map(|&(_, goodput)| goodput).fold(f64::INFINITY, f64::min);
            for (shape, goodput) in goodputs {
                let factor = match current {
                    Some(current) if current != shape => {
                        restart_factor(job.age_s, job.restarts, job.restart_s)
                    }
                    _ => 1.0,
                };
                let normalised = factor * goodput / least * f64::from(job.gpus_least.max(1));
                let value = libm::pow(normalised, self.power);
                let worth = self.queueing_penalty + if self.power < 0.0 { -value } else { value };
                if worth > 0.0 {
                    selection.choices.push(Choice { job: number, shape, worth });
                }
            }
        }
        selection
    }

    /// A shape per job, or none.
    pub fn choose(
        &self,
        cluster: &[NodeType],
        jobs: &[JobView<'_>],
        solver: &mut dyn Solver,
    ) -> Vec<Option<Shape>> {
        let selection = self.selection(cluster, jobs);
        let mut shapes = vec![None; jobs.len()];
        for at in solver.choose(&selection).unwrap_or_default() {
            let choice = selection.choices[at];
            shapes[choice.job] = Some(choice.shape);
        }
        shapes
    }

    /// Where each job runs in the coming round.
    pub fn allocate(
        &self,
        cluster: &[NodeType],
        jobs: &[JobView<'_>],
        solver: &mut dyn Solver,
    ) -> Vec<Placement> {
        let shapes = self.choose(cluster, jobs, solver);
        let wanted: Vec<_> =
            shapes.into_iter().zip(jobs).map(|(shape, job)| Wanted { shape, current: job.current }).collect();
        pack(cluster, &wanted)
    }
}
