//! The inside of nodes, against paths, verdicts and rings found by hand.

use foretell_fabric::hardware::{Gpu, Interconnect};
use foretell_fabric::node::{Cpu, Layout, LayoutError, NodeGraph, NvLinks, PeerAccess, Place};

fn places(count: u32, place: impl Fn(u32) -> Place) -> Vec<Place> {
    (0..count).map(place).collect()
}

/// Two sockets of two switches with two GPUs and a card each; a hybrid cube mesh.
fn dgx_1() -> NodeGraph {
    let pairs = [
        (0, 1, 1),
        (0, 2, 1),
        (0, 3, 2),
        (0, 4, 2),
        (1, 2, 2),
        (1, 3, 1),
        (1, 5, 2),
        (2, 3, 2),
        (2, 6, 1),
        (3, 7, 1),
        (4, 5, 1),
        (4, 6, 1),
        (4, 7, 2),
        (5, 6, 2),
        (5, 7, 1),
        (6, 7, 2),
    ];
    graph(&Layout {
        gpu: Gpu::named("V100").unwrap(),
        gpus: places(8, |gpu| [gpu / 4, gpu / 4, gpu / 2, gpu / 2]),
        nics: places(4, |nic| [nic / 2, nic / 2, nic, nic]),
        nic_gb_per_s: 12.5,
        nvlinks: NvLinks::Pairs(pairs.to_vec()),
        cpu: Some(Cpu::Broadwell),
        chip_to_chip_gb_per_s: None,
    })
}

/// Four NUMA nodes with GPUs, each with two GPUs and two cards at switches of their own; `NVSwitch`.
fn dgx_a100() -> NodeGraph {
    graph(&Layout {
        gpu: Gpu::named("A100").unwrap(),
        gpus: places(8, |gpu| [gpu / 2, gpu / 2, gpu / 2, gpu]),
        nics: places(8, |nic| [nic / 2, nic / 2, nic / 2, 8 + nic]),
        nic_gb_per_s: 25.0,
        nvlinks: NvLinks::Switched(12),
        cpu: Some(Cpu::Amd),
        chip_to_chip_gb_per_s: None,
    })
}

/// GPUs without NVLink.
fn pcie(gpu: &str, gpus: Vec<Place>, nics: Vec<Place>, cpu: Cpu) -> NodeGraph {
    graph(&Layout {
        gpu: Gpu::named(gpu).unwrap(),
        gpus,
        nics,
        nic_gb_per_s: 12.5,
        nvlinks: NvLinks::Pairs(Vec::new()),
        cpu: Some(cpu),
        chip_to_chip_gb_per_s: None,
    })
}

/// A tray of two CPUs, each with two GPUs on it, and a card.
fn gb200_tray() -> NodeGraph {
    graph(&Layout {
        gpu: Gpu::named("GB200").unwrap(),
        gpus: places(4, |gpu| [gpu / 2, gpu / 2, gpu, gpu]),
        nics: places(2, |nic| [nic, nic, 8 + nic, 8 + nic]),
        nic_gb_per_s: 50.0,
        nvlinks: NvLinks::Switched(18),
        cpu: Some(Cpu::Arm),
        chip_to_chip_gb_per_s: Some(360.0),
    })
}

fn graph(layout: &Layout) -> NodeGraph {
    NodeGraph::new(layout).unwrap()
}

