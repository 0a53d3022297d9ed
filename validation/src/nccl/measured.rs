//! Measurements of nccl-tests, and the machines that they were made on.

use std::path::Path;

use foretell_fabric::collectives::{
    Algorithm, Calibration, Choice, Collective, Environment, Estimate, choose,
};
use foretell_fabric::hardware::{Gpu, Interconnect, Machine, Network, Ranks};
use serde::Deserialize;

use crate::DataError;
use crate::rows::read_rows;

/// The columns that are read. What is for people is not.
#[derive(Deserialize)]
struct CsvRow {
    case_id: String,
    gpu: String,
    gpus_installed_per_node: u32,
    interconnect: String,
    nics_per_node: u32,
    nic_gbps: f64,
    network: String,
    healthy: String,
    gpus_per_node: u32,
    nodes: u32,
    algo: String,
    collective: String,
    size_bytes: u64,
    time_us: f64,
}

/// What is known of the state of a system.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Health {
    /// As it should be.
    Good,
    /// Mis-tuned.
    Bad,
    /// One of the columns of its hardware is a guess.
    Uncertain,
}

/// How long a collective took, and what NCCL is taken to have done.
#[derive(Clone, Debug)]
pub(super) struct Measurement {
    pub(super) case: String,
    pub(super) machine: Machine,
    pub(super) ranks: Ranks,
    pub(super) health: Health,
    pub(super) collective: Collective,
    pub(super) bytes: u64,
    pub(super) time_us: f64,
    choice: Choice,
}

/// Sizes that errors are told for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum SizeClass {
    /// Below 1 MiB.
    Small,
    /// Up to 64 MiB.
    Middle,
    /// From 64 MiB on.
    Large,
}

impl Measurement {
    pub(super) fn estimate(&self, calibration: &Calibration) -> Estimate {
        self.choice.estimate(calibration)
    }

    /// Natural logarithm of predicted over measured time.
    pub(super) fn log_error(&self, calibration: &Calibration) -> f64 {
        (self.estimate(calibration).time_us / self.time_us).ln()
    }

    pub(super) const fn size_class(&self) -> SizeClass {
        match self.bytes >> 20 {
            0 => SizeClass::Small,
            1..64 => SizeClass::Middle,
            _ => SizeClass::Large,
        }
    }

    /// What it counts in a fit.
    pub(super) fn weight(&self) -> f64 {
        let by_size = match self.size_class() {
            SizeClass::Small => 0.5,
            SizeClass::Middle => 1.0,
            SizeClass::Large => 2.5,
        };
        if self.health == Health::Good { by_size } else { 0.3 * by_size }
    }
}

/// Everything measured, and cases that cannot be predicted, with the reason, each once.
pub(super) struct Measured {
    pub(super) rows: Vec<Measurement>,
    pub(super) skipped: Vec<(String, String)>,
}

/// Reads a file of measurements.
pub(super) fn read(path: &Path) -> Result<Measured, DataError> {
    let mut measured = Measured { rows: Vec::new(), skipped: Vec::new() };
    for (line, row) in read_rows::<CsvRow>(path)? {
        let is_usable =
            row.time_us.is_finite() && row.time_us > 0.0 && row.nic_gbps.is_finite() && row.nic_gbps >= 0.0;
        if !is_usable {
            let expected = "a `time_us` above 0 and a `nic_gbps` of 0 or more".to_owned();
            return Err(DataError::Line { path: path.to_owned(), line, expected });
        }
        let case = row.case_id.clone();
        match measurement(row) {
            Ok(row) => measured.rows.push(row),
            Err(reason) => {
                let skipped = (case, reason);
                if !measured.skipped.contains(&skipped) {
                    measured.skipped.push(skipped);
                }
            }
        }
    }
    Ok(measured)
}

/// A row on the machine that its columns describe; or why it cannot be predicted.
fn measurement(row: CsvRow) -> Result<Measurement, String> {
    let gpu = Gpu::named(&row.gpu).ok_or_else(|| format!("unknown GPU `{}`", row.gpu))?;
    let interconnect = row.interconnect.parse::<Interconnect>().map_err(|error| error.to_string())?;
    let network = match row.network.as_str() {
        "none" => None,
        name => Some(name.parse::<Network>().map_err(|error| error.to_string())?),
    };
    let collective = row.collective.parse::<Collective>().map_err(|error| error.to_string())?;
    let machine = Machine {
        gpu,
        gpus: row.gpus_installed_per_node,
        interconnect,
        nics: row.nics_per_node,
        nic_gb_per_s: row.nic_gbps / 8.0,
        network,
        cpu: None,
    };
    let ranks = Ranks { per_node: row.gpus_per_node, nodes: row.nodes };
    let environment = environment(&row.algo);
    let choice = choose(&machine, ranks, collective, row.size_bytes, &environment)
        .map_err(|error| error.to_string())?;
    Ok(Measurement {
        case: row.case_id,
        machine,
        ranks,
        health: match row.healthy.as_str() {
            "yes" => Health::Good,
            "no" => Health::Bad,
            _ => Health::Uncertain,
        },
        collective,
        bytes: row.size_bytes,
        time_us: row.time_us,
        choice,
    })
}

/// What was asked of NCCL: an algorithm by its name, such as `Ring(forced)`, or nothing (`auto`).
fn environment(algorithm: &str) -> Environment {
    let name = algorithm.split(|char: char| !char.is_ascii_alphanumeric()).next().unwrap_or_default();
    let is_known = Algorithm::ALL.iter().any(|known| known.name() == name);
    let variable = format!("NCCL_ALGO={name}");
    let asked = is_known.then_some(variable.as_str());
    Environment::parse(asked).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_algorithm_is_asked_for_by_its_name() {
        let ring = Environment::parse(["NCCL_ALGO=Ring"]).unwrap();
        for (text, expected) in [
            ("Ring(forced)", ring.clone()),
            ("Ring(NVLS off)", ring),
            ("NVLSTree(forced)", Environment::parse(["NCCL_ALGO=NVLSTree"]).unwrap()),
            ("auto(Ring<=4,NVLS>=5)", Environment::default()),
            ("auto: RING LL<=1MiB, NVLS Simple>=2MiB", Environment::default()),
            ("p2p", Environment::default()),
            ("", Environment::default()),
        ] {
            assert_eq!(environment(text), expected, "{text}");
        }
    }
}
