//! Times of collectives, and what variables do to them.

use foretell_fabric::collectives::{
    Bound, Calibration, Collective, Environment, Estimate, EstimateError, estimate,
};
use foretell_fabric::hardware::{Gpu, Interconnect, Machine, Network, Ranks};
use foretell_fabric::node::Cpu;
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
            cpu: None,
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

/// Between sockets the slots and the link between them bind, by their generation: an L40S beside EPYCs gets what one on a host bridge
/// gets. The one pair of `GeForce` cards that was measured is far slower.
#[test]
fn sockets_are_as_fast_as_their_links() {
    let limit = |gpu: &str, gpus: u32, interconnect, cpu, collective| {
        let machine = Machine {
            gpu: Gpu::named(gpu).unwrap(),
            gpus,
            interconnect,
            cpu,
            nics: 0,
            network: None,
            ..dgx_a100()
        };
        large(&machine, 1, collective, &[]).limit_gb_per_s
    };
    let (across, host) = (Interconnect::PcieCrossSocket, Interconnect::PcieHost);
    let ring = |gpu, cpu| limit(gpu, 8, across, cpu, Collective::AllReduce);
    let bridge = limit("L40S", 8, host, None, Collective::AllReduce);
    assert!((ring("L40S", Some(Cpu::Amd)) / bridge - 1.0).abs() < 1e-9);
    assert!(ring("L40S", Some(Cpu::Broadwell)) < 0.6 * bridge);
    // PCIe 5 and the links of Sapphire Rapids; PCIe 3 and those of Broadwell.
    assert!((15.0..20.0).contains(&ring("H100-PCIE", None)), "{}", ring("H100-PCIE", None));
    assert!((4.0..6.0).contains(&ring("P100-PCIE", None)), "{}", ring("P100-PCIE", None));
    let pair = limit("GTX1080", 2, across, None, Collective::AllReduce);
    assert!((pair / 0.87 - 1.0).abs() < 0.1, "{pair}");
    // Four send to four others: sixteen of seven parts cross, where a ring crosses once.
    let all = limit("L40S", 8, across, Some(Cpu::Amd), Collective::AllToAll);
    assert!((all - 16.0 * 7.0 / 16.0).abs() < 1e-9, "{all}");
}

/// Sockets carry what their threads copy, however fast the card is.
#[test]
fn sockets_over_tcp_do_not_fill_fast_cards() {
    let tcp = |gbit: f64, variables: &[&str]| {
        let machine = Machine {
            gpu: Gpu::named("H100").unwrap(),
            nic_gb_per_s: gbit / 8.0,
            network: Some(Network::Tcp),
            ..dgx_a100()
        };
        let variables = [&["NCCL_ALGO=Ring"], variables].concat();
        large(&machine, 4, Collective::AllReduce, &variables)
    };
    assert!(tcp(10.0, &[]).limit_gb_per_s > 0.95 * 8.0 * 1.25);
    let one = tcp(400.0, &[]);
    assert!((one.limit_gb_per_s - 8.0 * 2.0 * 2.5).abs() < 1e-9, "{one:?}");
    assert_eq!(one.bound, Bound::Sockets);
    let more = |variables: &[&str]| tcp(400.0, variables).limit_gb_per_s / one.limit_gb_per_s;
    let (threads, sockets) = ("NCCL_SOCKET_NTHREADS=2", "NCCL_NSOCKS_PERTHREAD=8");
    assert!((more(&[threads]) - 2.0).abs() < 1e-9);
    assert!((more(&[sockets]) - 2.0).abs() < 1e-9);
    assert!((more(&[threads, sockets]) - 4.0).abs() < 1e-9);
}

/// From rank to rank a tuned system has three quarters of the rule: NCCL's maintainers give the rule, one system the share.
#[test]
fn peers_have_the_cards_beside_them() {
    let of = |nics, nic_gb_per_s, collective| {
        let machine = Machine { gpu: Gpu::named("H100").unwrap(), nics, nic_gb_per_s, ..dgx_a100() };
        large(&machine, 2, collective, &[]).limit_gb_per_s
    };
    assert!((of(8, 50.0, Collective::SendReceive) - 0.75 * 48.0).abs() < 1e-9);
    // Four cards of a GPU, and its slot.
    assert!((of(32, 12.5, Collective::SendReceive) - 0.75 * 48.0).abs() < 1e-9);
    assert!((of(8, 25.0, Collective::AllToAll) - 0.75 * 24.0 * 15.0 / 8.0).abs() < 1e-9);
}

