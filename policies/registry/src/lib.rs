//! From a policy's name and configuration to the policy.
//!
//! A policy is a scheduler's profile (`default`, `kai`, `kueue`, a configuration of Volcano that has a name here, ...), or an
//! order of jobs joined to a way to place them, such as `fifo+fgd` or `sjf+binpack`. A placement alone means `fifo+` that
//! placement.
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod about;
pub mod kube;
mod kube_config;
mod names;
mod volcano;
mod volcano_config;
mod volcano_nodes;

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::rc::Rc;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use foretell_actions::{BlockedNodes, Consolidation, ConsolidationConfig};
use foretell_default::DefaultConfig;
use foretell_drf::ElasticQuotaGate;
use foretell_elastic::{
    ByGoodput, ByRounds, Cadence, Divide, Elastic, ElasticFlow, GavelObjective, Optimus, Placing, ResizeCosts,
};
use foretell_framework::select::{BestFitGpus, BestNode};
use foretell_framework::time::NANOS_PER_SECOND;
use foretell_framework::{
    Action, Filter, GpuModelId, OrderJobs, PlaceJob, Plugins, Profile, RestartCost, TaskGate, Time,
    TypicalTasks,
};
use foretell_gang::{Coscheduling, CoschedulingConfig};
use foretell_kai::Kai;
pub use foretell_kai::{KaiConfig, UsageConfig};
pub use foretell_kueue::CycleConfig;
use foretell_kueue::{Preemptor, QuotaAdmission};
use foretell_ordering::{
    Aging, Allocate, Backfill, Consolidate, Discipline, EarliestDeadline, FirstInFirstOut, HeadOfLine, Holds,
    HonourReservations, Keyed, LeastAttained, LeastPredicted, PriorityFirst, Promises, Rank, Reorder,
    SharedHolds, ShortestJobFirst, ShortestRemaining, ShortestRemainingService, TaskByTask, Themis, Tiresias,
};
use foretell_packing::{
    BestFit, DotProduct, Fgd, FgdGpus, GpuAllocated, GpuClustering, GpuPacking, Preference, RandomGpus,
    RandomNode, WorstFitGpus,
};
use foretell_slurm::{PartitionNodes, SharedNodes, Slurm};
use foretell_topology::{ByDomain, Division, GpuInterconnect, InterconnectGpus};
use thiserror::Error;

pub use about::{About, Durations, Scaling, about, durations, scaling};
pub use foretell_elastic::LateJobs;
pub use foretell_gavel::{LinearProgram, Relation, Solver};
pub use foretell_ordering::TiresiasConfig;
pub use foretell_ordering::{AdvanceReservation, BackfillConfig, Kept};
pub use foretell_slurm::{SlurmConfig, SlurmError, parse as parse_slurm};
pub use foretell_topology::{DomainPlacement, PlacementCosts};
pub use kube_config::{KubeConfig, KubeProfile};
use names::{ALONE, names};
pub use names::{
    CONSOLIDATE, DEFAULT, Description, KAI, KUEUE_PROFILES, ORDERS, PLACEMENTS, SCHEDULER_PLUGINS_PROFILES,
    all_names,
};
pub use volcano::{
    BUILT_IN as VOLCANO_PROFILES, VolcanoError, VolcanoProfile, built_in as volcano_config,
    profile as volcano_profile, session_plugin as volcano_session_plugin,
};
pub use volcano_config::{
    Argument, Arguments, VOLCANO_ACTIONS, VOLCANO_PLUGINS, VolcanoConfig, VolcanoPlugin,
};
pub use volcano_nodes::{binpack as volcano_binpack, resource_strategy_fit as volcano_resource_strategy_fit};

