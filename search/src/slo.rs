//! What is demanded: `p99 ttft < 2s, mean tpot < 50ms, attainment >= 99%, rejected < 1%`.
//!
//! ```text
//! slo       = term { "," term }
//! term      = statistic metric below number unit
//!           | "attainment" ( ">" | ">=" ) number "%"
//!           | ( "rejected" | "backlog" ) below number "%"
//! statistic = "mean" | "max" | "p" number          such as p50, p99, p99.9
//! metric    = "ttft" | "tpot" | "itl" | "e2e" | "queue"
//! below     = "<" | "<="
//! unit      = "s" | "ms" | "us"
//! ```

use std::fmt;
use std::ops::Range;

use foretell_serving::metrics::Objective;

/// By how much of the time that passes requests may stay longer and longer before a deployment counts as overloaded: of arrivals so many are left over.
pub const BACKLOG_GROWTH_MAX: f64 = 0.05;

/// A time of requests, or of tokens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Metric {
    /// To the first token.
    Ttft,
    /// Of a further token, of a request on average.
    Tpot,
    /// From one token to the next, token by token.
    Itl,
    /// To the last token.
    E2e,
    /// Until it is first computed.
    Queue,
}

impl Metric {
    const ALL: [(&'static str, Self); 5] = [
        ("ttft", Self::Ttft),
        ("tpot", Self::Tpot),
        ("itl", Self::Itl),
        ("e2e", Self::E2e),
        ("queue", Self::Queue),
    ];

    /// As it is written.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, metric)| *metric == self).map_or("", |(name, _)| name)
    }
}

/// Which of many values counts.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Statistic {
    /// Their mean.
    Mean,
    /// The largest.
    Max,
    /// The one that so many of a hundred do not exceed.
    Percentile(f64),
}

impl Statistic {
    /// Of values in order, the place of the one that counts as a share; none for the mean.
    pub fn share(self) -> Option<f64> {
        match self {
            Self::Mean => None,
            Self::Max => Some(1.0),
            Self::Percentile(percent) => Some(percent / 100.0),
        }
    }
}

/// What is measured.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Measure {
    /// A time.
    Latency(Statistic, Metric),
    /// The share of requests that keep what the scenario's own objective promises.
    Attainment,
    /// The share of requests that got nothing.
    Rejected,
    /// How fast the time that requests stay grows: the share of arrivals that is left over.
    Backlog,
}

/// A demand.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Term {
    /// What is measured.
    pub measure: Measure,
    /// Seconds or a share, of which the measure is to be at most (of [`Measure::Attainment`] at least) so much.
    pub limit: f64,
    /// Whether the limit itself is too much.
    pub strict: bool,
}

impl Term {
    /// How far a value exceeds the limit, negative if it stays below: for times the logarithm of value and limit, for shares their difference.
    pub fn excess(&self, value: f64) -> f64 {
        match self.measure {
            Measure::Latency(..) => (value.max(f64::MIN_POSITIVE) / self.limit.max(f64::MIN_POSITIVE)).ln(),
            Measure::Attainment => self.limit - value,
            Measure::Rejected | Measure::Backlog => value - self.limit,
        }
    }

    /// Whether so much in excess (of a single run) is no excess.
    pub fn is_met(&self, excess: f64) -> bool {
        excess < 0.0 || excess <= 0.0 && !self.strict
    }

    /// What is measured, as it is written.
    pub fn name(&self) -> String {
        match self.measure {
            Measure::Latency(Statistic::Mean, metric) => format!("mean {}", metric.name()),
            Measure::Latency(Statistic::Max, metric) => format!("max {}", metric.name()),
            Measure::Latency(Statistic::Percentile(percent), metric) => {
                format!("p{percent} {}", metric.name())
            }
            Measure::Attainment => "attainment".to_owned(),
            Measure::Rejected => "rejected".to_owned(),
            Measure::Backlog => "backlog".to_owned(),
        }
    }

