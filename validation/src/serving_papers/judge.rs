//! What a paper says, and what comes out here.

use crate::report::{Cell, Row};

/// How a line is judged.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Judged {
    /// The figure has to be met within so many per cent.
    Within(f64),
    /// One deployment beside another, as a ratio: which is the better one has to agree, and by how much is shown.
    Direction,
    /// Shown only.
    Shown,
}

/// A figure of a paper, and ours.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Line {
    pub(super) paper: &'static str,
    pub(super) case: String,
    /// What is given, with its unit.
    pub(super) figure: &'static str,
    pub(super) published: Option<f64>,
    pub(super) ours: f64,
    pub(super) judged: Judged,
}

/// The figure of a line that holds one deployment beside another.
const RATIO: &str = "ratio";

/// Titles of what [`Line::row`] gives.
pub(super) const COLUMNS: [&str; 7] = ["paper", "case", "figure", "published", "ours", "off\n%", "judged by"];

impl Line {
    /// How many times as much one deployment holds as another.
    pub(super) const fn ratio(paper: &'static str, case: String, published: f64, ours: f64) -> Self {
        Self { paper, case, figure: RATIO, published: Some(published), ours, judged: Judged::Direction }
    }

    /// A figure that has to be met.
    pub(super) const fn figure(
        paper: &'static str,
        case: String,
        figure: &'static str,
        (published, ours): (f64, f64),
        percent: f64,
    ) -> Self {
        Self { paper, case, figure, published: Some(published), ours, judged: Judged::Within(percent) }
    }

    /// A figure without one to hold it against.
    pub(super) const fn shown(paper: &'static str, case: String, figure: &'static str, ours: f64) -> Self {
        Self { paper, case, figure, published: None, ours, judged: Judged::Shown }
    }

    /// By how many per cent ours is off.
    pub(super) fn off_percent(&self) -> Option<f64> {
        self.published.map(|published| 100.0 * (self.ours / published - 1.0))
    }

    /// Whether it is judged by its direction.
    pub(super) fn is_direction(&self) -> bool {
        self.judged == Judged::Direction
    }

    /// Whether it agrees; nothing that was not found does.
    pub(super) fn passed(&self) -> bool {
        match (self.judged, self.published) {
            (Judged::Within(percent), Some(_)) => {
                self.off_percent().is_some_and(|off_percent| off_percent.abs() <= percent)
            }
            (Judged::Direction, Some(published)) => {
                (published > 1.0 && self.ours > 1.0) || (published < 1.0 && self.ours < 1.0)
            }
            _ => true,
        }
    }

    pub(super) fn row(&self) -> Row {
        let judged = match self.judged {
            Judged::Within(percent) => format!("{percent} %"),
            Judged::Direction => "direction".to_owned(),
            Judged::Shown => "-".to_owned(),
        };
        Row {
            passed: self.passed(),
            cells: vec![
                Cell::Text(self.paper.to_owned()),
                Cell::Text(self.case.clone()),
                Cell::Text(self.figure.to_owned()),
                self.published.map_or(Cell::None, |published| Cell::Figure(published, 2)),
                Cell::Figure(self.ours, 2),
                self.off_percent().map_or(Cell::None, |off_percent| Cell::Figure(off_percent, 1)),
                Cell::Text(judged),
            ],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_to_be_met_and_ratios_have_to_point_the_same_way() {
        let check = |line: Line, expected: (&str, bool)| {
            let cells: Vec<String> = line.row().cells.iter().skip(2).map(Cell::to_text).collect();
            assert_eq!((cells.join(" ").as_str(), line.passed()), expected);
        };
        let figure = |published, ours| Line::figure("P", String::new(), "ms", (published, ours), 6.0);
        check(figure(2.0, 2.1), ("ms 2.00 2.10 5.0 6 %", true));
        check(figure(2.0, 1.86), ("ms 2.00 1.86 -7.0 6 %", false));
        check(figure(2.0, f64::NAN), ("ms 2.00 - - 6 %", false));
        let ratio = |published, ours| Line::ratio("P", String::new(), published, ours);
        check(ratio(2.35, 1.1), ("ratio 2.35 1.10 -53.2 direction", true));
        check(ratio(2.35, 0.9), ("ratio 2.35 0.90 -61.7 direction", false));
        // As much as the other is no direction.
        check(ratio(2.35, 1.0), ("ratio 2.35 1.00 -57.4 direction", false));
        check(ratio(0.52, 0.7), ("ratio 0.52 0.70 34.6 direction", true));
        check(ratio(0.52, 1.2), ("ratio 0.52 1.20 130.8 direction", false));
        check(ratio(2.35, f64::NAN), ("ratio 2.35 - - direction", false));
        check(Line::shown("P", String::new(), "s", 0.5), ("s - 0.50 - -", true));
    }
}
