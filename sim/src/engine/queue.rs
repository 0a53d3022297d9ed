//! The event queue: total order, cancellation, monotone time.

use crate::engine::Time;
use crate::engine::wheel::{Entry, Wheel};

/// Bits of a rank below the class. At 20 million events a second they last over a century.
const SEQUENCE_BITS: u32 = 56;
const SEQUENCE_MASK: u64 = (1 << SEQUENCE_BITS) - 1;

/// The slot of an entry that cannot be cancelled.
const NO_SLOT: u32 = u32::MAX;
/// What a free slot holds: no event has this sequence number.
const FREE: u64 = u64::MAX;

/// Cancelled entries below this number are not worth a compaction.
const STALE_MIN: usize = 1024;

/// What orders events at the same instant before the order in which they were scheduled.
pub trait Classed {
    /// Lower goes first. Must not change while the event is pending.
    fn class(&self) -> u8;
}

/// Names one cancellable event for ever: the generation is the event's sequence number, which no other event gets.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct EventHandle {
    slot: u32,
    generation: u64,
}

/// Pending events in the order (time, class, sequence), where the sequence is the order of scheduling.
///
/// Scheduling and popping cost O(1) amortised at any number pending (a timing wheel), save for more than a handful of
/// events at one instant, which cost a sort. An event moves in memory a few times before it is popped: keep it within
/// 32 bytes. Memory follows the largest number of live events; cancelled ones are swept out when they outnumber them.
#[derive(Debug)]
pub struct EventQueue<E> {
    wheel: Wheel<E>,
    now: Time,
    next_sequence: u64,
    /// The generation of the event that holds each slot, or `FREE`.
    slots: Vec<u64>,
    free_slots: Vec<u32>,
    live: usize,
    /// Cancelled entries still in the wheel.
    stale: usize,
}

impl<E: Classed> EventQueue<E> {
    /// An empty queue at time zero.
    pub const fn new() -> Self {
        Self {
            wheel: Wheel::new(),
            now: Time::ZERO,
            next_sequence: 0,
            slots: Vec::new(),
            free_slots: Vec::new(),
            live: 0,
            stale: 0,
        }
    }

    /// The time of the last event popped; nothing can be scheduled before it.
    pub const fn now(&self) -> Time {
        self.now
    }

    /// Number of events that are still to happen (cancelled ones do not count).
    pub const fn len(&self) -> usize {
        self.live
    }

    /// Whether nothing is still to happen.
    pub const fn is_empty(&self) -> bool {
        self.live == 0
    }

    /// Schedules an event that will happen for certain.
    ///
    /// # Panics
    /// If `time` is in the past.
    pub fn schedule(&mut self, time: Time, event: E) {
        self.push(time, event, NO_SLOT);
    }

    /// Schedules an event that may be cancelled.
    ///
    /// # Panics
    /// If `time` is in the past.
    pub fn schedule_cancellable(&mut self, time: Time, event: E) -> EventHandle {
        let generation = self.next_sequence;
        let slot = if let Some(slot) = self.free_slots.pop() {
            self.slots[slot as usize] = generation;
            slot
        } else {
            let slot = u32::try_from(self.slots.len()).unwrap_or(NO_SLOT);
            assert!(slot != NO_SLOT, "more than 2^32 - 1 cancellable events pending");
            self.slots.push(generation);
            slot
        };
        self.push(time, event, slot);
        EventHandle { slot, generation }
    }

    /// Cancels an event; false if it has happened or was cancelled before.
    pub fn cancel(&mut self, handle: EventHandle) -> bool {
        if self.slots.get(handle.slot as usize) != Some(&handle.generation) {
            return false;
        }
        self.release(handle.slot);
        self.live -= 1;
        self.stale += 1;
        // One sweep for at least as many cancellations as entries survive it: constant cost each.
        if self.stale > self.live.max(STALE_MIN) {
            let slots = &self.slots;
            self.wheel.retain(|entry| is_live(slots, entry));
            self.stale = 0;
        }
        true
    }

    /// Takes the next event and moves time to it.
    pub fn pop(&mut self) -> Option<(Time, E)> {
        self.pop_through(Time::MAX)
    }

    /// Takes the next event unless it is later than `limit`.
    pub fn pop_through(&mut self, limit: Time) -> Option<(Time, E)> {
        while let Some(entry) = self.wheel.pop_through(limit.as_nanos()) {
            if entry.slot != NO_SLOT {
                if !is_live(&self.slots, &entry) {
                    self.stale -= 1;
                    continue;
                }
                self.release(entry.slot);
            }
            let time = Time::from_nanos(entry.time);
            assert!(time >= self.now, "event queue went back in time: popped {time:?} at {:?}", self.now);
            self.now = time;
            self.live -= 1;
            return Some((time, entry.event));
        }
        None
    }

    fn push(&mut self, time: Time, event: E, slot: u32) {
        assert!(time >= self.now, "scheduled into the past: {time:?} at {:?}", self.now);
        let rank = u64::from(event.class()) << SEQUENCE_BITS | self.next_sequence;
        self.next_sequence += 1;
        self.live += 1;
        self.wheel.push(Entry { time: time.as_nanos(), rank, slot, event });
    }

