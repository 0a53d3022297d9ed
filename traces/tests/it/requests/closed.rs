//! Conversations and closed loops, driven by a server that takes a fixed time.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use foretell_traces::generate::{Duration, DurationLaw};
use foretell_traces::requests::generate::{
    ClosedLoop, ClosedLoopConfig, CountLaw, Groups, LengthsLaw, RequestArrival, Sessions, SessionsConfig,
};
use foretell_traces::requests::{Open, RequestInfo, RequestRecord, RequestSource};
use proptest::prelude::*;

use super::generator::target;

const SECOND_NS: u64 = 1_000_000_000;

fn fixed(seconds: f64) -> Duration {
    DurationLaw::Fixed { seconds }.into()
}

/// All requests in order of arrival, where each takes so long.
fn run(source: &mut dyn RequestSource, service_ns: u64, limit: usize) -> Vec<RequestRecord> {
    let mut all: Vec<RequestRecord> = Vec::new();
    let mut ends: BinaryHeap<Reverse<(u64, u64)>> = BinaryHeap::new();
    let mut later: BTreeMap<(u64, u64), RequestRecord> = BTreeMap::new();
    let mut open = source.next_open().map(Result::unwrap);
    while all.len() < limit {
        let open_ns = open.as_ref().map_or(u64::MAX, |request| request.arrival_ns);
        let later_ns = later.first_key_value().map_or(u64::MAX, |(&(arrival_ns, _), _)| arrival_ns);
        let end_ns = ends.peek().map_or(u64::MAX, |&Reverse((end_ns, _))| end_ns);
        if end_ns < u64::MAX && end_ns <= open_ns.min(later_ns) {
            let Some(Reverse((now_ns, session))) = ends.pop() else { break };
            if let Some(request) = source.on_finished(session, now_ns) {
                assert!(request.arrival_ns >= now_ns);
                later.insert((request.arrival_ns, session), request);
            }
            continue;
        }
        let request = if later_ns <= open_ns {
            later.pop_first().map(|(_, request)| request)
        } else {
            std::mem::replace(&mut open, source.next_open().map(Result::unwrap))
        };
        let Some(request) = request else { break };
        assert_eq!(request.check(), Ok(()));
        if let Some(session) = request.session {
            ends.push(Reverse((request.arrival_ns + service_ns, session)));
        }
        all.push(request);
    }
    assert!(all.is_sorted_by_key(|request| request.arrival_ns));
    all
}

fn sessions() -> SessionsConfig {
    SessionsConfig {
        arrival: RequestArrival::Constant { rate_per_s: 0.5 },
        turns: CountLaw::Constant { count: 3 },
        groups: Groups { count: 1, zipf_exponent: 0.0, system_tokens: 40 },
        user: CountLaw::Constant { count: 10 },
        output: CountLaw::Constant { count: 20 },
        think: fixed(5.0),
        block_tokens: 16,
        target: target(1000),
        sessions: Some(2),
    }
}

/// By hand: two conversations of three turns, 10 s for each answer.
#[test]
fn prompts_repeat_what_was_said() {
    let mut source = Sessions::new(sessions(), 1).unwrap();
    let requests = run(&mut source, 10 * SECOND_NS, 100);
    let shown: Vec<_> = requests
        .iter()
        .map(|request| {
            (request.arrival_ns / SECOND_NS, request.session, request.prompt_tokens, request.output_tokens)
        })
        .collect();
    let expected = [
        (2, Some(0), 50, 20),
        (4, Some(1), 50, 20),
        (17, Some(0), 80, 20),
        (19, Some(1), 80, 20),
        (32, Some(0), 110, 20),
        (34, Some(1), 110, 20),
    ];
    assert_eq!(shown, expected);
    // 40 tokens of the system prompt are two full blocks, which both share. The rest are each one's own.
    let all = |request: &RequestRecord| [&*request.prompt_blocks, &*request.output_blocks].concat();
    for turn in 0..3 {
        let (one, other) = (&requests[2 * turn], &requests[2 * turn + 1]);
        assert_eq!(one.prompt_blocks.len() as u32, one.prompt_tokens / 16);
        assert_eq!(all(one).len() as u32, (one.prompt_tokens + one.output_tokens) / 16);
        assert_eq!(one.prompt_blocks[..2], other.prompt_blocks[..2]);
        assert!(all(one)[2..].iter().all(|block| !all(other).contains(block)));
        if turn > 0 {
            let before = all(&requests[2 * turn - 2]);
            assert_eq!(one.prompt_blocks[..before.len()], before);
        }
    }
    // Each prompt's blocks: 3, 5, 6. Found: the second's 2 of the system prompt; then 4 and 6 of what was said before.
    let info = RequestInfo::of(requests.into_iter().map(Ok)).unwrap();
    let blocks = info.blocks.unwrap();
    assert_eq!((blocks.blocks, blocks.hits), (28, 2 + 4 + 4 + 6 + 6));
}