/// Shares of the bus that all-gather has by size and nodes, as `SimAI` ships them measured (8 x 400 Gbit/s, 388 GB/s of peak). No constant
/// is fitted to them: steps around the ring count one after the other.
#[test]
fn gathering_over_many_nodes_takes_its_steps() {
    let nodes = [2_u32, 4, 8, 16, 32, 64];
    let machine = Machine { gpu: Gpu::named("H100").unwrap(), nic_gb_per_s: 50.0, ..dgx_a100() };
    for (bytes, shares, factor) in [
        (16_u64 << 20, [0.32, 0.24, 0.13, 0.05, 0.044, 0.021], 2.05),
        (256 << 20, [0.85, 0.77, 0.69, 0.57, 0.39, 0.21], 1.4),
        (1 << 30, [0.92, 0.93, 0.90, 0.76, 0.74, 0.56], 1.3),
    ] {
        for (nodes, share) in nodes.into_iter().zip(shares) {
            let ranks = Ranks { per_node: 8, nodes };
            let (environment, calibration) = (Environment::default(), Calibration::default());
            let found =
                estimate(&machine, ranks, Collective::AllGather, bytes, &environment, &calibration).unwrap();
            let ratio = found.bus_gb_per_s / 388.0 / share;
            assert!((1.0 / factor..factor).contains(&ratio), "{bytes} B on {nodes} nodes: {ratio}");
        }
    }
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
    // Without NVLink and host memory all goes by the NICs, where GPUs of a node would otherwise meet in a host bridge.
    let boxes = Machine {
        gpu: Gpu::named("L40S").unwrap(),
        interconnect: Interconnect::PcieHost,
        nics: 1,
        ..dgx_a100()
    };
    let (shared, by_nic) = (
        large(&boxes, 1, Collective::AllReduce, &[]),
        large(&boxes, 1, Collective::AllReduce, &["NCCL_SHM_DISABLE=1"]),
    );
    assert!(by_nic.time_us > 2.0 * shared.time_us, "{by_nic:?}");
    assert_eq!(by_nic.bound, Bound::Nic);
    let nowhere = Environment::parse(["NCCL_SHM_DISABLE=1"]).unwrap();
    let alone = Machine { nics: 0, network: None, ..boxes };
    let ranks = Ranks { per_node: 8, nodes: 1 };
    let error = estimate(&alone, ranks, Collective::AllReduce, 8, &nowhere, &Calibration::default());
    assert_eq!(error, Err(EstimateError::NoWay));
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
    // Known to NCCL, and here only to be accepted.
    let accepted =
        ["NCCL_TOPO_FILE=/a", "NCCL_ALGO=Ring,PAT,CollnetDirect", "NCCL_PAT_ENABLE=1", "NCCL_TUNER_PLUGIN=x"];
    let accepted = Environment::parse(accepted).unwrap();
    assert_eq!(accepted.without_effect(), ["NCCL_TOPO_FILE", "NCCL_PAT_ENABLE", "NCCL_TUNER_PLUGIN"]);
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
        let machine = Machine { gpu, gpus: 16, interconnect, nics, nic_gb_per_s, network: Some(network), cpu: None };
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

    /// With NCCL's choice in the loop: where messages grow or nodes are added, times hardly fall, whatever it chooses.
    #[test]
    fn choices_lose_little(
        gpu in prop::sample::select(vec!["V100", "A100", "A100-PCIE", "H100", "B200", "T4", "L40S", "GTX1080"]),
        (_, interconnect) in prop::sample::select(Interconnect::ALL.to_vec()),
        (_, network) in prop::sample::select(Network::ALL.to_vec()),
        nics in 1_u32..17,
        nic_gb_per_s in 1.0_f64..100.0,
        per_node in 1_u32..9,
        nodes in 1_u32..200,
        (_, collective) in prop::sample::select(Collective::ALL.to_vec()),
    ) {
        let gpu = Gpu::named(gpu).unwrap();
        prop_assume!(!interconnect.is_nvlink() || gpu.nvlink_gb_per_s > 0.0);
        prop_assume!(per_node * nodes >= 2);
        let machine = Machine { gpu, gpus: 8, interconnect, nics, nic_gb_per_s, network: Some(network), cpu: None };
        let time_us = |nodes: u32, bytes: u64| {
            let (environment, calibration) = (Environment::default(), Calibration::default());
            estimate(&machine, Ranks { per_node, nodes }, collective, bytes, &environment, &calibration).unwrap().time_us
        };
        let is_one_size = matches!(collective, Collective::AllReduce | Collective::Broadcast | Collective::Reduce);
        let mut last_us = 0.0_f64;
        for exponent in 3..35 {
            let bytes = 1_u64 << exponent;
            let now_us = time_us(nodes, bytes);
            prop_assert!(now_us * 1.2001 >= last_us, "{} B: {} us after {}", bytes, now_us, last_us);
            if is_one_size && interconnect != Interconnect::Nvl72 {
                let more_us = time_us(nodes + 1, bytes);
                prop_assert!(more_us * 1.2001 >= now_us, "{} B, a node more: {} us, not {}", bytes, more_us, now_us);
            }
            last_us = now_us;
        }
    }
}
