//! Arguments of those of Volcano's plugins that judge nodes, domains and namespaces.

use alloc::boxed::Box;
use alloc::vec::Vec;

use foretell_drf::{
    NamespaceQuota, NodeGroup, NodeGroupConfig, RevocableZones, RevocableZonesConfig, Window,
};
use foretell_framework::{GPU_RESOURCE, PerResource, SessionPlugin};
use foretell_gang::{WaitingTime, parse_duration};
use foretell_packing::{Preference, ResourceStrategyFit, ScarceResources, WeightedBinpack};
use foretell_topology::{NetworkTopologyAware, NetworkTopologyConfig};

use crate::volcano_config::{Argument, Arguments, VolcanoPlugin};

/// The plugin of this name with its arguments, if it is one of those that judge nodes, domains or namespaces, or lets in
/// who has waited too long.
pub(crate) fn session_plugin(plugin: &VolcanoPlugin) -> Option<Box<dyn SessionPlugin>> {
    let VolcanoPlugin { name, switches, arguments } = plugin;
    Some(match &**name {
        "network-topology-aware" => Box::new(NetworkTopologyAware::new(network_topology(arguments))),
        "nodegroup" => Box::new(NodeGroup::new(NodeGroupConfig {
            strict: arguments.boolean("strict").unwrap_or(true),
            prefers_in_order: arguments.boolean("enablePreferredOrder").unwrap_or(false),
            inherits: switches.hierarchy,
        })),
        "resourcequota" => Box::new(NamespaceQuota::default()),
        "sla" => {
            let otherwise = arguments.text("sla-waiting-time").and_then(parse_duration);
            Box::new(WaitingTime::new(otherwise))
        }
        "tdm" => Box::new(RevocableZones::new(revocable_zones(arguments))),
        _ => return None,
    })
}

/// Volcano's `binpack` with these arguments.
pub fn binpack(arguments: &Arguments) -> WeightedBinpack {
    WeightedBinpack {
        resources: weights(arguments, "binpack"),
        weight: whole(arguments, "binpack.weight").unwrap_or(1),
    }
}

/// Volcano's `resource-strategy-fit` with these arguments.
pub fn resource_strategy_fit(arguments: &Arguments) -> ResourceStrategyFit {
    let preference = |arguments: &Arguments| match arguments.text("type")? {
        "MostAllocated" => Some(Preference::Most),
        "LeastAllocated" => Some(Preference::Least),
        _ => None,
    };
    let named: Vec<(Box<str>, (Preference, u32))> = match arguments.map("resources") {
        Some(Arguments(resources)) => resources
            .iter()
            .filter_map(|(name, value)| {
                let Argument::Map(value) = value else { return None };
                Some((name.clone(), (preference(value)?, whole(value, "weight").unwrap_or(1))))
            })
            .collect(),
        None => ["cpu", "memory"].map(|name| (name.into(), (Preference::Least, 1))).into(),
    };
    ResourceStrategyFit {
        resources: PerResource::new(named, GPU_RESOURCE),
        weight: whole(arguments, "resourceStrategyFitWeight").unwrap_or(10),
        scarce: arguments.map("sra").filter(|sra| sra.boolean("enable") == Some(true)).map(scarce),
    }
}

fn scarce(arguments: &Arguments) -> ScarceResources {
    let weights = arguments.map("resourceWeight");
    let weight = |name: &str| weights.and_then(|weights| whole(weights, name)).unwrap_or(1);
    let names = list(arguments, "resources").map(|name| (name.into(), weight(name)));
    ScarceResources {
        resources: PerResource::new(names, GPU_RESOURCE),
        weight: whole(arguments, "weight").unwrap_or(10),
    }
}

fn network_topology(arguments: &Arguments) -> NetworkTopologyConfig {
    let default = NetworkTopologyConfig::default();
    let fading = arguments.float("hypernode.binpack.normal-pod.fading").filter(|fading| *fading >= 0.0);
    NetworkTopologyConfig {
        weight: whole(arguments, "weight").unwrap_or(default.weight),
        resources: weights(arguments, "hypernode.binpack"),
        packs_ordinary_tasks: arguments
            .boolean("hypernode.binpack.normal-pod.enable")
            .unwrap_or(default.packs_ordinary_tasks),
        fading: fading.unwrap_or(default.fading),
    }
}

fn revocable_zones(arguments: &Arguments) -> RevocableZonesConfig {
    let default = RevocableZonesConfig::default();
    let zones = arguments.0.iter().filter_map(|(name, value)| {
        let Argument::Text(window) = value else { return None };
        Some((name.strip_prefix("tdm.revocable-zone.")?.into(), Window::parse(window)?))
    });
    let period = arguments.text("tdm.evict.period").and_then(parse_duration);
    RevocableZonesConfig { zones: zones.collect(), evict_period: period.unwrap_or(default.evict_period) }
}

/// Weights of CPU, memory and the listed resources, each 1 if nothing else is said.
fn weights(arguments: &Arguments, prefix: &str) -> PerResource<u32> {
    let weight = |name: &str| whole(arguments, &alloc::format!("{prefix}.{name}")).unwrap_or(1);
    let fixed = ["cpu", "memory"].map(|name| (Box::from(name), weight(name)));
    let listed = list(arguments, &alloc::format!("{prefix}.resources"))
        .map(|name| (Box::from(name), weight(&alloc::format!("resources.{name}"))))
        .collect::<Vec<_>>();
    PerResource::new(fixed.into_iter().chain(listed), GPU_RESOURCE)
}

/// Names separated by commas.
fn list<'a>(arguments: &'a Arguments, name: &str) -> impl Iterator<Item = &'a str> {
    let text = arguments.text(name).unwrap_or_default();
    text.split(',').map(str::trim).filter(|name| !name.is_empty())
}

/// A whole number of zero or more.
fn whole(arguments: &Arguments, name: &str) -> Option<u32> {
    arguments.integer(name).and_then(|value| u32::try_from(value).ok())
}
