//! How fast elastic jobs are on more or fewer tasks than they ask for, and how a canonical trace writes it.

use std::fmt::{self, Display};
use std::str::FromStr;

use crate::record::{InvalidField, MAX_TEXT_BYTES, check_text, check_whole};

/// Most tasks of a job that says how it scales.
pub const MAX_SCALING_TASKS: u32 = 4096;
/// Largest speed, as a multiple of that on what the job asks for, and largest factor.
pub const MAX_SPEED: f64 = 1e4;
/// Smallest of either.
pub const MIN_SPEED: f64 = 1e-6;
/// Longest text of a law in bytes.
pub const MAX_SCALING_BYTES: usize = 1 << 18;

/// On how many tasks a job may run, and how fast it is then.
#[derive(Debug, Clone, PartialEq)]
pub struct ScalingRecord {
    /// The fewest tasks.
    pub min_tasks: u32,
    /// The most tasks.
    pub max_tasks: u32,
    /// Speeds. Of those of the latest `from` that is reached the first that is for the GPU model counts; there is one for
    /// all models from the start on and at every `from`.
    pub curves: Vec<ScalingCurve>,
}

/// Speeds by number of tasks, for some GPU models and from some progress on.
#[derive(Debug, Clone, PartialEq)]
pub struct ScalingCurve {
    /// The share of the work that is done when it begins to hold, 0 to below 1.
    pub from: f64,
    /// GPU models that it is for; empty = any.
    pub models: Vec<String>,
    /// All its speeds are multiplied by this.
    pub factor: f64,
    /// On one node.
    pub one_node: SpeedLaw,
    /// On several nodes; as on one if `None`.
    pub many_nodes: Option<SpeedLaw>,
}

impl ScalingCurve {
    /// A curve for all models and from the start on.
    pub const fn of(law: SpeedLaw) -> Self {
        Self { from: 0.0, models: Vec::new(), factor: 1.0, one_node: law, many_nodes: None }
    }
}

/// A speed by number of tasks, relative to the speed on the tasks that the job asks for.
#[derive(Debug, Clone, PartialEq)]
pub enum SpeedLaw {
    /// In proportion to the tasks.
    Linear,
    /// Amdahl's law (1967): on one task, this share of the time does not become shorter by more tasks.
    Amdahl(f64),
    /// On as many tasks as it asks for, this share of the time is communication, which takes as long on any number of tasks
    /// but one, on which there is none; the rest is in inverse proportion.
    Communication(f64),
    /// On one task, on two and so on; more tasks than are listed add nothing.
    Speeds(Vec<f64>),
}

impl SpeedLaw {
    /// The speed on `tasks` tasks of a job that asks for `asked`.
    pub fn speed(&self, tasks: u32, asked: u32) -> f64 {
        let (n, asked_tasks) = (f64::from(tasks.max(1)), f64::from(asked.max(1)));
        match self {
            Self::Linear => n / asked_tasks,
            Self::Amdahl(serial) => {
                let time = |n: f64| serial + (1.0 - serial) / n;
                time(asked_tasks) / time(n)
            }
            Self::Communication(share) => {
                let time = |n: f64| (1.0 - share) * asked_tasks / n + if n > 1.0 { *share } else { 0.0 };
                time(asked_tasks) / time(n)
            }
            Self::Speeds(speeds) => {
                let position = (tasks as usize).clamp(1, speeds.len().max(1)) - 1;
                speeds.get(position).copied().unwrap_or(0.0)
            }
        }
    }

    fn is_valid(&self) -> bool {
        match self {
            Self::Linear => true,
            Self::Amdahl(share) | Self::Communication(share) => (0.0..1.0).contains(share),
            Self::Speeds(speeds) => {
                let count = 1..=MAX_SCALING_TASKS as usize;
                count.contains(&speeds.len())
                    && speeds.iter().all(|speed| (MIN_SPEED..=MAX_SPEED).contains(speed))
            }
        }
    }
}

impl ScalingRecord {
    /// The law as a canonical trace writes it.
    pub fn law_text(&self) -> String {
        self.curves.iter().map(ScalingCurve::to_string).collect::<Vec<_>>().join("; ")
    }

