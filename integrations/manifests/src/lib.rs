//! Kubernetes, Volcano and scheduler-plugins objects to [`ClusterState`](foretell_framework::ClusterState), and
//! decisions back to objects. No client, no I/O: text in, text out, so that a simulation and a production scheduler
//! read the same objects in the same way.

pub mod admit;
pub mod config;
pub mod convert;
pub mod error;
pub mod kinds;
pub mod kube_args;
pub mod kueue;
pub mod objects;
pub mod quantity;
pub mod read;
pub mod schedule;
pub mod snapshot;
pub mod timeline;
mod workloads;

pub use admit::{Admissions, admit};
pub use config::{SchedulerConfig, read_config};
pub use convert::{
    Cluster, Names, ReadOptions, UNDECLARED, cluster, cluster_with, pod_shape, topology_request,
    topology_snapshot,
};
pub use error::ManifestError;
pub use kube_args::set_plugin_args;
pub use kueue::{QuotaGates, QuotaNames, Quotas, quotas};
pub use objects::{Located, Objects, Origin, Unknown};
pub use read::{Document, documents, read_documents, read_objects};
pub use schedule::{Schedule, schedule};
pub use snapshot::read_snapshot;