/// What policies are told beside their name.
#[derive(Clone, Default)]
pub struct PolicyConfig {
    /// The workload that FGD expects.
    pub typical: Arc<TypicalTasks>,
    /// Parameters of kube-scheduler.
    pub default: DefaultConfig,
    /// What placement by topology domain does with jobs that say nothing of topology.
    pub topology: DomainPlacement,
    /// Whether the links between GPUs decide which of them a task gets, whatever the policy would take.
    pub interconnect: bool,
    /// Nodes that take no new tasks, by name.
    pub blocked_nodes: BTreeSet<Box<str>>,
    /// Bounds on what [`CONSOLIDATE`] moves.
    pub consolidation: ConsolidationConfig,
    /// Arguments of coscheduling.
    pub coscheduling: CoschedulingConfig,
    /// What of KAI-Scheduler is configured.
    pub kai: KaiConfig,
    /// Parameters of `easy` and `conservative`.
    pub backfill: BackfillConfig,
    /// Waiting that `aging` counts as one point of priority; an hour if `None`.
    pub aging: Option<Time>,
    /// Nodes and GPUs that are kept for some jobs at times, which every ORDER+PLACEMENT honours but those that
    /// divide GPUs among elastic jobs or in turns.
    pub reservations: Vec<AdvanceReservation>,
    /// Parameters of orders that change as jobs run.
    pub ordering: OrderingConfig,
    /// Makes a solver of linear programs, without which there is no policy of Gavel.
    pub solver: Option<fn() -> Box<dyn Solver>>,
}

/// Parameters of orders that change as jobs run.
#[derive(Clone, PartialEq, Debug)]
pub struct OrderingConfig {
    /// How often `las` compares running jobs with waiting ones.
    pub quantum: Time,
    /// Of `tiresias` and `gittins`.
    pub tiresias: TiresiasConfig,
    /// Of `themis`: how long GPUs are given for.
    pub lease: Time,
    /// What a preempted job pays when it starts again, as far as `srtf`, `srsf`, `themis` and elastic policies know.
    pub restart_cost: RestartCost,
    /// What a running job pays when it is given more or fewer tasks, as far as elastic policies know.
    pub resize_cost: Time,
    /// How often `optimus`, `pollux`, `sia` and those of Gavel divide GPUs anew, and the least time between two cycles of
    /// `kai`; each at its own interval if `None`.
    pub interval: Option<Time>,
    /// `gavel-cost`: what an hour of a GPU costs, by model; 1 for the others.
    pub gpu_cost_per_h: BTreeMap<GpuModelId, f64>,
    /// What `elasticflow` does with jobs whose deadline cannot be met.
    pub late_jobs: LateJobs,
}

impl Default for OrderingConfig {
    fn default() -> Self {
        // Gavel's round.
        let quantum = Time::from_nanos(360_000_000_000);
        Self {
            quantum,
            tiresias: TiresiasConfig::default(),
            // The paper's: 20 minutes.
            lease: Time::from_nanos(1_200_000_000_000),
            restart_cost: RestartCost::default(),
            resize_cost: Time::ZERO,
            interval: None,
            gpu_cost_per_h: BTreeMap::new(),
            late_jobs: LateJobs::default(),
        }
    }
}

/// Why there is no policy of a name.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum PolicyError {
    /// The name means none.
    #[error(transparent)]
    Unknown(#[from] UnknownPolicy),
    /// It solves linear programs, and nothing that does was given.
    #[error("policy `{name}` needs a solver of linear programs, which is not at hand here")]
    NeedsSolver {
        /// The name.
        name: String,
    },
}

/// A name that means no policy.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("unknown policy `{name}`: expected `default`, `kai`, one of {}, {}, {}, a placement ({}), or ORDER+PLACEMENT with ORDER one of {}", names(&SCHEDULER_PLUGINS_PROFILES), names(&KUEUE_PROFILES), names(&VOLCANO_PROFILES), names(&PLACEMENTS), names(&ORDERS))]
pub struct UnknownPolicy {
    /// The name.
    pub name: String,
}

/// How a profile of Kueue decides whom to let in; `None` for other policies.
pub fn kueue_rules(name: &str) -> Option<CycleConfig> {
    let preemptor = match name {
        "kueue" => Preemptor::Classical,
        "kueue-fair" => Preemptor::fair(),
        _ => return None,
    };
    Some(CycleConfig { preemptor, ..CycleConfig::default() })
}

