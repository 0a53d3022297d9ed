//! The hardware catalogue: GPU models and node types, read from `catalog/*.toml` inside the program.

mod machine;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use foretell_fabric::hardware::{self, Network};
use foretell_fabric::node::Cpu;
use foretell_sim::framework;
use foretell_training::Device;
use serde::Deserialize;

use crate::units::ByteSize;

pub use machine::MachineError;

/// GPU models and node types by name.
#[derive(Debug, Clone, PartialEq)]
pub struct Catalog {
    gpus: BTreeMap<String, Gpu>,
    nodes: BTreeMap<String, NodeType>,
    /// Other names of models and types.
    aliases: BTreeMap<String, String>,
}

/// A GPU model. A figure that its source does not publish is `None`. Rates are peaks without sparsity.
#[derive(Debug, Clone, PartialEq)]
pub struct Gpu {
    /// Name, such as `A100-80`.
    pub name: String,
    /// Device memory.
    pub memory_bytes: Option<u64>,
    /// Memory bandwidth in bytes per second.
    pub memory_bytes_per_s: Option<f64>,
    /// FP32 operations per second, without tensor cores.
    pub fp32_flops: Option<f64>,
    /// FP16 operations per second, on tensor cores where there are any.
    pub fp16_flops: Option<f64>,
    /// BF16 operations per second on tensor cores.
    pub bf16_flops: Option<f64>,
    /// FP8 operations per second on tensor cores.
    pub fp8_flops: Option<f64>,
    /// Every NVLink of the GPU together.
    pub nvlink: Option<Link>,
    /// The PCIe slot.
    pub pcie: Option<Link>,
    /// Power limit of the board in watts.
    pub tdp_w: Option<f64>,
    /// Where the figures come from.
    pub source: String,
}

impl Gpu {
    /// What a training job can do with it; `None` where its memory or its bandwidth is not published, or NCCL's model does not
    /// know it.
    pub fn device(&self) -> Option<Device> {
        Some(Device {
            name: self.name.clone(),
            architecture: hardware::Gpu::named(&self.name)?.architecture,
            memory_bytes: self.memory_bytes? as f64,
            memory_bytes_per_s: self.memory_bytes_per_s?,
            fp32_flops: self.fp32_flops,
            fp16_flops: self.fp16_flops,
            bf16_flops: self.bf16_flops,
            fp8_flops: self.fp8_flops,
        })
    }

    /// A number of these on one node.
    pub(crate) fn on_node(&self, count: u32) -> NodeGpus {
        NodeGpus { model: self.name.clone(), count, memory_bytes: self.memory_bytes.unwrap_or(0) }
    }
}

/// A link of a GPU.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Link {
    /// Generation of NVLink or PCIe.
    pub generation: u32,
    /// Bandwidth in one direction, bytes per second.
    pub bytes_per_s: f64,
}

/// A node type: what every node of it has.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeType {
    /// Name, such as `dgx-h100`.
    pub name: String,
    /// Thousandths of a CPU (hardware thread); 0 = none to give.
    pub cpu_milli: u64,
    /// Host memory; 0 = none to give.
    pub memory_bytes: u64,
    /// Most pods (tasks) at once.
    pub max_pods: u32,
    /// The GPUs, all of one model.
    pub gpus: Option<NodeGpus>,
    /// How the GPUs reach each other, where it is known.
    pub interconnect: Option<Interconnect>,
    /// The same link by link, where it is known; nodes of the type share it.
    pub links: Option<Arc<framework::Interconnect>>,
    /// The CPUs, where they are known, for what joins their sockets.
    pub cpu: Option<Cpu>,
    /// The network cards for traffic between nodes, where they are known.
    pub network: Option<NodeNetwork>,
    /// Where the figures come from.
    pub source: String,
}

/// The GPUs of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeGpus {
    /// Model, a name of the catalogue.
    pub model: String,
    /// Number of devices, above 0.
    pub count: u32,
    /// Memory of each device; 0 = not published.
    pub memory_bytes: u64,
}

