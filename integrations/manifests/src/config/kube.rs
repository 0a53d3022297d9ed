//! `KubeSchedulerConfiguration`.

use foretell_default::{
    DefaultConfig, FitScoring, IgnoredResources, KubePlugin, PodAffinityConfig, PreemptionConfig,
    ScoringStrategy, SpreadDefaults, WeightedResource,
};
use foretell_framework::{Labels, Time};
use foretell_registry::{KubeConfig, KubeProfile};
use k8s_openapi::api::core::v1 as api;
use serde::Deserialize;
use serde_json::Value;

use super::typed;
use crate::convert::selectors;
use crate::error::ManifestError;
use crate::objects::Origin;

/// Plugins that are always in effect here.
const ALWAYS: [&str; 3] = ["SchedulingGates", "PrioritySort", "DefaultBinder"];

/// Plugins of kube-scheduler that are not supported: there are no volumes and no claims in a cluster here.
const IN_TREE: [&str; 7] = [
    "DynamicResources",
    "GangScheduling",
    "NodeDeclaredFeatures",
    "NodeVolumeLimits",
    "VolumeBinding",
    "VolumeRestrictions",
    "VolumeZone",
];

/// Plugins of scheduler-plugins, which can be linked into kube-scheduler.
const OUT_OF_TREE: [&str; 14] = [
    "CapacityScheduling",
    "Coscheduling",
    "NetworkOverhead",
    "TopologicalSort",
    "NodeResourcesAllocatable",
    "NodeResourceTopologyMatch",
    "PreemptionToleration",
    "TargetLoadPacking",
    "LoadVariationRiskBalancing",
    "LowRiskOverCommitment",
    "Peaks",
    "SySched",
    "PodState",
    "QOSSort",
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[expect(dead_code, reason = "fields that say nothing of decisions are known and not read")]
struct File {
    api_version: String,
    kind: String,
    parallelism: Option<u32>,
    leader_election: Option<Value>,
    client_connection: Option<Value>,
    enable_profiling: Option<bool>,
    enable_contention_profiling: Option<bool>,
    delay_cache_until_active: Option<bool>,
    percentage_of_nodes_to_score: Option<u32>,
    pod_initial_backoff_seconds: Option<u32>,
    pod_max_backoff_seconds: Option<u32>,
    #[serde(default)]
    profiles: Vec<Profile>,
    #[serde(default)]
    extenders: Vec<Value>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
struct Profile {
    scheduler_name: Option<String>,
    percentage_of_nodes_to_score: Option<u32>,
    plugins: ExtensionPoints,
    plugin_config: Vec<PluginConfig>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
struct ExtensionPoints {
    pre_enqueue: PluginSet,
    queue_sort: PluginSet,
    pre_filter: PluginSet,
    filter: PluginSet,
    post_filter: PluginSet,
    pre_score: PluginSet,
    score: PluginSet,
    reserve: PluginSet,
    permit: PluginSet,
    pre_bind: PluginSet,
    bind: PluginSet,
    post_bind: PluginSet,
    multi_point: PluginSet,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct PluginSet {
    enabled: Vec<Plugin>,
    disabled: Vec<Plugin>,
}

#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Plugin {
    name: String,
    weight: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PluginConfig {
    name: String,
    #[serde(default)]
    args: Value,
}

/// Reads the configuration; what is not supported is added to `warnings`.
pub(super) fn read(
    value: Value,
    origin: &Origin,
    warnings: &mut Vec<ManifestError>,
) -> Result<KubeConfig, ManifestError> {
    let file: File = typed(value, "", origin)?;
    if !file.extenders.is_empty() {
        warnings.push(origin.error("extenders", "not supported: nothing is called from here"));
    }
    let mut base = DefaultConfig::default();
    if let Some(percentage) = file.percentage_of_nodes_to_score {
        base.percentage_of_nodes_to_score = percent(percentage, "percentageOfNodesToScore", origin)?;
    }
    let seconds = |seconds: u32| Time::from_s(f64::from(seconds));
    base.pod_initial_backoff = file.pod_initial_backoff_seconds.map_or(base.pod_initial_backoff, seconds);
    base.pod_max_backoff = file.pod_max_backoff_seconds.map_or(base.pod_max_backoff, seconds);
    if base.pod_max_backoff < base.pod_initial_backoff {
        let message = "expected at least podInitialBackoffSeconds";
        return Err(origin.error("podMaxBackoffSeconds", message));
    }
    let mut given = file.profiles;
    if given.is_empty() {
        given.push(Profile::default());
    }
    let mut profiles = Vec::new();
    for (index, profile) in given.into_iter().enumerate() {
        profiles.push(read_profile(profile, &format!("profiles[{index}]"), &base, origin, warnings)?);
    }
    Ok(KubeConfig { profiles })
}

fn percent(value: u32, field: &str, origin: &Origin) -> Result<u32, ManifestError> {
    if value > 100 {
        return Err(origin.error(field, format!("expected 0 to 100; got {value}")));
    }
    Ok(value)
}

fn read_profile(
    profile: Profile,
    field: &str,
    base: &DefaultConfig,
    origin: &Origin,
    warnings: &mut Vec<ManifestError>,
) -> Result<KubeProfile, ManifestError> {
    let mut config = base.clone();
    if let Some(percentage) = profile.percentage_of_nodes_to_score {
        let field = format!("{field}.percentageOfNodesToScore");
        config.percentage_of_nodes_to_score = percent(percentage, &field, origin)?;
    }
    profile.plugins.check(&format!("{field}.plugins"), origin, warnings)?;
    profile.plugins.apply(&mut config);
    for (index, PluginConfig { name, args }) in profile.plugin_config.into_iter().enumerate() {
        let entry = format!("{field}.pluginConfig[{index}]");
        check_name(&name, &format!("{entry}.name"), origin, warnings)?;
        set_plugin_arguments(&mut config, &name, args, &format!("{entry}.args"), origin)?;
    }
    let scheduler_name = profile.scheduler_name.unwrap_or_else(|| "default-scheduler".to_owned());
    Ok(KubeProfile { scheduler_name: scheduler_name.into(), config })
}

/// Refuses names that nobody knows; warns of those that are not supported.
fn check_name(
    name: &str,
    field: &str,
    origin: &Origin,
    warnings: &mut Vec<ManifestError>,
) -> Result<(), ManifestError> {
    if KubePlugin::from_name(name).is_some() || ALWAYS.contains(&name) {
        return Ok(());
    }
    if IN_TREE.contains(&name) || OUT_OF_TREE.contains(&name) {
        warnings.push(origin.error(field, format!("plugin {name} is not supported")));
        return Ok(());
    }
    let names = KubePlugin::ALL.map(KubePlugin::name).join(", ");
    Err(origin.error(field, format!("unknown plugin `{name}`: expected one of {names}")))
}

impl ExtensionPoints {
    fn check(
        &self,
        field: &str,
        origin: &Origin,
        warnings: &mut Vec<ManifestError>,
    ) -> Result<(), ManifestError> {
        let sets = [
            ("preEnqueue", &self.pre_enqueue),
            ("queueSort", &self.queue_sort),
            ("preFilter", &self.pre_filter),
            ("filter", &self.filter),
            ("postFilter", &self.post_filter),
            ("preScore", &self.pre_score),
            ("score", &self.score),
            ("reserve", &self.reserve),
            ("permit", &self.permit),
            ("preBind", &self.pre_bind),
            ("bind", &self.bind),
            ("postBind", &self.post_bind),
            ("multiPoint", &self.multi_point),
        ];
        for (point, set) in sets {
            for (index, plugin) in set.enabled.iter().enumerate() {
                let field = format!("{field}.{point}.enabled[{index}].name");
                check_name(&plugin.name, &field, origin, warnings)?;
            }
            for (index, plugin) in set.disabled.iter().enumerate().filter(|(_, plugin)| plugin.name != "*") {
                let field = format!("{field}.{point}.disabled[{index}].name");
                // To switch off what is not supported needs no warning.
                check_name(&plugin.name, &field, origin, &mut Vec::new())?;
            }
        }
        Ok(())
    }

    /// Says of a profile which plugins filter, score and preempt, as kube-scheduler merges its defaults with what is
    /// given.
    fn apply(&self, config: &mut DefaultConfig) {
        let multi_point = self.multi_point.merged();
        let filters = self.filter.expanded(&multi_point, KubePlugin::is_filter);
        config.filters = filters.into_iter().map(|(plugin, _)| plugin).collect();
        config.scores = self.score.expanded(&multi_point, |plugin| plugin.default_weight().is_some());
        let preempts = |plugin| plugin == KubePlugin::DefaultPreemption;
        if self.post_filter.expanded(&multi_point, preempts).is_empty() {
            config.preemption = None;
        }
    }
}

impl PluginSet {
    fn disables(&self, name: &str) -> bool {
        self.disabled.iter().any(|plugin| plugin.name == name || plugin.name == "*")
    }

    /// What is given for all extension points together, merged with the default profile. A default that is given again
    /// keeps its place.
    fn merged(&self) -> Vec<(KubePlugin, u32)> {
        let known = |plugin: &Plugin| Some((KubePlugin::from_name(&plugin.name)?, plugin.weight));
        let given: Vec<_> = self.enabled.iter().filter_map(known).collect();
        let mut merged = Vec::new();
        for plugin in KubePlugin::ALL.into_iter().filter(|plugin| !self.disables(plugin.name())) {
            let again = given.iter().find(|(again, _)| *again == plugin);
            merged.push(again.copied().unwrap_or((plugin, plugin.default_weight().unwrap_or(0))));
        }
        for entry in given {
            if !merged.iter().any(|(plugin, _)| *plugin == entry.0) {
                merged.push(entry);
            }
        }
        merged
    }

    /// The plugins of one extension point, in order, with weights of at least 1: first those that are given here and for
    /// all points, then those for all points, then the rest of those given here.
    fn expanded(
        &self,
        multi_point: &[(KubePlugin, u32)],
        takes_part: impl Fn(KubePlugin) -> bool,
    ) -> Vec<(KubePlugin, u32)> {
        let known = |plugin: &Plugin| Some((KubePlugin::from_name(&plugin.name)?, plugin.weight.max(1)));
        let here: Vec<_> = self.enabled.iter().filter_map(known).collect();
        let is_multi_point = |plugin: KubePlugin| multi_point.iter().any(|(other, _)| *other == plugin);
        let (again, only_here): (Vec<_>, Vec<_>) =
            here.into_iter().partition(|(plugin, _)| is_multi_point(*plugin));
        let inherited = multi_point.iter().filter(|(plugin, _)| {
            takes_part(*plugin)
                && !self.disables(plugin.name())
                && !again.iter().any(|(other, _)| other == plugin)
        });
        let inherited: Vec<_> = inherited.map(|&(plugin, weight)| (plugin, weight.max(1))).collect();
        let all = again.into_iter().chain(inherited).chain(only_here);
        all.filter(|(plugin, _)| takes_part(*plugin)).collect()
    }
}

// ---- Arguments

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
struct Fit {
    ignored_resources: Vec<String>,
    ignored_resource_groups: Vec<String>,
    scoring_strategy: Option<Strategy>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Strategy {
    #[serde(rename = "type", default)]
    kind: Option<String>,
    #[serde(default)]
    resources: Vec<ResourceSpec>,
    requested_to_capacity_ratio: Option<CapacityRatio>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ResourceSpec {
    name: String,
    #[serde(default)]
    weight: u32,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct CapacityRatio {
    shape: Vec<ShapePoint>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
#[derive(Default)]
struct ShapePoint {
    utilization: i64,
    score: i64,
}

#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct Balanced {
    resources: Vec<ResourceSpec>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
struct Spread {
    default_constraints: Vec<api::TopologySpreadConstraint>,
    defaulting_type: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
struct InterPod {
    hard_pod_affinity_weight: Option<u32>,
    ignore_preferred_terms_of_existing_pods: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
struct Affinity {
    added_affinity: Option<api::NodeAffinity>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
struct Preemption {
    min_candidate_nodes_percentage: Option<u32>,
    min_candidate_nodes_absolute: Option<u32>,
}

fn weighted(resources: Vec<ResourceSpec>) -> Vec<WeightedResource> {
    if resources.is_empty() {
        return WeightedResource::cpu_and_memory();
    }
    let weighted = |resource: ResourceSpec| WeightedResource {
        name: resource.name.into(),
        // An absent weight is one.
        weight: resource.weight.max(1),
    };
    resources.into_iter().map(weighted).collect()
}

/// Sets the arguments of a plugin, given as in `pluginConfig[].args`. `field` leads to them in errors. Plugins that take
/// no arguments here take any.
pub fn set_plugin_arguments(
    config: &mut DefaultConfig,
    plugin: &str,
    arguments: Value,
    field: &str,
    origin: &Origin,
) -> Result<(), ManifestError> {
    let Some(plugin) = KubePlugin::from_name(plugin).filter(|_| !arguments.is_null()) else { return Ok(()) };
    match plugin {
        KubePlugin::NodeResourcesFit => {
            let fit: Fit = typed(arguments, field, origin)?;
            let boxed = |names: Vec<String>| names.into_iter().map(Into::into).collect();
            config.ignored_resources = IgnoredResources {
                names: boxed(fit.ignored_resources),
                groups: boxed(fit.ignored_resource_groups),
            };
            if let Some(strategy) = fit.scoring_strategy {
                config.fit_scoring = fit_scoring(strategy, &format!("{field}.scoringStrategy"), origin)?;
            }
        }
        KubePlugin::NodeResourcesBalancedAllocation => {
            config.balanced_resources = weighted(typed::<Balanced>(arguments, field, origin)?.resources);
        }
        KubePlugin::PodTopologySpread => {
            let spread: Spread = typed(arguments, field, origin)?;
            let constraints = selectors::topology_spread(&spread.default_constraints, &Labels::new(), origin)
                .map_err(|error| ManifestError {
                    field: error
                        .field
                        .replace("spec.topologySpreadConstraints", &format!("{field}.defaultConstraints")),
                    ..error
                })?;
            config.spread_defaults = match spread.defaulting_type.as_deref() {
                Some("List") => SpreadDefaults::List(constraints),
                None if !constraints.is_empty() => SpreadDefaults::List(constraints),
                None | Some("System") if constraints.is_empty() => SpreadDefaults::System,
                Some("System") => {
                    let message = "expected none with defaultingType System";
                    return Err(origin.error(format!("{field}.defaultConstraints"), message));
                }
                other => {
                    let message = format!("expected System or List; got `{}`", other.unwrap_or_default());
                    return Err(origin.error(format!("{field}.defaultingType"), message));
                }
            };
        }
        KubePlugin::InterPodAffinity => {
            let affinity: InterPod = typed(arguments, field, origin)?;
            config.pod_affinity = PodAffinityConfig {
                hard_weight: percent(
                    affinity.hard_pod_affinity_weight.unwrap_or(1),
                    &format!("{field}.hardPodAffinityWeight"),
                    origin,
                )?,
                ignores_preferred_terms_of_placed: affinity.ignore_preferred_terms_of_existing_pods,
            };
        }
        KubePlugin::NodeAffinity => {
            let affinity: Affinity = typed(arguments, field, origin)?;
            config.added_affinity =
                affinity.added_affinity.as_ref().map(selectors::node_affinity).unwrap_or_default();
        }
        KubePlugin::DefaultPreemption => {
            let preemption: Preemption = typed(arguments, field, origin)?;
            let default = PreemptionConfig::default();
            let percentage =
                preemption.min_candidate_nodes_percentage.unwrap_or(default.min_candidate_nodes_percentage);
            let percentage_field = format!("{field}.minCandidateNodesPercentage");
            let absolute =
                preemption.min_candidate_nodes_absolute.unwrap_or(default.min_candidate_nodes_absolute);
            // Without the plugin its arguments mean nothing.
            config.preemption = config.preemption.is_some().then_some(PreemptionConfig {
                min_candidate_nodes_percentage: percent(percentage, &percentage_field, origin)?,
                min_candidate_nodes_absolute: absolute,
            });
        }
        KubePlugin::NodeUnschedulable
        | KubePlugin::NodeName
        | KubePlugin::TaintToleration
        | KubePlugin::NodePorts
        | KubePlugin::ImageLocality => {}
    }
    Ok(())
}

/// Scores of Kubernetes' shape points are tenths of those of nodes.
const SHAPE_SCORE_SCALE: i64 = 10;

fn fit_scoring(strategy: Strategy, field: &str, origin: &Origin) -> Result<FitScoring, ManifestError> {
    let kind = match strategy.kind.as_deref().unwrap_or("LeastAllocated") {
        "LeastAllocated" => ScoringStrategy::LeastAllocated,
        "MostAllocated" => ScoringStrategy::MostAllocated,
        "RequestedToCapacityRatio" => {
            let field = format!("{field}.requestedToCapacityRatio.shape");
            let points = strategy.requested_to_capacity_ratio.unwrap_or_default().shape;
            if points.is_empty() {
                return Err(origin.error(field, "expected at least one point"));
            }
            let rises = points.windows(2).all(|pair| pair[0].utilization < pair[1].utilization);
            let in_range = |point: &ShapePoint| {
                (0..=100).contains(&point.utilization) && (0..=SHAPE_SCORE_SCALE).contains(&point.score)
            };
            if !rises || !points.iter().all(in_range) {
                let message = "expected rising utilizations of 0 to 100 and scores of 0 to 10";
                return Err(origin.error(field, message));
            }
            let points = points.iter().map(|point| (point.utilization, point.score * SHAPE_SCORE_SCALE));
            ScoringStrategy::RequestedToCapacityRatio(points.collect())
        }
        other => {
            let message =
                format!("expected LeastAllocated, MostAllocated or RequestedToCapacityRatio; got `{other}`");
            return Err(origin.error(format!("{field}.type"), message));
        }
    };
    Ok(FitScoring { strategy: kind, resources: weighted(strategy.resources) })
}
