//! Cohorts against the obvious queue, which keeps every pod by itself.

use foretell_framework::{Resources, TaskId, TaskSpec};
use proptest::prelude::*;

use super::*;
use crate::test_support::{add_job, labels};

/// kube-scheduler's queue, pod by pod, as the reference tells it.
struct NaivePod {
    job: usize,
    task: TaskId,
    class: foretell_framework::ClassId,
    priority: i32,
    timestamp: Time,
    failures: u32,
    in_pool: bool,
    lacks_room: bool,
}

#[derive(Default)]
struct NaiveQueue {
    pods: Vec<NaivePod>,
}

impl NaiveQueue {
    fn cycle(
        &mut self,
        state: &mut ClusterState,
        plugins: &mut Plugins,
        now: Time,
        released: bool,
        changed: &[NodeId],
    ) -> Vec<usize> {
        for pod in self.pods.iter_mut().filter(|pod| pod.in_pool) {
            let ranking = plugins.ranking(state, pod.class);
            let admits =
                |node| ranking.rejection(node).is_none_or(|rejection| rejection >= Rejection::TooManyTasks);
            let helped = changed.iter().any(|&node| admits(node));
            pod.in_pool = !(helped || (released && pod.lacks_room));
        }
        let mut bound = Vec::new();
        while let Some(position) = (0..self.pods.len())
            .filter(|&position| !self.pods[position].in_pool)
            .min_by_key(|&position| self.turn(position, now))
        {
            let pod = &mut self.pods[position];
            let (mut random, mut decisions) = (NoRandom, Vec::new());
            let mut session = Session::new(state, now, &mut random, &mut decisions);
            let (mut transaction, random) = session.begin();
            let outcome = plugins.place(&mut transaction, pod.task, random);
            transaction.commit();
            if outcome.is_ok() {
                bound.push(self.pods.remove(position).job);
                continue;
            }
            pod.failures += 1;
            pod.timestamp = now;
            pod.in_pool = true;
            let rejections = plugins.ranking(state, pod.class).rejections();
            pod.lacks_room =
                rejections.counts.iter().any(|&(rejection, _)| rejection >= Rejection::TooManyTasks);
        }
        bound
    }

    /// When a pod is tried: by expiry of its backoff if it backs off, then priority, timestamp, submission.
    fn turn(&self, position: usize, now: Time) -> (Option<u64>, i64, Time, usize) {
        let pod = &self.pods[position];
        let backoff_s = match pod.failures {
            0 => 0,
            failures => (1_u64 << (failures - 1).min(10)).min(10),
        };
        let (now_s, failed_at_s) = (now.as_nanos() / 1_000_000_000, pod.timestamp.as_nanos() / 1_000_000_000);
        let expiry_s =
            (pod.failures > 0).then_some(failed_at_s + backoff_s).filter(|&expiry_s| expiry_s >= now_s);
        (expiry_s, -i64::from(pod.priority), pod.timestamp, position)
    }
}

#[derive(Clone, Debug)]
enum Step {
    Submit {
        priority: i32,
        count: u32,
        kind: usize,
    },
    Remove(usize),
    Cordon(usize, bool),
    /// A cycle after so many tenths of a second.
    Cycle(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (-1_i32..2, 1_u32..4, 0_usize..5)
            .prop_map(|(priority, count, kind)| Step::Submit { priority, count, kind }),
        2 => any::<usize>().prop_map(Step::Remove),
        1 => (0_usize..3, any::<bool>()).prop_map(|(node, cordon)| Step::Cordon(node, cordon)),
        5 => (0_u64..40).prop_map(Step::Cycle),
    ]
}

proptest! {
    /// Cohorts decide as the queue that keeps every pod by itself.
    #[test]
    fn cohorts_equal_single_pods(steps in prop::collection::vec(step(), 1..80)) {
        let mut cluster = Cluster::new(&[2, 3, 4]);
        let (mut twin, mut twin_plugins) = (cluster.state.clone(), crate::plugins(&without_preemption()));
        let (mut queue, mut twin_jobs) = (NaiveQueue::default(), Vec::new());
        let (mut released, mut changed, mut tenths) = (false, Vec::new(), 0);
        let mut specs: Vec<_> = (1..5).map(|cores| TaskSpec {
            requests: Resources::new(cores * 1000, 0),
            ..TaskSpec::default()
        }).collect();
        specs.push(TaskSpec { node_selector: labels("pool=x"), ..TaskSpec::default() });
        for step in steps {
            let now = Time::from_nanos(tenths * 100_000_000);
            match step {
                Step::Submit { priority, count, kind } => {
                    let number = cluster.submit_spec(now.as_s(), priority, count, &specs[kind]);
                    let class = twin.class(&specs[kind]);
                    let job = add_job(&mut twin, number as u64, class, count, priority, now);
                    twin_jobs.push(job);
                    let tasks = twin.job(job).expect("just added").tasks();
                    queue.pods.extend(tasks.iter().map(|&task| NaivePod {
                        job: number,
                        task,
                        class,
                        priority,
                        timestamp: now,
                        failures: 0,
                        in_pool: false,
                        lacks_room: false,
                    }));
                }
                Step::Remove(job) if !cluster.jobs.is_empty() => {
                    let job = job % cluster.jobs.len();
                    cluster.remove(job);
                    queue.pods.retain(|pod| pod.job != job);
                    released |= twin.remove_job(twin_jobs[job]).is_some_and(|job| job.placed() > 0);
                }
                Step::Remove(_) => {}
                Step::Cordon(node, cordon) => {
                    cluster.set_unschedulable(node, cordon);
                    twin.set_unschedulable(NodeId::new(node), cordon);
                    changed.push(NodeId::new(node));
                }
                Step::Cycle(wait) => {
                    tenths += wait;
                    let now = Time::from_nanos(tenths * 100_000_000);
                    let expected = queue.cycle(&mut twin, &mut twin_plugins, now, released, &changed);
                    prop_assert_eq!(cluster.cycle(now.as_s()), expected);
                    prop_assert_eq!(cluster.wake_at, None);
                    prop_assert!(cluster.state == twin, "states differ");
                    for pool in cluster.action.queue.pools.values() {
                        let keys: Vec<_> =
                            pool.cohorts.iter().map(Cohort::key).collect();
                        prop_assert!(keys.is_sorted_by(|one, next| one < next), "{keys:?}");
                    }
                    let pending = cluster.pool().iter().map(|&(_, _, pods)| pods).sum::<usize>();
                    prop_assert_eq!(pending, queue.pods.len());
                    (released, changed) = (false, Vec::new());
                }
            }
        }
    }
}
