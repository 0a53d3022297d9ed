//! Kubernetes, Volcano and scheduler-plugins objects to `ClusterState`, and decisions back to objects; no client, no I/O.
