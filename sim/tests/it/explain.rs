//! Why jobs wait, worked out by hand; and that to ask changes nothing.

use foretell_sim::explain::{
    CasualtyOutcome, EventKind, ExplainJob, ExplainNode, JobExplanation, NodeExplanation, Standing,
};
use foretell_sim::framework::Time;
use foretell_sim::log::{JobStatus, Metrics, RunSummary, Sampling};
use foretell_sim::platform::{Config, Inspector, Simulation, Submission};
use proptest::prelude::*;

use crate::fixtures::{cluster, job, profile, simulate, typical};

fn inspect(gpus_per_node: &[u32], jobs: &[Submission], policy: &str, inspector: &mut dyn Inspector) {
    let workload = jobs.iter().cloned().map(Ok::<_, ()>);
    let mut metrics = Metrics::new(typical(jobs), Sampling::Auto);
    let state = cluster(gpus_per_node);
    Simulation::new(Config::default(), state, profile(policy, jobs), workload, &mut [&mut metrics])
        .inspected_by(inspector)
        .run(&mut |_| ())
        .unwrap();
}

fn explain(gpus_per_node: &[u32], jobs: &[Submission], policy: &str, id: &str, at_s: f64) -> JobExplanation {
    let mut explain = ExplainJob::new(id, Some(Time::from_s(at_s)));
    inspect(gpus_per_node, jobs, policy, &mut explain);
    explain.finish().unwrap()
}

/// Four GPUs: the first job takes three, so the second (two GPUs) waits, and the third waits behind it.
fn line() -> [Submission; 3] {
    [job(0.0, 100.0, 1, 3), job(1.0, 50.0, 1, 2), job(2.0, 10.0, 1, 1)]
}

#[test]
fn the_head_is_told_who_holds_what_it_needs_and_when_that_ends() {
    let found = explain(&[4], &line(), "fifo+binpack", "job@1", 50.0);
    let waits: Vec<_> =
        found.waits.iter().map(|wait| (wait.from.as_s(), wait.to.as_s(), wait.kind)).collect();
    assert_eq!(waits, [(1.0, 100.0, "no node has room")]);
    let snapshot = found.snapshot.unwrap();
    assert_eq!(
        snapshot.standing,
        Standing::Waits("no node has room (none of 1 nodes: 1 short of GPU)".to_owned())
    );
    assert_eq!((snapshot.gpu_free_milli, snapshot.nodes_with_room, snapshot.nodes_that_could), (1000, 0, 1));
    let [holder] = snapshot.holders.as_slice() else { panic!("{:?}", snapshot.holders) };
    assert_eq!((&*holder.id, holder.gpu_milli, holder.finishes), ("job@0", 3000, Some(Time::from_s(100.0))));
    let [drain] = snapshot.drains.as_slice() else { panic!("{:?}", snapshot.drains) };
    assert_eq!((drain.at, &drain.jobs[..]), (Some(Time::from_s(100.0)), &["job@0".into()][..]));
    let events: Vec<_> = found.events.into_iter().map(|event| (event.time.as_s(), event.kind)).collect();
    let started = EventKind::Started { after: vec!["job@0".into()] };
    assert_eq!(events, [(100.0, started), (150.0, EventKind::Finished(JobStatus::Completed))]);
}

#[test]
fn those_behind_are_told_who_stands_before_them_and_why() {
    let found = explain(&[4], &line(), "fifo+binpack", "job@2", 2.0);
    let Standing::Waits(reason) = found.snapshot.unwrap().standing else { panic!("it waits") };
    assert_eq!(
        reason,
        "behind job job@1, the head of its queue, which waits: no node has room (none of 1 nodes: 1 short of GPU)"
    );
    let standing = |at_s| explain(&[4], &line(), "fifo+binpack", "job@2", at_s).snapshot.unwrap().standing;
    assert_eq!(standing(1.5), Standing::ToCome);
    let nodes = vec!["node-0".into()];
    assert_eq!(standing(105.0), Standing::Runs { nodes, finishes: Some(Time::from_s(110.0)) });
    assert_eq!(standing(110.0), Standing::Ended);
}

