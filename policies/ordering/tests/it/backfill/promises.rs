//! What backfilling promises, under estimates that are right.

use std::collections::BTreeMap;

use foretell_framework::select::BestNode;
use foretell_framework::{ClusterState, Job, JobId, Session, Time};
use foretell_testkit::{cluster, placement};
use proptest::prelude::*;

use super::bench::{Bench, Coming, seconds};

const CLUSTER: &str = "a: 4xA100
                       b: 2xA100
                       c: 4xA100";
const NODES: [u64; 3] = [4, 2, 4];

/// Jobs of up to four tasks of up to four GPUs that fit the cluster, no two at one instant.
fn jobs() -> impl Strategy<Value = Vec<Coming>> {
    let job = (1_u64..6, 1_u64..40, 1_u64..4, 1_u64..5).prop_filter("it fits", |&(_, _, tasks, gpus)| {
        NODES.iter().map(|node| node / gpus).sum::<u64>() >= tasks
    });
    prop::collection::vec(job, 1..40).prop_map(|jobs| {
        let mut at_s = 0;
        let coming = jobs.into_iter().enumerate().map(|(index, (gap_s, runs_s, tasks, gpus))| {
            at_s += gap_s;
            Coming {
                name: format!("{index:02}"),
                at_s,
                runs_s,
                tasks: format!("{tasks} x {gpus}gpu"),
                ..Coming::default()
            }
        });
        coming.collect()
    })
}

/// When a job would fit if nothing new started: the cluster is emptied job by job, in order of their ends.
fn fits_at(bench: &Bench, job: JobId) -> Time {
    let mut state = bench.state.clone();
    let mut plugins = placement::plugins(BestNode);
    let mut ends: Vec<_> = bench.running.iter().map(|(&job, &end)| (end, job)).collect();
    ends.sort_unstable();
    let mut now = bench.now;
    for position in 0..=ends.len() {
        let is_last_of_instant = ends.get(position).is_none_or(|&(end, _)| end > now);
        if is_last_of_instant && fits(&mut state, &mut plugins, job) {
            return now;
        }
        if let Some(&(end, ended)) = ends.get(position) {
            now = end;
            state.remove_job(ended);
        }
    }
    panic!("it fits an empty cluster");
}

fn fits(state: &mut ClusterState, plugins: &mut foretell_framework::Plugins, job: JobId) -> bool {
    let (mut random, mut decisions) = (placement::random(0), Vec::new());
    let mut session = Session::new(state, Time::ZERO, &mut random, &mut decisions);
    let (mut transaction, random) = session.begin();
    let tasks = transaction.state().job(job).unwrap().tasks().to_vec();
    tasks.iter().all(|&task| plugins.place(&mut transaction, task, random).is_ok())
}

