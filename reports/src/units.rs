//! Numbers as a person reads them.

/// A unit in which a set of durations is shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum TimeUnit {
    Second,
    Minute,
    Hour,
    Day,
}

impl TimeUnit {
    /// The unit in which a duration is a number of two digits or so: 90 s, 90 min, 36 h, 3 d.
    pub(crate) fn of(duration_s: f64) -> Self {
        let unit =
            [Self::Day, Self::Hour, Self::Minute].into_iter().find(|unit| duration_s >= 2.0 * unit.seconds());
        unit.unwrap_or(Self::Second)
    }

    pub(crate) const fn seconds(self) -> f64 {
        match self {
            Self::Second => 1.0,
            Self::Minute => 60.0,
            Self::Hour => 3_600.0,
            Self::Day => 86_400.0,
        }
    }

    pub(crate) const fn symbol(self) -> &'static str {
        match self {
            Self::Second => "s",
            Self::Minute => "min",
            Self::Hour => "h",
            Self::Day => "d",
        }
    }
}

/// Three significant digits: `0`, `<0.01`, `0.25`, `12.5`, `1,234`.
pub(crate) fn quantity(value: f64) -> String {
    if value == 0.0 {
        "0".to_owned()
    } else if value < 0.005 {
        "<0.01".to_owned()
    } else {
        let decimals = match value {
            ..9.995 => 2,
            ..99.95 => 1,
            _ => 0,
        };
        fixed(value, decimals)
    }
}

/// A fixed number of decimals, thousands separated by commas.
pub(crate) fn fixed(value: f64, decimals: usize) -> String {
    let text = format!("{value:.decimals$}");
    let (whole, fraction) = text.split_once('.').map_or((text.as_str(), None), |(a, b)| (a, Some(b)));
    let mut grouped = String::with_capacity(text.len() + whole.len() / 3);
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) && grouped != "-" {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    if let Some(fraction) = fraction {
        grouped.push('.');
        grouped.push_str(fraction);
    }
    grouped
}

/// A count, thousands separated by commas.
pub(crate) fn count(value: u64) -> String {
    fixed(value as f64, 0)
}

/// A share of 1 as per cent.
pub(crate) fn percent(share: f64) -> String {
    format!("{:.1}%", 100.0 * share)
}

/// A duration with its own unit.
pub(crate) fn duration(duration_s: f64) -> String {
    let unit = TimeUnit::of(duration_s);
    format!("{} {}", quantity(duration_s / unit.seconds()), unit.symbol())
}

/// A whole number of some unit, with it: `6 h`.
pub(crate) fn span(span_s: f64) -> String {
    let units = [TimeUnit::Day, TimeUnit::Hour, TimeUnit::Minute];
    let unit = units.into_iter().find(|unit| span_s >= unit.seconds()).unwrap_or(TimeUnit::Second);
    format!("{} {}", span_s / unit.seconds(), unit.symbol())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_have_three_digits() {
        let check = |value, expected: &str| assert_eq!(quantity(value), expected);
        check(0.0, "0");
        check(0.004, "<0.01");
        check(0.254, "0.25");
        check(9.996, "10.0");
        check(99.96, "100");
        check(1_234.4, "1,234");
        check(1_234_567.0, "1,234,567");
    }

    #[test]
    fn durations_take_the_unit_that_fits() {
        let check = |duration_s, expected: &str| assert_eq!(duration(duration_s), expected);
        check(0.0, "0 s");
        check(119.0, "119 s");
        check(120.0, "2.00 min");
        check(7_199.0, "120 min");
        check(36.0 * 3_600.0, "36.0 h");
        check(149.3 * 86_400.0, "149 d");
    }

    #[test]
    fn thousands_are_separated() {
        let check = |value, decimals, expected: &str| assert_eq!(fixed(value, decimals), expected);
        check(999.0, 0, "999");
        check(1_000.25, 1, "1,000.2");
        check(-123_456.0, 0, "-123,456");
    }
}
