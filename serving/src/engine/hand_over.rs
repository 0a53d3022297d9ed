//! Requests whose prompt one replica reads in, and whose answer another generates.

use foretell_serving_policies::{Batcher, Fetch, HandOver, Sequence, Slot, State};

use super::{Engine, Timing};
use crate::batch::StepLaw;

/// What a replica does of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    /// All of it, but for the keys and values of so many tokens from its beginning, which another replica has.
    Whole {
        /// See there.
        copied_tokens: u32,
    },
    /// It reads its prompt in, but for these, which gives the first token, and keeps what it computed until [`Engine::give_up_kept`].
    Prompt {
        /// See there.
        copied_tokens: u32,
    },
    /// It generates what comes after the first token. What it has to read for that it says by [`Engine::take_wanted`], once it has blocks for it.
    Answer(Handed),
}

/// What became of a request where its prompt was read in.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Handed {
    /// When the first iteration that it was part of began.
    pub scheduled_ns: u64,
    /// When its first token was there.
    pub first_token_ns: u64,
    /// Tokens of its prompt that were in the cache.
    pub cached_tokens: u32,
    /// How often it had to give up its memory.
    pub preemptions: u32,
}

impl Part {
    /// All of a request of which nobody has anything.
    pub const ALL: Self = Self::Whole { copied_tokens: 0 };

    pub(super) const fn generated_tokens(self) -> u32 {
        match self {
            Self::Whole { .. } | Self::Prompt { .. } => 0,
            Self::Answer(_) => 1,
        }
    }

    pub(super) const fn hand_over(self, prompt_tokens: u32) -> HandOver {
        match self {
            Self::Whole { copied_tokens: 0 } => HandOver::None,
            Self::Whole { copied_tokens: tokens } => HandOver::Awaits { tokens, keeps: false },
            Self::Prompt { copied_tokens: 0 } => HandOver::Keeps,
            Self::Prompt { copied_tokens: tokens } => HandOver::Awaits { tokens, keeps: true },
            Self::Answer(_) => HandOver::Awaits { tokens: prompt_tokens, keeps: false },
        }
    }

    pub(super) const fn timing(self) -> Timing {
        match self {
            Self::Whole { .. } | Self::Prompt { .. } => Timing::NONE,
            Self::Answer(handed) => Timing {
                scheduled_ns: handed.scheduled_ns,
                first_token_ns: handed.first_token_ns,
                last_token_ns: handed.first_token_ns,
                cached_tokens: handed.cached_tokens,
                preemptions: handed.preemptions,
                ..Timing::NONE
            },
        }
    }
}

/// Contents that a replica has blocks for now, and that another has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Wanted {
    /// The caller's index of the request.
    pub request: u32,
    /// Blocks.
    pub blocks: u32,
}

/// What is kept for other replicas, and expected from them.
#[derive(Clone, Default, Debug)]
pub(super) struct Handing {
    /// Requests that are done whose memory is kept.
    kept: Vec<(u32, Slot)>,
    /// What was not yet asked for.
    wanted: Vec<Wanted>,
    /// Requests that wait for contents.
    awaited: Vec<(u32, Fetch)>,
}

impl Handing {
    pub(super) const fn kept(&self) -> usize {
        self.kept.len()
    }

    pub(super) fn keep(&mut self, request: u32, slot: Slot) {
        self.kept.push((request, slot));
    }

    pub(super) fn want(&mut self, wanted: Wanted, fetch: Fetch) {
        self.awaited.push((wanted.request, fetch));
        self.wanted.push(wanted);
    }
}

impl<L: StepLaw, B: Batcher + ?Sized> Engine<L, B> {
    /// Contents that it needs from other replicas since this was last asked.
    pub fn take_wanted(&mut self) -> impl Iterator<Item = Wanted> + '_ {
        self.handing.wanted.drain(..)
    }

    /// Contents have come from another replica; whether it was this one that needed them. [`Self::begin`] has to be called after that.
    pub fn deliver(&mut self, request: u32, now_ns: u64) -> bool {
        let awaited = &mut self.handing.awaited;
        let Some(place) = awaited.iter().position(|&(other, _)| other == request) else { return false };
        let (_, fetch) = awaited.remove(place);
        // What tiers below have of it is read after that.
        if fetch.blocks.iter().all(|&blocks| blocks == 0) {
            self.state.fetched(&fetch);
        } else {
            self.fetches.begin(now_ns, fetch);
        }
        self.cut_row(now_ns);
        true
    }

    /// Contents will never come: they are computed anew. Whether it was this one that needed them. [`Self::begin`] has to be called after that.
    pub fn give_up_awaited(&mut self, request: u32, now_ns: u64) -> bool {
        let State { sequences, waiting, blocks, .. } = &mut self.state;
        let awaits = |slot: &Slot| {
            let sequence = &sequences[*slot];
            sequence.request == request && matches!(sequence.hand_over, HandOver::Awaits { .. })
        };
        let Some(slot) = waiting.iter().copied().find(awaits) else { return false };
        let sequence = &mut sequences[slot];
        blocks.release(slot, sequence);
        waiting.alter(sequence, Sequence::restart);
        self.handing.awaited.retain(|&(other, _)| other != request);
        self.handing.wanted.retain(|wanted| wanted.request != request);
        self.cut_row(now_ns);
        true
    }

    /// What was kept of a request is not needed any more; whether it was this one that kept it. [`Self::begin`] has to be called after that.
    pub fn give_up_kept(&mut self, request: u32, now_ns: u64) -> bool {
        let kept = &mut self.handing.kept;
        let Some(place) = kept.iter().position(|&(other, _)| other == request) else { return false };
        let (_, slot) = kept.swap_remove(place);
        self.state.blocks.release(slot, &mut self.state.sequences[slot]);
        self.state.sequences.remove(slot);
        // Whoever waits for room may have it now.
        self.cut_row(now_ns);
        true
    }
}
