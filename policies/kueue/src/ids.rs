//! Dense numbers of what a quota model is made of.

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub struct $name(u32);

        impl $name {
            /// From an index.
            pub const fn new(index: usize) -> Self {
                Self(index as u32)
            }

            /// The index.
            pub const fn index(self) -> usize {
                self.0 as usize
            }
        }
    };
}

id! {
    /// A cluster queue.
    QueueId
}
id! {
    /// A node of the tree of quotas: cluster queue `i` is node `i`, cohorts come after all queues.
    NodeId
}
id! {
    /// A resource flavor.
    FlavorId
}
id! {
    /// A resource, such as CPU. Ids are in order of name, which decides between equally dominant resources.
    ResourceId
}
id! {
    /// A resource of a flavor: what quotas are given in.
    Cell
}
id! {
    /// A workload.
    WorkloadId
}

impl QueueId {
    /// Its node in the tree of quotas.
    pub const fn node(self) -> NodeId {
        NodeId(self.0)
    }
}
