//! From a configuration of Volcano's scheduler to the profile.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use foretell_actions::{Allocate, Backfill, Enqueue, Preempt, Reclaim};
use foretell_default::{DefaultConfig, FitScoring, KubePlugin, KubeScore, ScoringStrategy};
use foretell_drf::{Capacity, Drf, Overcommit, Proportion, StaticPartition};
use foretell_framework::select::{BestFitGpus, BestNode};
use foretell_framework::tier::POINT;
use foretell_framework::{Action, EnabledPlugin, Plugins, Profile, SessionPlugin, Switches, Tiers};
use foretell_gang::{Conformance, Gang, Priority};
use thiserror::Error;

use crate::volcano_config::{Argument, Arguments, VolcanoConfig, VolcanoPlugin, WHOLE_GANGS};
use crate::volcano_nodes;

/// A configuration that names what Volcano does not have.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum VolcanoError {
    /// An action.
    #[error("unknown action `{0}`: expected one of {actions}", actions = crate::volcano_config::VOLCANO_ACTIONS.join(", "))]
    Action(String),
    /// A plugin.
    #[error("unknown plugin `{0}`: expected one of {plugins}", plugins = crate::volcano_config::VOLCANO_PLUGINS.join(", "))]
    Plugin(String),
}

/// A profile, and what of its configuration has no effect here.
pub struct VolcanoProfile {
    /// The profile.
    pub profile: Profile,
    /// One line each.
    pub warnings: Vec<String>,
}

/// The profile that a configuration describes.
pub fn profile(name: &str, config: &VolcanoConfig) -> Result<VolcanoProfile, VolcanoError> {
    let mut warnings = Vec::new();
    let has = |wanted: &str| config.tiers.iter().flatten().any(|plugin| *plugin.name == *wanted);
    let mut tiers = Vec::new();
    let mut nodes = Plugins::new(Box::new(BestNode), Box::new(BestFitGpus));
    // Whatever the plugins, a task goes only where it fits.
    let resources = DefaultConfig::default().filter(KubePlugin::NodeResourcesFit);
    for plugins in &config.tiers {
        let mut tier = Vec::new();
        for plugin in plugins {
            let VolcanoPlugin { name, switches, arguments } = plugin;
            if **name == *"drf" && switches.hierarchy && has("proportion") {
                let message = "plugin drf with enableHierarchy beside proportion: Volcano refuses that";
                warnings.push(message.into());
            }
            match &**name {
                "capacity" if has("proportion") => {
                    warnings.push(
                        "plugin capacity has no effect beside proportion: they exclude each other".into(),
                    );
                }
                "predicates" if switches.predicate => nodes = nodes.with_filters(predicates(arguments)),
                "nodeorder" if switches.node_order => nodes = node_order(nodes, arguments),
                "binpack" if switches.node_order => {
                    nodes = nodes.with_score(Box::new(volcano_nodes::binpack(arguments)), 1);
                }
                "resource-strategy-fit" if switches.node_order => {
                    let fit = volcano_nodes::resource_strategy_fit(arguments);
                    nodes = nodes.with_score(Box::new(fit), 1);
                    if arguments.map("proportional").is_some() {
                        warnings.push(format!("argument proportional of plugin {name} has no effect"));
                    }
                }
                "predicates" | "nodeorder" | "binpack" | "resource-strategy-fit" => {}
                _ => match session_plugin(plugin) {
                    Some(plugin) => tier.push(EnabledPlugin { plugin, switches: *switches }),
                    None if crate::volcano_config::VOLCANO_PLUGINS.contains(&&**name) => {
                        warnings.push(format!("plugin {name} is not supported and has no effect"));
                    }
                    None => return Err(VolcanoError::Plugin(name.to_string())),
                },
            }
        }
        tiers.push(tier);
    }
    let plugins = nodes.with_filters(resources).with_tiers(Tiers::new(tiers));
    let mut actions: Vec<Box<dyn Action>> = Vec::new();
    for action in &config.actions {
        actions.push(match &**action {
            "enqueue" => Box::new(Enqueue::default()),
            "allocate" => {
                let enqueue_decides = config.actions.iter().any(|action| **action == *"enqueue");
                Box::new(Allocate::new(enqueue_decides))
            }
            "backfill" => Box::new(Backfill),
            "preempt" => {
                let arguments = config.arguments_of(action);
                let dry_run = arguments.and_then(|a| a.boolean("enableTopologyAwarePreemption"));
                Box::new(Preempt::new(dry_run.unwrap_or(false), config.takes_whole_gangs(action)))
            }
            "reclaim" => Box::new(Reclaim::new(config.takes_whole_gangs(action))),
            "gangpreempt" | "gangreclaim" | "shuffle" => {
                warnings.push(format!("action {action} is not supported and has no effect"));
                continue;
            }
            _ => return Err(VolcanoError::Action(action.to_string())),
        });
    }
    Ok(VolcanoProfile { profile: Profile::new(name.to_string(), plugins, actions), warnings })
}

