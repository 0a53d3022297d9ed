//! Which environment variables to set for a machine and a placement, and why.

use super::calibration::Calibration;
use super::estimate::{Estimate, EstimateError, estimate};
use super::{Algorithm, Collective, Environment};
use crate::hardware::{Architecture, Interconnect, Machine, Network, Ranks};
use crate::node::{NodeGraph, Path, PathType};

/// Sizes that are compared: those of gradients and of shards.
const SIZES: [u64; 5] = [1 << 20, 16 << 20, 128 << 20, 1 << 30, 8 << 30];

/// A forced algorithm that is faster by less than this is not worth it.
const LEAST_GAIN: f64 = 0.05;

/// Nodes from which on collisions of equal-cost paths are to be expected.
const SEVERAL_LEAVES: u32 = 4;

/// A variable to set.
#[derive(Clone, PartialEq, Debug)]
pub struct Advice {
    /// Its name.
    pub variable: &'static str,
    /// Its value.
    pub value: String,
    /// Why.
    pub reason: String,
}

/// What to set for a collective between these ranks.
pub fn tune(
    machine: &Machine,
    ranks: Ranks,
    collective: Collective,
    calibration: &Calibration,
) -> Result<Vec<Advice>, EstimateError> {
    let mut advice = Vec::new();
    advice.extend(algorithm(machine, ranks, collective, calibration)?);
    if ranks.by_domain(machine.interconnect).nodes > 1 {
        advice.extend(network(machine, ranks));
    }
    if machine.interconnect == Interconnect::PcieHost && ranks.per_node > 1 {
        advice.push(Advice {
            variable: "NCCL_P2P_LEVEL",
            value: "PHB".to_owned(),
            reason: "GPUs hang on one host bridge: if its PCIe lets them reach each other, their traffic need not go \
                     through host memory"
                .to_owned(),
        });
    }
    Ok(advice)
}

/// An algorithm that is expected to be faster than the one that NCCL chooses, at most sizes.
fn algorithm(
    machine: &Machine,
    ranks: Ranks,
    collective: Collective,
    calibration: &Calibration,
) -> Result<Option<Advice>, EstimateError> {
    let under = |environment: &Environment| -> Result<Vec<Estimate>, EstimateError> {
        SIZES
            .into_iter()
            .map(|bytes| estimate(machine, ranks, collective, bytes, environment, calibration))
            .collect()
    };
    let auto = under(&Environment::default())?;
    let mut best: Option<(f64, Algorithm, u64)> = None;
    for algorithm in Algorithm::ALL {
        let variable = format!("NCCL_ALGO={}", algorithm.name());
        let Ok(environment) = Environment::parse([variable.as_str()]) else { continue };
        // What is not there cannot be forced.
        let Ok(forced) = under(&environment) else { continue };
        let gains: Vec<f64> =
            forced.iter().zip(&auto).map(|(forced, auto)| 1.0 - forced.time_us / auto.time_us).collect();
        let most = gains.iter().copied().fold(0.0, f64::max);
        // From the size on from which it is never worse.
        let worse = gains.iter().rposition(|&gain| gain < -1e-9).map_or(0, |last| last + 1);
        let Some(&from) = SIZES.get(worse) else { continue };
        if most > LEAST_GAIN && best.is_none_or(|(known, ..)| most > known) {
            best = Some((most, algorithm, from));
        }
    }
    Ok(best.map(|(gain, algorithm, from)| Advice {
        variable: "NCCL_ALGO",
        value: algorithm.name().to_owned(),
        reason: format!(
            "NCCL's own model prefers another; by what is measured of this class it is up to {:.0} % faster{}",
            gain * 100.0,
            if from == SIZES[0] {
                String::new()
            } else {
                format!(" from {} MiB on, and slower below: for jobs of large messages alone", from >> 20)
            }
        ),
    }))
}

/// What the way out of the node asks for.
fn network(machine: &Machine, ranks: Ranks) -> Vec<Advice> {
    let mut advice = Vec::new();
    let mut set = |variable: &'static str, value: String, reason: &str| {
        advice.push(Advice { variable, value, reason: reason.to_owned() });
    };
    let all = (0..machine.nics).map(|nic| format!("mlx5_{nic}")).collect::<Vec<_>>().join(",");
    match machine.network {
        Some(Network::InfiniBand | Network::InfiniBandSharp | Network::Roce) => {
            set(
                "NCCL_IB_HCA",
                format!("={all}"),
                "the NICs of the compute network alone: storage and management cards would be taken for rings too",
            );
        }
        Some(Network::Tcp) => {
            set(
                "NCCL_SOCKET_IFNAME",
                "=eth0".to_owned(),
                "the interface of the compute network, not a bridge of containers",
            );
            set("NCCL_SOCKET_NTHREADS", "2".to_owned(), "one thread cannot fill a fast link");
            set(
                "NCCL_NSOCKS_PERTHREAD",
                "8".to_owned(),
                "several connections share the work and the paths; at most 64 in all",
            );
        }
        Some(Network::Efa) if machine.gpu.architecture >= Architecture::Hopper && ranks.nodes > 2 => {
            set(
                "NCCL_TUNER_PLUGIN",
                "libnccl-ofi-tuner.so".to_owned(),
                "the tuner of AWS' plugin takes rings where NCCL's own model takes trees over NVLink SHARP: 365 GB/s \
                 for 310 measured on four nodes of p5en",
            );
        }
        Some(Network::Efa | Network::TcpX | Network::TcpXo | Network::Slingshot) | None => {}
    }
    if machine.network == Some(Network::Roce) && ranks.nodes >= SEVERAL_LEAVES {
        set(
            "NCCL_IB_QPS_PER_CONNECTION",
            "4".to_owned(),
            "equal-cost paths are chosen by a hash of each connection: more of them collide less",
        );
    }
    if machine.network == Some(Network::InfiniBandSharp) {
        set("NCCL_COLLNET_ENABLE", "1".to_owned(), "the switches reduce (SHARP)");
    }
    advice
}

