//! What a state refuses.

use alloc::boxed::Box;

use thiserror::Error;

use crate::gpu::{MAX_GPU_MODELS, MAX_GPUS_PER_NODE};
use crate::id::{GpuModelId, ResourceId};

/// A cluster that cannot be described.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum StateError {
    /// More devices than a [`GpuSet`](crate::GpuSet) holds.
    #[error("node {node}: {gpus} GPUs, at most {MAX_GPUS_PER_NODE} are supported")]
    TooManyGpus {
        /// The node's name.
        node: Box<str>,
        /// Its number of devices.
        gpus: u32,
    },
    /// GPUs without a model, or a model without GPUs.
    #[error("node {node}: a GPU model and a number of GPUs above zero belong together")]
    GpuModelMissing {
        /// The node's name.
        node: Box<str>,
    },
    /// An interconnect of another number of GPUs.
    #[error("node {node}: its interconnect has {interconnect} GPUs, the node has {gpus}")]
    OtherInterconnect {
        /// The node's name.
        node: Box<str>,
        /// Its number of devices.
        gpus: u32,
        /// That of the interconnect.
        interconnect: usize,
    },
    /// More CPU, memory or extended resources than can be counted over the cluster.
    #[error("node {node}: the cluster's resources do not fit in 64 bits")]
    ResourcesOverflow {
        /// The node's name.
        node: Box<str>,
    },
    /// More models than a [`GpuModelSet`](crate::GpuModelSet) holds.
    #[error("more than {MAX_GPU_MODELS} GPU models in one cluster")]
    TooManyGpuModels,
}

/// An illegal placement. The state is unchanged; the transaction can go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum PlacementError {
    /// No such task, or it is gone.
    #[error("no such task")]
    UnknownTask,
    /// No such node.
    #[error("no such node")]
    UnknownNode,
    /// The task is placed already.
    #[error("the task is already placed")]
    AlreadyPlaced,
    /// The task is not placed.
    #[error("the task is not placed")]
    NotPlaced,
    /// The node takes no more tasks.
    #[error("the node already has its {max} tasks")]
    TooManyTasks {
        /// Tasks that it takes.
        max: u32,
    },
    /// Not enough CPU.
    #[error("insufficient CPU: {requested_milli}m requested, {free_milli}m free")]
    InsufficientCpu {
        /// Requested.
        requested_milli: u64,
        /// Free.
        free_milli: u64,
    },
    /// Not enough memory.
    #[error("insufficient memory: {requested_bytes} bytes requested, {free_bytes} free")]
    InsufficientMemory {
        /// Requested.
        requested_bytes: u64,
        /// Free.
        free_bytes: u64,
    },
    /// Not enough of an extended resource.
    #[error("insufficient extended resource: {requested} requested, {free} free")]
    InsufficientExtended {
        /// Which.
        resource: ResourceId,
        /// Requested.
        requested: u64,
        /// Free.
        free: u64,
    },
    /// Another number of devices than the task requests.
    #[error("{given} GPUs given, {requested} requested")]
    WrongGpuCount {
        /// Requested.
        requested: u32,
        /// Given.
        given: u32,
    },
    /// A device that the node does not have.
    #[error("the node has no GPU {device}")]
    UnknownGpu {
        /// Index within the node.
        device: usize,
    },
    /// The task does not accept this model.
    #[error("the task does not accept this GPU model")]
    WrongGpuModel {
        /// The node's model.
        model: GpuModelId,
    },
    /// A broken device.
    #[error("GPU {device} is unhealthy")]
    UnhealthyGpu {
        /// Index within the node.
        device: usize,
    },
    /// A device with less left than requested.
    #[error("GPU {device} has {free_milli}m left, {requested_milli}m requested")]
    GpuFull {
        /// Index within the node.
        device: usize,
        /// Requested of each device.
        requested_milli: u32,
        /// Left on this one.
        free_milli: u32,
    },
}
