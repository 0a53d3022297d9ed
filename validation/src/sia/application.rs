//! The applications: their profiles, and how far they are from being trained.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use foretell_goodput::{BatchLimits, GradientNoise, MeasuredTimes, StepTime};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::DataError;

/// An application, as its profiles describe it.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Application {
    /// Per type of node that it was profiled on, by the data's name of the type.
    pub(super) profiles: BTreeMap<String, Profile>,
    /// Between the batches that it was trained with.
    batches: Vec<(u32, Vec<Validation>)>,
}

/// How an application runs on one type of node.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Profile {
    /// Step times.
    pub(super) times: MeasuredTimes,
    /// Least and most examples that a GPU was measured with.
    pub(super) local: (u32, u32),
}

/// The state of a training at the end of an epoch.
#[derive(Clone, Copy, PartialEq, Debug, Deserialize)]
struct Validation {
    /// Steps of the initial batch that the training so far is worth.
    progress: f64,
    /// Updates of the model so far.
    iteration: f64,
    grad_sqr: f64,
    grad_var: f64,
}

#[derive(Deserialize)]
struct PlacementRow {
    placement: String,
    local_bsz: f64,
    step_time: f64,
    sync_time: f64,
}

#[derive(Deserialize)]
struct ScalabilityRow {
    num_nodes: u32,
    num_replicas: u32,
    local_bsz: f64,
    step_time: f64,
    sync_time: f64,
}

/// Rows of a file of an archive.
pub(super) fn rows<T: DeserializeOwned>(path: &Path, text: &str) -> Result<Vec<T>, DataError> {
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    reader.deserialize().collect::<Result<_, _>>().map_err(|error| DataError::csv(path, &error))
}

/// Nodes and GPUs of a placement like `44`: a digit per node.
fn parse_placement(text: &str) -> Option<(u32, u32)> {
    let gpus: Option<Vec<u32>> =
        text.chars().map(|digit| digit.to_digit(10).filter(|&gpus| gpus > 0)).collect();
    let gpus = gpus.filter(|gpus| !gpus.is_empty())?;
    Some((gpus.len() as u32, gpus.iter().sum()))
}

impl Application {
    /// All applications of the archive, by name. Its files are `traces/APPLICATION/KIND-WHAT.csv`.
    pub(super) fn read_all(
        archive: &Path,
        files: &[(String, String)],
    ) -> Result<BTreeMap<String, Self>, DataError> {
        let mut texts: BTreeMap<&str, BTreeMap<&str, &str>> = BTreeMap::new();
        for (name, text) in files {
            let mut parts = name.trim_end_matches(".csv").rsplit('/');
            if let (Some(file), Some(application)) = (parts.next(), parts.next()) {
                texts.entry(application).or_default().insert(file, text);
            }
        }
        let read = |(name, files): (&str, BTreeMap<&str, &str>)| {
            Ok((name.to_owned(), Self::read(&archive.join(name), &files)?))
        };
        texts.into_iter().map(read).collect()
    }

    fn read(path: &Path, files: &BTreeMap<&str, &str>) -> Result<Self, DataError> {
        let mut measured: BTreeMap<&str, Vec<(u32, u32, f64, StepTime)>> = BTreeMap::new();
        let mut batches = Vec::new();
        for (file, text) in files {
            let inside: PathBuf = path.join(format!("{file}.csv"));
            let time = |step_s: f64, sync_s: f64| StepTime { compute_s: step_s - sync_s, step_s };
            match file.split_once('-') {
                Some(("placements", gpu_type)) => {
                    for row in rows::<PlacementRow>(&inside, text)? {
                        let Some((nodes, gpus)) = parse_placement(&row.placement) else {
                            let expected = format!("GPUs per node in place of `{}`", row.placement);
                            return Err(DataError::Field { path: inside, expected });
                        };
                        let time = time(row.step_time, row.sync_time);
                        measured.entry(gpu_type).or_default().push((nodes, gpus, row.local_bsz, time));
                    }
                }
                Some(("scalability", gpu_type)) => {
                    for row in rows::<ScalabilityRow>(&inside, text)? {
                        let time = time(row.step_time, row.sync_time);
                        let key = (row.num_nodes, row.num_replicas, row.local_bsz, time);
                        measured.entry(gpu_type).or_default().push(key);
                    }
                }
                Some(("validation", batch)) => {
                    let expected = "validation-BATCH.csv";
                    let batch =
                        batch.parse().map_err(|_| DataError::Name { path: inside.clone(), expected })?;
                    batches.push((batch, rows(&inside, text)?));
                }
                // Files without a type of node repeat those of `aws`.
                _ => {}
            }
        }
        batches.sort_by_key(|&(batch, _)| batch);
        let epochs = batches.first().map_or(0, |(_, rows): &(u32, Vec<Validation>)| rows.len());
        if epochs == 0 || batches.iter().any(|(_, rows)| rows.len() != epochs) {
            let expected = "validations of as many epochs for each batch".to_owned();
            return Err(DataError::Field { path: path.to_owned(), expected });
        }
        let profile = |(gpu_type, rows): (&str, Vec<(u32, u32, f64, StepTime)>)| {
            let batches = || rows.iter().map(|&(_, _, local_batch, _)| local_batch as u32);
            let local = (batches().min().unwrap_or(1), batches().max().unwrap_or(1));
            (gpu_type.to_owned(), Profile { times: MeasuredTimes::new(rows), local })
        };
        Ok(Self { profiles: measured.into_iter().map(profile).collect(), batches })
    }

    /// Number of epochs.
    pub(super) fn epochs(&self) -> usize {
        self.batches[0].1.len()
    }

