//! Arguments of kube-scheduler's plugins (`pluginConfig[].args` of a `KubeSchedulerConfiguration`).

use foretell_framework::Labels;
use foretell_registry::kube::{
    DefaultConfig, FitScoring, IgnoredResources, KubePlugin, PodAffinityConfig, PreemptionConfig,
    ScoringStrategy, SpreadDefaults, WeightedResource,
};
use k8s_openapi::api::core::v1 as api;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::convert::selectors;
use crate::error::ManifestError;
use crate::objects::Origin;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NodeAffinityArgs {
    added_affinity: Option<api::NodeAffinity>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct FitArgs {
    ignored_resources: Option<Vec<String>>,
    ignored_resource_groups: Option<Vec<String>>,
    scoring_strategy: Option<Strategy>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Strategy {
    r#type: Option<String>,
    resources: Option<Vec<Resource>>,
    requested_to_capacity_ratio: Option<Ratio>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Resource {
    name: String,
    weight: Option<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ratio {
    shape: Option<Vec<Point>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Point {
    utilization: i64,
    score: i64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BalancedArgs {
    resources: Option<Vec<Resource>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SpreadArgs {
    default_constraints: Option<Vec<api::TopologySpreadConstraint>>,
    defaulting_type: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PodAffinityArgs {
    hard_pod_affinity_weight: Option<u32>,
    ignore_preferred_terms_of_existing_pods: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PreemptionArgs {
    min_candidate_nodes_percentage: Option<u32>,
    min_candidate_nodes_absolute: Option<u32>,
}

/// Puts the arguments of a plugin into a profile. Fields of errors are relative to the arguments.
pub fn set_plugin_args(
    config: &mut DefaultConfig,
    plugin: KubePlugin,
    args: &Value,
    origin: &Origin,
) -> Result<(), ManifestError> {
    match plugin {
        KubePlugin::NodeAffinity => {
            let NodeAffinityArgs { added_affinity } = read(args, origin)?;
            config.added_affinity = added_affinity.as_ref().map(selectors::node_affinity).unwrap_or_default();
        }
        KubePlugin::NodeResourcesFit => {
            let args: FitArgs = read(args, origin)?;
            let boxed = |names: Option<Vec<String>>| names.into_iter().flatten().map(Into::into).collect();
            config.ignored_resources = IgnoredResources {
                names: boxed(args.ignored_resources),
                groups: boxed(args.ignored_resource_groups),
            };
            config.fit_scoring = args
                .scoring_strategy
                .map_or_else(|| Ok(FitScoring::default()), |strategy| fit_scoring(strategy, origin))?;
        }
        KubePlugin::NodeResourcesBalancedAllocation => {
            let BalancedArgs { resources } = read(args, origin)?;
            config.balanced_resources = weighted(resources);
        }
        KubePlugin::PodTopologySpread => {
            let args: SpreadArgs = read(args, origin)?;
            let constraints = args.default_constraints.unwrap_or_default();
            config.spread_defaults = match args.defaulting_type.as_deref() {
                None | Some("System") if constraints.is_empty() => SpreadDefaults::System,
                Some("List") => {
                    SpreadDefaults::List(selectors::topology_spread(&constraints, &Labels::new(), origin)?)
                }
                None | Some("System") => {
                    let message = "expected none with defaultingType System";
                    return Err(origin.error("defaultConstraints", message));
                }
                Some(other) => {
                    let message = format!("expected System or List; got `{other}`");
                    return Err(origin.error("defaultingType", message));
                }
            };
        }
        KubePlugin::InterPodAffinity => {
            let args: PodAffinityArgs = read(args, origin)?;
            let default = PodAffinityConfig::default();
            config.pod_affinity = PodAffinityConfig {
                hard_weight: args.hard_pod_affinity_weight.unwrap_or(default.hard_weight),
                ignores_preferred_terms_of_placed: args
                    .ignore_preferred_terms_of_existing_pods
                    .unwrap_or(default.ignores_preferred_terms_of_placed),
            };
        }
        KubePlugin::DefaultPreemption => {
            let args: PreemptionArgs = read(args, origin)?;
            let default = PreemptionConfig::default();
            let given = PreemptionConfig {
                min_candidate_nodes_percentage: args
                    .min_candidate_nodes_percentage
                    .unwrap_or(default.min_candidate_nodes_percentage),
                min_candidate_nodes_absolute: args
                    .min_candidate_nodes_absolute
                    .unwrap_or(default.min_candidate_nodes_absolute),
            };
            // Where preemption is switched off it stays off.
            config.preemption = config.preemption.map(|_| given);
        }
        KubePlugin::NodeUnschedulable
        | KubePlugin::NodeName
        | KubePlugin::TaintToleration
        | KubePlugin::NodePorts
        | KubePlugin::ImageLocality => {
            return Err(origin.error("", format!("{} takes no arguments", plugin.name())));
        }
    }
    Ok(())
}

/// Reads arguments, apart from the type that they may name.
fn read<T: DeserializeOwned>(args: &Value, origin: &Origin) -> Result<T, ManifestError> {
    let mut args = args.clone();
    if let Some(fields) = args.as_object_mut() {
        fields.remove("apiVersion");
        fields.remove("kind");
    }
    serde_path_to_error::deserialize(args).map_err(|error| {
        let path = error.path().to_string();
        let field = if path == "." { String::new() } else { path };
        origin.error(field, error.inner().to_string())
    })
}

/// Resources with their weights: CPU and memory alike where none are given, weight 1 where it is 0 or absent.
fn weighted(resources: Option<Vec<Resource>>) -> Vec<WeightedResource> {
    match resources {
        None => WeightedResource::cpu_and_memory(),
        Some(resources) if resources.is_empty() => WeightedResource::cpu_and_memory(),
        Some(resources) => resources
            .into_iter()
            .map(|Resource { name, weight }| WeightedResource {
                name: name.into(),
                weight: weight.filter(|&weight| weight > 0).unwrap_or(1),
            })
            .collect(),
    }
}

fn fit_scoring(given: Strategy, origin: &Origin) -> Result<FitScoring, ManifestError> {
    let strategy = match given.r#type.as_deref() {
        None | Some("" | "LeastAllocated") => ScoringStrategy::LeastAllocated,
        Some("MostAllocated") => ScoringStrategy::MostAllocated,
        Some("RequestedToCapacityRatio") => {
            let shape = given.requested_to_capacity_ratio.and_then(|ratio| ratio.shape).unwrap_or_default();
            let field = "scoringStrategy.requestedToCapacityRatio.shape";
            if shape.is_empty() {
                return Err(origin.error(field, "expected at least one point"));
            }
            if !shape.is_sorted_by(|one, next| one.utilization < next.utilization) {
                return Err(origin.error(field, "expected points in order of utilization, each once"));
            }
            // Ten times the scores: theirs are 0 to 10, those of plugins 0 to 100.
            let shape = shape.into_iter().map(|point| (point.utilization, point.score * 10));
            ScoringStrategy::RequestedToCapacityRatio(shape.collect())
        }
        Some(other) => {
            let message =
                format!("expected LeastAllocated, MostAllocated or RequestedToCapacityRatio; got `{other}`");
            return Err(origin.error("scoringStrategy.type", message));
        }
    };
    Ok(FitScoring { strategy, resources: weighted(given.resources) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn set(plugin: KubePlugin, args: &Value) -> Result<DefaultConfig, String> {
        let mut config = DefaultConfig::default();
        set_plugin_args(&mut config, plugin, args, &Origin::default()).map_err(|error| error.to_string())?;
        Ok(config)
    }

    #[test]
    fn arguments_that_say_nothing_are_the_defaults() {
        for plugin in [
            KubePlugin::NodeAffinity,
            KubePlugin::NodeResourcesFit,
            KubePlugin::NodeResourcesBalancedAllocation,
            KubePlugin::PodTopologySpread,
            KubePlugin::InterPodAffinity,
            KubePlugin::DefaultPreemption,
        ] {
            let args = json!({ "apiVersion": "kubescheduler.config.k8s.io/v1", "kind": "Args" });
            assert_eq!(set(plugin, &args), Ok(DefaultConfig::default()), "{plugin:?}");
        }
    }

    #[test]
    fn strategies_are_read() {
        let args = json!({ "scoringStrategy": {
            "type": "RequestedToCapacityRatio",
            "resources": [{ "name": "nvidia.com/gpu", "weight": 5 }, { "name": "cpu", "weight": 0 }],
            "requestedToCapacityRatio": { "shape": [{ "utilization": 0, "score": 0 }, { "utilization": 100, "score": 10 }] },
        }});
        let config = set(KubePlugin::NodeResourcesFit, &args).unwrap();
        let weighted = |name: &str, weight| WeightedResource { name: name.into(), weight };
        assert_eq!(config.fit_scoring.resources, [weighted("nvidia.com/gpu", 5), weighted("cpu", 1)]);
        let shape = vec![(0, 0), (100, 100)];
        assert_eq!(config.fit_scoring.strategy, ScoringStrategy::RequestedToCapacityRatio(shape));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let check = |plugin, args: &Value, expected: &str| {
            let error = set(plugin, args).unwrap_err();
            assert!(error.contains(expected), "{error}");
        };
        check(KubePlugin::NodeName, &json!({}), "NodeName takes no arguments");
        check(KubePlugin::NodeResourcesFit, &json!({ "scoring": 1 }), "unknown field `scoring`");
        let strategy = json!({ "scoringStrategy": { "type": "Best" } });
        check(KubePlugin::NodeResourcesFit, &strategy, "scoringStrategy.type: expected LeastAllocated");
        let shape = json!({ "scoringStrategy": { "type": "RequestedToCapacityRatio" } });
        check(KubePlugin::NodeResourcesFit, &shape, "expected at least one point");
        check(KubePlugin::PodTopologySpread, &json!({ "defaultingType": "All" }), "expected System or List");
    }
}