/// The policy of this name, ready to run on one cluster.
pub fn build(name: &str, config: &PolicyConfig) -> Result<Profile, PolicyError> {
    let unknown = || UnknownPolicy { name: name.to_string() };
    let base = name.strip_suffix(CONSOLIDATE.0);
    if config.solver.is_none() && objective(about::order(name), &config.ordering).is_some() {
        return Err(PolicyError::NeedsSolver { name: name.to_string() });
    }
    let profile = build_base(base.unwrap_or(name), config).ok_or_else(unknown)?;
    let mut profile = adapted(profile, name, config);
    if base.is_some() {
        // Sessions decide anew in each cycle where tasks are nominated, so there is no keeping a place.
        if !profile.plugins().tiers().is_empty() {
            return Err(unknown().into());
        }
        let consolidation = Consolidation::new(config.consolidation);
        profile =
            profile.with_plugins(Plugins::honouring_nominations).with_first_action(Box::new(consolidation));
    }
    Ok(profile)
}

/// The policy that a `volcano-scheduler.conf` describes.
pub fn build_volcano(
    name: &str,
    volcano: &VolcanoConfig,
    config: &PolicyConfig,
) -> Result<VolcanoProfile, VolcanoError> {
    let VolcanoProfile { profile, warnings } = volcano_profile(name, volcano)?;
    Ok(VolcanoProfile { profile: adapted(profile, name, config), warnings })
}

/// The policy that a `KubeSchedulerConfiguration` describes: its main profile.
pub fn build_kube(name: &str, kube: &KubeConfig, config: &PolicyConfig) -> Profile {
    let default = kube.main_profile().map(|profile| profile.config.clone()).unwrap_or_default();
    let actions = vec![foretell_default::action(&default)];
    adapted(Profile::new(name.to_string(), foretell_default::plugins(&default), actions), name, config)
}

/// The policy that a `slurm.conf` describes; nodes are taken as `binpack` takes them.
pub fn build_slurm(name: &str, slurm: &SlurmConfig, config: &PolicyConfig) -> Profile {
    adapted(slurm_profile(name, None, binpack(), slurm, config), name, config)
}

fn slurm_profile(
    name: &str,
    by_domain: Option<Box<dyn PlaceJob>>,
    plugins: Plugins,
    slurm: &SlurmConfig,
    config: &PolicyConfig,
) -> Profile {
    let holds = SharedHolds::new(Holds::new(config.reservations.clone()).into());
    let nodes = SharedNodes::default();
    let mut action = Slurm::new(slurm.clone(), Rc::clone(&holds), Rc::clone(&nodes));
    if let Some(place) = by_domain {
        action = action.with_placement(place);
    }
    let filters: [Box<dyn Filter>; 2] =
        [Box::new(HonourReservations { holds }), Box::new(PartitionNodes { nodes })];
    let plugins = plugins.with_filters(foretell_default::filters()).with_filters(filters);
    Profile::new(name.to_string(), plugins, vec![Box::new(action)])
}

/// The placement of whole jobs by topology domain, if the placement is one.
fn by_domain(placement: &str, config: &PolicyConfig) -> Option<Box<dyn PlaceJob>> {
    let division = division(placement)?;
    let config = DomainPlacement { division, ..config.topology.clone() };
    Some(Box::new(ByDomain::new(config)))
}

/// What a scenario asks of every policy: its name, the choice of GPUs, nodes that take no tasks.
fn adapted(mut profile: Profile, name: &str, config: &PolicyConfig) -> Profile {
    profile.name = name.to_string();
    if config.interconnect {
        profile = profile.with_plugins(by_links);
    }
    if !config.blocked_nodes.is_empty() {
        let blocked: Box<dyn Filter> = Box::new(BlockedNodes { names: config.blocked_nodes.clone() });
        profile = profile.with_plugins(|plugins| plugins.with_filters([blocked]));
    }
    profile
}

