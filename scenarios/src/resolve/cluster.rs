//! The nodes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use foretell_traces::{NodeFormat, NodeRecord, TraceError};

use super::Resolver;
use crate::catalog::{self, Catalog, Gpu, NodeType};
use crate::file::{ClusterFile, NodeTraceFile, NodeTraceFormat, NodeTypeFile};
use crate::scenario::{NodeGroup, VIRTUAL_CLUSTER_LABEL, ZONE_LABEL};
use crate::suggest;

/// The node type of a Philly node list that names none: the list says how many nodes, not what they are.
const PHILLY_NODE_TYPE: &str = "philly-8";

/// Pods per node in the FGD study's simulation of openb; the node list itself has no limit.
const OPENB_MAX_PODS: u32 = 1001;

/// The most GPUs of one node; the schema says so of `cluster.node_types`.
const MAX_GPUS_PER_NODE: u32 = 64;

type OwnTypes = BTreeMap<String, NodeType>;

impl Resolver<'_, '_> {
    /// All nodes: the groups in order, then the node list.
    pub(super) fn nodes(&mut self, file: &ClusterFile) -> Vec<NodeGroup> {
        let own_types = self.own_types(&file.node_types);
        if file.nodes.is_empty() && file.trace.is_none() {
            let help =
                "list `nodes`, such as `nodes = [{ type = \"dgx-h100\", count = 8 }]`, or name a `trace`";
            self.problem("cluster", "the cluster has no nodes", Some(help.to_owned()));
        }
        let mut groups = Vec::with_capacity(file.nodes.len());
        // Groups that share a prefix count on, so that names stay unique.
        let mut used: BTreeMap<&str, u32> = BTreeMap::new();
        for (i, group) in file.nodes.iter().enumerate() {
            let path = format!("cluster.nodes[{i}].type");
            let Some(node_type) = self.node_type(&path, &group.node_type, &own_types) else { continue };
            let prefix = group.name_prefix.as_deref().unwrap_or(&group.node_type);
            let next = used.entry(prefix).or_default();
            let names = (*next..*next + group.count).map(|number| format!("{prefix}-{number:04}")).collect();
            *next += group.count;
            let mut labels = group.labels.clone();
            for (label, value) in [(ZONE_LABEL, &group.zone), (VIRTUAL_CLUSTER_LABEL, &group.virtual_cluster)]
            {
                if let Some(value) = value {
                    labels.insert(label.to_owned(), value.clone());
                }
            }
            let price_per_gpu_hour = group.price_per_gpu_hour;
            let taints = group.taints.clone();
            groups.push(NodeGroup { node_type, names, labels, taints, price_per_gpu_hour });
        }
        if let Some(trace) = &file.trace {
            groups.extend(self.node_list(trace, &own_types).unwrap_or_default());
        }
        self.check_names(&groups);
        groups
    }

    fn own_types(&mut self, files: &[NodeTypeFile]) -> OwnTypes {
        let catalog = Catalog::builtin();
        let mut types = OwnTypes::new();
        for (i, file) in files.iter().enumerate() {
            let path = format!("cluster.node_types[{i}]");
            if catalog.node_type(&file.name).is_some() || types.contains_key(&file.name) {
                self.problem(
                    &format!("{path}.name"),
                    format!("there is a node type `{}` already", file.name),
                    None,
                );
            }
            let gpus = match (&file.gpu, file.gpus) {
                (None, 0) => None,
                (Some(_), 0) | (None, _) => {
                    self.problem(&path, "a node type with GPUs needs both `gpu` and `gpus`", None);
                    None
                }
                (Some(model), count) => self.gpu(&format!("{path}.gpu"), model).map(|gpu| gpu.on_node(count)),
            };
            let links = match catalog::links(file.gpus, file.pcie.as_deref(), file.nvlinks.as_deref()) {
                Ok(links) => links,
                Err(message) => {
                    self.problem(&path, message, None);
                    None
                }
            };
            let network = match catalog::network(
                file.nics,
                file.nic_gbit_per_s,
                file.network.as_deref(),
                links.as_deref(),
            ) {
                Ok(network) => network,
                Err(message) => {
                    self.problem(&path, message, None);
                    None
                }
            };
            let node_type = NodeType {
                name: file.name.clone(),
                cpu_milli: u64::from(file.cpus) * 1000,
                memory_bytes: file.memory.0,
                max_pods: file.max_pods,
                gpus,
                interconnect: None,
                links,
                cpu: None,
                network,
                source: "this scenario".to_owned(),
            };
            types.insert(file.name.clone(), node_type);
        }
        types
    }