    /// Whether it is a time.
    pub const fn is_time(&self) -> bool {
        matches!(self.measure, Measure::Latency(..))
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match (self.measure, self.strict) {
            (Measure::Attainment, true) => ">",
            (Measure::Attainment, false) => ">=",
            (_, true) => "<",
            (_, false) => "<=",
        };
        write!(f, "{} {sign} ", self.name())?;
        // Two roundings: seconds as a person writes them.
        let rounded = |value: f64| (value * 1e9).round() / 1e9;
        match self.measure {
            Measure::Latency(..) if self.limit >= 1.0 => write!(f, "{}s", rounded(self.limit)),
            Measure::Latency(..) if self.limit >= 1e-3 => write!(f, "{}ms", rounded(self.limit * 1e3)),
            Measure::Latency(..) => write!(f, "{}us", rounded(self.limit * 1e6)),
            _ => write!(f, "{}%", rounded(self.limit * 100.0)),
        }
    }
}

/// All that is demanded, one demand at least.
#[derive(Clone, PartialEq, Debug)]
pub struct Slo {
    terms: Vec<Term>,
}

impl Slo {
    /// Reads what a person wrote. Unless something else is said of it, the backlog may not grow either.
    pub fn parse(text: &str) -> Result<Self, SloError> {
        let mut reader = Reader { text, at: 0 };
        let mut terms = vec![reader.term()?];
        while reader.rest_is_more()? {
            terms.push(reader.term()?);
        }
        Ok(Self::of(terms))
    }

    /// The 99th percentiles of what a scenario promises; none if it promises nothing.
    pub fn of_objective(objective: &Objective) -> Option<Self> {
        let Objective { ttft_s, tpot_s, e2e_s } = *objective;
        let promised = [(Metric::Ttft, ttft_s), (Metric::Tpot, tpot_s), (Metric::E2e, e2e_s)];
        let term = |(metric, limit): (Metric, Option<f64>)| {
            let measure = Measure::Latency(Statistic::Percentile(99.0), metric);
            Some(Term { measure, limit: limit?, strict: false })
        };
        let terms: Vec<Term> = promised.into_iter().filter_map(term).collect();
        (!terms.is_empty()).then(|| Self::of(terms))
    }

    /// Of demands; unless something else is said of it, the backlog may not grow either.
    pub fn of(mut terms: Vec<Term>) -> Self {
        if !terms.iter().any(|term| term.measure == Measure::Backlog) {
            terms.push(Term { measure: Measure::Backlog, limit: BACKLOG_GROWTH_MAX, strict: true });
        }
        Self { terms }
    }

    /// The demands, the backlog among them.
    pub fn terms(&self) -> &[Term] {
        &self.terms
    }

    /// Whether the scenario's own objective is asked for.
    pub fn needs_objective(&self) -> bool {
        self.terms.iter().any(|term| term.measure == Measure::Attainment)
    }

    /// Whether times from one token to the next are asked for.
    pub fn needs_inter_token(&self) -> bool {
        self.terms.iter().any(|term| matches!(term.measure, Measure::Latency(_, Metric::Itl)))
    }
}

impl fmt::Display for Slo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, term) in self.terms.iter().enumerate() {
            let comma = if index > 0 { ", " } else { "" };
            write!(f, "{comma}{term}")?;
        }
        Ok(())
    }
}

/// What is wrong with a text of demands.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("--slo: column {column}: expected {expected}, got {got}\n  {text}\n  {marker}")]
pub struct SloError {
    /// The text, on one line.
    pub text: String,
    /// Where, in characters from 1.
    pub column: usize,
    /// What would have been right.
    pub expected: String,
    /// What is there.
    pub got: String,
    /// A mark below the place.
    marker: String,
}

/// Statistics as messages list them.
const STATISTICS: &str = "`mean`, `max` or a percentile such as `p99`";

