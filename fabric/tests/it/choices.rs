//! What NCCL chooses, against a table that was worked out from its constants by other means: GPU, interconnect, GPUs of a node in
//! use, nodes, NICs, their Gbit/s, network, collective, bytes; algorithm, protocol and the microseconds that NCCL reckons with.

use foretell_fabric::collectives::{Bound, Channels, Environment, candidates};
use foretell_fabric::hardware::{Gpu, Interconnect, Machine, Ranks};

type Case = (
    &'static str,
    &'static str,
    u32,
    u32,
    u32,
    u32,
    &'static str,
    &'static str,
    u64,
    &'static str,
    &'static str,
    f64,
);

#[rustfmt::skip]
#[expect(clippy::unreadable_literal, reason = "powers of two are read more easily so")]
const CHOICES: [Case; 32] = [
    ("A100-SXM4-80GB", "nvswitch", 8, 1, 8, 200, "infiniband", "all_reduce", 65536, "Ring", "LL", 16.3),
    ("A100-SXM4-80GB", "nvswitch", 8, 1, 8, 200, "infiniband", "all_reduce", 1048576, "Ring", "LL", 35.9),
    ("A100-SXM4-80GB", "nvswitch", 8, 1, 8, 200, "infiniband", "all_reduce", 1073741824, "Ring", "Simple", 7885.4),
    ("A100-SXM4-80GB", "nvswitch", 4, 1, 8, 200, "infiniband", "all_reduce", 16777216, "Ring", "Simple", 133.7),
    ("A100-SXM4-80GB", "nvswitch", 8, 2, 8, 200, "infiniband", "all_reduce", 1024, "Tree", "LL", 25.3),
    ("A100-SXM4-80GB", "nvswitch", 8, 2, 8, 200, "infiniband", "all_reduce", 8388608, "Tree", "LL128", 165.0),
    ("A100-SXM4-80GB", "nvswitch", 8, 2, 8, 200, "infiniband", "all_reduce", 4294967296, "Ring", "Simple", 42229.2),
    ("A100-SXM4-80GB", "nvswitch", 8, 16, 8, 200, "infiniband", "all_reduce", 67108864, "Tree", "LL128", 1216.6),
    ("A100-SXM4-80GB", "nvswitch", 8, 16, 8, 200, "infiniband", "all_reduce", 4294967296, "Ring", "Simple", 46871.1),
    ("A100-SXM4-80GB", "nvswitch", 8, 16, 8, 200, "infiniband", "all_gather", 4294967296, "Ring", "Simple", 23085.3),
    ("A100-SXM4-80GB", "nvswitch", 8, 2, 4, 100, "efa", "all_reduce", 1073741824, "Tree", "Simple", 24407.2),
    ("A100-SXM4-80GB", "nvswitch", 8, 4, 4, 100, "efa", "all_reduce", 1073741824, "Ring", "Simple", 43940.9),
    ("A100-SXM4-80GB", "nvswitch", 1, 4, 8, 200, "infiniband", "all_reduce", 16777216, "Ring", "Simple", 1177.9),
    ("H100-SXM5-80GB", "nvswitch", 8, 1, 8, 400, "infiniband", "all_reduce", 65536, "Ring", "LL", 15.8),
    ("H100-SXM5-80GB", "nvswitch", 8, 1, 8, 400, "infiniband", "all_reduce", 1073741824, "NVLS", "Simple", 3972.6),
    ("H100-SXM5-80GB", "nvswitch", 4, 1, 8, 400, "infiniband", "all_reduce", 1073741824, "Ring", "Simple", 4502.7),
    ("H100-SXM5-80GB", "nvswitch", 5, 1, 8, 400, "infiniband", "all_reduce", 1073741824, "NVLS", "Simple", 4235.8),
    ("H100-SXM5-80GB", "nvswitch", 8, 1, 8, 400, "infiniband", "reduce_scatter", 1073741824, "Ring", "Simple", 2642.0),
    ("H100-SXM5-80GB", "nvswitch", 8, 2, 8, 400, "infiniband", "all_reduce", 1048576, "Tree", "LL128", 60.4),
    ("H100-SXM5-80GB", "nvswitch", 8, 2, 8, 400, "infiniband", "all_reduce", 1073741824, "NVLSTree", "Simple", 4428.3),
    ("H100-SXM5-80GB", "nvswitch", 8, 32, 8, 400, "infiniband", "all_reduce", 268435456, "NVLSTree", "Simple", 1719.5),
    ("H100-SXM5-80GB", "nvswitch", 8, 4, 8, 400, "roce", "all_gather", 67108864, "Ring", "LL128", 300.6),
    ("H100-SXM5-80GB", "nvswitch", 8, 2, 4, 200, "tcpx", "broadcast", 67108864, "Ring", "Simple", 721.5),
    ("B200-SXM-180GB", "nvswitch", 8, 1, 8, 400, "infiniband", "all_reduce", 1073741824, "NVLS", "Simple", 2292.2),
    ("B200-SXM-180GB", "nvswitch", 5, 1, 8, 400, "infiniband", "all_reduce", 1073741824, "Ring", "Simple", 2421.7),
    ("B200-SXM-180GB", "nvswitch", 6, 1, 8, 400, "infiniband", "all_reduce", 1073741824, "NVLS", "Simple", 2376.2),
    ("B200-SXM-180GB", "nvswitch", 8, 2, 8, 400, "roce", "all_reduce", 1073741824, "NVLSTree", "Simple", 2688.2),
    ("V100-SXM2-32GB", "nvlink-mesh", 8, 2, 4, 100, "infiniband", "all_reduce", 268435456, "Tree", "LL128", 9152.8),
    ("V100-SXM2-32GB", "nvlink-mesh", 8, 2, 2, 100, "roce", "all_reduce", 4096, "Tree", "LL", 26.6),
    ("V100-PCIE-32GB", "pcie-switch", 4, 1, 0, 0, "none", "all_reduce", 268435456, "Ring", "Simple", 33597.0),
    ("V100-PCIE-32GB", "pcie-switch", 4, 1, 0, 0, "none", "all_reduce", 32768, "Ring", "LL", 20.8),
    ("T4", "pcie-host", 1, 2, 1, 100, "efa", "all_reduce", 67108864, "Ring", "Simple", 11254.0),
];

