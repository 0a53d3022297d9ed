//! The environment variables of NCCL that change what it does.

use thiserror::Error;

use super::{Algorithm, Collective, Protocol};
use crate::hardware::{Interconnect, Machine, Network};

/// A variable: its name, what it takes, what it does here.
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// What it takes.
    pub takes: &'static str,
    /// What it does.
    pub does: &'static str,
}

/// Every variable that is known here.
pub const VARIABLES: [Variable; 31] = {
    const fn variable(name: &'static str, takes: &'static str, does: &'static str) -> Variable {
        Variable { name, takes, does }
    }
    const NOTHING: &str = "accepted; changes no time here";
    [
        variable(
            "NCCL_ALGO",
            "list of Ring, Tree, NVLS, NVLSTree; ^ excludes; per collective as func:list;func:list",
            "algorithms that may be chosen; CollnetDirect, CollnetChain and PAT are known, but not modelled",
        ),
        variable(
            "NCCL_PROTO",
            "list of LL, LL128, Simple; ^ excludes; per collective likewise",
            "protocols that may be chosen",
        ),
        variable("NCCL_P2P_DISABLE", "0 or 1", "1: GPUs of a node reach each other through host memory"),
        variable(
            "NCCL_P2P_LEVEL",
            "LOC, NVL, PIX, PXB, PHB, SYS or 0 to 5",
            "the farthest that GPUs reach each other directly",
        ),
        variable(
            "NCCL_SHM_DISABLE",
            "0 or 1",
            "1: GPUs of a node that reach each other through host memory alone use the NICs",
        ),
        variable("NCCL_IB_DISABLE", "0 or 1", "1: sockets in place of RDMA"),
        variable(
            "NCCL_SOCKET_IFNAME",
            "prefixes; = exact, ^ excludes",
            "interfaces of sockets: eth0, eth1 and so on, one for each NIC",
        ),
        variable("NCCL_IB_HCA", "prefixes; = exact, ^ excludes", "NICs: mlx5_0, mlx5_1 and so on"),
        variable(
            "NCCL_NET_GDR_LEVEL",
            "LOC, PIX, PXB, PHB, SYS or 0 to 5",
            "LOC: what goes to NICs goes through host memory",
        ),
        variable("NCCL_NET_GDR_READ", "0 or 1", NOTHING),
        variable("NCCL_CROSS_NIC", "0, 1 or 2", "1: under --contend rings change rails from node to node"),
        variable(
            "NCCL_PXN_DISABLE",
            "0 or 1",
            "1: under --contend alltoall sends from every NIC to every NIC",
        ),
        variable("NCCL_NVLS_ENABLE", "0, 1 or 2", "0: no NVLink SHARP"),
        variable(
            "NCCL_COLLNET_ENABLE",
            "0 or 1",
            "whether switches of an infiniband-sharp network reduce (the default there)",
        ),
        variable("NCCL_MIN_NCHANNELS", "1 to 64", NOTHING),
        variable("NCCL_MAX_NCHANNELS", "1 to 64", "the most channels"),
        variable("NCCL_MIN_CTAS", "1 to 64", NOTHING),
        variable("NCCL_MAX_CTAS", "1 to 64", "the most channels"),
        variable("NCCL_BUFFSIZE", "bytes", NOTHING),
        variable("NCCL_NTHREADS", "64 to 512", NOTHING),
        variable(
            "NCCL_IB_QPS_PER_CONNECTION",
            "1 to 128",
            "hashed ways of each flow, where routes are hashed",
        ),
        variable("NCCL_IB_SPLIT_DATA_ON_QPS", "0 or 1", NOTHING),
        variable("NCCL_IB_ADAPTIVE_ROUTING", "0 or 1", NOTHING),
        variable(
            "NCCL_SOCKET_NTHREADS",
            "1 to 16",
            "threads of each connection over TCP, each of 5 GB/s at most",
        ),
        variable("NCCL_NSOCKS_PERTHREAD", "1 to 16", "sockets of each thread, each of 2.5 GB/s at most"),
        variable(
            "NCCL_NET_OVERHEAD",
            "nanoseconds",
            "what NCCL takes a call of the network to cost when it chooses",
        ),
        variable("NCCL_PAT_ENABLE", "0 or 1", "accepted; PAT (one GPU for each node) is not modelled"),
        variable("NCCL_P2P_NET_CHUNKSIZE", "bytes", NOTHING),
        variable("NCCL_TOPO_FILE", "path", "accepted, not read: the node type says what hangs where"),
        variable("NCCL_GRAPH_FILE", "path", "accepted, not read: channels follow from what binds"),
        variable("NCCL_TUNER_PLUGIN", "name", "accepted, not loaded: the choice is NCCL's own"),
    ]
};

