//! `foretell validate nccl`: times of collectives that were measured, beside those that the model predicts from the hardware alone.
//!
//! Every case is predicted twice: with the constants that were fitted to all cases, and with constants fitted to the
//! cases without it (in ten parts). The second is what to expect of a system that was not measured.

mod fit;
mod measured;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use foretell_fabric::collectives::{Calibration, Collective, Parameter};
use foretell_fabric::hardware::{Network, Ranks};
use rayon::prelude::*;

use self::fit::fit;
use self::measured::{Health, Measured, Measurement, SizeClass, read};
use crate::report::{Cell, Report, Row};
use crate::{Error, Progress};

/// Parts that are left out in turn.
const FOLDS: usize = 10;

/// From 64 MiB on: the largest error of a healthy case that passes.
const TOLERANCE: f64 = 0.12;

/// A mis-tuned system must be slower than predicted by this factor to be told from a healthy one.
const MISTUNED: f64 = 2.0;

/// What is wanted beside the report.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Selection {
    /// Fit the constants to the data at hand, and print them.
    pub fit: bool,
}

/// Predicts every measurement in `data`: a folder with `nccl_measured.csv`, or with `network/nccl_measured.csv`, or such a file.
pub fn run(data: &Path, selection: Selection, progress: &Progress<'_>) -> Result<Report, Error> {
    let Measured { rows, skipped } = read(&file(data))?;
    let mut cases: BTreeMap<&str, Vec<&Measurement>> = BTreeMap::new();
    for row in &rows {
        cases.entry(&row.case).or_default().push(row);
    }
    progress.begin(FOLDS);
    let usable: Vec<&Measurement> = rows.iter().filter(|row| row.health != Health::Bad).collect();
    let calibration = if selection.fit { fit(&usable) } else { Calibration::default() };
    let held_out: Vec<Calibration> = (0..FOLDS)
        .into_par_iter()
        .map(|fold| {
            let others = cases.values().enumerate().filter(|(index, _)| index % FOLDS != fold);
            let rows = others.flat_map(|(_, rows)| rows).copied();
            let left: Vec<&Measurement> = rows.filter(|row| row.health != Health::Bad).collect();
            let fitted = fit(&left);
            progress.step();
            fitted
        })
        .collect();
    let mut outcomes: Vec<Outcome> = cases
        .values()
        .enumerate()
        .map(|(index, rows)| Outcome::of(rows, &calibration, &held_out[index % FOLDS]))
        .collect();
    let errors = |outcome: fn(&Outcome) -> &[Errors; 3], class: SizeClass| -> Vec<f64> {
        let healthy = outcomes.iter().filter(|one| one.health == Health::Good);
        healthy.flat_map(|one| outcome(one)[class as usize].iter().copied()).collect()
    };
    let sentence = |class: SizeClass| {
        let (fitted, left_out) = (errors(|one| &one.fitted, class), errors(|one| &one.held_out, class));
        (fitted.len(), percent(&fitted), percent(&left_out))
    };
    let mut summary = format!(
        "Errors are medians of |predicted / measured time - 1| in per cent, fitted / left\n\
         out of the fit; bus bandwidth in GB/s. {} cases, {} measurements; healthy:\n",
        cases.len(),
        rows.len(),
    );
    let classes = [
        (SizeClass::Large, "from 64 MiB on"),
        (SizeClass::Middle, "1 to 64 MiB"),
        (SizeClass::Small, "below 1 MiB"),
    ];
    summary.extend(classes.map(|(class, name)| {
        let (count, fitted, left_out) = sentence(class);
        format!("  {name:<16}{fitted} / {left_out} of {count} measurements\n")
    }));
    summary.extend(skipped.iter().map(|(case, reason)| format!("skipped {case}: {reason}\n")));
    let bases = bases(&usable, &calibration);
    summary.push_str(&sentence_of(&bases));
    if selection.fit {
        summary
            .push_str("\nfitted constants, what was expected, and the rows and cases that they rest on:\n");
        summary.extend(bases.iter().map(Basis::line));
    }
    // Worst first.
    outcomes.sort_by(|one, other| {
        other.badness().total_cmp(&one.badness()).then_with(|| one.case.cmp(&other.case))
    });
    Ok(Report {
        suite: "nccl",
        columns: vec![
            "case",
            "GPUs",
            "network",
            "collective",
            "≥64 MiB",
            "1-64 MiB",
            "<1 MiB",
            "largest: busbw, ours",
        ],
        rows: outcomes.iter().map(Outcome::row).collect(),
        summary: summary.trim_end().to_owned(),
    })
}

