//! Rows of `training_measured.csv`, and the jobs that they describe.

use std::collections::BTreeMap;
use std::path::Path;

use foretell_fabric::collectives::Environment;
use foretell_fabric::hardware::{Gpu, Interconnect, Machine, Network, Ranks};
use foretell_scenarios::catalog::Catalog;
use foretell_training::kernels::Calibration;
use foretell_training::memory::GIB;
use foretell_training::model::Kind;
use foretell_training::plan::{Attention, DataParallel, Loss, Recompute};
use foretell_training::{Device, Memory, Model, ModelCatalog, Plan, Precision, Setup, Step, memory, step};
use serde::Deserialize;

use crate::DataError;
use crate::rows::read_rows;

/// The columns that are read.
#[derive(Deserialize)]
struct CsvRow {
    source: String,
    confidence: String,
    model: String,
    params: Option<f64>,
    hardware: String,
    gpus: String,
    gpus_per_node: Option<u32>,
    interconnect: String,
    seq_len: Option<u32>,
    global_batch_seqs: Option<u32>,
    micro_batch: Option<u32>,
    parallelism: String,
    precision: String,
    act_ckpt: String,
    step_time_s: Option<f64>,
    tokens_per_s_per_gpu: Option<f64>,
    mfu_pct: Option<String>,
    note: String,
}

/// Who measured, which says what a row is judged by.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Kinship {
    /// FSDP with what the columns say: constants are fitted to these.
    Foundry,
    /// Step times that Calculon predicts too.
    Megatron,
    /// Time to train, told as samples a second.
    MlPerf,
    /// A share of linear scaling.
    Scaling,
    /// Anything else.
    Other,
}

/// A measured job.
#[derive(Clone, Debug)]
pub(super) struct Measured {
    pub(super) line: u64,
    pub(super) kinship: Kinship,
    /// Source in short.
    pub(super) source: String,
    /// Whether the row was not re-read from its paper.
    pub(super) is_recalled: bool,
    pub(super) model: Model,
    pub(super) device: Device,
    pub(super) machine: Machine,
    pub(super) ranks: Ranks,
    pub(super) plan: Plan,
    /// Seconds of a step, if that was measured.
    pub(super) step_s: Option<f64>,
    /// Samples a second.
    pub(super) samples_per_s: Option<f64>,
    /// Model FLOPs utilisation in per cent, where it is given.
    pub(super) mfu_percent: Option<f64>,
    /// Peak of a GPU's memory.
    pub(super) peak_bytes: Option<f64>,
    /// Share of linear scaling, in per cent.
    pub(super) efficiency_percent: Option<f64>,
    environment: Environment,
    collectives: foretell_fabric::collectives::Calibration,
}

impl Measured {
    fn setup<'a>(&'a self, plan: &'a Plan, ranks: Ranks, calibration: &'a Calibration) -> Setup<'a> {
        Setup {
            model: &self.model,
            device: &self.device,
            machine: &self.machine,
            ranks,
            plan,
            environment: &self.environment,
            calibration,
            collectives: &self.collectives,
            network_share: 1.0,
        }
    }

    pub(super) fn step(&self, calibration: &Calibration) -> Option<Step> {
        step(&self.setup(&self.plan, self.ranks, calibration)).ok()
    }

    pub(super) fn memory(&self) -> Memory {
        memory(&self.setup(&self.plan, self.ranks, &Calibration::default()))
    }

    /// Samples a second of all GPUs over so many times those of one GPU alone.
    pub(super) fn efficiency(&self, calibration: &Calibration) -> Option<f64> {
        let all = self.step(calibration)?.samples_per_s;
        let alone = Plan {
            data: 1,
            global_batch: self.plan.micro_batch,
            data_parallel: DataParallel::Replicated,
            ..self.plan.clone()
        };
        let ranks = Ranks { per_node: 1, nodes: 1 };
        let one = step(&self.setup(&alone, ranks, calibration)).ok()?.samples_per_s;
        Some(all / (one * f64::from(self.plan.gpus())))
    }

    /// Natural logarithm of predicted over measured seconds of a step.
    pub(super) fn log_error(&self, calibration: &Calibration) -> Option<f64> {
        Some((self.step(calibration)?.time_s / self.step_s?).ln())
    }

    /// MFU in per cent of a step of so many seconds.
    pub(super) fn mfu_of(&self, step_s: f64) -> f64 {
        let flops =
            self.model.flops_per_sample(self.plan.sequence_length) * f64::from(self.plan.global_batch);
        let peak = self.device.peak_flops(self.plan.precision).unwrap_or(f64::INFINITY);
        100.0 * flops / (step_s * f64::from(self.plan.gpus()) * peak)
    }
}

