use foretell_default::{DefaultConfig, KubePlugin, ScoringStrategy, SpreadDefaults};
use foretell_framework::{Switches, Time};
use foretell_manifests::{SchedulerConfig, read_config};
use foretell_registry::{Argument, KubeConfig, VolcanoConfig};

const VOLCANO: &str = r#"
actions: "enqueue, allocate, backfill"
tiers:
- plugins:
  - name: priority
  - name: gang
    enablePreemptable: false
    enabledJobStarving: false
- plugins:
  - name: drf
    enableHierarchy: true
  - name: binpack
    arguments:
      binpack.weight: 10
      binpack.resources: nvidia.com/gpu, example.com/foo
      binpack.resources.nvidia.com/gpu: 2
configurations:
- name: enqueue
  arguments: {overcommit-factor: 1.5}
"#;

fn volcano(text: &str) -> (VolcanoConfig, Vec<String>) {
    match read_config(text, "conf").unwrap() {
        (SchedulerConfig::Volcano(config), warnings) => (config, warnings),
        (other, _) => panic!("{other:?}"),
    }
}

fn kube(text: &str) -> (KubeConfig, Vec<String>) {
    let text =
        format!("apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\n{text}");
    match read_config(&text, "conf").unwrap() {
        (SchedulerConfig::Kube(config), warnings) => (config, warnings),
        (other, _) => panic!("{other:?}"),
    }
}

fn kube_profile(text: &str) -> DefaultConfig {
    let (config, warnings) = kube(text);
    assert_eq!(warnings, [""; 0]);
    config.main_profile().unwrap().config.clone()
}

fn check_error(text: &str, expected: &str) {
    assert_eq!(read_config(text, "conf").unwrap_err().to_string(), expected);
}

#[test]
fn volcano_has_actions_and_tiers_of_plugins_with_switches() {
    let (config, warnings) = volcano(VOLCANO);
    assert_eq!(warnings, [""; 0]);
    assert_eq!(config.actions, ["enqueue", "allocate", "backfill"].map(Box::from));
    let names = config.tiers.iter().map(|tier| tier.iter().map(|plugin| &*plugin.name).collect::<Vec<_>>());
    assert_eq!(names.collect::<Vec<_>>(), [["priority", "gang"], ["drf", "binpack"]]);
    assert_eq!(config.tiers[0][0].switches, Switches::default());
    let gang = Switches { preemptable: false, job_starving: false, ..Switches::default() };
    assert_eq!(config.tiers[0][1].switches, gang);
    assert_eq!(config.tiers[1][0].switches, Switches { hierarchy: true, ..Switches::default() });
    let binpack = &config.tiers[1][1].arguments;
    assert_eq!(binpack.integer("binpack.weight"), Some(10));
    assert_eq!(binpack.text("binpack.resources"), Some("nvidia.com/gpu, example.com/foo"));
    let enqueue = config.arguments_of("enqueue").unwrap();
    assert_eq!(enqueue.get("overcommit-factor"), Some(&Argument::Float(1.5)));
}

#[test]
fn a_config_map_holds_a_configuration() {
    let inner = VOLCANO.replace('\n', "\n    ");
    let text = format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: c}}\ndata:\n  volcano-scheduler.conf: |{inner}\n"
    );
    assert_eq!(volcano(&text), volcano(VOLCANO));
    check_error(
        &text.replace("name: drf", "name: derf"),
        &format!(
            "conf:14: tiers[1].plugins[0].name: unknown plugin `derf`: expected one of {}",
            foretell_registry::VOLCANO_PLUGINS.join(", ")
        ),
    );
}

#[test]
fn what_is_unknown_is_an_error_with_its_line() {
    check_error(
        "actions: allocate, dance\n",
        &format!(
            "conf:1: actions: unknown action `dance`: expected one of {}",
            foretell_registry::VOLCANO_ACTIONS.join(", ")
        ),
    );
    let message =
        read_config("actions: allocate\ntiers:\n- plugins:\n  - name: gang\n    enableJobOrdr: true\n", "c")
            .unwrap_err()
            .to_string();
    assert!(
        message.starts_with("c:5: tiers[0].plugins[0].enableJobOrdr: unknown field `enableJobOrdr`"),
        "{message}"
    );
    check_error(
        "a: 1\n",
        "conf:1: expected `actions` and `tiers` of Volcano, or a KubeSchedulerConfiguration",
    );
    check_error(
        "apiVersion: kubescheduler.config.k8s.io/v1beta3\nkind: KubeSchedulerConfiguration\n",
        "conf:1: apiVersion: expected kubescheduler.config.k8s.io/v1; got `kubescheduler.config.k8s.io/v1beta3`",
    );
}

