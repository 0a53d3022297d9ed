//! Snapshots of KAI-Scheduler: what it knew of a cluster, as its snapshot plugin hands it out (`/get-snapshot`).
//!
//! A ZIP archive with a file `snapshot.json`: `config`, `schedulerParams`, and `rawObjects` with a list per kind, whose
//! objects do not say their kind. After `pkg/scheduler/plugins/snapshot`.

use std::io::{Cursor, Read};

use foretell_framework::Time;
use foretell_kai::{KaiConfig, Strategy, Verb};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::error::ManifestError;
use crate::objects::{Objects, Origin};
use crate::read::from_value;

/// The file of the archive.
const FILE: &str = "snapshot.json";
/// The most that is unpacked: a damaged or hostile archive must not fill the memory.
const MAX_BYTES: u64 = 1 << 30;
/// The field of all objects.
const OBJECTS: &str = "rawObjects";
/// Its lists, with what their objects are. Others are named in a warning, if they hold anything.
const LISTS: [(&str, &str, &str); 10] = [
    ("pods", "v1", "Pod"),
    ("nodes", "v1", "Node"),
    ("queues", "scheduling.run.ai/v2", "Queue"),
    ("podGroups", "scheduling.run.ai/v2alpha2", "PodGroup"),
    ("bindRequests", "scheduling.run.ai/v1alpha2", "BindRequest"),
    ("priorityClasses", "scheduling.k8s.io/v1", "PriorityClass"),
    ("topologies", "kai.scheduler/v1alpha1", "Topology"),
    ("resourceClaims", "resource.k8s.io", "ResourceClaim"),
    ("resourceSlices", "resource.k8s.io", "ResourceSlice"),
    ("persistentVolumeClaims", "v1", "PersistentVolumeClaim"),
];
/// Lists that say nothing of where pods may go, as far as it is modelled.
const IGNORED: [&str; 5] =
    ["configMaps", "csiDrivers", "csiStorageCapacities", "storageClasses", "deviceClasses"];

/// The objects of a snapshot as a ZIP archive. `file` names it in errors.
pub fn read_snapshot(archive: &[u8], file: &str) -> Result<Objects, ManifestError> {
    let error = |message: String| ManifestError::new(file, 0, message);
    let mut archive = zip::ZipArchive::new(Cursor::new(archive))
        .map_err(|cause| error(format!("expected a ZIP archive: {cause}")))?;
    let packed = archive.by_name(FILE).map_err(|cause| match cause {
        zip::result::ZipError::FileNotFound => {
            error(format!("expected a file {FILE} in it, as snapshots of KAI-Scheduler have"))
        }
        cause => error(format!("{FILE}: {cause}")),
    })?;
    let mut text = String::new();
    packed
        .take(MAX_BYTES + 1)
        .read_to_string(&mut text)
        .map_err(|cause| error(format!("{FILE}: cannot be unpacked: {cause}")))?;
    if text.len() as u64 > MAX_BYTES {
        return Err(error(format!("{FILE}: larger than {} MiB when unpacked", MAX_BYTES >> 20)));
    }
    let inner = format!("{file}: {FILE}");
    let value: Value = serde_json::from_str(&text)
        .map_err(|cause| ManifestError::new(inner.as_str(), cause.line() as u64, cause.to_string()))?;
    if !is_snapshot(&value) {
        return Err(ManifestError::new(inner, 0, format!("expected a field {OBJECTS}")));
    }
    let origin = Origin { file: inner.into(), line: 1, object: "".into() };
    let mut objects = Objects::default();
    objects.add_snapshot(value, &origin)?;
    Ok(objects)
}

/// Whether a document is a snapshot.
pub(crate) fn is_snapshot(value: &Value) -> bool {
    value.get(OBJECTS).is_some() && value.get("kind").is_none()
}

impl Objects {
    /// Adds the objects of a snapshot. An error names the field from the top of the snapshot.
    pub(crate) fn add_snapshot(&mut self, mut value: Value, origin: &Origin) -> Result<(), ManifestError> {
        let lists = value.get_mut(OBJECTS).map(Value::take);
        let Some(Value::Object(lists)) = lists else {
            let message = "expected lists of objects";
            return Err(origin.error(OBJECTS, message));
        };
        for (field, list) in lists {
            let Value::Array(items) = list else { continue };
            if IGNORED.contains(&field.as_str()) {
                continue;
            }
            let known = LISTS.iter().find(|(name, ..)| *name == field);
            let (version, kind) = known.map_or(("", field.as_str()), |&(_, version, kind)| (version, kind));
            for (index, item) in items.into_iter().enumerate() {
                let place = format!("{OBJECTS}.{field}[{index}]");
                let Value::Object(fields) = item else {
                    return Err(origin.error(place, "expected an object"));
                };
                self.add(with_kind(fields, version, kind), origin.clone())
                    .map_err(|error| ManifestError { field: format!("{place}.{}", error.field), ..error })?;
            }
        }
        self.kai_config = Some(from_value::<Config>(value, origin)?.kai(origin)?);
        Ok(())
    }
}

