//! `volcano-scheduler.conf`.

use std::collections::BTreeMap;

use foretell_framework::Switches;
use foretell_registry::{
    Argument, Arguments, VOLCANO_ACTIONS, VOLCANO_PLUGINS, VolcanoConfig, VolcanoPlugin,
};
use serde::Deserialize;
use serde_json::Value;

use super::typed;
use crate::error::ManifestError;
use crate::objects::Origin;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    actions: String,
    #[serde(default)]
    tiers: Vec<Tier>,
    #[serde(default)]
    configurations: Vec<Action>,
    /// Where plugins look for metrics of nodes.
    metrics: Option<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Tier {
    #[serde(default)]
    plugins: Vec<Plugin>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Action {
    name: String,
    #[serde(default)]
    arguments: BTreeMap<String, Value>,
}

/// Defines the wire form of a plugin: each switch in the spellings `enableX` and `enabledX`.
macro_rules! define_plugin {
    ($($field:ident: $enable:literal | $enabled:literal),+ $(,)?) => {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Plugin {
            name: String,
            #[serde(default)]
            arguments: BTreeMap<String, Value>,
            $(#[serde(rename = $enable, alias = $enabled)] $field: Option<bool>,)+
            #[serde(rename = "enableTargetJob", alias = "enabledTargetJob")]
            target_job: Option<bool>,
            #[serde(rename = "enableReservedNodes", alias = "enabledReservedNodes")]
            reserved_nodes: Option<bool>,
            #[serde(rename = "enableClusterOrder", alias = "enabledClusterOrder", alias = "EnabledClusterOrder")]
            cluster_order: Option<bool>,
        }

        impl Plugin {
            fn switches(&self) -> Switches {
                let mut switches = Switches::default();
                $(if let Some(on) = self.$field {
                    switches.$field = on;
                })+
                switches
            }
        }
    };
}

define_plugin! {
    job_order: "enableJobOrder" | "enabledJobOrder",
    task_order: "enableTaskOrder" | "enabledTaskOrder",
    queue_order: "enableQueueOrder" | "enabledQueueOrder",
    sub_job_order: "enabledSubJobOrder" | "enableSubJobOrder",
    job_ready: "enableJobReady" | "enabledJobReady",
    job_pipelined: "enableJobPipelined" | "enabledJobPipelined",
    job_starving: "enableJobStarving" | "enabledJobStarving",
    sub_job_ready: "enabledSubJobReady" | "enableSubJobReady",
    sub_job_pipelined: "enabledSubJobPipelined" | "enableSubJobPipelined",
    job_enqueued: "enableJobEnqueued" | "enabledJobEnqueued",
    overused: "enabledOverused" | "enableOverused",
    allocatable: "enabledAllocatable" | "enableAllocatable",
    preemptive: "enablePreemptive" | "enabledPreemptive",
    preemptable: "enablePreemptable" | "enabledPreemptable",
    reclaimable: "enableReclaimable" | "enabledReclaimable",
    victim: "enabledVictim" | "enableVictim",
    predicate: "enablePredicate" | "enabledPredicate",
    node_order: "enableNodeOrder" | "enabledNodeOrder",
    best_node: "enableBestNode" | "enabledBestNode",
    hyper_node_order: "enabledHyperNodeOrder" | "enableHyperNodeOrder",
    hyper_node_gradient: "enabledHyperNodeGradient" | "enableHyperNodeGradient",
    hierarchy: "enableHierarchy" | "enabledHierarchy",
}

/// Reads the configuration; what is not supported is added to `warnings`.
pub(super) fn read(
    value: Value,
    origin: &Origin,
    warnings: &mut Vec<ManifestError>,
) -> Result<VolcanoConfig, ManifestError> {
    let file: File = typed(value, "", origin)?;
    if file.metrics.is_some() {
        warnings.push(origin.error("metrics", "not supported: nodes have no measured load here"));
    }
    let mut config = VolcanoConfig::default();
    for action in file.actions.split(',').map(str::trim).filter(|action| !action.is_empty()) {
        config.actions.push(known(action, &VOLCANO_ACTIONS, "action", "actions", origin)?);
    }
    for (index, tier) in file.tiers.into_iter().enumerate() {
        let mut plugins = Vec::new();
        for (position, plugin) in tier.plugins.into_iter().enumerate() {
            let field = |name: &str| format!("tiers[{index}].plugins[{position}].{name}");
            for (name, switch) in [
                ("enableTargetJob", plugin.target_job),
                ("enableReservedNodes", plugin.reserved_nodes),
                ("enableClusterOrder", plugin.cluster_order),
            ] {
                if switch.is_some() {
                    warnings.push(origin.error(field(name), "not supported"));
                }
            }
            let switches = plugin.switches();
            plugins.push(VolcanoPlugin {
                name: known(&plugin.name, &VOLCANO_PLUGINS, "plugin", &field("name"), origin)?,
                switches,
                arguments: arguments(plugin.arguments),
            });
        }
        config.tiers.push(plugins);
    }
    for (index, action) in file.configurations.into_iter().enumerate() {
        let field = format!("configurations[{index}].name");
        let name = known(&action.name, &VOLCANO_ACTIONS, "action", &field, origin)?;
        config.action_arguments.insert(name, arguments(action.arguments));
    }
    Ok(config)
}

fn known(
    name: &str,
    names: &[&str],
    what: &str,
    field: &str,
    origin: &Origin,
) -> Result<Box<str>, ManifestError> {
    if names.contains(&name) {
        return Ok(name.into());
    }
    Err(origin.error(field, format!("unknown {what} `{name}`: expected one of {}", names.join(", "))))
}

/// Arguments as plugins and actions ask for them.
pub fn arguments(values: impl IntoIterator<Item = (String, Value)>) -> Arguments {
    let arguments = values.into_iter().filter_map(|(name, value)| Some((name.into(), argument(value)?)));
    Arguments(arguments.collect())
}

fn argument(value: Value) -> Option<Argument> {
    Some(match value {
        Value::Null => return None,
        Value::Bool(value) => Argument::Bool(value),
        Value::Number(number) => match number.as_i64() {
            Some(integer) => Argument::Integer(integer),
            None => Argument::Float(number.as_f64()?),
        },
        Value::String(text) => Argument::Text(text.into()),
        Value::Array(values) => Argument::List(values.into_iter().filter_map(argument).collect()),
        Value::Object(values) => Argument::Map(arguments(values)),
    })
}
