//! Pods that hold their nodes and wait for their group.

use foretell_default::DefaultConfig;
use foretell_framework::{
    ClusterEvent, ClusterState, Decision, EvictionReason, GangSpec, JobId, JobSpec, Profile, Quota, Reason,
    Session, TaskId, Time,
};
use foretell_gang::{Coscheduling, CoschedulingConfig, Permit, QueuedTask, admit, compare, gives_up, permit};
use foretell_testkit::placement::random;
use foretell_testkit::{add_job, cluster, job_spec};

struct Driver {
    state: ClusterState,
    profile: Profile,
}

impl Driver {
    fn new(nodes: &str, config: CoschedulingConfig) -> Self {
        let action = Coscheduling::new(config, Vec::new());
        let plugins = foretell_default::plugins(&DefaultConfig::default());
        Self {
            state: cluster(nodes),
            profile: Profile::new("test".to_owned(), plugins, vec![Box::new(action)]),
        }
    }

    fn add(&mut self, job: &str) -> JobId {
        let job = add_job(&mut self.state, job);
        self.profile.notify(&self.state, ClusterEvent::JobAdded(job));
        job
    }

    /// A cycle; tasks that are evicted leave at once. Returns how many were, and when the policy wants to wake.
    fn cycle(&mut self, now_s: f64) -> (usize, Option<Time>) {
        let (mut random, mut decisions) = (random(0), Vec::new());
        let mut session = Session::new(&mut self.state, Time::from_s(now_s), &mut random, &mut decisions);
        self.profile.cycle(&mut session);
        let wake_at = session.wake_at;
        let mut evicted = 0;
        for decision in decisions {
            if let Decision::Evict { task, reason, .. } = decision {
                assert_eq!(reason, EvictionReason::GangTimedOut);
                evicted += 1;
                self.state.requeue_task(task).unwrap();
                self.profile.notify(&self.state, ClusterEvent::TaskWaiting(task));
                self.profile.notify(&self.state, ClusterEvent::TasksReleased);
            }
        }
        (evicted, wake_at)
    }

    fn placed(&self, job: JobId) -> u32 {
        self.state.job(job).unwrap().placed()
    }
}

/// Room for nine of 12 tasks of two gangs.
const NODES: &str = "a: 8xA100 cpu=64\nb: 1xA100 cpu=64";

#[test]
fn a_part_of_a_gang_holds_its_nodes_until_time_is_up() {
    let config = CoschedulingConfig { rejects_early: false, ..CoschedulingConfig::default() };
    let mut driver = Driver::new(NODES, config);
    let first = driver.add("10 x 1gpu cpu=1");
    assert_eq!(driver.cycle(0.0), (0, Some(Time::from_s(60.0))));
    assert_eq!(driver.placed(first), 9);
    // The second gang would fit, but the first holds everything.
    let second = driver.add("4 x 1gpu cpu=1");
    assert_eq!(driver.cycle(10.0), (0, Some(Time::from_s(60.0))));
    assert_eq!((driver.placed(first), driver.placed(second)), (9, 0));
    // Time is up. The older gang goes first again: without backoff nothing is won.
    assert_eq!(driver.cycle(60.0).0, 9);
    driver.cycle(60.0);
    assert_eq!((driver.placed(first), driver.placed(second)), (9, 0));
}

#[test]
fn a_gang_that_backs_off_lets_another_go_first() {
    let config = CoschedulingConfig {
        rejects_early: false,
        backoff: Time::from_s(10.0),
        ..CoschedulingConfig::default()
    };
    let mut driver = Driver::new(NODES, config);
    let first = driver.add("10 x 1gpu cpu=1");
    driver.cycle(0.0);
    let second = driver.add("4 x 1gpu cpu=1");
    assert_eq!(driver.cycle(60.0).0, 9);
    assert_eq!(driver.cycle(60.0), (0, Some(Time::from_s(70.0))));
    assert_eq!((driver.placed(first), driver.placed(second)), (0, 4));
}

#[test]
fn a_gang_lets_go_at_once_if_much_of_it_is_missing() {
    let mut driver = Driver::new(NODES, CoschedulingConfig::default());
    // A tenth is missing: it holds on. More is missing: as if it had never been tried.
    let nearly = driver.add("10 x 1gpu cpu=1");
    driver.cycle(0.0);
    assert_eq!(driver.placed(nearly), 9);
    let mut driver = Driver::new(NODES, CoschedulingConfig::default());
    let far = driver.add("11 x 1gpu cpu=1");
    assert_eq!(driver.cycle(0.0), (0, None));
    assert_eq!(driver.placed(far), 0);
    let small = driver.add("4 x 1gpu cpu=1; 2 x cpu=1");
    driver.cycle(1.0);
    assert_eq!((driver.placed(far), driver.placed(small)), (0, 6));
}

