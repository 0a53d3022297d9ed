//! Selectors, affinity, tolerations, spread.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use foretell_framework::selector::{LabelOperator, LabelRequirement};
use foretell_framework::spec::{
    NodeAffinity, NodeSelectorTerm, PodAffinity, PodAffinityTerm, TaintEffect, Toleration,
    TopologySpreadConstraint, WhenUnsatisfiable,
};
use foretell_framework::{LabelSelector, Labels};
use k8s_openapi::api::core::v1 as api;
use k8s_openapi::apimachinery::pkg::apis::meta::v1 as meta;

use crate::error::ManifestError;
use crate::objects::Origin;

/// Labels or annotations of an object.
pub(crate) fn labels<'a>(map: impl IntoIterator<Item = (&'a String, &'a String)>) -> Labels {
    map.into_iter().map(|(key, value)| (key.as_str().into(), value.as_str().into())).collect()
}

fn boxed(values: Option<&Vec<String>>) -> Vec<Box<str>> {
    values.into_iter().flatten().map(|value| value.as_str().into()).collect()
}

/// A label selector.
pub(crate) fn label_selector(
    selector: &meta::LabelSelector,
    field: &str,
    origin: &Origin,
) -> Result<LabelSelector, ManifestError> {
    let mut found = LabelSelector::of_labels(&labels(selector.match_labels.iter().flatten()));
    for (index, requirement) in selector.match_expressions.iter().flatten().enumerate() {
        let values = boxed(requirement.values.as_ref());
        let field = || format!("{field}.matchExpressions[{index}]");
        let operator = match (requirement.operator.as_str(), values.is_empty()) {
            ("In", false) => LabelOperator::In(values),
            ("NotIn", false) => LabelOperator::NotIn(values),
            ("Exists", true) => LabelOperator::Exists,
            ("DoesNotExist", true) => LabelOperator::DoesNotExist,
            ("In" | "NotIn", true) => {
                return Err(origin.error(format!("{}.values", field()), "expected at least one value"));
            }
            ("Exists" | "DoesNotExist", false) => {
                return Err(origin.error(format!("{}.values", field()), "expected no values"));
            }
            (other, _) => {
                let message = format!("expected In, NotIn, Exists or DoesNotExist; got `{other}`");
                return Err(origin.error(format!("{}.operator", field()), message));
            }
        };
        found.requirements.push(LabelRequirement { key: requirement.key.as_str().into(), operator });
    }
    Ok(found)
}

/// Node affinity.
pub(crate) fn node_affinity(affinity: &api::NodeAffinity) -> NodeAffinity {
    let mut required = Vec::new();
    if let Some(selector) = &affinity.required_during_scheduling_ignored_during_execution {
        required.extend(selector.node_selector_terms.iter().map(node_selector_term));
        if required.is_empty() {
            // A selector without terms matches nothing; so does a term without requirements.
            required.push(NodeSelectorTerm::default());
        }
    }
    let preferred = affinity.preferred_during_scheduling_ignored_during_execution.iter().flatten();
    let preferred = preferred.map(|term| (term.weight.max(0) as u32, node_selector_term(&term.preference)));
    NodeAffinity { required, preferred: preferred.collect() }
}

fn node_selector_term(term: &api::NodeSelectorTerm) -> NodeSelectorTerm {
    let requirements = term.match_expressions.iter().flatten().map(|requirement| LabelRequirement {
        key: requirement.key.as_str().into(),
        operator: node_operator(requirement).unwrap_or_else(never),
    });
    let names = term.match_fields.iter().flatten().map(|requirement| {
        // Only the name can be selected by, one value at a time.
        let values = boxed(requirement.values.as_ref());
        match requirement.operator.as_str() {
            "In" if requirement.key == "metadata.name" && values.len() == 1 => LabelOperator::In(values),
            "NotIn" if requirement.key == "metadata.name" && values.len() == 1 => {
                LabelOperator::NotIn(values)
            }
            _ => never(),
        }
    });
    NodeSelectorTerm { requirements: requirements.collect(), names: names.collect() }
}

/// Of a requirement that is not valid: its term matches nothing.
fn never() -> LabelOperator {
    LabelOperator::In(Vec::new())
}

fn node_operator(requirement: &api::NodeSelectorRequirement) -> Option<LabelOperator> {
    let values = boxed(requirement.values.as_ref());
    let valid = is_qualified_name(&requirement.key) && values.iter().all(|value| is_label_value(value));
    let integer = |values: &[Box<str>]| match values {
        [value] => value.parse::<i64>().ok(),
        _ => None,
    };
    match requirement.operator.as_str() {
        _ if !valid => None,
        "In" => (!values.is_empty()).then_some(LabelOperator::In(values)),
        "NotIn" => (!values.is_empty()).then_some(LabelOperator::NotIn(values)),
        "Exists" => values.is_empty().then_some(LabelOperator::Exists),
        "DoesNotExist" => values.is_empty().then_some(LabelOperator::DoesNotExist),
        "Gt" => integer(&values).map(LabelOperator::Gt),
        "Lt" => integer(&values).map(LabelOperator::Lt),
        _ => None,
    }
}

