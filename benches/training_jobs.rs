//! Some 2,000 training jobs at a time, of 2 to 16 whole nodes, on 65,536 GPUs: 30 days of them, with what fails and over links that they
//! share.
//!
//! `cargo bench --bench training_jobs [-- PLACEMENT...] [DAYS]`: three days under packed, spread and random placement and under the
//! default scheduler, if nothing is said. `-- random 30` is the whole of one. Figures are kept in `benches/RESULTS.md`.

#![expect(clippy::print_stdout, reason = "a bench says what it measured")]

use std::path::Path;
use std::time::Instant;

use foretell_scenarios::sim::framework::{ClusterState, Time};
use foretell_scenarios::sim::log::{Observer, Record, RunResult};
use foretell_scenarios::{Environment, Plan, parse};

/// Placements by the names that one says, and their policies.
const POLICIES: [(&str, &str); 5] = [
    ("packed", "fifo+binpack"),
    ("topology", "fifo+topology"),
    ("default", "default"),
    ("spread", "fifo+spread"),
    ("random", "fifo+random"),
];

/// What runs where no number of days is told.
const DAYS: u64 = 3;

/// Jobs that arrive in a day and keep 84 % of the cluster busy where nothing slows them.
const JOBS_PER_DAY: u64 = 4000;

const SCENARIO: &str = include_str!("training_jobs.toml");

/// Counts jobs that run.
#[derive(Default)]
struct Running {
    now: u64,
    most: u64,
    job_ns: u128,
    end_ns: u64,
}

impl Observer for Running {
    fn advance(&mut self, from: Time, to: Time, _state: &ClusterState) {
        self.job_ns += u128::from(self.now) * u128::from(to.since(from).as_nanos());
        self.end_ns = to.as_nanos();
    }

    fn record(&mut self, _now: Time, record: &Record<'_>, _state: &ClusterState) {
        match record {
            Record::JobStarted { .. } => self.now += 1,
            Record::JobFinished { .. } | Record::JobStopped { .. } => self.now -= 1,
            _ => {}
        }
        self.most = self.most.max(self.now);
    }
}

/// A hash of what became of all jobs: the same where a change of the code changed nothing.
fn checked(result: &RunResult) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for job in &result.jobs {
        let finish_ns = job.finish.map_or(0, Time::as_nanos);
        let start_ns = job.start.map_or(0, Time::as_nanos);
        for word in [start_ns, finish_ns, job.gpu_held as u64, job.gpu_lost as u64] {
            hash = (hash ^ word).wrapping_mul(0x0100_0000_01b3).rotate_left(23);
        }
    }
    hash
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let days = words.iter().find_map(|word| word.parse().ok()).unwrap_or(DAYS);
    let named = |name: &str| words.iter().any(|word| word == name);
    let any_named = POLICIES.iter().any(|(name, _)| named(name));
    println!(
        "placement    days  jobs run  at once, most     events  faults  slowdown  held back       s  results"
    );
    for (name, policy) in POLICIES.into_iter().filter(|(name, _)| !any_named || named(name)) {
        let jobs = format!("workload.synthetic.jobs={}", days * JOBS_PER_DAY);
        let environment = Environment { data_dir: None };
        let loaded = parse("training_jobs.toml", SCENARIO, &[jobs], Path::new(""), environment);
        let plan =
            Plan::new(loaded.expect("the scenario is valid").scenario).expect("the cluster can be built");
        let mut running = Running::default();
        let start = Instant::now();
        let result = plan.run(policy, &mut running, &mut |_| ()).expect("the run ends");
        let elapsed_s = start.elapsed().as_secs_f64();
        let summary = &result.summary;
        let communication = summary.communication.expect("jobs communicate");
        println!(
            "{name:9} {:7.1} {:9.0} {:14} {:10} {:7} {:9.3} {:9.1} % {elapsed_s:7.1}  {:016x}",
            running.end_ns as f64 / 86_400e9,
            running.job_ns as f64 / running.end_ns as f64,
            running.most,
            summary.events,
            result.faults.len(),
            communication.slowdown_mean,
            100.0 * communication.held_back,
            checked(&result),
        );
    }
}
