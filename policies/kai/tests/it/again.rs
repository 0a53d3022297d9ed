//! A cycle that keeps its picture of the cluster decides what one decides that reads the cluster anew.

use foretell_framework::{
    ClusterState, Decision, JobId, Profile, QueueSpec, Quota, Session, TaskId, TaskStatus, Time,
};
use foretell_kai::{Kai, KaiConfig};
use foretell_testkit::placement::random;
use proptest::prelude::*;
use proptest::sample::Index;

use crate::cycle::{Plan, add_job, entitlements, plans, state};

/// What happens between two cycles.
#[derive(Clone, Debug)]
enum Happening {
    /// A job comes.
    Job(Plan),
    /// A job goes, with all that it holds.
    Gone(Index),
    /// A task ends, well or badly.
    Ended(Index, bool),
    /// A task is thrown off its node.
    ThrownOff(Index),
    /// A task is told to stop.
    ToldToStop(Index),
    /// What was decided is carried out.
    CarriedOut,
    /// A device breaks or works again.
    Device(usize, usize, bool),
    /// A node is cordoned or not.
    Cordon(usize, bool),
    /// A queue is entitled to other amounts.
    Queue(usize, u64),
    /// Nothing.
    Nothing,
}

fn happenings() -> impl Strategy<Value = Vec<Happening>> {
    use Happening::{CarriedOut, Cordon, Device, Ended, Gone, Nothing, Queue, ThrownOff, ToldToStop};
    let job = plans().prop_map(|plans| Happening::Job(plans[0].clone()));
    let one = prop_oneof![
        4 => job,
        3 => any::<Index>().prop_map(Gone),
        1 => any::<(Index, bool)>().prop_map(|(index, well)| Ended(index, well)),
        1 => any::<Index>().prop_map(ThrownOff),
        1 => any::<Index>().prop_map(ToldToStop),
        4 => Just(CarriedOut),
        1 => (0_usize..2, 0_usize..8, any::<bool>()).prop_map(|(node, device, works)| Device(node, device, works)),
        1 => (0_usize..2, any::<bool>()).prop_map(|(node, closed)| Cordon(node, closed)),
        1 => (0_usize..3, 0_u64..12).prop_map(|(queue, gpus)| Queue(queue, gpus)),
        2 => Just(Nothing),
    ];
    prop::collection::vec(one, 1..24)
}

fn happen(state: &mut ClusterState, sequence: u64, happening: &Happening) {
    let jobs: Vec<JobId> = state.jobs().map(|(job, _)| job).collect();
    let tasks: Vec<TaskId> = state.tasks().map(|(task, _)| task).collect();
    let task = |index: &Index| (!tasks.is_empty()).then(|| *index.get(&tasks));
    match happening {
        Happening::Job(plan) => {
            add_job(state, sequence, plan);
        }
        Happening::Gone(index) => {
            if !jobs.is_empty() {
                state.remove_job(*index.get(&jobs));
            }
        }
        Happening::Ended(index, well) => task(index).into_iter().for_each(|task| state.end_task(task, *well)),
        Happening::ThrownOff(index) => {
            task(index).and_then(|task| state.requeue_task(task));
        }
        Happening::ToldToStop(index) => {
            task(index).map(|task| state.release_task(task));
        }
        Happening::CarriedOut => {
            for task in tasks {
                if state.task(task).is_some_and(|task| task.status() == TaskStatus::Releasing) {
                    state.requeue_task(task);
                }
                state.start_task(task, Time::from_nanos(sequence));
            }
        }
        &Happening::Device(node, device, works) => {
            let node = state.node_ids().nth(node).unwrap();
            state.set_gpu_healthy(node, device, works);
        }
        &Happening::Cordon(node, closed) => {
            let node = state.node_ids().nth(node).unwrap();
            state.set_unschedulable(node, closed);
        }
        &Happening::Queue(queue, gpus) => {
            let queue = state.queue_id(["red", "green", "blue"][queue]);
            let deserved = Quota { gpu_milli: Some(gpus * 1000), ..Quota::default() };
            let spec = QueueSpec { deserved, ..state.queue(queue).spec.clone() };
            state.set_queue_spec(queue, spec);
        }
        Happening::Nothing => {}
    }
}

fn cycle(profile: &mut Profile, state: &mut ClusterState, now: Time) -> Vec<Decision> {
    let (mut random, mut decisions) = (random(7), Vec::new());
    let mut session = Session::new(state, now, &mut random, &mut decisions);
    profile.cycle(&mut session);
    decisions
}

#[test]
fn cycles_keep_their_distance() {
    let config = KaiConfig { period: Time::from_nanos(1000), ..KaiConfig::default() };
    let mut profile = Kai::profile("kai".to_owned(), config);
    let mut state = foretell_testkit::cluster("a: 1xA100 cpu=8");
    let run = |profile: &mut Profile, state: &mut ClusterState, now: u64| {
        let (mut random, mut decisions) = (random(7), Vec::new());
        let mut session = Session::new(state, Time::from_nanos(now), &mut random, &mut decisions);
        profile.cycle(&mut session);
        (session.wake_at.map(Time::as_nanos), decisions.len())
    };
    let submit = |state: &mut ClusterState| {
        let spec = foretell_testkit::job_spec(state, "1gpu cpu=1");
        state.add_job(spec)
    };
    let first = submit(&mut state);
    assert_eq!(run(&mut profile, &mut state, 5), (None, 1));
    state.remove_job(first);
    submit(&mut state);
    assert_eq!(run(&mut profile, &mut state, 6), (Some(1005), 0));
    assert_eq!(run(&mut profile, &mut state, 1004), (Some(1005), 0));
    assert_eq!(run(&mut profile, &mut state, 1005), (None, 1));
}

proptest! {
    #[test]
    fn a_kept_picture_is_as_good_as_a_new_one(
        plans in plans(), entitlements in entitlements(), happenings in happenings(),
    ) {
        let profile = || Kai::profile("kai".to_owned(), KaiConfig::default());
        let (mut state, mut keeps) = (state(&plans, &entitlements), profile());
        for (round, happening) in happenings.iter().enumerate() {
            let now = Time::from_nanos(100 + round as u64);
            happen(&mut state, now.as_nanos(), happening);
            let expected = cycle(&mut profile(), &mut state.clone(), now);
            prop_assert_eq!(cycle(&mut keeps, &mut state, now), expected, "after {:?}", happening);
        }
    }
}
