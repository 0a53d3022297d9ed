//! Memory that is held and memory that is used, worked out by hand.

use foretell_serving_policies::{Batcher, BlockPool, Limits, Orca, Plan, Reservation, Sequence, State};

fn sequence(prompt_tokens: u32, output_tokens: u32, limit_tokens: u32) -> Sequence {
    Sequence { limit_tokens, ..Sequence::new(prompt_tokens, output_tokens) }
}

/// `[blocks used, tokens held, tokens of room]`.
fn figures(pool: &BlockPool) -> [u64; 3] {
    [u64::from(pool.used_blocks()), pool.held_tokens(), pool.unfilled_tokens()]
}

#[test]
fn what_is_reserved_is_as_stated() {
    let check = |reservation, expected: u64| {
        let mut state = State::new(BlockPool::new(4096, 1));
        let mut batcher = Orca::new(Limits::of_stages(4, 1, 0), reservation);
        // 100 tokens of prompt, 25 of answer, 200 asked for.
        let slot = state.sequences.insert(sequence(100, 25, 200));
        batcher.enqueue(&mut state, slot);
        let mut plan = Plan::default();
        batcher.compose(&mut state, &mut plan);
        assert_eq!(figures(&state.blocks), [expected, 0, expected], "{reservation:?}");
        state.sequences[slot].computed_tokens += plan.chunks[0].tokens;
        state.blocks.fill(100);
        assert_eq!(figures(&state.blocks), [expected, 100, expected - 100], "{reservation:?}");
        state.blocks.release(slot, &mut state.sequences[slot]);
        assert_eq!(figures(&state.blocks), [0; 3], "{reservation:?}");
    };
    // The last token is never computed.
    check(Reservation::Oracle, 100 + 25 - 1);
    check(Reservation::PowerOfTwo, 100 + 32 - 1);
    check(Reservation::Limit, 100 + 200 - 1);
    check(Reservation::Longest(2048), 2048);
}

#[test]
fn shared_blocks_count_once_and_are_full() {
    let mut state = State::new(BlockPool::with_prefix_cache(16, 4));
    let mut take = |prompt_tokens: u32, keys: &[u64], expected: [u64; 3]| {
        let slot = state.sequences.insert(sequence(prompt_tokens, 1, 1));
        state.blocks.set_keys(slot, keys);
        let sequence = &mut state.sequences[slot];
        let hit = state.blocks.hit(slot, sequence);
        state.blocks.claim(slot, sequence, hit);
        assert!(state.blocks.grow(slot, sequence, prompt_tokens));
        state.blocks.fill(u64::from(prompt_tokens - sequence.computed_tokens));
        sequence.computed_tokens = prompt_tokens;
        state.blocks.publish(slot, prompt_tokens);
        assert_eq!(figures(&state.blocks), expected);
        slot
    };
    // Two full blocks and one token of a third; then two tokens of another third.
    let first = take(9, &[1, 2], [3, 9, 3]);
    let second = take(10, &[1, 2], [4, 11, 5]);
    state.blocks.release(first, &mut state.sequences[first]);
    assert_eq!(figures(&state.blocks), [3, 10, 2]);
    state.blocks.release(second, &mut state.sequences[second]);
    assert_eq!(figures(&state.blocks), [0; 3]);
}