/// Bus bandwidth by size of a case.
#[derive(Clone, PartialEq, Debug)]
pub struct Curve {
    /// The case.
    pub case: String,
    /// Bytes, GB/s measured and GB/s predicted, by size.
    pub points: Vec<(u64, f64, f64)>,
}

/// Sweeps of all-reduce over many sizes on healthy systems that differ, those over most sizes first.
pub fn curves(data: &Path) -> Result<Vec<Curve>, Error> {
    let Measured { rows, .. } = read(&file(data))?;
    let mut cases: BTreeMap<&str, Vec<&Measurement>> = BTreeMap::new();
    let is_shown = |row: &&Measurement| row.health == Health::Good && row.collective == Collective::AllReduce;
    for row in rows.iter().filter(is_shown) {
        cases.entry(&row.case).or_default().push(row);
    }
    let mut cases: Vec<Vec<&Measurement>> = cases.into_values().collect();
    // A stable sort: equals stay in order of name.
    cases.sort_by_key(|rows| std::cmp::Reverse(rows.len()));
    let mut systems: Vec<(&str, Option<Network>, Ranks)> = Vec::new();
    cases.retain(|rows| {
        let system = (short(&rows[0].machine.gpu.name), rows[0].machine.network, rows[0].ranks);
        let is_new = !systems.contains(&system) && rows.iter().all(|row| row.ranks == rows[0].ranks);
        systems.extend(is_new.then_some(system));
        is_new
    });
    let calibration = Calibration::default();
    let point = |row: &&Measurement| {
        let factor = row.collective.bus_factor(row.ranks.count());
        let measured = row.bytes as f64 * factor / (row.time_us * 1e3);
        (row.bytes, measured, row.estimate(&calibration).bus_gb_per_s)
    };
    let curve = |rows: Vec<&Measurement>| {
        let mut points: Vec<_> = rows.iter().map(point).collect();
        points.sort_by_key(|&(bytes, ..)| bytes);
        Curve { case: rows[0].case.clone(), points }
    };
    Ok(cases.into_iter().map(curve).collect())
}

/// The file of measurements.
fn file(data: &Path) -> PathBuf {
    if data.is_file() {
        return data.to_owned();
    }
    let root = if data.join("network").is_dir() { data.join("network") } else { data.to_owned() };
    root.join("nccl_measured.csv")
}

/// Relative errors of one class of sizes, absolute.
type Errors = Vec<f64>;

fn errors_of(rows: &[&Measurement], class: SizeClass, calibration: &Calibration) -> Errors {
    let of_class = rows.iter().filter(|row| row.size_class() == class);
    of_class.map(|row| row.log_error(calibration).exp_m1().abs()).collect()
}

/// Median errors in per cent: fitted, and left out of the fit.
fn cell(fitted: &Errors, held_out: &Errors) -> Cell {
    if fitted.is_empty() {
        return Cell::None;
    }
    let [fitted, held_out] = [fitted, held_out].map(|errors| median(errors) * 100.0);
    Cell::Text(format!("{fitted:.1} / {held_out:.1}"))
}

/// One case.
struct Outcome {
    case: String,
    gpus: String,
    network: &'static str,
    collectives: String,
    health: Health,
    /// Small, middle and large sizes.
    fitted: [Errors; 3],
    held_out: [Errors; 3],
    /// At the largest size: busbw measured and predicted.
    largest: (f64, f64),
}

