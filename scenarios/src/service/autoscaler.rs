//! Autoscalers by what a scenario says of them.

use foretell_serving::policies::autoscale::{
    Autoscaler, Bounds, Horizontal, HorizontalPodAutoscaler, Keda, Knative, KnativePodAutoscaler, Metric,
    Planner, Prediction, Predictive, Role, Rules, Scheduled, SlaPlanner, Timetable,
};

use foretell_serving::metrics::Objective;

use crate::file::{AutoscalerFile, KedaFile, MetricFile};

const fn metric(file: MetricFile) -> Metric {
    match file {
        MetricFile::Concurrency => Metric::Concurrency,
        MetricFile::Rate => Metric::Rate,
        MetricFile::BusyShare => Metric::BusyShare,
        MetricFile::KvShare => Metric::KvShare,
    }
}

impl AutoscalerFile {
    /// The autoscaler of replicas that do this and are so many at the beginning.
    pub(crate) fn build(
        &self,
        replicas: u32,
        role: Role,
        objective: &Objective,
    ) -> Box<dyn Autoscaler + Send> {
        let bounds = |&min_replicas, &max_replicas| Bounds { min_replicas, max_replicas };
        match self {
            Self::Knative {
                min_replicas,
                max_replicas,
                metric: of,
                target,
                target_utilization,
                stable_window_s,
                scale_down_delay_s,
            } => Box::new(KnativePodAutoscaler::new(Knative {
                bounds: bounds(min_replicas, max_replicas),
                metric: metric(*of),
                target: *target,
                target_utilization: *target_utilization,
                stable_window_s: *stable_window_s,
                scale_down_delay_s: *scale_down_delay_s,
                scale_to_zero: *min_replicas == 0,
                initial_scale: replicas,
                ..Knative::default()
            })),
            Self::Hpa { min_replicas, max_replicas, metric: of, target, stabilisation_s, keda } => {
                let polled = |file: &KedaFile| Keda {
                    activation_threshold: file.activation,
                    cooldown_s: file.cooldown_s,
                    polling_interval_s: file.polling_s,
                };
                Box::new(HorizontalPodAutoscaler::new(Horizontal {
                    keda: keda.as_ref().map(polled),
                    bounds: bounds(min_replicas, max_replicas),
                    metric: metric(*of),
                    target: *target,
                    down: Rules { stabilisation_s: *stabilisation_s, ..Rules::down() },
                    ..Horizontal::default()
                }))
            }
            Self::SlaPlanner {
                min_replicas,
                max_replicas,
                interval_s,
                prefill_tokens_per_s,
                decode,
                corrections,
            } => {
                let defaults = Planner::default();
                let tpot_s = objective.tpot_s.unwrap_or(defaults.tpot_objective_s);
                Box::new(SlaPlanner::new(Planner {
                    bounds: bounds(min_replicas, max_replicas),
                    adjustment_interval_s: *interval_s,
                    role,
                    prefill_tokens_per_s: *prefill_tokens_per_s,
                    decode_profile: decode.iter().map(|point| (point.tpot_s, point.tokens_per_s)).collect(),
                    tpot_objective_s: tpot_s,
                    expected_ttft_s: objective.ttft_s.unwrap_or(defaults.expected_ttft_s),
                    expected_tpot_s: tpot_s,
                    corrections: *corrections,
                    ..defaults
                }))
            }
            Self::Scheduled { period_s, rows } => Box::new(Scheduled::new(Timetable {
                period_s: *period_s,
                rows: rows.iter().map(|row| (row.from_s, row.replicas)).collect(),
                ..Timetable::default()
            })),
            Self::Predictive { min_replicas, max_replicas, replica_rate_per_s, season_s, lead_time_s } => {
                Box::new(Predictive::new(Prediction {
                    bounds: bounds(min_replicas, max_replicas),
                    replica_rate: *replica_rate_per_s,
                    season_s: *season_s,
                    lead_time_s: *lead_time_s,
                    ..Prediction::default()
                }))
            }
        }
    }
}
