//! What deployments hold: by GPUs, and what limits them by load.

use foretell_search::{Deployment, Found, Goal, Searched};

use super::axis::Axis;
use super::charts::{Chart, Kind, Shape};
use super::series::{Point, steps};

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

/// The first time that is demanded: its place, and by how much a second is multiplied in the unit that suits its limit.
fn first_time(searched: &Searched) -> Option<(usize, f64, &'static str)> {
    let index = searched.times.iter().position(|&is_time| is_time)?;
    let in_s = searched.limits.get(index).is_none_or(|&limit_s| limit_s >= 1.0);
    Some(if in_s { (index, 1.0, "s") } else { (index, 1e3, "ms") })
}

/// Load by GPUs, or dollars where prices are known: a point for each deployment, a colour for each value of the first key that has few enough, and a line for the frontier. If all have as many GPUs, load by
/// the first time that is demanded.
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
    let in_dollars = searched.in_dollars();
    let gpus_of = |(_, _, _, gpus): (&Deployment, &Found, f64, u64)| gpus;
    let first = holding(searched).map(gpus_of).next();
    let alike = !in_dollars && holding(searched).all(|one| Some(gpus_of(one)) == first);
    let time = first_time(searched).filter(|_| alike);
    let place = |found: &Found, gpus: u64| match time {
        Some((index, scale, _)) => found.values.get(index).copied().flatten().map(|value| value * scale),
        None if in_dollars => found.dollars_per_hour,
        None => Some(gpus as f64),
    };
    let mut shapes = Vec::new();
    let mut border: Vec<Point> = holding(searched)
        .filter(|(_, found, ..)| found.is_on_frontier)
        .filter_map(|(_, found, load, _)| Some((found.size(in_dollars)?, load)))
        .collect();
    border.sort_by(|one, other| one.0.total_cmp(&other.0).then(one.1.total_cmp(&other.1)));
    if time.is_none() {
        // With more GPUs than one needs one holds as much.
        shapes.push(Shape { run: names.len(), kind: Kind::Line, points: steps(&border) });
        names.push("frontier".to_owned());
    }
    let groups = names.len() - usize::from(time.is_none());
    for run in 0..groups {
        let points = holding(searched).filter(|(deployment, ..)| run_of(deployment) == run);
        let points = points.filter_map(|(_, found, load, gpus)| Some((place(found, gpus)?, load)));
        shapes.push(Shape { run, kind: Kind::Points, points: points.collect() });
    }
    let highest =
        |of: fn(&Point) -> f64| shapes.iter().flat_map(|shape| &shape.points).map(of).fold(0.0, f64::max);
    let chart = Chart {
        title: match searched.goal {
            Goal::MostLoad => "The most load that deployments hold".to_owned(),
            Goal::FewestReplicas if in_dollars => "The fewest dollars that hold a load".to_owned(),
            Goal::FewestReplicas => "The fewest GPUs that hold a load".to_owned(),
        },
        x: match time {
            Some((index, _, unit)) => {
                let label = format!("{} where it is held ({unit})", searched.measures[index]);
                Axis::quantity(&label, highest(|point| point.0), "")
            }
            None if in_dollars => Axis::quantity("dollars an hour", highest(|point| point.0), ""),
            None => Axis::whole("GPUs", highest(|point| point.0)),
        },
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
    // Of equals the first.
    let mut seen = Vec::new();
    let best = holding(searched).filter(|(_, found, load, gpus)| {
        let is_new = !seen.contains(&(*gpus, load.to_bits()));
        seen.push((*gpus, load.to_bits()));
        is_new && found.is_on_frontier
    });
    let best: Vec<_> = best.take(GROUPS_MAX).collect();
    let (mut names, mut shapes) = (Vec::new(), Vec::new());
    for (run, (deployment, found, ..)) in best.into_iter().enumerate() {
        let limit = found.limit.unwrap_or_default();
        let allowed = searched.limits.get(limit).copied().unwrap_or(1.0);
        let measure = searched.measures.get(limit).cloned().unwrap_or_default();
        // Of what is to be attained, what is lacking.
        let share = |value: f64| match measure.as_str() {
            "attainment" => 100.0 * (1.0 - value) / (1.0 - allowed),
            _ => 100.0 * value / allowed,
        };
        // Beyond the border runs are cut short: what is known of them is how much it is at least.
        let end = found.missed.map_or(f64::INFINITY, |(load, _)| load);
        let points = found.points.iter().filter(|point| point.load <= end).filter_map(|point| {
            let value = share(point.values.get(limit).copied().flatten()?);
            (value.is_finite() && value <= EXCEEDED_MAX).then_some((point.load, value.max(0.0)))
        });
        let points: Vec<Point> = points.collect();
        shapes.push(Shape { run, kind: Kind::Line, points: points.clone() });
        shapes.push(Shape { run, kind: Kind::Points, points });
        // Values alone: with their keys the legend would be cut off.
        let name =
            if deployment.values.is_empty() { searched.service.clone() } else { deployment.values.join(" ") };
        names.push(format!("{name}: {measure}"));
    }
    let points = || shapes.iter().flat_map(|shape| &shape.points);
    let most = points().map(|point| point.0).fold(0.0, f64::max);
    let highest = points().map(|point| point.1).fold(0.0, f64::max);
    let chart = Chart {
        title: "What limits them, by load".to_owned(),
        x: Axis::quantity(&format!("load ({})", searched.unit.name()), most, ""),
        y: Axis::quantity("measured, of what is allowed", highest.max(100.0), "%"),
        remarks: vec![None; names.len()],
        key: None,
        nothing: NOTHING,
        shapes,
    };
    ("by_load.svg", chart, names)
}
