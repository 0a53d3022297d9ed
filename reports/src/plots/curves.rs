//! Bandwidth by size of message, measured and predicted, both axes logarithmic.

use super::axis::{Axis, Tick};
use super::charts::{Chart, Kind, Shape};
use super::draw::{Caption, draw};
use crate::error::ReportError;

/// One system.
#[derive(Clone, PartialEq, Debug)]
pub struct Curve {
    /// Its name in the legend.
    pub name: String,
    /// Bytes and GB/s that were measured: shown as points.
    pub measured: Vec<(f64, f64)>,
    /// The same predicted: shown as a line.
    pub predicted: Vec<(f64, f64)>,
}

/// Labels of sizes, by powers of 1,024.
const SIZES: [&str; 5] = ["1 B", "1 KiB", "1 MiB", "1 GiB", "1 TiB"];

/// The curves of several systems as an SVG document. `file` is what errors call it, `source` says where it comes from.
pub fn curve_plot(
    file: &'static str,
    title: &str,
    subtitle: &str,
    source: &str,
    curves: &[Curve],
) -> Result<String, ReportError> {
    let positive = |&&(bytes, rate): &&(f64, f64)| bytes > 0.0 && rate > 0.0;
    let points =
        || curves.iter().flat_map(|curve| curve.measured.iter().chain(&curve.predicted)).filter(positive);
    let range = |of: fn(&(f64, f64)) -> f64| {
        let (least, most) = points()
            .map(of)
            .fold((f64::MAX, 0.0), |(least, most), value| (f64::min(least, value), f64::max(most, value)));
        if most > 0.0 { (least, most) } else { (1.0, 2.0) }
    };
    let positions = |points: &[(f64, f64)]| {
        let shown = points.iter().filter(positive);
        shown.map(|&(bytes, rate)| (bytes.log2(), rate.log10())).collect::<Vec<_>>()
    };
    let shapes = curves.iter().enumerate().flat_map(|(run, curve)| {
        [(Kind::Line, &curve.predicted), (Kind::Points, &curve.measured)].map(|(kind, points)| Shape {
            run,
            kind,
            points: positions(points),
        })
    });
    let chart = Chart {
        title: title.to_owned(),
        x: sizes(range(|point| point.0)),
        y: decades("busbw (GB/s)", range(|point| point.1)),
        shapes: shapes.collect(),
        remarks: vec![None; curves.len()],
        key: Some("points measured, lines predicted".to_owned()),
        nothing: "nothing measured",
    };
    let names: Vec<&str> = curves.iter().map(|curve| curve.name.as_str()).collect();
    let caption = Caption { subtitle: subtitle.to_owned(), source: source.to_owned() };
    draw(&chart, &caption, &names).map_err(|message| ReportError::Plot { file, message })
}

fn sizes((least, most): (f64, f64)) -> Axis {
    let (min, max) = (least.log2().floor(), most.log2().ceil().max(least.log2().floor() + 1.0));
    let ticks = SIZES.iter().zip([0.0, 10.0, 20.0, 30.0, 40.0]);
    let between = [("32 KiB", 15.0), ("32 MiB", 25.0), ("32 B", 5.0)];
    let ticks =
        ticks.map(|(label, at)| (*label, at)).chain(between).filter(|(_, at)| (min..=max).contains(at));
    let mut ticks: Vec<Tick> = ticks.map(|(label, at)| Tick { at, label: label.to_owned() }).collect();
    ticks.sort_by(|one, other| one.at.total_cmp(&other.at));
    Axis { label: "size of the message".to_owned(), min, max, ticks }
}

fn decades(label: &str, (least, most): (f64, f64)) -> Axis {
    let (min, max) = (least.log10().floor(), most.log10().ceil().max(least.log10().floor() + 1.0));
    let ticks = (min as i32..=max as i32).map(|decade| {
        let value = 10f64.powi(decade);
        let label = if decade >= 0 { format!("{value:.0}") } else { format!("{value}") };
        Tick { at: f64::from(decade), label }
    });
    Axis { label: label.to_owned(), min, max, ticks: ticks.collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_and_lines_are_drawn_where_they_belong() {
        let curve = Curve {
            name: "a system".to_owned(),
            measured: vec![(1024.0, 1.0), (1_048_576.0, 10.0), (0.0, 0.0)],
            predicted: vec![(1024.0, 1.0), (1_048_576.0, 10.0)],
        };
        let svg = curve_plot("x.svg", "title", "subtitle", "source", &[curve]).unwrap();
        assert_eq!(svg.matches("<circle").count(), 2);
        for text in ["title", "subtitle", "source", "a system", "1 MiB", "32 KiB", "10"] {
            assert!(svg.contains(text), "{text}");
        }
        // Both ends of the line are at points.
        let svg = curve_plot("x.svg", "t", "s", "s", &[]).unwrap();
        assert!(svg.contains("nothing measured"));
    }
}
