//! GPUs by name.

/// A generation of GPUs, as NCCL tells them apart.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Architecture {
    /// Compute capability 6.
    Pascal,
    /// Compute capability 7: Volta and Turing.
    Volta,
    /// Compute capability 8: Ampere and Ada.
    Ampere,
    /// Compute capability 9.
    Hopper,
    /// Compute capability 10 and above.
    Blackwell,
}

/// What NCCL knows of a GPU.
#[derive(Clone, PartialEq, Debug)]
pub struct Gpu {
    /// Its name.
    pub name: String,
    /// Its generation.
    pub architecture: Architecture,
    /// NVLink of one GPU in each direction as NCCL reckons it (links times its rate per link), GB/s; 0 without.
    pub nvlink_gb_per_s: f64,
    /// One of those links, GB/s; 0 without.
    pub nvlink_each_gb_per_s: f64,
    /// PCIe of one GPU in each direction as NCCL reckons it, GB/s.
    pub pcie_gb_per_s: f64,
}

/// PCIe of 16 lanes as NCCL reckons it (width times {15, 30, 60, 120, 240, 480} over 80), GB/s.
const fn pcie_x16_gb_per_s(generation: u32) -> f64 {
    match generation {
        ..=3 => 12.0,
        4 => 24.0,
        5 => 48.0,
        _ => 96.0,
    }
}

/// Families: what a name begins with, generation, NVLinks of the module (SXM) form and of the card, rate per link, PCIe.
///
/// Links: NVIDIA's datasheets. Rate per link: NCCL 2.30.7, `topo.h`.
const FAMILIES: [(&str, Architecture, u32, u32, f64, u32); 32] = {
    use Architecture::{Ampere, Blackwell, Hopper, Pascal, Volta};
    [
        ("GTX10", Pascal, 0, 0, 0.0, 3),
        ("P100", Pascal, 4, 0, 18.0, 3),
        ("P40", Pascal, 0, 0, 0.0, 3),
        ("P4", Pascal, 0, 0, 0.0, 3),
        ("V100", Volta, 6, 0, 20.0, 3),
        ("TITANV", Volta, 0, 0, 0.0, 3),
        ("T4", Volta, 0, 0, 0.0, 3),
        ("RTX20", Volta, 0, 2, 20.0, 3),
        ("RTX6000ADA", Ampere, 0, 0, 0.0, 4),
        ("RTX6000", Volta, 0, 2, 20.0, 3),
        ("A100", Ampere, 12, 12, 20.0, 4),
        ("A800", Ampere, 8, 8, 20.0, 4),
        ("A30", Ampere, 0, 4, 12.0, 4),
        ("A40", Ampere, 0, 4, 12.0, 4),
        ("A10", Ampere, 0, 0, 0.0, 4),
        ("A16", Ampere, 0, 0, 0.0, 4),
        ("A2", Ampere, 0, 0, 0.0, 4),
        ("RTXA", Ampere, 0, 4, 12.0, 4),
        ("RTX30", Ampere, 0, 4, 12.0, 4),
        ("RTX40", Ampere, 0, 0, 0.0, 4),
        ("L40", Ampere, 0, 0, 0.0, 4),
        ("L4", Ampere, 0, 0, 0.0, 4),
        ("H100", Hopper, 18, 12, 20.6, 5),
        ("H200", Hopper, 18, 12, 20.6, 5),
        ("H800", Hopper, 8, 8, 20.6, 5),
        ("H20", Hopper, 18, 0, 20.6, 5),
        ("GH200", Hopper, 18, 0, 20.6, 5),
        ("B100", Blackwell, 18, 0, 40.1, 5),
        ("B200", Blackwell, 18, 0, 40.1, 5),
        ("B300", Blackwell, 18, 0, 40.1, 6),
        ("GB200", Blackwell, 18, 0, 40.1, 5),
        ("GB300", Blackwell, 18, 0, 40.1, 6),
    ]
};

impl Gpu {
    /// The GPU of a name such as `A100-SXM4-80GB` or `H100-PCIE`; a name that says neither is the module where there is
    /// one. `None` if the family is not known.
    pub fn named(name: &str) -> Option<Self> {
        let plain: String =
            name.chars().filter(char::is_ascii_alphanumeric).map(|char| char.to_ascii_uppercase()).collect();
        let plain = plain.trim_start_matches("NVIDIA").trim_start_matches("TESLA");
        let family = FAMILIES.iter().filter(|(prefix, ..)| plain.starts_with(prefix));
        let &(_, architecture, module, card, link, pcie) = family.max_by_key(|(prefix, ..)| prefix.len())?;
        let links = if plain.contains("PCI") || module == 0 { card } else { module };
        // A T4 has eight lanes.
        let lanes = if plain.starts_with("T4") { 0.5 } else { 1.0 };
        Some(Self {
            name: name.to_owned(),
            architecture,
            nvlink_gb_per_s: f64::from(links) * link,
            nvlink_each_gb_per_s: if links > 0 { link } else { 0.0 },
            pcie_gb_per_s: pcie_x16_gb_per_s(pcie) * lanes,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_mean_what_is_sold_under_them() {
        for (name, architecture, nvlink, pcie) in [
            ("A100-SXM4-80GB", Architecture::Ampere, 240.0, 24.0),
            ("Tesla V100-SXM2-32GB", Architecture::Volta, 120.0, 12.0),
            ("V100-PCIE-32GB", Architecture::Volta, 0.0, 12.0),
            ("H100", Architecture::Hopper, 18.0 * 20.6, 48.0),
            ("H100-PCIE-80GB", Architecture::Hopper, 12.0 * 20.6, 48.0),
            ("H20", Architecture::Hopper, 18.0 * 20.6, 48.0),
            ("GH200", Architecture::Hopper, 18.0 * 20.6, 48.0),
            ("B200-SXM-180GB", Architecture::Blackwell, 18.0 * 40.1, 48.0),
            ("A10G", Architecture::Ampere, 0.0, 24.0),
            ("T4", Architecture::Volta, 0.0, 6.0),
            ("RTX 4090", Architecture::Ampere, 0.0, 24.0),
            ("GTX1080", Architecture::Pascal, 0.0, 12.0),
        ] {
            let gpu = Gpu::named(name).unwrap();
            assert_eq!(gpu.architecture, architecture, "{name}");
            assert!((gpu.nvlink_gb_per_s - nvlink).abs() < 1e-9, "{name}: {}", gpu.nvlink_gb_per_s);
            assert!((gpu.pcie_gb_per_s - pcie).abs() < 1e-9, "{name}: {}", gpu.pcie_gb_per_s);
        }
        assert_eq!(Gpu::named("unknown"), None);
        assert_eq!(Gpu::named("MI300X"), None);
    }
}