/// All rows that make a job, and why others do not.
pub(super) struct Read {
    pub(super) rows: Vec<Measured>,
    /// How many for each source and reason.
    pub(super) skipped: BTreeMap<(String, String), usize>,
}

/// Reads a file of measurements.
pub(super) fn read(path: &Path) -> Result<Read, DataError> {
    let mut read = Read { rows: Vec::new(), skipped: BTreeMap::new() };
    for (line, row) in read_rows::<CsvRow>(path)? {
        match measured(line, &row) {
            Ok(row) => read.rows.push(row),
            Err(reason) => {
                *read.skipped.entry((short(&row.source), reason)).or_default() += 1;
            }
        }
    }
    Ok(read)
}

/// A row as a job: built from its columns.
fn measured(line: u64, row: &CsvRow) -> Result<Measured, String> {
    let kinship = kinship(row);
    let gpus: u32 = row.gpus.parse().map_err(|_| format!("no one number of GPUs: `{}`", row.gpus))?;
    let per_node = row.gpus_per_node.ok_or("no GPUs per node")?.min(gpus);
    if per_node == 0 || !gpus.is_multiple_of(per_node) {
        return Err(format!("{per_node} GPUs on a node do not divide {gpus}"));
    }
    let device = device(&row.hardware)?;
    let machine = machine(&device, row)?;
    let mut ranks = Ranks { per_node, nodes: gpus / per_node };
    if row.parallelism.contains("DiffServer") {
        ranks = Ranks { per_node: 1, nodes: gpus };
    }
    let sequence_length = row.seq_len;
    let model = model(row, sequence_length)?;
    let mut plan = plan(row, &model, gpus)?;
    if let Some(length) = sequence_length {
        plan.sequence_length = length;
    }
    plan.micro_batch = match (row.micro_batch, row.global_batch_seqs) {
        (Some(micro), _) => micro,
        (None, Some(global))
            if plan.pipeline == 1 && plan.data_parallel != DataParallel::OptimizerSharded =>
        {
            (global / plan.data).max(1)
        }
        // Torchtitan's pipelines have as many micro-batches as stages where nothing else is told; that interleaving makes its 405B 1.28
        // times as fast says 9.
        (None, Some(global)) if row.source.contains("torchtitan") => {
            (global / plan.data / plan.pipeline).max(1)
        }
        (None, Some(_)) => 1,
        // Horovod's and TensorFlow's own benchmarks.
        (None, None) if !matches!(model.kind, Kind::Transformer(_)) => 64,
        (None, None) => return Err("no batch size".to_owned()),
    };
    if kinship == Kinship::Megatron && model.name == "megatron-gpt-22b" {
        // The paper's table 3 has 4, and only that gives its activations of 59.3 GiB.
        plan.micro_batch = 4;
    }
    plan.global_batch = row.global_batch_seqs.unwrap_or(plan.micro_batch * plan.data);
    plan.check(&model).map_err(|error| error.to_string())?;
    let tokens = f64::from(plan.global_batch) * f64::from(plan.sequence_length);
    let from_tokens = row.tokens_per_s_per_gpu.map(|rate| tokens / (rate * f64::from(gpus)));
    let number_after = |text: &str, before: &str| {
        text.split(before).nth(1).and_then(|rest| {
            rest.trim_start().split(|char: char| !(char.is_ascii_digit() || char == '.')).next()?.parse().ok()
        })
    };
    let number_before = |text: &str, after: &str| {
        let (before, _) = text.split_once(after)?;
        before.trim_end().rsplit(|char: char| !(char.is_ascii_digit() || char == '.')).next()?.parse().ok()
    };
    let note = row.note.as_str();
    let samples: Option<f64> = number_after(note, "throughput ").or_else(|| number_before(note, "img/s"));
    Ok(Measured {
        line,
        kinship,
        source: short(&row.source),
        is_recalled: row.confidence.contains("recalled"),
        model,
        device,
        machine,
        ranks,
        plan,
        step_s: row.step_time_s.or(from_tokens).filter(|&seconds| seconds > 0.0),
        samples_per_s: samples.filter(|&rate: &f64| rate > 0.0),
        mfu_percent: row.mfu_pct.as_deref().and_then(|text| text.parse().ok()),
        peak_bytes: number_after(note, "peak mem ").map(|gib: f64| gib * GIB),
        efficiency_percent: number_after(note, "scaling efficiency "),
        environment: Environment::default(),
        collectives: foretell_fabric::collectives::Calibration::default(),
    })
}

