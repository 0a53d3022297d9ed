//! Typed indices of the dense arenas.

/// Defines a 32-bit index type for an arena that only grows.
macro_rules! define_id {
    ($(#[$doc:meta] $name:ident),+ $(,)?) => {$(
        #[$doc]
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub struct $name(u32);

        impl $name {
            /// The id of position `index` of its arena.
            pub const fn new(index: usize) -> Self {
                Self(index as u32)
            }

            /// The position in its arena.
            pub const fn index(self) -> usize {
                self.0 as usize
            }
        }
    )+};
}

define_id! {
    /// A node. Ids follow the order in which nodes were added: where a policy says "first node", it means the smallest id.
    NodeId,
    /// A GPU device, dense over the whole cluster; the devices of a node are consecutive.
    GpuId,
    /// A GPU model.
    GpuModelId,
    /// An extended resource (such as an RDMA NIC) that is counted, not tracked device by device.
    ResourceId,
    /// A queue (virtual cluster, team).
    QueueId,
    /// A topology domain: a rack, a leaf switch, a pod of the fat tree.
    DomainId,
    /// A class of identical tasks: same requests, same constraints.
    ClassId,
    /// A shape of jobs: the same number of tasks of the same classes.
    ShapeId,
}

slotmap::new_key_type! {
    /// A job (pod group). Slots are reused; an id of a job that is gone never names another.
    pub struct JobId;
    /// A task (pod). Slots are reused; an id of a task that is gone never names another.
    pub struct TaskId;
}

/// The slot of a key: small, and taken again only when what had it is gone.
fn slot(key: slotmap::KeyData) -> usize {
    // The low half of the number; the high half counts how often the slot was taken.
    (key.as_ffi() & u64::from(u32::MAX)) as usize
}

impl JobId {
    /// Its position in a dense list by job, which no other job has while this one is there.
    pub fn slot(self) -> usize {
        slot(slotmap::Key::data(&self))
    }
}

impl TaskId {
    /// Its position in a dense list by task, which no other task has while this one is there.
    pub fn slot(self) -> usize {
        slot(slotmap::Key::data(&self))
    }
}
