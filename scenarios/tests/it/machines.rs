//! Node types of the catalogue as NCCL sees them: whole, and by particular GPUs.

use foretell_scenarios::catalog::{Catalog, Interconnect, MachineError};
use foretell_scenarios::fabric::hardware;
use foretell_scenarios::fabric::node::PathType;

/// GB/s of NVLink that rings find, what joins the GPUs, and their network cards.
fn machine(node_type: &str, gpus: &[u32]) -> (f64, &'static str, u32) {
    let machine = Catalog::builtin().node_type(node_type).unwrap().machine_of(gpus).unwrap();
    assert_eq!(machine.gpus as usize, gpus.len());
    (machine.gpu.nvlink_gb_per_s, machine.interconnect.name(), machine.nics)
}

#[test]
fn particular_gpus_have_what_is_between_them() {
    #[track_caller]
    fn check(node_type: &str, gpus: &[u32], expected: (f64, &'static str, u32)) {
        assert_eq!(machine(node_type, gpus), expected, "{node_type}, {gpus:?}");
    }
    let all: Vec<u32> = (0..8).collect();
    // Six links of 20 GB/s, of which two GPUs have one or two in common.
    check("dgx-1-v100", &all, (120.0, "nvlink-mesh", 4));
    check("dgx-1-v100", &[0, 3], (40.0, "nvlink-mesh", 2));
    check("dgx-1-v100", &[0, 1], (20.0, "nvlink-mesh", 1));
    check("dgx-1-v100", &[0, 5], (20.0, "nvlink-mesh", 2));
    check("dgx-1-v100", &[0, 1, 2, 3], (80.0, "nvlink-mesh", 2));
    // Through switches each GPU keeps all of its own.
    check("dgx-a100", &all, (240.0, "nvswitch", 8));
    check("dgx-a100", &[0, 1], (240.0, "nvswitch", 2));
    check("dgx-a100", &[1, 6], (240.0, "nvswitch", 4));
    check("p4de.24xlarge", &[0, 1], (240.0, "nvswitch", 1));
    check("p5.48xlarge", &[0, 1], (18.0 * 20.6, "nvswitch", 8));
    check("nd96asr-v4", &[2, 3], (240.0, "nvswitch", 2));
    // A GPU alone on its root port is equally far from all cards of its socket.
    check("as-4125gs-l40s", &[0, 1], (0.0, "pcie-host", 1));
    check("as-4125gs-l40s", &[0, 4], (0.0, "pcie-cross-socket", 2));
    check("c4140-v100", &[0, 3], (0.0, "pcie-switch", 1));
    check("sys-4028gr-p100", &[0, 1], (72.0, "pcie-switch", 1));
    check("sys-4028gr-p100", &[0, 2], (72.0, "pcie-host", 1));
    check("sys-4028gr-p100", &[3, 4], (72.0, "pcie-cross-socket", 2));
}

#[test]
fn gpus_that_are_not_there_are_refused() {
    let check = |node_type: &str, gpus: &[u32], expected: &str| {
        let error = Catalog::builtin().node_type(node_type).unwrap().machine_of(gpus).unwrap_err();
        assert_eq!(error.to_string(), expected, "{node_type}, {gpus:?}");
    };
    check("dgx-1-v100", &[0, 8], "node type `dgx-1-v100` has GPUs 0 to 7, not 8");
    check("dgx-1-v100", &[0, 0], "expected GPUs that differ, at least one");
    check("dgx-1-v100", &[], "expected GPUs that differ, at least one");
    check("p3.16xlarge", &[0], "where the GPUs of node type `p3.16xlarge` hang is not known");
    check("openb-cpu-32", &[0], "node type `openb-cpu-32` has no GPUs that NCCL's model knows");
    let unknown = Catalog::builtin().node_type("openb-g2-8").unwrap().machine_of(&[0]);
    assert_eq!(unknown, Err(MachineError::UnknownGpus("openb-g2-8".to_owned())));
}

/// The graph of a node type and what its entry says of it agree.
#[test]
fn graphs_are_what_their_entries_say() {
    let mut seen = 0;
    for node in Catalog::builtin().node_types() {
        let (Some(graph), Some(machine)) = (node.graph(), node.machine()) else { continue };
        seen += 1;
        assert_eq!((graph.gpus(), graph.nics()), (machine.gpus, machine.nics), "{}", node.name);
        let kind = machine.interconnect;
        let agrees = match node.interconnect.unwrap() {
            Interconnect::Nvswitch => kind == hardware::Interconnect::NvSwitch,
            Interconnect::NvlinkMesh => kind == hardware::Interconnect::NvLinkMesh,
            Interconnect::Nvl72 => kind == hardware::Interconnect::Nvl72,
            Interconnect::Pcie => !kind.is_nvlink(),
        };
        assert!(agrees, "{}: {}", node.name, kind.name());
        let all: Vec<u32> = (0..machine.gpus).collect();
        assert_eq!(node.machine_of(&all).as_ref(), Ok(&machine), "{}", node.name);
        // Paths lead both ways, and each GPU has a nearest card where there are any.
        for gpu in all {
            assert_eq!(graph.nearest_nics(gpu).is_empty(), machine.nics == 0, "{}", node.name);
        }
    }
    assert!(seen >= 18, "{seen} node types with links");
}

#[test]
fn trays_of_a_rack_are_one_domain() {
    let machine = Catalog::builtin().node_type("gb200-nvl72").unwrap().machine().unwrap();
    assert_eq!(machine.interconnect, hardware::Interconnect::Nvl72);
    let ranks = hardware::Ranks { per_node: 4, nodes: 18 }.by_domain(machine.interconnect);
    assert_eq!((ranks.per_node, ranks.nodes), (72, 1));
    // Inside a tray: NVLink to the other, and over the CPU to the cards beside it.
    let graph = Catalog::builtin().node_type("gb200-nvl72").unwrap().graph().unwrap();
    assert_eq!(graph.gpu_path(0, 3).unwrap().kind, PathType::Nvl);
    assert_eq!(
        (graph.nearest_nics(0), graph.nic_path(0, 1, false).unwrap().kind),
        (vec![0, 1], PathType::P2c)
    );
    assert_eq!(graph.nic_path(0, 2, false).unwrap().kind, PathType::Sys);
}