fn by_links(plugins: Plugins) -> Plugins {
    plugins.with_gpu_choice(Box::new(InterconnectGpus::default()))
}

fn build_base(name: &str, config: &PolicyConfig) -> Option<Profile> {
    let profile = |plugins, action| Profile::new(name.to_string(), plugins, vec![action]);
    let kube = || foretell_default::plugins(&config.default);
    if name == DEFAULT.0 {
        return Some(profile(kube(), foretell_default::action(&config.default)));
    }
    if name == KAI.0 {
        let filtered = Kai::plugins().with_filters(foretell_default::filters());
        let period = config.ordering.interval.unwrap_or(config.kai.period);
        return Some(profile(filtered, Box::new(Kai::new(KaiConfig { period, ..config.kai.clone() }))));
    }
    if SCHEDULER_PLUGINS_PROFILES.iter().any(|(known, _)| *known == name) {
        let rejects_early = config.coscheduling.rejects_early && name != "coscheduling-hold";
        let arguments = CoschedulingConfig { rejects_early, ..config.coscheduling };
        let gates: Vec<Box<dyn TaskGate>> =
            if name == "elastic-quota" { vec![Box::new(ElasticQuotaGate)] } else { Vec::new() };
        return Some(profile(kube(), Box::new(Coscheduling::new(arguments, gates))));
    }
    if let Some(rules) = kueue_rules(name) {
        let plugins = binpack().with_filters(foretell_default::filters());
        return Some(profile(plugins, Box::new(QuotaAdmission::new(rules, Box::new(TaskByTask)))));
    }
    if let Some(volcano) = volcano::built_in(name) {
        return volcano::profile(name, &volcano).map(|built| built.profile).ok();
    }
    let alone = || ALONE.into_iter().find(|&(order, _)| order == name).unwrap_or(("fifo", name));
    let (order, placement) = name.split_once('+').unwrap_or_else(alone);
    if order == "slurm" {
        let plugins = placement_plugins(placement, config)?;
        let by_domain = by_domain(placement, config);
        return Some(slurm_profile(name, by_domain, plugins, &SlurmConfig::default(), config));
    }
    let is_by_domain = division(placement).is_some();
    let holds = SharedHolds::new(Holds::new(config.reservations.clone()).into());
    let place: Option<Box<dyn PlaceJob>> = match by_domain(placement, config) {
        None if placement == "whole-nodes" => Some(Box::new(Consolidate)),
        place => place,
    };
    let action: Box<dyn Action> = if let Some(discipline) = discipline(order, &config.ordering) {
        reorder(order, discipline, place, config, &holds)
    } else if let Some(elastic) = elastic(order, placement, config) {
        elastic
    } else {
        line(order, config, &holds, place)?
    };
    let plugins = placement_plugins(placement, config)?.with_filters(foretell_default::filters());
    // Who places by the fabric between nodes goes by the links inside them too.
    let plugins = if is_by_domain { by_links(plugins) } else { plugins };
    let honours: Box<dyn Filter> = Box::new(HonourReservations { holds });
    Some(profile(plugins.with_filters([honours]), action))
}

/// The action that works through jobs in an order that changes as they run.
fn reorder(
    order: &str,
    discipline: Box<dyn Discipline>,
    place: Option<Box<dyn PlaceJob>>,
    config: &PolicyConfig,
    holds: &SharedHolds,
) -> Box<dyn Action> {
    let head_of_line = if order == "qssf" { HeadOfLine::Blocks } else { HeadOfLine::IsSkipped };
    let mut reorder =
        Reorder::new(discipline, head_of_line).with_restart_cost(config.ordering.restart_cost.clone());
    if !config.reservations.is_empty() {
        reorder = reorder.with_reservations(Rc::clone(holds));
    }
    if let Some(place) = place {
        reorder = reorder.with_placement(place);
    }
    Box::new(reorder)
}

