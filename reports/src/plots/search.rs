//! What deployments hold: by GPUs, and what limits them by load.

use foretell_search::{Deployment, Found, Goal, Searched};

use super::axis::Axis;
use super::charts::{Chart, Kind, Shape};
use super::series::Point;

const NOTHING: &str = "nothing is held";

/// Groups of deployments that have a colour of their own, at most.
const GROUPS_MAX: usize = 7;

/// Beyond this share of its limit a value is not shown: the line would flatten all others.
const EXCEEDED_MAX: f64 = 200.0;

/// A chart with the names of its legend.
pub(super) type Named = (&'static str, Chart, Vec<String>);

pub(super) fn charts(searched: &Searched) -> Vec<Named> {
    let mut charts = vec![frontier(searched)];
    if searched.goal == Goal::MostLoad {
        charts.push(by_load(searched));
    }
    charts
}

/// Deployments that hold something.
fn holding(searched: &Searched) -> impl Iterator<Item = (&Deployment, &Found, f64, u64)> {
    searched.deployments.iter().filter_map(|deployment| {
        let found = deployment.found.as_ref().ok()?;
        Some((deployment, found, found.held?.0, found.gpus()?))
    })
}

/// Load by GPUs: a point for each deployment, a colour for each value of the first key that has few enough, and a line for the frontier.
fn frontier(searched: &Searched) -> Named {
    let few = |key: usize| {
        let mut values: Vec<&str> = Vec::new();
        for deployment in &searched.deployments {
            let value = deployment.values[key].as_str();
            if !values.contains(&value) {
                values.push(value);
            }
        }
        (2..=GROUPS_MAX).contains(&values.len()).then_some((key, values))
    };
    let group = (0..searched.keys.len()).find_map(few);
    let mut names: Vec<String> = match &group {
        Some((key, values)) => {
            values.iter().map(|value| format!("{} {value}", searched.keys[*key])).collect()
        }
        None => vec!["a deployment".to_owned()],
    };
    let run_of = |deployment: &Deployment| match &group {
        Some((key, values)) => {
            values.iter().position(|&value| value == deployment.values[*key]).unwrap_or_default()
        }
        None => 0,
    };
    let mut border: Vec<Point> = holding(searched)
        .filter(|(_, found, ..)| found.is_on_frontier)
        .map(|(_, _, load, gpus)| (gpus as f64, load))
        .collect();
    border.sort_by(|one, other| one.0.total_cmp(&other.0).then(one.1.total_cmp(&other.1)));
    let mut shapes = vec![Shape { run: names.len(), kind: Kind::Line, points: border }];
    names.push("frontier".to_owned());
    for run in 0..names.len() - 1 {
        let points = holding(searched).filter(|(deployment, ..)| run_of(deployment) == run);
        let points = points.map(|(_, _, load, gpus)| (gpus as f64, load)).collect();
        shapes.push(Shape { run, kind: Kind::Points, points });
    }
    let highest =
        |of: fn(&Point) -> f64| shapes.iter().flat_map(|shape| &shape.points).map(of).fold(0.0, f64::max);
    let chart = Chart {
        title: match searched.goal {
            Goal::MostLoad => "The most load that deployments hold".to_owned(),
            Goal::FewestReplicas => "The fewest GPUs that hold a load".to_owned(),
        },
        x: Axis::quantity("GPUs", highest(|point| point.0), ""),
        y: Axis::quantity(&format!("held ({})", searched.unit.name()), highest(|point| point.1), ""),
        remarks: vec![None; names.len()],
        key: None,
        nothing: NOTHING,
        shapes,
    };
    ("frontier.svg", chart, names)
}

/// By load, how much of its limit each deployment on the frontier uses of the demand that limits it.
fn by_load(searched: &Searched) -> Named {
    let best = holding(searched).filter(|(_, found, ..)| found.is_on_frontier).take(GROUPS_MAX);
    let (mut names, mut shapes) = (Vec::new(), Vec::new());
    for (run, (deployment, found, ..)) in best.enumerate() {
        let limit = found.limit.unwrap_or_default();
        let share = |value: f64| 100.0 * value / searched.limits.get(limit).copied().unwrap_or(1.0);
        let points = found.points.iter().filter_map(|point| {
            let value = share(point.values.get(limit).copied().flatten()?);
            (value.is_finite() && value <= EXCEEDED_MAX).then_some((point.load, value.max(0.0)))
        });
        let points: Vec<Point> = points.collect();
        shapes.push(Shape { run, kind: Kind::Line, points: points.clone() });
        shapes.push(Shape { run, kind: Kind::Points, points });
        let values: Vec<String> = searched
            .keys
            .iter()
            .zip(&deployment.values)
            .map(|(key, value)| format!("{key} {value}"))
            .collect();
        let name = if values.is_empty() { searched.service.clone() } else { values.join(", ") };
        let measure = searched.measures.get(limit).cloned().unwrap_or_default();
        names.push(format!("{name}: {measure}"));
    }
    let most = shapes.iter().flat_map(|shape| &shape.points).map(|point| point.0).fold(0.0, f64::max);
    let chart = Chart {
        title: "What limits them, by load".to_owned(),
        x: Axis::quantity(&format!("load ({})", searched.unit.name()), most, ""),
        y: Axis::quantity("measured, of what is allowed", EXCEEDED_MAX, "%"),
        remarks: vec![None; names.len()],
        key: None,
        nothing: NOTHING,
        shapes,
    };
    ("by_load.svg", chart, names)
}