fn kinship(row: &CsvRow) -> Kinship {
    if row.source.contains("llm-foundry") {
        Kinship::Foundry
    } else if row.source.contains("Korthikanti") {
        Kinship::Megatron
    } else if row.source.contains("MLPerf") {
        Kinship::MlPerf
    } else if row.note.contains("scaling efficiency") {
        Kinship::Scaling
    } else {
        Kinship::Other
    }
}

/// A source in a few words.
fn short(source: &str) -> String {
    let known = [
        ("llm-foundry", "llm-foundry"),
        ("2104.04473", "Megatron 2021"),
        ("Korthikanti", "Korthikanti 2022"),
        ("MegaScale", "MegaScale"),
        ("Llama 3 Herd", "Llama 3"),
        ("torchtitan", "torchtitan"),
        ("IBM", "FSDP blog 2024"),
        ("FSDP blog", "FSDP 2023"),
        ("B200", "B200 recipes"),
        ("MLPerf", "MLPerf v4.0"),
        ("Philly", "Philly"),
        ("Horovod", "Horovod"),
        ("deepops", "DeepOps"),
        ("Megatron-LM", "Megatron-LM"),
    ];
    let found = known.iter().find(|(part, _)| source.contains(part));
    found.map_or_else(|| source.chars().take(24).collect(), |&(_, name)| name.to_owned())
}

/// The GPU that a text such as `A100-80GB SXM (Selene)` or `h100_80gb` names.
fn device(hardware: &str) -> Result<Device, String> {
    let text = hardware.to_ascii_uppercase();
    let found = ["GB200", "B200", "H200", "H100", "A100", "V100", "P100", "L40S"];
    let family = found.iter().find(|family| text.contains(**family));
    let name = match family {
        Some(&"A100") if text.contains("40GB") => "A100-40",
        Some(&"A100") => "A100-80",
        Some(&"V100") => "V100-32",
        Some(&family) => family,
        None => return Err(format!("unknown GPU `{hardware}`")),
    };
    let gpu = Catalog::builtin().gpu(name).and_then(foretell_scenarios::catalog::Gpu::device);
    let mut device = gpu.ok_or_else(|| format!("{name} has too few figures"))?;
    if text.contains("96GB") {
        device.memory_bytes = 96.0 * GIB;
    }
    Ok(device)
}

/// The node, from the columns of the hardware; NICs as of its DGX where they are not stated.
fn machine(device: &Device, row: &CsvRow) -> Result<Machine, String> {
    let gpu = Gpu::named(&device.name).ok_or_else(|| format!("unknown GPU `{}`", device.name))?;
    let gpus = row.gpus_per_node.unwrap_or(8);
    let is_card = row.hardware.contains("PCIe") || ["P100", "L40S"].contains(&device.name.as_str());
    let interconnect = match (is_card, device.name.starts_with("V100")) {
        (true, _) => Interconnect::PcieHostPeer,
        (false, true) => Interconnect::NvLinkMesh,
        (false, false) => Interconnect::NvSwitch,
    };
    let text = row.interconnect.as_str();
    let usual = match device.name.as_str() {
        "A100-40" | "A100-80" => 200.0,
        "L40S" | "P100" | "V100-32" => 100.0,
        _ => 400.0,
    };
    let (nics, gbps) = nics(text, gpus).unwrap_or((if is_card { 1 } else { gpus }, usual));
    let network = [("EFA", Network::Efa), ("RoCE", Network::Roce), ("TCP", Network::Tcp)];
    let network = network.iter().find(|(part, _)| text.contains(part));
    let network = network.map_or(Network::InfiniBand, |&(_, network)| network);
    Ok(Machine { gpu, gpus, interconnect, nics, nic_gb_per_s: gbps / 8.0, network: Some(network), cpu: None })
}

