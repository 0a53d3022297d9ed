//! How answers of plugins combine, and that plugins are told of everything, rollbacks included.

use std::cell::RefCell;
use std::cmp::Ordering;
use std::rc::Rc;

use foretell_framework::select::{BestFitGpus, BestNode};
use foretell_framework::{
    ClusterState, Decision, EnabledPlugin, EvictionReason, JobId, NodeId, Plugins, PriorityQueue, Profile,
    QueueId, Session, SessionPlugin, Statement, Switches, TaskId, Tiers, Time, Vote,
};
use foretell_testkit::placement::random;
use foretell_testkit::{add_job, cluster};
use proptest::prelude::*;

/// A plugin with fixed answers.
#[derive(Clone, Default)]
struct Fixed {
    order: Option<Ordering>,
    ready: Option<bool>,
    starving: Option<bool>,
    vote: Option<Vote>,
    overused: bool,
    refuses: bool,
    /// Positions in the list of candidates.
    victims: Option<Vec<usize>>,
    /// Sum of the tasks that it was told of.
    told: Rc<RefCell<i64>>,
}

impl SessionPlugin for Fixed {
    fn name(&self) -> &'static str {
        "fixed"
    }

    fn on_allocate(&mut self, _: &ClusterState, _: TaskId) {
        *self.told.borrow_mut() += 1;
    }

    fn on_deallocate(&mut self, _: &ClusterState, _: TaskId) {
        *self.told.borrow_mut() -= 1;
    }

    fn compare_jobs(&self, _: &ClusterState, _: JobId, _: JobId) -> Ordering {
        self.order.unwrap_or(Ordering::Equal)
    }

    fn job_ready(&self, _: &ClusterState, _: JobId) -> Option<bool> {
        self.ready
    }

    fn job_pipelined(&self, _: &ClusterState, _: JobId) -> Vote {
        self.vote.unwrap_or(Vote::Abstain)
    }

    fn job_starving(&self, _: &ClusterState, _: JobId) -> Option<bool> {
        self.starving
    }

    fn overused(&self, _: &ClusterState, _: QueueId) -> bool {
        self.overused
    }

    fn allocatable(&self, _: &ClusterState, _: QueueId, _: TaskId) -> bool {
        !self.refuses
    }

    fn preemptable(&self, _: &ClusterState, _: TaskId, candidates: &[TaskId]) -> Option<Vec<TaskId>> {
        Some(self.victims.as_ref()?.iter().map(|&position| candidates[position]).collect())
    }
}

/// Tiers from one word per plugin; a word may end in `!` for a plugin whose switches are off.
fn tiers(text: &str) -> Tiers {
    let plugin = |word: &str| {
        let mut fixed = Fixed::default();
        let (word, on) = word.strip_suffix('!').map_or((word, true), |word| (word, false));
        match word {
            "less" => fixed.order = Some(Ordering::Less),
            "greater" => fixed.order = Some(Ordering::Greater),
            "yes" => (fixed.ready, fixed.starving, fixed.vote) = (Some(true), Some(true), Some(Vote::Permit)),
            "no" => {
                (fixed.ready, fixed.starving, fixed.vote) = (Some(false), Some(false), Some(Vote::Reject));
            }
            "over" => fixed.overused = true,
            "refuse" => fixed.refuses = true,
            "silent" => {}
            positions => {
                let positions = positions.chars().filter_map(|digit| digit.to_digit(10));
                fixed.victims = Some(positions.map(|digit| digit as usize).collect());
            }
        }
        let plugin: Box<dyn SessionPlugin> = Box::new(fixed);
        EnabledPlugin { plugin, switches: Switches::all(on) }
    };
    Tiers::new(text.split('|').map(|tier| tier.split_whitespace().map(plugin).collect()).collect())
}

