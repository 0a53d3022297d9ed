//! Adapters: who is passed over, what is loaded, and what goes for it.

use foretell_serving_policies::AdapterSource::{Host, Storage};
use foretell_serving_policies::{
    AdapterLoad, AdapterSource, Adapters, Batcher, BlockPool, Plan, Sequence, Slot, State, Vllm,
};
use proptest::prelude::*;

/// Tokens of every prompt.
const PROMPT: u32 = 4;

/// An engine with requests that are all there from the beginning: tokens of their answers, and adapters.
struct Engine {
    batcher: Vllm,
    state: State,
}

impl Engine {
    fn new(adapters: Adapters, max_sequences: u32, wanted: &[(u32, u32)]) -> Self {
        let mut state = State::new(BlockPool::new(1000, 4));
        state.adapters = adapters;
        let mut batcher = Vllm { max_sequences, ..Vllm::default() };
        for (request, &(output_tokens, adapter)) in wanted.iter().enumerate() {
            let slot = state.sequences.insert(Sequence {
                arrival_ns: request as u64,
                request: request as u32,
                adapter,
                ..Sequence::new(PROMPT, output_tokens)
            });
            batcher.enqueue(&mut state, slot);
        }
        Self { batcher, state }
    }

    /// An iteration: who decodes, who is read in, what is loaded for it.
    fn step(&mut self) -> (Vec<u32>, Vec<u32>, Vec<AdapterLoad>) {
        let mut plan = Plan::default();
        self.batcher.compose(&mut self.state, &mut plan);
        let request = |slot: Slot| self.state.sequences[slot].request;
        let decodes = plan.decodes.iter().map(|&slot| request(slot)).collect();
        let chunks = plan.chunks.iter().map(|chunk| request(chunk.slot)).collect();
        for slot in plan.slots().collect::<Vec<_>>() {
            let sequence = &mut self.state.sequences[slot];
            sequence.computed_tokens += if sequence.decoding { 1 } else { PROMPT };
            sequence.generated_tokens += 1;
            sequence.decoding = true;
            if sequence.remaining_tokens() == 0 {
                plan.done.push(slot);
            }
        }
        self.batcher.conclude(&mut self.state, &plan);
        (decodes, chunks, self.state.adapters.take_loads())
    }

    fn held_back(&mut self) -> Vec<u32> {
        let held_back: Vec<Slot> = self.state.adapters.take_held_back().collect();
        held_back.iter().map(|&slot| self.state.sequences[slot].request).collect()
    }
}

const fn load(adapter: u32, from: AdapterSource) -> AdapterLoad {
    AdapterLoad { adapter, from }
}

#[test]
fn whoever_needs_one_adapter_too_many_is_passed_over() {
    let mut engine = Engine::new(Adapters::new(2, 2), 8, &[(3, 1), (1, 2), (1, 3), (1, 1), (1, 0)]);
    // The adapter of 3 is there, and 4 needs none.
    assert_eq!(engine.step(), (vec![], vec![0, 1, 3, 4], vec![load(1, Storage), load(2, Storage)]));
    assert_eq!(engine.held_back(), [2]);
    // 1 is done: its adapter goes.
    assert_eq!(engine.step(), (vec![0], vec![2], vec![load(3, Storage)]));
    assert!(!engine.state.adapters.is_on_gpu(2) && !engine.state.adapters.is_on_host(2));
    assert_eq!(engine.step(), (vec![0], vec![], vec![]));
    assert_eq!(engine.step(), (vec![], vec![], vec![]));
    assert_eq!(engine.held_back(), [0_u32; 0]);
}

#[test]
fn others_go_on_while_an_adapter_is_loaded() {
    let mut engine = Engine::new(Adapters::new(1, 1).overlapped(), 8, &[(2, 1), (1, 0), (1, 1), (1, 2)]);
    assert_eq!(engine.step(), (vec![], vec![1], vec![load(1, Storage)]));
    // What is on its way is not asked for again, and has the only place.
    assert_eq!(engine.step(), (vec![], vec![], vec![]));
    engine.state.adapters.loaded(1);
    assert_eq!(engine.step(), (vec![], vec![0, 2], vec![]));
    assert_eq!(engine.step(), (vec![0], vec![], vec![]));
    assert_eq!(engine.step(), (vec![], vec![], vec![load(2, Storage)]));
    engine.state.adapters.loaded(2);
    assert_eq!(engine.step(), (vec![], vec![3], vec![]));
}