    /// Reads a law as a canonical trace writes it; nothing is in proportion to the tasks. `None` if it is none.
    pub fn parse_law(text: &str) -> Option<Vec<ScalingCurve>> {
        if text.trim().is_empty() {
            return Some(vec![ScalingCurve::of(SpeedLaw::Linear)]);
        }
        text.split(';').map(|curve| curve.parse().ok()).collect()
    }

    /// Checks it for a job of so many tasks.
    pub fn check(&self, asked: u32) -> Result<(), InvalidField> {
        check_whole("tasks", asked, 1, MAX_SCALING_TASKS)?;
        check_whole("min_tasks", self.min_tasks, 1, asked)?;
        check_whole("max_tasks", self.max_tasks, asked, MAX_SCALING_TASKS)?;
        let valid = |curve: &ScalingCurve| {
            (0.0..1.0).contains(&curve.from)
                && (MIN_SPEED..=MAX_SPEED).contains(&curve.factor)
                && curve.one_node.is_valid()
                && curve.many_nodes.as_ref().is_none_or(SpeedLaw::is_valid)
                && curve.models.iter().all(|model| is_model(model))
        };
        if self.curves.is_empty() || !self.curves.iter().all(valid) {
            return Err(InvalidField::new("scaling", EXPECTED, self.law_text()));
        }
        // On a model that no curve is for a job would hold its GPUs for ever.
        let is_complete = |from: f64| {
            self.curves.iter().any(|curve| curve.models.is_empty() && curve.from.total_cmp(&from).is_eq())
        };
        if !is_complete(0.0) || !self.curves.iter().all(|curve| is_complete(curve.from)) {
            let expected = "a curve for all models from the start on and after every `@FROM`";
            return Err(InvalidField::new("scaling", expected, self.law_text()));
        }
        self.curves.iter().flat_map(|curve| &curve.models).try_for_each(|model| check_text("scaling", model))
    }
}

/// What the text of a law must be, in words.
pub(crate) const EXPECTED: &str = "a law such as `amdahl=0.05`, `communication=0.1`, `linear` or speeds from 0.000001 to 10000, with \
                                   `@FROM`, `MODEL:`, `xFACTOR` before and `across LAW` after it as needed; curves are separated by `;`";

/// Whether a model's name can stand in the text of a law.
fn is_model(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= MAX_TEXT_BYTES
        && !name.contains(['|', ':', ';'])
        && !name.starts_with(['@', 'x'])
        && !name.contains(char::is_whitespace)
}

impl Display for SpeedLaw {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Linear => formatter.write_str("linear"),
            Self::Amdahl(share) => write!(formatter, "amdahl={share}"),
            Self::Communication(share) => write!(formatter, "communication={share}"),
            Self::Speeds(speeds) => {
                for (position, speed) in speeds.iter().enumerate() {
                    write!(formatter, "{}{speed}", if position == 0 { "" } else { " " })?;
                }
                Ok(())
            }
        }
    }
}

impl Display for ScalingCurve {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.from > 0.0 {
            write!(formatter, "@{} ", self.from)?;
        }
        if !self.models.is_empty() {
            write!(formatter, "{}: ", self.models.join("|"))?;
        }
        if (self.factor - 1.0).abs() > 0.0 {
            write!(formatter, "x{} ", self.factor)?;
        }
        self.one_node.fmt(formatter)?;
        match &self.many_nodes {
            Some(law) => write!(formatter, " across {law}"),
            None => Ok(()),
        }
    }
}

impl FromStr for SpeedLaw {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let text = text.trim();
        let share = |name: &str| text.strip_prefix(name).and_then(|text| text.strip_prefix('='));
        let number = |text: &str| text.parse::<f64>().map_err(|_| ());
        if text == "linear" {
            return Ok(Self::Linear);
        }
        if let Some(serial) = share("amdahl") {
            return number(serial).map(Self::Amdahl);
        }
        if let Some(communication) = share("communication") {
            return number(communication).map(Self::Communication);
        }
        let speeds = text.split_whitespace().map(number).collect::<Result<Vec<_>, _>>()?;
        if speeds.is_empty() { Err(()) } else { Ok(Self::Speeds(speeds)) }
    }
}

