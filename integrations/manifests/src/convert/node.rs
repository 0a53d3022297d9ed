//! Nodes, and the topology domains that they belong to.

use std::collections::BTreeMap;

use foretell_framework::spec::Taint;
use foretell_framework::state::Domain;
use foretell_framework::{DomainId, Labels, NodeSpec};
use k8s_openapi::api::core::v1 as api;
use k8s_openapi::api::core::v1::Node;
use regex::Regex;

use super::Builder;
use super::amounts::{self, Units};
use super::selectors::{self, labels};
use crate::error::ManifestError;
use crate::kinds::ResourceList;
use crate::kinds::volcano::{HyperNode, Member};
use crate::objects::{Located, Origin};

/// Labels that name the model of a node's GPUs, the most telling first.
const MODEL_LABELS: [&str; 6] = [
    "nvidia.com/gpu.product",
    "amd.com/gpu.product-name",
    "beta.amd.com/gpu.product-name",
    "gpu.intel.com/product",
    "cloud.google.com/gke-accelerator",
    "k8s.amazonaws.com/accelerator",
];
/// The model of GPUs of which no label tells it.
const UNNAMED_MODEL: &str = "GPU";
/// The memory of a GPU in MiB.
const GPU_MEMORY_LABEL: &str = "nvidia.com/gpu.memory";

/// What a node has for pods: capacity where it is not told, as the API server fills in.
pub(super) fn allocatable(node: &Node) -> Option<&ResourceList> {
    let status = node.status.as_ref()?;
    status.allocatable.as_ref().or(status.capacity.as_ref())
}

/// Taints of a node.
pub(super) fn taints<'a>(
    taints: impl Iterator<Item = &'a api::Taint>,
    origin: &Origin,
) -> Result<Vec<Taint>, ManifestError> {
    let taint = |(index, taint): (usize, &api::Taint)| {
        let field = format!("spec.taints[{index}].effect");
        Ok(Taint {
            key: taint.key.as_str().into(),
            value: taint.value.as_deref().unwrap_or("").into(),
            effect: selectors::taint_effect(&taint.effect, &field, origin)?,
        })
    };
    taints.enumerate().map(taint).collect()
}

impl Builder<'_> {
    pub(super) fn nodes(&mut self) -> Result<(), ManifestError> {
        let domains = self.domains()?;
        for node in &self.objects.nodes {
            let name = node.metadata.name.as_deref().unwrap_or_default();
            if self.names.node(name).is_some() {
                return Err(node.origin.error("metadata.name", "a node of this name has been read already"));
            }
            let mut spec = self.node_spec(node)?;
            spec.domain = smallest_domain(&domains, name, &spec.labels);
            let id = self.state.add_node(spec).map_err(|error| node.origin.error("", error.to_string()))?;
            self.names.add_node(name, id);
        }
        Ok(())
    }

    fn node_spec(&mut self, node: &Located<Node>) -> Result<NodeSpec, ManifestError> {
        let name = node.metadata.name.as_deref().unwrap_or_default();
        let origin = &node.origin;
        let list = amounts::amounts(allocatable(node).into_iter().flatten(), "status.allocatable", origin)?;
        let units = Units { device: self.device.as_deref() };
        let (allocatable, devices) = units.resources(&mut self.state, &list);
        let mut spec = NodeSpec::new(name);
        spec.allocatable = allocatable;
        spec.max_tasks = list.get(amounts::PODS).map_or(0, |&pods| u32::try_from(pods).unwrap_or(u32::MAX));
        spec.labels = labels(node.metadata.labels.iter().flatten());
        spec.gpus = devices as u32;
        if devices > 0 {
            let model = MODEL_LABELS.iter().find_map(|label| spec.labels.get(*label));
            let model = model.map_or(UNNAMED_MODEL, |model| model);
            let model = self.state.gpu_model(model).map_err(|error| origin.error("", error.to_string()))?;
            spec.gpu_model = Some(model);
            let memory_mib = spec.labels.get(GPU_MEMORY_LABEL).and_then(|mib| mib.parse::<u64>().ok());
            spec.gpu_memory_bytes = memory_mib.unwrap_or(0).saturating_mul(1 << 20);
        }
        if let Some(given) = &node.spec {
            spec.unschedulable = given.unschedulable.unwrap_or(false);
            spec.taints = taints(given.taints.iter().flatten(), origin)?;
        }
        let images = node.status.iter().flat_map(|status| status.images.iter().flatten());
        for image in images {
            let size = image.size_bytes.unwrap_or(0).max(0) as u64;
            let names = image.names.iter().flatten();
            spec.images.extend(names.map(|name| (name.as_str().into(), size)));
        }
        Ok(spec)
    }

    /// Adds the topology domains; says for each which nodes it lists.
    fn domains(&mut self) -> Result<Vec<Listing>, ManifestError> {
        let hyper_nodes = &self.objects.hyper_nodes;
        let name = |index: usize| hyper_nodes[index].metadata.name.as_deref().unwrap_or_default();
        let mut ids: BTreeMap<&str, usize> = BTreeMap::new();
        for (index, hyper_node) in hyper_nodes.iter().enumerate() {
            if ids.insert(name(index), index).is_some() {
                let message = "a hypernode of this name has been read already";
                return Err(hyper_node.origin.error("metadata.name", message));
            }
        }
        let mut parents: Vec<Option<usize>> = vec![None; hyper_nodes.len()];
        let mut listings = Vec::new();
        for (index, hyper_node) in hyper_nodes.iter().enumerate() {
            let mut selectors = Vec::new();
            for (position, member) in hyper_node.spec.members.iter().enumerate() {
                let selector = member_selector(member, position, hyper_node)?;
                if member.kind != "HyperNode" {
                    selectors.push(selector);
                    continue;
                }
                for (&child, &child_index) in &ids {
                    if selector.matches(child, &Labels::new()) {
                        let (outer, inner) = (hyper_node.spec.tier, hyper_nodes[child_index].spec.tier);
                        if inner >= outer {
                            let field = format!("spec.members[{position}]");
                            let message = format!(
                                "expected members of a tier below {outer}; {child} is of tier {inner}"
                            );
                            return Err(hyper_node.origin.error(field, message));
                        }
                        parents[child_index].get_or_insert(index);
                    }
                }
            }
            listings.push((hyper_node.spec.tier, selectors));
        }
        let mut found = Vec::new();
        for (index, (hyper_node, (tier, selectors))) in hyper_nodes.iter().zip(listings).enumerate() {
            let id = self.state.add_domain(Domain {
                name: name(index).into(),
                tier,
                tier_name: hyper_node.spec.tier_name.as_deref().unwrap_or("").into(),
                parent: parents[index].map(DomainId::new),
            });
            debug_assert_eq!(id.index(), index);
            self.names.add_domain(name(index), id);
            found.push(Listing { domain: id, tier, selectors });
        }
        Ok(found)
    }
}

