//! Blocks: who holds them, who finds them, who loses them.

use foretell_serving_policies::{BlockPool, HandOver, Hit, Sequence, Sequences, Slot};
use proptest::prelude::*;

const BLOCK_TOKENS: u32 = 4;

/// A pool and the sequences that use it.
struct Bench {
    pool: BlockPool,
    sequences: Sequences,
}

impl Bench {
    fn new(blocks: u32) -> Self {
        Self { pool: BlockPool::with_prefix_cache(blocks, BLOCK_TOKENS), sequences: Sequences::default() }
    }

    /// A sequence of these contents and some tokens more, which takes what is cached and computes the rest: what was cached.
    fn take(&mut self, keys: &[u64], further_tokens: u32) -> (Slot, Hit) {
        let slot = self.sequences.insert(sequence(keys.len() as u32 * BLOCK_TOKENS + further_tokens));
        self.pool.set_keys(slot, keys);
        let sequence = &mut self.sequences[slot];
        let hit = self.pool.hit(slot, sequence);
        self.pool.claim(slot, sequence, hit);
        let tokens = sequence.prompt_tokens;
        assert!(self.pool.grow(slot, sequence, tokens), "room for {tokens} tokens");
        self.pool.publish(slot, tokens);
        (slot, hit)
    }

    fn give_back(&mut self, slot: Slot) {
        self.pool.release(slot, &mut self.sequences[slot]);
        self.sequences.remove(slot);
    }

    fn held(&self, slot: Slot) -> Vec<u32> {
        self.pool.prefix_cache().map(|cache| cache.held(slot).to_vec()).unwrap_or_default()
    }

    fn vacant(&self) -> Vec<u32> {
        self.pool.prefix_cache().map(|cache| cache.vacant().collect()).unwrap_or_default()
    }
}

fn sequence(prompt_tokens: u32) -> Sequence {
    Sequence {
        arrival_ns: 0,
        request: 0,
        priority: 0,
        prompt_tokens,
        output_tokens: 1,
        limit_tokens: 1,
        generated_tokens: 0,
        computed_tokens: 0,
        blocks: 0,
        decoding: false,
        in_flight: false,
        hand_over: HandOver::None,
    }
}

#[test]
fn the_end_of_a_sequence_is_given_up_first() {
    let mut bench = Bench::new(6);
    let (first, _) = bench.take(&[1, 2, 3], 1);
    assert_eq!((bench.held(first), bench.vacant()), (vec![0, 1, 2, 3], vec![4, 5]));
    bench.give_back(first);
    // Behind those that were never used: the last block of the sequence first.
    assert_eq!(bench.vacant(), vec![4, 5, 3, 2, 1, 0]);
    // Five new blocks: those without contents, then the end of the first sequence. Its beginning stays.
    let (second, _) = bench.take(&[7, 8, 9, 10], 1);
    assert_eq!((bench.held(second), bench.vacant()), (vec![4, 5, 3, 2, 1], vec![0]));
    bench.give_back(second);
    let (third, hit) = bench.take(&[1, 2], 1);
    assert_eq!(hit, Hit { blocks: 1, vacant_blocks: 1, lower_blocks: 0 });
    assert_eq!(bench.held(third)[0], 0, "the block that has the contents");
}

#[test]
fn a_block_is_shared_while_somebody_holds_it() {
    let mut bench = Bench::new(8);
    let (first, _) = bench.take(&[1, 2], 1);
    let (second, hit) = bench.take(&[1, 2], 2);
    assert_eq!(hit, Hit { blocks: 2, vacant_blocks: 0, lower_blocks: 0 });
    assert_eq!(bench.held(second), vec![0, 1, 3], "two shared and one of its own");
    assert_eq!(bench.pool.free_blocks(), 4);
    bench.give_back(first);
    assert_eq!(bench.pool.free_blocks(), 5, "only its own");
    assert_eq!(bench.vacant(), vec![4, 5, 6, 7, 2]);
    bench.give_back(second);
    assert_eq!(bench.vacant(), vec![4, 5, 6, 7, 2, 3, 1, 0]);
}

#[test]
fn a_token_is_always_left_to_compute() {
    let mut bench = Bench::new(8);
    let (first, _) = bench.take(&[1, 2], 0);
    let (second, hit) = bench.take(&[1, 2], 0);
    assert_eq!(
        hit,
        Hit { blocks: 1, vacant_blocks: 0, lower_blocks: 0 },
        "eight tokens are cached, one must be computed"
    );
    // The second block is there twice now; when the first of the two is given up the other is found.
    bench.give_back(first);
    let held = bench.held(second);
    assert_eq!(held, vec![0, 2]);
    let (third, _) = bench.take(&[21, 22, 23, 24, 25], 0);
    assert_eq!(bench.held(third), vec![3, 4, 5, 6, 7]);
    let (fourth, _) = bench.take(&[31], 0);
    assert_eq!(bench.held(fourth), vec![1], "the one that nobody holds");
    bench.give_back(third);
    let (fifth, hit) = bench.take(&[1, 2], 1);
    assert_eq!((hit.blocks, bench.held(fifth)[..2].to_vec()), (2, held));
}

proptest! {
    /// Whatever is taken and given back: blocks are held as often as sequences have them, nobody holds those that are vacant, and free blocks are counted right.
    #[test]
    fn blocks_are_held_as_often_as_counted(
        steps in prop::collection::vec((any::<bool>(), prop::collection::vec(0_u64..5, 1..5), 0_u32..9), 1..60),
    ) {
        const BLOCKS: u32 = 24;
        let mut bench = Bench::new(BLOCKS);
        let mut living: Vec<Slot> = Vec::new();
        // What blocks contain, in the order in which it came to be found.
        let mut published: Vec<(u64, u32)> = Vec::new();
        for (take, contents, further) in steps {
            // Keys say all that comes before.
            let keys: Vec<u64> = contents.iter().scan(7_u64, |chain, &content| {
                *chain = chain.wrapping_mul(31).wrapping_add(content + 1);
                Some(*chain)
            }).collect();
            let needed = bench.pool.blocks_for(keys.len() as u32 * BLOCK_TOKENS + further);
            if take && needed <= bench.pool.free_blocks() {
                let most = (keys.len() as u32 * BLOCK_TOKENS + further - 1) / BLOCK_TOKENS;
                let found: Vec<u32> = keys
                    .iter()
                    .take(most as usize)
                    .map_while(|&key| published.iter().find(|&&(of, _)| of == key).map(|&(_, block)| block))
                    .collect();
                let (slot, hit) = bench.take(&keys, further);
                let held = bench.held(slot);
                prop_assert_eq!(&held[..hit.blocks as usize], found.as_slice());
                let fresh = &held[found.len()..];
                published.retain(|(_, block)| !fresh.contains(block));
                published.extend(keys.iter().copied().zip(held).skip(found.len()));
                living.push(slot);
            } else if !living.is_empty() {
                let slot = living.remove(further as usize % living.len());
                bench.give_back(slot);
            }
            let cache = bench.pool.prefix_cache().expect("made with one");
            let mut holders = vec![0; BLOCKS as usize];
            for &slot in &living {
                for &block in cache.held(slot) {
                    holders[block as usize] += 1;
                }
            }
            for block in 0..BLOCKS {
                prop_assert_eq!(cache.holders(block), holders[block as usize], "block {}", block);
            }
            let vacant: Vec<u32> = cache.vacant().collect();
            prop_assert_eq!(vacant.len() as u32, bench.pool.free_blocks());
            prop_assert!(vacant.iter().all(|&block| holders[block as usize] == 0));
        }
    }
}
