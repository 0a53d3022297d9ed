//! Requests whose prompt one replica reads in, and whose answer another generates.

use foretell_serving::fleet::{ANSWERS, AtOnce, Move, PROMPTS, Parts, Transport};
use foretell_serving::policies::Tier;
use foretell_serving::policies::route::{
    Arrival, Caches, LeastOutstanding, Load, Pool, RoundRobin, Routed, Router, Ties,
};
use foretell_serving::{Fleet, FleetOptions, Outcome};
use proptest::prelude::*;

use super::fleet::{Blow, Listed, Replica, Seen, blows, replica, requests};

/// A time for each block, one after the other.
#[derive(Clone, Default, Debug)]
struct Line {
    block_ns: u64,
    free_ns: u64,
    under_way: Vec<(u64, u32)>,
}

impl Transport for Line {
    fn begin(&mut self, now_ns: u64, contents: &Move) {
        self.free_ns = self.free_ns.max(now_ns) + self.block_ns * u64::from(contents.blocks);
        self.under_way.push((self.free_ns, contents.id));
    }

    fn next_ns(&self) -> Option<u64> {
        self.under_way.first().map(|&(at_ns, _)| at_ns)
    }

    fn take_done(&mut self, now_ns: u64) -> Option<u32> {
        let is_done = self.next_ns().is_some_and(|at_ns| at_ns <= now_ns);
        is_done.then(|| self.under_way.remove(0).1)
    }

    fn cancel(&mut self, _now_ns: u64, id: u32) {
        self.under_way.retain(|&(_, other)| other != id);
    }
}

type Divided<T> = Fleet<Replica, Listed, Seen, T>;

fn divided<T: Transport>(
    requests: &[(u64, u32, u32)],
    options: FleetOptions,
    overflow_tokens: Option<u64>,
    transport: T,
) -> Divided<T> {
    let least = || Box::new(LeastOutstanding::new(Ties::default()));
    let prompts = Box::new(Pool::new(PROMPTS, least(), overflow_tokens));
    let answers = Box::new(Pool::new(ANSWERS, least(), None));
    Fleet::new(prompts, Listed::of(requests), options).handing_over(answers, transport)
}

fn outcomes<T: Transport>(fleet: Divided<T>) -> (Vec<Outcome>, Parts<Listed, Seen>) {
    let mut parts = fleet.into_parts();
    let mut outcomes: Vec<Outcome> = parts.observers.iter_mut().flat_map(|seen| seen.0.drain(..)).collect();
    outcomes.sort_by_key(|one| one.request);
    (outcomes, parts)
}

#[test]
fn times_are_those_of_both_replicas_and_of_the_way() {
    // A token of an answer takes 900 ns with one sequence; one that is read in an eighth of 800 ns, and 800 ns for all.
    let check = |prompt_tokens: u32, output_tokens: u32, block_ns: u64, expected: (u64, u64)| {
        let line = Line { block_ns, ..Line::default() };
        let mut fleet = divided(&[(0, prompt_tokens, output_tokens)], FleetOptions::default(), None, line);
        fleet.add(replica(800.0, 8, 64), Seen::default(), 0, PROMPTS);
        fleet.add(replica(800.0, 8, 64), Seen::default(), 0, ANSWERS);
        fleet.run_until(u64::MAX);
        let (outcomes, parts) = outcomes(fleet);
        let [one] = outcomes[..] else { panic!("{outcomes:?}") };
        assert_eq!((one.first_token_ns, one.last_token_ns), expected, "{prompt_tokens} {output_tokens}");
        let moves = output_tokens > 1;
        assert_eq!(parts.handed_over.requests, u64::from(moves));
        let blocks = if moves { u64::from(prompt_tokens.div_ceil(4)) } else { 0 };
        assert_eq!(parts.handed_over.blocks, blocks);
        assert_eq!(parts.handed_over.move_ns as u64, blocks * block_ns);
    };
    check(8, 1, 500, (1600, 1600));
    check(8, 2, 500, (1600, 1600 + 2 * 500 + 900));
    check(8, 5, 500, (1600, 1600 + 2 * 500 + 4 * 900));
    check(9, 5, 500, (1700, 1700 + 3 * 500 + 4 * 900));
    // Longer than a batch: read in by three iterations of 64 tokens at most.
    check(130, 3, 10, (7200 + 7200 + 1000, 15_400 + 33 * 10 + 2 * 900));
}

#[test]
fn what_is_cached_where_answers_are_generated_is_not_moved() {
    // The fifth request of a list has four keys, as its tenth: the second finds the first's four blocks.
    let one = |at_ns| (at_ns, 16, 3);
    let requests: Vec<_> = (0..10).map(|index| one(index * 100_000)).collect();
    let mut fleet = divided(&requests, FleetOptions::default(), None, AtOnce::default());
    fleet.add(replica(800.0, 8, 64), Seen::default(), 0, PROMPTS);
    fleet.add(replica(800.0, 8, 64), Seen::default(), 0, ANSWERS);
    fleet.run_until(u64::MAX);
    let (_, parts) = outcomes(fleet);
    // Keys of the ten: 0 1 2 3 4 0 1 2 3 4, all the same from the first on. Found: 0 0 1 2 3 0 1 2 3 4.
    assert_eq!(parts.handed_over.blocks, 10 * 4 - 16);
}