#[test]
fn what_is_not_supported_is_named() {
    let (_, warnings) = volcano(&format!("{VOLCANO}metrics: {{type: prometheus}}\n"));
    assert_eq!(warnings, ["conf:20: metrics: not supported: nodes have no measured load here"]);
    let (_, warnings) =
        kube("profiles:\n- plugins:\n    permit:\n      enabled:\n      - name: VolumeZone\n");
    assert_eq!(
        warnings,
        ["conf:7: profiles[0].plugins.permit.enabled[0].name: plugin VolumeZone is not supported"]
    );
}

#[test]
fn an_empty_kube_configuration_is_the_default_profile() {
    assert_eq!(kube_profile(""), DefaultConfig::default());
    assert_eq!(kube_profile("profiles:\n- schedulerName: default-scheduler\n"), DefaultConfig::default());
}

#[test]
fn kube_plugins_are_enabled_disabled_and_weighted() {
    let config = kube_profile(
        "percentageOfNodesToScore: 30
podInitialBackoffSeconds: 2
podMaxBackoffSeconds: 20
profiles:
- percentageOfNodesToScore: 40
  plugins:
    score:
      disabled: [{name: ImageLocality}]
      enabled: [{name: NodeResourcesBalancedAllocation, weight: 7}]
    filter:
      disabled: [{name: NodePorts}]
    multiPoint:
      disabled: [{name: InterPodAffinity}]
      enabled: [{name: NodeAffinity, weight: 5}]
",
    );
    assert_eq!(config.percentage_of_nodes_to_score, 40);
    assert_eq!(config.pod_initial_backoff, Time::from_s(2.0));
    assert_eq!(config.pod_max_backoff, Time::from_s(20.0));
    assert!(!config.filters.contains(&KubePlugin::NodePorts));
    assert!(!config.filters.contains(&KubePlugin::InterPodAffinity));
    assert_eq!(
        config.scores,
        [
            (KubePlugin::NodeResourcesBalancedAllocation, 7),
            (KubePlugin::TaintToleration, 3),
            (KubePlugin::NodeAffinity, 5),
            (KubePlugin::NodeResourcesFit, 1),
            (KubePlugin::PodTopologySpread, 2),
        ]
    );
    assert!(config.preemption.is_some());

    let bare = kube_profile(
        "profiles:
- plugins:
    multiPoint:
      disabled: [{name: '*'}]
    filter:
      enabled: [{name: NodeResourcesFit}]
",
    );
    assert_eq!(
        (bare.filters.as_slice(), bare.scores.as_slice()),
        (&[KubePlugin::NodeResourcesFit][..], &[][..])
    );
    assert_eq!(bare.preemption, None);
}

#[test]
fn kube_plugin_arguments_are_read() {
    let config = kube_profile(
        "profiles:
- pluginConfig:
  - name: NodeResourcesFit
    args:
      ignoredResourceGroups: [example.com]
      scoringStrategy:
        type: RequestedToCapacityRatio
        resources: [{name: nvidia.com/gpu, weight: 3}, {name: cpu}]
        requestedToCapacityRatio: {shape: [{utilization: 0, score: 0}, {utilization: 100, score: 10}]}
  - name: InterPodAffinity
    args: {hardPodAffinityWeight: 5}
  - name: DefaultPreemption
    args: {minCandidateNodesPercentage: 20}
  - name: NodeAffinity
    args: {addedAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: a, operator: Exists}]}]}}}
  - name: PodTopologySpread
    args: {defaultingType: List, defaultConstraints: [{maxSkew: 1, topologyKey: rack, whenUnsatisfiable: ScheduleAnyway}]}
",
    );
    let expected = ScoringStrategy::RequestedToCapacityRatio(vec![(0, 0), (100, 100)]);
    assert_eq!(config.fit_scoring.strategy, expected);
    let weights = config.fit_scoring.resources.iter().map(|resource| (&*resource.name, resource.weight));
    assert_eq!(weights.collect::<Vec<_>>(), [("nvidia.com/gpu", 3), ("cpu", 1)]);
    assert_eq!(config.ignored_resources.groups, [Box::from("example.com")]);
    assert_eq!(config.pod_affinity.hard_weight, 5);
    let preemption = config.preemption.unwrap();
    assert_eq!(
        (preemption.min_candidate_nodes_percentage, preemption.min_candidate_nodes_absolute),
        (20, 100)
    );
    assert_eq!(config.added_affinity.required.len(), 1);
    assert!(matches!(config.spread_defaults, SpreadDefaults::List(constraints) if constraints.len() == 1));
}

#[test]
fn wrong_plugin_arguments_are_errors() {
    let text = "apiVersion: kubescheduler.config.k8s.io/v1
kind: KubeSchedulerConfiguration
profiles:
- pluginConfig:
  - name: NodeResourcesFit
    args:
      scoringStrategy: {type: Most}
";
    check_error(
        text,
        "conf:7: profiles[0].pluginConfig[0].args.scoringStrategy.type: expected LeastAllocated, MostAllocated or \
         RequestedToCapacityRatio; got `Most`",
    );
}