/// What is wrong with a variable.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum EnvironmentError {
    /// Not of the form NAME=VALUE.
    #[error("expected NAME=VALUE, got `{text}`")]
    NoValue {
        /// What was given.
        text: String,
    },
    /// Not known here.
    #[error("unknown variable `{name}`: expected one of {}", names())]
    Unknown {
        /// Its name.
        name: String,
    },
    /// Not what it takes.
    #[error("{name}: expected {takes}, got `{value}`")]
    BadValue {
        /// Its name.
        name: &'static str,
        /// What it takes.
        takes: &'static str,
        /// What was given.
        value: String,
    },
    /// It leaves no NIC.
    #[error("{name}={value} leaves no NIC of {nics}: they are called {example}0 and so on")]
    NoNic {
        /// Its name.
        name: &'static str,
        /// What was given.
        value: String,
        /// NICs of a node.
        nics: u32,
        /// What their names begin with.
        example: &'static str,
    },
}

fn names() -> String {
    VARIABLES.iter().map(|variable| variable.name).collect::<Vec<_>>().join(", ")
}

/// What may be chosen: for one collective, or for all.
type Allowed<const N: usize> = Vec<(Option<Collective>, [bool; N])>;

/// Variables of NCCL, understood.
#[derive(Clone, PartialEq, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "as many switches as NCCL has")]
pub struct Environment {
    algorithms: Allowed<4>,
    protocols: Allowed<3>,
    reaches_peers: Reach,
    uses_rdma: bool,
    uses_gpu_direct: bool,
    uses_host_memory: bool,
    nvls: bool,
    network_sharp: bool,
    changes_rails: bool,
    uses_proxies: bool,
    max_channels: u32,
    queue_pairs: Option<u32>,
    sockets: Sockets,
    network_overhead_us: Option<f64>,
    /// Which NICs RDMA uses.
    nics: NicFilter,
    /// Which sockets use.
    interfaces: NicFilter,
    without_effect: Vec<&'static str>,
}

/// What sends over TCP.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Sockets {
    /// Threads of each connection.
    pub(super) threads: u32,
    /// Sockets of each thread.
    pub(super) of_thread: u32,
}

/// How far GPUs reach each other directly.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Reach {
    /// Nowhere.
    Nowhere,
    /// By NVLink.
    NvLink,
    /// By PCIe switches too: the default.
    Switches,
    /// Through the host bridge too.
    HostBridge,
    /// From socket to socket too.
    Anywhere,
}

impl Default for Environment {
    fn default() -> Self {
        Self {
            algorithms: Vec::new(),
            protocols: Vec::new(),
            reaches_peers: Reach::Switches,
            uses_rdma: true,
            uses_gpu_direct: true,
            uses_host_memory: true,
            nvls: true,
            network_sharp: true,
            changes_rails: false,
            uses_proxies: true,
            max_channels: 64,
            queue_pairs: None,
            sockets: Sockets { threads: 1, of_thread: 1 },
            network_overhead_us: None,
            nics: NicFilter::default(),
            interfaces: NicFilter::default(),
            without_effect: Vec::new(),
        }
    }
}

/// A choice of NICs by name.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
struct NicFilter {
    names: Vec<String>,
    excludes: bool,
    is_exact: bool,
}

impl NicFilter {
    fn parse(value: &str) -> Self {
        let excludes = value.starts_with('^');
        let rest = value.trim_start_matches('^');
        let is_exact = rest.starts_with('=');
        let names = rest.trim_start_matches('=').split(',').map(str::trim).filter(|name| !name.is_empty());
        // A port is of the NIC before it.
        let names = names.map(|name| name.split(':').next().unwrap_or(name).to_owned()).collect();
        Self { names, excludes, is_exact }
    }

    /// NICs that are left of so many, which are called by a prefix and their number.
    fn left(&self, nics: u32, prefix: &str) -> u32 {
        if self.names.is_empty() {
            return nics;
        }
        let matches = |nic: u32| {
            let name = format!("{prefix}{nic}");
            self.names
                .iter()
                .any(|wanted| if self.is_exact { name == *wanted } else { name.starts_with(wanted.as_str()) })
        };
        (0..nics).filter(|&nic| matches(nic) != self.excludes).count() as u32
    }
}