#[test]
fn a_conversation_ends_where_the_model_does() {
    let check = |max_model_tokens, expected: &[(u32, u32)]| {
        let config = SessionsConfig { target: target(max_model_tokens), sessions: Some(1), ..sessions() };
        let requests = run(&mut Sessions::new(config, 1).unwrap(), SECOND_NS, 100);
        let lengths: Vec<_> =
            requests.iter().map(|request| (request.prompt_tokens, request.output_tokens)).collect();
        assert_eq!(lengths, expected, "with {max_model_tokens} tokens");
    };
    check(130, &[(50, 20), (80, 20), (110, 20)]);
    check(129, &[(50, 20), (80, 20), (110, 19)]);
    check(105, &[(50, 20), (80, 20), (104, 1)]);
    check(101, &[(50, 20), (80, 20)]);
    check(60, &[(50, 10)]);
    check(42, &[(41, 1)]);
    let config = SessionsConfig { target: target(41), ..sessions() };
    assert_eq!(
        Sessions::new(config, 1).err().map(|error| error.to_string()).as_deref(),
        Some("generator: groups.system_tokens: expected a number from 0 to 39, got 40")
    );
}

#[test]
fn groups_share_their_system_prompt_only() {
    let groups = Groups { count: 3, zipf_exponent: 1.0, system_tokens: 64 };
    let turns = CountLaw::Constant { count: 1 };
    let config = SessionsConfig { groups, turns, sessions: Some(11_000), ..sessions() };
    let requests = run(&mut Sessions::new(config, 4).unwrap(), SECOND_NS, 20_000);
    assert_eq!(requests.len(), 11_000);
    let mut by_first: BTreeMap<u64, u32> = BTreeMap::new();
    for request in &requests {
        *by_first.entry(request.prompt_blocks[0]).or_default() += 1;
    }
    // 1, 1/2 and 1/3 over their sum, 11/6; a deviation is at most 53.
    let counts: Vec<u32> = by_first.into_values().collect();
    assert_eq!(counts.len(), 3);
    for (count, expected) in counts.into_iter().zip([6000_u32, 3000, 2000]) {
        assert!(count.abs_diff(expected) < 200, "{count}, expected {expected}");
    }
}

fn closed(users: u32, think: Duration) -> ClosedLoopConfig {
    let lengths = LengthsLaw::Independent {
        prompt: CountLaw::Uniform { min: 10, max: 1000 },
        output: CountLaw::Uniform { min: 10, max: 1000 },
    };
    ClosedLoopConfig { users, think, lengths, target: target(4096), requests: None }
}

/// Without queueing the throughput is users / (service + think), Little's law.
#[test]
fn a_closed_loop_has_the_throughput_of_littles_law() {
    let think = DurationLaw::Exponential { mean_s: 3.0 }.into();
    let requests = run(&mut ClosedLoop::new(&closed(20, think), 5).unwrap(), 2 * SECOND_NS, 20_000);
    let rate = requests.len() as f64 / requests.last().unwrap().arrival_s();
    assert!((rate / 4.0 - 1.0).abs() < 0.02, "{rate}");
}

#[test]
fn users_without_thought_ask_at_once() {
    let config = ClosedLoopConfig { requests: Some(8), ..closed(3, fixed(0.0)) };
    let requests = run(&mut ClosedLoop::new(&config, 5).unwrap(), SECOND_NS, 100);
    let shown: Vec<_> =
        requests.iter().map(|request| (request.arrival_ns / SECOND_NS, request.session)).collect();
    let expected: Vec<_> = (0..8).map(|index| (index / 3, Some(index % 3))).collect();
    assert_eq!(shown, expected);
    assert_eq!(
        ClosedLoop::new(&closed(0, fixed(0.0)), 1).err().map(|error| error.to_string()).as_deref(),
        Some("generator: users: expected a whole number from 1 to 100000, got 0")
    );
}

#[test]
fn open_requests_wait_for_nothing() {
    let requests: Vec<_> = (1..5).map(|arrival_ns| RequestRecord::new(arrival_ns, 1, 1)).collect();
    assert_eq!(run(&mut Open(requests.iter().cloned().map(Ok)), 1, 100), requests);
}

fn of_session(requests: &[RequestRecord], session: u64) -> Vec<(u32, u32)> {
    let own = requests.iter().filter(|request| request.session == Some(session));
    own.map(|request| (request.prompt_tokens, request.output_tokens)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// How fast the server is changes when users ask, never what.
    #[test]
    fn what_is_asked_does_not_depend_on_the_server(seed: u64, service_ms in 1_u64..60_000) {
        let think: Duration = DurationLaw::Exponential { mean_s: 2.0 }.into();
        let config = SessionsConfig {
            arrival: RequestArrival::poisson(1.0),
            turns: CountLaw::Uniform { min: 1, max: 6 },
            user: CountLaw::log_normal_p90(20.0, 60.0),
            output: CountLaw::log_normal_p90(50.0, 100.0),
            think: think.clone(),
            sessions: Some(10),
            ..sessions()
        };
        let with = |service_ms: u64| {
            let mut source = Sessions::new(config.clone(), seed).unwrap();
            run(&mut source, service_ms * 1_000_000, usize::MAX)
        };
        let (one, other) = (with(1000), with(service_ms));
        for session in 0..10 {
            prop_assert_eq!(of_session(&one, session), of_session(&other, session));
        }
        let with = |service_ms: u64| {
            let mut source = ClosedLoop::new(&closed(4, think.clone()), seed).unwrap();
            run(&mut source, service_ms * 1_000_000, 100)
        };
        let (one, other) = (with(1000), with(service_ms));
        for user in 0..4 {
            let (one, other) = (of_session(&one, user), of_session(&other, user));
            let both = one.len().min(other.len());
            prop_assert!(both > 0);
            prop_assert_eq!(&one[..both], &other[..both]);
        }
    }
}