/// What the paths of particular GPUs of a node ask for.
pub fn tune_paths(graph: &NodeGraph, gpus: &[u32], nodes: u32) -> Vec<Advice> {
    let mut advice = Vec::new();
    let mut set = |variable: &'static str, path: &Path, what: &str| {
        advice.push(Advice {
            variable,
            value: path.kind.name().to_owned(),
            reason: format!(
                "{what} by {}: through host memory, unless NCCL is told that the bridges let them reach each other",
                path.kind.name()
            ),
        });
    };
    if let Some(worst) = graph.worst_path(gpus).filter(|path| path.kind >= PathType::Phb) {
        set("NCCL_P2P_LEVEL", &worst, "some of these GPUs reach each other");
    }
    let paths = gpus.iter().flat_map(|&gpu| graph.nearest_nics(gpu).into_iter().map(move |nic| (gpu, nic)));
    let far = paths
        .filter_map(|(gpu, nic)| graph.nic_path(gpu, nic, false))
        .filter(|path| path.kind >= PathType::Phb);
    if let Some(path) = far.max_by_key(|path| path.kind).filter(|_| nodes > 1) {
        set("NCCL_NET_GDR_LEVEL", &path, "some of these GPUs reach their nearest network card");
    }
    advice
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hardware::Gpu;

    fn advice(
        gpu: &str,
        interconnect: Interconnect,
        network: Network,
        nodes: u32,
    ) -> Vec<(&'static str, String)> {
        let gpu = Gpu::named(gpu).unwrap();
        let machine = Machine {
            gpu,
            gpus: 8,
            interconnect,
            nics: 2,
            nic_gb_per_s: 25.0,
            network: Some(network),
            cpu: None,
        };
        let ranks = Ranks { per_node: 8, nodes };
        let advice = tune(&machine, ranks, Collective::AllReduce, &Calibration::default()).unwrap();
        advice.into_iter().map(|advice| (advice.variable, advice.value)).collect()
    }

    /// The choice trap that was measured on four nodes of p5en: rings have 17.6 % more than what NCCL's model takes.
    #[test]
    fn rings_are_found_where_trees_lose() {
        let gpu = Gpu::named("H200").unwrap();
        let network = Some(Network::Efa);
        let (interconnect, cpu) = (Interconnect::NvSwitch, None);
        let machine = Machine { gpu, gpus: 8, interconnect, nics: 16, nic_gb_per_s: 25.0, network, cpu };
        let ranks = Ranks { per_node: 8, nodes: 4 };
        let advice = tune(&machine, ranks, Collective::AllReduce, &Calibration::default()).unwrap();
        let ring = advice.iter().find(|advice| advice.variable == "NCCL_ALGO").unwrap();
        assert_eq!(ring.value, "Ring");
        assert!(ring.reason.contains("MiB on, and slower below"), "{}", ring.reason);
        assert!(advice.iter().any(|advice| advice.variable == "NCCL_TUNER_PLUGIN"));
    }

    #[test]
    fn a_network_has_its_variables() {
        let names = |advice: Vec<(&'static str, String)>| {
            advice.into_iter().map(|(name, _)| name).collect::<Vec<_>>()
        };
        let nvswitch = Interconnect::NvSwitch;
        let one = names(advice("A100", nvswitch, Network::Roce, 1));
        assert!(one.is_empty(), "{one:?}");
        let two = advice("A100", nvswitch, Network::InfiniBand, 2);
        assert!(two.contains(&("NCCL_IB_HCA", "=mlx5_0,mlx5_1".to_owned())), "{two:?}");
        assert!(!names(two).contains(&"NCCL_IB_QPS_PER_CONNECTION"));
        assert!(names(advice("A100", nvswitch, Network::Roce, 16)).contains(&"NCCL_IB_QPS_PER_CONNECTION"));
        // NCCL's own defaults are not advised.
        for default in ["NCCL_NET_GDR_LEVEL", "NCCL_IB_SPLIT_DATA_ON_QPS"] {
            assert!(!names(advice("A100", nvswitch, Network::Roce, 16)).contains(&default));
        }
        assert!(names(advice("A10", Interconnect::PcieHost, Network::Tcp, 2)).contains(&"NCCL_P2P_LEVEL"));
    }
}
