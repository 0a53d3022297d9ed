//! What `KubeSchedulerConfiguration` says of a profile, and the plugins that follow from it.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use foretell_framework::select::BestFitGpus;
use foretell_framework::spec::NodeAffinity as Affinity;
use foretell_framework::{Filter, Plugins, Score, ScoreCandidates, Time};

use crate::affinity::{InterPodAffinity, InterPodAffinityScore, PodAffinityConfig};
use crate::filters::{
    GpuModel, IgnoredResources, NodeAffinity, NodeName, NodePorts, NodeResourcesFit, NodeUnschedulable,
    TaintToleration,
};
use crate::preemption::PreemptionConfig;
use crate::sampling::SampledNodes;
use crate::scores::{
    BalancedAllocation, FitScore, FitScoring, ImageLocality, NodeAffinityScore, TaintTolerationScore,
    WeightedResource,
};
use crate::spread::{PodTopologySpread, PodTopologySpreadScore, SpreadDefaults};

/// The plugins of kube-scheduler that matter to a simulated cluster, in the order in which its default profile has them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum KubePlugin {
    /// Cordons.
    NodeUnschedulable,
    /// `spec.nodeName`.
    NodeName,
    /// Taints; a filter and a score.
    TaintToleration,
    /// Node selector and affinity; a filter and a score.
    NodeAffinity,
    /// Host ports.
    NodePorts,
    /// Requests; a filter and a score.
    NodeResourcesFit,
    /// Spreading; a filter and a score.
    PodTopologySpread,
    /// Affinity between pods; a filter and a score.
    InterPodAffinity,
    /// Preemption.
    DefaultPreemption,
    /// Balance between resources; a score.
    NodeResourcesBalancedAllocation,
    /// Images on nodes; a score.
    ImageLocality,
}

impl KubePlugin {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::NodeUnschedulable,
        Self::NodeName,
        Self::TaintToleration,
        Self::NodeAffinity,
        Self::NodePorts,
        Self::NodeResourcesFit,
        Self::PodTopologySpread,
        Self::InterPodAffinity,
        Self::DefaultPreemption,
        Self::NodeResourcesBalancedAllocation,
        Self::ImageLocality,
    ];

    /// Its name in configurations.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NodeUnschedulable => "NodeUnschedulable",
            Self::NodeName => "NodeName",
            Self::TaintToleration => "TaintToleration",
            Self::NodeAffinity => "NodeAffinity",
            Self::NodePorts => "NodePorts",
            Self::NodeResourcesFit => "NodeResourcesFit",
            Self::PodTopologySpread => "PodTopologySpread",
            Self::InterPodAffinity => "InterPodAffinity",
            Self::DefaultPreemption => "DefaultPreemption",
            Self::NodeResourcesBalancedAllocation => "NodeResourcesBalancedAllocation",
            Self::ImageLocality => "ImageLocality",
        }
    }

    /// The plugin of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|plugin| plugin.name() == name)
    }

    /// Whether it filters nodes.
    pub const fn is_filter(self) -> bool {
        !matches!(self, Self::DefaultPreemption | Self::NodeResourcesBalancedAllocation | Self::ImageLocality)
    }

    /// Its weight as a score in the default profile; `None` if it scores nothing.
    pub const fn default_weight(self) -> Option<u32> {
        match self {
            Self::TaintToleration => Some(3),
            Self::NodeAffinity | Self::PodTopologySpread | Self::InterPodAffinity => Some(2),
            Self::NodeResourcesFit | Self::NodeResourcesBalancedAllocation | Self::ImageLocality => Some(1),
            Self::NodeUnschedulable | Self::NodeName | Self::NodePorts | Self::DefaultPreemption => None,
        }
    }
}

/// What `KubeSchedulerConfiguration` says of a profile. The default is the default profile.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DefaultConfig {
    /// Share of the nodes of a large cluster that must be found feasible before the search stops, 1..=100
    /// percent; 0 adapts it to the size of the cluster.
    pub percentage_of_nodes_to_score: u32,
    /// How long a pod backs off after its first failed attempt; every further failure doubles it.
    pub pod_initial_backoff: Time,
    /// The longest that a pod backs off; zero turns backoff off.
    pub pod_max_backoff: Time,
    /// Plugins that filter nodes, in order.
    pub filters: Vec<KubePlugin>,
    /// Plugins that score nodes, with their weights.
    pub scores: Vec<(KubePlugin, u32)>,
    /// Arguments of `DefaultPreemption`; `None` where it is switched off.
    pub preemption: Option<PreemptionConfig>,
    /// `addedAffinity` of `NodeAffinity`.
    pub added_affinity: Affinity,
    /// What `NodeResourcesFit` does not check.
    pub ignored_resources: IgnoredResources,
    /// What `NodeResourcesFit` scores.
    pub fit_scoring: FitScoring,
    /// What `NodeResourcesBalancedAllocation` balances.
    pub balanced_resources: Vec<WeightedResource>,
    /// Default constraints of `PodTopologySpread`.
    pub spread_defaults: SpreadDefaults,
    /// Arguments of `InterPodAffinity`.
    pub pod_affinity: PodAffinityConfig,
}

