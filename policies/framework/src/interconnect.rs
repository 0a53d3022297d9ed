//! How the GPUs and network cards of one node reach each other: levels with an order, and numbers of NVLinks. What a
//! level is worth in bytes per second is not said here.
//!
//! Nodes are described in two short texts, after what `nvidia-smi topo -m` shows of them. The first lists the devices as
//! they hang in the PCIe tree, GPUs by number and network cards as `nic0`, `nic1`, ..; what stands between two devices
//! says what their path crosses:
//!
//! ```text
//! blank   one PCIe switch                                       PIX
//! +       several PCIe switches                                 PXB
//! ,       the host bridge of the CPU                            PHB
//! ;       several host bridges of one NUMA node                 NODE
//! |       the link between NUMA nodes (sockets)                 SYS
//!
//! 0 1 nic0, 2 3 nic1 | 4 5 nic2, 6 7 nic3                       a DGX-1
//! ```
//!
//! The second gives the number of NVLinks between GPUs: `all:12` for every pair, or pair by pair, `0-1:1 0-3:2`.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

use thiserror::Error;

use crate::gpu::{GpuSet, MAX_GPUS_PER_NODE};

/// What a path over PCIe crosses, worst first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum PciePath {
    /// The link between NUMA nodes (SYS).
    System,
    /// The interconnect between the host bridges of a NUMA node (NODE).
    Node,
    /// The host bridge of a CPU (PHB).
    HostBridge,
    /// Several PCIe switches, but no host bridge (PXB).
    MultiSwitch,
    /// One PCIe switch (PIX).
    SingleSwitch,
}

/// What stands between devices in the text, from the loosest bond to the closest; a blank bonds closest of all.
const BONDS: [(char, PciePath); 4] = [
    ('|', PciePath::System),
    (';', PciePath::Node),
    (',', PciePath::HostBridge),
    ('+', PciePath::MultiSwitch),
];

/// How two GPUs of a node reach each other.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Link {
    /// Number of NVLinks between them; 0 where they have only PCIe.
    pub nvlinks: u8,
    /// Their path over PCIe, which is there in any case.
    pub path: PciePath,
}

/// The name under which a link is known, worst first: any NVLink is better than every PCIe path.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum LinkLevel {
    /// PCIe alone.
    Pcie(PciePath),
    /// So many NVLinks.
    Nvlink(u8),
}

impl Link {
    /// By what it is known.
    pub const fn level(self) -> LinkLevel {
        match self.nvlinks {
            0 => LinkLevel::Pcie(self.path),
            nvlinks => LinkLevel::Nvlink(nvlinks),
        }
    }

    /// What it counts in a sum over pairs: 10 (SYS) to 50 (PIX) for the path, and 100 for each NVLink, as NVIDIA's
    /// `go-gpuallocator` scores a pair.
    pub const fn weight(self) -> u32 {
        (self.path as u32 + 1) * 10 + self.nvlinks as u32 * 100
    }
}

impl fmt::Display for LinkLevel {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pcie(path) => path.fmt(formatter),
            Self::Nvlink(nvlinks) => write!(formatter, "NV{nvlinks}"),
        }
    }
}

impl fmt::Display for PciePath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::System => "SYS",
            Self::Node => "NODE",
            Self::HostBridge => "PHB",
            Self::MultiSwitch => "PXB",
            Self::SingleSwitch => "PIX",
        })
    }
}

/// The links of a node's GPUs to each other and to its network cards.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Interconnect {
    /// A row of links per GPU. Its link to itself is never looked at.
    links: Box<[Link]>,
    /// A row of paths to network cards per GPU.
    nic_paths: Box<[PciePath]>,
    /// The NUMA node of each GPU.
    numa_nodes: Box<[u8]>,
    nics: usize,
}

/// Why a text describes no interconnect.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum InterconnectError {
    /// A word that names no device.
    #[error("expected the number of a GPU or a network card such as `nic0`, got `{0}`")]
    Device(Box<str>),
    /// Devices must be numbered from 0 without gaps.
    #[error("expected every number from 0 exactly once, `{0}` is missing or named twice")]
    Numbering(Box<str>),
    /// More devices than a [`GpuSet`] holds.
    #[error("expected at most {MAX_GPUS_PER_NODE} GPUs and as many network cards")]
    TooMany,
    /// A word that gives no number of NVLinks.
    #[error("expected a pair of GPUs with its number of NVLinks such as `0-1:2`, or `all:12`, got `{0}`")]
    Nvlinks(Box<str>),
}

