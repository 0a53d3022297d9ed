//! How the tasks of one job are placed, for actions that take jobs in an order.

use rand::Rng;

use crate::id::JobId;
use crate::plugins::Plugins;
use crate::reason::Reason;
use crate::session::Transaction;

/// Places the tasks of one job.
pub trait PlaceJob {
    /// Its name.
    fn name(&self) -> &'static str;

    /// Places tasks of the job that wait, all of them or as many as it can; says whether none waits any more. What
    /// was placed stays in the transaction: whether it is worth committing is for the caller to say.
    fn place(
        &mut self,
        transaction: &mut Transaction<'_>,
        plugins: &mut Plugins,
        random: &mut dyn Rng,
        job: JobId,
    ) -> bool;

    /// Whether it draws nodes or devices at random itself, apart from what the [plugins do](Plugins::draws).
    fn draws(&self) -> bool {
        false
    }

    /// Why tasks of the job would wait. The transaction may be left with placements.
    fn explain(
        &mut self,
        transaction: &mut Transaction<'_>,
        plugins: &mut Plugins,
        random: &mut dyn Rng,
        job: JobId,
    ) -> Reason;
}
