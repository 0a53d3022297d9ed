//! How a chart is shown.
//!
//! Text is placed by its anchor and never measured: the fonts of whoever looks at the plot are not known here.

#![expect(clippy::cast_possible_wrap, reason = "pixels of a canvas, and entries of its legend")]

use std::fmt::Display;
use std::ops::Range;

use plotters::coord::Shift;
use plotters::coord::ranged1d::{KeyPointHint, KeyPointWeight, NoDefaultFormatting, Ranged, ValueFormatter};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::axis::Axis;
use super::charts::{Chart, Kind, Shape};

const SIZE: (u32, u32) = (960, 560);
const MARGIN: i32 = 24;
const LINE_PX: u32 = 2;
const FONT: &str = "sans-serif";
const TEXT: RGBColor = RGBColor(34, 34, 34);
const FAINT_TEXT: RGBColor = RGBColor(110, 110, 110);
const GRID: RGBColor = RGBColor(224, 224, 224);

/// Okabe and Ito's palette, which people of all kinds of colour vision tell apart; yellow last, for it is faint on
/// white. (Okabe, Ito: Color Universal Design, 2008.)
const PALETTE: [RGBColor; 8] = [
    RGBColor(0, 114, 178),
    RGBColor(230, 159, 0),
    RGBColor(0, 158, 115),
    RGBColor(213, 94, 0),
    RGBColor(86, 180, 233),
    RGBColor(204, 121, 167),
    RGBColor(0, 0, 0),
    RGBColor(240, 228, 66),
];

const LEGEND_ROW_PX: i32 = 22;
const LEGEND_TOP_PX: i32 = 72;
/// Columns of the legend, and how many letters fit in one of them in any usual font. As many columns as the longest
/// entry allows.
const LEGEND_LAYOUTS: [(usize, usize); 2] = [(3, 33), (2, 52)];

/// What stands around a chart.
pub(super) struct Caption {
    /// Under the title.
    pub(super) subtitle: String,
    /// Below: where it comes from.
    pub(super) source: String,
}

type Canvas<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// The chart as an SVG document, or what went wrong.
pub(super) fn draw(chart: &Chart, caption: &Caption, names: &[&str]) -> Result<String, String> {
    let mut svg = String::new();
    {
        let canvas = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        canvas.fill(&WHITE).map_err(message)?;
        captions(&canvas, chart, caption)?;
        let legend_rows = legend(&canvas, chart, names)?;
        let top = LEGEND_TOP_PX + LEGEND_ROW_PX * legend_rows + 4;
        plane(&canvas, chart, top)?;
        canvas.present().map_err(message)?;
    }
    Ok(svg)
}

fn message(error: impl Display) -> String {
    error.to_string()
}

fn style(size_px: u32, colour: RGBColor, horizontal: HPos, vertical: VPos) -> TextStyle<'static> {
    (FONT, size_px).into_font().color(&colour).pos(Pos::new(horizontal, vertical))
}

/// Title above, and below where the plot comes from.
fn captions(canvas: &Canvas<'_>, chart: &Chart, caption: &Caption) -> Result<(), String> {
    let title =
        TextStyle { font: (FONT, 20, FontStyle::Bold).into_font(), ..style(20, TEXT, HPos::Left, VPos::Top) };
    canvas.draw_text(&chart.title, &title, (MARGIN, 18)).map_err(message)?;
    let subtitle = style(14, FAINT_TEXT, HPos::Left, VPos::Top);
    canvas.draw_text(&shortened(&caption.subtitle, 100), &subtitle, (MARGIN, 46)).map_err(message)?;
    let (width, height) = (SIZE.0 as i32, SIZE.1 as i32);
    let small = style(11, FAINT_TEXT, HPos::Right, VPos::Bottom);
    canvas.draw_text(&caption.source, &small, (width - MARGIN, height - 8)).map_err(message)
}

/// Entries above the plane, where they hide nothing. Returns the number of rows.
fn legend(canvas: &Canvas<'_>, chart: &Chart, policies: &[&str]) -> Result<i32, String> {
    let entries: Vec<(&str, String)> = policies
        .iter()
        .zip(&chart.remarks)
        .map(|(policy, remark)| {
            (*policy, remark.as_ref().map_or_else(String::new, |remark| format!(" {remark}")))
        })
        .collect();
    let letters = |(policy, remark): &(&str, String)| policy.chars().count() + remark.chars().count();
    let longest = entries.iter().map(letters).max().unwrap_or(0);
    let [wide, .., narrow] = LEGEND_LAYOUTS;
    let (columns, letters_max) = if longest <= wide.1 { wide } else { narrow };
    let column_px = (SIZE.0 as i32 - 2 * MARGIN) / columns as i32;
    let place = |index: usize| {
        let (row, column) = ((index / columns) as i32, (index % columns) as i32);
        (MARGIN + column * column_px, LEGEND_TOP_PX + row * LEGEND_ROW_PX + LEGEND_ROW_PX / 2)
    };
    let text = style(14, TEXT, HPos::Left, VPos::Center);
    for (index, (policy, remark)) in entries.iter().enumerate() {
        let (x, y) = place(index);
        let sample = PathElement::new(vec![(x, y), (x + 22, y)], colour(index).stroke_width(4));
        canvas.draw(&sample).map_err(message)?;
        let room = letters_max.saturating_sub(remark.chars().count());
        let entry = format!("{}{remark}", shortened(policy, room));
        canvas.draw_text(&entry, &text, (x + 30, y)).map_err(message)?;
    }
    let mut places = policies.len();
    if let Some(key) = &chart.key {
        let (x, y) = place(places);
        let faint = style(14, FAINT_TEXT, HPos::Left, VPos::Center);
        canvas.draw_text(key, &faint, (x, y)).map_err(message)?;
        places += 1;
    }
    Ok(places.div_ceil(columns) as i32)
}

