//! Routers that know nothing of caches.

use foretell_serving_policies::{
    LeastOutstanding, Load, NoCaches, PowerOfTwo, QueuedTokens, Random, RoundRobin, Routed, Router,
    RouterError, SessionAffinity, ShortestQueueByTokens, Ties,
};

use super::{CLOSED, arrival, assert_shares, busy, holding, replica, to, told};

/// Routes as many requests as are expected, with the loads as they are.
fn check(router: &mut dyn Router, loads: &[Load], expected: &[Routed]) {
    told(router, loads);
    let answers: Vec<Routed> = (0..expected.len() as u64)
        .map(|random| router.route(&arrival(0, random), loads, &NoCaches))
        .collect();
    assert_eq!(answers, expected, "{loads:?}");
}

/// How often each replica gets one of 20,000 requests.
fn counts(router: &mut dyn Router, loads: &[Load]) -> Vec<u32> {
    told(router, loads);
    let mut counts = vec![0; loads.len()];
    for random in 0..20_000 {
        counts[replica(router.route(&arrival(0, random), loads, &NoCaches))] += 1;
    }
    counts
}

#[test]
fn round_robin_goes_around_those_that_are_open() {
    let open = busy(0, 0);
    check(&mut RoundRobin::default(), &[open, CLOSED, open], &[to(0), to(2), to(0), to(2)]);
    check(&mut RoundRobin::default(), &[CLOSED, CLOSED], &[Routed::Unavailable]);
    check(&mut RoundRobin::default(), &[], &[Routed::Unavailable]);
    // It goes on where it was when replicas come and go.
    let mut router = RoundRobin::default();
    check(&mut router, &[open, open, open], &[to(0), to(1), to(2)]);
    check(&mut router, &[open], &[to(0), to(0)]);
    check(&mut router, &[open, open, open], &[to(1)]);
}

#[test]
fn random_treats_all_alike() {
    let open = busy(0, 0);
    let third = 1.0 / 3.0;
    assert_shares(&counts(&mut Random, &[open, CLOSED, open, open]), &[third, 0.0, third, third]);
    // Where few are open they are counted.
    let mut loads = [CLOSED; 100];
    loads[7] = open;
    loads[93] = open;
    let counted = counts(&mut Random, &loads);
    assert_shares(&[counted[7], counted[93]], &[0.5, 0.5]);
    check(&mut Random, &[CLOSED], &[Routed::Unavailable]);
    check(&mut Random, &[], &[Routed::Unavailable]);
}

#[test]
fn least_outstanding_counts_those_that_wait_and_run() {
    let check =
        |loads: &[Load], expected: &[Routed]| check(&mut LeastOutstanding::default(), loads, expected);
    check(&[busy(0, 5), busy(3, 1), busy(2, 2)], &[to(1), to(1)]);
    check(&[busy(0, 5), CLOSED, busy(2, 9)], &[to(0)]);
    check(&[CLOSED, CLOSED], &[Routed::Unavailable]);
    check(&[], &[Routed::Unavailable]);
}

#[test]
fn ties_are_broken_as_stated() {
    let loads = [busy(1, 1), busy(0, 3), busy(2, 0), busy(0, 2)];
    check(&mut LeastOutstanding::new(Ties::Lowest), &loads, &[to(0), to(0)]);
    check(&mut LeastOutstanding::new(Ties::InTurn), &loads, &[to(0), to(2), to(3), to(0)]);
    let third = 1.0 / 3.0;
    assert_shares(&counts(&mut LeastOutstanding::new(Ties::Random), &loads), &[third, 0.0, third, third]);
}

#[test]
fn the_shortest_queue_is_one_of_tokens() {
    let loads = [holding(50, 900), holding(70, 600), CLOSED, holding(40, 800)];
    check(&mut ShortestQueueByTokens::default(), &loads, &[to(1)]);
    check(&mut ShortestQueueByTokens::new(QueuedTokens::Prefill, Ties::Lowest), &loads, &[to(3)]);
    check(&mut ShortestQueueByTokens::default(), &[CLOSED], &[Routed::Unavailable]);
}

#[test]
fn of_two_the_emptier_gets_it() {
    // Each pair is drawn as often: the emptiest of four wins three pairs of six, the fullest none.
    let loads = [busy(0, 9), busy(0, 0), busy(3, 0), busy(2, 3)];
    let sixth = 1.0 / 6.0;
    assert_shares(&counts(&mut PowerOfTwo, &loads), &[0.0, 3.0 * sixth, 2.0 * sixth, sixth]);
    check(&mut PowerOfTwo, &[CLOSED, busy(9, 9)], &[to(1), to(1), to(1)]);
    check(&mut PowerOfTwo, &[CLOSED], &[Routed::Unavailable]);
}

const SESSIONS: u64 = 2_000;

/// Who gets each session.
fn homes(loads: &[Load]) -> Vec<usize> {
    let mut router = SessionAffinity::default();
    told(&mut router, loads);
    (1..=SESSIONS)
        .map(|session| replica(router.route(&arrival(session, session), loads, &NoCaches)))
        .collect()
}

#[test]
fn only_the_sessions_of_whoever_leaves_move() {
    let mut loads = [busy(1, 1); 10];
    let before = homes(&loads);
    let mut counts = [0; 10];
    for &home in &before {
        counts[home] += 1;
    }
    assert_shares(&counts, &[0.1; 10]);

    loads[3].open = false;
    let after = homes(&loads);
    let mut heirs = [0; 10];
    for (before, after) in before.into_iter().zip(after) {
        if before == 3 {
            heirs[after] += 1;
        } else {
            assert_eq!(after, before);
        }
    }
    // They spread over the others.
    let mut shares = [1.0 / 9.0; 10];
    shares[3] = 0.0;
    assert_shares(&heirs, &shares);
}

#[test]
fn requests_without_a_session_go_where_there_is_least() {
    check(&mut SessionAffinity::default(), &[busy(1, 1), busy(0, 1), CLOSED], &[to(1), to(1)]);
    check(&mut SessionAffinity::default(), &[CLOSED], &[Routed::Unavailable]);
}

#[test]
fn sessions_leave_a_replica_that_has_too_much() {
    let home = homes(&[busy(0, 0), busy(0, 0)])[0];
    let check = |bound: f64, at_home: u32, elsewhere: u32, stays: bool| {
        let mut loads = [busy(elsewhere, 0); 2];
        loads[home].waiting = at_home;
        let Ok(mut router) = SessionAffinity::new(Some(bound)) else { panic!("{bound}") };
        let answer = router.route(&arrival(1, 0), &loads, &NoCaches);
        assert_eq!(replica(answer) == home, stays, "{bound} {loads:?}");
    };
    // With this request there are 6: 3 a replica, 1.25 times which are 3.75, at most 4.
    check(1.25, 3, 2, true);
    check(1.25, 4, 1, false);
    // 8: 4 a replica.
    check(1.0, 3, 4, true);
    check(1.0, 4, 3, false);
    check(2.0, 4, 3, true);
    let refused = SessionAffinity::new(Some(0.9)).err();
    assert_eq!(refused, Some(RouterError::Parameter { name: "bound", value: 0.9, least: 1.0 }));
    assert_eq!(
        refused.map(|error| error.to_string()).unwrap_or_default(),
        "`bound` is 0.9, but must be finite and at least 1"
    );
}
