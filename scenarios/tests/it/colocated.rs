//! Services and training that take each other's GPUs, and whether the SLO is kept meanwhile.

use foretell_scenarios::Plan;
use foretell_scenarios::service::{Served, ServedRun};
use foretell_scenarios::sim::framework::Time;
use foretell_scenarios::sim::log::{JobStatus, RunResult};

use crate::read;
use crate::services::{Deaf, POISSON, served};

fn seconds(at: Option<Time>) -> f64 {
    at.unwrap().as_nanos() as f64 / 1e9
}

fn near(left: f64, right: f64, tolerance: f64) {
    assert!((left - right).abs() <= tolerance, "{left} for {right}");
}

/// A node of eight GPUs with replicas on four each, and one job on four that runs for so long.
fn beside(job: &str, service: &str, requests: &str) -> (RunResult, Served) {
    let text = format!(
        "version = 1\nname = \"s\"\n[cluster]\nnodes = [{{ type = \"dgx-h100\", count = 1 }}]\n\
         [workload.synthetic]\njobs = 1\nrate_per_hour = 60\n{job}\n\
         [preemption]\ncheckpoint_interval_s = 300\nrestart_cost_s = 60\ntermination_grace_s = 30\n\
         [scheduler]\npolicies = [\"default\"]\n\
         [[service]]\nname = \"a\"\nmodel = \"llama-3.1-8b\"\ntensor_parallel = 4\n{service}\n{requests}\n"
    );
    let plan = Plan::new(read(&text, &[]).unwrap_or_else(|error| panic!("{error}"))).unwrap();
    let ServedRun { result, services: mut served, .. } =
        plan.run_and_serve("default", &mut Deaf, &mut |_| {}).unwrap();
    (result, served.remove(0))
}

#[test]
fn replicas_evict_training_which_goes_on_when_they_go() {
    let job = "sizes = [{ weight = 1, tasks = 1, gpus_per_task = 4 }]\nduration = { law = \"fixed\", value_s = 2000 }";
    let service = "priority = 100\nautoscaler = { policy = \"scheduled\", rows = [{ from_s = 0, replicas = 1 }, { from_s = 600, replicas = 2 }, { from_s = 1200, replicas = 1 }] }";
    let requests = POISSON.replace("count = 400", "count = 4000").replace("rate_per_s = 8", "rate_per_s = 2");
    let (result, served) = beside(job, service, &requests);
    assert_eq!((served.outcomes.len(), served.tries.lost), (4000, 0));
    let training = result.jobs.iter().find(|job| job.duration.is_some()).unwrap();
    assert_eq!((training.evictions, training.status), (1, JobStatus::Completed));
    // The second replica has its GPUs once training has left them.
    near(served.replicas[1].placed_s, 630.0, 1e-6);
    // What was computed since the last of the checkpoints is lost. It was told to stop at 600 s.
    let done_s = 600.0 - seconds(training.start);
    let kept_s = 300.0 * (done_s / 300.0).floor();
    assert!(kept_s > 0.0 && done_s > kept_s);
    near(training.gpu_lost as f64 / 1000.0 / 1e9, 4.0 * (done_s - kept_s + 60.0), 1e-3);
    // It starts again when the replica goes, reads what it has, and does the rest.
    let again_s = served.replicas[1].until_s.unwrap();
    near(seconds(training.finish), again_s + 60.0 + 2000.0 - kept_s, 35.0);
}

#[test]
fn a_replica_that_training_evicts_comes_back_and_nothing_is_lost() {
    let job = "sizes = [{ weight = 1, tasks = 1, gpus_per_task = 4, priority = 10 }]\nduration = { law = \"fixed\", value_s = 100 }";
    let service = "replicas = 2\nadmission = { retries = 10 }\nslo = { ttft_s = 1.0 }";
    let (result, served) = beside(job, service, &POISSON.replace("count = 400", "count = 4000"));
    let training = result.jobs.iter().find(|job| job.duration.is_some()).unwrap();
    let placed: Vec<(u32, f64, Option<f64>)> =
        served.replicas.iter().map(|one| (one.replica, one.placed_s, one.until_s)).collect();
    let [_, _, (again, again_s, _)] = placed[..] else { panic!("{placed:?}") };
    // It was told to stop when training came, left after the grace, and came back when training was done.
    let gone = placed[again as usize].2.unwrap();
    near(gone, seconds(Some(training.submit)), 1e-6);
    near(seconds(training.start), gone + 30.0, 1e-6);
    near(again_s, seconds(training.finish), 1e-6);
    // Each request is answered or refused, once.
    let tries = served.tries;
    assert!(tries.lost > 0, "{tries:?}");
    assert_eq!(tries.retried, tries.lost);
    let mut seen: Vec<u32> = served.outcomes.iter().map(|(_, outcome)| outcome.request).collect();
    seen.extend(served.refused.iter().map(|refused| refused.request));
    seen.sort_unstable();
    assert!(seen.into_iter().eq(0..4000));
    // So are they minute by minute.
    let windows = served.windows();
    assert_eq!(windows.iter().map(|window| window.arrived).sum::<u64>(), 4000);
    let kept: u64 = windows.iter().map(|window| window.kept).sum();
    near(kept as f64, served.summary.slo_attainment * 4000.0, 1e-6);
}

#[test]
fn a_breach_lasts_until_the_slo_holds_again() {
    // The only node is down from 130 s to 250 s; whoever asks meanwhile waits, or gives up.
    let text = format!(
        "version = 1\nname = \"s\"\n[cluster]\nnodes = [{{ type = \"dgx-h100\", count = 1 }}]\n[scheduler]\npolicies = [\"default\"]\n\
         [faults]\ndetection_time_s = 0\n[[faults.at]]\ntime_s = 130\nnode = \"dgx-h100-0000\"\nkind = \"node\"\nduration_s = 120\n\
         [[service]]\nname = \"a\"\nmodel = \"llama-3.1-8b\"\nslo = {{ ttft_s = 1.0 }}\nadmission = {{ timeout_s = 60, retries = 0 }}\n{}\n",
        POISSON.replace("count = 400", "count = 4000")
    );
    let served = served(&text, &[]).remove(0);
    let breaches: Vec<(u64, u64)> = served.breaches().iter().map(|one| (one.from_s, one.until_s)).collect();
    assert_eq!(breaches, [(120, 300)]);
    // Those that gave up arrived when nobody served.
    assert!(!served.refused.is_empty());
    let arrivals = served.refused.iter().map(|one| one.arrival_ns as f64 / 1e9);
    for arrival_s in arrivals {
        assert!((120.0..250.0).contains(&arrival_s), "{arrival_s}");
    }
    near(served.mean_replicas(120.0, 300.0), 60.0 / 180.0, 1e-9);
}