fn machine(gpu: &str, interconnect: &str, nics: u32, nic_gbit_per_s: u32, network: &str) -> Machine {
    Machine {
        gpu: Gpu::named(gpu).unwrap(),
        gpus: 8,
        interconnect: interconnect.parse().unwrap(),
        nics,
        nic_gb_per_s: f64::from(nic_gbit_per_s) / 8.0,
        network: (network != "none").then(|| network.parse().unwrap()),
        cpu: None,
    }
}

#[test]
fn nccl_chooses_what_its_constants_say() {
    for (
        gpu,
        interconnect,
        per_node,
        nodes,
        nics,
        gbit,
        network,
        collective,
        bytes,
        algorithm,
        protocol,
        us,
    ) in CHOICES
    {
        let machine = machine(gpu, interconnect, nics, gbit, network);
        let ranks = Ranks { per_node, nodes };
        let all = candidates(&machine, ranks, collective.parse().unwrap(), bytes, &Environment::default());
        let best = all.iter().min_by(|one, other| one.reckoned_us.total_cmp(&other.reckoned_us)).unwrap();
        let found = (best.algorithm.name(), best.protocol.name());
        let case = format!("{gpu} {nodes}x{per_node} {nics}x{gbit} {collective} {bytes}");
        assert_eq!(found, (algorithm, protocol), "{case}");
        assert!((best.reckoned_us - us).abs() < 0.06 + 1e-4 * us, "{case}: {} for {us}", best.reckoned_us);
    }
}