    /// A GPU model of the catalogue.
    pub(super) fn gpu(&mut self, path: &str, model: &str) -> Option<&'static Gpu> {
        let catalog = Catalog::builtin();
        let found = catalog.gpu(model);
        if found.is_none() {
            let help = suggest::hint(model, catalog.gpus().map(|gpu| gpu.name.as_str()));
            self.problem(path, format!("unknown GPU model `{model}`"), Some(help));
        }
        found
    }

    fn node_type(&mut self, path: &str, name: &str, own_types: &OwnTypes) -> Option<NodeType> {
        let catalog = Catalog::builtin();
        let found = own_types.get(name).or_else(|| catalog.node_type(name)).cloned();
        if found.is_none() {
            let known = own_types
                .keys()
                .map(String::as_str)
                .chain(catalog.node_types().map(|node| node.name.as_str()));
            let help = suggest::hint(name, known);
            self.problem(path, format!("unknown node type `{name}`"), Some(help));
        }
        found
    }

    /// The nodes of a published list, in its order; neighbours that are alike make a group.
    fn node_list(&mut self, file: &NodeTraceFile, own_types: &OwnTypes) -> Option<Vec<NodeGroup>> {
        let type_name = match (&file.node_type, file.format) {
            (Some(name), _) => Some(name.as_str()),
            (None, NodeTraceFormat::Philly) => Some(PHILLY_NODE_TYPE),
            (None, NodeTraceFormat::Openb) => None,
        };
        let node_type = match type_name {
            Some(name) => Some(self.node_type("cluster.trace.node_type", name, own_types)?),
            None => None,
        };
        let path = self.locate("cluster.trace.path", &file.path)?;
        let records = match read_nodes(file.format, &path) {
            Ok(records) if !records.is_empty() => records,
            Ok(_) => {
                self.problem("cluster.trace.path", "the node list is empty", None);
                return None;
            }
            Err(error) => {
                self.problem("cluster.trace.path", format!("failed to read the node list: {error}"), None);
                return None;
            }
        };
        let mut groups: Vec<NodeGroup> = Vec::new();
        for record in records {
            let node_type = match &node_type {
                Some(node_type) => node_type.clone(),
                None => self.type_of_record(&record)?,
            };
            let labels: BTreeMap<_, _> = Some(record.virtual_cluster.to_string())
                .filter(|name| !name.is_empty())
                .map(|name| (VIRTUAL_CLUSTER_LABEL.to_owned(), name))
                .into_iter()
                .collect();
            let name = record.name.to_string();
            match groups.last_mut() {
                Some(group) if group.node_type == node_type && group.labels == labels => {
                    group.names.push(name);
                }
                _ => groups.push(NodeGroup {
                    node_type,
                    names: vec![name],
                    labels,
                    taints: Vec::new(),
                    price_per_gpu_hour: None,
                }),
            }
        }
        Some(groups)
    }

    fn type_of_record(&mut self, record: &NodeRecord) -> Option<NodeType> {
        let gpus = match record.gpus {
            0 => None,
            count @ 1..=MAX_GPUS_PER_NODE => {
                Some(self.gpu("cluster.trace.path", &record.gpu_model)?.on_node(count))
            }
            count => {
                let message =
                    format!("node `{}`: expected at most {MAX_GPUS_PER_NODE} GPUs, got {count}", record.name);
                self.problem("cluster.trace.path", message, None);
                return None;
            }
        };
        Some(NodeType {
            name: "openb".to_owned(),
            cpu_milli: record.cpu_milli,
            memory_bytes: record.memory_bytes,
            max_pods: OPENB_MAX_PODS,
            gpus,
            interconnect: None,
            links: None,
            cpu: None,
            network: None,
            source: "the node list".to_owned(),
        })
    }

    fn check_names(&mut self, groups: &[NodeGroup]) {
        let mut seen = BTreeSet::new();
        let mut names = groups.iter().flat_map(|group| &group.names);
        if let Some(name) = names.find(|name| !seen.insert(name.as_str())) {
            let help = "give one of the groups another `name_prefix`";
            self.problem("cluster", format!("two nodes have the name `{name}`"), Some(help.to_owned()));
        }
    }
}

/// The rows of a node list; an error names file, line and column.
fn read_nodes(format: NodeTraceFormat, path: &Path) -> Result<Vec<NodeRecord>, TraceError> {
    let format = match format {
        NodeTraceFormat::Openb => NodeFormat::Openb,
        NodeTraceFormat::Philly => NodeFormat::Philly,
    };
    foretell_traces::read_nodes(path, format)
}
