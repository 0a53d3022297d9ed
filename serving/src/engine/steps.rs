//! How long iterations take that follow one another.

use crate::batch::Line;

/// Numbers from there on are whole, so that adding it to lesser ones rounds them, halves to the even one.
pub(super) const WHOLE: f64 = (1_u64 << 52) as f64;

/// The nearest whole number of nanoseconds, halves upwards, as [`f64::round`] has it.
#[inline]
pub(super) fn rounded(elapsed_ns: f64) -> u64 {
    if elapsed_ns < WHOLE { rounded_below(elapsed_ns) } else { elapsed_ns.round() as u64 }
}

/// The same of what is less than [`WHOLE`]; without branches, so that several are rounded at once.
#[inline]
pub(super) fn rounded_below(elapsed_ns: f64) -> u64 {
    let even = (elapsed_ns + WHOLE) - WHOLE;
    let up = if elapsed_ns - even >= 0.5 { 1.0 } else { 0.0 };
    (even + up + WHOLE).to_bits() - WHOLE.to_bits()
}

/// Iterations that follow a [`Line`], some of which may have passed.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Course {
    line: Line,
    /// Time until the first of the line, not rounded.
    before_ns: f64,
    passed: u32,
}

impl Course {
    pub(super) const fn new(line: Line, before_ns: f64) -> Self {
        Self { line, before_ns, passed: 0 }
    }

    /// Iterations left.
    pub(super) const fn left(&self) -> u32 {
        self.line.count - self.passed
    }

    /// The same once so many more have passed.
    pub(super) const fn after(self, more: u32) -> Self {
        Self { passed: self.passed + more, ..self }
    }

    /// When so many more have ended. It says the same, to the bit, however many of them have passed.
    #[inline]
    pub(super) fn elapsed_ns(&self, more: u32) -> f64 {
        let iterations = i64::from(self.passed) + i64::from(more);
        // Pairs of iterations: each is longer by as many times the growth as there were before it.
        let pairs = (iterations * (iterations - 1) / 2) as f64;
        self.before_ns + (iterations as f64 * self.line.first_ns + pairs * self.line.growth_ns)
    }

    /// The same rounded.
    #[inline]
    pub(super) fn end_ns(&self, more: u32) -> u64 {
        rounded(self.elapsed_ns(more))
    }

    /// How many of those after the first take no more than so long, but for rounding.
    fn first_longer(&self, most_ns: f64) -> u32 {
        let longer_ns = most_ns - self.line.first_ns - f64::from(self.passed) * self.line.growth_ns;
        (longer_ns / self.line.growth_ns).clamp(0.0, f64::from(u32::MAX)) as u32
    }

    /// Whether iterations, between rounded ends, are sure not to become shorter: two ends are rounded by up to a half each, of two iterations by up to two.
    pub(super) fn ascends(&self) -> bool {
        self.line.growth_ns >= 3.0
    }
}

/// How long iterations took, each from when the one before it ended.
#[derive(Clone, Copy, Debug)]
pub struct Steps<'a>(Kind<'a>);

#[derive(Clone, Copy, Debug)]
enum Kind<'a> {
    Each(&'a [u64]),
    /// So many after the first of a line, none of them shorter than the one before it.
    Ascending(Course, u32),
}

impl<'a> Steps<'a> {
    /// Of which nothing is known but each.
    pub const fn each(latencies_ns: &'a [u64]) -> Self {
        Self(Kind::Each(latencies_ns))
    }

    /// So many after the first of a line that ascends.
    pub(super) const fn ascending(course: Course, count: u32) -> Self {
        Self(Kind::Ascending(course, count))
    }

    /// How many.
    pub const fn len(&self) -> u32 {
        match self.0 {
            Kind::Each(latencies_ns) => latencies_ns.len() as u32,
            Kind::Ascending(_, count) => count,
        }
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Nanoseconds of one; the first is 0.
    #[inline]
    pub fn latency_ns(&self, at: u32) -> u64 {
        match self.0 {
            Kind::Each(latencies_ns) => latencies_ns[at as usize],
            Kind::Ascending(course, _) => course.end_ns(at + 2) - course.end_ns(at + 1),
        }
    }

    /// Nanoseconds of all.
    pub fn sum_ns(&self) -> u64 {
        match self.0 {
            Kind::Each(latencies_ns) => latencies_ns.iter().sum(),
            Kind::Ascending(course, count) => course.end_ns(count + 1) - course.end_ns(1),
        }
    }

    /// Each of them, where they need not ascend.
    pub(crate) const fn unordered(&self) -> Option<&'a [u64]> {
        match self.0 {
            Kind::Each(latencies_ns) => Some(latencies_ns),
            Kind::Ascending(..) => None,
        }
    }

    /// Where they ascend: the first, from one on that takes no longer, that takes longer than so long, and how long; if none does, how many there are and
    /// how long the last takes.
    pub(crate) fn first_longer(&self, from: u32, most_ns: u64) -> (u32, u64) {
        let Kind::Ascending(course, count) = self.0 else { return (0, 0) };
        // Rounding moves the place that the line says by one or so.
        let mut at = course.first_longer(most_ns as f64).clamp(from + 1, count);
        let mut end_ns = course.end_ns(at + 1);
        let mut before_ns = end_ns - course.end_ns(at);
        while before_ns > most_ns && at > from + 1 {
            at -= 1;
            end_ns -= before_ns;
            before_ns = end_ns - course.end_ns(at);
        }
        while at < count {
            let next_ns = course.end_ns(at + 2);
            before_ns = next_ns - end_ns;
            if before_ns > most_ns {
                break;
            }
            (at, end_ns) = (at + 1, next_ns);
        }
        (at, before_ns)
    }
}
