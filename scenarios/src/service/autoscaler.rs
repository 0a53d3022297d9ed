//! Autoscalers by what a scenario says of them.

use foretell_serving::policies::autoscale::{
    Autoscaler, Bounds, Horizontal, HorizontalPodAutoscaler, Knative, KnativePodAutoscaler, Metric,
    Prediction, Predictive, Rules, Scheduled, Timetable,
};

use crate::file::{AutoscalerFile, MetricFile};

const fn metric(file: MetricFile) -> Metric {
    match file {
        MetricFile::Concurrency => Metric::Concurrency,
        MetricFile::Rate => Metric::Rate,
        MetricFile::BusyShare => Metric::BusyShare,
        MetricFile::KvShare => Metric::KvShare,
    }
}

impl AutoscalerFile {
    /// The autoscaler of a service that has so many replicas at the beginning.
    pub(crate) fn build(&self, replicas: u32) -> Box<dyn Autoscaler + Send> {
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
            Self::Hpa { min_replicas, max_replicas, metric: of, target, stabilisation_s } => {
                Box::new(HorizontalPodAutoscaler::new(Horizontal {
                    bounds: bounds(min_replicas, max_replicas),
                    metric: metric(*of),
                    target: *target,
                    down: Rules { stabilisation_s: *stabilisation_s, ..Rules::down() },
                    ..Horizontal::default()
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
