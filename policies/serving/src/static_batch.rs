//! Batches that nobody joins.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use crate::orca::Reservation;
use crate::pool::{Limits, admit};
use crate::sequence::{Sequence, Slot};
use crate::state::{Batcher, Plan, State};

/// Static batching, as `FasterTransformer`'s: a batch is made of who waits, and runs until all of it are done; memory is reserved for the longest that a
/// sequence may become, and released when the whole batch is done.
#[derive(Clone, Debug)]
pub struct Static {
    limits: Limits,
    reservation: Reservation,
    /// Batches that are not under way, oldest first.
    ready: VecDeque<Vec<Slot>>,
    /// Batches that are, oldest first.
    under_way: VecDeque<Vec<Slot>>,
}

impl Static {
    /// With the memory that each request reserves.
    pub fn new(limits: Limits, reservation: Reservation) -> Self {
        Self { limits, reservation, ready: VecDeque::new(), under_way: VecDeque::new() }
    }
}

impl Batcher for Static {
    fn can_take(&self, state: &State, sequence: &Sequence) -> bool {
        self.reservation.holds(state, sequence)
    }

    fn compose(&mut self, state: &mut State, plan: &mut Plan) {
        let members = self.ready.pop_front().unwrap_or_else(|| {
            let mut members = Vec::new();
            while members.len() < self.limits.max_batch_sequences as usize {
                let Some(&slot) = state.waiting.front() else { break };
                let reserved = self.reservation.tokens(&state.sequences[slot]);
                if !admit(state, slot, reserved) {
                    break;
                }
                members.push(slot);
            }
            members
        });
        if members.is_empty() {
            return;
        }
        for &slot in &members {
            let sequence = &state.sequences[slot];
            if sequence.remaining_tokens() > 0 {
                plan.push(slot, sequence.uncomputed_tokens(), sequence.decoding);
            }
        }
        plan.heeds_arrivals = false;
        if plan.chunks.is_empty() {
            plan.repeats = state.until_done(&plan.decodes);
        }
        self.under_way.push_back(members);
    }

    fn conclude(&mut self, state: &mut State, _plan: &Plan) {
        // Batches end in the order in which they were begun.
        let Some(members) = self.under_way.pop_front() else { return };
        if members.iter().any(|&slot| state.sequences[slot].remaining_tokens() > 0) {
            self.ready.push_back(members);
            return;
        }
        for &slot in &members {
            state.blocks.release(slot, &mut state.sequences[slot]);
            state.released.push(slot);
        }
        state.running.retain(|slot| !members.contains(slot));
    }
}