struct Reader<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Reader<'t> {
    /// The next word, number or sign, which is not taken.
    fn peek(&mut self) -> Range<usize> {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start().len();
        let rest = &self.text[self.at..];
        let class = |c: char| match c {
            '<' | '>' | '=' => 1,
            '0'..='9' | '.' | '+' | '-' => 2,
            _ if c.is_alphabetic() => 3,
            _ => 0,
        };
        let Some(first) = rest.chars().next() else { return self.at..self.at };
        // `p99.9` is one word, `2s` are two.
        let length = match class(first) {
            0 => first.len_utf8(),
            3 => rest.find(|c| !matches!(class(c), 2 | 3)).unwrap_or(rest.len()),
            same => rest.find(|c| class(c) != same).unwrap_or(rest.len()),
        };
        self.at..self.at + length
    }

    fn take(&mut self) -> (Range<usize>, &'t str) {
        let span = self.peek();
        self.at = span.end;
        (span.clone(), &self.text[span])
    }

    fn error(&self, span: &Range<usize>, expected: impl Into<String>) -> SloError {
        let line = |text: &str| text.replace(|c: char| c.is_control(), " ");
        let before = self.text[..span.start].chars().count();
        let got = match &self.text[span.clone()] {
            "" => "the end".to_owned(),
            word => format!("`{}`", line(word)),
        };
        SloError {
            text: line(self.text),
            column: before + 1,
            expected: expected.into(),
            got,
            marker: format!("{}^", " ".repeat(before)),
        }
    }

    fn rest_is_more(&mut self) -> Result<bool, SloError> {
        match self.take() {
            (_, "") => Ok(false),
            (_, ",") => Ok(true),
            (span, _) => Err(self.error(&span, "`,` and another term, or the end")),
        }
    }

    fn term(&mut self) -> Result<Term, SloError> {
        let (span, word) = self.take();
        let lower = word.to_ascii_lowercase();
        let share = match lower.as_str() {
            "attainment" => Some(Measure::Attainment),
            "rejected" => Some(Measure::Rejected),
            "backlog" => Some(Measure::Backlog),
            _ => None,
        };
        if let Some(measure) = share {
            let strict = self.sign(measure == Measure::Attainment)?;
            let limit = self.number()? / 100.0;
            return match self.take() {
                (_, "%") => Ok(Term { measure, limit, strict }),
                (span, _) => Err(self.error(&span, "`%`")),
            };
        }
        let statistic = match lower.as_str() {
            "mean" => Statistic::Mean,
            "max" => Statistic::Max,
            _ => {
                let percent = lower.strip_prefix('p').and_then(|percent| percent.parse::<f64>().ok());
                let percent = percent.filter(|&percent| percent > 0.0 && percent < 100.0);
                Statistic::Percentile(percent.ok_or_else(|| {
                    self.error(&span, format!("{STATISTICS}, `attainment`, `rejected` or `backlog`"))
                })?)
            }
        };
        let (span, word) = self.take();
        let lower = word.to_ascii_lowercase();
        let metric = Metric::ALL.iter().find(|(name, _)| *name == lower);
        let &(_, metric) = metric.ok_or_else(|| {
            let names: Vec<_> = Metric::ALL.iter().map(|(name, _)| format!("`{name}`")).collect();
            self.error(&span, format!("one of {}", names.join(", ")))
        })?;
        let strict = self.sign(false)?;
        let number = self.number()?;
        let (span, unit) = self.take();
        let scale = match unit {
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" | "μs" => 1e-6,
            _ => return Err(self.error(&span, "a unit: `s`, `ms` or `us`")),
        };
        Ok(Term { measure: Measure::Latency(statistic, metric), limit: number * scale, strict })
    }

    /// Whether the limit itself is too much.
    fn sign(&mut self, above: bool) -> Result<bool, SloError> {
        let (span, sign) = self.take();
        match (above, sign) {
            (false, "<") | (true, ">") => Ok(true),
            (false, "<=") | (true, ">=") => Ok(false),
            (false, _) => Err(self.error(&span, "`<` or `<=`")),
            (true, _) => Err(self.error(&span, "`>` or `>=`")),
        }
    }

    fn number(&mut self) -> Result<f64, SloError> {
        let (span, text) = self.take();
        let number = text.parse::<f64>().ok().filter(|number| number.is_finite() && *number >= 0.0);
        number.ok_or_else(|| self.error(&span, "a number that is not negative"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn demands_are_read_as_they_are_written() {
        let check = |text: &str, expected: &str| {
            let slo = Slo::parse(text).map(|slo| slo.to_string());
            assert_eq!(slo.as_deref(), Ok(expected), "{text}");
        };
        check("p99 ttft < 2s", "p99 ttft < 2s, backlog < 5%");
        check("p99 ttft<2000ms,p99 tpot<=0.1 s", "p99 ttft < 2s, p99 tpot <= 100ms, backlog < 5%");
        check("  P99.9 ITL < 250 us ", "p99.9 itl < 250us, backlog < 5%");
        check("mean e2e < 0.0005s, max queue < 3s", "mean e2e < 500us, max queue < 3s, backlog < 5%");
        check("attainment >= 99.5%, rejected < 1 %", "attainment >= 99.5%, rejected < 1%, backlog < 5%");
        check("p50 ttft < 12µs, backlog <= 2%", "p50 ttft < 12us, backlog <= 2%");
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        let check = |text: &str, column: usize, expected: &str, got: &str| {
            let error = Slo::parse(text).unwrap_err();
            let found = (error.column, error.expected.as_str(), error.got.as_str());
            assert_eq!(found, (column, expected, got), "{text}");
        };
        let start = "`mean`, `max` or a percentile such as `p99`, `attainment`, `rejected` or `backlog`";
        check("", 1, start, "the end");
        check("p99 ttft < 2s,", 15, start, "the end");
        check("ttft < 2s", 1, start, "`ttft`");
        check("p100 ttft < 2s", 1, start, "`p100`");
        check("p99 ttfb < 2s", 5, "one of `ttft`, `tpot`, `itl`, `e2e`, `queue`", "`ttfb`");
        check("p99 ttft > 2s", 10, "`<` or `<=`", "`>`");
        check("attainment < 99%", 12, "`>` or `>=`", "`<`");
        check("p99 ttft < two", 12, "a number that is not negative", "`two`");
        check("p99 ttft < -2s", 12, "a number that is not negative", "`-2`");
        check("p99 ttft < 2", 13, "a unit: `s`, `ms` or `us`", "the end");
        check("p99 ttft < 2min", 13, "a unit: `s`, `ms` or `us`", "`min`");
        check("rejected < 0.01", 16, "`%`", "the end");
        check("p99 ttft < 2s p99 tpot < 1s", 15, "`,` and another term, or the end", "`p99`");
        check("mean tpöt < 1s", 6, "one of `ttft`, `tpot`, `itl`, `e2e`, `queue`", "`tpöt`");
    }

    #[test]
    fn a_message_points_at_the_place() {
        let error = Slo::parse("p99 ttfb < 2s").unwrap_err().to_string();
        let expected = "--slo: column 5: expected one of `ttft`, `tpot`, `itl`, `e2e`, `queue`, got `ttfb`\n  \
                        p99 ttfb < 2s\n      ^";
        assert_eq!(error, expected);
    }

    #[test]
    fn what_a_scenario_promises_becomes_percentiles() {
        let objective = Objective { ttft_s: Some(0.5), tpot_s: None, e2e_s: Some(10.0) };
        let slo = Slo::of_objective(&objective).map(|slo| slo.to_string());
        assert_eq!(slo.as_deref(), Some("p99 ttft <= 500ms, p99 e2e <= 10s, backlog < 5%"));
        assert_eq!(Slo::of_objective(&Objective::default()), None);
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back(
            statistic in prop::sample::select(vec!["mean", "max", "p99", "p50", "p99.9"]),
            metric in prop::sample::select(vec!["ttft", "tpot", "itl", "e2e", "queue"]),
            sign in prop::sample::select(vec!["<", "<="]),
            limit in 1_u32..10_000,
            unit in prop::sample::select(vec!["s", "ms", "us"]),
        ) {
            let slo = Slo::parse(&format!("{statistic} {metric} {sign} {limit}{unit}")).unwrap();
            let again = Slo::parse(&slo.to_string()).unwrap();
            prop_assert_eq!(slo.to_string(), again.to_string());
        }

        #[test]
        fn no_text_panics(text in ".*") {
            let _ = Slo::parse(&text);
        }
    }
}
