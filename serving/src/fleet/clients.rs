//! Clients that give up, and try again.

use super::attempts::Attempt;
use super::hand_over::Stage;
use super::transport::Transport;
use super::{Fleet, Refusal, Refused};
use crate::engine::{Cancelled, Observer};
use crate::replay::{Arrivals, Replica};

impl<R: Replica, A: Arrivals, O: Observer, T: Transport> Fleet<R, A, O, T> {
    /// A client gives up.
    pub(super) fn deadline(&mut self) {
        let Some((_, id, serial)) = self.deadlines.pop_front() else { return };
        let Some(attempt) = self.attempts.get_mut(id).filter(|attempt| attempt.serial == serial) else {
            return;
        };
        attempt.given_up = true;
        let again = attempt.clone();
        self.tries.given_up += 1;
        if again.queued {
            self.queued -= 1;
            self.watched.leaves(self.now_ns);
        } else if self.options.cancels {
            self.cancel(id);
        }
        self.again(again, Refusal::TimedOut);
        self.begin_touched();
    }

    /// Whoever computes a try stops.
    fn cancel(&mut self, id: u32) {
        let Some(attempt) = self.attempts.get_mut(id) else { return };
        let Some(replica) = attempt.replica else { return };
        let server = self.members[replica].replica.as_mut();
        let Some(cancelled) = server.and_then(|server| server.cancel(id, self.now_ns)) else { return };
        attempt.cancelled = true;
        self.tries.cancelled += 1;
        if cancelled == Cancelled::AtOnce {
            let handed_over = attempt.stage;
            self.attempts.remove(id);
            self.watched.leaves(self.now_ns);
            if let Stage::HandedOver { from, .. } = handed_over {
                self.give_up_kept(from, id);
            }
        }
        self.touch(replica);
    }

    /// A client tries again, if it still does.
    pub(super) fn again(&mut self, attempt: Attempt, refusal: Refusal) {
        if attempt.tries >= self.options.retries {
            self.refuse(&attempt, refusal);
            return;
        }
        self.tries.retried += 1;
        let wait_ns = self.options.backoff_ns.saturating_mul(1 << attempt.tries.min(32));
        self.tried += 1;
        let again = Attempt {
            tries: attempt.tries + 1,
            given_up: false,
            cancelled: false,
            replica: None,
            queued: false,
            stage: Stage::Rest,
            copy: None,
            ..attempt
        };
        self.retries.insert((self.now_ns.saturating_add(wait_ns), self.tried), again);
    }

    pub(super) fn refuse(&mut self, attempt: &Attempt, refusal: Refusal) {
        self.tries.refused += 1;
        self.refused.push(Refused { request: attempt.index, arrival_ns: attempt.arrival_ns, why: refusal });
        self.arrivals.refused(attempt.index, self.now_ns, refusal);
    }

    pub(super) fn turn_away(&mut self, id: u32, refusal: Refusal) {
        self.watched.leaves(self.now_ns);
        if let Some(attempt) = self.attempts.remove(id) {
            self.again(attempt, refusal);
        }
    }
}
