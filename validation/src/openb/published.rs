//! The published results: tables by (trace, policy, seed), and placements one by one.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;

use super::tables::Table;
use crate::{DataError, Error};

/// One published run.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct RunKey {
    /// The trace, as the tables name it.
    pub(super) trace: String,
    /// The policy, as the tables name it, such as `06-FGD`.
    pub(super) policy: String,
    /// The seed.
    pub(super) seed: u64,
}

/// The three tables of a published run.
#[derive(Clone, PartialEq, Debug, Default)]
pub(super) struct Published {
    /// Per table: level of arrived GPU in percent, from 0 without gaps, and the cell.
    pub(super) cells: BTreeMap<Table, Vec<(u32, f64)>>,
}

/// Reads the published tables in `directory`, as far as they are `wanted`.
pub(super) fn read_tables(
    directory: &Path,
    wanted: impl Fn(&RunKey) -> Result<bool, Error>,
) -> Result<BTreeMap<RunKey, Published>, Error> {
    let mut runs: BTreeMap<RunKey, Published> = BTreeMap::new();
    let mut levels_of_first = None;
    for table in Table::ALL {
        let path = existing(&table_path(directory, table))?;
        let mut reader = csv::Reader::from_reader(open(&path)?);
        let headers = reader.headers().map_err(|error| DataError::csv(&path, &error))?.clone();
        let column = |name: &str| {
            headers.iter().position(|header| header == name).ok_or_else(|| DataError::Line {
                path: path.clone(),
                line: 1,
                expected: format!("a column `{name}`"),
            })
        };
        let (trace, policy, seed) = (column("workload")?, column("sc_policy")?, column("seed")?);
        let levels: Vec<(usize, u32)> = headers
            .iter()
            .enumerate()
            .filter_map(|(position, header)| Some((position, header.parse().ok()?)))
            .collect();
        if levels.is_empty() || !levels.iter().map(|&(_, level)| level).eq(0..levels.len() as u32) {
            let expected = "columns 0, 1, 2, ... for the levels of arrived GPU".to_owned();
            return Err(DataError::Line { path, line: 1, expected }.into());
        }
        if *levels_of_first.get_or_insert(levels.len()) != levels.len() {
            let expected = "as many levels of arrived GPU as the other tables have".to_owned();
            return Err(DataError::Line { path, line: 1, expected }.into());
        }
        let mut record = csv::StringRecord::new();
        while reader.read_record(&mut record).map_err(|error| DataError::csv(&path, &error))? {
            let bad = |field: &str, expected: &str| DataError::Line {
                path: path.clone(),
                line: record.position().map_or(0, csv::Position::line),
                expected: format!("{expected} in column `{field}`"),
            };
            let key = RunKey {
                trace: record[trace].to_owned(),
                policy: record[policy].to_owned(),
                seed: record[seed].parse().map_err(|_| bad("seed", "a whole number"))?,
            };
            if !wanted(&key)? {
                continue;
            }
            let mut cells = Vec::with_capacity(levels.len());
            for &(position, level) in &levels {
                let cell = record[position].parse().ok().filter(|cell: &f64| cell.is_finite());
                cells.push((level, cell.ok_or_else(|| bad(&headers[position], "a number"))?));
            }
            let run = runs.entry(key).or_default();
            if run.cells.insert(table, cells).is_some() {
                return Err(bad("seed", "each (workload, sc_policy, seed) once").into());
            }
        }
    }
    // A run that is missing from one table would pass unseen.
    for (key, run) in &runs {
        if let Some(table) = Table::ALL.into_iter().find(|table| !run.cells.contains_key(table)) {
            let run = format!("{} {} seed {}", key.trace, key.policy, key.seed);
            return Err(DataError::NoRun { path: table_path(directory, table), run }.into());
        }
    }
    Ok(runs)
}

fn table_path(directory: &Path, table: Table) -> PathBuf {
    directory.join(format!("analysis_{}_discrete.csv", table.name()))
}

/// The placements of one published run, in scheduling order.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Placements {
    /// The file.
    pub(super) path: PathBuf,
    /// The policy, as the file names it.
    pub(super) policy: String,
    /// The trace, as the file names it.
    pub(super) trace: String,
    /// The seed.
    pub(super) seed: u64,
    /// Pod, rank of its node, and node.
    pub(super) pods: Vec<(String, u32, String)>,
}

