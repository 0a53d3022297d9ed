//! Constants of NCCL 2.30.7's cost model and graph search (`tuning.cc`, `search.cc`; facts, re-keyed). Latencies in
//! microseconds, bandwidths in GB/s.

use super::{Algorithm, Protocol};
use crate::hardware::Architecture;

/// One value per protocol: LL, LL128, Simple.
type ByProtocol = [f64; 3];

/// A row of the tables by generation: those before Volta go by Volta's.
pub(super) const fn row(architecture: Architecture) -> usize {
    match architecture {
        Architecture::Pascal | Architecture::Volta => 0,
        Architecture::Ampere => 1,
        Architecture::Hopper => 2,
        Architecture::Blackwell => 3,
    }
}

/// A column of the tables by nodes: one, two, or more.
pub(super) const fn column(nodes: u32) -> usize {
    match nodes {
        0 | 1 => 0,
        2 => 1,
        _ => 2,
    }
}

/// What a call costs before anything moves.
pub(super) const fn base_latency_us(algorithm: Algorithm) -> ByProtocol {
    match algorithm {
        Algorithm::Tree => [6.8, 14.0, 8.4],
        Algorithm::Ring => [6.6, 14.0, 8.4],
        Algorithm::Nvls | Algorithm::NvlsTree => [0.0; 3],
    }
}

/// A hop, by kind of link.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Hop {
    NvLink,
    Pcie,
    Network,
}

pub(super) const fn hop_latency_us(hop: Hop, algorithm: Algorithm) -> ByProtocol {
    match (hop, algorithm) {
        (Hop::NvLink, Algorithm::Tree) => [0.6, 1.25, 4.0],
        (Hop::NvLink, Algorithm::Ring) => [0.6, 1.9, 3.4],
        (Hop::NvLink, Algorithm::Nvls | Algorithm::NvlsTree) => [0.0, 0.0, 25.0],
        (Hop::Pcie, Algorithm::Tree) => [1.0, 1.9, 4.0],
        (Hop::Pcie, Algorithm::Ring) => [1.0, 2.5, 5.7],
        (Hop::Pcie, Algorithm::Nvls | Algorithm::NvlsTree) => [0.0; 3],
        (Hop::Network, Algorithm::Tree) => [5.0, 8.5, 14.0],
        (Hop::Network, Algorithm::Ring) => [2.7, 4.0, 14.0],
        (Hop::Network, Algorithm::Nvls) => [0.0, 0.0, 18.0],
        (Hop::Network, Algorithm::NvlsTree) => [0.0, 0.0, 20.9],
    }
}

/// The most that LL carries. Several nodes: the row is Ampere's where the CPUs are AMD's, else Volta's.
pub(super) const LL_MAX: [[f64; 3]; 4] =
    [[39.0, 39.0, 20.4], [87.7, 22.5, 19.0], [141.0, 45.0, 35.0], [282.0, 90.0, 70.0]];

/// The most that a channel of a ring carries under LL128.
pub(super) const RING_LL128: [[f64; 3]; 4] = [[20.0; 3], [20.0; 3], [36.7; 3], [40.0; 3]];

/// The same of a tree.
pub(super) const TREE_LL128: [[f64; 3]; 4] = [[20.0; 3], [20.0; 3], [36.7, 36.7, 29.0], [55.6, 31.67, 20.0]];

/// The most that a channel of a tree carries.
pub(super) const TREE: [[f64; 3]; 4] =
    [[26.5, 18.5, 10.0], [24.0, 23.6, 17.8], [38.7, 41.4, 36.0], [70.0, 42.8, 24.0]];

/// The same of a tree over NVLink SHARP.
pub(super) const NVLS_TREE: [[f64; 3]; 4] =
    [[26.5, 18.5, 10.0], [24.0, 23.6, 17.8], [0.0, 57.7, 45.5], [0.0, 96.0, 80.0]];

/// Share of the links that NVLink SHARP makes use of.
pub(super) const NVLS_EFFICIENCY: [f64; 4] = [0.0, 0.0, 0.85, 0.74];

/// What is left of a tree's bandwidth, by the binary logarithm of (bytes / 64).
const TREE_CORRECTION: [[f64; 24]; 3] = [
    [
        1.0, 1.0, 1.0, 1.0, 0.9, 0.8, 0.7, 0.7, 0.7, 0.7, 0.6, 0.5, 0.4, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0,
        1.0, 1.0, 1.0, 1.0,
    ],
    [
        1.0, 1.0, 1.0, 1.0, 1.0, 0.9, 0.8, 0.8, 0.8, 0.7, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6, 0.8, 0.9, 0.9, 0.9,
        0.9, 1.0, 1.0, 1.0,
    ],
    [
        0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.8, 0.7, 0.6, 0.6, 0.5, 0.5, 0.5, 0.5, 0.6, 0.7, 0.8, 0.7, 0.7,
        0.8, 0.9, 0.9, 0.9,
    ],
];

/// What is left of a tree's bandwidth for a message. NCCL looks at the first 23 sizes only.
pub(super) fn tree_correction(protocol: Protocol, bytes: u64) -> f64 {
    let size = (bytes / 64).max(1).ilog2() as usize;
    if size > 22 { 1.0 } else { TREE_CORRECTION[protocol as usize][size] }
}

/// Speeds per channel that the search tries inside a node, falling.
pub(super) const fn speeds_in_node(architecture: Architecture) -> &'static [f64] {
    match architecture {
        Architecture::Pascal | Architecture::Volta | Architecture::Ampere => {
            &[40.0, 30.0, 20.0, 18.0, 15.0, 12.0, 10.0, 9.0, 7.0, 6.0, 5.0, 4.0, 3.0]
        }
        Architecture::Hopper => &[60.0, 50.0, 40.0, 30.0, 24.0, 20.0, 15.0, 12.0, 11.0, 6.0, 3.0],
        Architecture::Blackwell => &[90.0, 80.0, 70.0, 60.0, 50.0, 45.0, 40.0, 30.0, 24.0, 20.0, 19.0, 18.0],
    }
}

/// The same between nodes.
pub(super) const fn speeds_between_nodes(architecture: Architecture) -> &'static [f64] {
    match architecture {
        Architecture::Pascal | Architecture::Volta | Architecture::Ampere => &[
            48.0, 30.0, 28.0, 24.0, 20.0, 18.0, 15.0, 12.0, 10.0, 9.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.4, 1.2,
            0.24, 0.12,
        ],
        Architecture::Hopper => &[
            48.0, 45.0, 42.0, 40.0, 30.0, 24.0, 22.0, 20.0, 17.5, 15.0, 12.0, 6.0, 3.0, 2.4, 1.2, 0.24, 0.12,
        ],
        Architecture::Blackwell => &[
            96.0, 86.0, 80.0, 48.0, 45.1, 42.0, 40.0, 30.0, 24.0, 22.0, 20.0, 17.5, 15.0, 12.0, 6.0, 3.0,
            2.4, 1.2, 0.24, 0.12,
        ],
    }
}