impl Default for DefaultConfig {
    fn default() -> Self {
        let weighted = |plugin: KubePlugin| Some((plugin, plugin.default_weight()?));
        Self {
            percentage_of_nodes_to_score: 0,
            pod_initial_backoff: Time::from_nanos(1_000_000_000),
            pod_max_backoff: Time::from_nanos(10_000_000_000),
            filters: KubePlugin::ALL.into_iter().filter(|plugin| plugin.is_filter()).collect(),
            scores: KubePlugin::ALL.into_iter().filter_map(weighted).collect(),
            preemption: Some(PreemptionConfig::default()),
            added_affinity: Affinity::default(),
            ignored_resources: IgnoredResources::default(),
            fit_scoring: FitScoring::default(),
            balanced_resources: WeightedResource::cpu_and_memory(),
            spread_defaults: SpreadDefaults::default(),
            pod_affinity: PodAffinityConfig::default(),
        }
    }
}

/// A score of a profile.
pub enum KubeScore {
    /// One that looks at one node.
    Node(Box<dyn Score>),
    /// One that looks at all candidates.
    Candidates(Box<dyn ScoreCandidates>),
}

impl DefaultConfig {
    /// The filters that stand for a plugin of this profile.
    pub fn filter(&self, plugin: KubePlugin) -> Vec<Box<dyn Filter>> {
        match plugin {
            KubePlugin::NodeUnschedulable => vec![Box::new(NodeUnschedulable)],
            KubePlugin::NodeName => vec![Box::new(NodeName)],
            KubePlugin::TaintToleration => vec![Box::new(TaintToleration)],
            KubePlugin::NodeAffinity => vec![Box::new(NodeAffinity { added: self.added_affinity.clone() })],
            KubePlugin::NodePorts => vec![Box::new(NodePorts)],
            // Kubernetes sees GPUs as one resource of many; here their models are told apart.
            KubePlugin::NodeResourcesFit => {
                vec![
                    Box::new(GpuModel),
                    Box::new(NodeResourcesFit { ignored: self.ignored_resources.clone() }),
                ]
            }
            KubePlugin::PodTopologySpread => vec![Box::new(PodTopologySpread::new(&self.spread_defaults))],
            KubePlugin::InterPodAffinity => vec![Box::new(InterPodAffinity::default())],
            KubePlugin::DefaultPreemption
            | KubePlugin::NodeResourcesBalancedAllocation
            | KubePlugin::ImageLocality => Vec::new(),
        }
    }

    /// The score of a plugin of this profile, if it has one.
    pub fn score(&self, plugin: KubePlugin) -> Option<KubeScore> {
        Some(match plugin {
            KubePlugin::NodeResourcesFit => {
                KubeScore::Node(Box::new(FitScore::new(self.fit_scoring.clone())))
            }
            KubePlugin::NodeResourcesBalancedAllocation => {
                KubeScore::Node(Box::new(BalancedAllocation::new(self.balanced_resources.clone())))
            }
            KubePlugin::ImageLocality => KubeScore::Node(Box::new(ImageLocality::default())),
            KubePlugin::TaintToleration => KubeScore::Candidates(Box::new(TaintTolerationScore::default())),
            KubePlugin::NodeAffinity => {
                KubeScore::Candidates(Box::new(NodeAffinityScore { added: self.added_affinity.clone() }))
            }
            KubePlugin::PodTopologySpread => {
                KubeScore::Candidates(Box::new(PodTopologySpreadScore::new(&self.spread_defaults)))
            }
            KubePlugin::InterPodAffinity => {
                KubeScore::Candidates(Box::new(InterPodAffinityScore::new(self.pod_affinity)))
            }
            KubePlugin::NodeUnschedulable
            | KubePlugin::NodeName
            | KubePlugin::NodePorts
            | KubePlugin::DefaultPreemption => return None,
        })
    }
}

/// The plugins of a profile with their weights.
pub fn plugins(config: &DefaultConfig) -> Plugins {
    let mut nodes = SampledNodes::new(config.percentage_of_nodes_to_score);
    if config.scores.is_empty() {
        nodes = nodes.stopping_at_first();
    }
    let plugins = Plugins::new(Box::new(nodes), Box::new(BestFitGpus)).honouring_nominations();
    let plugins = plugins.with_filters(config.filters.iter().flat_map(|&plugin| config.filter(plugin)));
    config.scores.iter().fold(plugins, |plugins, &(plugin, weight)| match config.score(plugin) {
        Some(KubeScore::Node(score)) => plugins.with_score(score, i64::from(weight)),
        Some(KubeScore::Candidates(score)) => plugins.with_candidate_score(score, i64::from(weight)),
        None => plugins,
    })
}
