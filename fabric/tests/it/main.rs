//! Tests of the fabric, by module.

mod choices;
mod contention;
mod estimates;
mod network;
mod node;
mod sharing;
mod transfers;

use foretell_fabric::hardware::{Gpu, Interconnect, Machine, Network};

/// Eight GPUs on NVSwitch, each with a NIC of 25 GB/s.
fn dgx_a100() -> Machine {
    Machine {
        gpu: Gpu::named("A100-SXM4").unwrap(),
        gpus: 8,
        interconnect: Interconnect::NvSwitch,
        nics: 8,
        nic_gb_per_s: 25.0,
        network: Some(Network::InfiniBand),
        cpu: None,
    }
}
