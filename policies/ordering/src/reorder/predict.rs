//! Durations predicted from the jobs that ended before.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;

use foretell_framework::{QueueId, Time};

use super::service::Service;

/// How much a new duration moves the mean of its kind, once there are enough of them.
const WEIGHT: f64 = 0.1;

/// What is predicted when nothing is known at all.
const UNKNOWN_S: f64 = 3600.0;

/// Durations of jobs that ended, by what they had in common, from the closest to the widest kin: user, name and GPUs; user
/// and GPUs; user; queue and GPUs; GPUs; all. The prediction is the moving mean of the closest kin that there is. Helios'
/// own estimator joins a moving mean per user and name with gradient-boosted trees over the same features and the time of
/// submission.
#[derive(Default)]
pub struct DurationHistory {
    means: BTreeMap<Kin, Mean>,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Kin {
    Named(Box<str>, Box<str>, u64),
    UserGpus(Box<str>, u64),
    User(Box<str>),
    QueueGpus(QueueId, u64),
    Gpus(u64),
    All,
}

#[derive(Clone, Copy, Default)]
struct Mean {
    count: u32,
    mean_s: f64,
}

impl DurationHistory {
    /// How long a job will run, from what ended before.
    pub fn predict(&self, service: &Service) -> Time {
        let known = kin(service).into_iter().flatten().find_map(|kin| self.means.get(&kin));
        Time::from_s(known.map_or(UNKNOWN_S, |mean| mean.mean_s))
    }

    /// A job ended after it had run so long.
    pub fn learn(&mut self, service: &Service, duration: Time) {
        for kin in kin(service).into_iter().flatten() {
            let mean = self.means.entry(kin).or_default();
            mean.count = mean.count.saturating_add(1);
            let weight = WEIGHT.max(1.0 / f64::from(mean.count));
            mean.mean_s += weight * (duration.as_s() - mean.mean_s);
        }
    }
}

/// Closest first.
fn kin(service: &Service) -> [Option<Kin>; 6] {
    let Service { user, name, queue, gpu_milli, .. } = service;
    let has_user = !user.is_empty();
    let stem = stem(name);
    [
        (has_user && !stem.is_empty()).then(|| Kin::Named(user.clone(), stem.into(), *gpu_milli)),
        has_user.then(|| Kin::UserGpus(user.clone(), *gpu_milli)),
        has_user.then(|| Kin::User(user.clone())),
        Some(Kin::QueueGpus(*queue, *gpu_milli)),
        Some(Kin::Gpus(*gpu_milli)),
        Some(Kin::All),
    ]
}

/// A name without the number of the run at its end: `bert-large-0042` is one of `bert-large`.
fn stem(name: &str) -> &str {
    name.trim_end_matches(|letter: char| letter.is_ascii_digit() || matches!(letter, '-' | '_' | '.'))
}

#[cfg(test)]
mod tests {
    use super::stem;

    #[test]
    fn a_name_loses_the_number_of_its_run() {
        for (name, expected) in
            [("bert-large-0042", "bert-large"), ("resnet50", "resnet"), ("x", "x"), ("17", "")]
        {
            assert_eq!(stem(name), expected);
        }
    }
}
