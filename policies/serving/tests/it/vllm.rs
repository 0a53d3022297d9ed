//! vLLM's scheduler, step by step, against steps worked out by hand.

use foretell_serving_policies::{Batcher, BlockPool, Order, Plan, Sequence, Slot, State, Vllm};

/// A request: prompt, output, priority.
type Wanted = (u32, u32, i32);

/// What an iteration does: requests that decode, and requests that read tokens in, with how many.
type Step = (&'static [u32], &'static [(u32, u32)]);

/// Runs requests that are all there from the beginning, and holds every iteration against what is expected.
fn check(batcher: Vllm, pool: BlockPool, wanted: &[Wanted], expected: &[Step]) {
    let mut batcher = batcher;
    let mut state = State::new(pool);
    for (request, &(prompt_tokens, output_tokens, priority)) in wanted.iter().enumerate() {
        let slot = state.sequences.insert(Sequence {
            arrival_ns: request as u64,
            request: request as u32,
            priority,
            ..Sequence::new(prompt_tokens, output_tokens)
        });
        batcher.enqueue(&mut state, slot);
    }
    let mut plan = Plan::default();
    for (number, &(decodes, chunks)) in expected.iter().enumerate() {
        plan.clear();
        batcher.compose(&mut state, &mut plan);
        let request = |slot: Slot| state.sequences[slot].request;
        let decoding: Vec<u32> = plan.decodes.iter().map(|&slot| request(slot)).collect();
        let reading: Vec<(u32, u32)> =
            plan.chunks.iter().map(|chunk| (request(chunk.slot), chunk.tokens)).collect();
        assert_eq!((decoding.as_slice(), reading.as_slice()), (decodes, chunks), "iteration {number}");
        plan.repeats = 1;
        carry_out(&mut state, &mut plan);
        batcher.conclude(&mut state, &plan);
    }
    plan.clear();
    batcher.compose(&mut state, &mut plan);
    assert!(plan.is_empty(), "nothing is left, not {plan:?}");
}

/// What an engine does with a plan.
fn carry_out(state: &mut State, plan: &mut Plan) {
    let computed = plan.decodes.iter().map(|&slot| (slot, 1));
    let read = plan.chunks.iter().map(|chunk| (chunk.slot, chunk.tokens));
    let all: Vec<(Slot, u32)> = computed.chain(read).collect();
    for (slot, tokens) in all {
        let sequence = &mut state.sequences[slot];
        sequence.computed_tokens += tokens;
        if sequence.uncomputed_tokens() == 0 {
            sequence.generated_tokens += 1;
            sequence.decoding = true;
            if sequence.remaining_tokens() == 0 {
                plan.done.push(slot);
            }
        }
    }
}

fn budget(max_batched_tokens: u32) -> Vllm {
    Vllm { max_batched_tokens, ..Vllm::default() }
}

#[test]
fn a_prompt_is_read_in_what_the_others_leave() {
    check(
        budget(8),
        BlockPool::new(100, 4),
        &[(5, 3, 0), (10, 2, 0)],
        &[(&[], &[(0, 5), (1, 3)]), (&[0], &[(1, 7)]), (&[0, 1], &[])],
    );
}

#[test]
fn without_chunks_a_prompt_waits_for_a_budget_that_holds_it() {
    check(
        Vllm { chunked_prefill: false, ..budget(8) },
        BlockPool::new(100, 4),
        &[(5, 2, 0), (8, 1, 0)],
        &[(&[], &[(0, 5)]), (&[0], &[]), (&[], &[(1, 8)])],
    );
}

#[test]
fn long_prompts_take_a_part_of_the_budget() {
    check(
        Vllm { long_prefill_tokens: 3, ..budget(8) },
        BlockPool::new(100, 4),
        &[(7, 1, 0), (4, 1, 0), (2, 1, 0)],
        &[(&[], &[(0, 3), (1, 3), (2, 2)]), (&[], &[(0, 3), (1, 1)]), (&[], &[(0, 1)])],
    );
}

#[test]
fn the_last_that_was_taken_gives_up_its_blocks() {
    // Four blocks of four tokens: each holds two with its prompt; both need a third for their second token.
    check(
        budget(64),
        BlockPool::new(4, 4),
        &[(8, 3, 0), (8, 3, 0)],
        &[
            (&[], &[(0, 8), (1, 8)]),
            // 1 gives up its two blocks, one of which goes to 0; nobody is taken in the same step.
            (&[0], &[]),
            // One block is free: 1, which has nine tokens, needs three.
            (&[0], &[]),
            (&[], &[(1, 9)]),
            (&[1], &[]),
        ],
    );
}

#[test]
fn the_least_urgent_gives_up_its_blocks_even_if_it_had_its_turn() {
    check(
        Vllm { order: Order::Priority, ..budget(64) },
        BlockPool::new(4, 4),
        &[(7, 3, 5), (8, 2, 1)],
        &[
            // Urgent first.
            (&[], &[(1, 8), (0, 7)]),
            // 1 needs a third block and takes those of 0.
            (&[1], &[]),
            (&[], &[(0, 8)]),
            (&[0], &[]),
        ],
    );
}

#[test]
fn a_limit_of_sequences_holds() {
    check(
        Vllm { max_sequences: 1, ..budget(64) },
        BlockPool::new(100, 4),
        &[(3, 2, 0), (3, 1, 0)],
        &[(&[], &[(0, 3)]), (&[0], &[]), (&[], &[(1, 3)])],
    );
}

#[test]
fn what_was_given_up_is_found_again() {
    // As above, with a cache: of 1's two blocks the last was taken, the first is found.
    let mut state = State::new(BlockPool::with_prefix_cache(4, 4));
    let mut batcher = budget(64);
    for request in 0..2_u64 {
        let slot = state.sequences.insert(Sequence {
            arrival_ns: request,
            request: request as u32,
            ..Sequence::new(8, 3)
        });
        state.blocks.set_keys(slot, &[10 * request + 1, 10 * request + 2]);
        batcher.enqueue(&mut state, slot);
    }
    let mut plan = Plan::default();
    let mut read = Vec::new();
    for _ in 0..4 {
        plan.clear();
        batcher.compose(&mut state, &mut plan);
        carry_out(&mut state, &mut plan);
        batcher.conclude(&mut state, &plan);
        read.push(plan.chunks.iter().map(|chunk| chunk.tokens).collect::<Vec<_>>());
    }
    assert_eq!(read, [vec![8, 8], vec![], vec![], vec![5]], "four of nine tokens are cached");
    assert_eq!(state.prefix_hit_tokens, 4);
}
