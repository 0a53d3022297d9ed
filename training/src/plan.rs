//! How a job is split over its GPUs.

use std::fmt;

use foretell_fabric::collectives::EstimateError;
use thiserror::Error;

use crate::device::Precision;
pub use crate::kinds::{Attention, Loss, Prefetch, Recompute};
use crate::model::{Kind, Model};

/// How gradients and states are spread over the replicas of data parallelism.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DataParallel {
    /// Every replica has all; gradients are reduced in buckets while others are computed (`PyTorch`'s DDP; Horovod's fusion).
    Replicated,
    /// The optimizer's states are split (ZeRO-1; Megatron's distributed optimizer).
    OptimizerSharded,
    /// Gradients too: weights are gathered once for a micro-batch and kept (ZeRO-2; FSDP's `SHARD_GRAD_OP`).
    GradientSharded,
    /// Weights too: gathered for the forward and again for the backward pass (ZeRO-3; FSDP's `FULL_SHARD`).
    FullySharded,
    /// Split inside groups of so many, and replicated over the groups (FSDP's `HYBRID_SHARD`).
    HybridSharded {
        /// Replicas that share one copy; those of a node if 0.
        group: u32,
    },
    /// Workers send gradients to servers and get weights back.
    ParameterServer {
        /// Servers, each with the NICs of a node.
        servers: u32,
        /// Whether workers go on without waiting for others.
        is_asynchronous: bool,
    },
}

/// How a job is split over its GPUs, and what it does in a step.
#[derive(Clone, PartialEq, Debug)]
pub struct Plan {
    /// GPUs that split each layer.
    pub tensor: u32,
    /// Whether they also split what lies between (Megatron's sequence parallelism).
    pub is_sequence_parallel: bool,
    /// GPUs that split each sequence: each has a part of its tokens, and keys and values go round (ring attention, Liu et al.
    /// 2023). They have copies of the weights, as replicas do.
    pub context: u32,
    /// Stages of layers.
    pub pipeline: u32,
    /// Parts of a stage that are interleaved; 1 = 1F1B.
    pub interleave: u32,
    /// GPUs, of those with copies of the weights, that split the experts.
    pub expert: u32,
    /// Replicas.
    pub data: u32,
    /// What the replicas hold.
    pub data_parallel: DataParallel,
    /// Sequences or samples that a replica computes at a time.
    pub micro_batch: u32,
    /// Sequences or samples of a step, over all replicas.
    pub global_batch: u32,
    /// Tokens of a sequence; without meaning for models that are no transformers.
    pub sequence_length: u32,
    /// What is computed with.
    pub precision: Precision,
    /// What is computed again.
    pub recompute: Recompute,
    /// How attention is computed.
    pub attention: Attention,
    /// How the loss over the vocabulary is computed.
    pub loss: Loss,
    /// Whether what lies between products is fused into few kernels, by hand (Megatron) or by a compiler.
    pub is_fused: bool,
    /// When weights are gathered in the backward pass.
    pub backward_prefetch: Prefetch,
    /// Whether the next unit's weights are gathered before the current one computes in the forward pass.
    pub forward_prefetch: bool,
    /// Bytes of a gradient on the network.
    pub gradient_bytes: f64,
    /// Bytes of a bucket of gradients (25 MiB in DDP, 64 MiB in Horovod).
    pub bucket_bytes: f64,
}

/// Why a job cannot be.
#[derive(Clone, PartialEq, Debug, Error)]
pub enum PlanError {
    /// A text that names no strategy.
    #[error(
        "unknown part `{part}` in strategy `{strategy}`: expected auto, ddp, horovod, zero1, zero2, zero3, fsdp, fsdp-grad-op, \
         fsdp-hybrid, ps<N>, ps<N>-async, and tp<N>, sp, cp<N>, pp<N>, v<N>, ep<N>, dp<N>, such as `fsdp-hybrid` or `tp8pp4dp16`"
    )]
    Strategy {
        /// The whole text.
        strategy: String,
        /// What is not known.
        part: String,
    },
    /// A part that is there twice.
    #[error("`{part}` is in strategy `{strategy}` more than once: expected it once")]
    Repeated {
        /// The whole text.
        strategy: String,
        /// The part, without its number.
        part: String,
    },
    /// Several kinds of data parallelism.
    #[error("strategy `{strategy}` is {kinds}: expected one of them")]
    Several {
        /// The whole text.
        strategy: String,
        /// Those that it names.
        kinds: String,
    },
    /// Sizes that do not make up the GPUs.
    #[error("{what}")]
    Sizes {
        /// What is wrong, and what was expected.
        what: String,
    },
    /// A GPU without such a precision.
    #[error("no {precision} rate of a {device} is known: expected another precision or GPU")]
    Precision {
        /// The GPU.
        device: String,
        /// The precision.
        precision: &'static str,
    },
    /// More than a GPU has.
    #[error(
        "{model} does not fit: {needed_gib:.1} GiB on a {device} of which {usable_gib:.1} GiB are usable{advice}"
    )]
    OutOfMemory {
        /// The model.
        model: String,
        /// The GPU.
        device: String,
        /// What the least of the plans needs.
        needed_gib: f64,
        /// What there is.
        usable_gib: f64,
        /// What would make it fit, or nothing.
        advice: String,
    },
    /// A collective that cannot run there.
    #[error(transparent)]
    Collective(#[from] EstimateError),
}

