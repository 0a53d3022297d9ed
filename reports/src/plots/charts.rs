//! What each plot shows.

use std::iter;

use foretell_sim::log::{JobResult, RunResult, TimelineRow};

use super::axis::{Axis, DurationScale, round_time_step};
use super::series::{Point, bins, cdf, steps, thinned, window_means};
use crate::units::{percent, span};

/// A plot as data.
pub(super) struct Chart {
    pub(super) title: String,
    pub(super) x: Axis,
    pub(super) y: Axis,
    /// In the order in which they are drawn.
    pub(super) shapes: Vec<Shape>,
    /// What the legend adds to a policy's name, by run.
    pub(super) remarks: Vec<Option<String>>,
    /// What the legend adds at its end.
    pub(super) key: Option<String>,
    /// Shown in the middle when there is nothing to draw.
    pub(super) nothing: &'static str,
}

/// Something drawn for one run.
pub(super) struct Shape {
    /// Index of the run, which decides the colour.
    pub(super) run: usize,
    pub(super) kind: Kind,
    pub(super) points: Vec<Point>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// What the plot is about.
    Line,
    /// What goes along with it, in a paler tone.
    PaleLine,
    /// Single points.
    Points,
    /// An area behind the lines; points run along one edge and back along the other.
    Area,
}

pub(super) const TIME: &str = "time since the start of the run";
/// Per cent of load that share one mean in the plot of fragmentation.
const LOAD_BIN: f64 = 5.0;
/// Windows over which allocation is averaged where several runs would hide each other.
const WINDOWS: f64 = 150.0;
/// With more runs than this, their areas would hide each other.
const AREAS_MAX: usize = 2;

/// GPU allocation over time, and utilisation where it differs. Of several runs, means over windows: allocation is
/// noisy where jobs are short, and lines that swing from top to bottom hide each other.
pub(super) fn allocation(runs: &[&RunResult]) -> Chart {
    let rows = || runs.iter().flat_map(|run| &run.timeline);
    let utilisation = rows().any(|row| row.gpu_utilised_milli != row.gpu_allocated_milli);
    let x = time_axis(runs);
    let window_s = round_time_step((x.max - x.min) / WINDOWS);
    let line = |points: Vec<Point>| {
        if runs.len() > 1 { window_means(&points, window_s) } else { steps(&thinned(&points)) }
    };
    let mut shapes = Vec::new();
    if utilisation {
        let value = |row: &TimelineRow| of_capacity(row, row.gpu_utilised_milli as f64);
        shapes.extend(over_time(runs, Kind::PaleLine, value, line));
    }
    shapes.extend(over_time(runs, Kind::Line, |row| of_capacity(row, row.gpu_allocated_milli as f64), line));
    let means = (runs.len() > 1).then(|| format!("means over {}", span(window_s)));
    let pale = utilisation.then(|| "pale: utilisation".to_owned());
    Chart {
        title: "GPU allocation over time".to_owned(),
        x,
        y: Axis::percent(if utilisation { "GPUs allocated, utilised" } else { "GPUs allocated" }),
        shapes,
        remarks: vec![None; runs.len()],
        key: means.into_iter().chain(pale).reduce(|a, b| format!("{a}; {b}")),
        nothing: "no samples",
    }
}

/// Number of waiting jobs over time.
pub(super) fn queue_length(runs: &[&RunResult]) -> Chart {
    let longest = runs.iter().flat_map(|run| &run.timeline).map(|row| row.jobs_queued).max().unwrap_or(0);
    Chart {
        title: "Queue length over time".to_owned(),
        x: time_axis(runs),
        // Fewer than five jobs would be counted in fractions.
        y: Axis::quantity("jobs that wait", longest.max(5) as f64, ""),
        shapes: over_time(runs, Kind::Line, |row| row.jobs_queued as f64, |points| steps(&thinned(&points))),
        remarks: vec![None; runs.len()],
        key: None,
        nothing: "no samples",
    }
}

/// Distribution of the time from submission to start.
pub(super) fn queue_delay(runs: &[&RunResult]) -> Chart {
    distribution(runs, "Queueing delay", "queueing delay", "started", "no job started", |job| {
        Some(job.queue_delay()?.as_nanos())
    })
}

/// Distribution of the time from submission to the end.
pub(super) fn completion_time(runs: &[&RunResult]) -> Chart {
    distribution(runs, "Job completion time (JCT)", "job completion time", "ended", "no job ended", |job| {
        Some(job.completion_time()?.as_nanos())
    })
}