#[test]
fn a_gang_with_its_quorum_keeps_what_it_has() {
    let mut driver = Driver::new(NODES, CoschedulingConfig::default());
    let mut spec = job_spec(&mut driver.state, "12 x 1gpu cpu=1");
    spec.min_member = 8;
    let job = driver.state.add_job(spec);
    driver.profile.notify(&driver.state, ClusterEvent::JobAdded(job));
    assert_eq!(driver.cycle(0.0), (0, None));
    assert_eq!(driver.placed(job), 9);
    assert_eq!(driver.cycle(100.0), (0, None));
}

#[test]
fn the_queue_goes_by_priority_then_age_then_name() {
    let mut state = cluster("a: 8xA100");
    let mut add = |priority: i32, submitted_s: f64, gang: bool, name: &str| {
        let mut spec = job_spec(&mut state, "1gpu");
        spec =
            JobSpec { priority, submitted: Time::from_s(submitted_s), gang: gang.then(Box::default), ..spec };
        let job = state.add_job(spec);
        let task = state.job(job).unwrap().tasks()[0];
        let details = state.task(task).unwrap().details.clone();
        state.set_task_details(task, foretell_framework::TaskDetails { name: name.into(), ..details });
        task
    };
    let (low, high) = (add(1, 0.0, false, "a"), add(2, 9.0, false, "b"));
    let (old_group, new_group) = (add(1, 3.0, true, "c"), add(1, 5.0, true, "d"));
    let same_age = add(1, 3.0, true, "b");
    let order = |left: TaskId, left_s: f64, right: TaskId, right_s: f64| {
        let queued = |task, first_s| QueuedTask { task, first_attempt: Time::from_s(first_s) };
        compare(&state, &queued(left, left_s), &queued(right, right_s))
    };
    assert!(order(high, 9.0, low, 0.0).is_lt());
    assert!(order(low, 2.0, old_group, 0.0).is_lt(), "a lone task by its first attempt, a group by its age");
    assert!(order(low, 4.0, old_group, 0.0).is_gt());
    assert!(order(old_group, 9.0, new_group, 0.0).is_lt());
    assert!(order(same_age, 0.0, old_group, 0.0).is_lt());
    assert!(order(low, 1.0, low, 1.0).is_eq());
}

#[test]
fn quorum_minimum_and_permit() {
    let mut state = cluster("a: 4xA100 cpu=4 tasks=3\nb: 4xA100 cpu=4 tasks=3 | cpu=2");
    let mut add = |tasks: &str, min_member: u32, minimum: Option<Quota>| {
        let mut spec = job_spec(&mut state, tasks);
        spec.min_member = min_member;
        spec.gang = Some(Box::new(GangSpec { min_resources: minimum, ..GangSpec::default() }));
        state.add_job(spec)
    };
    let cpu = |cores: u64| Some(Quota { cpu_milli: Some(cores * 1000), ..Quota::default() });
    let gpu = |gpus: u64| Some(Quota { gpu_milli: Some(gpus * 1000), ..Quota::default() });
    let incomplete = add("2 x 1gpu", 3, None);
    let fits = add("2 x 1gpu", 2, cpu(6));
    let too_large = add("2 x 1gpu", 2, cpu(7));
    let gpus = add("2 x 1gpu", 2, gpu(9));
    let slots = add("6 x 1gpu", 6, cpu(1));
    let refusal = |job: JobId| admit(&state, state.job(job).unwrap().tasks()[0]);
    assert_eq!(refusal(incomplete), Err(Reason::GangIncomplete { tasks: 2, min_member: 3 }));
    assert_eq!(refusal(fits), Ok(()));
    let gap = |resource: &str, free, asked| {
        Err(Reason::GangExceedsCluster { resource: resource.into(), free, asked })
    };
    assert_eq!(refusal(too_large), gap("cpu (milli)", 6000, 7000));
    assert_eq!(refusal(gpus), gap("gpu (milli)", 8000, 9000));
    assert_eq!(refusal(slots), gap("pods", 5, 6));
    let task = state.job(fits).unwrap().tasks()[0];
    assert_eq!(permit(&state, task), Permit::Wait);
    assert!(gives_up(&state, fits));
    state.observe_task(
        task,
        foretell_framework::NodeId::new(0),
        None,
        foretell_framework::TaskStatus::Running,
    );
    let other = state.job(fits).unwrap().tasks()[1];
    assert_eq!(permit(&state, other), Permit::Bind);
    // What the group holds itself does not stand in its way.
    assert_eq!(admit(&state, other), Ok(()));
}