/// The first second from which a job has room to its end, second by second, beside what runs and what is promised.
fn free_from(bench: &Bench, id: JobId) -> u64 {
    let holds = bench.holds.borrow();
    let job = bench.state.job(id).unwrap();
    let gpus = |job: &Job| u64::from(bench.state.class_spec(job.spec.tasks[0].0).gpus.count);
    let second = |time: Time| time.as_nanos().div_ceil(1_000_000_000);
    let free = |node: usize, at: u64| {
        let mut free = NODES[node];
        for (&other, &end) in &bench.running {
            let other = bench.state.job(other).unwrap();
            let tasks = other.tasks().iter().filter_map(|&task| bench.state.task(task)?.placement());
            let here = tasks.filter(|placement| placement.node.index() == node).count() as u64;
            free -= if at < second(end) { here * gpus(other) } else { 0 };
        }
        for (other, other_job) in bench.state.jobs().filter(|&(other, _)| other != id) {
            let Some(promise) = holds.promise(other) else { continue };
            if (second(promise.from)..second(promise.until)).contains(&at) {
                let here = promise.places.iter().filter(|&&(place, ..)| place.index() == node);
                free -= here.map(|&(_, _, count)| u64::from(count)).sum::<u64>() * gpus(other_job);
            }
        }
        free
    };
    let span = second(job.spec.expected_duration.unwrap());
    let tasks = |from: u64| -> u64 {
        let room = (0..NODES.len()).map(|node| (from..from + span).map(|at| free(node, at)).min().unwrap());
        room.map(|free| free / gpus(job)).sum()
    };
    // Jobs are short, and few.
    (second(bench.now)..100_000).find(|&from| tasks(from) >= job.tasks().len() as u64).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// EASY: the head starts no later than at any time that it was promised, and what it is promised is when it would
    /// start if nothing went ahead of it from then on.
    #[test]
    fn easy_never_delays_a_head(jobs in jobs()) {
        let mut bench = Bench::new("easy", cluster(CLUSTER), Vec::new());
        let mut promised: BTreeMap<String, Time> = BTreeMap::new();
        bench.run(&jobs, |bench, _| {
            let waiting = bench.state.jobs().filter(|(_, job)| !job.is_ready());
            let Some((id, _)) = waiting.min_by_key(|(_, job)| job.spec.sequence) else { return };
            let promise = bench.holds.borrow().promise(id).map(|promise| promise.from);
            assert_eq!(promise, Some(fits_at(bench, id)), "at {:?}", bench.now);
            let first = promised.entry(bench.jobs[&id].name.clone()).or_insert(Time::MAX);
            assert!(promise <= Some(*first), "at {:?}: {promise:?} after {first:?}", bench.now);
            *first = promise.unwrap();
        });
        prop_assert_eq!(bench.starts.len(), jobs.len());
        for (job, promised) in promised {
            prop_assert!(bench.starts[&job] <= promised, "job {}", job);
        }
    }

    /// Conservative: no job starts later than it was promised first, and that was the earliest time that delayed nobody.
    #[test]
    fn conservative_keeps_the_first_promise(jobs in jobs()) {
        let mut bench = Bench::new("conservative", cluster(CLUSTER), Vec::new());
        let mut promised: BTreeMap<String, Time> = BTreeMap::new();
        bench.run(&jobs, |bench, came| {
            let waiting: Vec<_> = bench.state.jobs().filter(|(_, job)| !job.is_ready()).map(|(id, _)| id).collect();
            for id in waiting {
                let promise = bench.holds.borrow().promise(id).unwrap().from;
                if came == Some(id) {
                    assert_eq!(promise, seconds(free_from(bench, id)), "at {:?}", bench.now);
                    promised.insert(bench.jobs[&id].name.clone(), promise);
                }
            }
        });
        prop_assert_eq!(bench.starts.len(), jobs.len());
        for (job, promised) in promised {
            prop_assert!(bench.starts[&job] <= promised, "job {}: {:?} after {:?}", job, bench.starts[&job], promised);
        }
    }

    /// Conservative backfilling on estimates that are too long: what ends early delays nobody.
    #[test]
    fn early_ends_delay_nobody(jobs in jobs(), extra_s in prop::collection::vec(0_u64..30, 40)) {
        let jobs: Vec<_> = jobs.into_iter().zip(extra_s).map(|(job, extra_s)| {
            Coming { said_s: Some(job.runs_s + extra_s), ..job }
        }).collect();
        let mut bench = Bench::new("conservative", cluster(CLUSTER), Vec::new());
        let mut promised: BTreeMap<JobId, Time> = BTreeMap::new();
        bench.run(&jobs, |bench, _| {
            let waiting = bench.state.jobs().filter(|(_, job)| !job.is_ready()).map(|(id, _)| id);
            for id in waiting {
                let promise = bench.holds.borrow().promise(id).unwrap().from;
                let before = promised.insert(id, promise);
                assert!(before.is_none_or(|before| promise <= before), "at {:?}", bench.now);
            }
        });
        prop_assert_eq!(bench.starts.len(), jobs.len());
    }

    /// Promises that are put off change nothing: who asks for all of them after every cycle sees the same starts.
    #[test]
    fn promises_may_be_put_off(jobs in jobs(), said_s in prop::collection::vec(1_u64..40, 40), are_right in any::<bool>()) {
        let jobs: Vec<_> = jobs.into_iter().zip(said_s).map(|(job, said_s)| {
            Coming { said_s: (!are_right).then_some(said_s), ..job }
        }).collect();
        let starts = [true, false].map(|is_asked| {
            let mut bench = Bench::new("conservative", cluster(CLUSTER), Vec::new());
            bench.is_asked = is_asked;
            let mut cycles = Vec::new();
            bench.run(&jobs, |bench, _| cycles.push(bench.now));
            (bench.starts, cycles)
        });
        prop_assert_eq!(&starts[0], &starts[1]);
    }

    /// Whatever the estimates, everyone starts.
    #[test]
    fn wrong_estimates_starve_nobody(jobs in jobs(), said_s in prop::collection::vec(1_u64..40, 40), easy in any::<bool>()) {
        let jobs: Vec<_> = jobs.into_iter().zip(said_s).map(|(job, said_s)| {
            Coming { said_s: Some(said_s), ..job }
        }).collect();
        let mut bench = Bench::new(if easy { "easy" } else { "conservative" }, cluster(CLUSTER), Vec::new());
        bench.run(&jobs, |_, _| ());
        prop_assert_eq!(bench.starts.len(), jobs.len());
    }
}