impl Outcome {
    fn of(rows: &[&Measurement], calibration: &Calibration, held_out: &Calibration) -> Self {
        let first = rows[0];
        let classes = [SizeClass::Small, SizeClass::Middle, SizeClass::Large];
        let mut collectives: Vec<String> = rows.iter().map(|row| row.collective.to_string()).collect();
        collectives.dedup();
        let largest = rows.iter().rev().max_by_key(|row| row.bytes).copied().unwrap_or(first);
        let measured = largest.bytes as f64 / (largest.time_us * 1e3)
            * largest.collective.bus_factor(largest.ranks.count());
        let single = rows.iter().all(|row| row.ranks == first.ranks);
        Self {
            case: first.case.clone(),
            gpus: if single {
                format!("{}x{} {}", first.ranks.nodes, first.ranks.per_node, short(&first.machine.gpu.name))
            } else {
                format!("several {}", short(&first.machine.gpu.name))
            },
            network: if rows.iter().all(|row| row.ranks.nodes == 1) {
                "-"
            } else {
                first.machine.network.map_or("-", |network| network.name())
            },
            collectives: if collectives.len() == 1 { collectives.remove(0) } else { "several".to_owned() },
            health: first.health,
            fitted: classes.map(|class| errors_of(rows, class, calibration)),
            held_out: classes.map(|class| errors_of(rows, class, held_out)),
            largest: (measured, largest.estimate(calibration).bus_gb_per_s),
        }
    }

    fn large_error(&self) -> f64 {
        median(&self.fitted[SizeClass::Large as usize])
    }

    /// Whether it is as it should be: healthy cases near their prediction, mis-tuned ones far below.
    fn passed(&self) -> bool {
        match self.health {
            Health::Good => {
                self.fitted[SizeClass::Large as usize].is_empty() || self.large_error() <= TOLERANCE
            }
            Health::Bad => self.largest.1 >= MISTUNED * self.largest.0,
            Health::Uncertain => true,
        }
    }

    /// Those that miss come first, then those with the largest error.
    fn badness(&self) -> f64 {
        let error =
            self.fitted.iter().rev().find(|errors| !errors.is_empty()).map_or(0.0, |errors| median(errors));
        match self.health {
            Health::Good => error,
            // Not judged: last.
            Health::Bad | Health::Uncertain => error / 1e3,
        }
    }

    fn row(&self) -> Row {
        let case = match self.health {
            Health::Good => self.case.clone(),
            Health::Bad => format!("{} (mis-tuned)", self.case),
            Health::Uncertain => format!("{} (uncertain)", self.case),
        };
        let [small, middle, large] = &self.fitted;
        let [small_out, middle_out, large_out] = &self.held_out;
        let decimals = if self.largest.0 < 10.0 { 2 } else { 0 };
        Row {
            cells: vec![
                Cell::Text(case),
                Cell::Text(self.gpus.clone()),
                Cell::Text(self.network.to_owned()),
                Cell::Text(self.collectives.clone()),
                cell(large, large_out),
                cell(middle, middle_out),
                cell(small, small_out),
                Cell::Text(format!("{:.*} {:.*}", decimals, self.largest.0, decimals, self.largest.1)),
            ],
            passed: self.passed(),
        }
    }
}

/// The model of a GPU, without form and memory.
fn short(name: &str) -> &str {
    name.split('-').next().unwrap_or(name)
}

/// The median in per cent.
fn percent(errors: &[f64]) -> String {
    if errors.is_empty() { "-".to_owned() } else { format!("{:.1}", median(errors) * 100.0) }
}

/// The middle value, or the mean of the two there; not a number if there is none.
fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match (sorted.len() / 2, sorted.len() % 2) {
        (0, 0) => f64::NAN,
        (half, 0) => f64::midpoint(sorted[half - 1], sorted[half]),
        (half, _) => sorted[half],
    }
}

