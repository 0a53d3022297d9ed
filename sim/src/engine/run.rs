//! The run loop.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::Instant;

use crate::engine::{Budget, BudgetError, Classed, EventQueue, Time};

/// Events between two looks at the wall clock and two reports of progress: about 0.1 ms of light events, so that both
/// cost nothing, and still about a second when an event is a whole scheduling cycle of a millisecond.
pub const CHECK_EVENTS: u64 = 1024;

/// How many of the events at an instant that seems to have no end are told apart: more than any circle is long.
const LAST_EVENTS: u64 = 10_000;

/// What the engine drives: state that changes only when an event is handled.
pub trait Model {
    /// All that can happen: one closed enum.
    type Event: Classed;

    /// Handles one event at `now`, scheduling what follows from it. `Break` ends the run after this event.
    fn handle(
        &mut self,
        now: Time,
        event: Self::Event,
        queue: &mut EventQueue<Self::Event>,
    ) -> ControlFlow<()>;

    /// What an event that is about to be handled is, and whom it concerns, in words for an error.
    fn describe(&self, event: &Self::Event) -> String;
}

/// Why a run ended within its budget.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// Nothing is left to happen.
    Drained,
    /// The model broke off.
    Stopped,
}

/// How far a run has come, for a progress display.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Progress {
    /// Events handled by this call of [`run`].
    pub events: u64,
    /// Time of the last of them.
    pub simulated: Time,
    /// Events pending.
    pub pending: usize,
}

/// What a run came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RunStats {
    /// Events handled by this call of [`run`].
    pub events: u64,
    /// Time of the last of them.
    pub simulated: Time,
    /// Why it ended.
    pub end: End,
}

/// Handles events in order until none is left, the model breaks off, or a budget runs out. `progress` is called every
/// [`CHECK_EVENTS`] events.
pub fn run<M: Model>(
    model: &mut M,
    queue: &mut EventQueue<M::Event>,
    budget: &Budget,
    progress: &mut dyn FnMut(Progress),
) -> Result<RunStats, BudgetError> {
    let deadline = budget.wall.map(|limit| (limit, Instant::now()));
    let events_max = budget.events.unwrap_or(u64::MAX);
    let time_max = budget.simulated.unwrap_or(Time::MAX);
    let pending_max = budget.pending.unwrap_or(usize::MAX);
    let instant_max = budget.instant.unwrap_or(u64::MAX);
    let noted_from = instant_max.saturating_sub(LAST_EVENTS);
    let mut events = 0;
    let mut instant = Instantaneous::default();
    loop {
        let next_check = events_max.min(events + CHECK_EVENTS);
        while events < next_check {
            let Some((now, event)) = queue.pop_through(time_max) else {
                let simulated = queue.now();
                return if queue.is_empty() {
                    Ok(RunStats { events, simulated, end: End::Drained })
                } else {
                    Err(BudgetError::Simulated { limit: time_max, events, simulated })
                };
            };
            if instant.time != now {
                instant = Instantaneous { time: now, ..Instantaneous::default() };
            }
            instant.events += 1;
            if instant.events > noted_from {
                *instant.kinds.entry(model.describe(&event)).or_default() += 1;
            }
            events += 1;
            if model.handle(now, event, queue).is_break() {
                return Ok(RunStats { events, simulated: now, end: End::Stopped });
            }
            let pending = queue.len();
            if pending > pending_max {
                return Err(BudgetError::Pending { limit: pending_max, pending, events, simulated: now });
            }
            if instant.events > instant_max {
                return Err(BudgetError::Instant {
                    limit: instant_max,
                    simulated: now,
                    went_round: instant.went_round(),
                });
            }
        }
        let simulated = queue.now();
        progress(Progress { events, simulated, pending: queue.len() });
        if queue.is_empty() {
            return Ok(RunStats { events, simulated, end: End::Drained });
        }
        if events == events_max {
            return Err(BudgetError::Events { limit: events_max, simulated });
        }
        if let Some((limit, start)) = deadline
            && start.elapsed() >= limit
        {
            return Err(BudgetError::Wall { limit, events, simulated });
        }
    }
}

/// What happened at the latest instant.
#[derive(Default)]
struct Instantaneous {
    time: Time,
    events: u64,
    /// What the last of them were, where it seems that there is no end to them.
    kinds: BTreeMap<String, u64>,
}