/// The nodes that a domain lists.
struct Listing {
    domain: DomainId,
    tier: u32,
    selectors: Vec<Selector>,
}

enum Selector {
    Name(String),
    Pattern(Regex),
    Labels(foretell_framework::LabelSelector),
}

impl Selector {
    fn matches(&self, name: &str, labels: &Labels) -> bool {
        match self {
            Self::Name(known) => known == name,
            Self::Pattern(pattern) => pattern.is_match(name),
            Self::Labels(selector) => selector.matches(labels),
        }
    }
}

fn member_selector(
    member: &Member,
    position: usize,
    hyper_node: &Located<HyperNode>,
) -> Result<Selector, ManifestError> {
    let origin = &hyper_node.origin;
    let field = |name: &str| format!("spec.members[{position}].{name}");
    if !matches!(member.kind.as_str(), "Node" | "HyperNode") {
        let message = format!("expected Node or HyperNode; got `{}`", member.kind);
        return Err(origin.error(field("type"), message));
    }
    let selector = &member.selector;
    match (&selector.exact_match, &selector.regex_match, &selector.label_match) {
        (Some(exact), None, None) => Ok(Selector::Name(exact.name.clone())),
        (None, Some(regex), None) => {
            let pattern = Regex::new(&regex.pattern);
            let message = || format!("expected a regular expression; got `{}`", regex.pattern);
            let field = field("selector.regexMatch.pattern");
            pattern.map(Selector::Pattern).map_err(|_| origin.error(field, message()))
        }
        (None, None, Some(labels)) if member.kind == "Node" => {
            let field = field("selector.labelMatch");
            Ok(Selector::Labels(selectors::label_selector(labels, &field, origin)?))
        }
        _ => {
            let message = "expected one of exactMatch, regexMatch and, for nodes, labelMatch";
            Err(origin.error(field("selector"), message))
        }
    }
}

/// The domain of the lowest tier that lists a node, of several the first.
fn smallest_domain(domains: &[Listing], name: &str, labels: &Labels) -> Option<DomainId> {
    let lists = |listing: &&Listing| listing.selectors.iter().any(|selector| selector.matches(name, labels));
    domains.iter().filter(lists).min_by_key(|listing| listing.tier).map(|listing| listing.domain)
}