/// What a constant rests on.
struct Basis<'a> {
    parameter: Parameter,
    value: f64,
    rows: usize,
    cases: Vec<&'a str>,
}

impl Basis<'_> {
    fn is_on_bound(&self) -> bool {
        let (_, least, most) = self.parameter.prior();
        (self.value - least).min(most - self.value) < 1e-6 * (most - least)
    }

    fn line(&self) -> String {
        let Self { parameter, value, rows, cases } = self;
        let (prior, least, most) = parameter.prior();
        let on_bound = if self.is_on_bound() { ", on its bound" } else { "" };
        let one = if let [case] = cases[..] { format!(": {case}") } else { String::new() };
        format!(
            "  {value:9.4} {parameter:?} ({prior} in {least} to {most}{on_bound}),\n            {rows} rows of {}{one}\n",
            cases.len()
        )
    }
}

/// What each constant rests on: rows whose prediction it changes.
fn bases<'a>(rows: &[&'a Measurement], calibration: &Calibration) -> Vec<Basis<'a>> {
    let basis = |parameter: Parameter| {
        let (_, least, most) = parameter.prior();
        let (value, step) = (calibration.get(parameter), 0.01 * (most - least));
        let mut moved = calibration.clone();
        moved.set(parameter, if value + step <= most { value + step } else { value - step });
        let rests = |row: &&&Measurement| {
            let (before, after) = (row.estimate(calibration).time_us, row.estimate(&moved).time_us);
            (after / before - 1.0).abs() > 1e-9
        };
        let of_it: Vec<&&Measurement> = rows.iter().filter(rests).collect();
        let mut cases: Vec<&str> = of_it.iter().map(|row| row.case.as_str()).collect();
        cases.sort_unstable();
        cases.dedup();
        Basis { parameter, value, rows: of_it.len(), cases }
    };
    Parameter::ALL.into_iter().map(basis).collect()
}