#[test]
fn the_first_plugin_that_tells_two_jobs_apart_decides() {
    let mut state = cluster("a: 8xA100");
    let (first, second) = (add_job(&mut state, "1gpu"), add_job(&mut state, "1gpu"));
    for (text, expected) in [
        ("less greater", Ordering::Less),
        ("silent | greater less", Ordering::Greater),
        ("greater! | less", Ordering::Less),
        // By submission: both at the start, so by number.
        ("silent | greater!", Ordering::Less),
        ("", Ordering::Less),
    ] {
        assert_eq!(tiers(text).compare_jobs(&state, first, second), expected, "{text}");
    }
}

#[test]
fn answers_combine_by_tier() {
    let mut state = cluster("a: 8xA100");
    let job = add_job(&mut state, "1gpu");
    // Plugins; ready, pipelined, starving.
    for (text, ready, pipelined, starving) in [
        ("", true, true, false),
        ("silent", true, true, false),
        ("yes", true, true, true),
        ("no", false, false, false),
        ("no!", true, true, false),
        ("yes no", false, false, false),
        // The first tier has decided, except for readiness, on which all must agree.
        ("yes | no", false, true, true),
        ("silent | no", false, false, false),
        ("silent yes | no", false, true, true),
    ] {
        let tiers = tiers(text);
        assert_eq!(tiers.job_ready(&state, job), ready, "ready: {text}");
        assert_eq!(tiers.job_pipelined(&state, job), pipelined, "pipelined: {text}");
        assert_eq!(tiers.job_starving(&state, job), starving, "starving: {text}");
    }
    let (queue, task) = (state.job(job).unwrap().spec.queue, state.job(job).unwrap().tasks()[0]);
    for (text, overused, allocatable) in
        [("", false, true), ("silent | over refuse", true, false), ("over! | refuse!", false, true)]
    {
        assert_eq!(tiers(text).overused(&state, queue), overused, "{text}");
        assert_eq!(tiers(text).allocatable(&state, queue, task), allocatable, "{text}");
    }
}

#[test]
fn victims_are_what_all_of_the_first_tier_that_has_any_offer() {
    let mut state = cluster("a: 8xA100");
    let job = add_job(&mut state, "4 x 1gpu");
    let tasks = state.job(job).unwrap().tasks().to_vec();
    for (text, expected) in [
        ("", String::new()),
        ("silent", String::new()),
        ("012 12 silent", "12".into()),
        ("01 | 23", "01".into()),
        ("silent | 23", "23".into()),
        // Nothing offered: the next tier is asked.
        ("[] | 23", "23".into()),
        ("01 23", String::new()),
        // An intersection that is empty stays empty.
        ("01 23 | 23", String::new()),
        ("01 [] | 0123", String::new()),
        ("01! | 23", "23".into()),
    ] {
        let victims = tiers(text).preemptable(&state, tasks[0], &tasks);
        let positions: String = victims
            .iter()
            .filter_map(|victim| Some(tasks.iter().position(|task| task == victim)?.to_string()))
            .collect();
        assert_eq!(positions, expected, "{text}");
    }
}

/// A step of a statement: place, nominate or evict the task of this index, or go back to an earlier savepoint.
#[derive(Clone, Debug)]
enum Step {
    Place(usize),
    Pipeline(usize),
    Evict(usize),
    Rollback(prop::sample::Index),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        (0_usize..6).prop_map(Step::Place),
        (0_usize..6).prop_map(Step::Pipeline),
        (0_usize..6).prop_map(Step::Evict),
        any::<prop::sample::Index>().prop_map(Step::Rollback),
    ];
    prop::collection::vec(step, 0..30)
}

