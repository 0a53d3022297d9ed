//! Times of collectives, and what variables do to them.

use foretell_fabric::collectives::{Calibration, Collective, Environment, Estimate, EstimateError, estimate};
use foretell_fabric::hardware::{Gpu, Interconnect, Machine, Network, Ranks};
use proptest::prelude::*;

use crate::dgx_a100;

fn large(machine: &Machine, nodes: u32, collective: Collective, variables: &[&str]) -> Estimate {
    let environment = Environment::parse(variables.iter().copied()).unwrap();
    let ranks = Ranks { per_node: machine.gpus, nodes };
    estimate(machine, ranks, collective, 4 << 30, &environment, &Calibration::default()).unwrap()
}

/// Without any calibration, the model is near what was measured on well-known systems.
#[test]
fn known_systems_come_out_without_calibration() {
    use Network::{Efa, InfiniBand};
    let check = |gpu: &str,
                 nics,
                 gbit: f64,
                 network,
                 nodes,
                 per_node,
                 variables: &[&str],
                 measured: f64,
                 tolerance: f64| {
        let gpu = Gpu::named(gpu).unwrap();
        let machine = Machine {
            gpu,
            gpus: 8,
            interconnect: Interconnect::NvSwitch,
            nics,
            nic_gb_per_s: gbit / 8.0,
            network: Some(network),
        };
        let environment = Environment::parse(variables.iter().copied()).unwrap();
        let ranks = Ranks { per_node, nodes };
        let found =
            estimate(&machine, ranks, Collective::AllReduce, 8 << 30, &environment, &Calibration::prior());
        let bus = found.unwrap().bus_gb_per_s;
        assert!((bus / measured - 1.0).abs() < tolerance, "{nodes}x{per_node}: {bus} for {measured}");
    };
    check("A100", 8, 200.0, InfiniBand, 1, 8, &[], 235.0, 0.05);
    check("A100", 8, 200.0, InfiniBand, 2, 8, &["NCCL_ALGO=Ring"], 188.5, 0.05);
    check("A100", 8, 200.0, InfiniBand, 4, 8, &[], 191.0, 0.1);
    // More than the NICs have: on two nodes a tree needs half of what a ring needs.
    check("A100", 4, 100.0, Efa, 2, 8, &[], 78.3, 0.1);
    check("H200", 16, 200.0, Efa, 4, 8, &["NCCL_ALGO=Ring"], 364.7, 0.08);
    for (gpus, measured) in [(4, 363.0), (5, 414.0), (6, 436.0), (7, 460.0), (8, 473.0)] {
        check("H200", 8, 400.0, InfiniBand, 1, gpus, &[], measured, 0.05);
    }
}

#[test]
fn half_the_nics_are_half_the_bandwidth() {
    let all = large(&dgx_a100(), 2, Collective::AllReduce, &["NCCL_ALGO=Ring"]);
    let half = large(
        &dgx_a100(),
        2,
        Collective::AllReduce,
        &["NCCL_ALGO=Ring", "NCCL_IB_HCA==mlx5_0,mlx5_1,mlx5_2,mlx5_3"],
    );
    assert!((all.limit_gb_per_s / half.limit_gb_per_s - 2.0).abs() < 1e-9);
}

/// From rank to rank only what goes to other nodes goes by NICs: twice the NIC's rate on two nodes, less on more.
#[test]
fn all_to_all_is_bound_by_what_leaves_the_node() {
    let limit = |nodes| large(&dgx_a100(), nodes, Collective::AllToAll, &[]).limit_gb_per_s;
    let two = limit(2);
    for nodes in [4, 16, 64] {
        let share = |nodes: u32| f64::from(8 * nodes - 1) / f64::from(8 * (nodes - 1));
        assert!((limit(nodes) / two - share(nodes) / share(2)).abs() < 1e-9, "{nodes}");
    }
    assert!(limit(1) > 4.0 * two);
}