/// What a policy of Gavel is after, if the order is one.
fn objective(order: &str, config: &OrderingConfig) -> Option<GavelObjective> {
    Some(match order {
        "gavel" => GavelObjective::MaxMinFairness,
        "gavel-finish-time" => GavelObjective::FinishTimeFairness,
        "gavel-makespan" => GavelObjective::Makespan,
        "gavel-throughput" => GavelObjective::Throughput,
        "gavel-cost" => GavelObjective::Cost(config.gpu_cost_per_h.clone()),
        _ => return None,
    })
}

/// The action that divides GPUs among jobs, in shares or in turns.
fn elastic(order: &str, placement: &str, config: &PolicyConfig) -> Option<Box<dyn Action>> {
    let (solver, config) = (config.solver, &config.ordering);
    // The papers' own intervals.
    let interval = |seconds: u64| config.interval.unwrap_or(Time::from_nanos(seconds * NANOS_PER_SECOND));
    let every = |seconds| Cadence::Every(interval(seconds));
    let (divide, cadence): (Box<dyn Divide>, _) = match order {
        "optimus" => (Box::new(Optimus), every(600)),
        "pollux" => (Box::new(ByGoodput::pollux(config.resize_cost)), every(60)),
        "sia" => (Box::new(ByGoodput::sia(config.resize_cost)), every(60)),
        "elasticflow" => (Box::new(ElasticFlow::new(config.late_jobs)), Cadence::OnChange),
        _ => {
            let rounds = ByRounds::new(objective(order, config)?, interval(360), solver?());
            (Box::new(rounds), every(360))
        }
    };
    let placing = if placement == "whole-nodes" { Placing::Together } else { Placing::ByScores };
    let costs = ResizeCosts { restart: config.restart_cost.clone(), resize: config.resize_cost };
    Some(Box::new(Elastic::new(divide, cadence).with_placing(placing).with_costs(costs)))
}

fn discipline(order: &str, config: &OrderingConfig) -> Option<Box<dyn Discipline>> {
    let tiresias = |gittins| Tiresias::new(TiresiasConfig { gittins, ..config.tiresias.clone() });
    let rank: Box<dyn Rank> = match order {
        "srtf" => Box::new(ShortestRemaining),
        "srsf" => Box::new(ShortestRemainingService),
        "edf" => Box::new(EarliestDeadline),
        "las" => Box::new(LeastAttained { quantum: config.quantum }),
        "qssf" | "qssf-skip" => Box::new(LeastPredicted::default()),
        "themis" => return Some(Box::new(Themis::new(config.lease))),
        "tiresias" => return Some(Box::new(tiresias(false))),
        "gittins" => return Some(Box::new(tiresias(true))),
        _ => return None,
    };
    Some(Box::new(Keyed::new(rank)))
}

/// The action that works through the jobs in an order.
fn line(
    order: &str,
    config: &PolicyConfig,
    holds: &SharedHolds,
    placement: Option<Box<dyn PlaceJob>>,
) -> Option<Box<dyn Action>> {
    let promises = match order {
        "easy" => Promises::Heads,
        "conservative" => Promises::All,
        _ => {
            let mut allocate = allocate(order, config)?;
            if !config.reservations.is_empty() {
                allocate = allocate.with_reservations(Rc::clone(holds));
            }
            return Some(Box::new(match placement {
                Some(placement) => allocate.with_placement(placement),
                None => allocate,
            }));
        }
    };
    let orders: Vec<Box<dyn OrderJobs>> = vec![Box::new(PriorityFirst), Box::new(FirstInFirstOut)];
    let backfill = Backfill::new(orders, promises, config.backfill, holds);
    Some(Box::new(match placement {
        Some(placement) => backfill.with_placement(placement),
        None => backfill,
    }))
}

