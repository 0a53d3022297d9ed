//! `foretell validate openb`: the inflation experiments of the FGD study (USENIX ATC'23), cell by cell.
//!
//! Whatever the folder publishes is run: every (trace, policy, seed) of its expected tables, and every list of
//! placements. Deterministic policies must agree with each cell; the random policy is a distribution, and its mean
//! over seeds must.

mod compare;
mod experiment;
mod published;
mod tables;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use foretell_traces::openb::{self, NodeRow, PodRow};
use rayon::prelude::*;

use self::compare::{Comparison, deterministic_row, placements_row, random_row};
pub use self::experiment::{Arrival, Experiment, ExperimentError, Outcome};
use self::published::{Placements, Published, RunKey, read_placements, read_tables};
pub(crate) use self::published::{existing, open};
use self::tables::cells;
use crate::report::Report;
use crate::{Error, Progress};

/// Which of the published runs to reproduce; an empty list is all of them.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Selection {
    /// Traces, by the tables' name or without its prefix `openb_pod_list_`.
    pub traces: Vec<String>,
    /// Policies, by the study's name (`FGD`, `06-FGD`) or foretell's (`fgd`).
    pub policies: Vec<String>,
    /// Seeds.
    pub seeds: Vec<u64>,
}

const TRACE_PREFIX: &str = "openb_pod_list_";

/// The study's names of policies, and foretell's.
const POLICIES: [(&str, &str); 6] = [
    ("Random", "random"),
    ("DotProd", "dot-product"),
    ("GpuClustering", "gpu-clustering"),
    ("GpuPacking", "gpu-packing"),
    ("BestFit", "best-fit"),
    ("FGD", "fgd"),
];

const RANDOM: &str = "random";

/// The study's and foretell's name of a policy, from the study's with or without the number before it, or from
/// foretell's own.
fn known_policy(name: &str) -> Option<(&'static str, &'static str)> {
    let bare = name
        .split_once('-')
        .filter(|(number, _)| number.parse::<u8>().is_ok())
        .map_or(name, |(_, bare)| bare);
    POLICIES.into_iter().find(|(study, ours)| study.eq_ignore_ascii_case(bare) || *ours == bare)
}

fn policy_name(name: &str) -> Result<&'static str, Error> {
    known_policy(name).map(|(_, ours)| ours).ok_or_else(|| Error::UnknownPolicy {
        name: name.to_owned(),
        known: POLICIES.map(|(study, _)| study).join(", "),
    })
}

/// Reproduces the published runs under `data` (the folder of the openb data, or the folder above it).
pub fn run(data: &Path, selection: &Selection, progress: &Progress<'_>) -> Result<Report, Error> {
    let root = if data.join("openb").is_dir() { data.join("openb") } else { data.to_owned() };
    let selected = Selected::new(selection)?;
    let published =
        read_tables(&root.join("expected"), |key| selected.takes(&key.trace, &key.policy, key.seed))?;
    let mut placements = Vec::new();
    for list in read_placements(&root.join("expected"))? {
        if selected.takes(&list.trace, &list.policy, list.seed)? {
            placements.push(list);
        }
    }
    if published.is_empty() && placements.is_empty() {
        return Err(Error::NothingSelected { path: root.join("expected") });
    }

    // The seeds of each trace; none where only placements are published, which bring an order of their own.
    let mut seeds: BTreeMap<&str, BTreeSet<u64>> = BTreeMap::new();
    for list in &placements {
        seeds.entry(short_name(&list.trace)).or_default();
    }
    for key in published.keys() {
        seeds.entry(short_name(&key.trace)).or_default().insert(key.seed);
    }
    let traces = seeds
        .into_par_iter()
        .map(|(name, seeds)| Ok((name, TraceData::read(&root, name, &Vec::from_iter(seeds))?)))
        .collect::<Result<BTreeMap<_, _>, Error>>()?;

    progress.begin(published.len() + placements.len());
    let runs = published
        .par_iter()
        .map(|(key, published)| {
            let comparison = traces[short_name(&key.trace)].compare(key, published)?;
            progress.step();
            Ok((key, comparison))
        })
        .collect::<Result<Vec<_>, Error>>()?;
    let lists = placements
        .par_iter()
        .map(|list| {
            let differences = traces[short_name(&list.trace)].follow(list)?;
            progress.step();
            Ok((list, differences))
        })
        .collect::<Result<Vec<_>, Error>>()?;
    Ok(report(&runs, &lists))
}

fn short_name(trace: &str) -> &str {
    trace.strip_prefix(TRACE_PREFIX).unwrap_or(trace)
}

/// A [`Selection`] in one spelling.
struct Selected<'a> {
    traces: Vec<&'a str>,
    policies: Vec<&'static str>,
    seeds: &'a [u64],
}

impl<'a> Selected<'a> {
    fn new(selection: &'a Selection) -> Result<Self, Error> {
        let policies = selection.policies.iter().map(|name| policy_name(name)).collect::<Result<_, _>>()?;
        let traces = selection.traces.iter().map(|name| short_name(name)).collect();
        Ok(Self { traces, policies, seeds: &selection.seeds })
    }

    /// Whether a published run is selected. A policy that foretell does not have is an error only where all are.
    fn takes(&self, trace: &str, policy: &str, seed: u64) -> Result<bool, Error> {
        if !(self.traces.is_empty() || self.traces.contains(&short_name(trace)))
            || !(self.seeds.is_empty() || self.seeds.contains(&seed))
        {
            return Ok(false);
        }
        match known_policy(policy) {
            Some((_, ours)) => Ok(self.policies.is_empty() || self.policies.contains(&ours)),
            None if self.policies.is_empty() => policy_name(policy).map(|_| true),
            None => Ok(false),
        }
    }
}