impl Environment {
    /// From texts like `NCCL_ALGO=Ring`.
    pub fn parse<'a>(variables: impl IntoIterator<Item = &'a str>) -> Result<Self, EnvironmentError> {
        let mut environment = Self::default();
        for text in variables {
            let Some((name, value)) = text.split_once('=') else {
                return Err(EnvironmentError::NoValue { text: text.to_owned() });
            };
            environment.set(name.trim(), value.trim())?;
        }
        Ok(environment)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), EnvironmentError> {
        let Some(variable) = VARIABLES.iter().find(|variable| variable.name == name) else {
            return Err(EnvironmentError::Unknown { name: name.to_owned() });
        };
        let bad = || EnvironmentError::BadValue {
            name: variable.name,
            takes: variable.takes,
            value: value.to_owned(),
        };
        let flag = || match value {
            "0" => Ok(false),
            "1" => Ok(true),
            _ => Err(bad()),
        };
        let number = |least: u32, most: u32| {
            value.parse().ok().filter(|number| (least..=most).contains(number)).ok_or_else(bad)
        };
        match name {
            "NCCL_ALGO" => {
                let known = ["CollnetDirect", "CollnetChain", "PAT"];
                self.algorithms =
                    allowed(value, &Algorithm::ALL.map(Algorithm::name), &known).ok_or_else(bad)?;
            }
            "NCCL_PROTO" => {
                self.protocols = allowed(value, &Protocol::ALL.map(Protocol::name), &[]).ok_or_else(bad)?;
            }
            "NCCL_P2P_DISABLE" => {
                if flag()? {
                    self.reaches_peers = Reach::Nowhere;
                }
            }
            "NCCL_P2P_LEVEL" => {
                self.reaches_peers = match value {
                    "LOC" | "0" => Reach::Nowhere,
                    "NVL" | "1" => Reach::NvLink,
                    "PIX" | "PXB" | "2" | "3" => Reach::Switches,
                    "PHB" | "4" => Reach::HostBridge,
                    "SYS" | "5" => Reach::Anywhere,
                    _ => return Err(bad()),
                };
            }
            "NCCL_IB_DISABLE" => self.uses_rdma = !flag()?,
            "NCCL_SOCKET_IFNAME" => self.interfaces = NicFilter::parse(value),
            "NCCL_IB_HCA" => self.nics = NicFilter::parse(value),
            "NCCL_NET_GDR_LEVEL" => {
                self.uses_gpu_direct = match value {
                    "LOC" | "0" => false,
                    "PIX" | "PXB" | "PHB" | "SYS" | "1" | "2" | "3" | "4" | "5" => true,
                    _ => return Err(bad()),
                };
            }
            "NCCL_SHM_DISABLE" => self.uses_host_memory = !flag()?,
            "NCCL_CROSS_NIC" => self.changes_rails = number(0, 2)? == 1,
            "NCCL_PXN_DISABLE" => self.uses_proxies = !flag()?,
            "NCCL_IB_QPS_PER_CONNECTION" => self.queue_pairs = Some(number(1, 128)?),
            "NCCL_SOCKET_NTHREADS" => self.sockets.threads = number(1, 16)?,
            "NCCL_NSOCKS_PERTHREAD" => self.sockets.of_thread = number(1, 16)?,
            "NCCL_NET_OVERHEAD" => self.network_overhead_us = Some(f64::from(number(0, u32::MAX)?) / 1e3),
            "NCCL_NVLS_ENABLE" => self.nvls = number(0, 2)? > 0,
            "NCCL_COLLNET_ENABLE" => self.network_sharp = flag()?,
            "NCCL_MAX_NCHANNELS" | "NCCL_MAX_CTAS" => {
                self.max_channels = self.max_channels.min(number(1, 64)?);
            }
            _ => {
                match name {
                    "NCCL_BUFFSIZE" | "NCCL_P2P_NET_CHUNKSIZE" => number(1, u32::MAX).map(|_| ()),
                    "NCCL_TOPO_FILE" | "NCCL_GRAPH_FILE" | "NCCL_TUNER_PLUGIN" => Ok(()),
                    "NCCL_NTHREADS" => number(64, 512).map(|_| ()),
                    "NCCL_MIN_NCHANNELS" | "NCCL_MIN_CTAS" => number(1, 64).map(|_| ()),
                    _ => flag().map(|_| ()),
                }?;
                self.without_effect.push(variable.name);
            }
        }
        Ok(())
    }

    /// Variables that were set and change no time here.
    pub fn without_effect(&self) -> &[&'static str] {
        &self.without_effect
    }

    /// Says which NICs there are not, if a choice of NICs leaves none of so many.
    pub fn check_nics(&self, nics: u32) -> Result<(), EnvironmentError> {
        let (filter, name, example) = if self.uses_rdma {
            (&self.nics, "NCCL_IB_HCA", "mlx5_")
        } else {
            (&self.interfaces, "NCCL_SOCKET_IFNAME", "eth")
        };
        if nics > 0 && filter.left(nics, example) == 0 {
            let signs = format!(
                "{}{}",
                if filter.excludes { "^" } else { "" },
                if filter.is_exact { "=" } else { "" }
            );
            let value = format!("{signs}{}", filter.names.join(","));
            return Err(EnvironmentError::NoNic { name, value, nics, example });
        }
        Ok(())
    }

    pub(super) fn allows(&self, collective: Collective, algorithm: Algorithm, protocol: Protocol) -> bool {
        let of = |function: Option<Collective>| function.is_none_or(|function| function == collective);
        // The last that is said of it holds.
        let algorithms = self.algorithms.iter().rev().find(|(function, _)| of(*function));
        let protocols = self.protocols.iter().rev().find(|(function, _)| of(*function));
        algorithms.is_none_or(|(_, allowed)| allowed[algorithm as usize])
            && protocols.is_none_or(|(_, allowed)| allowed[protocol as usize])
    }

    pub(super) const fn has_nvls(&self) -> bool {
        self.nvls
    }

    pub(super) const fn has_network_sharp(&self) -> bool {
        self.network_sharp
    }

    pub(super) const fn has_gpu_direct(&self) -> bool {
        self.uses_gpu_direct
    }

    pub(super) const fn max_channels(&self) -> u32 {
        self.max_channels
    }

    pub(super) const fn sockets(&self) -> Sockets {
        self.sockets
    }

    /// What NCCL takes a call of the network to cost, where it is told.
    pub(super) const fn network_overhead_us(&self) -> Option<f64> {
        self.network_overhead_us
    }

    /// Queue pairs of each connection, where it is told.
    pub const fn queue_pairs(&self) -> Option<u32> {
        self.queue_pairs
    }

    /// Whether rings go from one rail to another between nodes.
    pub const fn changes_rails(&self) -> bool {
        self.changes_rails
    }

    /// Whether data change rails inside a node on their way to another (PXN).
    pub const fn uses_proxies(&self) -> bool {
        self.uses_proxies
    }

    /// The machine as NCCL sees it under these variables.
    pub fn applied_to(&self, machine: &Machine) -> Machine {
        let mut machine = machine.clone();
        if self.uses_rdma {
            machine.nics = self.nics.left(machine.nics, "mlx5_");
        } else {
            machine.nics = self.interfaces.left(machine.nics, "eth");
            machine.network = machine.network.map(|_| Network::Tcp);
        }
        machine.interconnect = match (self.reaches_peers, machine.interconnect) {
            (Reach::Nowhere, kind @ (Interconnect::PcieCrossSocket | Interconnect::Nics)) => kind,
            (Reach::Nowhere, kind) if kind.is_nvlink() || kind != Interconnect::PcieHost => {
                Interconnect::PcieHost
            }
            (Reach::NvLink, Interconnect::PcieSwitch | Interconnect::PcieHostPeer) => Interconnect::PcieHost,
            (Reach::HostBridge | Reach::Anywhere, Interconnect::PcieHost) => Interconnect::PcieHostPeer,
            (_, kind) => kind,
        };
        let by_host = matches!(machine.interconnect, Interconnect::PcieHost | Interconnect::PcieCrossSocket);
        if by_host && !self.uses_host_memory {
            machine.interconnect = Interconnect::Nics;
        }
        machine
    }
}