/// A device's groups in the PCIe tree, from its NUMA node down.
type Place = [u8; BONDS.len()];

/// The closest path between two places.
fn path(left: Place, right: Place) -> PciePath {
    let apart = BONDS.iter().zip(left.iter().zip(&right)).find(|(_, (left, right))| left != right);
    apart.map_or(PciePath::SingleSwitch, |(&(_, path), _)| path)
}

impl Interconnect {
    /// Reads the two texts (see the module). `nvlinks` is empty where there are none.
    pub fn parse(pcie: &str, nvlinks: &str) -> Result<Self, InterconnectError> {
        let (gpus, nics) = places(pcie)?;
        let count = gpus.len();
        let mut links: Box<[_]> = gpus
            .iter()
            .flat_map(|&left| gpus.iter().map(move |&right| Link { nvlinks: 0, path: path(left, right) }))
            .collect();
        for word in nvlinks.split_whitespace() {
            let wrong = || InterconnectError::Nvlinks(word.into());
            let (pair, number) = word.split_once(':').ok_or_else(wrong)?;
            let number = number.parse().map_err(|_| wrong())?;
            if pair == "all" {
                links.iter_mut().for_each(|link| link.nvlinks = number);
                continue;
            }
            let (left, right) = pair.split_once('-').ok_or_else(wrong)?;
            let gpu = |text: &str| text.parse().ok().filter(|&gpu: &usize| gpu < count).ok_or_else(wrong);
            let (left, right) = (gpu(left)?, gpu(right)?);
            if left == right {
                return Err(wrong());
            }
            links[left * count + right].nvlinks = number;
            links[right * count + left].nvlinks = number;
        }
        Ok(Self {
            links,
            nic_paths: gpus.iter().flat_map(|&gpu| nics.iter().map(move |&nic| path(gpu, nic))).collect(),
            numa_nodes: gpus.iter().map(|place| place[0]).collect(),
            nics: nics.len(),
        })
    }

    /// Number of GPUs.
    pub const fn gpus(&self) -> usize {
        self.numa_nodes.len()
    }

    /// Number of network cards.
    pub const fn nics(&self) -> usize {
        self.nics
    }

    /// How two different GPUs reach each other.
    pub fn link(&self, left: usize, right: usize) -> Link {
        self.links[left * self.gpus() + right]
    }

    /// How a GPU reaches a network card.
    pub fn nic_path(&self, gpu: usize, nic: usize) -> PciePath {
        self.nic_paths[gpu * self.nics + nic]
    }

    /// The worst link between any two GPUs of a set; `None` if there are no two.
    pub fn worst_link(&self, gpus: GpuSet) -> Option<LinkLevel> {
        self.pairs(gpus).map(Link::level).min()
    }

    /// Sum of the weights of the links between all pairs of a set.
    pub fn total_weight(&self, gpus: GpuSet) -> u32 {
        self.pairs(gpus).map(Link::weight).sum()
    }

    fn pairs(&self, gpus: GpuSet) -> impl Iterator<Item = Link> {
        gpus.iter().flat_map(move |left| {
            let before = gpus.iter().take_while(move |&right| right < left);
            before.map(move |right| self.link(left, right))
        })
    }

    /// The NUMA node (socket) at which a GPU hangs.
    pub fn numa_node(&self, gpu: usize) -> u8 {
        self.numa_nodes[gpu]
    }

    /// The network cards to which a GPU has the shortest path, in ascending order.
    pub fn nearest_nics(&self, gpu: usize) -> impl Iterator<Item = usize> {
        let paths = &self.nic_paths[gpu * self.nics..][..self.nics];
        let best = paths.iter().max();
        paths.iter().enumerate().filter(move |&(_, path)| Some(path) == best).map(|(nic, _)| nic)
    }
}

/// Where GPUs and network cards hang, in order of their numbers.
fn places(pcie: &str) -> Result<(Vec<Place>, Vec<Place>), InterconnectError> {
    let mut found = [Vec::new(), Vec::new()];
    let mut place = Place::default();
    for part in pcie.split_inclusive(|c| BONDS.iter().any(|&(bond, _)| bond == c)) {
        let bond = BONDS.iter().position(|&(bond, _)| part.ends_with(bond));
        for word in part.trim_end_matches(|c| BONDS.iter().any(|&(bond, _)| bond == c)).split_whitespace() {
            let (kind, number) = word.strip_prefix("nic").map_or((0, word), |number| (1, number));
            let number: usize = number.parse().map_err(|_| InterconnectError::Device(word.into()))?;
            found[kind].push((number, word, place));
        }
        if let Some(level) = bond {
            // Groups are numbered through, so that those of different parents differ too.
            place[level] = place[level].checked_add(1).ok_or(InterconnectError::TooMany)?;
        }
    }
    let [gpus, nics] = found.map(|mut devices| {
        devices.sort_unstable_by_key(|&(number, ..)| number);
        let mut places = vec![];
        for (expected, (number, word, place)) in devices.into_iter().enumerate() {
            if number != expected {
                return Err(InterconnectError::Numbering(word.into()));
            }
            places.push(place);
        }
        if places.len() > MAX_GPUS_PER_NODE { Err(InterconnectError::TooMany) } else { Ok(places) }
    });
    Ok((gpus?, nics?))
}