/// The channels of rings on machines of the kinds that are in use: how many, GB/s of each, what binds them.
#[test]
fn channels_follow_from_what_binds() {
    let check = |gpu, interconnect, nics, gbit, nodes, expected: (u32, f64, Bound)| {
        let machine = machine(gpu, interconnect, nics, gbit, if nics == 0 { "none" } else { "infiniband" });
        let channels = Channels::of(&machine, Ranks { per_node: 8, nodes }, 64);
        let found = (channels.count, channels.between_nodes_gb_per_s, channels.bound);
        assert_eq!(found, expected, "{gpu} {interconnect} {nics}x{gbit} on {nodes}");
    };
    check("A100", "nvswitch", 8, 200, 1, (6, 40.0, Bound::NvLink));
    check("A100", "nvswitch", 8, 200, 2, (8, 24.0, Bound::Nic));
    // Half the NICs are half the ring.
    check("A100", "nvswitch", 4, 200, 2, (4, 24.0, Bound::Nic));
    check("V100", "nvswitch", 8, 100, 2, (8, 12.0, Bound::Nic));
    check("V100", "nvlink-mesh", 2, 100, 2, (2, 12.0, Bound::Nic));
    check("V100-PCIE", "pcie-switch", 0, 0, 1, (1, 12.0, Bound::Pcie));
    check("H100", "nvswitch", 8, 400, 1, (6, 60.0, Bound::NvLink));
    // Eight channels of 48 are more than NVLink has.
    check("H100", "nvswitch", 8, 400, 4, (8, 45.0, Bound::NvLink));
    check("H100", "nvswitch", 8, 200, 2, (8, 24.0, Bound::Nic));
    check("H100", "nvswitch", 16, 200, 4, (15, 24.0, Bound::NvLink));
    check("B200", "nvswitch", 8, 400, 2, (8, 48.0, Bound::Nic));
    check("A100", "nvlink-mesh", 8, 200, 2, (8, 24.0, Bound::Nic));
    // A slot of PCIe 3 is slower than its NIC.
    check("V100", "nvlink-mesh", 4, 200, 2, (4, 12.0, Bound::Pcie));
}

#[test]
fn a_link_below_all_speeds_of_the_list_has_what_it_has() {
    let slow = Machine { nic_gb_per_s: 0.05, ..machine("A100", "nvswitch", 8, 200, "infiniband") };
    let channels = Channels::of(&slow, Ranks { per_node: 8, nodes: 2 }, 64);
    assert_eq!((channels.count, channels.between_nodes_gb_per_s, channels.bound), (8, 0.05, Bound::Nic));
}

#[test]
fn the_environment_may_bind() {
    let machine = machine("A100", "nvswitch", 8, 200, "infiniband");
    let channels = Channels::of(&machine, Ranks { per_node: 8, nodes: 2 }, 2);
    assert_eq!((channels.count, channels.bound), (2, Bound::ChannelCount));
}

#[test]
fn a_gpu_alone_has_its_slot() {
    let machine = machine("A100", "nvswitch", 8, 200, "infiniband");
    let of = |per_node| {
        let channels = Channels::of(&machine, Ranks { per_node, nodes: 4 }, 64);
        (channels.count, channels.between_nodes_gb_per_s, channels.bound)
    };
    assert_eq!(of(1), (1, 24.0, Bound::Pcie));
    assert_eq!(of(2), (2, 24.0, Bound::Pcie));
    assert_eq!(of(8), (8, 24.0, Bound::Nic));
}

#[test]
fn reduction_in_switches_sets_in_where_it_is_faster() {
    let first = |gpu| {
        (2..=8).find(|&per_node| {
            let machine = machine(gpu, "nvswitch", 8, 400, "infiniband");
            let ranks = Ranks { per_node, nodes: 1 };
            let all =
                candidates(&machine, ranks, "all_reduce".parse().unwrap(), 1 << 33, &Environment::default());
            all.iter().any(|one| one.algorithm.name() == "NVLS")
        })
    };
    assert_eq!((first("H200"), first("B200"), first("A100")), (Some(5), Some(6), None));
}

#[test]
fn interconnects_have_their_names() {
    for (name, kind) in Interconnect::ALL {
        assert_eq!(name.parse::<Interconnect>(), Ok(kind));
    }
    assert!("nvlink".parse::<Interconnect>().unwrap_err().to_string().contains("nvlink-mesh"));
}
