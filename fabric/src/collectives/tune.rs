//! Which environment variables to set for a machine and a placement, and why.

use super::calibration::Calibration;
use super::estimate::{Estimate, EstimateError, estimate};
use super::{Algorithm, Collective, Environment};
use crate::hardware::{Interconnect, Machine, Network, Ranks};

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
    let mut best: Option<(f64, Algorithm)> = None;
    for algorithm in Algorithm::ALL {
        let variable = format!("NCCL_ALGO={}", algorithm.name());
        let Ok(environment) = Environment::parse([variable.as_str()]) else { continue };
        // What is not there cannot be forced.
        let Ok(forced) = under(&environment) else { continue };
        let never_worse =
            forced.iter().zip(&auto).all(|(forced, auto)| forced.time_us <= auto.time_us * (1.0 + 1e-9));
        let largest = forced.last().zip(auto.last());
        let gain = largest.map_or(0.0, |(forced, auto)| 1.0 - forced.time_us / auto.time_us);
        if never_worse && gain > LEAST_GAIN && best.is_none_or(|(most, _)| gain > most) {
            best = Some((gain, algorithm));
        }
    }
    Ok(best.map(|(gain, algorithm)| Advice {
        variable: "NCCL_ALGO",
        value: algorithm.name().to_owned(),
        reason: format!(
            "NCCL's own model prefers another; measured systems of this class are {:.0} % faster at 8 GiB with {}",
            gain * 100.0,
            algorithm.name()
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
            set(
                "NCCL_NET_GDR_LEVEL",
                "PXB".to_owned(),
                "RDMA straight from GPU memory where a GPU and its NIC share a PCIe switch; without it the bandwidth about halves",
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
        Some(Network::Efa | Network::TcpX | Network::TcpXo | Network::Slingshot) | None => {}
    }
    if machine.network == Some(Network::Roce) && ranks.nodes >= SEVERAL_LEAVES {
        set(
            "NCCL_IB_QPS_PER_CONNECTION",
            "4".to_owned(),
            "equal-cost paths are chosen by a hash of each connection: more of them collide less",
        );
        set(
            "NCCL_IB_SPLIT_DATA_ON_QPS",
            "0".to_owned(),
            "whole messages in turn over those connections, not pieces of each",
        );
    }
    if machine.network == Some(Network::InfiniBandSharp) {
        set("NCCL_COLLNET_ENABLE", "1".to_owned(), "the switches reduce (SHARP)");
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
        let machine =
            Machine { gpu, gpus: 8, interconnect, nics: 2, nic_gb_per_s: 25.0, network: Some(network) };
        let ranks = Ranks { per_node: 8, nodes };
        let advice = tune(&machine, ranks, Collective::AllReduce, &Calibration::default()).unwrap();
        advice.into_iter().map(|advice| (advice.variable, advice.value)).collect()
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
        assert!(names(advice("A10", Interconnect::PcieHost, Network::Tcp, 2)).contains(&"NCCL_P2P_LEVEL"));
    }
}