impl Instantaneous {
    fn went_round(self) -> Vec<(String, u64)> {
        let mut kinds: Vec<_> = self.kinds.into_iter().collect();
        kinds.sort_by_key(|&(_, times)| std::cmp::Reverse(times));
        kinds
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[derive(Clone, Copy, PartialEq)]
    enum Tick {
        /// Followed by others a second later.
        Clock,
        /// By itself at once.
        Echo(u8),
    }

    impl Classed for Tick {
        fn class(&self) -> u8 {
            0
        }
    }

    /// Every tick schedules `offspring` more, a second later, until `stop_at`.
    struct Clockwork {
        offspring: usize,
        stop_at: Option<u64>,
        handled: u64,
    }

    impl Model for Clockwork {
        type Event = Tick;

        fn describe(&self, event: &Tick) -> String {
            match event {
                Tick::Clock => "a clock".to_owned(),
                Tick::Echo(of) => format!("an echo of {of}"),
            }
        }

        fn handle(&mut self, now: Time, tick: Tick, queue: &mut EventQueue<Tick>) -> ControlFlow<()> {
            self.handled += 1;
            if let Tick::Echo(_) = tick {
                queue.schedule(now, tick);
                return ControlFlow::Continue(());
            }
            for _ in 0..self.offspring {
                queue.schedule(now + Time::from_nanos(SECOND), Tick::Clock);
            }
            if self.stop_at == Some(self.handled) {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        }
    }

    fn clockwork(offspring: usize) -> (Clockwork, EventQueue<Tick>) {
        let mut queue = EventQueue::new();
        queue.schedule(Time::ZERO, Tick::Clock);
        (Clockwork { offspring, stop_at: None, handled: 0 }, queue)
    }

    #[track_caller]
    fn check(offspring: usize, budget: Budget, expected: &BudgetError, text: &str) {
        let (mut model, mut queue) = clockwork(offspring);
        let error = run(&mut model, &mut queue, &budget, &mut |_| ()).unwrap_err();
        assert_eq!(error, *expected);
        assert_eq!(error.to_string(), text);
        assert!(!queue.is_empty(), "nothing is lost when a budget ends the run");
    }

    fn at_s(seconds: u64) -> Time {
        Time::from_nanos(seconds * SECOND)
    }

    #[test]
    fn each_budget_names_itself() {
        check(
            1,
            Budget { events: Some(5000), ..Budget::default() },
            &BudgetError::Events { limit: 5000, simulated: at_s(4999) },
            "event budget of 5000 used up at 4999.000 s simulated",
        );
        check(
            1,
            Budget { simulated: Some(Time::from_s(9.5)), ..Budget::default() },
            &BudgetError::Simulated { limit: Time::from_s(9.5), events: 10, simulated: at_s(9) },
            "simulated-time budget of 9.500 s used up after 10 events (at 9.000 s)",
        );
        check(
            1,
            Budget { wall: Some(Duration::ZERO), ..Budget::default() },
            &BudgetError::Wall { limit: Duration::ZERO, events: 1024, simulated: at_s(1023) },
            "wall-clock budget of 0.0 s used up after 1024 events at 1023.000 s simulated",
        );
        check(
            2,
            Budget { pending: Some(100), ..Budget::default() },
            &BudgetError::Pending { limit: 100, pending: 101, events: 100, simulated: at_s(6) },
            "pending-event budget of 100 exceeded after 100 events at 6.000 s simulated: 101 pending",
        );
    }

    #[test]
    fn what_goes_round_at_one_instant_is_named() {
        let (mut model, mut queue) = clockwork(1);
        (0..8).for_each(|of| queue.schedule(at_s(2), Tick::Echo(of)));
        let budget = Budget { instant: Some(20_000), ..Budget::default() };
        let error = run(&mut model, &mut queue, &budget, &mut |_| ()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "more than 20000 events at 2.000 s simulated without an end: of the last, 1251 were an echo of 7, 1250 an echo \
             of 0, 1250 an echo of 1, 1250 an echo of 2, 1250 an echo of 3, 1250 an echo of 4, 2500 others"
        );
        assert_eq!(queue.len(), 9, "nothing is lost");
    }

    #[test]
    fn a_burst_within_the_budget_is_no_circle() {
        let (mut model, mut queue) = clockwork(0);
        (0..9).for_each(|_| queue.schedule(at_s(1), Tick::Clock));
        let budget = Budget { instant: Some(9), ..Budget::default() };
        let stats = run(&mut model, &mut queue, &budget, &mut |_| ());
        assert_eq!(stats, Ok(RunStats { events: 10, simulated: at_s(1), end: End::Drained }));
        (0..10).for_each(|_| queue.schedule(at_s(2), Tick::Clock));
        let error = run(&mut model, &mut queue, &budget, &mut |_| ());
        let went_round = vec![("a clock".to_owned(), 10)];
        assert_eq!(error, Err(BudgetError::Instant { limit: 9, simulated: at_s(2), went_round }));
    }

    #[test]
    fn a_run_that_needs_exactly_its_budget_is_within_it() {
        let (mut model, mut queue) = clockwork(0);
        let budget =
            Budget { events: Some(1), simulated: Some(Time::ZERO), pending: Some(0), ..Budget::default() };
        let stats = run(&mut model, &mut queue, &budget, &mut |_| ());
        assert_eq!(stats, Ok(RunStats { events: 1, simulated: Time::ZERO, end: End::Drained }));
    }

    #[test]
    fn the_model_can_stop_and_a_run_can_go_on() {
        let (mut model, mut queue) = clockwork(1);
        model.stop_at = Some(3);
        let budget = Budget::default();
        let stats = run(&mut model, &mut queue, &budget, &mut |_| ());
        assert_eq!(stats, Ok(RunStats { events: 3, simulated: at_s(2), end: End::Stopped }));

        let budget = Budget { simulated: Some(at_s(10)), ..budget };
        let error = run(&mut model, &mut queue, &budget, &mut |_| ());
        assert_eq!(error, Err(BudgetError::Simulated { limit: at_s(10), events: 8, simulated: at_s(10) }));
        let budget = Budget { simulated: Some(at_s(11)), ..budget };
        let error = run(&mut model, &mut queue, &budget, &mut |_| ());
        assert_eq!(error, Err(BudgetError::Simulated { limit: at_s(11), events: 1, simulated: at_s(11) }));
    }

    #[test]
    fn progress_comes_at_steady_intervals() {
        let (mut model, mut queue) = clockwork(1);
        let mut seen = Vec::new();
        let budget = Budget { events: Some(2500), ..Budget::default() };
        let error = run(&mut model, &mut queue, &budget, &mut |progress| seen.push(progress)).unwrap_err();
        assert_eq!(error, BudgetError::Events { limit: 2500, simulated: at_s(2499) });
        let expected =
            [1024, 2048, 2500].map(|events| Progress { events, simulated: at_s(events - 1), pending: 1 });
        assert_eq!(seen, expected);
    }
}
