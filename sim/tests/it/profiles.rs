//! Jobs of which one knows how much they communicate.

use std::sync::Arc;

use foretell_sim::fabric::collectives::{Calibration, Collective, Environment};
use foretell_sim::fabric::hardware::{self, Gpu, Interconnect, Machine};
use foretell_sim::framework::{GpuModelId, GpuModelSet};
use foretell_sim::traffic::{CommunicationProfile, Machines, PlacementShape, ProfileSpec, StepModel};
use proptest::prelude::*;

/// A DGX A100: eight GPUs on NVSwitch, eight NICs of 200 Gb/s.
fn machines() -> Arc<Machines> {
    let machine = Machine {
        gpu: Gpu::named("A100-SXM4-80GB").unwrap(),
        gpus: 8,
        interconnect: Interconnect::NvSwitch,
        nics: 8,
        nic_gb_per_s: 25.0,
        network: Some(hardware::Network::InfiniBand),
        cpu: None,
    };
    Arc::new(Machines {
        by_model: vec![(GpuModelId::new(0), machine)],
        environment: Environment::default(),
        calibration: Calibration::default(),
    })
}

fn profile(spec: ProfileSpec, gpus: u32) -> CommunicationProfile {
    CommunicationProfile::new(spec, machines(), gpus, GpuModelSet::ANY).unwrap()
}

fn all_reduce(bytes: u64) -> ProfileSpec {
    ProfileSpec { compute_s: 1.0, overlap: 0.0, collective: Collective::AllReduce, bytes }
}

fn shape(gpus_by_node: &[u32]) -> PlacementShape {
    PlacementShape::new(gpus_by_node.iter().copied(), GpuModelSet::ANY)
}

#[test]
fn a_size_is_found_for_a_time() {
    let machines = machines();
    let machine = &machines.by_model[0].1;
    for (nodes, time_s) in [(1, 0.1), (2, 0.5), (16, 2.0)] {
        let bytes = machines.size_taking(machine, nodes, Collective::AllReduce, time_s).unwrap();
        let step_s = profile(all_reduce(bytes), 8 * nodes).reference_step_s();
        assert!((step_s - 1.0 - time_s).abs() < 0.01 * time_s, "{nodes} nodes: {step_s} s");
    }
}

#[test]
fn the_reference_is_as_few_nodes_as_hold_the_job() {
    // Ten gigabytes: over NVLink, over eight NICs, over one.
    let spec = all_reduce(10_000_000_000);
    let step_s = |profile: &CommunicationProfile, gpus: &[u32]| profile.law(&shape(gpus)).alone_s();
    let two = profile(spec, 16);
    assert!((two.reference_step_s() - step_s(&two, &[8, 8])).abs() < 1e-12);
    let one = profile(spec, 8);
    assert!((one.reference_step_s() - step_s(&one, &[8])).abs() < 1e-12);
    assert!(!one.law(&shape(&[8])).communicates());
    // A ring of 8 moves 17.5 GB, over a bus of some 20 GB/s on eight nodes.
    let scattered_s = step_s(&one, &[1; 8]);
    assert!((1.7..2.1).contains(&scattered_s), "{scattered_s}");
    // One GPU tells nobody anything.
    assert!((profile(spec, 1).reference_step_s() - 1.0).abs() < 1e-12);
    // Behind all of the computation nothing is seen of 0.1 s.
    let hidden = profile(ProfileSpec { overlap: 1.0, ..spec }, 8);
    assert!((hidden.reference_step_s() - 1.0).abs() < 1e-12);
}

proptest! {
    /// With the same GPUs on more nodes a job is never faster.
    #[test]
    fn more_nodes_never_help(
        gigabytes in 0.01_f64..100.0,
        overlap in 0.0..1.0,
        is_all_to_all in any::<bool>(),
        halvings in 1_usize..4,
        nodes in 1_u32..17,
    ) {
        let collective = if is_all_to_all { Collective::AllToAll } else { Collective::AllReduce };
        let bytes = (gigabytes * 1e9) as u64;
        let profile = profile(ProfileSpec { compute_s: 1.0, overlap, collective, bytes }, 8 * nodes);
        let mut before_s = profile.reference_step_s();
        for halving in 0..=halvings {
            let per_node = 8 >> halving;
            let law = profile.law(&shape(&vec![per_node; (nodes << halving) as usize]));
            prop_assert!(law.alone_s() >= before_s * (1.0 - 1e-9), "{} GPUs a node: {} after {}", per_node, law.alone_s(), before_s);
            before_s = law.alone_s();
        }
    }
}
