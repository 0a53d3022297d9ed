//! Memory below the GPU's, worked out by hand.

use foretell_serving_policies::{
    Batcher, BlockPool, Fetch, Hit, Plan, PrefixCache, Sequence, Slot, State, Tier, Vllm,
};

/// An engine of five blocks of four tokens above tiers of so many, on which one request after another is run.
struct Bench {
    state: State,
    batcher: Vllm,
}

impl Bench {
    fn new(tiers: &[u32]) -> Self {
        let pool = BlockPool::with_prefix_cache(5, 4).with_tiers(tiers);
        Self { state: State::new(pool), batcher: Vllm { max_batched_tokens: 64, ..Vllm::default() } }
    }

    /// A request for one token after a prompt of these blocks and a token more.
    fn enqueue(&mut self, keys: &[u64]) -> Slot {
        let slot = self.state.sequences.insert(Sequence::new(4 * keys.len() as u32 + 1, 1));
        self.state.blocks.set_keys(slot, keys);
        self.batcher.enqueue(&mut self.state, slot);
        slot
    }

    /// What the next iteration reads in.
    fn step(&mut self) -> Vec<(Slot, u32)> {
        let mut plan = Plan::default();
        self.batcher.compose(&mut self.state, &mut plan);
        for chunk in &plan.chunks {
            let sequence = &mut self.state.sequences[chunk.slot];
            sequence.computed_tokens += chunk.tokens;
            sequence.generated_tokens = 1;
            plan.done.push(chunk.slot);
        }
        self.batcher.conclude(&mut self.state, &plan);
        plan.chunks.iter().map(|chunk| (chunk.slot, chunk.tokens)).collect()
    }

    /// Runs a request to its end: what each tier gave, and the tokens that it computed.
    fn run(&mut self, keys: &[u64]) -> (Vec<u32>, u32) {
        let slot = self.enqueue(keys);
        let mut read = self.step();
        let mut from = Vec::new();
        if let Some(fetch) = self.state.fetches.pop() {
            assert_eq!((read, fetch.slot), (vec![], slot), "it waits for what it reads");
            self.state.fetched(&fetch);
            from = fetch.blocks;
            read = self.step();
        }
        assert_eq!((read.len(), self.state.running.len(), self.state.waiting.len()), (1, 0, 0));
        (from, read[0].1)
    }

    fn tiers(&self) -> &[Tier] {
        self.state.blocks.prefix_cache().map_or(&[], PrefixCache::tiers)
    }

    fn contents(&self) -> Vec<Vec<u64>> {
        self.tiers().iter().map(|tier| tier.contents().collect()).collect()
    }
}

#[test]
fn what_the_gpu_gives_up_goes_down_tier_by_tier() {
    let mut bench = Bench::new(&[3, 3]);
    assert_eq!(bench.run(&[1, 2, 3]), (vec![], 13));
    assert_eq!(bench.contents(), [vec![], vec![]]);
    // Blocks without contents first, then 3 and 2: the end of what was used first.
    assert_eq!(bench.run(&[4, 5, 6]), (vec![], 13));
    assert_eq!(bench.contents(), [vec![3, 2], vec![]]);
    // The GPU gives up 1, 6 and 5; for 6 and 5 the near tier gives up 3 and 2.
    assert_eq!(bench.run(&[7, 8, 9]), (vec![], 13));
    assert_eq!(bench.contents(), [vec![1, 6, 5], vec![3, 2]]);
    // 1 is near, 2 and 3 are far. They are read where they are, and stay there; then for the blocks that they and the last token need the GPU
    // gives up 4, 9 and 8, for which the near tier gives up 6, 5 and 1, for which the far tier gives up 3 and 2.
    assert_eq!(bench.run(&[1, 2, 3]), (vec![1, 2], 1));
    assert_eq!(bench.contents(), [vec![4, 9, 8], vec![6, 5, 1]]);
    let counts: Vec<(u64, u64)> =
        bench.tiers().iter().map(|tier| (tier.hit_blocks(), tier.stored_blocks())).collect();
    assert_eq!(counts, [(1, 8), (2, 5)]);
}

#[test]
fn reading_makes_contents_the_last_to_go() {
    let mut bench = Bench::new(&[8]);
    bench.run(&[1, 2, 3, 4]);
    // 4 and 3 and so on down to 1 are given up in this order.
    bench.run(&[5, 6, 7, 8]);
    assert_eq!(bench.contents(), [[4, 3, 2, 1]]);
    let (from, computed) = bench.run(&[1, 2]);
    assert_eq!((from, computed), (vec![2], 1));
    // 2 and 1 were read; a block without contents, 8 and 7 had to go for them and the last token.
    assert_eq!(bench.contents(), [[4, 3, 2, 1, 8, 7]]);
    // What is on the GPU is not looked for below.
    assert_eq!(bench.run(&[1, 2]), (vec![], 1));
}

#[test]
fn a_beginning_ends_where_nobody_has_it() {
    let mut bench = Bench::new(&[2]);
    bench.run(&[1, 2, 3, 4]);
    bench.run(&[5, 6, 7, 8]);
    // 4 and 3 were pushed out by 2 and 1.
    assert_eq!(bench.contents(), [[2, 1]]);
    let slot = bench.enqueue(&[1, 2, 3, 4]);
    let sequence = bench.state.sequences[slot];
    let hit = bench.state.blocks.hit(slot, &sequence);
    assert_eq!(hit, Hit { blocks: 0, vacant_blocks: 0, lower_blocks: 2 });
}

#[test]
fn others_go_before_who_waits_for_contents() {
    let mut bench = Bench::new(&[8]);
    bench.run(&[1, 2, 3, 4]);
    bench.run(&[5, 6, 7, 8]);
    let reading = bench.enqueue(&[1]);
    let other = bench.enqueue(&[21]);
    assert_eq!(bench.step(), [(other, 5)]);
    assert_eq!(
        bench.state.fetches,
        [Fetch { slot: reading, blocks: vec![1], handed_blocks: None, computed_tokens: 4 }]
    );
    let fetch = bench.state.fetches.remove(0);
    // Still on its way; whoever comes goes first.
    let further = bench.enqueue(&[22]);
    assert_eq!(bench.step(), [(further, 5)]);
    assert_eq!(bench.step(), []);
    // Back in front.
    bench.state.fetched(&fetch);
    let last = bench.enqueue(&[23]);
    assert_eq!(bench.step(), [(reading, 1), (last, 5)]);
}

#[test]
fn who_holds_contents_gives_them_up_for_the_first() {
    let mut bench = Bench::new(&[8]);
    bench.run(&[1, 2, 3, 4]);
    bench.run(&[5, 6, 7, 8]);
    // Reads one block, and would need another.
    let reading = bench.enqueue(&[1]);
    assert_eq!(bench.step(), []);
    let fetch = bench.state.fetches.remove(0);
    bench.state.fetched(&fetch);
    // Somebody who needs all five blocks is put before it.
    let all = bench.enqueue(&[31, 32, 33, 34]);
    let State { waiting, sequences, .. } = &mut bench.state;
    waiting.remove(1, &sequences[all]);
    waiting.push_front(all, &sequences[all]);
    assert_eq!(bench.step(), [(all, 17)]);
    assert_eq!(bench.state.sequences[reading].blocks, 0);
}