/// A trace with its arrival orders and node ranks.
struct TraceData {
    experiment: Experiment,
    nodes: Vec<NodeRow>,
    pods: Vec<PodRow>,
    total_gpus: u64,
    orders: BTreeMap<u64, Vec<u32>>,
    ranks: BTreeMap<u64, Vec<u32>>,
    order_path: PathBuf,
}

impl TraceData {
    fn read(root: &Path, name: &str, seeds: &[u64]) -> Result<Self, Error> {
        let stem = format!("{TRACE_PREFIX}{name}");
        let nodes = openb::read_nodes(&existing(&root.join("openb_node_list_gpu_node.csv"))?)?;
        let pods = openb::read_pods(&existing(&root.join(format!("{stem}.csv")))?)?;
        let order_path = root.join(format!("order/order_{stem}.csv"));
        let (mut orders, mut ranks) = (BTreeMap::new(), BTreeMap::new());
        if !seeds.is_empty() {
            orders = openb::read_order(&existing(&order_path)?, seeds, pods.len() as u32)?;
            let rank_path = existing(&root.join(format!("order/noderank_{stem}.csv")))?;
            ranks = openb::read_node_rank(&rank_path, seeds, nodes.len() as u32)?;
        }
        let experiment = Experiment::new(&nodes, &pods).map_err(ExperimentError::from)?;
        let total_gpus = nodes.iter().map(|node| u64::from(node.gpus)).sum();
        Ok(Self { experiment, nodes, pods, total_gpus, orders, ranks, order_path })
    }

    /// Runs one published experiment.
    fn compare(&self, key: &RunKey, published: &Published) -> Result<Comparison, Error> {
        let no_seed = || Error::NoSeed { path: self.order_path.clone(), seed: key.seed };
        let order = self.orders.get(&key.seed).ok_or_else(no_seed)?;
        let rank = self.ranks.get(&key.seed).ok_or_else(no_seed)?;
        let outcome = self.experiment.run(rank, order, policy_name(&key.policy)?, key.seed)?;
        let tables = published.cells.iter().map(|(&table, theirs)| {
            let levels: Vec<u32> = theirs.iter().map(|&(level, _)| level).collect();
            let ours = cells(&outcome.arrivals, self.total_gpus, table, &levels);
            let pairs = ours.into_iter().zip(theirs.iter().map(|&(_, cell)| cell)).collect();
            (table, pairs)
        });
        Ok(Comparison { tables: tables.collect() })
    }

    /// Lets the pods of a published list arrive in its order. Returns how many went to another node.
    ///
    /// The list names the ranks of the nodes that it uses. A node that it never uses lost every tie, so any rank
    /// behind those is consistent with it.
    fn follow(&self, list: &Placements) -> Result<usize, Error> {
        let unknown = |name: &str| Error::UnknownName { path: list.path.clone(), name: name.to_owned() };
        let pod_rows: BTreeMap<&str, u32> =
            self.pods.iter().zip(0..).map(|(pod, row)| (&*pod.name, row)).collect();
        let node_rows: BTreeMap<&str, u32> =
            self.nodes.iter().zip(0..).map(|(node, row)| (&*node.name, row)).collect();
        let mut order = Vec::with_capacity(list.pods.len());
        let mut expected = Vec::with_capacity(list.pods.len());
        let mut rank = vec![u32::MAX; self.nodes.len()];
        for (pod, node_rank, node) in &list.pods {
            order.push(*pod_rows.get(pod.as_str()).ok_or_else(|| unknown(pod))?);
            let row = *node_rows.get(node.as_str()).ok_or_else(|| unknown(node))?;
            rank[row as usize] = *node_rank;
            expected.push(Some(row));
        }
        let outcome = self.experiment.run(&rank, &order, policy_name(&list.policy)?, list.seed)?;
        Ok(outcome.nodes.iter().zip(&expected).filter(|(ours, theirs)| ours != theirs).count())
    }
}

/// One row per (trace, policy), then one per list of placements.
fn report(runs: &[(&RunKey, Comparison)], lists: &[(&Placements, usize)]) -> Report {
    let mut groups: BTreeMap<(&str, &str), Vec<&Comparison>> = BTreeMap::new();
    for (key, comparison) in runs {
        groups.entry((short_name(&key.trace), key.policy.as_str())).or_default().push(comparison);
    }
    let mut rows = Vec::new();
    for ((trace, policy), comparisons) in &groups {
        let (study, ours) = known_policy(policy).unwrap_or((policy, policy));
        let row = if ours == RANDOM { random_row } else { deterministic_row };
        rows.push(row(trace, study, comparisons));
    }
    rows.extend(lists.iter().map(|(list, differences)| {
        let study = known_policy(&list.policy).map_or(list.policy.as_str(), |(study, _)| study);
        placements_row(short_name(&list.trace), study, list.pods.len(), *differences)
    }));
    let cells: usize = runs.iter().map(|(_, comparison)| comparison.cells()).sum();
    let placements: usize = lists.iter().map(|(list, _)| list.pods.len()).sum();
    let missed = rows.iter().filter(|row| !row.passed).count();
    let summary = format!(
        "openb: {} runs, {cells} cells, {placements} placements: {}",
        runs.len(),
        match missed {
            0 => "all within tolerance".to_owned(),
            missed => format!("{missed} of {} cases beyond tolerance", rows.len()),
        }
    );
    Report { suite: "openb", columns: compare::COLUMNS.to_vec(), rows, summary }
}
