//! Reservations and backfilling, as scenarios say them.

use foretell_scenarios::Plan;
use foretell_scenarios::sim::framework::{ClusterState, Time};
use foretell_scenarios::sim::log::{Observer, Record};

use crate::{check, read, with};

#[test]
fn what_cannot_be_is_said() {
    let reservations = |text: &str| with("[workload.synthetic]", &format!("{text}\n[workload.synthetic]"));
    check(
        &reservations(
            "[[reservation]]\nname = \"a\"\nduration_s = 1\nnodes = [\"dgx-h100-0002\"]\n\
             [[reservation]]\nname = \"a\"\nduration_s = 1\n\
             [[reservation]]\nname = \"b\"\nduration_s = 1\ngpus = 1\nnodes = [\"dgx-h100-0000\"]",
        ),
        "8:10: reservation[0].nodes[0]: unknown node `dgx-h100-0002` (did you mean `dgx-h100-0000`?)\n\
         9:1: reservation[1]: expected exactly one of `nodes` and `gpus`, got neither\n\
         10:8: reservation[1].name: two reservations have the name `a`\n\
         12:1: reservation[2]: expected exactly one of `nodes` and `gpus`, got both",
    );
}

#[derive(Default)]
struct FirstStart(Option<Time>);

impl Observer for FirstStart {
    fn advance(&mut self, _from: Time, _to: Time, _state: &ClusterState) {}

    fn record(&mut self, now: Time, record: &Record<'_>, _state: &ClusterState) {
        if matches!(record, Record::JobStarted { .. }) {
            self.0.get_or_insert(now);
        }
    }
}

#[test]
fn jobs_wait_for_the_end_of_a_reservation() {
    let kept =
        "[[reservation]]\nname = \"maintenance\"\nduration_s = 1000000\ngpus = 1000\n[workload.synthetic]";
    for policy in ["fifo+binpack", "easy+binpack", "conservative+spread", "aging+fgd"] {
        let plan = Plan::new(read(&with("[workload.synthetic]", kept), &[]).unwrap()).unwrap();
        let mut first = FirstStart::default();
        plan.run(policy, &mut first, &mut |_| ()).unwrap();
        assert_eq!(first.0, Some(Time::from_s(1_000_000.0)), "{policy}");
    }
}
