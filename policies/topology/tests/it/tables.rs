//! Reads `tests/data/*.txt`: clusters, jobs that come one after the other, and where their tasks go.
//!
//! ```text
//! == what the case shows
//! NODE: WORD ..          a node as the testkit reads it; `a1..4: ..` stands for a1, a2, a3, a4
//! cost NAME THOUSANDTHS  what the cards of a node cost, or leaving a domain does
//! job TASKS [, OPTION ..]  `hard TIER`, `hard NAME`, `soft`, `balanced`, `min N`
//! -> a1 x4, a2 x4        the runs of ranks on one node, in order of rank; `waits: REASON`, or `..; 2 wait: REASON`
//! ```

use std::fmt::Write as _;
use std::sync::Arc;

use foretell_framework::state::{GangSpec, NetworkTopology, TopologyMode};
use foretell_framework::{ClusterState, JobId, PlaceJob, Session, TaskStatus, Time};
use foretell_testkit::placement::{plugins, random};
use foretell_testkit::{add_node, check_invariants, job_spec};
use foretell_topology::{ByDomain, Division, DomainPlacement, PlacementCosts};

/// Name and text of each table.
const TABLES: [(&str, &str); 6] = [
    ("hard", include_str!("../data/domains-hard.txt")),
    ("soft", include_str!("../data/domains-soft.txt")),
    ("best fit", include_str!("../data/domains-best-fit.txt")),
    ("balanced", include_str!("../data/domains-balanced.txt")),
    ("costs", include_str!("../data/domains-costs.txt")),
    ("rank order", include_str!("../data/domains-rank-order.txt")),
];

#[test]
fn every_table_holds() {
    for (name, text) in TABLES {
        for case in text.split("\n== ").skip(1) {
            check(case, name);
        }
    }
}

fn check(case: &str, file: &str) {
    let (title, lines) = case.split_once('\n').unwrap();
    let mut state = ClusterState::new();
    let (mut job, mut costs) = (None, Vec::new());
    for line in lines.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(text) = line.strip_prefix("job ") {
            job = Some(place(&mut state, text, &costs));
        } else if let Some(text) = line.strip_prefix("cost ") {
            let (name, cost) = text.split_once(' ').unwrap();
            costs.push((name, cost.parse().unwrap()));
        } else if let Some(expected) = line.strip_prefix("-> ") {
            let got = job.take().unwrap_or_else(|| panic!("{file}: {title}: `{line}` follows no job"));
            assert_eq!(got, expected, "{file}: {title}");
        } else {
            add_nodes(&mut state, line);
        }
    }
    assert!(job.is_none(), "{file}: {title}: a job without an expectation");
    check_invariants(&state).unwrap();
}

fn placement_costs(state: &ClusterState, costs: &[(&str, u32)]) -> Option<Arc<PlacementCosts>> {
    for (name, _) in costs {
        let nodes = state.nodes().iter().map(|node| &*node.spec.name);
        let is_known =
            nodes.chain(state.domains().iter().map(|domain| &*domain.name)).any(|known| known == *name);
        assert!(is_known, "a cost of `{name}`, which is not there");
    }
    let of =
        |name: &str| costs.iter().find(|cost| cost.0 == name).map_or(PlacementCosts::WHOLE, |cost| cost.1);
    let nodes: Vec<u32> = state.nodes().iter().map(|node| of(&node.spec.name)).collect();
    let domains: Vec<u32> = state.domains().iter().map(|domain| of(&domain.name)).collect();
    (!costs.is_empty()).then(|| Arc::new(PlacementCosts::new(nodes, domains)))
}

/// `a1..4: WORDS` stands for four nodes.
fn add_nodes(state: &mut ClusterState, line: &str) {
    let (name, words) = line.split_once(':').unwrap_or_else(|| panic!("`{line}`"));
    let Some((first, last)) = name.split_once("..") else {
        add_node(state, line);
        return;
    };
    let digits = first.len() - first.trim_end_matches(|c: char| c.is_ascii_digit()).len();
    let (stem, first) = first.split_at(first.len() - digits);
    for number in first.parse::<u32>().unwrap()..=last.parse().unwrap() {
        add_node(state, &format!("{stem}{number}: {words}"));
    }
}

/// Places a job and says where its tasks went.
fn place(state: &mut ClusterState, text: &str, costs: &[(&str, u32)]) -> String {
    let mut parts = text.split(", ");
    let mut spec = job_spec(state, parts.next().unwrap());
    let mut config = DomainPlacement { costs: placement_costs(state, costs), ..DomainPlacement::default() };
    let mut topology = None;
    for option in parts {
        match option.split_once(' ').unwrap_or((option, "")) {
            ("soft", "") => {
                topology = Some(NetworkTopology { mode: TopologyMode::Soft, ..NetworkTopology::default() });
            }
            ("hard", tier) => {
                topology = Some(NetworkTopology {
                    mode: TopologyMode::Hard,
                    highest_tier: tier.parse().ok(),
                    highest_tier_name: tier.parse::<u32>().is_err().then(|| tier.into()),
                });
            }
            ("balanced", "") => config.division = Division::Balanced,
            ("min", number) => spec.min_member = number.parse().unwrap(),
            _ => panic!("unknown option `{option}`"),
        }
    }
    spec.gang = topology
        .map(|topology| Box::new(GangSpec { network_topology: Some(topology), ..GangSpec::default() }));
    let job = state.add_job(spec);
    let (mut random, mut decisions) = (random(0), Vec::new());
    let mut session = Session::new(state, Time::ZERO, &mut random, &mut decisions);
    let mut placer = ByDomain::new(config);
    let mut plugins = plugins(foretell_framework::select::BestNode);
    let (mut transaction, random) = session.begin();
    let is_complete = placer.place(&mut transaction, &mut plugins, random, job);
    if transaction.state().job(job).unwrap().is_ready() {
        transaction.commit();
    } else {
        drop(transaction);
    }
    let mut said = runs(session.state(), job);
    if !is_complete {
        let (mut transaction, random) = session.begin();
        let reason = placer.explain(&mut transaction, &mut plugins, random, job);
        drop(transaction);
        let waiting = waiting(session.state(), job);
        if said.is_empty() {
            said = format!("waits: {reason}");
        } else {
            write!(said, "; {waiting} wait: {reason}").unwrap();
        }
    }
    said
}

fn waiting(state: &ClusterState, job: JobId) -> usize {
    let tasks = state.job(job).unwrap().tasks().iter();
    tasks.filter(|&&task| state.task(task).unwrap().status() == TaskStatus::Waiting).count()
}

/// Runs of ranks on one node, in order of rank.
fn runs(state: &ClusterState, job: JobId) -> String {
    let mut runs: Vec<(&str, u32)> = Vec::new();
    for &task in state.job(job).unwrap().tasks() {
        let Some(placement) = state.task(task).unwrap().placement() else { continue };
        let name = &*state.node(placement.node).spec.name;
        match runs.last_mut().filter(|(last, _)| *last == name) {
            Some((_, count)) => *count += 1,
            None => runs.push((name, 1)),
        }
    }
    let words: Vec<_> = runs.iter().map(|(name, count)| format!("{name} x{count}")).collect();
    words.join(", ")
}
