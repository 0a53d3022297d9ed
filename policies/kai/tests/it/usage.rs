//! What queues had in the past lowers what they get of what nobody deserves.

use foretell_framework::{ClusterState, Decision, JobSpec, Profile, Session, TaskStatus, Time};
use foretell_kai::{Kai, KaiConfig, UsageConfig};
use foretell_testkit::placement::random;
use foretell_testkit::{cluster, task_spec};

fn submit(state: &mut ClusterState, queue: &str, runs: bool) {
    let spec = task_spec(state, "1gpu cpu=1");
    let (class, queue) = (state.class(&spec), state.queue_id(queue));
    let job = state.add_job(JobSpec::new(state.jobs().count() as u64, queue, [(class, 1)]));
    if runs {
        let (task, node) = (state.job(job).unwrap().tasks()[0], state.node_ids().next().unwrap());
        state.observe_task(task, node, None, TaskStatus::Running);
    }
}

fn stopped(profile: &mut Profile, state: &mut ClusterState, now_s: f64) -> usize {
    let (mut random, mut decisions) = (random(7), Vec::new());
    let mut session = Session::new(state, Time::from_s(now_s), &mut random, &mut decisions);
    profile.cycle(&mut session);
    decisions.iter().filter(|decision| matches!(decision, Decision::Evict { .. })).count()
}

/// Two queues of the same weight, of which one had all 8 GPUs for an hour when the other wants as many.
#[test]
fn a_queue_that_had_more_gets_less() {
    let check = |usage_factor: f64, half_life_s: Option<f64>, expected: usize| {
        let usage = UsageConfig { half_life: half_life_s.map(Time::from_s), ..UsageConfig::default() };
        let config = KaiConfig { usage_factor, usage, ..KaiConfig::default() };
        let mut profile = Kai::profile("kai".to_owned(), config);
        let mut state = cluster("a: 8xA100 cpu=64");
        (0..8).for_each(|_| submit(&mut state, "red", true));
        assert_eq!(stopped(&mut profile, &mut state, 0.0), 0);
        (0..8).for_each(|_| submit(&mut state, "blue", false));
        let found = stopped(&mut profile, &mut state, 3600.0);
        assert_eq!(found, expected, "k = {usage_factor}, half life {half_life_s:?}");
    };
    // Weights of 1/2 each, usages of 1 and 0: 1/2 + k (1/2 - 1) for 1/2 + k (1/2 - 0).
    check(0.0, None, 4);
    check(0.5, None, 6);
    check(1.0, None, 8);
    // All that there was is usage, however much it has decayed.
    check(0.5, Some(60.0), 6);
}
