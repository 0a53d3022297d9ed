//! What the API server does with a new pod: defaults and bounds of limit ranges, then quotas.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Container, LimitRangeItem, Pod, PodSpec, ScopedResourceSelectorRequirement,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use crate::convert::amounts::{self, Amounts, CPU, MEMORY};
use crate::convert::key;
use crate::error::ManifestError;
use crate::kinds::ResourceList;
use crate::objects::{Located, Objects, Origin};

pub(super) struct Admission {
    /// Limit ranges by namespace: name, origin, items.
    limits: BTreeMap<String, Vec<(String, Origin, Vec<LimitRangeItem>)>>,
    quotas: Vec<Quota>,
}

struct Quota {
    namespace: String,
    name: String,
    hard: Amounts,
    used: Amounts,
    scopes: Vec<ScopedResourceSelectorRequirement>,
}

impl Admission {
    pub(super) fn new(objects: &Objects) -> Result<Self, ManifestError> {
        let mut limits: BTreeMap<String, Vec<_>> = BTreeMap::new();
        for range in &objects.limit_ranges {
            let name = range.metadata.name.clone().unwrap_or_default();
            let items = range.spec.as_ref().map(|spec| spec.limits.clone()).unwrap_or_default();
            let namespace = key::namespace(&range.metadata).to_owned();
            limits.entry(namespace).or_default().push((name, range.origin.clone(), items));
        }
        let mut quotas = Vec::new();
        for quota in &objects.resource_quotas {
            let Some(spec) = &quota.spec else { continue };
            let hard = amounts::amounts(spec.hard.iter().flatten(), "spec.hard", &quota.origin)?;
            let scopes = spec.scopes.iter().flatten().map(|scope| ScopedResourceSelectorRequirement {
                scope_name: scope.clone(),
                operator: "Exists".to_owned(),
                values: None,
            });
            let selector = spec.scope_selector.iter();
            let selector = selector.flat_map(|selector| selector.match_expressions.iter().flatten().cloned());
            let mut built = Quota {
                namespace: key::namespace(&quota.metadata).to_owned(),
                name: quota.metadata.name.clone().unwrap_or_default(),
                hard,
                used: Amounts::new(),
                scopes: scopes.chain(selector).collect(),
            };
            match quota.status.as_ref().and_then(|status| status.used.as_ref()) {
                Some(used) => built.used = amounts::amounts(used, "status.used", &quota.origin)?,
                None => {
                    for pod in objects.pods.iter().filter(|pod| !has_ended(pod)) {
                        if built.concerns(pod) {
                            built.charge(&usage(pod, &pod.origin)?);
                        }
                    }
                }
            }
            quotas.push(built);
        }
        Ok(Self { limits, quotas })
    }

    /// Fills in defaults and lets the pod in, or says why not.
    pub(super) fn admit(&mut self, pod: &mut Located<Pod>) -> Result<Result<(), String>, ManifestError> {
        let namespace = key::namespace(&pod.metadata).to_owned();
        for (name, origin, items) in self.limits.get(&namespace).into_iter().flatten() {
            if let Some(spec) = &mut pod.object.spec {
                let containers = spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten());
                for container in containers {
                    items
                        .iter()
                        .filter(|item| item.type_ == "Container")
                        .for_each(|item| fill(container, item));
                }
            }
            let Some(spec) = &pod.object.spec else { continue };
            for item in items {
                if let Some(refusal) = check_bounds(spec, item, &pod.origin, origin)? {
                    return Ok(Err(format!("limit range {name}: {refusal}")));
                }
            }
        }
        let used = usage(pod, &pod.origin)?;
        let concerned: Vec<usize> =
            (0..self.quotas.len()).filter(|&index| self.quotas[index].concerns(pod)).collect();
        for &index in &concerned {
            if let Some(refusal) = self.quotas[index].refusal(&used) {
                return Ok(Err(format!("resource quota {}: {refusal}", self.quotas[index].name)));
            }
        }
        for index in concerned {
            self.quotas[index].charge(&used);
        }
        Ok(Ok(()))
    }
}

// ---- Limit ranges

/// Limits that a container does not give are the default limits; requests, the default requests; and what is limited and
/// not requested is requested.
fn fill(container: &mut Container, item: &LimitRangeItem) {
    let resources = container.resources.get_or_insert_default();
    let given_limits = resources.limits.clone().unwrap_or_default();
    let requests = resources.requests.get_or_insert_default();
    for (name, quantity) in given_limits {
        requests.entry(name).or_insert(quantity);
    }
    // As the API server defaults a limit range.
    let limits = merged(item.default.as_ref(), item.max.as_ref());
    let default_requests = merged(item.default_request.as_ref(), Some(&limits));
    let default_requests = merged(Some(&default_requests), item.min.as_ref());
    for (name, quantity) in default_requests {
        requests.entry(name).or_insert(quantity);
    }
    let own = resources.limits.get_or_insert_default();
    for (name, quantity) in limits {
        own.entry(name).or_insert(quantity);
    }
}

fn merged(first: Option<&ResourceList>, second: Option<&ResourceList>) -> ResourceList {
    let mut merged = second.cloned().unwrap_or_default();
    merged.extend(first.into_iter().flatten().map(|(name, quantity)| (name.clone(), quantity.clone())));
    merged
}