/// Axes, grid and shapes.
fn plane(canvas: &Canvas<'_>, chart: &Chart, top: i32) -> Result<(), String> {
    let (_, lower) = canvas.split_vertically(top);
    let mut plane = ChartBuilder::on(&lower)
        .margin_left(8)
        .margin_right(MARGIN + 12)
        .margin_top(10)
        .margin_bottom(26)
        .x_label_area_size(50)
        .y_label_area_size(78)
        .build_cartesian_2d(chart.x.clone(), chart.y.clone())
        .map_err(message)?;
    plane
        .configure_mesh()
        .bold_line_style(GRID)
        .light_line_style(TRANSPARENT)
        .axis_style(FAINT_TEXT)
        .label_style((FONT, 14).into_font().color(&TEXT))
        .axis_desc_style((FONT, 15).into_font().color(&TEXT))
        .x_desc(&chart.x.label)
        .y_desc(&chart.y.label)
        .draw()
        .map_err(message)?;
    for (index, shape) in chart.shapes.iter().enumerate() {
        // Lines that coincide show as stripes, the first the widest.
        let hides = |later: &&Shape| later.kind == shape.kind && later.points == shape.points;
        let width = LINE_PX + 2 * chart.shapes[index + 1..].iter().filter(hides).count() as u32;
        let colour = colour(shape.run);
        let area = plane.plotting_area();
        let line = |style: ShapeStyle| area.draw(&PathElement::new(shape.points.clone(), style));
        let drawn = match (shape.kind, shape.points.as_slice()) {
            (_, []) => Ok(()),
            (Kind::Points, points) => {
                points.iter().try_for_each(|point| area.draw(&Circle::new(*point, 3, colour.filled())))
            }
            (Kind::Area, points) => area.draw(&Polygon::new(points, colour.mix(0.12))),
            (_, [point]) => area.draw(&Circle::new(*point, 4, colour.filled())),
            (Kind::Line, _) => line(colour.stroke_width(width)),
            (Kind::PaleLine, _) => line(colour.mix(0.4).stroke_width(width)),
        };
        drawn.map_err(message)?;
    }
    if chart.shapes.iter().all(|shape| shape.points.is_empty()) {
        let (width, height) = plane.plotting_area().dim_in_pixel();
        let (left, top) = plane.plotting_area().get_base_pixel();
        let faint = style(16, FAINT_TEXT, HPos::Center, VPos::Center);
        let middle = (left + width as i32 / 2, top + height as i32 / 2);
        canvas.draw_text(chart.nothing, &faint, middle).map_err(message)?;
    }
    Ok(())
}

/// Linear: what is logarithmic was made so by the positions.
impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (from, to): (i32, i32)) -> i32 {
        let share = (value - self.min) / (self.max - self.min);
        from + (share * f64::from(to - from)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        match hint.weight() {
            KeyPointWeight::Bold => self.ticks.iter().map(|tick| tick.at).collect(),
            KeyPointWeight::Any => Vec::new(),
        }
    }

    fn range(&self) -> Range<f64> {
        self.min..self.max
    }
}

impl ValueFormatter<f64> for Axis {
    fn format_ext(&self, at: &f64) -> String {
        let tick = self.ticks.iter().find(|tick| tick.at.to_bits() == at.to_bits());
        tick.map(|tick| tick.label.clone()).unwrap_or_default()
    }
}

fn colour(run: usize) -> RGBColor {
    let RGBColor(red, green, blue) = PALETTE[run % PALETTE.len()];
    // Past the palette's end, the same hues in a darker tone; black, which has none, in grey.
    match (run < PALETTE.len(), red | green | blue) {
        (true, _) => PALETTE[run],
        (false, 0) => RGBColor(128, 128, 128),
        (false, _) => RGBColor(red / 2, green / 2, blue / 2),
    }
}

fn shortened(text: &str, letters_max: usize) -> String {
    if text.chars().count() <= letters_max {
        text.to_owned()
    } else {
        text.chars().take(letters_max.saturating_sub(1)).chain(['…']).collect()
    }
}