/// Number and Gbit/s of the NICs of a node: `8x200Gb/s`, `400Gb/s per GPU`, `1600 Gbps node-node`, `25Gb/s`.
fn nics(text: &str, gpus: u32) -> Option<(u32, f64)> {
    let end = ["Gb/s", "Gbps", " Gbps", "G "].iter().filter_map(|unit| text.find(unit)).min()?;
    let number: String = text[..end]
        .trim_end()
        .chars()
        .rev()
        .take_while(|char| char.is_ascii_digit() || *char == '.')
        .collect::<Vec<_>>()
        .into_iter()
        .rev()
        .collect();
    let rate: f64 = number.parse().ok().filter(|&rate| rate > 0.0)?;
    let before = text[..end].trim_end().strip_suffix(number.as_str())?;
    if let Some(count) = before.strip_suffix('x') {
        let digits = count.rsplit(|char: char| !char.is_ascii_digit()).next()?;
        return Some((digits.parse().ok()?, rate));
    }
    if text.contains("per GPU") {
        return Some((gpus, rate));
    }
    if text.contains("node-node") || text.contains("class") {
        return Some((gpus, rate / f64::from(gpus)));
    }
    Some((1, rate))
}

/// The model that a name means.
fn model(row: &CsvRow, sequence_length: Option<u32>) -> Result<Model, String> {
    let plain = row.model.split('(').next().unwrap_or_default().trim().to_ascii_lowercase();
    let plain = plain.split(" tf ").next().unwrap_or_default();
    let plain = plain.split(" 2x").next().unwrap_or_default();
    let mut name = plain.replace([' ', '_'], "-");
    for (written, ours) in [
        ("llama2", "llama-2"),
        ("llama3", "llama-3"),
        ("resnet5", "resnet-5"),
        ("gpt3", "gpt-3"),
        ("nemotron4", "nemotron-4"),
        ("-moe", "-a3b"),
        ("1008.0b", "1008b"),
        ("-strong-scaling-batch-1152", ""),
        ("-finetune", ""),
    ] {
        name = name.replace(written, ours);
    }
    let mut names = vec![name.clone(), format!("mpt-{name}"), format!("megatron-{name}")];
    // Two models that scale alike.
    names.extend(plain.split('/').map(|part| part.trim().to_owned()));
    let catalog = ModelCatalog::builtin();
    let found = names.iter().find_map(|name| catalog.get(name));
    let mut model = found.ok_or_else(|| format!("unknown model `{}`", row.model))?.clone();
    if let Kind::Transformer(transformer) = &mut model.kind
        && transformer.positions > 0
        && let Some(length) = sequence_length
    {
        // Positions are as many as a sequence has.
        transformer.positions = length;
    }
    if let Some(told) = row.params.filter(|_| row.source.contains("llm-foundry")) {
        let ours = model.parameters();
        if (ours / told - 1.0).abs() > 0.01 {
            return Err(format!("{told:.0} parameters, ours has {ours:.0}"));
        }
    }
    Ok(model)
}

/// Parameters above which no GPU holds a replica, so that the parallelism must be told. Those of lookups are split anyway.
const WITHOUT_PARALLELISM: f64 = 100e9;