#[cfg(test)]
mod tests {
    use std::string::{String, ToString};

    use super::*;

    #[track_caller]
    fn check(pcie: &str, nvlinks: &str, expected: &[&str]) {
        let interconnect = Interconnect::parse(pcie, nvlinks).unwrap();
        let rows = (0..interconnect.gpus()).map(|gpu| {
            let links = (0..interconnect.gpus()).map(|other| {
                if other == gpu { "X".to_string() } else { interconnect.link(gpu, other).level().to_string() }
            });
            let nics = (0..interconnect.nics()).map(|nic| interconnect.nic_path(gpu, nic).to_string());
            links.chain(nics).collect::<Vec<String>>().join(" ")
        });
        assert_eq!(rows.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn what_stands_between_two_devices_is_their_path() {
        check("0", "", &["X"]);
        check("0 1", "", &["X PIX", "PIX X"]);
        check(
            "0 nic0 + 1, 2; 3 | 4",
            "",
            &[
                "X PXB PHB NODE SYS PIX",
                "PXB X PHB NODE SYS PXB",
                "PHB PHB X NODE SYS PHB",
                "NODE NODE NODE X SYS NODE",
                "SYS SYS SYS SYS X SYS",
            ],
        );
        // Groups of different parents are different groups.
        check("0+1|2+3", "", &["X PXB SYS SYS", "PXB X SYS SYS", "SYS SYS X PXB", "SYS SYS PXB X"]);
        check("2 0 | 1", "0-1:4", &["X NV4 PIX", "NV4 X SYS", "PIX SYS X"]);
        check("0 | 1", "all:12", &["X NV12", "NV12 X"]);
    }

    #[test]
    fn any_nvlink_is_better_than_pcie() {
        let mut levels = [PciePath::System, PciePath::SingleSwitch, PciePath::HostBridge]
            .map(|path| Link { nvlinks: 0, path })
            .into_iter()
            .chain([2, 1].map(|nvlinks| Link { nvlinks, path: PciePath::System }))
            .map(Link::level)
            .collect::<Vec<_>>();
        levels.sort_unstable();
        let names: Vec<_> = levels.iter().map(LinkLevel::to_string).collect();
        assert_eq!(names, ["SYS", "PHB", "PIX", "NV1", "NV2"]);
    }

    #[test]
    fn sockets_and_nearest_cards() {
        let interconnect = Interconnect::parse("0 nic0, 1 nic1 nic2 | 2", "").unwrap();
        let numa: Vec<_> = (0..3).map(|gpu| interconnect.numa_node(gpu)).collect();
        assert_eq!(numa, [0, 0, 1]);
        let nearest = |gpu| interconnect.nearest_nics(gpu).collect::<Vec<_>>();
        assert_eq!([nearest(0), nearest(1), nearest(2)], [vec![0], vec![1, 2], vec![0, 1, 2]]);
    }

    #[test]
    fn what_is_no_interconnect_is_refused() {
        #[track_caller]
        fn check(pcie: &str, nvlinks: &str, expected: &str) {
            let message = Interconnect::parse(pcie, nvlinks).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
        check("0 a", "", "got `a`");
        check("0 nic", "", "got `nic`");
        check("0 2", "", "`2` is missing or named twice");
        check("0 0", "", "`0` is missing or named twice");
        check("0 nic1", "", "`nic1` is missing");
        check("0 1", "0-2:1", "got `0-2:1`");
        check("0 1", "0-0:1", "got `0-0:1`");
        check("0 1", "0-1", "got `0-1`");
        check("0 1", "all:x", "got `all:x`");
        check(&"|".repeat(300), "", "at most 64");
        let many = (0..65).map(|gpu| gpu.to_string()).collect::<Vec<_>>().join(" ");
        check(&many, "", "at most 64");
    }
}
