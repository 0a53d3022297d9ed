//! The calendar queue (Brown, CACM 1988): days of equal width, one sorted list per day, years that wrap around.

use foretell_sim::engine::Classed;

use crate::heaps::{key, time_of};
use crate::{Payload, PendingSet};

/// Events from which the width of a day is estimated, as in the paper.
const SAMPLE: usize = 25;

#[derive(Default)]
pub(crate) struct CalendarQueue {
    /// Each latest first, so that the next event is at the end.
    days: Vec<Vec<(u128, Payload)>>,
    /// A day is 2^`width_bits` nanoseconds.
    width_bits: u32,
    /// The day that is being emptied, counted from time zero.
    today: u64,
    len: usize,
    sequence: u64,
}

impl CalendarQueue {
    fn insert(&mut self, item: (u128, Payload)) {
        let day = (time_of(item.0) >> self.width_bits) as usize & (self.days.len() - 1);
        let list = &mut self.days[day];
        let place = list.iter().rposition(|other| other.0 > item.0).map_or(0, |index| index + 1);
        list.insert(place, item);
    }

    fn take(&mut self) -> Option<(u128, Payload)> {
        if self.len == 0 {
            return None;
        }
        self.len -= 1;
        let mask = self.days.len() - 1;
        for _ in 0..self.days.len() {
            let today = self.today;
            let width_bits = self.width_bits;
            let due = self.days[today as usize & mask].pop_if(|item| time_of(item.0) >> width_bits == today);
            if due.is_some() {
                return due;
            }
            self.today += 1;
        }
        // Nothing for a year: go to the earliest event directly.
        let day = (0..self.days.len())
            .filter(|&day| !self.days[day].is_empty())
            .min_by_key(|&day| self.days[day].last().map(|item| item.0))?;
        let item = self.days[day].pop()?;
        self.today = time_of(item.0) >> self.width_bits;
        Some(item)
    }

    /// Twice or half as many days, of about three times the mean gap between the next events.
    fn resize(&mut self, days: usize) {
        let now = self.today << self.width_bits;
        let len = self.len;
        let sample: Vec<_> = (0..SAMPLE.min(len)).filter_map(|_| self.take()).collect();
        self.len = len;
        let gaps: Vec<u64> = sample.windows(2).map(|pair| time_of(pair[1].0) - time_of(pair[0].0)).collect();
        let mean = gaps.iter().sum::<u64>() / (gaps.len() as u64).max(1);
        let typical: Vec<u64> = gaps.into_iter().filter(|&gap| gap <= 2 * mean).collect();
        let width = 3 * typical.iter().sum::<u64>() / (typical.len() as u64).max(1);
        let items: Vec<_> = self.days.drain(..).flatten().chain(sample).collect();
        self.width_bits = width.max(1).ilog2();
        self.today = now >> self.width_bits;
        self.days.resize_with(days, Vec::new);
        for item in items {
            self.insert(item);
        }
    }
}

impl PendingSet for CalendarQueue {
    fn schedule(&mut self, time: u64, payload: Payload) {
        if self.days.is_empty() {
            self.days.resize_with(2, Vec::new);
        }
        self.sequence += 1;
        self.insert((key(time, payload.class(), self.sequence), payload));
        self.len += 1;
        // `today` may have run ahead over empty days.
        self.today = self.today.min(time >> self.width_bits);
        if self.len > 2 * self.days.len() {
            self.resize(2 * self.days.len());
        }
    }

    fn pop(&mut self) -> Option<(u64, Payload)> {
        let (key, payload) = self.take()?;
        if self.days.len() > 2 && self.len < self.days.len() / 2 {
            self.resize(self.days.len() / 2);
        }
        Some((time_of(key), payload))
    }
}
