//! What a search leaves: for reports.

use serde::Serialize;

use crate::verdict::Verdict;

/// What was asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Goal {
    /// The most load that a deployment holds.
    MostLoad,
    /// The fewest replicas that hold a load.
    FewestReplicas,
}

/// What load is counted in.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Requests a second.
    Requests,
    /// Conversations that begin a second.
    Conversations,
    /// Users who wait for their answers.
    Users,
}

impl Unit {
    /// With a number before it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Requests => "requests/s",
            Self::Conversations => "conversations/s",
            Self::Users => "users",
        }
    }
}

/// A search.
#[derive(Clone, PartialEq, Debug)]
pub struct Searched {
    /// What was asked.
    pub goal: Goal,
    /// The service.
    pub service: String,
    /// What load is counted in.
    pub unit: Unit,
    /// What was demanded, term by term.
    pub terms: Vec<String>,
    /// What each of them measures.
    pub measures: Vec<String>,
    /// Whether each of them measures a time; else it is a share.
    pub times: Vec<bool>,
    /// The limit of each, in seconds or as a share.
    pub limits: Vec<f64>,
    /// Confidence of verdicts.
    pub confidence: f64,
    /// What was varied.
    pub keys: Vec<String>,
    /// All that were looked at, in order.
    pub deployments: Vec<Deployment>,
}

impl Searched {
    /// Whether the prices of all that hold anything are known: then deployments are compared by dollars, else by GPUs.
    pub fn in_dollars(&self) -> bool {
        in_dollars(&self.deployments)
    }
}

/// A deployment.
#[derive(Clone, PartialEq, Debug)]
pub struct Deployment {
    /// What each key was set to.
    pub values: Vec<String>,
    /// What was found, or why it cannot be.
    pub found: Result<Found, String>,
}

/// What was found of a deployment.
#[derive(Clone, PartialEq, Debug)]
pub struct Found {
    /// The GPU of its replicas; several joined by `+`.
    pub gpu: String,
    /// GPUs of all replicas where something is held, else where it is missed.
    pub gpu_count: u64,
    /// Dollars an hour of these, where the price of each is known.
    pub dollars_per_hour: Option<f64>,
    /// The most load that is held, and with how many replicas; none if nothing is held within bounds.
    pub held: Option<(f64, u32)>,
    /// The next load, or number of replicas, that is missed for certain; none if there is none within bounds.
    pub missed: Option<(f64, u32)>,
    /// What was measured where it is held (of the least load that was looked at, if nothing is), mean over seeds, demand by demand.
    pub values: Vec<Option<f64>>,
    /// The demand that is exceeded most beyond the border, or is nearest to it; none within bounds.
    pub limit: Option<usize>,
    /// Whether no other deployment takes less (dollars where all prices are known, else GPUs) for as much load, or holds more for as much.
    pub is_on_frontier: bool,
    /// Runs that it took.
    pub runs: u64,
    /// Points that were looked at, in order of load.
    pub points: Vec<FoundPoint>,
}

/// A point that was looked at.
#[derive(Clone, PartialEq, Debug)]
pub struct FoundPoint {
    /// Load.
    pub load: f64,
    /// Replicas.
    pub replicas: u32,
    /// Runs with as many seeds.
    pub seeds: u32,
    /// What they say.
    pub verdict: Verdict,
    /// What was measured, mean over seeds that know it, demand by demand.
    pub values: Vec<Option<f64>>,
}

impl Found {
    /// GPUs where it is held.
    pub fn gpus(&self) -> Option<u64> {
        self.held.map(|_| self.gpu_count)
    }

    /// What it takes where it is held: dollars an hour, or GPUs.
    pub fn size(&self, in_dollars: bool) -> Option<f64> {
        let gpus = self.gpus()?;
        if in_dollars { self.dollars_per_hour } else { Some(gpus as f64) }
    }

    /// Dollars for a million requests (or conversations) at the load that is held.
    pub fn dollars_per_million(&self) -> Option<f64> {
        let (load, _) = self.held?;
        Some(1e6 * self.dollars_per_hour? / (3600.0 * load))
    }

    /// Load of each GPU where it is held.
    pub fn load_per_gpu(&self) -> Option<f64> {
        let (load, _) = self.held?;
        self.gpus().filter(|&gpus| gpus > 0).map(|gpus| load / gpus as f64)
    }
}

/// Whether the prices of all deployments that hold anything are known: then they are compared by dollars, else by GPUs.
fn in_dollars(deployments: &[Deployment]) -> bool {
    let mut holding = deployments.iter().flat_map(|one| &one.found).filter(|found| found.held.is_some());
    let mut any = false;
    holding.all(|found| {
        any = true;
        found.dollars_per_hour.is_some()
    }) && any
}

/// Marks deployments that no other beats: none takes less for as much load, or holds more for as much.
pub fn mark_frontier(deployments: &mut [Deployment]) {
    let in_dollars = in_dollars(deployments);
    let key = |deployment: &Deployment| {
        let found = deployment.found.as_ref().ok()?;
        Some((found.size(in_dollars)?, found.held?.0))
    };
    let all: Vec<Option<(f64, f64)>> = deployments.iter().map(key).collect();
    for (deployment, own) in deployments.iter_mut().zip(&all) {
        let (Ok(found), Some((size, load))) = (&mut deployment.found, *own) else { continue };
        let beats =
            |&(others, more): &(f64, f64)| others <= size && more >= load && (others < size || more > load);
        found.is_on_frontier = !all.iter().flatten().any(beats);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_frontier_is_what_none_beats() {
        let check_priced = |price: Option<f64>, deployments: &[Option<(u32, f64)>], expected: &[bool]| {
            let deployment = |held: &Option<(u32, f64)>| Deployment {
                values: Vec::new(),
                found: Ok(Found {
                    gpu: "H100".to_owned(),
                    gpu_count: held.map_or(0, |(replicas, _)| 2 * u64::from(replicas)),
                    // The more replicas, the cheaper each.
                    dollars_per_hour: price
                        .map(|price| held.map_or(0.0, |(replicas, _)| price / f64::from(replicas))),
                    held: held.map(|(replicas, load)| (load, replicas)),
                    missed: None,
                    values: Vec::new(),
                    limit: None,
                    is_on_frontier: false,
                    runs: 0,
                    points: Vec::new(),
                }),
            };
            let mut all: Vec<Deployment> = deployments.iter().map(deployment).collect();
            all.push(Deployment { values: Vec::new(), found: Err("no room".to_owned()) });
            mark_frontier(&mut all);
            let marked: Vec<bool> =
                all.iter().flat_map(|one| &one.found).map(|of| of.is_on_frontier).collect();
            assert_eq!(marked, expected);
        };
        let check =
            |deployments: &[Option<(u32, f64)>], expected: &[bool]| check_priced(None, deployments, expected);
        check_priced(Some(6.0), &[Some((3, 9.0)), Some((2, 10.0)), Some((1, 10.0))], &[true, true, false]);
        check(&[Some((1, 10.0)), Some((2, 15.0)), Some((2, 14.0)), None], &[true, true, false, false]);
        check(&[Some((1, 10.0)), Some((2, 10.0)), Some((1, 10.0))], &[true, false, true]);
        check(&[Some((3, 9.0)), Some((2, 10.0)), Some((1, 11.0))], &[false, false, true]);
    }
}