fn sizes(what: String) -> PlanError {
    PlanError::Sizes { what }
}

impl Plan {
    /// The plan of a strategy's text over so many GPUs, with everything else as usual: a micro-batch of 1, one for each replica.
    ///
    /// Parts may follow each other directly or by `-`, `+` or `_`: `tp8pp4dp16`, `tp8-fsdp`, `fsdp-hybrid`. What is left of
    /// the GPUs is data parallelism.
    pub fn parse(strategy: &str, gpus: u32, model: &Model) -> Result<Self, PlanError> {
        let mut plan = Self::of(gpus, model);
        let mut data = None;
        let mut kinds: Vec<String> = Vec::new();
        let mut named: Vec<String> = Vec::new();
        let text = strategy.to_ascii_lowercase();
        for word in words(&text) {
            let unknown = || PlanError::Strategy { strategy: strategy.to_owned(), part: word.clone() };
            let digits = word.find(|char: char| char.is_ascii_digit()).unwrap_or(word.len());
            let (name, number) = word.split_at(digits);
            let count = || number.parse::<u32>().ok().filter(|&count| count > 0).ok_or_else(unknown);
            if matches!(name, "ddp" | "horovod" | "zero" | "fsdp" | "ps")
                || name == "hybrid" && !kinds.iter().any(|kind| kind == "fsdp")
            {
                kinds.push(name.to_owned());
            }
            // `fsdp-hybrid` is one; all else is said once.
            if named.iter().any(|known| known == name) {
                return Err(PlanError::Repeated { strategy: strategy.to_owned(), part: name.to_owned() });
            }
            named.push(name.to_owned());
            if name == "fsdp" && !number.is_empty() {
                named.push("dp".to_owned());
            }
            match name {
                "ddp" if number.is_empty() => plan.data_parallel = DataParallel::Replicated,
                "horovod" if number.is_empty() => {
                    plan.data_parallel = DataParallel::Replicated;
                    plan.bucket_bytes = HOROVOD_BUCKET_BYTES;
                }
                "zero" => {
                    plan.data_parallel = match number {
                        "1" => DataParallel::OptimizerSharded,
                        "2" => DataParallel::GradientSharded,
                        "3" => DataParallel::FullySharded,
                        _ => return Err(unknown()),
                    };
                }
                "fsdp" => {
                    plan.data_parallel = DataParallel::FullySharded;
                    if !number.is_empty() {
                        data = Some(count()?);
                    }
                }
                "gradop" if number.is_empty() => plan.data_parallel = DataParallel::GradientSharded,
                "hybrid" => {
                    let group = if number.is_empty() { 0 } else { count()? };
                    plan.data_parallel = DataParallel::HybridSharded { group };
                }
                "ps" => {
                    plan.data_parallel =
                        DataParallel::ParameterServer { servers: count()?, is_asynchronous: false };
                }
                "async" if number.is_empty() => match &mut plan.data_parallel {
                    DataParallel::ParameterServer { is_asynchronous, .. } => *is_asynchronous = true,
                    _ => return Err(unknown()),
                },
                "tp" => plan.tensor = count()?,
                "sp" if number.is_empty() => plan.is_sequence_parallel = true,
                "cp" => plan.context = count()?,
                "pp" => plan.pipeline = count()?,
                "v" => plan.interleave = count()?,
                "ep" => plan.expert = count()?,
                "dp" => data = Some(count()?),
                _ => return Err(unknown()),
            }
        }
        if kinds.len() > 1 {
            return Err(PlanError::Several { strategy: strategy.to_owned(), kinds: kinds.join(" and ") });
        }
        if text.trim().is_empty() {
            return Err(PlanError::Strategy { strategy: strategy.to_owned(), part: String::new() });
        }
        let contexts = if plan.context > 1 { format!(" times cp {}", plan.context) } else { String::new() };
        let product = format!("tp {}{contexts} times pp {}", plan.tensor, plan.pipeline);
        let split = plan.tensor.checked_mul(plan.pipeline).and_then(|split| split.checked_mul(plan.context));
        let Some(split) = split.filter(|&split| gpus.is_multiple_of(split)) else {
            return Err(sizes(format!("{product} does not divide {gpus} GPUs")));
        };
        plan.data = gpus / split;
        if let Some(data) = data.filter(|&data| data != plan.data) {
            return Err(sizes(format!(
                "{product} times dp {data} is {}: expected the {gpus} GPUs of the job",
                u64::from(split) * u64::from(data)
            )));
        }
        plan.global_batch = plan.data;
        Ok(plan)
    }