#[test]
fn a_gang_is_told_how_many_of_its_pods_have_room() {
    // One of two nodes is half taken.
    let jobs = [job(0.0, 100.0, 1, 4), job(1.0, 10.0, 2, 8)];
    let snapshot = explain(&[8, 8], &jobs, "fifo+binpack", "job@1", 10.0).snapshot.unwrap();
    assert_eq!((snapshot.pods_waiting, snapshot.pods_with_room, snapshot.gpu_free_milli), (2, 1, 12_000));
    assert_eq!(snapshot.drains.len(), 1);
    assert_eq!(&*snapshot.drains[0].node, "node-0");
}

#[test]
fn a_nodes_failure_takes_down_whole_gangs_and_parts_of_elastic_jobs() {
    let mut jobs = [job(0.0, 100.0, 2, 4), job(1.0, 100.0, 4, 2), job(2.0, 100.0, 2, 8)];
    jobs[1].roles[0].minimum = 2;
    let at = |node: &str, policy: &str| -> NodeExplanation {
        let mut explain = ExplainNode::new(node, Time::from_s(21.0));
        inspect(&[8, 8], &jobs, policy, &mut explain);
        explain.finish().unwrap()
    };
    // Spread: each node has half of both jobs that run.
    let found = at("node-1", "fifo+spread");
    let told: Vec<_> = found
        .casualties
        .iter()
        .map(|job| (&*job.id, job.pods, job.placed, job.gpu_milli, job.gpu_elsewhere_milli, job.outcome))
        .collect();
    let lost = 8000 * 21_000_000_000;
    assert_eq!(
        told,
        [
            ("job@0", 1, 2, 4000, 4000, CasualtyOutcome::Stops { lost }),
            ("job@1", 2, 4, 4000, 4000, CasualtyOutcome::GoesOn),
        ]
    );
    assert_eq!((found.gpus, found.gpu_free_milli), (8, 0));
    let mut explain = ExplainNode::new("node-2", Time::ZERO);
    inspect(&[8], &jobs, "fifo+binpack", &mut explain);
    assert_eq!(explain.finish(), None);
}

#[test]
fn what_was_waited_falls_to_its_reasons() {
    let config = Config { explain_waits: true, ..Config::default() };
    let result = simulate(&cluster(&[4]), &line(), "fifo+binpack", config).unwrap();
    // Two GPUs from 1 s to 100 s, one from 2 s.
    let expected = [("no node has room", 198.0), ("behind the head of its queue", 98.0)];
    assert_eq!(result.summary.waits, expected.map(|(kind, gpu_s)| (kind.to_owned(), gpu_s)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn to_ask_changes_nothing_and_the_sum_is_exact(
        sizes in prop::collection::vec((0_u32..10, 1_u32..60, 1_u32..4, 0_u32..5), 1..60),
        policy in prop::sample::select(vec!["fifo+binpack", "fifo-skip+random", "sjf+fgd", "sjf-skip+spread", "default"]),
        seed in any::<u64>(),
    ) {
        let mut clock_s = 0.0;
        let jobs: Vec<Submission> = sizes.iter().map(|&(gap, duration, tasks, gpus)| {
            clock_s += f64::from(gap);
            job(clock_s, f64::from(duration), tasks, gpus)
        }).collect();
        let run = |explain_waits| {
            let config = Config { seed, explain_waits, ..Config::default() };
            simulate(&cluster(&[4, 2, 4]), &jobs, policy, config).unwrap()
        };
        let (silent, mut asked) = (run(false), run(true));
        let waited_s: f64 = asked.summary.waits.iter().map(|(_, gpu_s)| gpu_s).sum();
        let end = asked.jobs.iter().flat_map(|job| [Some(job.submit), job.start, job.finish]).flatten().max().unwrap();
        let waits = asked.jobs.iter().filter(|job| job.status != JobStatus::NeverPlaced);
        let expected_s: f64 = waits
            .map(|job| job.gpu_milli_total as f64 / 1000.0 * job.start.unwrap_or(end).since(job.submit).as_s())
            .sum();
        prop_assert!((waited_s - expected_s).abs() <= 1e-9 * expected_s.max(1.0), "{} of {}", waited_s, expected_s);
        asked.summary = RunSummary { waits: Vec::new(), ..asked.summary };
        prop_assert_eq!(asked, silent);
    }
}
