//! Models that take turns on the same GPUs.

use foretell_serving::engine::{Engine, Observer, Outcome};
use foretell_serving::policies::{AdapterAt, BlockPool, State, Vllm};
use foretell_serving::turns::{Hosted, TurnOptions, Turns};
use foretell_serving::{Batch, Replica, Request, StepLaw, replay};
use proptest::prelude::*;

/// A millisecond for each iteration.
struct Law;

impl StepLaw for Law {
    fn stage_ns(&self, _batch: &Batch<'_>, _stage: usize) -> f64 {
        1e6
    }
}

const MS: u64 = 1_000_000;

/// Models that take 10 ms from the host's memory and 100 ms from storage.
fn turns(models: usize, turn_ms: u64, host_models: usize) -> Turns<Law, Vllm> {
    let hosted = |_| Hosted {
        engine: Engine::new(Law, Box::new(Vllm::default()), State::new(BlockPool::with_prefix_cache(64, 4))),
        from_host_ns: 10 * MS,
        from_storage_ns: 100 * MS,
    };
    let options = TurnOptions { turn_ns: turn_ms * MS, host_models };
    Turns::new((0..models).map(hosted).collect(), options)
}

#[derive(Default)]
struct Ends(Vec<(u32, u64)>);

impl Observer for Ends {
    fn finished(&mut self, outcome: &Outcome) {
        self.0.push((outcome.request, outcome.last_token_ns / MS));
    }
}

/// A request: when it arrives (ms), its model from 1, and tokens of its answer.
type Asked = (u64, u32, u32);

fn requests(asked: &[Asked]) -> impl Iterator<Item = Request<'static>> + '_ {
    asked.iter().zip(0..).map(|(&(arrival_ms, adapter, output_tokens), index)| Request {
        index,
        arrival_ns: arrival_ms * MS,
        prompt_tokens: 9,
        output_tokens,
        limit_tokens: output_tokens,
        priority: 0,
        adapter,
        block_keys: &[7, 8],
    })
}

#[test]
fn models_give_way_to_one_another() {
    let check =
        |turn_ms: u64, host_models: usize, asked: &[Asked], expected: &[(u32, u64)], loads: (u64, u64)| {
            let (mut replicas, mut ends) = ([turns(3, turn_ms, host_models)], [Ends::default()]);
            let rejected = replay(&mut replicas, requests(asked), |_, _| 0, &mut ends);
            assert!(rejected.is_empty(), "{rejected:?}");
            assert_eq!(ends[0].0, expected, "{asked:?}");
            let totals = replicas[0].adapter_totals();
            assert_eq!((totals.loads_from_host, totals.loads_from_storage), loads, "{asked:?}");
        };
    // The first is there. The second comes from storage, then the first from the host's memory.
    let asked = [(0, 1, 5), (2, 2, 3), (200, 1, 1)];
    check(1000, 3, &asked, &[(0, 5), (1, 108), (2, 211)], (1, 1));
    // Where the host keeps one, each comes from storage.
    check(1000, 1, &asked, &[(0, 5), (1, 108), (2, 301)], (0, 2));
    // Within a turn whoever comes is served; after it those wait who come later than whoever waits for another model.
    let asked = [(0, 1, 5), (1, 2, 1), (3, 1, 5)];
    check(1000, 3, &asked, &[(0, 5), (2, 9), (1, 110)], (0, 1));
    check(2, 3, &asked, &[(0, 5), (1, 106), (2, 121)], (1, 1));
    // Who has waited longest is next.
    check(0, 3, &[(0, 1, 2), (1, 3, 1), (1, 2, 1)], &[(0, 2), (1, 103), (2, 204)], (0, 2));
}

#[test]
fn routers_see_whose_turn_it_is() {
    let mut replica = turns(3, 1000, 3);
    let near = |replica: &Turns<Law, Vllm>| [1, 2, 3].map(|model| replica.adapter_at(model));
    assert_eq!(near(&replica), [AdapterAt::Loaded, AdapterAt::Room, AdapterAt::Room]);
    for request in requests(&[(0, 1, 5), (0, 2, 5)]) {
        replica.enqueue(&request).unwrap();
    }
    replica.begin(0, u64::MAX, &mut ());
    assert_eq!(near(&replica), [AdapterAt::Loaded, AdapterAt::Waiting, AdapterAt::Absent]);
    assert_eq!((replica.requests(), replica.load().waiting, replica.load().running), (2, 1, 1));
    // Five iterations, and then the second is on its way.
    replica.advance(u64::MAX, &mut ());
    replica.advance(u64::MAX, &mut ());
    assert_eq!(near(&replica), [AdapterAt::Absent, AdapterAt::Loaded, AdapterAt::Absent]);
    // What was cached of the first is gone.
    assert_eq!(replica.cached_blocks(&[7]), 0);
}

proptest! {
    /// Whatever comes is answered once.
    #[test]
    fn nobody_is_forgotten(
        turn_ms in 0_u64..50,
        host_models in 1_usize..4,
        asked in prop::collection::vec((0_u64..30, 1_u32..4, 1_u32..20), 1..40),
    ) {
        let mut now_ms = 0;
        let asked: Vec<Asked> = asked
            .into_iter()
            .map(|(gap_ms, model, tokens)| {
                now_ms += gap_ms;
                (now_ms, model, tokens)
            })
            .collect();
        let (mut replicas, mut ends) = ([turns(3, turn_ms, host_models)], [Ends::default()]);
        let rejected = replay(&mut replicas, requests(&asked), |_, _| 0, &mut ends);
        prop_assert!(rejected.is_empty());
        let mut served: Vec<u32> = ends[0].0.iter().map(|&(request, _)| request).collect();
        served.sort_unstable();
        prop_assert_eq!(served, (0..asked.len() as u32).collect::<Vec<_>>());
        prop_assert_eq!(replicas[0].requests(), 0);
    }
}
