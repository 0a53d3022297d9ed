//! Each case of a file is a cluster, jobs that come, and when each of them must start. The format:
//!
//! ```text
//! == Name of the case
//! node NAME: WORDS                       as in the fixtures of the testkit
//! keeps WINDOW nodes=A+B | gpus=N        a reservation: from=S until=S queue= user=
//! job NAME at=S for=S [WORDS] : TASKS    words: said=S (what the policy is told), prio=, queue=, user=
//! policy NAME                            what follows is under this policy
//! start NAME S                           `never` if it must not
//! ```

use std::collections::BTreeMap;

use foretell_framework::{ClusterState, Time};
use foretell_ordering::{AdvanceReservation, Kept};
use foretell_testkit::add_node;

use super::bench::{Bench, Coming, seconds};

#[test]
fn backfill() {
    check(include_str!("../../data/backfill.txt"));
}

#[test]
fn reservations() {
    check(include_str!("../../data/reservations.txt"));
}

fn check(text: &str) {
    let cases: Vec<_> = text.split("\n== ").skip(1).collect();
    assert!(!cases.is_empty());
    for case in cases {
        let (name, lines) = case.split_once('\n').unwrap();
        let (mut state, mut kept, mut jobs) = (ClusterState::new(), Vec::new(), Vec::new());
        let mut expected: Vec<(String, BTreeMap<String, Option<Time>>)> = Vec::new();
        for line in lines.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let (verb, rest) = line.split_once(' ').unwrap_or_else(|| panic!("`{line}`"));
            match verb {
                "node" => {
                    add_node(&mut state, rest);
                }
                "keeps" => kept.push(reservation(rest)),
                "job" => jobs.push(job(rest)),
                "policy" => expected.push((rest.to_owned(), BTreeMap::new())),
                "start" => {
                    let (job, at) = rest.split_once(' ').unwrap();
                    let at = (at.trim() != "never").then(|| seconds(at.trim().parse().unwrap()));
                    expected.last_mut().unwrap().1.insert(job.to_owned(), at);
                }
                _ => panic!("`{line}`"),
            }
        }
        for (policy, starts) in expected {
            let mut bench = Bench::new(&policy, state.clone(), kept.clone());
            bench.run(&jobs, |_, _| ());
            assert_eq!(starts.len(), jobs.len(), "{name}: {policy}: every job has its line");
            for (job, at) in starts {
                assert_eq!(bench.starts.get(&job).copied(), at, "{name}: {policy}: job {job}");
            }
        }
    }
}

fn words(text: &str) -> BTreeMap<&str, &str> {
    text.split_whitespace().map(|word| word.split_once('=').unwrap_or_else(|| panic!("`{word}`"))).collect()
}

fn job(text: &str) -> Coming {
    let (head, tasks) = text.split_once(" : ").unwrap();
    let (name, rest) = head.split_once(' ').unwrap();
    let words = words(rest);
    let number = |key: &str| words.get(key).map(|value| value.parse().unwrap());
    let text = |key: &str| words.get(key).map_or_else(String::new, |value| (*value).to_owned());
    Coming {
        name: name.to_owned(),
        at_s: number("at").unwrap(),
        runs_s: number("for").unwrap(),
        said_s: number("said"),
        priority: words.get("prio").map_or(0, |value| value.parse().unwrap()),
        queue: text("queue"),
        user: text("user"),
        tasks: tasks.trim().to_owned(),
    }
}

fn reservation(text: &str) -> AdvanceReservation {
    let (name, rest) = text.split_once(' ').unwrap();
    let words = words(rest);
    let list = |key: &str| -> Vec<Box<str>> {
        words.get(key).map_or_else(Vec::new, |value| value.split('+').map(Into::into).collect())
    };
    let time = |key: &str| seconds(words[key].parse().unwrap());
    AdvanceReservation {
        name: name.into(),
        from: time("from"),
        until: time("until"),
        kept: words
            .get("gpus")
            .map_or_else(|| Kept::Nodes(list("nodes")), |gpus| Kept::Gpus(gpus.parse().unwrap())),
        queues: list("queue"),
        users: list("user"),
    }
}
