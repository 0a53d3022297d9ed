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
    /// Per table: level of arrived GPU in percent, and the cell. Cells that are not published are left out.
    pub(super) cells: BTreeMap<Table, Vec<(u32, f64)>>,
}

/// Reads the published tables in `directory`, as far as they are `wanted`.
pub(super) fn read_tables(
    directory: &Path,
    wanted: impl Fn(&RunKey) -> Result<bool, Error>,
) -> Result<BTreeMap<RunKey, Published>, Error> {
    let mut runs: BTreeMap<RunKey, Published> = BTreeMap::new();
    for table in Table::ALL {
        let path = existing(&directory.join(format!("analysis_{}_discrete.csv", table.name())))?;
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
                let text = &record[position];
                if !text.is_empty() {
                    let cell: f64 = text.parse().map_err(|_| bad(&headers[position], "a number"))?;
                    cells.push((level, cell));
                }
            }
            runs.entry(key).or_default().cells.insert(table, cells);
        }
    }
    Ok(runs)
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
    let named = paths.into_iter().filter_map(|path| {
        let name = path.file_name()?.to_str()?;
        let stem = name.strip_suffix(".gz").unwrap_or(name).strip_suffix("_placements.txt")?;
        let (rest, seed) = stem.rsplit_once("_seed")?;
        let (run, _ratio) = rest.rsplit_once("_tune")?;
        let (policy, trace) = run.split_once('_')?;
        let (policy, trace, seed) = (policy.to_owned(), trace.to_owned(), seed.parse().ok()?);
        Some((path, policy, trace, seed))
    });
    named
        .map(|(path, policy, trace, seed)| {
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
                .collect::<Result<_, _>>()?;
            Ok(Placements { path, policy, trace, seed, pods })
        })
        .collect()
}

/// `paib-gpu/openb-pod-7257 0000-openb-node-0558`.
fn parse_placement(line: &str) -> Option<(String, u32, String)> {
    let (pod, node) = line.split_once(' ')?;
    let (_namespace, pod) = pod.split_once('/')?;
    let (rank, node) = node.split_once('-')?;
    Some((pod.to_owned(), rank.parse().ok()?, node.to_owned()))
}

/// The file, or the same name with `.gz`.
pub(super) fn existing(path: &Path) -> Result<PathBuf, DataError> {
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

fn open(path: &Path) -> Result<Box<dyn Read>, DataError> {
    let mut file = BufReader::new(std::fs::File::open(path).map_err(|error| DataError::io(path, error))?);
    let compressed = file.fill_buf().map_err(|error| DataError::io(path, error))?.starts_with(&[0x1f, 0x8b]);
    Ok(if compressed { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) })
}

#[cfg(test)]
mod tests {
    use super::*;

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
