//! What a policy must be told, where it comes from, and how it was checked.

use crate::{CONSOLIDATE, DEFAULT, KAI, KUEUE_PROFILES, SCHEDULER_PLUGINS_PROFILES, VOLCANO_PROFILES};

/// What a policy is told of how long jobs run.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Durations {
    /// Nothing: it goes by what jobs ask for and have had.
    Unknown,
    /// What jobs that ended took.
    Learned,
    /// An estimate for each job: the true one, unless the scenario adds an error.
    Told,
}

impl Durations {
    /// In a word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Learned => "learned",
            Self::Told => "told",
        }
    }
}

/// What there is to know of a policy or a part of one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct About {
    /// What it is told of durations.
    pub durations: Durations,
    /// Where it comes from.
    pub source: &'static str,
    /// How it was checked.
    pub checked: &'static str,
    /// What it is told of how fast jobs are on how many GPUs of which model.
    pub scaling: Scaling,
}

/// What a policy is told of how fast jobs are.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Scaling {
    /// Nothing.
    Unknown,
    /// How fast they are on what they ask for, by GPU model and spread.
    Told,
    /// The same for all numbers of GPUs, of which the policy chooses one.
    Chosen,
}

const PROPERTIES: &str = "properties and hand-made tables";
const OPENB: &str = "validate openb";

/// What there is to know of a profile, an order or a placement by name; `None` if there is no such name.
pub fn about(name: &str) -> Option<About> {
    let about =
        |durations, source, checked| Some(About { durations, source, checked, scaling: Scaling::Unknown });
    let elastic = |source| {
        let scaling = Scaling::Chosen;
        Some(About { durations: Durations::Told, source, checked: PROPERTIES, scaling })
    };
    let gavel = |durations| {
        let (source, checked) = ("Gavel, OSDI'20", "validate gavel, properties");
        Some(About { durations, source, checked, scaling: Scaling::Told })
    };
    let part = |source, checked| about(Durations::Unknown, source, checked);
    let listed = |list: &[(&str, &str)]| list.iter().any(|(known, _)| *known == name);
    match name {
        "fifo" | "fifo-skip" => part("every queue", "validate tiresias, validate helios"),
        "sjf" | "sjf-skip" => about(Durations::Told, "textbook", "validate helios"),
        "srtf" => about(Durations::Told, "Helios, SC'21", "validate helios"),
        "srsf" => about(Durations::Told, "Tiresias, NSDI'19", PROPERTIES),
        "themis" => about(Durations::Told, "Themis, NSDI'20", PROPERTIES),
        "las" => part("Tiresias, NSDI'19", PROPERTIES),
        "tiresias" => part("Tiresias, NSDI'19, its simulator", "validate tiresias"),
        "gittins" => about(Durations::Learned, "Tiresias, NSDI'19, its simulator", "its index by hand"),
        "qssf" | "qssf-skip" => about(Durations::Learned, "Helios, SC'21", "validate helios"),
        "easy" => about(Durations::Told, "Lifka, 1995", PROPERTIES),
        "conservative" => about(Durations::Told, "Mu'alem and Feitelson, 2001", PROPERTIES),
        "optimus" => elastic("Optimus, EuroSys'18"),
        "elasticflow" => elastic("ElasticFlow, ASPLOS'23"),
        "pollux" => elastic("Pollux, OSDI'21"),
        "sia" => elastic("Sia, SOSP'23"),
        "gavel" | "gavel-throughput" | "gavel-cost" => gavel(Durations::Unknown),
        "gavel-finish-time" | "gavel-makespan" => gavel(Durations::Told),
        "slurm" => about(Durations::Told, "Slurm's documentation", PROPERTIES),
        "first-fit" => part("Tiresias' yarn scheme", "validate tiresias"),
        "whole-nodes" => part("Helios, SC'21", "validate helios"),
        "aging" | "edf" | "binpack" | "spread" => part("textbook", PROPERTIES),
        "random" | "dot-product" | "best-fit" | "gpu-clustering" | "gpu-packing" | "fgd" => {
            part("FGD, ATC'23, its simulator", OPENB)
        }
        "topology" | "topology-even" | "gpu-links" => part("foretell", PROPERTIES),
        _ if name == DEFAULT.0 => part("kube-scheduler 1.36", "validate conformance"),
        _ if name == CONSOLIDATE.0 => part("foretell", PROPERTIES),
        _ if listed(&SCHEDULER_PLUGINS_PROFILES) => part("scheduler-plugins", "validate conformance"),
        _ if name == KAI.0 => part("KAI-Scheduler, 2026-03", "validate conformance"),
        _ if listed(&KUEUE_PROFILES) => part("Kueue 0.20", "validate conformance"),
        "static-partition" => part("foretell", PROPERTIES),
        _ if listed(&VOLCANO_PROFILES) => part("Volcano", "validate conformance"),
        _ => None,
    }
}

/// What a policy that [`build`](crate::build) knows is told of durations: what its order is told.
pub fn durations(policy: &str) -> Durations {
    about(order(policy)).map_or(Durations::Unknown, |about| about.durations)
}

/// What a policy that [`build`](crate::build) knows is told of how fast jobs are. Those that choose no sizes are to be given
/// jobs of the size that they ask for.
pub fn scaling(policy: &str) -> Scaling {
    about(order(policy)).map_or(Scaling::Unknown, |about| about.scaling)
}

/// What stands first in the name of a policy.
pub(crate) fn order(policy: &str) -> &str {
    let name = policy.strip_suffix(CONSOLIDATE.0).unwrap_or(policy);
    name.split_once('+').map_or(name, |(order, _)| order)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ORDERS, PLACEMENTS};

    #[test]
    fn every_listed_name_is_known() {
        let all =
            [DEFAULT, CONSOLIDATE, KAI].into_iter().chain(SCHEDULER_PLUGINS_PROFILES).chain(KUEUE_PROFILES);
        for (name, _) in all.chain(VOLCANO_PROFILES).chain(ORDERS).chain(PLACEMENTS) {
            assert!(about(name).is_some(), "{name}");
        }
        assert_eq!(about("unheard-of"), None);
    }

    #[test]
    fn a_policy_knows_what_its_order_is_told() {
        for (policy, expected) in [
            ("sjf+fgd", Durations::Told),
            ("qssf+binpack+consolidate", Durations::Learned),
            ("fgd", Durations::Unknown),
            ("default", Durations::Unknown),
        ] {
            assert_eq!(durations(policy), expected, "{policy}");
        }
        for (policy, expected) in [
            ("optimus", Scaling::Chosen),
            ("elasticflow+binpack", Scaling::Chosen),
            ("gavel-cost+binpack", Scaling::Told),
            ("edf+binpack", Scaling::Unknown),
            ("fgd", Scaling::Unknown),
        ] {
            assert_eq!(scaling(policy), expected, "{policy}");
        }
    }
}