    /// Replicated data parallelism over so many GPUs.
    pub fn of(gpus: u32, model: &Model) -> Self {
        let transformer = model.transformer();
        let precision = if transformer.is_some() { Precision::Bf16 } else { Precision::Fp32 };
        Self {
            tensor: 1,
            is_sequence_parallel: false,
            context: 1,
            pipeline: 1,
            interleave: 1,
            expert: 1,
            data: gpus,
            data_parallel: DataParallel::Replicated,
            micro_batch: 1,
            global_batch: gpus,
            sequence_length: transformer.map_or(1, |model| model.sequence_length),
            precision,
            recompute: Recompute::None,
            attention: Attention::Flash,
            loss: Loss::InPlace,
            is_fused: true,
            backward_prefetch: Prefetch::Before,
            forward_prefetch: true,
            gradient_bytes: precision.bytes(),
            bucket_bytes: DDP_BUCKET_BYTES,
        }
    }

    /// GPUs of the job.
    pub const fn gpus(&self) -> u32 {
        self.tensor * self.context * self.pipeline * self.data
    }

    /// GPUs that have the same weights, and reduce their gradients: replicas, and those that split a sequence.
    pub const fn copies(&self) -> u32 {
        self.data * self.context
    }

    /// Tokens of a micro-batch on one GPU.
    pub(crate) fn local_tokens(&self) -> f64 {
        f64::from(self.micro_batch) * f64::from(self.sequence_length) / f64::from(self.context)
    }

    /// Sequences or samples of a step where nothing else is told: 4 Mi tokens and at least a sequence for each GPU, or 64 samples
    /// for each GPU.
    pub fn usual_batch(&self, model: &Model) -> u32 {
        let gpus = self.gpus();
        let each = match model.kind {
            Kind::Transformer(_) => {
                (TOKENS_OF_A_STEP / self.sequence_length.clamp(1, TOKENS_OF_A_STEP) / gpus).max(1)
            }
            Kind::Layered(_) => SAMPLES_OF_A_GPU,
        };
        gpus.saturating_mul(each)
    }

    /// Micro-batches that each replica computes in a step.
    pub const fn micro_batches(&self) -> u32 {
        self.global_batch / (self.data * self.micro_batch)
    }

    /// Copies that share one of the states under hybrid sharding, on nodes with so many GPUs of the job; all otherwise.
    pub(crate) fn shard_group(&self, per_node: u32) -> u32 {
        match self.data_parallel {
            DataParallel::HybridSharded { group: 0 } => (per_node / self.tensor).clamp(1, self.copies()),
            DataParallel::HybridSharded { group } => group,
            _ => self.copies(),
        }
    }

    /// Whether its groups are parts of nodes or whole nodes: others are not modelled.
    pub(crate) fn check_alignment(&self, per_node: u32) -> Result<(), PlanError> {
        let shards = self.shard_group(per_node);
        if !self.copies().is_multiple_of(shards) {
            return Err(sizes(format!(
                "groups of a node, {shards}, do not divide {} replicas",
                self.copies()
            )));
        }
        let stage = self.tensor * self.copies();
        for (what, gpus) in [
            ("tensor parallelism", self.tensor),
            ("tensor and expert parallelism", self.tensor * self.expert),
            ("tensor and context parallelism", self.tensor * self.context),
            ("a stage", stage),
            ("a copy of the states", self.tensor * shards),
        ] {
            if !is_aligned(gpus, per_node) {
                return Err(sizes(format!(
                    "{what} over {gpus} GPUs neither divides nodes of {per_node} nor fills them"
                )));
            }
        }
        Ok(())
    }

