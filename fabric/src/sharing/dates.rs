//! When things happen: a heap of dates whose entries can be moved.

/// No date.
pub(super) const NEVER: u64 = u64::MAX;

const ABSENT: u32 = u32::MAX;

/// A date for each of a dense set of slots. The earliest comes first; at one date, the lowest slot.
#[derive(Clone, Default, Debug)]
pub(super) struct Dates {
    heap: Vec<(u64, u32)>,
    /// By slot, where it stands in the heap.
    position: Vec<u32>,
}

impl Dates {
    /// The earliest date, if anything is dated.
    pub(super) fn first(&self) -> Option<(u64, u32)> {
        self.heap.first().copied()
    }

    /// Gives a slot a date, or none with `NEVER`.
    pub(super) fn set(&mut self, slot: u32, date: u64) {
        if self.position.len() <= slot as usize {
            self.position.resize(slot as usize + 1, ABSENT);
        }
        let mut at = self.position[slot as usize] as usize;
        if date == NEVER {
            if at != ABSENT as usize {
                self.take_out(at);
            }
            return;
        }
        if at == ABSENT as usize {
            at = self.heap.len();
            self.heap.push((date, slot));
        }
        self.heap[at].0 = date;
        self.place(at);
    }

    fn take_out(&mut self, at: usize) {
        let (_, slot) = self.heap.swap_remove(at);
        self.position[slot as usize] = ABSENT;
        if at < self.heap.len() {
            self.place(at);
        }
    }

    /// Moves what stands there to where it belongs.
    fn place(&mut self, mut at: usize) {
        let item = self.heap[at];
        while at > 0 && item < self.heap[(at - 1) / 4] {
            self.put(at, self.heap[(at - 1) / 4]);
            at = (at - 1) / 4;
        }
        loop {
            let children = 4 * at + 1..(4 * at + 5).min(self.heap.len());
            match children.min_by_key(|&child| self.heap[child]) {
                Some(child) if self.heap[child] < item => {
                    self.put(at, self.heap[child]);
                    at = child;
                }
                _ => break,
            }
        }
        self.put(at, item);
    }

    fn put(&mut self, at: usize, item: (u64, u32)) {
        self.heap[at] = item;
        self.position[item.1 as usize] = at as u32;
    }
}

#[cfg(test)]
mod tests {
    use super::{Dates, NEVER};

    #[test]
    fn the_earliest_comes_first_however_often_dates_move() {
        let mut dates = Dates::default();
        let mut expected = vec![NEVER; 50];
        let mut random = 1_u64;
        for _ in 0..20_000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let slot = (random >> 33) % 50;
            let date = if random >> 60 < 4 { NEVER } else { (random >> 40) % 100 };
            dates.set(slot as u32, date);
            expected[slot as usize] = date;
            let first = expected.iter().zip(0..).filter(|(date, _)| **date != NEVER).min();
            assert_eq!(dates.first(), first.map(|(&date, slot)| (date, slot)));
        }
    }
}