proptest! {
    /// What plugins were told adds up to what the state shows; dropped or rolled back, nothing is left of it.
    #[test]
    fn plugins_are_told_of_everything(steps in steps(), ending in 0..3) {
        let mut state = cluster("a: 4xA100 | 1gpu, 1gpu\nb: 2xA100");
        add_job(&mut state, "4 x 1gpu");
        let tasks: Vec<TaskId> = state.tasks().map(|(task, _)| task).collect();
        let before = state.clone();
        let told = Rc::new(RefCell::new(0));
        let plugin: Box<dyn SessionPlugin> = Box::new(Fixed { told: Rc::clone(&told), ..Fixed::default() });
        let mut plugins = Plugins::new(Box::new(BestNode), Box::new(BestFitGpus))
            .with_tiers(Tiers::new(vec![vec![EnabledPlugin { plugin, switches: Switches::default() }]]));
        let (mut random, mut decisions) = (random(0), Vec::new());
        let mut session = Session::new(&mut state, Time::ZERO, &mut random, &mut decisions);
        let mut statement = Statement::begin(&mut session, &mut plugins);
        let mut savepoints = vec![(statement.savepoint(), before.clone(), 0)];
        for step in steps {
            let result = match step {
                Step::Place(index) => statement.allocate(tasks[index], NodeId::new(index % 2)),
                Step::Pipeline(index) if statement.state().task(tasks[index]).unwrap().nominated().is_none() => {
                    statement.pipeline(tasks[index], NodeId::new(index % 2))
                }
                Step::Pipeline(_) => Ok(()),
                Step::Evict(index) => statement.evict(tasks[index], EvictionReason::Preempted, None),
                Step::Rollback(index) => {
                    savepoints.truncate(index.index(savepoints.len()) + 1);
                    let (savepoint, then, sum) = &savepoints[savepoints.len() - 1];
                    statement.rollback_to(*savepoint);
                    prop_assert_eq!(statement.state(), then);
                    prop_assert_eq!(*told.borrow(), *sum);
                    Ok(())
                }
            };
            if result.is_ok() {
                savepoints.push((statement.savepoint(), statement.state().clone(), *told.borrow()));
            }
        }
        match ending {
            0 => {
                drop(statement);
                prop_assert_eq!(session.state(), &before);
                prop_assert_eq!(*told.borrow(), 0);
                session.finish();
                prop_assert_eq!(decisions, []);
            }
            1 => {
                statement.commit();
                session.finish();
            }
            _ => {
                statement.keep();
                session.finish();
                let placed = |state: &ClusterState| {
                    tasks.iter().filter(|&&task| state.task(task).unwrap().placement().is_some()).count()
                };
                prop_assert_eq!(placed(&state), placed(&before));
                let bound = decisions.iter().any(|decision| matches!(decision, Decision::Bind { .. }));
                prop_assert!(!bound);
                prop_assert_eq!(foretell_testkit::check_invariants(&state), Ok(()));
            }
        }
    }

    /// Against sorting.
    #[test]
    fn a_priority_queue_gives_items_in_order(items in prop::collection::vec(0_u32..50, 0..60)) {
        let mut queue = PriorityQueue::default();
        for &item in &items {
            queue.push(item, |left, right| left.cmp(&right));
        }
        let mut sorted = items;
        sorted.sort_unstable();
        let taken: Vec<u32> = std::iter::from_fn(|| queue.pop(|left, right| left.cmp(&right))).collect();
        prop_assert_eq!(taken, sorted);
    }
}

/// Nominations are forgotten when a cycle begins; one that is not renewed is taken back by a decision.
#[test]
fn nominations_last_one_cycle() {
    let mut state = cluster("a: 1xA100 | 1gpu");
    let job = add_job(&mut state, "1gpu");
    let task = state.job(job).unwrap().tasks()[0];
    let plugin: Box<dyn SessionPlugin> = Box::new(Fixed::default());
    let plugins = Plugins::new(Box::new(BestNode), Box::new(BestFitGpus))
        .with_tiers(Tiers::new(vec![vec![EnabledPlugin { plugin, switches: Switches::default() }]]));
    let mut profile = Profile::new("test".into(), plugins, Vec::new());
    let (mut random, mut decisions) = (random(0), Vec::new());
    let mut session = Session::new(&mut state, Time::ZERO, &mut random, &mut decisions);
    let (mut transaction, _) = session.begin();
    transaction.nominate(task, Some(NodeId::new(0))).unwrap();
    transaction.commit();
    profile.cycle(&mut session);
    assert_eq!(session.state().task(task).unwrap().nominated(), None);
    assert_eq!(
        decisions,
        [Decision::Nominate { task, node: Some(NodeId::new(0)) }, Decision::Nominate { task, node: None }]
    );
}