    fn release(&mut self, slot: u32) {
        self.slots[slot as usize] = FREE;
        self.free_slots.push(slot);
    }
}

impl<E: Classed> Default for EventQueue<E> {
    fn default() -> Self {
        Self::new()
    }
}

fn is_live<E>(slots: &[u64], entry: &Entry<E>) -> bool {
    entry.slot == NO_SLOT || slots[entry.slot as usize] == entry.rank & SEQUENCE_MASK
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
    struct Event {
        class: u8,
        id: usize,
    }

    impl Classed for Event {
        fn class(&self) -> u8 {
            self.class
        }
    }

    fn at(nanos: u64) -> Time {
        Time::from_nanos(nanos)
    }

    fn event(class: u8, id: usize) -> Event {
        Event { class, id }
    }

    fn drain(queue: &mut EventQueue<Event>) -> Vec<usize> {
        std::iter::from_fn(|| queue.pop()).map(|(_, event)| event.id).collect()
    }

    #[track_caller]
    fn check_order(scheduled: &[(u64, u8)], expected: &[usize]) {
        let mut queue = EventQueue::new();
        for (id, &(nanos, class)) in scheduled.iter().enumerate() {
            queue.schedule(at(nanos), event(class, id));
        }
        assert_eq!(drain(&mut queue), expected);
    }

    #[test]
    fn order_is_time_then_class_then_first_scheduled() {
        check_order(&[(5, 0), (3, 0), (4, 0)], &[1, 2, 0]);
        check_order(&[(7, 2), (7, 255), (7, 0), (7, 1)], &[2, 3, 0, 1]);
        check_order(&[(7, 1), (7, 1), (7, 1)], &[0, 1, 2]);
        check_order(&[(u64::MAX, 0), (0, 255), (u64::MAX - 1, 0)], &[1, 2, 0]);
    }

    #[test]
    fn a_burst_at_one_instant_is_first_in_first_out() {
        let mut queue = EventQueue::new();
        for id in 0..5000 {
            queue.schedule(at(1 << 40), event(1, id));
        }
        assert_eq!(queue.pop(), Some((at(1 << 40), event(1, 0))));
        queue.schedule(queue.now(), event(1, 5000));
        queue.schedule(queue.now(), event(0, 5001));
        assert_eq!(drain(&mut queue), [5001].into_iter().chain(1..=5000).collect::<Vec<_>>());
    }

    fn panic_message(action: impl FnOnce()) -> String {
        let panic = catch_unwind(AssertUnwindSafe(action)).expect_err("this must be refused");
        panic.downcast_ref::<String>().cloned().unwrap_or_default()
    }

    #[test]
    fn the_past_cannot_be_scheduled() {
        let mut queue = EventQueue::new();
        queue.schedule(Time::from_s(10.0), event(0, 0));
        queue.pop();
        queue.schedule(Time::from_s(10.0), event(0, 1));
        let message = panic_message(|| queue.schedule(Time::from_s(9.0), event(0, 2)));
        assert_eq!(message, "scheduled into the past: 9s at 10s");
        let message = panic_message(|| {
            queue.schedule_cancellable(Time::from_s(9.0), event(0, 2));
        });
        assert_eq!(message, "scheduled into the past: 9s at 10s");
        assert_eq!((queue.len(), drain(&mut queue)), (1, vec![1]), "a refused event leaves nothing behind");
    }

    #[test]
    fn time_cannot_go_back_on_pop() {
        let mut queue = EventQueue::new();
        queue.schedule(Time::from_s(10.0), event(0, 0));
        queue.now = Time::from_s(11.0);
        let message = panic_message(|| {
            queue.pop();
        });
        assert_eq!(message, "event queue went back in time: popped 10s at 11s");
    }

    #[test]
    fn an_event_is_cancelled_once_and_only_while_pending() {
        let mut queue = EventQueue::new();
        let cancelled = queue.schedule_cancellable(at(1), event(0, 0));
        let popped = queue.schedule_cancellable(at(2), event(0, 1));
        assert!(queue.cancel(cancelled));
        assert!(!queue.cancel(cancelled));
        assert_eq!(queue.len(), 1);
        assert_eq!(queue.pop(), Some((at(2), event(0, 1))));
        assert!(!queue.cancel(popped));
        assert!(queue.is_empty());
    }

    #[test]
    fn a_reused_slot_does_not_obey_an_old_handle() {
        let mut queue = EventQueue::new();
        let old = queue.schedule_cancellable(at(1), event(0, 0));
        queue.cancel(old);
        let new = queue.schedule_cancellable(at(1), event(0, 1));
        assert_eq!(new.slot, old.slot);
        assert!(!queue.cancel(old));
        assert_eq!(drain(&mut queue), [1]);
    }

    /// The look beyond the limit has already spread the far events over two levels: what is scheduled before them must
    /// not disturb that.
    #[test]
    fn a_limit_leaves_what_is_later() {
        let mut queue = EventQueue::new();
        for id in 1..64 {
            queue.schedule(at((1 << 54) + (id << 48)), event(0, id as usize));
        }
        assert_eq!(queue.pop_through(at((1 << 54) - 1)), None);
        assert_eq!((queue.now(), queue.len()), (Time::ZERO, 63));
        for id in 64..1000 {
            queue.schedule(at(id), event(0, id as usize));
        }
        assert_eq!(queue.pop_through(at(64)), Some((at(64), event(0, 64))));
        assert_eq!(drain(&mut queue), (65..1000).chain(1..64).collect::<Vec<_>>());
    }

    #[test]
    fn memory_stays_bounded_when_everything_is_cancelled() {
        let mut queue = EventQueue::new();
        let far = 1 << 60;
        for round in 0..1000 {
            let handles: Vec<_> = (0..1000)
                .map(|id| queue.schedule_cancellable(at(far + (round << 20)), event(0, id)))
                .collect();
            assert!(handles.into_iter().all(|handle| queue.cancel(handle)));
        }
        assert!(queue.slots.len() <= 1000, "slots: {}", queue.slots.len());
        let room = queue.wheel.entries_room();
        assert!(room <= 8 * 1024, "room for {room} entries");
        assert_eq!(queue.pop(), None);
        queue.schedule(at(3), event(0, 7));
        assert_eq!(drain(&mut queue), [7]);
    }

    #[derive(Clone, Debug)]
    enum Step {
        /// `delay` after now.
        Schedule {
            delay: u64,
            class: u8,
            cancellable: bool,
        },
        /// The handle at this fraction of all handles ever given.
        Cancel(prop::sample::Index),
        Pop,
        PopThrough {
            delay: u64,
        },
        /// Several at one delay, to fill chunks and make current buckets overflow.
        Burst {
            delay: u64,
            count: usize,
        },
    }

    /// Every magnitude is as likely as any other.
    fn delay() -> impl Strategy<Value = u64> {
        (any::<u64>(), 0..64_u32).prop_map(|(bits, shift)| bits >> shift >> 1)
    }

    fn step() -> impl Strategy<Value = Step> {
        let schedule = (delay(), 0..4_u8, any::<bool>())
            .prop_map(|(delay, class, cancellable)| Step::Schedule { delay, class, cancellable });
        prop_oneof![
            8 => schedule,
            4 => any::<prop::sample::Index>().prop_map(Step::Cancel),
            6 => Just(Step::Pop),
            1 => delay().prop_map(|delay| Step::PopThrough { delay }),
            1 => (delay(), 1..300_usize).prop_map(|(delay, count)| Step::Burst { delay, count }),
        ]
    }

    /// A sorted set and no cleverness.
    #[derive(Default)]
    struct Oracle {
        pending: BTreeSet<(Time, u8, usize)>,
        now: Time,
    }

    impl Oracle {
        fn pop_through(&mut self, limit: Time) -> Option<(Time, Event)> {
            let (time, class, id) = *self.pending.first().filter(|key| key.0 <= limit)?;
            self.pending.pop_first();
            self.now = time;
            Some((time, event(class, id)))
        }
    }

    fn follow(steps: Vec<Step>) -> Result<(), TestCaseError> {
        let mut queue = EventQueue::new();
        let mut oracle = Oracle::default();
        let mut handles = Vec::new();
        let mut next_id = 0;
        for step in steps {
            match step {
                Step::Schedule { delay, class, cancellable } => {
                    let time = oracle.now + at(delay);
                    if cancellable {
                        let handle = queue.schedule_cancellable(time, event(class, next_id));
                        handles.push((handle, (time, class, next_id)));
                    } else {
                        queue.schedule(time, event(class, next_id));
                    }
                    oracle.pending.insert((time, class, next_id));
                    next_id += 1;
                }
                Step::Burst { delay, count } => {
                    for offset in 0..count as u64 {
                        let time = oracle.now + at(delay) + at(offset % 3 * (delay >> 4));
                        queue.schedule(time, event(0, next_id));
                        oracle.pending.insert((time, 0, next_id));
                        next_id += 1;
                    }
                }
                Step::Cancel(index) if !handles.is_empty() => {
                    let (handle, key) = handles[index.index(handles.len())];
                    prop_assert_eq!(queue.cancel(handle), oracle.pending.remove(&key));
                }
                Step::Cancel(_) => {}
                Step::Pop => prop_assert_eq!(queue.pop(), oracle.pop_through(Time::MAX)),
                Step::PopThrough { delay } => {
                    let limit = oracle.now + at(delay);
                    prop_assert_eq!(queue.pop_through(limit), oracle.pop_through(limit));
                }
            }
            prop_assert_eq!((queue.len(), queue.now()), (oracle.pending.len(), oracle.now));
        }
        while let Some(expected) = oracle.pop_through(Time::MAX) {
            prop_assert_eq!(queue.pop(), Some(expected));
        }
        prop_assert_eq!(queue.pop(), None);
        Ok(())
    }

    proptest! {
        #[test]
        fn order_equals_a_sorted_set(steps in prop::collection::vec(step(), 0..400)) {
            follow(steps)?;
        }
    }
}