    /// Progress at the end of an epoch, in steps of the initial batch.
    pub(super) fn progress(&self, epoch: usize) -> f64 {
        self.batches[0].1[epoch].progress
    }

    /// Per batch that it was trained with: the updates that training took from the end of the first epoch on, by the noise
    /// measured in each epoch and as counted. Noise is measured once per epoch, and in the first it changes too fast for that.
    pub(super) fn trainings(&self) -> Vec<(u32, f64, f64)> {
        let initial = f64::from(self.batches[0].0);
        let training = |(batch, rows): &(u32, Vec<Validation>)| {
            let scale = f64::from(*batch) / initial;
            let told = rows.windows(2).enumerate().map(|(epoch, pair)| {
                (pair[1].progress - pair[0].progress) / self.noise(*batch, epoch + 1).gain(scale)
            });
            (*batch, told.sum(), rows[rows.len() - 1].iteration - rows[0].iteration)
        };
        self.batches.iter().map(training).collect()
    }

    /// Its limits on a type of node, by the profile and the validations.
    pub(super) fn limits(&self, profile: &Profile) -> BatchLimits {
        BatchLimits {
            initial: self.batches[0].0,
            largest: self.batches[self.batches.len() - 1].0,
            local_least: profile.local.0,
            local_largest: profile.local.1,
        }
    }

    /// The noise of the gradient in an epoch of training with a batch, between those of the nearest batches that it was
    /// trained with.
    pub(super) fn noise(&self, batch: u32, epoch: usize) -> GradientNoise {
        let above = self.batches.partition_point(|&(size, _)| size < batch).min(self.batches.len() - 1);
        let below = above.saturating_sub(usize::from(self.batches[above].0 > batch));
        let ((low, one), (high, other)) = (&self.batches[below], &self.batches[above]);
        let part =
            if high > low { f64::from(batch.saturating_sub(*low)) / f64::from(high - low) } else { 0.0 };
        let between = |value: fn(&Validation) -> f64| {
            value(&one[epoch]) + part.min(1.0) * (value(&other[epoch]) - value(&one[epoch]))
        };
        GradientNoise { squared: between(|row| row.grad_sqr), variance: between(|row| row.grad_var) }
    }
}

#[cfg(test)]
mod tests {
    use foretell_goodput::{Sample, StepTimes, fit};

    use super::*;

    #[test]
    fn placements_parse() {
        let check = |text, expected| assert_eq!(parse_placement(text), expected, "{text}");
        check("1", Some((1, 1)));
        check("244", Some((3, 10)));
        check("88", Some((2, 16)));
        check("", None);
        check("40", None);
        check("4x", None);
    }

    /// Pollux' model is fitted to shapes up to 16 GPUs and asked for others: how far it is off, on average, in percent.
    #[test]
    #[expect(clippy::print_stderr, reason = "says what it skips")]
    fn the_fitted_model_follows_the_profiles() {
        let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
        let data =
            std::env::var_os("FORETELL_DATA").map_or(beside, Into::into).join("sia/traces_apps.tar.gz");
        if !data.exists() {
            eprintln!("skipped: no Sia data at {}", data.display());
            return;
        }
        let files = crate::archive::read(&data, "csv").unwrap();
        let applications = Application::read_all(&data, &files).unwrap();
        let check = |name: &str, most_percent: f64| {
            let profile = &applications[name].profiles["aws"];
            let (least, largest) = (f64::from(profile.local.0), f64::from(profile.local.1));
            let samples = |shapes: &[(u32, u32)]| {
                let batches = [least, (least * largest).sqrt(), largest];
                let sample = |(nodes, gpus), local_batch| {
                    let time = profile.times.step_time(nodes, gpus, local_batch).unwrap();
                    Sample { nodes, gpus, local_batch, time }
                };
                let of_shape = |&shape| batches.map(|batch| sample(shape, batch));
                shapes.iter().flat_map(of_shape).collect::<Vec<_>>()
            };
            let fitted = fit(&samples(&[(1, 1), (1, 2), (1, 4), (2, 4), (2, 8), (4, 16)])).unwrap();
            let others = samples(&[(1, 3), (2, 6), (3, 12), (8, 32)]);
            let error = |sample: &Sample| {
                let time = fitted.step_time(sample.nodes, sample.gpus, sample.local_batch).unwrap();
                (time.step_s / sample.time.step_s - 1.0).abs()
            };
            let percent = others.iter().map(error).sum::<f64>() / others.len() as f64 * 100.0;
            assert!(percent <= most_percent, "{name}: {percent} %");
        };
        check("bert", 15.0);
        check("cifar10", 22.0);
        check("deepspeech2", 18.0);
        check("imagenet", 10.0);
        check("yolov3", 10.0);
    }

    #[test]
    fn noise_is_interpolated_between_batches() {
        let row = |grad_sqr, grad_var| Validation { progress: 1.0, iteration: 1.0, grad_sqr, grad_var };
        let application = Application {
            profiles: BTreeMap::new(),
            batches: vec![(10, vec![row(1.0, 4.0)]), (20, vec![row(2.0, 8.0)]), (40, vec![row(4.0, 0.0)])],
        };
        let check = |batch, squared, variance| {
            assert_eq!(application.noise(batch, 0), GradientNoise { squared, variance }, "{batch}");
        };
        check(10, 1.0, 4.0);
        check(15, 1.5, 6.0);
        check(20, 2.0, 8.0);
        check(25, 2.5, 6.0);
        check(40, 4.0, 0.0);
        // Beyond what was measured the nearest holds.
        check(5, 1.0, 4.0);
        check(80, 4.0, 0.0);
    }
}
