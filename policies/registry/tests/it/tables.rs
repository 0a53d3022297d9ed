//! Each case of a file is a cluster, its queues, what runs and what waits, and what one cycle must decide. The format:
//!
//! ```text
//! == Name of the case
//! profile NAME
//! node NAME: WORDS                   as in the fixtures of the testkit
//! queue NAME WORDS                   parent= weight= priority= deserved= capability= guarantee= (GPUs) closed kept fifo
//! runs JOB QUEUE NODE WORDS TASKS    one job per line; several lines of one name add tasks on other nodes
//! waits JOB QUEUE WORDS TASKS        words: prio= min= pending (not let in; its minimum is known)
//! binds JOB N                        what must come out; nothing else may be bound, evicted or nominated
//! evicts JOB N
//! nominates JOB N
//! because JOB TEXT                   why it waits afterwards
//! ```

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::str::FromStr;

use foretell_framework::{
    ClusterState, Decision, GangSpec, JobId, JobPhase, JobSpec, Quota, Session, TaskStatus, Time,
};
use foretell_registry::{PolicyConfig, build};
use foretell_testkit::placement::random;
use foretell_testkit::{add_node, check_invariants, job_spec, node, task_spec};

#[test]
fn gangs() {
    check(include_str!("../data/gangs.txt"));
}

#[test]
fn queues() {
    check(include_str!("../data/queues.txt"));
}

#[test]
fn reclaim() {
    check(include_str!("../data/reclaim.txt"));
}

fn check(text: &str) {
    let cases: Vec<_> = text.split("\n== ").skip(1).collect();
    assert!(!cases.is_empty());
    for case in cases {
        let (name, lines) = case.split_once('\n').unwrap();
        let lines: Vec<_> =
            lines.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
        let mut case = Case::default();
        for line in lines {
            case.read(line);
        }
        case.check(name);
    }
}

#[derive(Default)]
struct Case {
    profile: String,
    state: ClusterState,
    jobs: BTreeMap<String, JobId>,
    /// What must come out, as `binds job 2`.
    decisions: Vec<String>,
    reasons: Vec<(String, String)>,
}

impl Case {
    fn read(&mut self, line: &str) {
        let (verb, rest) = line.split_once(' ').unwrap_or_else(|| panic!("`{line}`"));
        match verb {
            "profile" => rest.clone_into(&mut self.profile),
            "node" => {
                add_node(&mut self.state, rest);
            }
            "queue" => self.queue(rest),
            "runs" => self.runs(rest),
            "waits" => self.waits(rest),
            "binds" | "evicts" | "nominates" => self.decisions.push(line.to_owned()),
            "because" => {
                let (job, reason) = rest.split_once(' ').unwrap();
                self.reasons.push((job.to_owned(), reason.to_owned()));
            }
            _ => panic!("`{line}`"),
        }
    }

    fn queue(&mut self, text: &str) {
        let mut words = text.split_whitespace();
        let id = self.state.queue_id(words.next().unwrap());
        let mut spec = self.state.queue(id).spec.clone();
        for word in words {
            let (key, value) = word.split_once('=').unwrap_or((word, ""));
            let gpus = || Quota {
                gpu_milli: Some((parse::<f64>(value, text) * 1000.0).round() as u64),
                ..Quota::default()
            };
            match key {
                "parent" => spec.parent = Some(self.state.queue_id(value)),
                "weight" => spec.weight = parse(value, text),
                "priority" => spec.priority = parse(value, text),
                "deserved" => spec.deserved = gpus(),
                "capability" => spec.capability = gpus(),
                "guarantee" => spec.guarantee = gpus(),
                "closed" => spec.open = false,
                "kept" => spec.reclaimable = false,
                "fifo" => spec.head_blocks = true,
                _ => panic!("`{word}` in `{text}`"),
            }
        }
        self.state.set_queue_spec(id, spec);
    }