/// Reads every `POLICY_TRACE_tuneRATIO_seedSEED_placements.txt` (plain or .gz) in `directory`, in order of name.
pub(super) fn read_placements(directory: &Path) -> Result<Vec<Placements>, DataError> {
    let entries = std::fs::read_dir(directory).map_err(|error| DataError::io(directory, error))?;
    let mut paths = entries
        .map(|entry| entry.map(|entry| entry.path()).map_err(|error| DataError::io(directory, error)))
        .collect::<Result<Vec<_>, _>>()?;
    paths.sort();
    let is_list = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or("");
        name.strip_suffix(".gz").unwrap_or(name).ends_with(PLACEMENTS_SUFFIX)
    };
    paths
        .into_iter()
        .filter(is_list)
        .map(|path| {
            let (policy, trace, seed) = parse_name(&path).ok_or_else(|| DataError::Name {
                path: path.clone(),
                expected: "POLICY_TRACE_tuneRATIO_seedSEED_placements.txt",
            })?;
            let lines = BufReader::new(open(&path)?).lines().enumerate();
            let pods = lines
                .map(|(index, line)| {
                    let line = line.map_err(|error| DataError::io(&path, error))?;
                    parse_placement(&line).ok_or_else(|| DataError::Line {
                        path: path.clone(),
                        line: index as u64 + 1,
                        expected: "`namespace/pod rank-node`".to_owned(),
                    })
                })
                .collect::<Result<Vec<_>, _>>()?;
            if pods.is_empty() {
                let expected = "at least one placement".to_owned();
                return Err(DataError::Line { path, line: 1, expected });
            }
            Ok(Placements { path, policy, trace, seed, pods })
        })
        .collect()
}

const PLACEMENTS_SUFFIX: &str = "_placements.txt";

/// Policy, trace and seed of `fgd_default_tune0.1_seed42_placements.txt.gz`.
fn parse_name(path: &Path) -> Option<(String, String, u64)> {
    let name = path.file_name()?.to_str()?;
    let stem = name.strip_suffix(".gz").unwrap_or(name).strip_suffix(PLACEMENTS_SUFFIX)?;
    let (rest, seed) = stem.rsplit_once("_seed")?;
    let (run, _ratio) = rest.rsplit_once("_tune")?;
    let (policy, trace) = run.split_once('_')?;
    Some((policy.to_owned(), trace.to_owned(), seed.parse().ok()?))
}

/// `paib-gpu/openb-pod-7257 0000-openb-node-0558`.
fn parse_placement(line: &str) -> Option<(String, u32, String)> {
    let (pod, node) = line.split_once(' ')?;
    let (_namespace, pod) = pod.split_once('/')?;
    let (rank, node) = node.split_once('-')?;
    Some((pod.to_owned(), rank.parse().ok()?, node.to_owned()))
}

/// The file, or the same name with `.gz`.
pub(crate) fn existing(path: &Path) -> Result<PathBuf, DataError> {
    let mut compressed = path.as_os_str().to_owned();
    compressed.push(".gz");
    let compressed = PathBuf::from(compressed);
    if path.is_file() {
        Ok(path.to_owned())
    } else if compressed.is_file() {
        Ok(compressed)
    } else {
        Err(DataError::Missing { path: path.to_owned() })
    }
}

pub(crate) fn open(path: &Path) -> Result<Box<dyn Read>, DataError> {
    let mut file = BufReader::new(std::fs::File::open(path).map_err(|error| DataError::io(path, error))?);
    let compressed = file.fill_buf().map_err(|error| DataError::io(path, error))?.starts_with(&[0x1f, 0x8b]);
    Ok(if compressed { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_parse() {
        let check = |name: &str, expected: Option<(&str, &str, u64)>| {
            let expected = expected.map(|(policy, trace, seed)| (policy.to_owned(), trace.to_owned(), seed));
            assert_eq!(parse_name(Path::new(name)), expected, "{name}");
        };
        check("x/fgd_default_tune0.1_seed42_placements.txt.gz", Some(("fgd", "default", 42)));
        check(
            "fgd_openb_pod_list_cpu050_tune1.3_seed7_placements.txt",
            Some(("fgd", "openb_pod_list_cpu050", 7)),
        );
        check("fgd_default_tune0.1_seedX_placements.txt", None);
        check("placements.txt", None);
    }

    #[test]
    fn placements_parse() {
        let check = |line: &str, expected: Option<(&str, u32, &str)>| {
            let expected = expected.map(|(pod, rank, node)| (pod.to_owned(), rank, node.to_owned()));
            assert_eq!(parse_placement(line), expected, "{line}");
        };
        check(
            "paib-gpu/openb-pod-7257 0042-openb-node-0558",
            Some(("openb-pod-7257", 42, "openb-node-0558")),
        );
        check("openb-pod-7257 0042-openb-node-0558", None);
        check("a/b x-node", None);
        check("", None);
    }
}