/// What is loaded where requests with these adapters are served one after another.
fn loads(gpu: u32, host: u32, adapters: &[u32]) -> Vec<AdapterLoad> {
    let wanted: Vec<(u32, u32)> = adapters.iter().map(|&adapter| (1, adapter)).collect();
    let mut engine = Engine::new(Adapters::new(gpu, host), 1, &wanted);
    adapters.iter().flat_map(|_| engine.step().2).collect()
}

#[test]
fn the_one_that_was_not_used_for_longest_goes() {
    let check = |gpu: u32, host: u32, adapters: &[u32], expected: &[AdapterLoad]| {
        assert_eq!(loads(gpu, host, adapters), expected, "{gpu} of {host}: {adapters:?}");
    };
    let [one, two, three] = [load(1, Storage), load(2, Storage), load(3, Storage)];
    check(1, 1, &[1, 1, 0, 1], &[one]);
    check(1, 2, &[1, 2, 3, 1], &[one, two, three, one]);
    check(1, 3, &[1, 2, 3, 1], &[one, two, three, load(1, Host)]);
    check(2, 3, &[1, 2, 1, 3, 2], &[one, two, three, load(2, Host)]);
    check(2, 3, &[1, 2, 1, 3, 1], &[one, two, three]);
    // The host has no fewer than the GPUs.
    check(2, 0, &[1, 2, 1, 2], &[one, two]);
    // Whatever leaves the host's memory leaves the GPUs.
    check(2, 2, &[1, 2, 3, 1], &[one, two, three, one]);
}

/// The same by lists, the latest first.
fn loads_by_lists(gpu: usize, host: usize, adapters: &[u32]) -> Vec<AdapterLoad> {
    let (mut on_gpu, mut on_host, mut loads) = (Vec::new(), Vec::new(), Vec::new());
    for &adapter in adapters.iter().filter(|&&adapter| adapter > 0) {
        if !on_gpu.contains(&adapter) {
            loads.push(load(adapter, if on_host.contains(&adapter) { Host } else { Storage }));
        }
        for list in [&mut on_gpu, &mut on_host] {
            list.retain(|&other| other != adapter);
            list.insert(0, adapter);
        }
        on_host.truncate(host);
        on_gpu.truncate(gpu);
        on_gpu.retain(|one| on_host.contains(one));
    }
    loads
}

proptest! {
    #[test]
    fn loads_are_those_of_lists(
        gpu in 1_u32..4,
        more in 0_u32..4,
        adapters in prop::collection::vec(0_u32..8, 1..40),
    ) {
        let host = gpu + more;
        prop_assert_eq!(loads(gpu, host, &adapters), loads_by_lists(gpu as usize, host as usize, &adapters));
    }

    /// No batch has more adapters than there is room for, and all of them are on the GPUs; everybody gets a turn.
    #[test]
    fn a_batch_has_no_more_adapters_than_there_is_room_for(
        gpu in 1_u32..4,
        host in 1_u32..6,
        overlapped in any::<bool>(),
        wanted in prop::collection::vec((1_u32..6, 0_u32..8), 1..40),
    ) {
        let adapters = Adapters::new(gpu, host);
        let mut engine = Engine::new(if overlapped { adapters.overlapped() } else { adapters }, 6, &wanted);
        let mut served = vec![0; wanted.len()];
        for _ in 0..400 {
            let (decodes, chunks, loads) = engine.step();
            let mut needed: Vec<u32> = Vec::new();
            for request in decodes.into_iter().chain(chunks) {
                served[request as usize] += 1;
                needed.push(wanted[request as usize].1);
            }
            needed.retain(|&adapter| adapter > 0);
            needed.sort_unstable();
            needed.dedup();
            prop_assert!(needed.len() <= gpu as usize);
            prop_assert!(needed.iter().all(|&adapter| engine.state.adapters.is_on_gpu(adapter)));
            for load in loads {
                engine.state.adapters.loaded(load.adapter);
            }
        }
        let answers: Vec<u32> = wanted.iter().map(|&(output_tokens, _)| output_tokens).collect();
        prop_assert_eq!(served, answers);
    }
}