    /// Whether it can be for a model: sizes divide each other.
    pub fn check(&self, model: &Model) -> Result<(), PlanError> {
        let replica = u64::from(self.data) * u64::from(self.micro_batch);
        if self.micro_batch == 0
            || self.global_batch == 0
            || !u64::from(self.global_batch).is_multiple_of(replica)
        {
            return Err(sizes(format!(
                "a global batch of {} is no multiple of {} replicas times a micro-batch of {}",
                self.global_batch, self.data, self.micro_batch
            )));
        }
        if self.sequence_length == 0 {
            return Err(sizes("a sequence of 0 tokens: expected at least 1".to_owned()));
        }
        if let DataParallel::HybridSharded { group } = self.data_parallel {
            if group > 0 && !self.copies().is_multiple_of(group) {
                return Err(sizes(format!("groups of {group} do not divide {} replicas", self.copies())));
            }
            if self.expert > 1 {
                return Err(sizes(
                    "hybrid sharding of split experts is not modelled: expected ep1".to_owned(),
                ));
            }
        }
        let Kind::Transformer(transformer) = &model.kind else {
            let splits = [self.tensor, self.context, self.pipeline, self.expert, self.interleave];
            if splits.iter().any(|&parts| parts > 1) {
                return Err(sizes(format!(
                    "{} is no transformer: expected data parallelism alone",
                    model.name
                )));
            }
            return Ok(());
        };
        if !transformer.heads.is_multiple_of(self.tensor) {
            return Err(sizes(format!(
                "tp {} does not divide the {} heads of {}",
                self.tensor, transformer.heads, model.name
            )));
        }
        // Each has a part from the front and one from the back of a sequence, so that all have as much to do.
        if self.context > 1 && !self.sequence_length.is_multiple_of(2 * self.context) {
            return Err(sizes(format!(
                "cp {} does not split sequences of {} tokens into twice as many parts",
                self.context, self.sequence_length
            )));
        }
        if self.context > 1 && self.attention == Attention::Unfused {
            return Err(sizes("split sequences need flash attention: expected cp1".to_owned()));
        }
        if self.pipeline > transformer.layers {
            return Err(sizes(format!(
                "pp {} is more than the {} layers of {}",
                self.pipeline, transformer.layers, model.name
            )));
        }
        if self.interleave > 1
            && (self.pipeline == 1 || self.interleave > transformer.layers.div_ceil(self.pipeline))
        {
            return Err(sizes(format!(
                "v {} needs stages with as many layers: there are {} stages of {} layers",
                self.interleave,
                self.pipeline,
                transformer.layers.div_ceil(self.pipeline)
            )));
        }
        let experts = transformer.experts.map_or(1, |experts| experts.count);
        if !experts.is_multiple_of(self.expert) || !self.copies().is_multiple_of(self.expert) {
            return Err(sizes(format!(
                "ep {} does not divide both the {experts} experts of a layer of {} and the {} replicas",
                self.expert,
                model.name,
                self.copies()
            )));
        }
        if self.pipeline * self.expert * self.context > 1
            && matches!(self.data_parallel, DataParallel::ParameterServer { .. })
        {
            return Err(sizes(
                "parameter servers serve no pipelines, no split experts and no split sequences: expected pp1, ep1 and cp1"
                    .to_owned(),
            ));
        }
        Ok(())
    }
}

/// Tokens of a step where no batch is told.
const TOKENS_OF_A_STEP: u32 = 4 << 20;

/// Samples of each GPU where no batch is told and there are no tokens.
const SAMPLES_OF_A_GPU: u32 = 64;

/// Whether so many GPUs in a row are a part of a node of which there are several, or whole nodes.
const fn is_aligned(gpus: u32, per_node: u32) -> bool {
    per_node.is_multiple_of(gpus) || gpus.is_multiple_of(per_node)
}

/// The default of `PyTorch`'s DDP (`bucket_cap_mb`).
const DDP_BUCKET_BYTES: f64 = 25.0 * 1_048_576.0;

/// The default of Horovod (`HOROVOD_FUSION_THRESHOLD`).
const HOROVOD_BUCKET_BYTES: f64 = 64.0 * 1_048_576.0;

/// Words of a strategy: `tp8pp4dp16` is three, `fsdp-grad-op` is `fsdp` and `gradop`.
fn words(text: &str) -> Vec<String> {
    let text = text.replace("grad-op", "gradop").replace("grad_op", "gradop").replace("hsdp", "hybrid");
    let mut words = Vec::new();
    for part in text.split(['-', '+', '_', ' ', ',']).filter(|part| !part.is_empty()) {
        let mut word = String::new();
        for char in part.chars() {
            let begins = char.is_ascii_alphabetic() && word.ends_with(|last: char| last.is_ascii_digit());
            if begins {
                words.push(std::mem::take(&mut word));
            }
            word.push(char);
        }
        words.push(word);
    }
    words
}