/// Constants that rest on little, or that want to be where they may not.
fn sentence_of(bases: &[Basis<'_>]) -> String {
    let such = |what: &str, is_such: &dyn Fn(&Basis<'_>) -> bool| {
        let mut text = format!("{what}:");
        let mut width = text.len();
        for basis in bases.iter().filter(|basis| is_such(basis)) {
            let name = format!(" {:?}", basis.parameter);
            if width + name.len() > WIDTH {
                text.push_str("\n ");
                width = 1;
            }
            width += name.len();
            text.push_str(&name);
        }
        if text.ends_with(':') { text + " none\n" } else { text + "\n" }
    };
    let on_few = format!("{} constants; on one case or none rest", bases.len());
    such(&on_few, &|basis| basis.cases.len() < 2) + &such("on a bound lie", &|basis| basis.is_on_bound())
}

/// Letters in a line of text.
const WIDTH: usize = 79;

#[cfg(test)]
mod tests {
    use super::*;

    fn quiet() -> Progress<'static> {
        Progress { begin: &|_| {}, step: &|| {} }
    }

    #[test]
    #[expect(clippy::print_stderr, reason = "says what it skips")]
    fn measurements_come_out() {
        let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
        let data = std::env::var_os("FORETELL_DATA").map_or(beside, Into::into);
        if !data.join("network").is_dir() {
            eprintln!("skipped: no measurements of NCCL at {}", data.display());
            return;
        }
        let report = run(&data, Selection::default(), &quiet()).unwrap();
        // Bad rows that are known, with their reasons in docs/nccl.md.
        let known = [
            "gcp_a3high",
            "aws_p5_2n_eks",
            "dgx2h_superpod",
            "cw_gb200_20rack",
            "dstack_a3high",
            "cw_gb200_2rack",
            "cw_gb200_1rack",
        ];
        for row in report.rows.iter().filter(|row| !row.passed) {
            let Cell::Text(case) = &row.cells[0] else { panic!("{row:?}") };
            assert!(known.iter().any(|known| case.starts_with(known)), "{case} misses");
        }
        assert!(
            report.summary.contains("skipped koord_roce25_2n1g: unknown GPU `unknown`"),
            "{}",
            report.summary
        );
        let Ok(Measured { rows, .. }) = read(&data.join("network/nccl_measured.csv")) else { panic!() };
        let error = |class: SizeClass, calibration: &Calibration| {
            let healthy = rows.iter().filter(|row| row.health == Health::Good && row.size_class() == class);
            median(&healthy.map(|row| row.log_error(calibration).exp_m1().abs()).collect::<Vec<_>>())
        };
        // The constants in the code are those that the fit finds.
        let fitted = Calibration::default();
        let again = fit(&rows.iter().filter(|row| row.health != Health::Bad).collect::<Vec<_>>());
        for parameter in Parameter::ALL {
            let (_, least, most) = parameter.prior();
            let difference = (fitted.get(parameter) - again.get(parameter)).abs() / (most - least);
            assert!(
                difference < 0.005,
                "{parameter:?}: {}, in the code {}",
                again.get(parameter),
                fitted.get(parameter)
            );
        }
        assert!(error(SizeClass::Large, &fitted) <= 0.05);
        assert!(error(SizeClass::Middle, &fitted) <= 0.12);
        assert!(error(SizeClass::Small, &fitted) <= 0.5);
        // What is expected without a measurement is near already.
        assert!(error(SizeClass::Large, &Calibration::prior()) <= 0.08);
    }

    #[test]
    fn no_rows_are_no_error() {
        assert_eq!((percent(&[]), percent(&[0.1])), ("-".to_owned(), "10.0".to_owned()));
    }

    #[test]
    fn a_fit_finds_what_made_the_times() {
        let columns = "case_id,gpu,gpus_installed_per_node,interconnect,nics_per_node,nic_gbps,network,healthy,gpus_per_node,nodes,\
                       algo,collective,size_bytes,time_us\n";
        let directory = std::env::temp_dir().join(format!("foretell-nccl-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let path = directory.join("nccl_measured.csv");
        let text = |time: &dyn Fn(usize) -> f64| {
            // One system weighs little beside what is expected: many like it.
            let row = |(case, exponent): (usize, usize)| {
                format!(
                    "{case},A100-SXM4,8,nvswitch,8,200,infiniband,yes,8,1,auto,all_reduce,{},{}\n",
                    1_u64 << exponent,
                    time(exponent)
                )
            };
            let rows = (0..40).flat_map(|case| (12..34).map(move |exponent| (case, exponent)));
            columns.to_owned() + &rows.map(row).collect::<String>()
        };
        // Times of a system that is slower than expected in all.
        std::fs::write(&path, text(&|_| 1.0)).unwrap();
        let mut truth = Calibration::prior();
        truth.set(Parameter::RingAmpere, 0.9);
        truth.set(Parameter::LaunchAmpere, 50.0);
        let times: Vec<f64> =
            read(&path).unwrap().rows.iter().map(|row| row.estimate(&truth).time_us).collect();
        std::fs::write(&path, text(&|exponent| times[exponent - 12])).unwrap();
        let rows = read(&path).unwrap().rows;
        let fitted = fit(&rows.iter().collect::<Vec<_>>());
        for row in &rows {
            let (error, before) = (row.log_error(&fitted).abs(), row.log_error(&Calibration::prior()).abs());
            assert!(
                error < 0.15 && error <= 0.3 * before.max(0.1),
                "{} B: {error}, {before} before",
                row.bytes
            );
        }
        // Bad input is said by its line.
        std::fs::write(&path, text(&|exponent| if exponent == 13 { -1.0 } else { 1.0 })).unwrap();
        let error = read(&path).err().unwrap().to_string();
        assert!(error.contains(".csv:3: ") && error.contains("time_us"), "{error}");
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