/// At most 63 characters, letters and digits at the ends, `-`, `_` and `.` between.
fn is_label_value(value: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    value.len() <= 63
        && value.chars().all(inner)
        && !value.starts_with(['-', '_', '.'])
        && !value.ends_with(['-', '_', '.'])
}

/// A label key: an optional prefix that is a DNS name, and a name.
fn is_qualified_name(key: &str) -> bool {
    let (prefix, name) = key.rsplit_once('/').map_or((None, key), |(prefix, name)| (Some(prefix), name));
    let is_prefix = |prefix: &str| {
        let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.');
        !prefix.is_empty() && prefix.len() <= 253 && prefix.chars().all(inner)
    };
    !name.is_empty() && is_label_value(name) && prefix.is_none_or(is_prefix)
}

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

/// Affinity to other pods. `own` are the pod's labels, which `matchLabelKeys` refer to.
pub(super) fn pod_affinity(
    affinity: &api::Affinity,
    namespace: &str,
    own: &Labels,
    origin: &Origin,
) -> Result<PodAffinity, ManifestError> {
    let terms = |terms: Option<&Vec<api::PodAffinityTerm>>, field: &str| {
        let terms = terms.into_iter().flatten().enumerate();
        let term = |(index, term)| affinity_term(term, namespace, own, &format!("{field}[{index}]"), origin);
        terms.map(term).collect::<Result<Vec<_>, _>>()
    };
    let weighted = |terms: Option<&Vec<api::WeightedPodAffinityTerm>>, field: &str| {
        let terms = terms.into_iter().flatten().enumerate();
        let term = |(index, term): (usize, &api::WeightedPodAffinityTerm)| {
            let field = format!("{field}[{index}].podAffinityTerm");
            let weight = term.weight.max(0) as u32;
            Ok((weight, affinity_term(&term.pod_affinity_term, namespace, own, &field, origin)?))
        };
        terms.map(term).collect::<Result<Vec<_>, _>>()
    };
    let (near, apart) = (affinity.pod_affinity.as_ref(), affinity.pod_anti_affinity.as_ref());
    Ok(PodAffinity {
        required: terms(
            near.and_then(|near| near.required_during_scheduling_ignored_during_execution.as_ref()),
            &format!("spec.affinity.podAffinity.{REQUIRED}"),
        )?,
        preferred: weighted(
            near.and_then(|near| near.preferred_during_scheduling_ignored_during_execution.as_ref()),
            &format!("spec.affinity.podAffinity.{PREFERRED}"),
        )?,
        anti_required: terms(
            apart.and_then(|apart| apart.required_during_scheduling_ignored_during_execution.as_ref()),
            &format!("spec.affinity.podAntiAffinity.{REQUIRED}"),
        )?,
        anti_preferred: weighted(
            apart.and_then(|apart| apart.preferred_during_scheduling_ignored_during_execution.as_ref()),
            &format!("spec.affinity.podAntiAffinity.{PREFERRED}"),
        )?,
    })
}

fn affinity_term(
    term: &api::PodAffinityTerm,
    namespace: &str,
    own: &Labels,
    field: &str,
    origin: &Origin,
) -> Result<PodAffinityTerm, ManifestError> {
    let read = |selector: Option<&meta::LabelSelector>, name: &str| {
        selector.map(|selector| label_selector(selector, &format!("{field}.{name}"), origin)).transpose()
    };
    let mut selector = read(term.label_selector.as_ref(), "labelSelector")?;
    if let Some(selector) = &mut selector {
        let with_own = |keys: Option<&Vec<String>>, operator: fn(Vec<Box<str>>) -> LabelOperator| {
            own_requirements(keys, own, operator)
        };
        selector.requirements.extend(with_own(term.match_label_keys.as_ref(), LabelOperator::In));
        selector.requirements.extend(with_own(term.mismatch_label_keys.as_ref(), LabelOperator::NotIn));
    }
    let namespace_selector = read(term.namespace_selector.as_ref(), "namespaceSelector")?;
    let mut namespaces = boxed(term.namespaces.as_ref());
    if namespaces.is_empty() && namespace_selector.is_none() {
        namespaces.push(namespace.into());
    }
    Ok(PodAffinityTerm {
        topology_key: term.topology_key.as_str().into(),
        selector,
        namespaces,
        namespace_selector,
    })
}