#[test]
fn paths_between_gpus() {
    #[track_caller]
    fn check(graph: &NodeGraph, (from, to): (u32, u32), kind: &str, gb_per_s: f64, expected: &str) {
        let path = graph.gpu_path(from, to).unwrap();
        assert_eq!((path.kind.name(), path.to_string().as_str()), (kind, expected));
        assert!((path.gb_per_s - gb_per_s).abs() < 1e-9, "{path}");
        let back = graph.gpu_path(to, from).unwrap();
        assert_eq!((back.kind, back.gb_per_s.to_bits()), (path.kind, path.gb_per_s.to_bits()), "{path}");
    }
    let one = dgx_1();
    check(&one, (0, 1), "NVL", 20.0, "GPU0 -NVLink 20- GPU1");
    check(&one, (0, 3), "NVL", 40.0, "GPU0 -NVLink 40- GPU3");
    check(&one, (0, 5), "NVB", 20.0, "GPU0 -NVLink 20- GPU1 -NVLink 40- GPU5");
    // By GPU 3 too, but that way has one link of NVLink.
    check(&one, (0, 7), "NVB", 40.0, "GPU0 -NVLink 40- GPU4 -NVLink 40- GPU7");
    check(&dgx_a100(), (0, 7), "NVL", 240.0, "GPU0 -NVLink 240- NVSwitch -NVLink 240- GPU7");
    // Two sockets of two switches with two GPUs each.
    let switches =
        pcie("P100-PCIE", places(8, |gpu| [gpu / 4, gpu / 4, gpu / 2, gpu / 2]), vec![], Cpu::Broadwell);
    check(&switches, (0, 1), "PIX", 12.0, "GPU0 -PCIe 12- PCIe switch 0 -PCIe 12- GPU1");
    let through_cpu = "GPU0 -PCIe 12- PCIe switch 0 -PCIe 12- CPU0 -PCIe 12- PCIe switch 1 -PCIe 12- GPU2";
    check(&switches, (0, 2), "PHB", 12.0, through_cpu);
    let sockets = "GPU3 -PCIe 12- PCIe switch 1 -PCIe 12- CPU0 -socket link 6- CPU1 -PCIe 12- PCIe switch 2 -PCIe 12- GPU4";
    check(&switches, (3, 4), "SYS", 6.0, sockets);
    // Two switches below another.
    let below = pcie("L40S", places(4, |gpu| [0, 0, 0, gpu / 2]), vec![], Cpu::Amd);
    check(&below, (0, 1), "PIX", 24.0, "GPU0 -PCIe 24- PCIe switch 1 -PCIe 24- GPU1");
    let above = "GPU0 -PCIe 24- PCIe switch 1 -PCIe 24- PCIe switch 0 -PCIe 24- PCIe switch 2 -PCIe 24- GPU2";
    check(&below, (0, 2), "PXB", 24.0, above);
    // Root ports of their own.
    let ports = pcie("L40S", places(4, |gpu| [gpu / 2, gpu, gpu, gpu]), vec![], Cpu::SapphireRapids);
    check(&ports, (0, 1), "PHB", 24.0, "GPU0 -PCIe 24- CPU0 -PCIe 24- GPU1");
    check(&ports, (0, 2), "SYS", 22.0, "GPU0 -PCIe 24- CPU0 -socket link 22- CPU1 -PCIe 24- GPU2");
}

#[test]
fn paths_to_network_cards() {
    #[track_caller]
    fn check(
        graph: &NodeGraph,
        (gpu, nic): (u32, u32),
        own: (&str, f64),
        proxied: (&str, f64),
        direct: bool,
    ) {
        let of = |proxies| {
            let path = graph.nic_path(gpu, nic, proxies).unwrap();
            (path.kind.name(), path.gb_per_s)
        };
        assert_eq!((of(false), of(true)), (own, proxied), "GPU {gpu}, NIC {nic}");
        assert_eq!(graph.has_gpu_direct(gpu, nic), Some(direct), "GPU {gpu}, NIC {nic}");
    }
    let one = dgx_1();
    check(&one, (0, 0), ("PIX", 12.0), ("PIX", 12.0), true);
    check(&one, (0, 1), ("PHB", 12.0), ("PXN", 12.0), false);
    check(&one, (0, 2), ("SYS", 6.0), ("PXN", 12.0), false);
    // GPUs 6 and 7 have the card, and no NVLink to GPU 1.
    check(&one, (1, 3), ("SYS", 6.0), ("SYS", 6.0), false);
    let a100 = dgx_a100();
    check(&a100, (0, 1), ("PXB", 24.0), ("PXB", 24.0), true);
    check(&a100, (0, 2), ("SYS", 16.0), ("PXN", 24.0), false);
    let tray = gb200_tray();
    check(&tray, (1, 0), ("P2C", 48.0), ("P2C", 48.0), true);
    check(&tray, (0, 1), ("SYS", 6.0), ("SYS", 6.0), false);
    assert_eq!(
        (one.nearest_nics(5), a100.nearest_nics(5), tray.nearest_nics(3)),
        (vec![2], vec![4, 5], vec![1])
    );
}

