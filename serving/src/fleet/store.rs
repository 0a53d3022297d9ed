//! Memory for keys and values that all replicas of a fleet share.

use foretell_serving_policies::Tier;

/// Where contents are that are in no replica's cache but in the memory that all share, instead of a place in the fleet.
pub const STORE: usize = usize::MAX;

/// Memory that all replicas share: prompts that were read in are written to it, the least recently used go first. Whoever reads leaves them there.
#[derive(Debug)]
pub(super) struct Store(Tier);

impl Store {
    pub(super) const fn new(memory: Tier) -> Self {
        Self(memory)
    }

    /// Blocks of a beginning that it has beyond the first so many; they count as used.
    pub(super) fn beyond(&mut self, keys: &[u64], own_blocks: u32) -> u32 {
        let found = keys.iter().take_while(|&&key| self.0.contains(key)).count() as u32;
        let more = found.saturating_sub(own_blocks);
        if more > 0 {
            self.use_all(&keys[..found as usize]);
        }
        more
    }

    /// Takes contents in.
    pub(super) fn write(&mut self, keys: &[u64]) {
        for &key in keys.iter().rev() {
            self.0.store(key);
        }
    }

    /// The last first, so that beginnings, which others are likelier to share, live longest.
    fn use_all(&mut self, keys: &[u64]) {
        for &key in keys.iter().rev() {
            self.0.touch(key);
        }
    }
}
