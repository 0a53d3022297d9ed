//! What policies are told, from what a scenario says.

use foretell_registry::{
    AdvanceReservation, KaiConfig, Kept, LateJobs, OrderingConfig, TiresiasConfig, UsageConfig,
};
use foretell_sim::framework::RestartCost;

use super::time;
use crate::scenario::{self, Ordering, Preemption, Reservation, Scenario};

pub(super) fn reservation(reservation: &Reservation) -> AdvanceReservation {
    let names = |names: &[String]| names.iter().map(|name| name.as_str().into()).collect();
    AdvanceReservation {
        name: reservation.name.as_str().into(),
        from: time(reservation.start),
        until: time(reservation.end),
        kept: match &reservation.kept {
            scenario::Kept::Nodes(nodes) => Kept::Nodes(names(nodes)),
            scenario::Kept::Gpus(gpus) => Kept::Gpus(*gpus),
        },
        queues: names(&reservation.queues),
        users: names(&reservation.users),
    }
}

pub(super) fn restart_cost(preemption: &Preemption) -> RestartCost {
    let steps = preemption.restart_cost_by_gpus.iter();
    RestartCost {
        base: time(preemption.restart_cost),
        above_gpus: steps.map(|&(gpus, cost)| (gpus, time(cost))).collect(),
    }
}

/// What policies that order jobs by what they have had are told.
pub(super) fn ordering(scenario: &Scenario) -> OrderingConfig {
    let Ordering {
        quantum,
        queue_limits_gpu_s,
        promote_after,
        lease,
        interval,
        late_jobs,
        gpu_cost_per_h: _,
        past_usage: _,
    } = &scenario.scheduler.ordering;
    OrderingConfig {
        quantum: time(*quantum),
        tiresias: TiresiasConfig {
            limits_gpu_s: queue_limits_gpu_s.clone(),
            promote_after: *promote_after,
            ..TiresiasConfig::default()
        },
        lease: time(*lease),
        restart_cost: restart_cost(&scenario.preemption),
        resize_cost: time(scenario.preemption.resize_cost),
        interval: interval.map(time),
        late_jobs: match late_jobs {
            scenario::LateJobs::BestEffort => LateJobs::BestEffort,
            scenario::LateJobs::TurnedAway => LateJobs::TurnedAway,
        },
        ..OrderingConfig::default()
    }
}

pub(super) fn kai(scenario: &Scenario) -> KaiConfig {
    let Some(past) = scenario.scheduler.ordering.past_usage else { return KaiConfig::default() };
    let usage = UsageConfig { half_life: past.half_life.map(time), window: time(past.window) };
    KaiConfig { usage_factor: past.factor, usage, ..KaiConfig::default() }
}
