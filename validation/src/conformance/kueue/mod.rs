//! Cases of Kueue.

mod assignment;
mod cycle;
mod quota;
mod topology;

use foretell_kueue::{Amounts, Cell, ResourceId, Snapshot, Workload};
use foretell_manifests::{QuotaGates, QuotaNames, Quotas, quotas};
use serde_json::{Map, Value, json};

use super::{Case, Outcome};

/// `Err` says what is amiss with the case.
type Answer = Result<Outcome, String>;

/// Runs a case.
pub(super) fn run(case: &Case) -> Outcome {
    let outcome = match (case.kind.as_str(), case.text("/mode")) {
        ("AdmissionCase", Some("available-quota")) => quota::available(case),
        ("AdmissionCase", Some("flavor-assignment")) => assignment::flavors(case),
        ("AdmissionCase", Some("preemption-targets")) => assignment::targets(case),
        ("AdmissionCase", Some("one-cycle")) => cycle::one_cycle(case),
        ("FairSharingCase", _) if case.expect("drs").is_object() => quota::shares(case),
        ("FairSharingCase", _) if case.expect("order").is_array() => quota::offers(case),
        ("TopologyAssignmentCase", _) => topology::assignments(case),
        _ => return Outcome::unsupported("belongs to a later release"),
    };
    outcome.unwrap_or_else(|got| Outcome::Failed { expected: "an answer".to_owned(), got })
}

/// The quotas of a case.
fn read(case: &Case) -> Result<Quotas, String> {
    let reclaimable_pods = gate(case, "ReclaimablePods", true);
    let gates = QuotaGates { reclaimable_pods, topology: topology::gates(case.get("/featureGates"))? };
    quotas(&case.objects, gates).map_err(|error| error.to_string())
}

/// Whether a feature gate is on.
fn gate(case: &Case, name: &str, default: bool) -> bool {
    case.get("/featureGates").get(name).and_then(Value::as_bool).unwrap_or(default)
}

/// Whether shares are kept fair.
fn is_fair(case: &Case) -> bool {
    case.get("/fairSharing").as_bool().unwrap_or(false)
}

/// Names of a case's resources and flavors.
struct Names<'a>(&'a QuotaNames);

impl Names<'_> {
    fn cell(&self, flavor: &str, resource: &str) -> Option<Cell> {
        let (flavor, resource) = (self.0.flavor(flavor)?, self.0.resource(resource)?);
        Some(Cell::new(flavor.index() * self.0.resources.len() + resource.index()))
    }

    fn split(&self, cell: Cell) -> (&str, &str) {
        let count = self.0.resources.len();
        (&self.0.flavors[cell.index() / count], &self.0.resources[cell.index() % count])
    }

    /// Amounts as the cases write them: CPU in thousandths as text, all else as numbers.
    fn amount(resource: &str, amount: i64) -> Value {
        if resource == "cpu" { json!(format!("{amount}m")) } else { json!(amount) }
    }

    fn amounts(&self, amounts: impl IntoIterator<Item = (Cell, i64)>) -> Value {
        let mut found: Map<String, Value> = Map::new();
        for (cell, amount) in amounts {
            let (flavor, resource) = self.split(cell);
            let flavor = found.entry(flavor).or_insert_with(|| json!({}));
            flavor[resource] = Self::amount(resource, amount);
        }
        Value::Object(found)
    }

    /// Reads amounts by flavor and resource.
    fn read(&self, value: &Value) -> Result<Amounts, String> {
        let mut found = Amounts::new();
        for (flavor, resources) in value.as_object().into_iter().flatten() {
            for (resource, amount) in resources.as_object().into_iter().flatten() {
                let number = match amount {
                    Value::String(text) => text.trim_end_matches('m').parse().ok(),
                    other => other.as_i64(),
                };
                let number = number.ok_or_else(|| format!("no amount: {amount}"))?;
                if let Some(cell) = self.cell(flavor, resource) {
                    found.insert(cell, number);
                }
            }
        }
        Ok(found)
    }
}

/// A snapshot with the usage that the case states on top of that of its workloads.
fn snapshot<'a>(case: &Case, quotas: &'a Quotas, workloads: &'a [Workload]) -> Result<Snapshot<'a>, String> {
    let mut snapshot = Snapshot::new(&quotas.model, workloads);
    for (queue, usage) in case.get("/usage").as_object().into_iter().flatten() {
        let id = quotas.names.queue(queue).ok_or_else(|| format!("no queue {queue}"))?;
        snapshot.tree.add(id, &Names(&quotas.names).read(usage)?);
    }
    Ok(snapshot)
}

fn resource_name(names: &QuotaNames, resource: Option<ResourceId>) -> Value {
    resource.map_or(Value::Null, |resource| json!(names.resources[resource.index()]))
}

/// Compares the parts of what came out that the case expects, whatever the order of their keys.
fn compare(expected: &Value, got: &Value) -> Answer {
    if expected.is_null() {
        return Err("nothing is expected".to_owned());
    }
    Ok(Outcome::compare(sorted(expected).to_string(), sorted(got).to_string()))
}

fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().map(|(key, value)| (key.clone(), sorted(value))).collect();
            fields.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(fields.into_iter().collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(sorted).collect()),
        other => other.clone(),
    }
}