/// A list of names, or lists by collective. Of `known` names nothing is there to be allowed or not.
fn allowed<const N: usize>(value: &str, names: &[&str; N], known: &[&str]) -> Option<Allowed<N>> {
    let mut found = Vec::new();
    for part in value.split(';').filter(|part| !part.trim().is_empty()) {
        let (function, list) = match part.split_once(':') {
            Some((function, list)) => (Some(nccl_function(function.trim())?), list),
            None => (None, part),
        };
        let list = list.trim();
        let (excludes, list) = list.strip_prefix('^').map_or((false, list), |rest| (true, rest));
        let mut allowed = [excludes; N];
        for name in list.split(',').map(str::trim) {
            if known.iter().any(|known| known.eq_ignore_ascii_case(name)) {
                continue;
            }
            let index = names.iter().position(|known| known.eq_ignore_ascii_case(name))?;
            allowed[index] = !excludes;
        }
        found.push((function, allowed));
    }
    (!found.is_empty()).then_some(found)
}

/// NCCL's own names of collectives, in any case, and those of nccl-tests.
fn nccl_function(name: &str) -> Option<Collective> {
    let plain = name.to_ascii_lowercase().replace('_', "");
    Some(match plain.as_str() {
        "allreduce" => Collective::AllReduce,
        "allgather" => Collective::AllGather,
        "reducescatter" => Collective::ReduceScatter,
        "broadcast" => Collective::Broadcast,
        "reduce" => Collective::Reduce,
        _ => return None,
    })
}