/// The pod's own values of some labels as requirements; labels that it lacks are left out.
fn own_requirements(
    keys: Option<&Vec<String>>,
    own: &Labels,
    operator: fn(Vec<Box<str>>) -> LabelOperator,
) -> Vec<LabelRequirement> {
    let requirement = |key: &String| {
        let value = own.get(key.as_str())?;
        Some(LabelRequirement { key: key.as_str().into(), operator: operator(vec![value.clone()]) })
    };
    keys.into_iter().flatten().filter_map(requirement).collect()
}

/// Spread constraints. `own` are the pod's labels, which `matchLabelKeys` refer to.
pub(crate) fn topology_spread(
    constraints: &[api::TopologySpreadConstraint],
    own: &Labels,
    origin: &Origin,
) -> Result<Vec<TopologySpreadConstraint>, ManifestError> {
    let constraint = |(index, constraint): (usize, &api::TopologySpreadConstraint)| {
        let field = |name: &str| format!("spec.topologySpreadConstraints[{index}].{name}");
        let when_unsatisfiable = match constraint.when_unsatisfiable.as_str() {
            "DoNotSchedule" => WhenUnsatisfiable::DoNotSchedule,
            "ScheduleAnyway" => WhenUnsatisfiable::ScheduleAnyway,
            other => {
                let message = format!("expected DoNotSchedule or ScheduleAnyway; got `{other}`");
                return Err(origin.error(field("whenUnsatisfiable"), message));
            }
        };
        let honours = |policy: Option<&String>, default: bool, name: &str| match policy.map(String::as_str) {
            None => Ok(default),
            Some("Honor") => Ok(true),
            Some("Ignore") => Ok(false),
            Some(other) => Err(origin.error(field(name), format!("expected Honor or Ignore; got `{other}`"))),
        };
        let read = |selector| label_selector(selector, &field("labelSelector"), origin);
        let mut selector = constraint.label_selector.as_ref().map(read).transpose()?;
        let with_own = own_requirements(constraint.match_label_keys.as_ref(), own, LabelOperator::In);
        if !with_own.is_empty() {
            selector.get_or_insert_default().requirements.extend(with_own);
        }
        Ok(TopologySpreadConstraint {
            topology_key: constraint.topology_key.as_str().into(),
            max_skew: constraint.max_skew.max(0) as u32,
            when_unsatisfiable,
            selector,
            min_domains: constraint.min_domains.map(|domains| domains.max(0) as u32),
            honours_node_affinity: honours(
                constraint.node_affinity_policy.as_ref(),
                true,
                "nodeAffinityPolicy",
            )?,
            honours_node_taints: honours(constraint.node_taints_policy.as_ref(), false, "nodeTaintsPolicy")?,
        })
    };
    constraints.iter().enumerate().map(constraint).collect()
}

/// Tolerations.
pub(crate) fn tolerations(
    tolerations: &[api::Toleration],
    origin: &Origin,
) -> Result<Vec<Toleration>, ManifestError> {
    let mut found = Vec::new();
    for (index, toleration) in tolerations.iter().enumerate() {
        let effect = toleration.effect.as_deref().filter(|effect| !effect.is_empty());
        let effect =
            effect.map(|effect| taint_effect(effect, &format!("spec.tolerations[{index}].effect"), origin));
        let given = || toleration.value.as_deref().unwrap_or("").into();
        let (value, compares) = match toleration.operator.as_deref().unwrap_or("") {
            "" | "Equal" => (Some(given()), None),
            "Exists" => (None, None),
            "Gt" => (Some(given()), Some(Ordering::Greater)),
            "Lt" => (Some(given()), Some(Ordering::Less)),
            other => {
                let message = format!("expected Equal, Exists, Gt or Lt; got `{other}`");
                return Err(origin.error(format!("spec.tolerations[{index}].operator"), message));
            }
        };
        let key = toleration.key.as_deref().filter(|key| !key.is_empty()).map(Into::into);
        found.push(Toleration { key, value, effect: effect.transpose()?, compares });
    }
    Ok(found)
}

/// The effect of a taint.
pub(crate) fn taint_effect(effect: &str, field: &str, origin: &Origin) -> Result<TaintEffect, ManifestError> {
    match effect {
        "NoSchedule" => Ok(TaintEffect::NoSchedule),
        "PreferNoSchedule" => Ok(TaintEffect::PreferNoSchedule),
        "NoExecute" => Ok(TaintEffect::NoExecute),
        other => {
            let message = format!("expected NoSchedule, PreferNoSchedule or NoExecute; got `{other}`");
            Err(origin.error(field, message))
        }
    }
}

/// The selector of a service or replication controller.
pub(super) fn map_selector(selector: &BTreeMap<String, String>) -> LabelSelector {
    LabelSelector::of_labels(&labels(selector))
}