/// How the GPUs of a node reach each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Interconnect {
    /// Through PCIe only.
    Pcie,
    /// NVLink between some pairs, such as the hybrid cube mesh of the DGX-1.
    NvlinkMesh,
    /// NVLink switches: every pair at full speed.
    Nvswitch,
    /// The same, and with those of the other trays of a rack too: 72 GPUs are one NVLink domain.
    Nvl72,
}

/// The network cards of a node.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NodeNetwork {
    /// Number of cards.
    pub nics: u32,
    /// Bandwidth of each in one direction, bytes per second.
    pub nic_bytes_per_s: f64,
    /// What they are on, where the type says so.
    pub kind: Option<Network>,
}

/// Why catalogue text is no catalogue.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// Not TOML, or not of this shape.
    #[error("failed to parse the catalogue: {0}")]
    Syntax(#[from] toml::de::Error),
    /// An entry contradicts itself or another.
    #[error("failed to read catalogue entry `{name}`: {problem}")]
    Entry {
        /// The entry.
        name: String,
        /// What is wrong with it.
        problem: Cow<'static, str>,
    },
}

impl Catalog {
    /// The catalogue that comes with the program.
    pub fn builtin() -> &'static Self {
        static BUILTIN: LazyLock<Catalog> = LazyLock::new(|| {
            let gpus = include_str!("../catalog/gpus.toml");
            let nodes = include_str!("../catalog/nodes.toml");
            Catalog::parse(gpus, nodes).expect("the built-in catalogue is parsed by a test")
        });
        &BUILTIN
    }

    /// Reads a catalogue from the text of its two files.
    pub fn parse(gpus: &str, nodes: &str) -> Result<Self, CatalogError> {
        let mut catalog = Self { gpus: BTreeMap::new(), nodes: BTreeMap::new(), aliases: BTreeMap::new() };
        for entry in toml::from_str::<GpuEntries>(gpus)?.gpus {
            catalog.claim(&entry.name, &entry.aliases)?;
            let gpu = entry.into_gpu()?;
            catalog.gpus.insert(gpu.name.clone(), gpu);
        }
        for entry in toml::from_str::<NodeEntries>(nodes)?.nodes {
            catalog.claim(&entry.name, &entry.aliases)?;
            let node = entry.into_node_type(&catalog)?;
            catalog.nodes.insert(node.name.clone(), node);
        }
        Ok(catalog)
    }

    fn claim(&mut self, name: &str, aliases: &[String]) -> Result<(), CatalogError> {
        for own in aliases.iter().map(String::as_str).chain([name]) {
            if self.gpu(own).is_some() || self.node_type(own).is_some() {
                return Err(CatalogError::Entry {
                    name: own.to_owned(),
                    problem: "the name is taken".into(),
                });
            }
        }
        self.aliases.extend(aliases.iter().map(|alias| (alias.clone(), name.to_owned())));
        Ok(())
    }

    /// The GPU model of this name or alias.
    pub fn gpu(&self, name: &str) -> Option<&Gpu> {
        self.gpus.get(name).or_else(|| self.gpus.get(self.aliases.get(name)?))
    }

    /// The catalogue's name of a GPU model that a trace may call otherwise; names it does not know stay as they are.
    pub fn canonical_gpu<'a>(&'a self, name: &'a str) -> &'a str {
        self.gpu(name).map_or(name, |gpu| &gpu.name)
    }

    /// The node type of this name or alias.
    pub fn node_type(&self, name: &str) -> Option<&NodeType> {
        self.nodes.get(name).or_else(|| self.nodes.get(self.aliases.get(name)?))
    }

    /// All GPU models by name.
    pub fn gpus(&self) -> impl Iterator<Item = &Gpu> + Clone {
        self.gpus.values()
    }

    /// All node types by name.
    pub fn node_types(&self) -> impl Iterator<Item = &NodeType> + Clone {
        self.nodes.values()
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GpuEntries {
    gpus: Vec<GpuEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GpuEntry {
    name: String,
    #[serde(default)]
    aliases: Vec<String>,
    memory: Option<ByteSize>,
    memory_gb_per_s: Option<f64>,
    fp32_tflops: Option<f64>,
    fp16_tflops: Option<f64>,
    bf16_tflops: Option<f64>,
    fp8_tflops: Option<f64>,
    nvlink_generation: Option<u32>,
    nvlink_gb_per_s: Option<f64>,
    pcie_generation: Option<u32>,
    pcie_gb_per_s: Option<f64>,
    tdp_w: Option<f64>,
    source: String,
}

impl GpuEntry {
    fn into_gpu(self) -> Result<Gpu, CatalogError> {
        let link = |generation: Option<u32>, gb_per_s: Option<f64>| match (generation, gb_per_s) {
            (Some(generation), Some(gb_per_s)) => Ok(Some(Link { generation, bytes_per_s: gb_per_s * 1e9 })),
            (None, None) => Ok(None),
            _ => Err(CatalogError::Entry {
                name: self.name.clone(),
                problem: "a link needs both its generation and its bandwidth".into(),
            }),
        };
        let tera = |value: Option<f64>| value.map(|value| value * 1e12);
        Ok(Gpu {
            memory_bytes: self.memory.map(|memory| memory.0),
            memory_bytes_per_s: self.memory_gb_per_s.map(|value| value * 1e9),
            fp32_flops: tera(self.fp32_tflops),
            fp16_flops: tera(self.fp16_tflops),
            bf16_flops: tera(self.bf16_tflops),
            fp8_flops: tera(self.fp8_tflops),
            nvlink: link(self.nvlink_generation, self.nvlink_gb_per_s)?,
            pcie: link(self.pcie_generation, self.pcie_gb_per_s)?,
            tdp_w: self.tdp_w,
            source: self.source,
            name: self.name,
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NodeEntries {
    nodes: Vec<NodeEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NodeEntry {
    name: String,
    #[serde(default)]
    aliases: Vec<String>,
    cpus: u32,
    memory: ByteSize,
    #[serde(default = "default_max_pods")]
    max_pods: u32,
    gpu: Option<String>,
    #[serde(default)]
    gpus: u32,
    interconnect: Option<Interconnect>,
    nics: Option<u32>,
    nic_gbit_per_s: Option<f64>,
    network: Option<String>,
    pcie: Option<String>,
    nvlinks: Option<String>,
    cpu: Option<String>,
    source: String,
}

/// The default of Kubernetes' kubelet (`maxPods`).
pub(crate) fn default_max_pods() -> u32 {
    110
}

impl NodeEntry {
    fn into_node_type(self, catalog: &Catalog) -> Result<NodeType, CatalogError> {
        let wrong =
            |problem: &'static str| CatalogError::Entry { name: self.name.clone(), problem: problem.into() };
        let gpus = match (&self.gpu, self.gpus) {
            (None, 0) => None,
            (Some(model), count @ 1..) => {
                let model =
                    catalog.gpu(model).ok_or_else(|| wrong("its GPU model is not in the catalogue"))?;
                Some(model.on_node(count))
            }
            _ => return Err(wrong("GPUs need both their model and their number")),
        };
        let links = links(self.gpus, self.pcie.as_deref(), self.nvlinks.as_deref())
            .map_err(|problem| CatalogError::Entry { name: self.name.clone(), problem: problem.into() })?;
        if let Some(links) = &links {
            if self.nics.is_none() && links.nics() > 0 {
                return Err(wrong("`pcie` names another number of network cards than `nics`"));
            }
            if (self.interconnect == Some(Interconnect::Pcie)) != self.nvlinks.is_none() {
                return Err(wrong("`nvlinks` belong to an interconnect other than `pcie`"));
            }
        }
        let network = network(self.nics, self.nic_gbit_per_s, self.network.as_deref(), links.as_deref())
            .map_err(|problem| CatalogError::Entry { name: self.name.clone(), problem: problem.into() })?;
        let cpu = self.cpu.as_deref().map(str::parse::<Cpu>).transpose().map_err(|error| {
            CatalogError::Entry { name: self.name.clone(), problem: error.to_string().into() }
        })?;
        Ok(NodeType {
            cpu,
            cpu_milli: u64::from(self.cpus) * 1000,
            memory_bytes: self.memory.0,
            max_pods: self.max_pods,
            gpus,
            interconnect: self.interconnect,
            links,
            network,
            source: self.source,
            name: self.name,
        })
    }
}

/// The links of a node type from their texts, `None` if it has none; they must be of the type's own GPUs.
pub(crate) fn links(
    gpus: u32,
    pcie: Option<&str>,
    nvlinks: Option<&str>,
) -> Result<Option<Arc<framework::Interconnect>>, String> {
    let Some(pcie) = pcie else {
        return if nvlinks.is_none() { Ok(None) } else { Err("`nvlinks` needs `pcie` too".to_owned()) };
    };
    let links = framework::Interconnect::parse(pcie, nvlinks.unwrap_or_default())
        .map_err(|error| format!("failed to read the links: {error}"))?;
    if links.gpus() != gpus as usize {
        return Err(format!("expected `pcie` to name {gpus} GPUs, got {}", links.gpus()));
    }
    Ok(Some(Arc::new(links)))
}

/// The network cards of a node type; `pcie` must name as many if it names links.
pub(crate) fn network(
    nics: Option<u32>,
    nic_gbit_per_s: Option<f64>,
    kind: Option<&str>,
    links: Option<&framework::Interconnect>,
) -> Result<Option<NodeNetwork>, String> {
    let kind = kind.map(str::parse::<Network>).transpose().map_err(|error| error.to_string())?;
    let (nics, gbit_per_s) = match (nics, nic_gbit_per_s) {
        (None, None) if kind.is_none() => return Ok(None),
        (Some(nics), Some(gbit_per_s)) => (nics, gbit_per_s),
        _ => return Err("network cards need both their number and their speed".to_owned()),
    };
    if links.is_some_and(|links| links.nics() != nics as usize) {
        return Err("`pcie` names another number of network cards than `nics`".to_owned());
    }
    Ok(Some(NodeNetwork { nics, nic_bytes_per_s: gbit_per_s * 1e9 / 8.0, kind }))
}

#[cfg(test)]
mod tests {
    use std::ops::RangeInclusive;

    use super::*;

    fn builtin() -> Catalog {
        Catalog::parse(include_str!("../catalog/gpus.toml"), include_str!("../catalog/nodes.toml")).unwrap()
    }

    fn has_year(source: &str) -> bool {
        source.split(|c: char| !c.is_ascii_digit()).any(|word| word.len() == 4 && word.starts_with("20"))
    }

    #[test]
    fn every_figure_names_a_source_with_a_year() {
        let catalog = builtin();
        let sources = catalog.gpus().map(|gpu| (&gpu.name, &gpu.source));
        for (name, source) in sources.chain(catalog.node_types().map(|node| (&node.name, &node.source))) {
            assert!(source.len() > 20 && has_year(source), "{name}: {source:?}");
        }
    }

    /// A slip of a unit is a factor of 8 or 1000, far outside what any GPU has.
    #[test]
    fn units_of_gpus_are_sane() {
        fn check(name: &str, value: Option<f64>, range: RangeInclusive<f64>) {
            assert!(value.is_none_or(|value| range.contains(&value)), "{name}: {value:?} not in {range:?}");
        }
        for gpu in builtin().gpus() {
            let name = &gpu.name;
            check(name, gpu.memory_bytes.map(|bytes| bytes as f64), 8e9..=400e9);
            check(name, gpu.memory_bytes_per_s, 200e9..=10e12);
            check(name, gpu.fp32_flops, 4e12..=200e12);
            check(name, gpu.fp16_flops, 10e12..=5e15);
            check(name, gpu.bf16_flops, 10e12..=5e15);
            check(name, gpu.nvlink.map(|link| link.bytes_per_s), 50e9..=2e12);
            check(name, gpu.tdp_w, 50.0..=1500.0);
            if let Some(pcie) = gpu.pcie {
                // x16 doubles from 16 GB/s with every generation after the third.
                let expected = 16e9 * f64::from(1 << (pcie.generation - 3));
                assert!((pcie.bytes_per_s - expected).abs() < 1.0, "{name}: {pcie:?}");
            }
        }
    }

    #[test]
    fn units_of_nodes_are_sane() {
        for node in builtin().node_types() {
            // A node type of a trace without CPU and memory has neither.
            assert_eq!(node.cpu_milli == 0, node.memory_bytes == 0, "{}", node.name);
            if node.cpu_milli > 0 {
                assert!((8_000..=512_000).contains(&node.cpu_milli), "{}", node.name);
                let bytes_per_cpu = node.memory_bytes / (node.cpu_milli / 1000);
                assert!((1 << 30..=32 << 30).contains(&bytes_per_cpu), "{}: {bytes_per_cpu}", node.name);
            }
            assert!(node.gpus.as_ref().is_none_or(|gpus| gpus.count <= 16), "{}", node.name);
            if let Some(network) = node.network {
                assert!((2e9..=100e9).contains(&network.nic_bytes_per_s), "{}: {network:?}", node.name);
            }
        }
    }

    #[test]
    fn aliases_lead_to_their_entry() {
        let catalog = builtin();
        assert_eq!(catalog.gpu("V100M16").map(|gpu| gpu.name.as_str()), Some("V100-16"));
        assert_eq!(catalog.node_type("hgx-h100"), catalog.node_type("dgx-h100"));
        assert_eq!(catalog.gpu("dgx-h100"), None);
        assert_eq!(catalog.canonical_gpu("V100M32"), "V100-32");
        assert_eq!(catalog.canonical_gpu("TPU"), "TPU");
    }

    /// The tables of GPU choice that were worked out by hand are about the catalogue's node types.
    #[test]
    fn links_are_those_of_the_tables_of_gpu_choice() {
        let tables = concat!(env!("CARGO_MANIFEST_DIR"), "/../policies/topology/tests/data");
        let mut compared = 0;
        for entry in std::fs::read_dir(tables).unwrap() {
            let path = entry.unwrap().path();
            if !path.file_name().unwrap().to_string_lossy().starts_with("gpus-") {
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            let field = |key: &str| {
                let value = text.lines().find_map(|line| line.strip_prefix(key)).map(str::trim);
                value.unwrap_or_else(|| panic!("{}: {key}", path.display()))
            };
            let expected = framework::Interconnect::parse(field("pcie"), field("nvlinks")).unwrap();
            let catalog = builtin();
            let node = catalog.node_type(field("type")).unwrap();
            assert_eq!(node.links.as_deref(), Some(&expected), "{}", path.display());
            compared += 1;
        }
        assert!(compared >= 4, "{compared} tables");
    }

    #[test]
    fn a_contradiction_is_an_error() {
        const GPU: &str = "[[gpus]]\nname = \"X\"\nsource = \"s\"\n";
        let check = |gpus: &str, node: &str, expected: &str| {
            let nodes =
                format!("[[nodes]]\nname = \"n\"\ncpus = 8\nmemory = \"8 GiB\"\nsource = \"s\"\n{node}");
            let error = Catalog::parse(gpus, &nodes).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        check(GPU, "gpu = \"Y\"\ngpus = 1", "its GPU model is not in the catalogue");
        check(GPU, "gpus = 1", "GPUs need both");
        check(GPU, "gpu = \"X\"", "GPUs need both");
        check(GPU, "nics = 1", "network cards need both");
        check(GPU, "nvlinks = \"all:1\"", "needs `pcie` too");
        check(GPU, "gpu = \"X\"\ngpus = 1\npcie = \"0 x\"", "got `x`");
        check(GPU, "gpu = \"X\"\ngpus = 1\npcie = \"0 1\"", "to name 1 GPUs, got 2");
        check(GPU, "gpu = \"X\"\ngpus = 1\npcie = \"0\"", "other than `pcie`");
        check(
            GPU,
            "gpu = \"X\"\ngpus = 1\npcie = \"0 nic0\"\ninterconnect = \"pcie\"",
            "network cards than `nics`",
        );
        check(&format!("{GPU}tdp_watts = 1"), "", "unknown field `tdp_watts`");
        check(&format!("{GPU}pcie_generation = 4"), "", "a link needs both");
        check(&format!("{GPU}{GPU}"), "", "`X`: the name is taken");
        check(GPU, "aliases = [\"X\"]", "`X`: the name is taken");
    }
}
