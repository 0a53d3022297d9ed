//! Parts of the requests for each variant.

use foretell_serving_policies::{
    Canary, LeastOutstanding, Load, NoCaches, Pool, RoundRobin, Routed, Router, RouterError, Ties,
};

use super::{CLOSED, arrival, assert_shares, busy, replica, to, told};

/// Two replicas of each of three variants, one by one.
fn loads() -> [Load; 6] {
    core::array::from_fn(|at| Load { variant: at as u32 % 3, ..busy(0, 0) })
}

fn canary(weights: [u32; 3], sticky: bool) -> Canary {
    let arm = |variant: u32| -> (u32, u32, Box<dyn Router + Send>) {
        (variant, weights[variant as usize], Box::new(LeastOutstanding::new(Ties::InTurn)))
    };
    Canary::new((0..3).map(arm).collect(), sticky).unwrap_or_else(|error| panic!("{error}"))
}

/// How often each variant gets one of 20,000 requests, of as many sessions.
fn counts(router: &mut Canary, loads: &[Load], random: impl Fn(u64) -> u64) -> [u32; 3] {
    told(router, loads);
    let mut counts = [0; 3];
    for session in 1..=20_000 {
        counts[replica(router.route(&arrival(session, random(session)), loads, &NoCaches)) % 3] += 1;
    }
    counts
}

#[test]
fn variants_get_their_parts() {
    assert_shares(&counts(&mut canary([90, 9, 1], false), &loads(), |word| word), &[0.9, 0.09, 0.01]);
    assert_shares(&counts(&mut canary([1, 0, 1], false), &loads(), |word| word), &[0.5, 0.0, 0.5]);
    // By session, chance has no part.
    let sticky = counts(&mut canary([90, 9, 1], true), &loads(), |word| word);
    assert_shares(&sticky, &[0.9, 0.09, 0.01]);
    assert_eq!(counts(&mut canary([90, 9, 1], true), &loads(), |word| word * 31), sticky);
}

#[test]
fn another_router_decides_within_a_variant() {
    let loads = loads();
    let mut router = canary([0, 1, 0], false);
    told(&mut router, &loads);
    let answers: Vec<Routed> =
        (0..4).map(|random| router.route(&arrival(0, random), &loads, &NoCaches)).collect();
    assert_eq!(answers, [to(1), to(4), to(1), to(4)]);
}

#[test]
fn sessions_stay_with_their_variant() {
    let loads = loads();
    let mut router = canary([1, 1, 1], true);
    told(&mut router, &loads);
    for session in 1..100 {
        let variant = |router: &mut Canary, random| {
            replica(router.route(&arrival(session, random), &loads, &NoCaches)) % 3
        };
        let first = variant(&mut router, 0);
        assert!((1..10).all(|random| variant(&mut router, random) == first), "{session}");
    }
}

#[test]
fn the_next_variant_takes_the_place_of_one_that_is_closed() {
    let mut loads = loads();
    loads[1].open = false;
    loads[4].open = false;
    assert_shares(&counts(&mut canary([40, 30, 30], false), &loads, |word| word), &[0.4, 0.0, 0.6]);
    assert_shares(&counts(&mut canary([40, 60, 0], false), &loads, |word| word), &[1.0, 0.0, 0.0]);
    let mut router = canary([1, 1, 1], false);
    told(&mut router, &loads);
    loads = [CLOSED; 6];
    told(&mut router, &loads);
    assert_eq!(router.route(&arrival(0, 0), &loads, &NoCaches), Routed::Unavailable);
}

#[test]
fn weights_must_make_sense() {
    let check = |variants: &[(u32, u32)], expected: RouterError| {
        let arm = |&(variant, weight): &(u32, u32)| -> (u32, u32, Box<dyn Router + Send>) {
            (variant, weight, Box::new(RoundRobin::default()))
        };
        assert_eq!(Canary::new(variants.iter().map(arm).collect(), false).err(), Some(expected));
    };
    check(&[], RouterError::NoWeights);
    check(&[(0, 0), (1, 0)], RouterError::NoWeights);
    check(&[(0, 1), (1, 2), (0, 3)], RouterError::VariantTwice(0));
}

#[test]
fn pools_overflow_to_other_variants() {
    // Tokens to compute by replica, of which the first two are a pool's own, and where a request goes.
    let check = |overflow: Option<u64>, tokens: [Option<u64>; 4], expected: Routed| {
        let own = Box::new(LeastOutstanding::new(Ties::default()));
        let mut pool = Pool::new(0, own, overflow);
        let load = |(index, tokens): (usize, Option<u64>)| Load {
            open: tokens.is_some(),
            prefill_tokens: tokens.unwrap_or(0),
            waiting: tokens.unwrap_or(0) as u32 / 100,
            variant: u32::from(index > 1),
            ..Load::default()
        };
        let loads: Vec<Load> = tokens.into_iter().enumerate().map(load).collect();
        for (replica, load) in loads.iter().enumerate() {
            pool.changed(replica, load);
        }
        assert_eq!(pool.route(&arrival(1, 7), &loads, &NoCaches), expected, "{overflow:?} {tokens:?}");
    };
    check(None, [Some(900), Some(500), Some(0), Some(0)], to(1));
    check(Some(500), [Some(900), Some(500), Some(0), Some(0)], to(1));
    check(Some(499), [Some(900), Some(500), Some(30), Some(20)], to(3));
    check(Some(499), [Some(900), Some(500), None, Some(600)], to(1));
    check(Some(499), [None, None, Some(800), Some(900)], to(2));
    check(None, [None, None, Some(800), Some(900)], Routed::Unavailable);
    check(Some(499), [None; 4], Routed::Unavailable);
}