    /// The job spec of `WORDS TASKS`, in a queue.
    fn spec(&mut self, queue: &str, text: &str) -> JobSpec {
        let words: Vec<_> = text.split_whitespace().collect();
        let is_own =
            |word: &&&str| word.starts_with("prio=") || word.starts_with("min=") || **word == "pending";
        let own: Vec<_> = words.iter().take_while(is_own).copied().collect();
        let mut spec = job_spec(&mut self.state, &words[own.len()..].join(" "));
        spec.queue = self.state.queue_id(queue);
        spec.submitted = Time::from_nanos(spec.sequence);
        for word in own {
            match word.split_once('=').unwrap_or((word, "")) {
                ("prio", value) => spec.priority = parse(value, text),
                ("min", value) => spec.min_member = parse(value, text),
                _ => {
                    let gpus =
                        |&(class, count)| u64::from(count) * self.state.class_spec(class).gpus.total_milli();
                    let gpu_milli = Some(spec.tasks.iter().map(gpus).sum());
                    let min_resources = Some(Quota { gpu_milli, ..Quota::default() });
                    spec.gang = Some(Box::new(GangSpec { min_resources, ..GangSpec::default() }));
                    spec.phase = JobPhase::Pending;
                }
            }
        }
        spec
    }

    fn runs(&mut self, text: &str) {
        let mut words = text.splitn(4, ' ');
        let mut next = || words.next().unwrap_or_else(|| panic!("`{text}`"));
        let (name, queue, node_name, rest) = (next(), next(), next(), next());
        let mut spec = self.spec(queue, rest);
        spec.phase = JobPhase::Running;
        let job = self.state.add_job(spec);
        let node = node(&self.state, node_name);
        for task in self.state.job(job).unwrap().tasks().to_vec() {
            self.state.observe_task(task, node, None, TaskStatus::Running);
        }
        assert!(self.jobs.insert(name.to_owned(), job).is_none(), "two jobs {name}");
    }

    fn waits(&mut self, text: &str) {
        let mut words = text.splitn(3, ' ');
        let mut next = || words.next().unwrap_or_else(|| panic!("`{text}`"));
        let (name, queue, rest) = (next(), next(), next());
        let spec = self.spec(queue, rest);
        let job = self.state.add_job(spec);
        assert!(self.jobs.insert(name.to_owned(), job).is_none(), "two jobs {name}");
    }

    fn check(mut self, name: &str) {
        // A class that a fixture mentions only in words is known all the same.
        task_spec(&mut self.state, "1gpu");
        let mut profile =
            build(&self.profile, &PolicyConfig::default()).unwrap_or_else(|error| panic!("{name}: {error}"));
        let (mut random, mut decisions) = (random(0), Vec::new());
        profile.cycle(&mut Session::new(&mut self.state, Time::ZERO, &mut random, &mut decisions));
        assert_eq!(check_invariants(&self.state), Ok(()), "{name}");
        let mut counts: BTreeMap<(usize, &str, &str), usize> = BTreeMap::new();
        for decision in decisions {
            let (order, verb, task) = match decision {
                Decision::Bind { task, .. } => (0, "binds", task),
                Decision::Evict { task, .. } => (1, "evicts", task),
                Decision::Nominate { task, node: Some(_) } => (2, "nominates", task),
                Decision::Nominate { .. } => continue,
            };
            let job = self.state.task(task).unwrap().job;
            let job = self.jobs.iter().find(|&(_, &id)| id == job).unwrap().0;
            *counts.entry((order, verb, job)).or_default() += 1;
        }
        let got: Vec<_> =
            counts.iter().map(|((_, verb, job), count)| format!("{verb} {job} {count}")).collect();
        assert_eq!(got, self.decisions, "{name}");
        for (job, expected) in &self.reasons {
            let before = self.state.clone();
            let mut decisions = Vec::new();
            let mut session = Session::new(&mut self.state, Time::ZERO, &mut random, &mut decisions);
            let reason = profile.explain(&mut session, self.jobs[job]);
            assert_eq!(reason.to_string(), *expected, "{name}: {job}");
            assert_eq!((&self.state, decisions), (&before, Vec::new()), "{name}: explaining changes nothing");
        }
    }
}

fn parse<T: FromStr<Err: Debug>>(text: &str, context: &str) -> T {
    text.parse().unwrap_or_else(|error| panic!("`{text}` in `{context}`: {error:?}"))
}
