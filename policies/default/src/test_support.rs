//! Small fixtures for this crate's tests.

use core::convert::Infallible;
use std::boxed::Box;
use std::vec;
use std::vec::Vec;

use foretell_framework::{
    ClassId, ClusterState, GpuSet, JobId, JobSpec, Labels, NodeId, NodeSpec, Resources, Session, TaskSpec,
    Time,
};
use rand::TryRng;

/// A source of randomness for policies that must not use any.
pub(crate) struct NoRandom;

impl TryRng for NoRandom {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        unreachable!("the default profile draws no random numbers")
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        unreachable!("the default profile draws no random numbers")
    }

    fn try_fill_bytes(&mut self, _bytes: &mut [u8]) -> Result<(), Infallible> {
        unreachable!("the default profile draws no random numbers")
    }
}

/// A number of nodes.
pub(crate) fn cluster(nodes: usize, spec: impl Fn() -> NodeSpec) -> ClusterState {
    let mut state = ClusterState::new();
    for _ in 0..nodes {
        state.add_node(spec()).expect("legal node");
    }
    state
}

/// The class of tasks that request CPU and memory.
pub(crate) fn class(state: &mut ClusterState, cpu_milli: u64, memory_bytes: u64) -> ClassId {
    state.class(&TaskSpec { requests: Resources::new(cpu_milli, memory_bytes), ..TaskSpec::default() })
}

/// Adds a job of `count` tasks of one class, all of which it needs.
pub(crate) fn add_job(
    state: &mut ClusterState,
    sequence: u64,
    class: ClassId,
    count: u32,
    priority: i32,
    submitted: Time,
) -> JobId {
    let queue = state.queue_id("default");
    let tasks = vec![(class, count)].into_boxed_slice();
    state.add_job(JobSpec { priority, submitted, ..JobSpec::new(sequence, queue, tasks) })
}

/// Adds a task of its own job with this spec and places it on a node.
pub(crate) fn place(state: &mut ClusterState, spec: &TaskSpec, node: usize) -> JobId {
    let class = state.class(spec);
    let job = add_job(state, 0, class, 1, 0, Time::ZERO);
    let task = state.job(job).expect("just added").tasks()[0];
    let (mut random, mut decisions) = (NoRandom, Vec::new());
    let mut session = Session::new(state, Time::ZERO, &mut random, &mut decisions);
    let (mut transaction, _) = session.begin();
    transaction.place(task, NodeId::new(node), GpuSet::EMPTY).expect("legal placement");
    transaction.commit();
    job
}

/// Labels or a selector, from `key=value` pairs parted by commas.
pub(crate) fn labels(text: &str) -> Labels {
    let pairs = text.split(',').filter_map(|pair| pair.split_once('='));
    pairs.map(|(key, value)| (Box::from(key), Box::from(value))).collect()
}