#[test]
fn variables_do_what_they_say() {
    let auto = large(&dgx_a100(), 2, Collective::AllReduce, &[]);
    let slower = |variables: &[&str], factor: f64| {
        let found = large(&dgx_a100(), 2, Collective::AllReduce, variables);
        assert!(
            found.time_us > factor * auto.time_us,
            "{variables:?}: {} for {}",
            found.time_us,
            auto.time_us
        );
    };
    slower(&["NCCL_PROTO=LL"], 3.0);
    slower(&["NCCL_NET_GDR_LEVEL=LOC"], 1.5);
    slower(&["NCCL_P2P_DISABLE=1"], 2.0);
    slower(&["NCCL_MAX_NCHANNELS=2"], 2.0);
    slower(&["NCCL_IB_HCA=^mlx5_0"], 1.05);
    let same =
        large(&dgx_a100(), 2, Collective::AllReduce, &["NCCL_ALGO=allgather:Tree;allreduce:^Tree,NVLS"]);
    assert_eq!(same, auto);
    let h100 = Machine { gpu: Gpu::named("H100").unwrap(), ..dgx_a100() };
    let name =
        |variables: &[&str]| large(&h100, 1, Collective::AllReduce, variables).algorithm.unwrap().name();
    assert_eq!(
        (name(&[]), name(&["NCCL_NVLS_ENABLE=0"]), name(&["NCCL_ALGO=tree"])),
        ("NVLS", "Ring", "Tree")
    );
}

#[test]
fn what_cannot_be_is_said() {
    let bad = |text: &str| Environment::parse([text]).unwrap_err().to_string();
    assert_eq!(bad("NCCL_ALGO"), "expected NAME=VALUE, got `NCCL_ALGO`");
    assert_eq!(bad("NCCL_P2P_DISABLE=yes"), "NCCL_P2P_DISABLE: expected 0 or 1, got `yes`");
    assert!(
        bad("NCCL_ALGORITHM=Ring")
            .starts_with("unknown variable `NCCL_ALGORITHM`: expected one of NCCL_ALGO,")
    );
    assert!(bad("NCCL_ALGO=Ring,Foo").contains("got `Ring,Foo`"));
    let none = Environment::parse(["NCCL_IB_HCA==eth0"]).unwrap().check_nics(8).unwrap_err();
    assert!(none.to_string().contains("leaves no NIC of 8"), "{none}");
    let machine = dgx_a100();
    let of = |machine: &Machine, per_node, nodes, variables: &[&str]| {
        let environment = Environment::parse(variables.iter().copied()).unwrap();
        let ranks = Ranks { per_node, nodes };
        estimate(machine, ranks, Collective::AllReduce, 8, &environment, &Calibration::default()).unwrap_err()
    };
    assert_eq!(of(&machine, 9, 1, &[]), EstimateError::TooManyRanks { ranks: 9, gpus: 8 });
    assert_eq!(of(&machine, 1, 1, &[]), EstimateError::TooFewRanks { ranks: 1 });
    let alone = Machine { nics: 0, network: None, ..machine.clone() };
    assert_eq!(of(&alone, 8, 2, &[]), EstimateError::NoNetwork { nodes: 2 });
    let left = of(&machine, 8, 1, &["NCCL_ALGO=NVLS"]);
    assert_eq!(
        left.to_string(),
        "NCCL_ALGO and NCCL_PROTO leave nothing for all_reduce here: there are Ring, Tree"
    );
}

proptest! {
    /// Whatever the machine and the placement: times are positive, longer messages take longer under one algorithm and protocol, and
    /// no message is faster than the bus.
    #[test]
    fn times_are_sound(
        gpu in prop::sample::select(vec!["V100", "A100", "A100-PCIE", "H100", "B200", "T4", "L40S", "GTX1080"]),
        (_, interconnect) in prop::sample::select(Interconnect::ALL.to_vec()),
        (_, network) in prop::sample::select(Network::ALL.to_vec()),
        nics in 1_u32..33,
        nic_gb_per_s in 0.01_f64..200.0,
        per_node in 1_u32..17,
        nodes in 1_u32..2000,
        (_, collective) in prop::sample::select(Collective::ALL.to_vec()),
    ) {
        let gpu = Gpu::named(gpu).unwrap();
        prop_assume!(!interconnect.is_nvlink() || gpu.nvlink_gb_per_s > 0.0);
        prop_assume!(per_node * nodes >= 2);
        let machine = Machine { gpu, gpus: 16, interconnect, nics, nic_gb_per_s, network: Some(network) };
        let ranks = Ranks { per_node, nodes };
        let mut last: Option<Estimate> = None;
        for exponent in 3..36 {
            let bytes = 1_u64 << exponent;
            let found = estimate(&machine, ranks, collective, bytes, &Environment::default(), &Calibration::default());
            let found = found.unwrap();
            prop_assert!(found.time_us.is_finite() && found.time_us > 0.0, "{:?}", found);
            prop_assert!(found.bus_gb_per_s <= found.limit_gb_per_s, "{:?}", found);
            let same = last.filter(|last| (last.algorithm, last.protocol) == (found.algorithm, found.protocol));
            prop_assert!(same.is_none_or(|last| last.time_us < found.time_us), "{:?} {:?}", last, found);
            last = Some(found);
        }
    }
}
