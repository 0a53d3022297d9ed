//! Triton's dynamic batcher against what its documentation says, worked out by hand, and for any load.

use std::collections::BTreeSet;

use foretell_serving_policies::{
    Decision, DynamicBatcher, DynamicBatching, DynamicBatchingError, DynamicRequest, QueuePolicy, Refusal,
    TimeoutAction,
};
use proptest::prelude::*;

/// What happens at an instant.
#[derive(Clone, Copy, Debug)]
enum Event {
    /// A request with a level and items arrives, and waits.
    Arrives(u32, u32),
    /// The same, with a time that it is willing to wait.
    ArrivesFor(u64),
    /// It is refused.
    Refused(Refusal),
    /// An idle instance gets these requests.
    Gets(&'static [u32]),
    /// It is told to ask again.
    AsksAt(u64),
    /// Nothing waits.
    Idles,
    /// Before that, these have waited too long.
    TimedOut(&'static [u32]),
}

use Event::{Arrives, ArrivesFor, AsksAt, Gets, Idles, Refused, TimedOut};

/// Plays events, and holds what the batcher says against them. Requests are numbered as they come.
fn check(batching: DynamicBatching, events: &[(u64, Event)]) {
    let mut batcher = DynamicBatcher::new(batching).expect("a right configuration");
    let mut request = 0;
    let mut expired: &[u32] = &[];
    for &(now_ns, event) in events {
        let mut arrive = |priority_level, items, timeout_ns| {
            request += 1;
            let arriving = DynamicRequest { request: request - 1, items, priority_level, timeout_ns };
            batcher.enqueue(now_ns, &arriving)
        };
        let expected = match event {
            Arrives(level, items) => {
                assert_eq!(arrive(level, items, 0), Ok(()), "at {now_ns}");
                continue;
            }
            ArrivesFor(timeout_ns) => {
                assert_eq!(arrive(0, 1, timeout_ns), Ok(()), "at {now_ns}");
                continue;
            }
            Refused(refusal) => {
                let items = if let Refusal::TooLarge { items } = refusal { items } else { 1 };
                let level = if let Refusal::NoSuchLevel(level) = refusal { level } else { 0 };
                assert_eq!(arrive(level, items, 0), Err(refusal), "at {now_ns}");
                continue;
            }
            TimedOut(requests) => {
                expired = requests;
                continue;
            }
            Gets(requests) => (requests, None),
            AsksAt(until_ns) => (&[][..], Some(Decision::Wait { until_ns })),
            Idles => (&[][..], Some(Decision::Nothing)),
        };
        let (mut batch, mut timed_out) = (Vec::new(), Vec::new());
        let decision = batcher.compose(now_ns, &mut batch, &mut timed_out);
        let waits = (!matches!(decision, Decision::Execute { .. })).then_some(decision);
        assert_eq!((batch.as_slice(), waits), expected, "at {now_ns}");
        assert_eq!(timed_out, expired, "too long at {now_ns}");
        expired = &[];
    }
}

fn up_to(max_batch_size: u32) -> DynamicBatching {
    DynamicBatching::up_to(max_batch_size)
}

fn with_policy(default_queue_policy: QueuePolicy) -> DynamicBatching {
    DynamicBatching { default_queue_policy, ..up_to(4) }
}

#[test]
fn whatever_waits_goes_at_once() {
    check(
        up_to(3),
        &[
            (0, Idles),
            (0, Arrives(0, 1)),
            (0, Gets(&[0])),
            (1, Arrives(0, 1)),
            (1, Arrives(0, 1)),
            (1, Arrives(0, 1)),
            (1, Arrives(0, 1)),
            (5, Gets(&[1, 2, 3])),
            (5, Gets(&[4])),
            (5, Idles),
        ],
    );
}

#[test]
fn the_largest_preferred_size_goes_first() {
    let preferred = DynamicBatching { preferred_batch_sizes: vec![2, 4], ..up_to(8) };
    let five = [(0, Arrives(0, 1)); 5];
    // Without a delay the rest goes as it is.
    check(preferred.clone(), &[&five[..], &[(0, Gets(&[0, 1, 2, 3])), (0, Gets(&[4]))]].concat());
    // With one it waits, from its own arrival, until the delay is over or a second comes.
    let delayed = DynamicBatching { max_queue_delay_ns: 100, ..preferred };
    let after = [(0, Gets(&[0, 1, 2, 3])), (0, AsksAt(100))];
    check(delayed.clone(), &[&five[..], &after, &[(99, AsksAt(100)), (100, Gets(&[4]))]].concat());
    check(delayed, &[&five[..], &after, &[(60, Arrives(0, 1)), (60, Gets(&[4, 5]))]].concat());
}

#[test]
fn without_preferred_sizes_the_delay_is_for_a_full_batch() {
    check(
        DynamicBatching { max_queue_delay_ns: 100, ..up_to(3) },
        &[
            (10, Arrives(0, 1)),
            (10, AsksAt(110)),
            (40, Arrives(0, 1)),
            (40, AsksAt(110)),
            (110, Gets(&[0, 1])),
            (120, Arrives(0, 1)),
            (121, Arrives(0, 1)),
            (122, Arrives(0, 1)),
            (122, Gets(&[2, 3, 4])),
        ],
    );
}

#[test]
fn items_count_not_requests() {
    check(
        DynamicBatching { max_queue_delay_ns: 100, preferred_batch_sizes: vec![4], ..up_to(6) },
        &[
            (0, Refused(Refusal::TooLarge { items: 7 })),
            (0, Arrives(0, 3)),
            (0, AsksAt(100)),
            // Five items: no waiting leads to four.
            (10, Arrives(0, 2)),
            (10, Gets(&[1, 2])),
            (20, Arrives(0, 3)),
            (20, Arrives(0, 1)),
            (20, Arrives(0, 3)),
            (20, Gets(&[3, 4])),
            // What does not fit beside the first waits for the next batch.
            (30, Arrives(0, 5)),
            (30, Gets(&[5])),
            (30, Gets(&[6])),
        ],
    );
}

#[test]
fn levels_are_strict() {
    check(
        DynamicBatching { priority_levels: 3, default_priority_level: 2, ..up_to(2) },
        &[
            (0, Arrives(3, 1)),
            (0, Arrives(0, 1)),
            (0, Arrives(1, 1)),
            (0, Arrives(2, 1)),
            (0, Refused(Refusal::NoSuchLevel(4))),
            (0, Gets(&[2, 1])),
            (0, Gets(&[3, 0])),
        ],
    );
}

#[test]
fn a_full_queue_refuses() {
    let policy = QueuePolicy { max_queue_size: 2, ..QueuePolicy::default() };
    check(
        with_policy(policy),
        &[
            (0, Arrives(0, 1)),
            (0, Arrives(0, 1)),
            (0, Refused(Refusal::QueueFull { waiting: 2 })),
            (0, Gets(&[0, 1])),
            (0, Arrives(0, 1)),
        ],
    );
    // Each level has its own.
    let levels = DynamicBatching {
        priority_levels: 2,
        default_priority_level: 2,
        queue_policies: vec![(2, QueuePolicy { max_queue_size: 1, ..QueuePolicy::default() })],
        ..up_to(4)
    };
    check(
        levels,
        &[
            (0, Arrives(2, 1)),
            (0, Refused(Refusal::QueueFull { waiting: 1 })),
            (0, Arrives(1, 1)),
            (0, Arrives(1, 1)),
        ],
    );
}

#[test]
fn who_waits_too_long_is_refused_or_delayed() {
    let policy = QueuePolicy { default_timeout_ns: 50, ..QueuePolicy::default() };
    let arrivals = [(0, Arrives(0, 1)), (30, Arrives(0, 1)), (40, Arrives(0, 1))];
    check(with_policy(policy), &[&arrivals[..], &[(49, Gets(&[0, 1, 2]))]].concat());
    check(with_policy(policy), &[&arrivals[..], &[(50, TimedOut(&[0])), (50, Gets(&[1, 2]))]].concat());
    check(with_policy(policy), &[&arrivals[..], &[(90, TimedOut(&[0, 1, 2])), (90, Idles)]].concat());
    let delay = QueuePolicy { timeout_action: TimeoutAction::Delay, ..policy };
    check(with_policy(delay), &[&arrivals[..], &[(80, Gets(&[2, 0, 1]))]].concat());
    // Behind the others of its level, not of the next.
    let levels = DynamicBatching {
        priority_levels: 2,
        default_priority_level: 1,
        queue_policies: vec![(1, delay)],
        ..up_to(3)
    };
    let arrivals = [(0, Arrives(2, 1)), (0, Arrives(1, 1)), (30, Arrives(1, 1))];
    check(levels, &[&arrivals[..], &[(60, Gets(&[2, 1, 0]))]].concat());
}

#[test]
fn an_instance_that_waits_looks_when_somebody_has_waited_too_long() {
    let policy = QueuePolicy { default_timeout_ns: 50, ..QueuePolicy::default() };
    let batching = DynamicBatching { max_queue_delay_ns: 100, ..with_policy(policy) };
    check(
        batching,
        &[
            (0, Arrives(0, 1)),
            (0, AsksAt(50)),
            (20, Arrives(0, 1)),
            (50, TimedOut(&[0])),
            (50, AsksAt(70)),
            (70, TimedOut(&[1])),
            (70, Idles),
        ],
    );
}

#[test]
fn a_request_may_lower_its_timeout_where_it_may_speak() {
    let policy = QueuePolicy { default_timeout_ns: 50, ..QueuePolicy::default() };
    let arrivals = [(0, ArrivesFor(10)), (0, ArrivesFor(90)), (0, Arrives(0, 1))];
    check(with_policy(policy), &[&arrivals[..], &[(20, Gets(&[0, 1, 2]))]].concat());
    let heard = QueuePolicy { allow_timeout_override: true, ..policy };
    check(with_policy(heard), &[&arrivals[..], &[(20, TimedOut(&[0])), (20, Gets(&[1, 2]))]].concat());
    check(with_policy(heard), &[&arrivals[..], &[(60, TimedOut(&[0, 1, 2])), (60, Idles)]].concat());
    let unlimited = QueuePolicy { default_timeout_ns: 0, ..heard };
    check(with_policy(unlimited), &[&arrivals[..], &[(60, TimedOut(&[0])), (60, Gets(&[1, 2]))]].concat());
}

#[test]
fn impossible_configurations_are_refused() {
    let check = |batching: DynamicBatching, expected: DynamicBatchingError| {
        assert_eq!(DynamicBatcher::new(batching).err(), Some(expected));
    };
    check(up_to(0), DynamicBatchingError::NoBatchSize);
    let sizes = |sizes: &[u32]| DynamicBatching { preferred_batch_sizes: sizes.to_vec(), ..up_to(4) };
    check(sizes(&[2, 8]), DynamicBatchingError::PreferredSize(8));
    check(sizes(&[0]), DynamicBatchingError::PreferredSize(0));
    check(DynamicBatching { priority_levels: 2, ..up_to(4) }, DynamicBatchingError::NoSuchLevel(0));
    let policies = vec![(1, QueuePolicy::default())];
    check(DynamicBatching { queue_policies: policies, ..up_to(4) }, DynamicBatchingError::NoSuchLevel(1));
    let ordered = DynamicBatching { preserve_ordering: true, ..up_to(4) };
    let levels = DynamicBatching { priority_levels: 2, default_priority_level: 1, ..ordered.clone() };
    check(levels, DynamicBatchingError::OrderCannotHold);
    let delay = QueuePolicy { timeout_action: TimeoutAction::Delay, ..QueuePolicy::default() };
    check(DynamicBatching { default_queue_policy: delay, ..ordered }, DynamicBatchingError::OrderCannotHold);
}

fn policies() -> impl Strategy<Value = QueuePolicy> {
    (0_u32..4, prop_oneof![Just(0_u64), 1_u64..60], any::<bool>(), any::<bool>()).prop_map(
        |(max_queue_size, default_timeout_ns, allow_timeout_override, delay)| QueuePolicy {
            max_queue_size: max_queue_size * 3,
            default_timeout_ns,
            allow_timeout_override,
            timeout_action: if delay { TimeoutAction::Delay } else { TimeoutAction::Reject },
        },
    )
}

proptest! {
    /// Whatever arrives: nobody is lost or served twice, no batch is too large, and beside an instance that is always idle nobody waits longer
    /// than the longest delay.
    #[test]
    fn nobody_is_lost_and_nobody_waits_too_long(
        max_batch_size in 2_u32..9,
        preferred in prop::collection::vec(1_u32..9, 0..3),
        max_queue_delay_ns in prop_oneof![Just(0_u64), 1_u64..80],
        policies in prop::collection::vec(policies(), 2),
        arrivals in prop::collection::vec((0_u64..40, 1_u32..10, 0_u32..3, 0_u64..50), 1..60),
    ) {
        let mut batcher = DynamicBatcher::new(DynamicBatching {
            preferred_batch_sizes: preferred.into_iter().filter(|&size| size <= max_batch_size).collect(),
            max_queue_delay_ns,
            priority_levels: 2,
            default_priority_level: 2,
            default_queue_policy: policies[0],
            queue_policies: vec![(1, policies[1])],
            ..DynamicBatching::up_to(max_batch_size)
        }).expect("a right configuration");
        let mut waiting = BTreeSet::new();
        let (mut arrived, mut sizes) = (Vec::new(), Vec::new());
        let mut ask_ns = None;
        let mut now_ns = 0;
        let mut coming = arrivals.iter().enumerate().peekable();
        let mut next_ns = arrivals[0].0;
        while coming.peek().is_some() || ask_ns.is_some() {
            if coming.peek().is_some() && ask_ns.is_none_or(|ask_ns| next_ns <= ask_ns) {
                now_ns = next_ns;
                if let Some((index, &(_, items, priority_level, timeout_ns))) = coming.next() {
                    let request = index as u32;
                    arrived.push(now_ns);
                    sizes.push(items);
                    let arriving = DynamicRequest { request, items, priority_level, timeout_ns };
                    if batcher.enqueue(now_ns, &arriving).is_ok() {
                        waiting.insert(request);
                    }
                }
                next_ns += coming.peek().map_or(0, |&(_, &(gap_ns, ..))| gap_ns);
            } else if let Some(ask) = ask_ns {
                now_ns = ask;
            }
            loop {
                let (mut batch, mut timed_out) = (Vec::new(), Vec::new());
                let decision = batcher.compose(now_ns, &mut batch, &mut timed_out);
                for request in batch.iter().chain(&timed_out) {
                    prop_assert!(waiting.remove(request), "{} had left", request);
                    prop_assert!(now_ns - arrived[*request as usize] <= max_queue_delay_ns);
                }
                prop_assert_eq!(batcher.waiting(), waiting.len());
                ask_ns = None;
                match decision {
                    Decision::Execute { items } => {
                        let sum: u32 = batch.iter().map(|&request| sizes[request as usize]).sum();
                        prop_assert_eq!(sum, items);
                        prop_assert!(items <= max_batch_size && !batch.is_empty());
                    }
                    Decision::Wait { until_ns } => {
                        prop_assert!(until_ns > now_ns);
                        ask_ns = Some(until_ns);
                        break;
                    }
                    Decision::Nothing => break,
                }
            }
        }
        prop_assert!(waiting.is_empty());
    }
}
