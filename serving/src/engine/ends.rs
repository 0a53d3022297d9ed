//! When the iterations of a batch end.

use super::steps::{Course, Steps, WHOLE, rounded, rounded_below};
use crate::batch::Line;

/// From each of ascending instants to the next, rounded before.
fn differences(elapsed_ns: &[f64], differences_ns: &mut Vec<u64>) {
    let Some((&last, before)) = elapsed_ns.split_last() else { return };
    let pairs = elapsed_ns[1..].iter().zip(before);
    if last < WHOLE {
        differences_ns.extend(pairs.map(|(&end, &before)| rounded_below(end) - rounded_below(before)));
    } else {
        differences_ns.extend(pairs.map(|(&end, &before)| rounded(end) - rounded(before)));
    }
}

/// When the iterations of a batch end.
#[derive(Clone, Default, Debug)]
pub(super) struct Ends {
    /// From when they are counted.
    origin_ns: u64,
    count: u32,
    /// When the last ends: asked for again and again.
    last_end_ns: u64,
    /// How they follow, where the law says so.
    course: Option<Course>,
    /// Else the time of each from the origin, not rounded.
    each_ns: Vec<f64>,
}

/// Where sequences that decode and are still the same have come to.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Reached {
    origin_ns: u64,
    /// How long they have, not rounded.
    elapsed_ns: f64,
    /// The line that they follow.
    course: Option<Course>,
}

impl Reached {
    /// The beginning.
    pub(super) const fn origin(origin_ns: u64) -> Self {
        Self { origin_ns, elapsed_ns: 0.0, course: None }
    }
}

/// How many iterations there may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Until {
    /// As many at most.
    pub(super) most: u32,
    /// Or until one ends after this instant.
    pub(super) instant_ns: u64,
}

/// Iterations that are summed at once.
const AT_ONCE: u32 = 64;

impl Ends {
    pub(super) fn clear(&mut self) {
        self.count = 0;
        self.course = None;
        self.each_ns.clear();
    }

    /// One iteration that takes so long from an instant on.
    pub(super) fn one(&mut self, now_ns: u64, step_ns: f64) {
        self.origin_ns = now_ns;
        self.each_ns.push(step_ns);
        self.end_with(1);
    }

    /// Lets there be so many.
    fn end_with(&mut self, count: u32) {
        self.count = count;
        self.last_end_ns = self.end_ns(count - 1);
    }

    /// Iterations one after another, from where sequences have come to: along a line, where `line` says one, else as long as `step_ns` says of each from 0 on.
    #[inline]
    pub(super) fn follow(
        &mut self,
        from: Reached,
        until: Until,
        line: impl FnOnce() -> Option<Line>,
        step_ns: impl Fn(u32) -> f64,
    ) {
        let origin_ns = from.origin_ns;
        self.origin_ns = origin_ns;
        let until_ns = match until.instant_ns {
            u64::MAX => f64::INFINITY,
            instant_ns => instant_ns.saturating_sub(origin_ns) as f64,
        };
        let going_on = from.course.filter(|course| course.left() > 0);
        self.course = going_on.or_else(|| line().map(|line| Course::new(line, from.elapsed_ns)));
        if let Some(course) = self.course {
            let mut count = until.most.min(course.left());
            if until_ns < f64::INFINITY && course.elapsed_ns(count) > until_ns {
                count = first(1, count, |count| course.elapsed_ns(count) > until_ns);
            }
            self.end_with(count);
            return;
        }
        let mut elapsed_ns = from.elapsed_ns;
        let mut known = 0;
        while known < until.most {
            let next = (known + AT_ONCE).min(until.most);
            self.each_ns.extend((known..next).map(|iteration| {
                elapsed_ns += step_ns(iteration);
                elapsed_ns
            }));
            if elapsed_ns > until_ns {
                let before = self.each_ns[known as usize..].partition_point(|&end_ns| end_ns <= until_ns);
                let count = known + before as u32 + 1;
                self.each_ns.truncate(count as usize);
                self.end_with(count);
                return;
            }
            known = next;
        }
        self.end_with(until.most);
    }

    /// How many iterations.
    #[inline]
    pub(super) const fn count(&self) -> u32 {
        self.count
    }

    /// Time from the origin until an iteration ends, not rounded; the first is 0.
    #[inline]
    fn elapsed_ns(&self, iteration: u32) -> f64 {
        match &self.course {
            Some(course) => course.elapsed_ns(iteration + 1),
            None => self.each_ns[iteration as usize],
        }
    }

    /// When an iteration ends; the first is 0.
    #[inline]
    pub(super) fn end_ns(&self, iteration: u32) -> u64 {
        self.origin_ns + rounded(self.elapsed_ns(iteration))
    }

    /// When the last ends.
    #[inline]
    pub(super) const fn last_end_ns(&self) -> u64 {
        self.last_end_ns
    }

    /// Lets the one that is under way be the last.
    pub(super) fn cut(&mut self, now_ns: u64) {
        let last = first(0, self.count - 1, |iteration| self.end_ns(iteration) > now_ns);
        if self.course.is_none() {
            self.each_ns.truncate(last as usize + 1);
        }
        self.end_with(last + 1);
    }

    /// Where those that decode have come to once all are done.
    pub(super) fn reached(&self) -> Reached {
        let course = self.course.map(|course| course.after(self.count));
        Reached { origin_ns: self.origin_ns, elapsed_ns: self.elapsed_ns(self.count - 1), course }
    }

    /// How long each took after the first; `kept_ns` has room for them.
    pub(super) fn steps<'a>(&self, kept_ns: &'a mut Vec<u64>) -> Steps<'a> {
        kept_ns.clear();
        match self.course {
            Some(course) if course.ascends() => return Steps::ascending(course, self.count - 1),
            Some(course) => {
                let mut before_ns = course.end_ns(1);
                kept_ns.extend((2..=self.count).map(|more| {
                    let end_ns = course.end_ns(more);
                    end_ns - std::mem::replace(&mut before_ns, end_ns)
                }));
            }
            None => differences(&self.each_ns, kept_ns),
        }
        Steps::each(kept_ns)
    }
}

/// The first from `from` on for which something is true that is true from some on; `last` if it is for none before that.
#[inline]
fn first(from: u32, last: u32, is_true: impl Fn(u32) -> bool) -> u32 {
    let (mut from, mut last) = (from, last);
    while from < last {
        let middle = from + (last - from) / 2;
        if is_true(middle) {
            last = middle;
        } else {
            from = middle + 1;
        }
    }
    from
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_is_that_of_numbers() {
        let check =
            |elapsed_ns: f64| assert_eq!(rounded(elapsed_ns), elapsed_ns.round() as u64, "{elapsed_ns}");
        for whole in
            [0.0, 1.0, 2.0, 3.0, 1e6, 12_345_677.0, 1e12, WHOLE / 2.0 - 1.0, WHOLE - 1.0, WHOLE, 4.0 * WHOLE]
        {
            for part in [0.0, 0.25, 0.499_999_9, 0.5, 0.500_000_1, 0.75] {
                check(whole + part);
            }
        }
        check(0.5_f64.next_down());
        let mut found = Vec::new();
        differences(&[0.5, 1.5, 1.5, 2.25, 1e6 + 0.5], &mut found);
        assert_eq!(found, [1, 0, 0, 999_999]);
        differences(&[WHOLE, WHOLE + 2.0], &mut found);
        assert_eq!(found.last(), Some(&2));
    }
}
