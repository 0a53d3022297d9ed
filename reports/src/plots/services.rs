//! What users of model servers feel, and what replicas do meanwhile. Services are overlaid.

use foretell_serving::attainment::WINDOW_S;
use foretell_serving::metrics::{Interval, Objective};
use foretell_serving::served::Served;

use super::axis::{Axis, round_time_step};
use super::charts::{Chart, Kind, Shape, TIME, cumulative};
use super::series::{Point, steps, thinned, window_means};
use crate::units::span;

/// Values of a distribution that come counted are drawn from about so many.
const COUNTED_MAX: u64 = 20_000;

const NS_PER_S: f64 = 1e9;

pub(super) fn charts(services: &[&Served]) -> [(&'static str, Chart); 9] {
    [
        ("ttft_cdf.svg", ttft(services)),
        ("tpot_cdf.svg", tpot(services)),
        ("itl_cdf.svg", itl(services)),
        ("e2e_cdf.svg", e2e(services)),
        ("attainment.svg", attainment(services)),
        ("replicas.svg", replicas(services)),
        ("requests.svg", requests(services)),
        ("tokens.svg", tokens(services)),
        ("kv_use.svg", kv_use(services)),
    ]
}

fn sorted(mut values: Vec<u64>) -> Vec<u64> {
    values.sort_unstable();
    values
}

fn all(services: &[&Served]) -> Vec<usize> {
    services.iter().map(|served| served.outcomes.len() + served.refused.len()).collect()
}

fn ttft(services: &[&Served]) -> Chart {
    let of = |served: &Served| {
        sorted(served.outcomes.iter().map(|(_, one)| one.first_token_ns - one.arrival_ns).collect())
    };
    let values: Vec<_> = services.iter().map(|served| of(served)).collect();
    let of = all(services);
    cumulative(
        &values,
        &of,
        "Time to first token (TTFT)",
        "time to first token",
        "requests",
        "were served",
        NOTHING,
    )
}

const NOTHING: &str = "no request was served";

fn e2e(services: &[&Served]) -> Chart {
    let of = |served: &Served| {
        sorted(served.outcomes.iter().map(|(_, one)| one.last_token_ns - one.arrival_ns).collect())
    };
    let values: Vec<_> = services.iter().map(|served| of(served)).collect();
    let of = all(services);
    cumulative(
        &values,
        &of,
        "Time to last token (E2E)",
        "time to last token",
        "requests",
        "were served",
        NOTHING,
    )
}

fn tpot(services: &[&Served]) -> Chart {
    let of = |served: &Served| {
        let each =
            served.outcomes.iter().filter_map(|(_, one)| Some((one.tpot_s()? * NS_PER_S).round() as u64));
        sorted(each.collect())
    };
    let values: Vec<_> = services.iter().map(|served| of(served)).collect();
    let of: Vec<usize> = values.iter().map(Vec::len).collect();
    let title = "Time per output token (TPOT)";
    cumulative(&values, &of, title, "time per output token", "requests", "had two tokens or more", NOTHING)
}

/// Token by token. Of very many, evenly chosen ones by rank.
fn itl(services: &[&Served]) -> Chart {
    let of = |served: &Served| {
        let counted = &served.recorder.inter_token;
        let each = counted.count().div_ceil(COUNTED_MAX).max(1);
        let mut values = Vec::new();
        let (mut seen, mut next) = (0, 0);
        for (value, count) in counted.iter() {
            seen += count;
            while next < seen {
                values.push(value);
                next += each;
            }
        }
        values
    };
    let values: Vec<_> = services.iter().map(|served| of(served)).collect();
    let of: Vec<usize> = values.iter().map(Vec::len).collect();
    let title = "Inter-token latency (ITL)";
    cumulative(&values, &of, title, "time from one token to the next", "tokens", "followed another", NOTHING)
}

/// Points about which several services are averaged.
const WINDOWS: f64 = 200.0;

fn time_axis(services: &[&Served]) -> Axis {
    let end = |served: &Served| served.recorder.timeline.len() as f64 * served.recorder.interval_ns as f64;
    let most_s = services.iter().map(|served| end(served)).fold(0.0, f64::max) / NS_PER_S;
    Axis::time(TIME, 0.0, if most_s > 0.0 { most_s } else { 1.0 })
}

/// A line for each service: of each interval, which begins at so many seconds, a value.
fn over_time(
    services: &[&Served],
    x: &Axis,
    kind: Kind,
    value: impl Fn(&Served, f64, &Interval) -> f64,
) -> Vec<Shape> {
    let width_s = (x.max - x.min) / WINDOWS;
    let shape = |(run, served): (usize, &&Served)| {
        let interval_s = served.recorder.interval_ns as f64 / NS_PER_S;
        let at = |index: usize| (index as f64 + 0.5) * interval_s;
        let points: Vec<Point> = served
            .recorder
            .timeline
            .iter()
            .enumerate()
            .map(|(index, one)| (at(index), value(served, index as f64 * interval_s, one)))
            .collect();
        let points = if interval_s < width_s { window_means(&points, width_s) } else { thinned(&points) };
        Shape { run, kind, points }
    };
    services.iter().enumerate().map(shape).collect()
}

fn highest(shapes: &[Shape]) -> f64 {
    shapes.iter().flat_map(|shape| &shape.points).map(|point| point.1).fold(0.0, f64::max)
}

fn chart(title: &str, x: Axis, y: Axis, shapes: Vec<Shape>, key: Option<&str>, services: usize) -> Chart {
    Chart {
        title: title.to_owned(),
        x,
        y,
        shapes,
        remarks: vec![None; services],
        key: key.map(str::to_owned),
        nothing: NOTHING,
    }
}

fn requests(services: &[&Served]) -> Chart {
    let x = time_axis(services);
    let mean = |sum: f64, served: &Served| sum / served.recorder.interval_ns as f64;
    let mut shapes = over_time(services, &x, Kind::PaleLine, |served, _, one| mean(one.waiting, served));
    shapes.extend(over_time(services, &x, Kind::Line, |served, _, one| mean(one.running, served)));
    let y = Axis::quantity("requests that run, that wait", highest(&shapes), "");
    chart("Requests over time", x, y, shapes, Some("pale: waiting"), services.len())
}

fn tokens(services: &[&Served]) -> Chart {
    let x = time_axis(services);
    let per_s = |tokens: f64, served: &Served| tokens * NS_PER_S / served.recorder.interval_ns as f64;
    let mut shapes =
        over_time(services, &x, Kind::PaleLine, |served, _, one| per_s(one.prefill_tokens, served));
    shapes.extend(over_time(services, &x, Kind::Line, |served, _, one| per_s(one.output_tokens, served)));
    let y = Axis::quantity("tokens a second", highest(&shapes), "");
    chart("Tokens over time", x, y, shapes, Some("line: generated; pale: prompts read in"), services.len())
}

fn kv_use(services: &[&Served]) -> Chart {
    let x = time_axis(services);
    let share = |served: &Served, from_s: f64, one: &Interval| {
        let to_s = from_s + served.recorder.interval_ns as f64 / NS_PER_S;
        // Of replicas as far as they were there.
        let there = served.replicas.iter().map(|replica| {
            let until_s = replica.until_s.unwrap_or(f64::INFINITY).min(to_s);
            replica.blocks as f64 * (until_s - replica.ready_s.max(from_s)).max(0.0)
        });
        let blocks_s: f64 = there.sum();
        if blocks_s > 0.0 { 100.0 * one.blocks / NS_PER_S / blocks_s } else { 0.0 }
    };
    let shapes = over_time(services, &x, Kind::Line, share);
    chart(
        "KV cache in use over time",
        x,
        Axis::percent("blocks held by requests"),
        shapes,
        None,
        services.len(),
    )
}

/// Share of the requests that kept the SLO, by minute of their arrival.
fn attainment(services: &[&Served]) -> Chart {
    let windows = services.iter().map(|served| served.windows().len()).max().unwrap_or(0).max(1);
    let x = Axis::time(TIME, 0.0, (windows as u64 * WINDOW_S) as f64);
    let width_s = round_time_step((x.max - x.min) / WINDOWS);
    // Lines that swing from minute to minute hide each other. A short breach shows in its depth where there is one line, or where minutes are few.
    let averaged = services.len() > 1 && WINDOW_S as f64 <= 0.5 * width_s;
    let line = |served: &Served| {
        let each = served.windows().into_iter().filter_map(|window| {
            let middle_s = window.from_s as f64 + 0.5 * WINDOW_S as f64;
            Some((middle_s, 100.0 * window.attainment()?))
        });
        let points: Vec<Point> = each.filter(|_| served.objective != Objective::default()).collect();
        if averaged { window_means(&points, width_s) } else { thinned(&points) }
    };
    let shape = |(run, served): (usize, &&Served)| Shape { run, kind: Kind::Line, points: line(served) };
    let shapes = services.iter().enumerate().map(shape).collect();
    let y = Axis::percent("requests that kept the SLO");
    let key = format!(
        "by minute of arrival{}",
        if averaged { format!("; means over {}", span(width_s)) } else { String::new() }
    );
    let chart = chart("SLO attained over time", x, y, shapes, Some(&key), services.len());
    Chart { nothing: "nothing was promised", ..chart }
}

/// How many replicas there were from each instant on.
fn counted(spans: impl Iterator<Item = (f64, Option<f64>)>, end_s: f64) -> Vec<Point> {
    let mut changes: Vec<(f64, f64)> = Vec::new();
    for (from_s, until_s) in spans {
        // What goes before it serves never did.
        if until_s.is_none_or(|until_s| until_s > from_s) && from_s < end_s {
            changes.push((from_s, 1.0));
            changes.extend(until_s.map(|until_s| (until_s, -1.0)));
        }
    }
    changes.retain(|&(at_s, _)| at_s <= end_s);
    changes.sort_by(|one, other| one.0.total_cmp(&other.0));
    let mut points = vec![(0.0, 0.0)];
    let mut number: f64 = 0.0;
    for at in changes.chunk_by(|one, other| one.0.total_cmp(&other.0).is_eq()) {
        number += at.iter().map(|(_, change)| change).sum::<f64>();
        points.push((at[0].0, number));
    }
    points.push((end_s, number));
    points
}

/// Replicas that serve, and in a paler tone those that have their GPUs.
fn replicas(services: &[&Served]) -> Chart {
    let x = time_axis(services);
    let end_s = x.max;
    let mut shapes = Vec::new();
    for (run, served) in services.iter().enumerate() {
        let placed = counted(served.replicas.iter().map(|one| (one.placed_s, one.until_s)), end_s);
        let ready = counted(served.replicas.iter().map(|one| (one.ready_s, one.until_s)), end_s);
        shapes.push(Shape { run, kind: Kind::PaleLine, points: steps(&thinned(&placed)) });
        shapes.push(Shape { run, kind: Kind::Line, points: steps(&thinned(&ready)) });
    }
    shapes.sort_by_key(|shape| shape.kind == Kind::Line);
    // Fewer than five would be counted in fractions.
    let y = Axis::quantity("replicas", highest(&shapes).max(5.0), "");
    chart("Replicas over time", x, y, shapes, Some("line: serve; pale: have their GPUs"), services.len())
}