#[test]
fn prompts_wait_for_room_where_answers_are_generated() {
    // Room for one of two answers at a time: the second waits, and its prompt keeps its blocks.
    let mut fleet = divided(&[(0, 16, 5), (0, 16, 5)], FleetOptions::default(), None, AtOnce::default());
    fleet.add(replica(800.0, 8, 8), Seen::default(), 0, PROMPTS);
    fleet.add(replica(800.0, 8, 6), Seen::default(), 0, ANSWERS);
    // Both prompts at once: 800 ns and 100 ns for each of 32 tokens.
    fleet.run_until(4000);
    assert_eq!(fleet.loads()[0].used_blocks, 4);
    fleet.run_until(u64::MAX);
    assert_eq!(fleet.loads()[0].used_blocks, 0);
    let (outcomes, _) = outcomes(fleet);
    let ends: Vec<u64> = outcomes.iter().map(|one| one.last_token_ns).collect();
    assert_eq!(ends, [4000 + 4 * 900, 4000 + 8 * 900]);
}

#[test]
fn prompts_overflow_to_those_who_generate_answers() {
    let requests = [(0, 40, 3), (0, 40, 3), (0, 40, 3), (0, 40, 3)];
    let mut fleet = divided(&requests, FleetOptions::default(), Some(60), AtOnce::default());
    fleet.add(replica(800.0, 8, 64), Seen::default(), 0, PROMPTS);
    fleet.add(replica(800.0, 8, 64), Seen::default(), 0, ANSWERS);
    fleet.run_until(u64::MAX);
    let (outcomes, parts) = outcomes(fleet);
    assert_eq!(outcomes.len(), 4);
    // The third finds 80 tokens before it where prompts are read in, and none with the other; so does the fourth, 40.
    assert_eq!(parts.handed_over.requests, 2);
}

/// Sends requests in turn to those that are open, and has up to three blocks of each copied from whoever is open before that.
struct Copying;

impl Router for Copying {
    fn route(&mut self, arrival: &Arrival<'_>, loads: &[Load], _caches: &dyn Caches) -> Routed {
        let open: Vec<usize> = (0..loads.len()).filter(|&index| loads[index].open).collect();
        if open.is_empty() {
            return Routed::Unavailable;
        }
        let at = arrival.index as usize % open.len();
        let blocks = (arrival.random % 4) as u32;
        let from = (blocks > 0).then_some((open[(at + open.len() - 1) % open.len()], blocks));
        Routed::To { replica: open[at], from }
    }
}

/// The last of ten requests goes to the second replica, with three blocks of the first.
struct LastCopies;

impl Router for LastCopies {
    fn route(&mut self, arrival: &Arrival<'_>, _loads: &[Load], _caches: &dyn Caches) -> Routed {
        match arrival.index {
            9 => Routed::To { replica: 1, from: Some((0, 3)) },
            _ => Routed::To { replica: 0, from: None },
        }
    }
}

#[test]
fn beginnings_are_copied_where_the_router_says_so() {
    let requests: Vec<_> = (0..10).map(|index| (index * 100_000, 16, 1)).collect();
    let line = Line { block_ns: 500, ..Line::default() };
    let options = FleetOptions { block_tokens: 4, ..FleetOptions::default() };
    let fleet = Fleet::new(Box::new(LastCopies), Listed::of(&requests), options);
    let mut fleet = fleet.copying_over(line);
    fleet.add(replica(800.0, 8, 64), Seen::default(), 0, 0);
    fleet.add(replica(800.0, 8, 64), Seen::default(), 0, 0);
    fleet.run_until(u64::MAX);
    let (outcomes, parts) = outcomes(fleet);
    // Three blocks, 500 ns each; then 800 ns, and 100 ns for each of the four tokens that are left.
    let last = outcomes[9];
    assert_eq!((last.first_token_ns, last.cached_tokens), (900_000 + 1500 + 1200, 12));
    assert_eq!((last.scheduled_ns, outcomes.len()), (900_000 + 1500, 10));
    let handed = parts.handed_over;
    assert_eq!(
        (handed.copies, handed.copied_blocks, handed.copy_ns as u64, handed.requests),
        (1, 3, 1500, 0)
    );
}