/// Share of GPUs that are fragmented against load: allocation, or what has arrived when nothing ever leaves.
pub(super) fn fragmentation(runs: &[&RunResult]) -> Chart {
    let departures = runs.iter().flat_map(|run| &run.jobs).any(|job| job.finish.is_some());
    let fragmented = |row: &TimelineRow| of_capacity(row, row.gpu_fragmented_milli);
    let highest = runs.iter().flat_map(|run| &run.timeline).map(fragmented).fold(0.0, f64::max);
    let mut areas = Vec::new();
    let mut lines = Vec::new();
    for (run, result) in runs.iter().enumerate() {
        let against = |load: fn(&TimelineRow) -> u64| -> Vec<Point> {
            let point = |row: &TimelineRow| (of_capacity(row, load(row) as f64), fragmented(row));
            result.timeline.iter().map(point).collect()
        };
        if departures {
            let bins = bins(&against(|row| row.gpu_allocated_milli), LOAD_BIN);
            let lower = bins.iter().map(|bin| (bin.x_mean, bin.y_min));
            let upper = bins.iter().rev().map(|bin| (bin.x_mean, bin.y_max));
            if runs.len() <= AREAS_MAX {
                areas.push(Shape { run, kind: Kind::Area, points: lower.chain(upper).collect() });
            }
            let points = bins.iter().map(|bin| (bin.x_mean, bin.y_mean)).collect();
            lines.push(Shape { run, kind: Kind::Line, points });
        } else {
            let points = thinned(&against(|row| row.gpu_arrived_milli));
            lines.push(Shape { run, kind: Kind::Line, points });
        }
    }
    let load = lines.iter().flat_map(|line| &line.points).map(|point| point.0).fold(100.0, f64::max);
    let key = match (departures, areas.is_empty()) {
        (false, _) => None,
        (true, false) => Some(format!("line: mean over {LOAD_BIN}% of load; area: range")),
        (true, true) => Some(format!("means over {LOAD_BIN}% of load")),
    };
    Chart {
        title: "GPU fragmentation against load".to_owned(),
        x: if departures {
            Axis::percent("GPUs allocated")
        } else {
            Axis::quantity("GPUs requested by all arrived jobs, of capacity", load, "%")
        },
        y: Axis::quantity("GPUs fragmented", highest, "%"),
        shapes: areas.into_iter().chain(lines).collect(),
        remarks: vec![None; runs.len()],
        key,
        nothing: "no samples",
    }
}

/// Per cent of the healthy GPUs at that time.
fn of_capacity(row: &TimelineRow, milli: f64) -> f64 {
    if row.gpu_capacity_milli > 0 { 100.0 * milli / row.gpu_capacity_milli as f64 } else { 0.0 }
}

fn time_axis(runs: &[&RunResult]) -> Axis {
    let times_s = || runs.iter().flat_map(|run| &run.timeline).map(|row| row.time.as_s());
    let min_s = times_s().fold(f64::INFINITY, f64::min);
    if min_s.is_finite() {
        Axis::time(TIME, min_s, times_s().fold(min_s, f64::max))
    } else {
        Axis::time(TIME, 0.0, 1.0)
    }
}

fn over_time(
    runs: &[&RunResult],
    kind: Kind,
    value: impl Fn(&TimelineRow) -> f64,
    line: impl Fn(Vec<Point>) -> Vec<Point>,
) -> Vec<Shape> {
    let shape = |(run, result): (usize, &&RunResult)| {
        let points = result.timeline.iter().map(|row| (row.time.as_s(), value(row))).collect();
        Shape { run, kind, points: line(points) }
    };
    runs.iter().enumerate().map(shape).collect()
}

fn distribution(
    runs: &[&RunResult],
    title: &str,
    label: &str,
    verb: &str,
    nothing: &'static str,
    duration_nanos: impl Fn(&JobResult) -> Option<u64>,
) -> Chart {
    let sorted: Vec<Vec<u64>> = runs
        .iter()
        .map(|run| {
            let mut nanos: Vec<u64> = run.jobs.iter().filter_map(&duration_nanos).collect();
            nanos.sort_unstable();
            nanos
        })
        .collect();
    let of: Vec<usize> = runs.iter().map(|run| run.jobs.len()).collect();
    cumulative(&sorted, &of, title, label, "jobs", verb, nothing)
}

/// Cumulative shares of durations in nanoseconds, each list in order; of how many each list is.
pub(super) fn cumulative(
    sorted: &[Vec<u64>],
    of: &[usize],
    title: &str,
    label: &str,
    what: &str,
    verb: &str,
    nothing: &'static str,
) -> Chart {
    let seconds = |nanos: u64| nanos as f64 / 1e9;
    let smallest =
        sorted.iter().filter_map(|nanos| nanos.get(nanos.partition_point(|nanos| *nanos == 0))).min();
    let largest = sorted.iter().filter_map(|nanos| nanos.last()).max();
    let has_zero = sorted.iter().any(|nanos| nanos.first() == Some(&0));
    let scale =
        DurationScale::new(has_zero, smallest.zip(largest).map(|(min, max)| (seconds(*min), seconds(*max))));
    let x = scale.axis(label);
    let line = |(run, nanos): (usize, &Vec<u64>)| {
        let mut points: Vec<Point> = cdf(nanos)
            .into_iter()
            .map(|(nanos, share)| (scale.position(seconds(nanos)), 100.0 * share))
            .collect();
        if let Some(&(_, top)) = points.last() {
            points.insert(0, (x.min, 0.0));
            points.push((x.max, top));
        }
        Shape { run, kind: Kind::Line, points: steps(&points) }
    };
    // The share is of those that got so far: say so where not all did.
    let remark = |(of, nanos): (&usize, &Vec<u64>)| {
        let share = nanos.len() as f64 / *of as f64;
        (share < 1.0).then(|| format!("({} {verb})", percent(share)))
    };
    Chart {
        title: format!("{title}: cumulative distribution"),
        shapes: sorted.iter().enumerate().map(line).collect(),
        remarks: iter::zip(of, sorted).map(remark).collect(),
        x,
        y: Axis::percent(&format!("{what} that {verb}")),
        key: None,
        nothing,
    }
}
