//! Pollux (OSDI'21) and Sia (SOSP'23) on the jobs of a cluster: what they decide is `foretell-goodput`'s, what jobs are told to
//! do is [`Elastic`](crate::Elastic)'s.

use alloc::vec::Vec;

use foretell_framework::{NodeId, Time};
use foretell_goodput::{Exact, GoodputTable, JobView, NodeType, Placement, Pollux, Shape, Sia, doubled};

use crate::divide::{Divide, ElasticJob, NodesOfType};

/// Which of the two decides.
enum Rule {
    Sia(Sia, Exact),
    Pollux(Pollux),
}

/// Divides GPUs by goodput: the speed of a job on so many GPUs of a type, on one node or several, as far as it has come.
/// Jobs whose tasks hold shares of GPUs get none. A job is given at most twice the tasks that it ever had.
pub struct ByGoodput {
    rule: Rule,
    /// What growing, shrinking or moving costs a job.
    restart: Time,
}

impl ByGoodput {
    /// Sia, at the settings of its paper.
    pub fn sia(restart: Time) -> Self {
        Self { rule: Rule::Sia(Sia::default(), Exact::default()), restart }
    }

    /// Pollux, at the settings of its paper. It takes all GPUs for the most frequent ones.
    pub fn pollux(restart: Time) -> Self {
        Self { rule: Rule::Pollux(Pollux::default()), restart }
    }
}

/// What the rules see of a job.
struct Row {
    table: GoodputTable,
    current: Placement,
}

impl Row {
    fn new(job: &ElasticJob, types: &[NodesOfType], shapes: &[Shape]) -> Self {
        let mut table = GoodputTable::default();
        for &shape in shapes {
            let tasks = shape.gpus.checked_div(job.gpus_per_task).unwrap_or(0);
            let is_whole = tasks * job.gpus_per_task == shape.gpus;
            if is_whole && tasks >= job.min_tasks && tasks <= job.max_tasks {
                let model = types[shape.gpu_type].model;
                let speed = job.speed_in(model, tasks, shape.nodes == 1);
                table.insert(shape, speed as f64);
            }
        }
        let nodes = types.iter().flat_map(|nodes| &nodes.nodes).enumerate();
        let has = |(number, node): (usize, &NodeId)| {
            let (_, tasks) = job.places.iter().find(|(place, _)| place == node)?;
            Some((number, tasks * job.gpus_per_task))
        };
        Self { table, current: nodes.filter_map(has).collect() }
    }

    fn view<'a>(&'a self, job: &ElasticJob, now: Time, restart: Time) -> JobView<'a> {
        let gpus = |tasks: u32| tasks * job.gpus_per_task;
        JobView {
            id: job.sequence,
            gpus_least: gpus(job.min_tasks),
            gpus_most: doubled(gpus(job.most_tasks), gpus(job.min_tasks), gpus(job.max_tasks)),
            goodput: &self.table,
            age_s: now.since(job.submitted).as_s(),
            restarts: job.changes,
            restart_s: restart.as_s(),
            current: &self.current,
        }
    }
}

impl Divide for ByGoodput {
    fn name(&self) -> &'static str {
        match self.rule {
            Rule::Sia(..) => "Sia",
            Rule::Pollux(_) => "Pollux",
        }
    }

    fn arrange(
        &mut self,
        jobs: &[ElasticJob],
        types: &[NodesOfType],
        now: Time,
        draw: &mut dyn FnMut(usize) -> usize,
    ) -> Option<Vec<Vec<(NodeId, u32)>>> {
        let cluster: Vec<NodeType> = types
            .iter()
            .map(|of_type| NodeType {
                nodes: of_type.nodes.len() as u32,
                gpus_per_node: of_type.gpus_per_node,
            })
            .collect();
        let shapes = match &self.rule {
            Rule::Sia(..) => Sia::shapes(&cluster),
            Rule::Pollux(_) => {
                let most = jobs.iter().map(|job| job.max_tasks * job.gpus_per_task).max().unwrap_or(0);
                all_shapes(&cluster, most)
            }
        };
        let rows: Vec<Row> = jobs.iter().map(|job| Row::new(job, types, &shapes)).collect();
        let views: Vec<JobView<'_>> =
            rows.iter().zip(jobs).map(|(row, job)| row.view(job, now, self.restart)).collect();
        let placements = match &mut self.rule {
            Rule::Sia(sia, solver) => sia.allocate(&cluster, &views, solver),
            Rule::Pollux(pollux) => {
                let nodes: Vec<u32> = cluster
                    .iter()
                    .flat_map(|nodes| core::iter::repeat_n(nodes.gpus_per_node, nodes.nodes as usize))
                    .collect();
                pollux.allocate(&nodes, &views, draw)
            }
        };
        let ids: Vec<NodeId> = types.iter().flat_map(|nodes| nodes.nodes.iter().copied()).collect();
        let tasks = |(placement, job): (Placement, &ElasticJob)| {
            let on_node = |(number, gpus): (usize, u32)| {
                let tasks = gpus.checked_div(job.gpus_per_task).unwrap_or(0);
                (tasks > 0).then(|| (ids[number], tasks))
            };
            let places: Vec<_> = placement.into_iter().filter_map(on_node).collect();
            // Parts of tasks are left out, and with too few left the job waits.
            let total: u32 = places.iter().map(|&(_, tasks)| tasks).sum();
            if total < job.min_tasks { Vec::new() } else { places }
        };
        Some(placements.into_iter().zip(jobs).map(tasks).collect())
    }
}

/// Any number of GPUs up to the `most` that a job takes, on any number of nodes that can hold them, counted as of the first
/// type.
fn all_shapes(cluster: &[NodeType], most: u32) -> Vec<Shape> {
    let nodes: u32 = cluster.iter().map(|of_type| of_type.nodes).sum();
    let largest: u32 = cluster.iter().map(|of_type| of_type.gpus_per_node).max().unwrap_or(0);
    let shape = |nodes: u32| {
        let gpus = nodes..=most.min(nodes.saturating_mul(largest));
        gpus.map(move |gpus| Shape { gpu_type: 0, gpus, nodes })
    };
    (1..=nodes.min(most)).flat_map(shape).collect()
}