#[test]
fn gpus_reach_each_other_over_switches() {
    let verdict = |graph: &NodeGraph, to| graph.peer_access(0, to).unwrap();
    let (direct, host) = (PeerAccess::Direct, PeerAccess::HostMemory);
    let one = dgx_1();
    assert_eq!((verdict(&one, 1), verdict(&one, 7)), (direct, direct));
    let switches =
        |cpu| pcie("P100-PCIE", places(8, |gpu| [gpu / 4, gpu / 4, gpu / 2, gpu / 2]), vec![], cpu);
    let found = switches(Cpu::Amd);
    assert_eq!([1, 2, 4].map(|to| verdict(&found, to)), [direct, host, host]);
    let two = |cpu| pcie("L40S", places(2, |gpu| [gpu, gpu, gpu, gpu]), vec![], cpu);
    assert_eq!((verdict(&two(Cpu::Amd), 1), verdict(&two(Cpu::Skylake), 1)), (direct, host));
    assert_eq!(one.peer_access(0, 8), None);
}

/// Rings of one link each, in one direction: no more than a GPU has links to the others.
#[test]
fn rings_of_a_mesh() {
    let graph = dgx_1();
    let check = |gpus: &[u32], expected: Option<u32>| {
        assert_eq!(graph.rings(gpus, 20.0).map(|rings| rings.count), expected, "{gpus:?}");
    };
    check(&[0, 1], Some(1));
    check(&[0, 3], Some(2));
    check(&[0, 1, 2], Some(2));
    // One link between 0 and 2, which every ring needs: one ring each way.
    check(&[0, 2, 3], Some(2));
    // GPUs 0 and 1 have 4 links to the others, 2 and 3 have 5.
    check(&[0, 1, 2, 3], Some(4));
    check(&[4, 5, 6, 7], Some(4));
    // Through GPU 1 by one link, through GPU 4 by two.
    check(&[0, 5], Some(1));
    check(&[0, 7], Some(2));
    // All six links of every GPU.
    check(&[0, 1, 2, 3, 4, 5, 6, 7], Some(6));
    check(&[0], None);
    assert_eq!(dgx_a100().rings(&[0, 1], 20.0), None, "every GPU has its links to the switches to itself");
}

#[test]
fn what_joins_gpus_is_the_worst_between_them() {
    let switches =
        pcie("P100-PCIE", places(8, |gpu| [gpu / 4, gpu / 4, gpu / 2, gpu / 2]), vec![], Cpu::Broadwell);
    let check = |graph: &NodeGraph, gpus: &[u32], expected: Interconnect| {
        assert_eq!(graph.interconnect(gpus), expected, "{gpus:?}");
    };
    check(&switches, &[0, 1], Interconnect::PcieSwitch);
    check(&switches, &[0, 1, 2], Interconnect::PcieHost);
    check(&switches, &[0, 1, 2, 4], Interconnect::PcieCrossSocket);
    check(&switches, &[5], Interconnect::PcieSwitch);
    check(&dgx_1(), &[0, 5], Interconnect::NvLinkMesh);
    check(&dgx_1(), &[0], Interconnect::NvLinkMesh);
    check(&dgx_a100(), &[0, 5], Interconnect::NvSwitch);
    check(&dgx_a100(), &[0], Interconnect::NvSwitch);
    let worst = switches.worst_path(&[0, 1, 4, 5]).unwrap();
    assert!(worst.to_string().starts_with("GPU0 ") && worst.to_string().ends_with(" GPU4"), "{worst}");
}

#[test]
fn what_is_no_node_is_refused() {
    let layout = |gpu: &str, pairs: &[(u32, u32, u32)]| Layout {
        gpu: Gpu::named(gpu).unwrap(),
        gpus: places(2, |gpu| [0, 0, gpu, gpu]),
        nics: Vec::new(),
        nic_gb_per_s: 0.0,
        nvlinks: NvLinks::Pairs(pairs.to_vec()),
        cpu: None,
        chip_to_chip_gb_per_s: None,
    };
    let refused = |gpu: &str, pair: (u32, u32, u32)| NodeGraph::new(&layout(gpu, &[pair])).unwrap_err();
    assert_eq!(refused("V100", (0, 2, 1)), LayoutError::NvLink(0, 2, 2));
    assert_eq!(refused("V100", (1, 1, 1)), LayoutError::NvLink(1, 1, 2));
    assert_eq!(refused("L40S", (0, 1, 1)), LayoutError::NoNvLink("L40S".to_owned()));
}