fn allocate(order: &str, config: &PolicyConfig) -> Option<Allocate> {
    if order == "aging" {
        let per_point = config.aging.unwrap_or(Aging::DEFAULT_PER_POINT);
        return Some(Allocate::new(vec![Box::new(Aging { per_point })], HeadOfLine::Blocks));
    }
    let (order, head_of_line): (Box<dyn OrderJobs>, _) = match order {
        "fifo" => (Box::new(FirstInFirstOut), HeadOfLine::Blocks),
        "fifo-skip" => (Box::new(FirstInFirstOut), HeadOfLine::IsSkipped),
        "sjf" => (Box::new(ShortestJobFirst), HeadOfLine::Blocks),
        "sjf-skip" => (Box::new(ShortestJobFirst), HeadOfLine::IsSkipped),
        _ => return None,
    };
    Some(Allocate::new(vec![Box::new(PriorityFirst), order], head_of_line))
}

/// How a placement by topology domain divides a gang.
fn division(placement: &str) -> Option<Division> {
    match placement {
        "topology" => Some(Division::BestFit),
        "topology-even" => Some(Division::Balanced),
        _ => None,
    }
}

fn binpack() -> Plugins {
    Plugins::new(Box::new(BestNode), Box::new(BestFitGpus))
        .with_score(Box::new(GpuAllocated(Preference::Most)), 1)
}

fn placement_plugins(placement: &str, config: &PolicyConfig) -> Option<Plugins> {
    let best = || Plugins::new(Box::new(BestNode), Box::new(BestFitGpus));
    Some(match placement {
        "binpack" | "topology" | "topology-even" => binpack(),
        "first-fit" | "whole-nodes" => best(),
        "spread" => Plugins::new(Box::new(BestNode), Box::new(WorstFitGpus))
            .with_score(Box::new(GpuAllocated(Preference::Least)), 1),
        "random" => Plugins::new(Box::new(RandomNode), Box::new(RandomGpus)),
        "dot-product" => best().with_score(Box::new(DotProduct::default()), 1),
        "best-fit" => best().with_score(Box::new(BestFit::default()), 1),
        "gpu-clustering" => best().with_score(Box::new(GpuClustering::default()), 1),
        "gpu-packing" => best().with_score(Box::new(GpuPacking::default()), 1),
        "fgd" => Plugins::new(Box::new(BestNode), Box::new(FgdGpus::new(Arc::clone(&config.typical))))
            .with_score(Box::new(Fgd::new(Arc::clone(&config.typical))), 1),
        "gpu-links" => Plugins::new(Box::new(BestNode), Box::new(InterconnectGpus::default()))
            .with_score(Box::new(GpuInterconnect::default()), BEFORE_ALLOCATED)
            .with_score(Box::new(GpuAllocated(Preference::Most)), 1),
        _ => return None,
    })
}

/// A weight that puts a score before that of [`GpuAllocated`], which is below it.
const BEFORE_ALLOCATED: i64 = 1 << 30;

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;

    struct NoSolution;

    impl Solver for NoSolution {
        fn maximize(&mut self, _program: &LinearProgram) -> Option<Vec<f64>> {
            None
        }
    }

    #[test]
    fn every_listed_name_builds_under_its_name() {
        let config = PolicyConfig { solver: Some(|| Box::new(NoSolution)), ..PolicyConfig::default() };
        for name in all_names() {
            assert_eq!(build(&name, &config).unwrap().name, name);
        }
    }

    #[test]
    fn gavel_needs_a_solver() {
        for name in ["gavel", "gavel-cost+binpack", "gavel+fgd+consolidate"] {
            let error = build(name, &PolicyConfig::default()).err().unwrap();
            assert_eq!(error, PolicyError::NeedsSolver { name: name.to_string() });
        }
    }

    #[test]
    fn unknown_names_are_refused_and_told_what_exists() {
        for name in ["", "fifo", "fifo+", "+fgd", "fgd+fifo", "fifo+fgd+sjf", "FGD", "default+fgd"] {
            let error = build(name, &PolicyConfig::default()).err().expect(name);
            let message = error.to_string();
            assert!(message.contains(&format!("`{name}`")), "{message}");
            assert!(message.contains("gpu-clustering") && message.contains("sjf-skip"), "{message}");
        }
    }
}
