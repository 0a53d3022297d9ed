//! Blocks: who holds them, who finds them, who loses them.

use foretell_serving_policies::{BlockPool, Hit, PrefixCache, Sequence, Sequences, Slot};
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
        let slot = self.sequences.insert(Sequence::new(keys.len() as u32 * BLOCK_TOKENS + further_tokens, 1));
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

    /// Keys of the contents of blocks that nobody holds, in the order in which they will be taken; 0 for those without.
    fn vacant(&self) -> Vec<u64> {
        self.cache().vacant().map(Option::unwrap_or_default).collect()
    }

    fn cache(&self) -> &PrefixCache {
        self.pool.prefix_cache().expect("made with one")
    }
}

#[test]
fn the_end_of_a_sequence_is_given_up_first() {
    let mut bench = Bench::new(6);
    let (first, _) = bench.take(&[1, 2, 3], 1);
    assert_eq!(bench.vacant(), [0, 0]);
    bench.give_back(first);
    // Behind those that were never used: the last block of the sequence first.
    assert_eq!(bench.vacant(), [0, 0, 0, 3, 2, 1]);
    // Five new blocks: those without contents, then the end of the first sequence. Its beginning stays.
    let (second, _) = bench.take(&[7, 8, 9, 10], 1);
    assert_eq!(bench.vacant(), [1]);
    bench.give_back(second);
    assert_eq!(bench.vacant(), [1, 0, 10, 9, 8, 7]);
    let (_, hit) = bench.take(&[1, 2], 1);
    assert_eq!(hit, Hit { blocks: 1, vacant_blocks: 1, lower_blocks: 0 });
    // Two of its own from the head of the queue, its beginning out of the middle.
    assert_eq!(bench.vacant(), [9, 8, 7]);
}

#[test]
fn a_block_is_shared_while_somebody_holds_it() {
    let mut bench = Bench::new(8);
    let (first, _) = bench.take(&[1, 2], 1);
    let (second, hit) = bench.take(&[1, 2], 2);
    assert_eq!(hit, Hit { blocks: 2, vacant_blocks: 0, lower_blocks: 0 });
    assert_eq!((bench.cache().holders(1), bench.cache().holders(2)), (Some(2), Some(2)));
    assert_eq!(bench.pool.free_blocks(), 4, "two shared and one of each");
    bench.give_back(first);
    assert_eq!(bench.pool.free_blocks(), 5, "only its own");
    assert_eq!(bench.vacant(), [0; 5]);
    bench.give_back(second);
    assert_eq!(bench.vacant(), [0, 0, 0, 0, 0, 0, 2, 1]);
    assert_eq!(bench.cache().holders(1), Some(0));
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
    assert_eq!(bench.vacant(), [0, 0, 0, 0, 0, 2]);
    let (third, _) = bench.take(&[21, 22, 23, 24, 25], 0);
    assert_eq!((bench.vacant(), bench.cache().holders(2)), (vec![2], Some(0)), "the one that nobody holds");
    let (fourth, _) = bench.take(&[31], 0);
    assert_eq!((bench.vacant(), bench.cache().holders(2)), (vec![], Some(1)), "the other");
    bench.give_back(third);
    bench.give_back(fourth);
    let (_, hit) = bench.take(&[1, 2], 1);
    assert_eq!(hit, Hit { blocks: 2, vacant_blocks: 0, lower_blocks: 0 });
    bench.give_back(second);
}

/// The same, block by block: each is somebody, with contents or without.
#[derive(Default)]
struct Naive {
    /// Contents of each, and who holds it.
    blocks: Vec<(Option<u64>, u32)>,
    /// Those that nobody holds, the next to be taken first.
    vacant: Vec<usize>,
    /// What can be found where, in the order in which it was published.
    published: Vec<(u64, usize)>,
    /// What sequences hold.
    held: Vec<(Slot, Vec<usize>)>,
}

impl Naive {
    fn new(blocks: usize) -> Self {
        Self { blocks: vec![(None, 0); blocks], vacant: (0..blocks).collect(), ..Self::default() }
    }

    fn take(&mut self, slot: Slot, keys: &[u64], most: usize, count: usize) -> Hit {
        let found = |key: &u64| self.published.iter().find(|(of, _)| of == key).map(|&(_, block)| block);
        let mut held: Vec<usize> = keys.iter().take(most).map_while(found).collect();
        let hit = Hit {
            blocks: held.len() as u32,
            vacant_blocks: held.iter().filter(|&&block| self.blocks[block].1 == 0).count() as u32,
            lower_blocks: 0,
        };
        self.vacant.retain(|block| !held.contains(block));
        let fresh: Vec<usize> = self.vacant.drain(..count - held.len()).collect();
        for &block in &fresh {
            self.blocks[block].0 = None;
        }
        self.published.retain(|(_, block)| !fresh.contains(block));
        held.extend(fresh);
        for (&key, &block) in keys.iter().zip(&held).skip(hit.blocks as usize) {
            self.blocks[block].0 = Some(key);
            self.published.push((key, block));
        }
        for &block in &held {
            self.blocks[block].1 += 1;
        }
        self.held.push((slot, held));
        hit
    }

    fn give_back(&mut self, at: usize) -> Slot {
        let (slot, held) = self.held.remove(at);
        for &block in held.iter().rev() {
            self.blocks[block].1 -= 1;
            if self.blocks[block].1 == 0 {
                self.vacant.push(block);
            }
        }
        slot
    }
}

proptest! {
    /// Whatever is taken and given back: what is found, who holds it, and what is given up next is as if each block were somebody.
    #[test]
    fn blocks_are_as_if_each_were_somebody(
        steps in prop::collection::vec((any::<bool>(), prop::collection::vec(0_u64..5, 1..5), 0_u32..9), 1..60),
    ) {
        const BLOCKS: u32 = 24;
        let (mut bench, mut naive) = (Bench::new(BLOCKS), Naive::new(BLOCKS as usize));
        for (take, contents, further) in steps {
            // Keys say all that comes before.
            let keys: Vec<u64> = contents.iter().scan(7_u64, |chain, &content| {
                *chain = chain.wrapping_mul(31).wrapping_add(content + 1);
                Some(*chain)
            }).collect();
            let tokens = keys.len() as u32 * BLOCK_TOKENS + further;
            let needed = bench.pool.blocks_for(tokens);
            if take && needed <= bench.pool.free_blocks() {
                let (slot, hit) = bench.take(&keys, further);
                let most = (tokens - 1) / BLOCK_TOKENS;
                prop_assert_eq!(hit, naive.take(slot, &keys, most as usize, needed as usize));
            } else if !naive.held.is_empty() {
                bench.give_back(naive.give_back(further as usize % naive.held.len()));
            }
            let vacant: Vec<u64> = naive.vacant.iter().map(|&block| naive.blocks[block].0.unwrap_or_default()).collect();
            prop_assert_eq!(bench.vacant(), vacant);
            prop_assert_eq!(bench.pool.free_blocks() as usize, naive.vacant.len());
            for &(key, _) in &naive.published {
                let first = naive.published.iter().find(|(of, _)| *of == key).map(|&(_, block)| naive.blocks[block].1);
                prop_assert_eq!(bench.cache().holders(key), first);
            }
        }
    }
}