#[test]
fn beginnings_come_from_memory_that_all_share() {
    // Two replicas in turn; the first keys of ten requests, which are the same from the first on: 0 1 2 3 4 0 1 2 3 4. The third, fourth and fifth find in
    // memory what the other replica read in before them, and the tenth the fifth's fourth block; the first three of those its replica has.
    let requests: Vec<_> = (0..10).map(|index| (index * 100_000, 16, 1)).collect();
    let options = FleetOptions { block_tokens: 4, ..FleetOptions::default() };
    let run = |blocks: u32| {
        let line = Line { block_ns: 500, ..Line::default() };
        let fleet = Fleet::new(Box::new(RoundRobin::default()), Listed::of(&requests), options);
        let mut fleet = fleet.copying_over(line).sharing(Tier::new(blocks));
        fleet.add(replica(800.0, 8, 64), Seen::default(), 0, 0);
        fleet.add(replica(800.0, 8, 64), Seen::default(), 0, 0);
        fleet.run_until(u64::MAX);
        outcomes(fleet)
    };
    let (found, parts) = run(64);
    // 500 ns for the block, and 800 ns and 100 ns for a token, which must be computed though all are there.
    assert_eq!((found[9].cached_tokens, found[9].scheduled_ns), (15, 900_000 + 500));
    assert_eq!(found[9].first_token_ns, 900_000 + 500 + 800 + 100);
    assert_eq!(parts.handed_over.copies, 4);
    // Without room nothing is found but what a replica has itself.
    let (alone, parts) = run(0);
    assert_eq!((alone[9].cached_tokens, alone[9].scheduled_ns, parts.handed_over.copies), (12, 900_000, 0));
}

proptest! {
    /// Whatever happens to replicas, each request is answered or refused, once, and no memory is lost.
    #[test]
    fn requests_are_conserved_that_are_handed_over(
        requests in requests(),
        blows in blows(),
        block_ns in prop_oneof![Just(0), 1_u64..20_000],
        overflow_tokens in prop::option::of(0_u64..80),
        timeout_ns in prop::option::of(1_000_u64..400_000),
        cancels in any::<bool>(),
        retries in 0_u32..4,
        copies in any::<bool>(),
        store in prop::option::of(0_u32..40),
    ) {
        let options = FleetOptions { timeout_ns, retries, cancels, block_tokens: 4, backoff_ns: 3_000, ..FleetOptions::default() };
        let line = Line { block_ns, ..Line::default() };
        let mut fleet = if copies {
            let prompts = Box::new(Pool::new(PROMPTS, Box::new(Copying), overflow_tokens));
            let answers = Box::new(Pool::new(ANSWERS, Box::new(LeastOutstanding::new(Ties::default())), None));
            Fleet::new(prompts, Listed::of(&requests), options).handing_over(answers, line)
        } else {
            divided(&requests, options, overflow_tokens, line)
        };
        if let Some(blocks) = store {
            fleet = fleet.sharing(Tier::new(blocks));
        }
        fleet.add(replica(1000.0, 8, 64), Seen::default(), 500, PROMPTS);
        fleet.add(replica(1000.0, 8, 40), Seen::default(), 500, ANSWERS);
        fleet.add(replica(2000.0, 8, 30), Seen::default(), 9_000, PROMPTS);
        fleet.add(replica(2000.0, 8, 30), Seen::default(), 9_000, ANSWERS);
        let mut at_ns = 0;
        for (gap_ns, blow) in blows {
            at_ns += gap_ns;
            fleet.run_until(at_ns);
            match blow {
                Blow::Lose(index) => fleet.lose(index),
                Blow::Drain(index) => fleet.drain(index),
                Blow::Add(wait_ns) => {
                    fleet.add(replica(1500.0, 8, 64), Seen::default(), at_ns + wait_ns, (wait_ns % 2) as u32);
                }
            }
        }
        fleet.run_until(u64::MAX);
        fleet.close();
        prop_assert!(!fleet.is_busy());
        prop_assert_eq!(fleet.watch(0).requests(), 0);
        let (prompts, answers) = (PROMPTS, ANSWERS);
        // Prompts that nobody generates answers for stay with whoever read them in.
        if fleet.serving().any(|load| load.variant == answers) {
            prop_assert!(fleet.serving().filter(|load| load.variant == prompts).all(|load| load.used_blocks == 0));
        }
        let (outcomes, parts) = outcomes(fleet);
        let refused = parts.refused.iter().map(|one| one.request);
        let mut seen: Vec<u32> = outcomes.iter().map(|one| one.request).chain(refused).collect();
        seen.sort_unstable();
        prop_assert_eq!(seen, (0..requests.len() as u32).collect::<Vec<_>>());
        prop_assert_eq!(parts.tries.answered, outcomes.len() as u64);
        for outcome in outcomes {
            let (arrival_ns, prompt_tokens, output_tokens) = requests[outcome.request as usize];
            prop_assert_eq!((outcome.prompt_tokens, outcome.output_tokens), (prompt_tokens, output_tokens));
            prop_assert!(outcome.scheduled_ns >= arrival_ns && outcome.first_token_ns > outcome.scheduled_ns);
            prop_assert!(outcome.last_token_ns > outcome.first_token_ns || output_tokens == 1);
        }
    }
}