/// What of a pod is outside the bounds of a limit range.
fn check_bounds(
    spec: &PodSpec,
    item: &LimitRangeItem,
    pod: &Origin,
    range: &Origin,
) -> Result<Option<String>, ManifestError> {
    let bound = |list: Option<&BTreeMap<String, Quantity>>, field: &str| {
        amounts::amounts(list.into_iter().flatten(), field, range)
    };
    let (min, max) = (bound(item.min.as_ref(), "min")?, bound(item.max.as_ref(), "max")?);
    let mut subjects: Vec<(String, Amounts, Amounts)> = Vec::new();
    match item.type_.as_str() {
        "Container" => {
            for container in spec.containers.iter().chain(spec.init_containers.iter().flatten()) {
                let requests = amounts::container_requests(container.resources.as_ref(), "container", pod)?;
                let limits = amounts::container_limits(container.resources.as_ref(), "container", pod)?;
                subjects.push((format!("container {}", container.name), requests, limits));
            }
        }
        "Pod" => {
            let requests = amounts::pod_requests(spec, pod)?.requests;
            subjects.push(("the pod".to_owned(), requests, amounts::pod_limits(spec, pod)?));
        }
        _ => {}
    }
    for (subject, requests, limits) in subjects {
        for (name, &min) in &min {
            if requests.get(name).is_none_or(|&request| request < min) {
                return Ok(Some(format!("{subject} requests less {name} than the minimum")));
            }
        }
        for (name, &max) in &max {
            if limits.get(name).or_else(|| requests.get(name)).is_none_or(|&limit| limit > max) {
                return Ok(Some(format!("{subject} may use more {name} than the maximum")));
            }
        }
    }
    Ok(None)
}

// ---- Quotas

impl Quota {
    fn concerns(&self, pod: &Pod) -> bool {
        key::namespace(&pod.metadata) == self.namespace
            && self.scopes.iter().all(|scope| in_scope(scope, pod))
    }

    /// What the usage of one more pod would exceed, or lacks.
    fn refusal(&self, usage: &Amounts) -> Option<String> {
        for (name, &hard) in &self.hard {
            let Some(&wanted) = usage.get(name) else {
                // Every pod has to say what it uses of what is bounded, if it is one of these.
                let plain = name.trim_start_matches("requests.").trim_start_matches("limits.");
                if matches!(plain, CPU | MEMORY) {
                    return Some(format!("the pod must say its {name}"));
                }
                continue;
            };
            let used = self.used.get(name).copied().unwrap_or(0);
            if wanted > 0 && used.saturating_add(wanted) > hard {
                return Some(format!(
                    "{name} would be {} of {hard}{}",
                    used.saturating_add(wanted),
                    if name.ends_with(CPU) { " (thousandths)" } else { "" }
                ));
            }
        }
        None
    }

    fn charge(&mut self, usage: &Amounts) {
        for (name, &amount) in usage.iter().filter(|(name, _)| self.hard.contains_key(*name)) {
            let used = self.used.entry(name.clone()).or_default();
            *used = used.saturating_add(amount);
        }
    }
}

/// What a pod uses, under all names that quotas have for it.
fn usage(pod: &Pod, origin: &Origin) -> Result<Amounts, ManifestError> {
    let mut usage = Amounts::from([("pods".to_owned(), 1), ("count/pods".to_owned(), 1)]);
    let Some(spec) = &pod.spec else { return Ok(usage) };
    for (name, amount) in amounts::pod_requests(spec, origin)?.requests {
        usage.insert(format!("requests.{name}"), amount);
        if matches!(name.as_str(), CPU | MEMORY) || !name.contains('/') {
            usage.insert(name, amount);
        }
    }
    let limits = amounts::pod_limits(spec, origin)?;
    usage.extend(limits.into_iter().map(|(name, amount)| (format!("limits.{name}"), amount)));
    Ok(usage)
}

fn in_scope(scope: &ScopedResourceSelectorRequirement, pod: &Pod) -> bool {
    let Some(spec) = &pod.spec else { return false };
    let holds = match scope.scope_name.as_str() {
        "Terminating" => spec.active_deadline_seconds.is_some(),
        "NotTerminating" => spec.active_deadline_seconds.is_none(),
        "BestEffort" => is_best_effort(spec),
        "NotBestEffort" => !is_best_effort(spec),
        "PriorityClass" => {
            let class = spec.priority_class_name.as_deref().unwrap_or("");
            let listed = scope.values.iter().flatten().any(|value| value == class);
            return match scope.operator.as_str() {
                "In" => listed,
                "NotIn" => !listed,
                "DoesNotExist" => class.is_empty(),
                _ => !class.is_empty(),
            };
        }
        _ => false,
    };
    holds && scope.operator != "DoesNotExist"
}

/// Whether no container requests or limits CPU or memory.
fn is_best_effort(spec: &PodSpec) -> bool {
    let containers = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    let mut resources = containers.filter_map(|container| container.resources.as_ref());
    !resources.any(|resources| {
        [&resources.requests, &resources.limits]
            .into_iter()
            .flatten()
            .any(|list| list.contains_key(CPU) || list.contains_key(MEMORY))
    })
}

fn has_ended(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}
