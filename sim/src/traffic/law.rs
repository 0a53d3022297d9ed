//! How long a step takes: what a training job says of itself, and what follows for where it runs.

use std::fmt::Debug;

use foretell_framework::{GpuModelSet, GpuSet};

/// A job that knows how long a step takes where it was placed. Pure: the same shape always has the same law.
pub trait StepModel: Send + Sync + Debug {
    /// A step on GPUs placed so.
    fn law(&self, placement: &PlacementShape) -> StepLaw;

    /// What a step takes where the job runs at full speed: its duration is meant for that.
    fn reference_step_s(&self) -> f64;
}

/// Two jobs have the same model if they share it.
impl PartialEq for dyn StepModel {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::addr_eq(self, other)
    }
}

/// On how many GPUs of how many nodes a job runs.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct PlacementShape {
    gpus_by_node: Box<[u32]>,
    /// The models of the GPUs; more than one where a job runs on several.
    pub gpu_models: GpuModelSet,
    /// Which GPUs of its node, where the job is on one and they are known.
    pub devices: Option<GpuSet>,
}

impl PlacementShape {
    /// So many GPUs on each node, in any order; nodes without any do not count.
    pub fn new(gpus_by_node: impl IntoIterator<Item = u32>, gpu_models: GpuModelSet) -> Self {
        let mut gpus_by_node: Vec<u32> = gpus_by_node.into_iter().filter(|&gpus| gpus > 0).collect();
        gpus_by_node.sort_unstable_by(|one, other| other.cmp(one));
        Self { gpus_by_node: gpus_by_node.into(), gpu_models, devices: None }
    }

    /// So many GPUs on nodes of `per_node`, on as few nodes as hold them.
    pub fn packed(gpus: u32, per_node: u32, gpu_models: GpuModelSet) -> Self {
        let per_node = per_node.max(1);
        let full = (0..gpus / per_node).map(|_| per_node);
        Self::new(full.chain([gpus % per_node]), gpu_models)
    }

    /// The same on these GPUs of one node.
    #[must_use]
    pub fn on_devices(self, devices: GpuSet) -> Self {
        Self { devices: Some(devices), ..self }
    }

    /// GPUs on each node, most first.
    pub fn gpus_by_node(&self) -> &[u32] {
        &self.gpus_by_node
    }

    /// Number of nodes.
    pub fn nodes(&self) -> u32 {
        self.gpus_by_node.len() as u32
    }

    /// Number of GPUs.
    pub fn gpus(&self) -> u32 {
        self.gpus_by_node.iter().sum()
    }

    /// GPUs on the node that has fewest.
    pub fn fewest(&self) -> u32 {
        self.gpus_by_node.last().copied().unwrap_or(0)
    }
}

/// Who sends to whom.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Pattern {
    /// Each node to the next: rings and trees of all-reduce, all-gather, reduce-scatter.
    #[default]
    Ring,
    /// Each node to every other.
    AllToAll,
}

/// A step's time as a function of the bandwidth that its collectives have between nodes.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct StepLaw {
    /// What neither hides communication nor is hidden by it.
    pub fixed_s: f64,
    /// Computation that runs beside communication between nodes.
    pub overlapped_s: f64,
    /// What communication takes beside what bandwidth between nodes takes.
    pub latency_s: f64,
    /// What a step moves over the bus between nodes; nothing on one node.
    pub bytes: f64,
    /// The bus bandwidth that the job has alone on idle links without end.
    pub cap_gb_per_s: f64,
    /// Bytes that a node sends over all its NICs for each byte of the bus.
    pub sent: f64,
    /// Who sends to whom.
    pub pattern: Pattern,
}

impl StepLaw {
    /// A step that sends nothing between nodes.
    pub fn local(step_s: f64) -> Self {
        Self { fixed_s: step_s, ..Self::default() }
    }

    /// Whether a step sends anything between nodes.
    pub const fn communicates(&self) -> bool {
        self.bytes > 0.0
    }

    /// What a step takes at a bandwidth of the bus: `fixed + max(overlapped, latency + bytes / bandwidth)`. For ever without any.
    pub fn step_s(&self, bus_gb_per_s: f64) -> f64 {
        let moving_s = if self.communicates() { self.bytes / (bus_gb_per_s * 1e9) } else { 0.0 };
        self.fixed_s + self.overlapped_s.max(self.latency_s + moving_s)
    }

    /// What a step takes on links that do not bind it.
    pub fn alone_s(&self) -> f64 {
        self.step_s(self.cap_gb_per_s)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_are_sorted_and_packed() {
        let check = |shape: PlacementShape, expected: &[u32]| {
            assert_eq!(shape.gpus_by_node(), expected);
            let all = (expected.len() as u32, expected.iter().sum(), expected.last().copied().unwrap_or(0));
            assert_eq!((shape.nodes(), shape.gpus(), shape.fewest()), all);
        };
        check(PlacementShape::new([2, 0, 8], GpuModelSet::ANY), &[8, 2]);
        check(PlacementShape::packed(20, 8, GpuModelSet::ANY), &[8, 8, 4]);
        check(PlacementShape::packed(4, 8, GpuModelSet::ANY), &[4]);
        check(PlacementShape::new([], GpuModelSet::ANY), &[]);
    }

    #[test]
    fn a_step_by_hand() {
        // 0.3 s, then 0.5 s of computation beside 0.1 s and 8 GB.
        let law = StepLaw {
            fixed_s: 0.3,
            overlapped_s: 0.5,
            latency_s: 0.1,
            bytes: 8e9,
            cap_gb_per_s: 40.0,
            ..StepLaw::default()
        };
        for (rate, expected_s) in [(40.0, 0.8), (20.0, 0.8), (10.0, 1.2)] {
            assert!((law.step_s(rate) - expected_s).abs() < 1e-12);
        }
        assert!(law.step_s(0.0).is_infinite());
        assert!((StepLaw::local(2.0).alone_s() - 2.0).abs() < 1e-12);
    }
}
