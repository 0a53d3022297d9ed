//! The cluster as a picture: a tree of boxes, one row per tier, and below it what a node of each type has.

use std::fmt::Write as _;

use super::{Part, describe, fabric, inside, types, whole};
use crate::Scenario;

const BOX_HEIGHT: f64 = 44.0;
const ROW_HEIGHT: f64 = 92.0;
const GAP: f64 = 16.0;
const MARGIN: f64 = 24.0;
/// Text is not measured: a letter is taken to be no wider than this.
const LETTER: f64 = 7.6;
const LEGEND_ROW: f64 = 22.0;
const TOP: f64 = 64.0;

/// A box in its place.
struct Placed<'a> {
    part: &'a Part,
    /// The middle.
    x: f64,
    depth: usize,
    below: Vec<Self>,
}

/// The cluster of a scenario.
pub fn svg(scenario: &Scenario) -> String {
    let whole = whole(scenario);
    let mut right = MARGIN;
    let tree = place(&whole, 0, &mut right);
    let mut legend: Vec<String> = scenario.fabric.as_ref().map(fabric::lines).unwrap_or_default();
    let types = types(scenario);
    legend.extend(types.iter().map(|(name, node_type)| format!("{name}: {}", describe(node_type))));
    let widest = legend.iter().map(|line| letters(line)).fold(letters(&scenario.name) * 1.5, f64::max);
    let width = (right - GAP + MARGIN).max(widest + 2.0 * MARGIN).max(480.0);
    let tree_height = depth(&tree) as f64 * ROW_HEIGHT + BOX_HEIGHT;
    let mut bottom = TOP + tree_height + MARGIN + LEGEND_ROW * legend.len() as f64;
    let mut insides = String::new();
    let mut widest_inside: f64 = 0.0;
    for (name, node_type) in &types {
        let Some((picture, width, height)) = inside::svg(node_type, MARGIN, bottom + 2.0 * LEGEND_ROW) else {
            continue;
        };
        // Writing to a string cannot fail.
        let _ = writeln!(
            insides,
            "<text x=\"{MARGIN}\" y=\"{:.1}\" font-size=\"13\" font-weight=\"bold\" fill=\"#222\">inside {}</text>",
            bottom + LEGEND_ROW,
            escaped(name)
        );
        insides.push_str(&picture);
        bottom += 2.0 * LEGEND_ROW + height;
        widest_inside = widest_inside.max(width);
    }
    let width = width.max(widest_inside + 2.0 * MARGIN);
    let height = bottom + MARGIN;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" viewBox=\"0 0 {width:.0} {height:.0}\" \
         font-family=\"sans-serif\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    // Writing to a string cannot fail.
    let _ = writeln!(
        svg,
        "<text x=\"{MARGIN}\" y=\"36\" font-size=\"20\" font-weight=\"bold\" fill=\"#222\">{}</text>",
        escaped(&scenario.name)
    );
    let shift = ((width - (right - GAP + MARGIN)) / 2.0).max(0.0);
    let _ = writeln!(svg, "<g transform=\"translate({shift:.1} 0)\">");
    edges(&tree, &mut svg);
    boxes(&tree, &mut svg);
    svg.push_str("</g>\n");
    for (index, line) in legend.iter().enumerate() {
        let y = TOP + tree_height + MARGIN + LEGEND_ROW * (index as f64 + 0.5);
        let _ = writeln!(
            svg,
            "<text x=\"{MARGIN}\" y=\"{y:.1}\" font-size=\"13\" fill=\"#222\">{}</text>",
            escaped(line)
        );
    }
    svg.push_str(&insides);
    svg.push_str("</svg>\n");
    svg
}

fn letters(text: &str) -> f64 {
    text.chars().count() as f64 * LETTER
}

fn box_width(part: &Part) -> f64 {
    letters(&part.title()).max(letters(&part.subtitle())) + 20.0
}

/// Boxes in rows, each above the middle of what it is made of; `right` is where the next may begin.
fn place<'a>(part: &'a Part, depth: usize, right: &mut f64) -> Placed<'a> {
    let (left, own) = (*right, box_width(part));
    let mut below: Vec<Placed<'_>> = part.parts.iter().map(|inner| place(inner, depth + 1, right)).collect();
    let x = match (below.first(), below.last()) {
        (Some(first), Some(last)) => f64::midpoint(first.x, last.x),
        _ => left + own / 2.0,
    };
    // A box that is wider than what is below it moves that to its middle.
    let missing = (left + own / 2.0 - x).max(0.0);
    for placed in &mut below {
        shift(placed, missing);
    }
    *right = right.max(x + missing + own / 2.0 + GAP);
    if missing > 0.0 {
        *right = right.max(left + own + GAP);
    }
    Placed { part, x: x + missing, depth, below }
}

fn shift(placed: &mut Placed<'_>, by: f64) {
    placed.x += by;
    for inner in &mut placed.below {
        shift(inner, by);
    }
}

fn depth(placed: &Placed<'_>) -> usize {
    placed.below.iter().map(depth).max().unwrap_or(placed.depth)
}

fn top(placed: &Placed<'_>) -> f64 {
    TOP + placed.depth as f64 * ROW_HEIGHT
}

fn edges(placed: &Placed<'_>, svg: &mut String) {
    for inner in &placed.below {
        let (from, to) = (top(placed) + BOX_HEIGHT, top(inner));
        let _ = writeln!(
            svg,
            "<line x1=\"{:.1}\" y1=\"{from:.1}\" x2=\"{:.1}\" y2=\"{to:.1}\" stroke=\"#6e6e6e\" stroke-width=\"1.5\"/>",
            placed.x, inner.x
        );
        edges(inner, svg);
    }
}

fn boxes(placed: &Placed<'_>, svg: &mut String) {
    let (width, y) = (box_width(placed.part), top(placed));
    let fill = if placed.part.node_type.is_some() { "#e8f3ee" } else { "#e6eff7" };
    let _ = writeln!(
        svg,
        "<rect x=\"{:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{BOX_HEIGHT}\" rx=\"6\" fill=\"{fill}\" stroke=\"#6e6e6e\"/>",
        placed.x - width / 2.0
    );
    let subtitle = placed.part.subtitle();
    let title_y = if subtitle.is_empty() { y + 27.0 } else { y + 19.0 };
    let mut line = |y: f64, size: u32, colour: &str, text: &str| {
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{y:.1}\" font-size=\"{size}\" fill=\"{colour}\" text-anchor=\"middle\">{}</text>",
            placed.x,
            escaped(text)
        );
    };
    line(title_y, 13, "#222", &placed.part.title());
    if !subtitle.is_empty() {
        line(y + 36.0, 11, "#6e6e6e", &subtitle);
    }
    for inner in &placed.below {
        boxes(inner, svg);
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