fn with_kind(mut fields: Map<String, Value>, version: &str, kind: &str) -> Value {
    for (field, text) in [("apiVersion", version), ("kind", kind)] {
        let is_said = fields.get(field).and_then(Value::as_str).is_some_and(|text| !text.is_empty());
        if !is_said {
            fields.insert(field.to_owned(), Value::String(text.to_owned()));
        }
    }
    Value::Object(fields)
}

// ---- How the scheduler was set up

/// The rest of a snapshot.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Config {
    config: Option<Setup>,
    scheduler_params: Option<Params>,
}

/// Actions and plugins.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Setup {
    /// Separated by commas.
    actions: String,
    tiers: Vec<Tier>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Tier {
    plugins: Vec<Plugin>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Plugin {
    name: String,
    arguments: Option<Map<String, Value>>,
}

/// Those parameters that are modelled.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Params {
    max_number_consolidation_preemptees: Option<usize>,
    allow_consolidating_reclaim: Option<bool>,
    /// Nanoseconds; negative is for ever.
    global_default_staleness_grace_period: Option<i64>,
}

impl Config {
    fn kai(&self, origin: &Origin) -> Result<KaiConfig, ManifestError> {
        let mut kai = KaiConfig::default();
        if let Some(setup) = &self.config {
            let names = setup.actions.split(',').map(str::trim).filter(|name| !name.is_empty());
            let verb = |name: &str| {
                Verb::named(name).ok_or_else(|| {
                    let expected = "allocate, consolidation, reclaim, preempt or stalegangeviction";
                    origin.error("config.actions", format!("expected {expected}; got `{name}`"))
                })
            };
            let verbs: Vec<Verb> = names.map(verb).collect::<Result<_, _>>()?;
            if !verbs.is_empty() {
                kai.verbs = verbs;
            }
            let plugins: Vec<&Plugin> = setup.tiers.iter().flat_map(|tier| &tier.plugins).collect();
            if !plugins.is_empty() {
                set_plugins(&mut kai, &plugins, origin)?;
            }
        }
        if let Some(params) = &self.scheduler_params {
            if let Some(victims) = params.max_number_consolidation_preemptees {
                kai.max_consolidation_victims = victims;
            }
            if let Some(allows) = params.allow_consolidating_reclaim {
                kai.allows_consolidating_reclaim = allows;
            }
            if let Some(nanos) = params.global_default_staleness_grace_period {
                kai.staleness_grace = u64::try_from(nanos).ok().map(Time::from_nanos);
            }
        }
        Ok(kai)
    }
}

fn set_plugins(kai: &mut KaiConfig, plugins: &[&Plugin], origin: &Origin) -> Result<(), ManifestError> {
    let has = |name: &str| plugins.iter().any(|plugin| plugin.name == name);
    kai.prefers.shared_gpus = has("gpusharingorder");
    kai.prefers.available = has("nodeavailability");
    kai.prefers.resource_type = has("resourcetype");
    if has("gpuspread") {
        kai.gpu_sharing = Strategy::Spread;
    }
    for plugin in plugins {
        let argument = |name: &str| {
            let value = plugin.arguments.as_ref()?.get(name)?;
            value.as_str().map(str::to_owned).or_else(|| Some(value.to_string()))
        };
        let wrong = |name: &str, expected: &str, got: &str| {
            let field = format!("config.tiers.plugins.{}.arguments.{name}", plugin.name);
            origin.error(field, format!("expected {expected}; got `{got}`"))
        };
        let strategy = |resource: &str| match argument(resource).as_deref() {
            Some("spread") => Ok(Strategy::Spread),
            None | Some("binpack") => Ok(Strategy::Binpack),
            Some(other) => Err(wrong(resource, "binpack or spread", other)),
        };
        let number = |name: &str| {
            let parsed = |text: String| text.parse::<f64>().map_err(|_| wrong(name, "a number", &text));
            argument(name).map(parsed).transpose()
        };
        match plugin.name.as_str() {
            "nodeplacement" => {
                (kai.gpu_placement, kai.cpu_placement) = (strategy("gpu")?, strategy("cpu")?);
            }
            "proportion" => {
                if let Some(factor) = number("kValue")? {
                    kai.usage_factor = factor;
                }
                if let Some(multiplier) = number("reclaimerUtilizationMultiplier")? {
                    kai.saturation_multiplier = multiplier.max(1.0);
                }
            }
            _ => {}
        }
    }
    Ok(())
}