impl FromStr for ScalingCurve {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut curve = Self::of(SpeedLaw::Linear);
        let mut rest = text.trim();
        while let Some((word, after)) = rest.split_once(char::is_whitespace) {
            if let Some(from) = word.strip_prefix('@') {
                curve.from = from.parse().map_err(|_| ())?;
            } else if let Some(models) = word.strip_suffix(':') {
                curve.models = models.split('|').map(str::to_owned).collect();
            } else if let Some(factor) = word.strip_prefix('x') {
                curve.factor = factor.parse().map_err(|_| ())?;
            } else {
                break;
            }
            rest = after.trim_start();
        }
        let (one_node, many_nodes) =
            rest.split_once("across").map_or((rest, None), |(one, many)| (one, Some(many)));
        curve.one_node = one_node.parse()?;
        curve.many_nodes = many_nodes.map(str::parse).transpose()?;
        Ok(curve)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speeds_by_hand() {
        for (law, tasks, asked, expected) in [
            ("linear", 6, 4, 1.5),
            ("amdahl=0.2", 1, 4, 0.4),
            ("amdahl=0.2", 4, 4, 1.0),
            ("amdahl=0.2", 16, 4, 1.6),
            // Of 10 s on two tasks 4 are communication: 12 on one, 7 on four.
            ("communication=0.4", 1, 2, 10.0 / 12.0),
            ("communication=0.4", 2, 2, 1.0),
            ("communication=0.4", 4, 2, 10.0 / 7.0),
            ("0.5 1 1.25", 2, 2, 1.0),
            ("0.5 1 1.25", 7, 2, 1.25),
        ] {
            let got = law.parse::<SpeedLaw>().unwrap().speed(tasks, asked);
            assert!((got - expected).abs() < 1e-12, "{law} on {tasks} of {asked}: {got}");
        }
    }

    #[test]
    fn a_law_reads_back() {
        for text in [
            "linear",
            "amdahl=0.05",
            "communication=0.25 across communication=0.5",
            "T4|P100: x0.25 amdahl=0.1; amdahl=0.1",
            "0.3 0.6 1 1.25; @0.5 A100: 0.4 0.7 1 1.5 across 0.4 0.5; @0.5 x0.5 linear",
            "T4: x0.4 amdahl=0.1; amdahl=0.1 across 0.3 0.5 0.65; @0.5 T4: x0.4 linear; @0.5 linear",
        ] {
            let curves = ScalingRecord::parse_law(text).unwrap();
            let record = ScalingRecord { min_tasks: 1, max_tasks: 8, curves };
            assert_eq!(record.check(4), Ok(()), "{text}");
            assert_eq!(record.law_text(), text);
        }
    }

    #[test]
    fn what_is_no_law_is_refused() {
        for text in ["amdahl", "amdahl=x", "fast", "1 2 three", "@half linear", "linear;", "1 across"] {
            assert_eq!(ScalingRecord::parse_law(text), None, "{text}");
        }
        for text in ["amdahl=1", "communication=-0.1", "-1 2", "@1 linear", "x0 linear", "1e9", "NaN"] {
            let curves = ScalingRecord::parse_law(text).unwrap();
            let record = ScalingRecord { min_tasks: 1, max_tasks: 8, curves };
            assert_eq!(record.check(4).unwrap_err().column, "scaling", "{text}");
        }
        // Jobs that would not progress on some models, at first or from some progress on.
        for text in ["T4: linear", "@0.5 linear", "linear; @0.5 T4: linear", "0 1", "1 2 across 0"] {
            let curves = ScalingRecord::parse_law(text).unwrap();
            let record = ScalingRecord { min_tasks: 1, max_tasks: 8, curves };
            assert_eq!(record.check(4).unwrap_err().column, "scaling", "{text}");
        }
        let curves = || vec![ScalingCurve::of(SpeedLaw::Linear)];
        for (min_tasks, max_tasks, column) in [(0, 8, "min_tasks"), (5, 8, "min_tasks"), (1, 3, "max_tasks")]
        {
            let record = ScalingRecord { min_tasks, max_tasks, curves: curves() };
            assert_eq!(record.check(4).unwrap_err().column, column);
        }
    }
}