/// A plugin that has a say on jobs and queues, or on nodes for single tasks; `None` if there is none of this name.
pub fn session_plugin(plugin: &VolcanoPlugin) -> Option<Box<dyn SessionPlugin>> {
    let VolcanoPlugin { name, switches, arguments } = plugin;
    Some(match &**name {
        "conformance" => Box::new(Conformance),
        "gang" => Box::new(Gang),
        "priority" => Box::new(Priority),
        "capacity" => {
            let level = arguments.integer("ancestorReclaimLevel").unwrap_or(0).max(0);
            Box::new(Capacity::new(switches.hierarchy, level as usize))
        }
        "drf" => Box::new(Drf::new(switches.hierarchy)),
        "overcommit" => {
            let factor = arguments.float("overcommit-factor");
            Box::new(Overcommit::new(factor.unwrap_or(Overcommit::DEFAULT_FACTOR)))
        }
        "proportion" => Box::new(Proportion::default()),
        "static-partition" => Box::new(StaticPartition::default()),
        _ => return volcano_nodes::session_plugin(plugin),
    })
}

/// The filters of the predicates plugin; all are on unless switched off.
fn predicates(arguments: &Arguments) -> Vec<Box<dyn foretell_framework::Filter>> {
    let config = DefaultConfig::default();
    let switchable = [
        (KubePlugin::NodeAffinity, "predicate.NodeAffinityEnable"),
        (KubePlugin::TaintToleration, "predicate.TaintTolerationEnable"),
        (KubePlugin::NodePorts, "predicate.NodePortsEnable"),
        (KubePlugin::PodTopologySpread, "predicate.PodTopologySpreadEnable"),
        (KubePlugin::InterPodAffinity, "predicate.PodAffinityEnable"),
    ];
    let on = |&(_, switch): &(KubePlugin, &str)| arguments.boolean(switch).unwrap_or(true);
    let plugins = switchable.iter().filter(|entry| on(entry)).map(|&(plugin, _)| plugin);
    core::iter::once(KubePlugin::NodeUnschedulable)
        .chain(plugins)
        .flat_map(|plugin| config.filter(plugin))
        .collect()
}

/// The scores of the nodeorder plugin.
fn node_order(mut plugins: Plugins, arguments: &Arguments) -> Plugins {
    let most_requested = FitScoring { strategy: ScoringStrategy::MostAllocated, ..FitScoring::default() };
    let (least, most) =
        (DefaultConfig::default(), DefaultConfig { fit_scoring: most_requested, ..DefaultConfig::default() });
    for (config, score, argument, default) in [
        (&least, KubePlugin::NodeResourcesFit, "leastrequested.weight", 1),
        (&most, KubePlugin::NodeResourcesFit, "mostrequested.weight", 0),
        (&least, KubePlugin::NodeResourcesBalancedAllocation, "balancedresource.weight", 1),
        (&least, KubePlugin::NodeAffinity, "nodeaffinity.weight", 2),
        (&least, KubePlugin::ImageLocality, "imagelocality.weight", 1),
        (&least, KubePlugin::InterPodAffinity, "podaffinity.weight", 2),
        (&least, KubePlugin::TaintToleration, "tainttoleration.weight", 3),
        (&least, KubePlugin::PodTopologySpread, "podtopologyspread.weight", 2),
    ] {
        let weight = arguments.integer(argument).unwrap_or(default).saturating_mul(POINT);
        plugins = match config.score(score).filter(|_| weight != 0) {
            Some(KubeScore::Node(score)) => plugins.with_score(score, weight),
            Some(KubeScore::Candidates(score)) => plugins.with_candidate_score(score, weight),
            None => plugins,
        };
    }
    plugins
}

/// Names and descriptions of Volcano's configurations that have a name here.
pub const BUILT_IN: [crate::Description; 5] = [
    ("gang", "Volcano's default: jobs whole or not at all, queues by weight"),
    ("drf-reclaim", "gangs by dominant share, preempting, and taking back what queues lent"),
    ("proportion", "queues hold idle capacity of others until those want it back"),
    ("capacity", "the same, by what queues are said to deserve"),
    ("static-partition", "each queue keeps to its own part of the cluster"),
];

/// The configuration of this name.
pub fn built_in(name: &str) -> Option<VolcanoConfig> {
    let (actions, tiers) = match name {
        "gang" => (
            "enqueue allocate backfill",
            "priority gang conformance; overcommit drf predicates proportion nodeorder",
        ),
        "drf-reclaim" => (
            "enqueue allocate preempt reclaim backfill",
            "priority gang conformance drf proportion; predicates nodeorder",
        ),
        "proportion" => (
            "enqueue allocate reclaim backfill",
            "priority gang conformance proportion; predicates nodeorder",
        ),
        "capacity" => {
            ("enqueue allocate reclaim backfill", "priority gang conformance capacity; predicates nodeorder")
        }
        "static-partition" => {
            ("enqueue allocate backfill", "priority gang conformance; predicates static-partition nodeorder")
        }
        _ => return None,
    };
    // All plugins that offer victims are in one tier: of several, the first that offers any would decide alone. Shares
    // order jobs; who displaces whom is for priorities. A gang has to give what it borrowed like any other job, but whole.
    let plugin = |name: &str| VolcanoPlugin {
        name: name.into(),
        switches: Switches {
            // Queues may be a tree.
            hierarchy: name == "capacity",
            preemptable: !["drf", "gang"].contains(&name),
            reclaimable: name != "gang",
            ..Switches::default()
        },
        arguments: Arguments::default(),
    };
    let tier = |tier: &str| tier.split_whitespace().map(plugin).collect::<Vec<_>>();
    let whole_gangs = || Arguments([(WHOLE_GANGS.into(), Argument::Bool(true))].into());
    Some(VolcanoConfig {
        action_arguments: ["preempt", "reclaim"].map(|action| (action.into(), whole_gangs())).into(),
        actions: actions.split_whitespace().map(Into::into).collect(),
        tiers: tiers.split(';').map(tier).collect(),
    })
}