impl fmt::Display for Plan {
    /// The strategy, in the form that [`Plan::parse`] reads.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        let mut part = |name: &str, count: u32| {
            if count > 1 {
                parts.push(format!("{name}{count}"));
            }
        };
        part("tp", self.tensor);
        part("cp", self.context);
        part("pp", self.pipeline);
        part("v", self.interleave);
        part("ep", self.expert);
        if self.is_sequence_parallel && self.tensor > 1 {
            parts.push("sp".to_owned());
        }
        let data = match self.data_parallel {
            _ if self.copies() == 1 => String::new(),
            DataParallel::Replicated if (self.bucket_bytes - HOROVOD_BUCKET_BYTES).abs() < 1.0 => {
                "horovod".to_owned()
            }
            DataParallel::Replicated => "ddp".to_owned(),
            DataParallel::OptimizerSharded => "zero1".to_owned(),
            DataParallel::GradientSharded => "fsdp-grad-op".to_owned(),
            DataParallel::FullySharded => "fsdp".to_owned(),
            DataParallel::HybridSharded { group: 0 } => "fsdp-hybrid".to_owned(),
            DataParallel::HybridSharded { group } => format!("fsdp-hybrid{group}"),
            DataParallel::ParameterServer { servers, is_asynchronous } => {
                format!("ps{servers}{}", if is_asynchronous { "-async" } else { "" })
            }
        };
        if !data.is_empty() {
            parts.push(data);
            if self.data > 1 || self.context == 1 {
                parts.push(format!("dp{}", self.data));
            }
        }
        if parts.is_empty() {
            parts.push("ddp".to_owned());
        }
        formatter.write_str(&parts.join("-"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ModelCatalog;

    fn llama() -> &'static Model {
        ModelCatalog::builtin().get("llama-3-70b").unwrap()
    }

    #[test]
    fn strategies_are_read_and_written() {
        for (text, gpus, written) in [
            ("tp8pp4dp16", 512, "tp8-pp4-ddp-dp16"),
            ("fsdp-hybrid", 64, "fsdp-hybrid-dp64"),
            ("fsdp-grad-op", 8, "fsdp-grad-op-dp8"),
            ("tp8-fsdp32", 256, "tp8-fsdp-dp32"),
            ("tp8-sp-pp8v2zero1", 128, "tp8-pp8-v2-sp-zero1-dp2"),
            ("ps4-async", 16, "ps4-async-dp16"),
            ("tp8cp16pp16dp8", 16_384, "tp8-cp16-pp16-ddp-dp8"),
            ("tp8-cp2-fsdp", 16, "tp8-cp2-fsdp"),
            ("zero3", 8, "fsdp-dp8"),
            ("hybrid16", 64, "fsdp-hybrid16-dp64"),
            ("horovod", 8, "horovod-dp8"),
            ("ddp", 1, "ddp"),
        ] {
            let plan = Plan::parse(text, gpus, llama()).unwrap();
            assert_eq!(plan.to_string(), written, "{text}");
            assert_eq!(plan.gpus(), gpus, "{text}");
            assert_eq!(Plan::parse(written, gpus, llama()).unwrap(), plan, "{written}");
        }
    }

    #[test]
    fn what_is_no_strategy_says_what_is() {
        for (text, gpus, part) in [
            ("tp8qq4", 32, "unknown part `qq4`"),
            ("tp", 8, "unknown part `tp`"),
            ("zero4", 8, "unknown part `zero4`"),
            ("async", 8, "unknown part `async`"),
            ("tp3", 8, "tp 3 times pp 1 does not divide 8 GPUs"),
            ("tp2dp2", 8, "is 4: expected the 8 GPUs"),
            ("tp2cp3pp2", 16, "tp 2 times cp 3 times pp 2 does not divide 16 GPUs"),
            ("tp0", 8, "unknown part `tp0`"),
            ("", 8, "unknown part ``"),
            ("ps4-fsdp", 8, "strategy `ps4-fsdp` is ps and fsdp: expected one of them"),
            ("fsdp-ddp-zero1", 8, "is fsdp and ddp and zero: expected one"),
            ("tp8tp4", 32, "`tp` is in strategy `tp8tp4` more than once"),
            ("pp4pp8", 32, "`pp` is in"),
            ("dp64dp8", 64, "`dp` is in"),
            ("fsdp-fsdp", 8, "`fsdp` is in"),
            ("fsdp8dp8", 8, "`dp` is in"),
        ] {
            let error = Plan::parse(text, gpus, llama()).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
