//! Cases of topology-aware assignment.

use std::collections::BTreeMap;

use foretell_kueue::ResourceId;
use foretell_kueue::topology::{
    AssignOptions, FailureReason, PodSetAssignment, PodSetRequest, PodShape, TopologyGates, TopologyRequest,
    TopologySnapshot, Unit, assign,
};
use foretell_manifests::{ManifestError, pod_shape, topology_request, topology_snapshot};
use serde_json::{Map, Value, json};

use super::super::Case;
use super::{Answer, compare};

struct Set {
    name: String,
    count: u32,
    shape: PodShape,
    topology: TopologyRequest,
    is_implied: bool,
}

/// Domains for the pod sets of a workload. Upstream's message may tell no numbers: such a failure is `rejected`, whatever
/// ours tells.
pub(super) fn assignments(case: &Case) -> Answer {
    let mut names: BTreeMap<String, ResourceId> = BTreeMap::new();
    let mut number = |name: &str| {
        let next = ResourceId::new(names.len());
        *names.entry(name.to_owned()).or_insert(next)
    };
    let flavor = case.text("/flavor").ok_or("no flavor")?;
    let said = |error: ManifestError| error.to_string();
    let snapshot = topology_snapshot(&case.objects, flavor, &mut number).map_err(said)?;
    let snapshot = snapshot.ok_or_else(|| format!("no flavor {flavor} with a topology"))?;
    let sets = pod_sets(case, &mut number)?;
    let requests: Vec<PodSetRequest<'_>> = sets
        .iter()
        .map(|set| PodSetRequest {
            count: set.count,
            shape: &set.shape,
            topology: &set.topology,
            is_implied: set.is_implied,
        })
        .collect();
    let options = AssignOptions { gates: gates(case.get("/featureGates"))?, ..AssignOptions::default() };
    let got = match assign(&snapshot, &requests, options) {
        Ok(assignments) => json!({ "assignment": shown(&snapshot, &sets, &assignments) }),
        Err(failure) => {
            let told = |&index: &usize| {
                let name = &sets[index].name;
                let expected = case.expect("failure").get(name).and_then(|expected| expected.get("rejected"));
                let told =
                    if expected.is_some() { json!({ "rejected": true }) } else { numbers(&failure.reason) };
                (name.clone(), told)
            };
            let failures: Map<String, Value> = failure.pod_sets.iter().map(told).collect();
            json!({ "assignment": null, "failure": failures })
        }
    };
    compare(case.get("/expect"), &got)
}

fn pod_sets(case: &Case, number: &mut dyn FnMut(&str) -> ResourceId) -> Result<Vec<Set>, String> {
    let incoming = case.text("/incoming").ok_or("no workload under test")?;
    let is_incoming = |metadata: &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta| {
        let namespace = metadata.namespace.as_deref().unwrap_or("default");
        format!("{namespace}/{}", metadata.name.as_deref().unwrap_or_default()) == incoming
    };
    let workload = case.objects.workloads.iter().find(|workload| is_incoming(&workload.metadata));
    let workload = workload.ok_or_else(|| format!("no workload {incoming}"))?;
    let implied = case.get("/implied").as_array().map(Vec::as_slice).unwrap_or_default();
    let set = |pod_set: &foretell_manifests::kinds::kueue::PodSet| {
        let name = pod_set.name.clone().unwrap_or_else(|| "main".to_owned());
        let spec = pod_set.template.spec.clone().unwrap_or_default();
        let shape = pod_shape(&spec, &workload.origin, number).map_err(|error| error.to_string())?;
        let topology = pod_set.topology_request.as_ref().map(topology_request).unwrap_or_default();
        let is_implied = implied.iter().any(|implied| implied.as_str() == Some(&name));
        Ok(Set { name, count: pod_set.count, shape, topology, is_implied })
    };
    workload.spec.pod_sets.iter().map(set).collect()
}

pub(super) fn gates(given: &Value) -> Result<TopologyGates, String> {
    let mut gates = TopologyGates::default();
    for (name, value) in given.as_object().into_iter().flatten() {
        let gate = match name.as_str() {
            "TASProfileMixed" => &mut gates.mixed_profile,
            "TASBalancedPlacement" => &mut gates.balanced_placement,
            "TASRespectNodeAffinityPreferred" => &mut gates.respects_preferred_affinity,
            "TASMultiLayerTopology" => &mut gates.multi_layer,
            // Bears on what is around the assignment.
            _ => continue,
        };
        *gate = value.as_bool().ok_or_else(|| format!("feature gate {name} is neither on nor off"))?;
    }
    Ok(gates)
}

fn shown(snapshot: &TopologySnapshot, sets: &[Set], assignments: &[PodSetAssignment]) -> Value {
    let one = |(set, assignment): (&Set, &PodSetAssignment)| {
        let domains: Map<String, Value> = assignment
            .domains
            .iter()
            .map(|&(leaf, pods)| (snapshot.leaf_values(leaf).join("/"), Value::from(pods)))
            .collect();
        (set.name.clone(), json!({ "levels": snapshot.naming_levels(), "domains": domains }))
    };
    Value::Object(sets.iter().zip(assignments).map(one).collect())
}

fn numbers(reason: &FailureReason) -> Value {
    match reason {
        FailureReason::NoRoom { fits, of, unit, .. } => {
            let unit = match unit {
                Unit::Pod => "pod",
                Unit::Slice => "slice",
            };
            json!({ "fits": fits, "of": of, "unit": unit })
        }
        _ => json!({ "rejected": true }),
    }
}