/// The plan, apart from batch and length.
fn plan(row: &CsvRow, model: &Model, gpus: u32) -> Result<Plan, String> {
    let text = row.parallelism.as_str();
    let number = |name: &str| -> Option<u32> {
        text.split(|char: char| !char.is_ascii_alphanumeric()).find_map(|word| {
            let digits = word.strip_prefix(name)?;
            digits.parse().ok()
        })
    };
    let (tensor, pipeline) = (number("TP").unwrap_or(1), number("PP").unwrap_or(1));
    let is_untold = text.contains("TP/PP") || text.is_empty() && model.parameters() > WITHOUT_PARALLELISM;
    if is_untold {
        return Err("no parallelism is told".to_owned());
    }
    let mut plan = Plan::of(gpus, model);
    let context = number("CP").unwrap_or(1);
    (plan.tensor, plan.context, plan.pipeline) = (tensor, context, pipeline);
    let split = tensor * context * pipeline;
    if split == 0 || !gpus.is_multiple_of(split) {
        return Err(format!("tp {tensor}, cp {context} and pp {pipeline} do not divide {gpus} GPUs"));
    }
    plan.data = gpus / split;
    plan.is_sequence_parallel =
        text.contains("+SP") || text.contains("torchtitan") || row.source.contains("torchtitan");
    plan.data_parallel = if text.contains("HYBRID_SHARD") {
        DataParallel::HybridSharded { group: 0 }
    } else if text.contains("SHARD_GRAD_OP") {
        DataParallel::GradientSharded
    } else if text.contains("FSDP") {
        DataParallel::FullySharded
    } else if split > 1 {
        DataParallel::OptimizerSharded
    } else {
        DataParallel::Replicated
    };
    if text.contains("Horovod") {
        plan.bucket_bytes = 64.0 * 1_048_576.0;
    }
    plan.interleave = interleave(row, model);
    // Compiled, or Megatron's own kernels.
    plan.is_fused = text.contains("compile") || split > 1 && !text.contains("FSDP");
    let is_transformer = model.transformer().is_some();
    let lower = row.precision.to_ascii_lowercase();
    plan.precision = if text.contains("fp8") || lower.starts_with("fp8") || lower.contains("amp_fp8") {
        Precision::Fp8
    } else if lower.contains("bf16") {
        Precision::Bf16
    } else if lower.contains("fp16") {
        Precision::Fp16
    } else if lower.contains("fp32") || row.hardware.starts_with("P100") {
        Precision::Fp32
    } else if is_transformer {
        Precision::Bf16
    } else {
        Precision::Fp16
    };
    plan.recompute = match row.act_ckpt.as_str() {
        "True" | "full" => Recompute::Full,
        // The option of torchtitan's configurations of 2024.
        "selective" if row.source.contains("torchtitan") => Recompute::Alternate,
        "selective" => Recompute::Selective,
        _ => Recompute::None,
    };
    if row.source.contains("torchtitan") {
        plan.loss = Loss::Eager;
    }
    // Rows in fp16 are from before flash attention, and keep gradients in 32 bits.
    if plan.precision == Precision::Fp16 && is_transformer {
        plan.attention = Attention::Unfused;
        plan.gradient_bytes = 4.0;
    } else if row.source.contains("torchtitan") {
        // It reduces in 32 bits.
        plan.gradient_bytes = 4.0;
    } else {
        plan.gradient_bytes = plan.precision.bytes();
    }
    Ok(plan)
}

/// Parts of a stage: stated in the columns, or as published for the jobs of Korthikanti et al. (table 3: 3 for 175B and 530B).
fn interleave(row: &CsvRow, model: &Model) -> u32 {
    let mut words = row.parallelism.split(' ').skip_while(|word| *word != "interleaved").skip(1);
    if let Some(parts) = words.next().and_then(|word| word.parse().ok()) {
        return parts;
    }
    let is_published = row.source.contains("Korthikanti");
    match model.name.as_str() {
        "gpt-3-175b" | "megatron-gpt-529.6b" if is_published => 3,
        _ if row.parallelism.contains("interleaved") => 2,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nics_are_read_from_what_people_write() {
        for (text, expected) in [
            ("8x200Gb/s HDR IB per node, fat-tree", Some((8, 200.0))),
            ("4x100Gb/s EFA", Some((4, 100.0))),
            ("400Gb/s RDMA per GPU", Some((8, 400.0))),
            ("1600 Gbps node-node interconnect (RoCE)", Some((8, 200.0))),
            ("not stated (H100 SXM; 3200Gb/s class)", Some((8, 400.0))),
            ("25Gb/s RoCE", Some((1, 25.0))),
            ("2x100G RoCE vs TCP", Some((2, 100.0))),
            ("see submission", None),
            ("", None),
        ] {
            assert_eq!(nics(text, 8), expected, "{text}");
        }
    }
}
