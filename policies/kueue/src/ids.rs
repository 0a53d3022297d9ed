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
    /// A cohort.
    CohortId
}
id! {
    /// A cluster queue.
    QueueId
}
id! {
    /// A resource flavor.
    FlavorId
}
id! {
    /// A resource, such as CPU.
    ResourceId
}
id! {
    /// A workload.
    WorkloadId
}
