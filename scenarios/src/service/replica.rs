//! A replica on the GPUs that it got.

use std::sync::Arc;

use foretell_serving::adapters::{AdapterLaw, AdapterTotals};
use foretell_serving::calibration::CalibrationError;
use foretell_serving::law::LawError;
use foretell_serving::memory::{Beside, VISIBLE_SHARE, blocks};
use foretell_serving::model::work::WorkLaw;
use foretell_serving::policies::route::{Load, RouterError};
use foretell_serving::policies::{
    AdapterAt, Batcher, BlockPool, Capacity, LightLlm, Limits, Orca, Order, Reservation, Sarathi, State,
    Static, TensorRtLlm, Vllm, VllmV0,
};
use foretell_serving::power::{Drawing, Power};
use foretell_serving::turns::Hosted;
use foretell_serving::{
    AnalyticLaw, Batch, Calibration, Cancelled, Chunk, Engine, Group, Observer, Part, Rejection,
    Replica as Serving, Request, StepLaw, TierLink, Turns, Wanted,
};
use foretell_traces::TraceError;
use foretell_traces::generate::GenerateError;
use thiserror::Error;

use super::classical::ClassicalServiceError;
use super::link::links;
use super::transport::TransportError;
use super::{BatcherFile, CapacityFile, KvTierFile, Service};
use crate::catalog::Catalog;
use crate::scenario::{Fabric, NodeGroup};

/// Why a service could not be run.
#[derive(Debug, Error)]
pub enum ServiceError {
    /// GPUs of which nothing is known.
    #[error("service `{service}`: {cause}")]
    Calibration {
        /// The service.
        service: String,
        /// What is missing.
        cause: CalibrationError,
    },
    /// A model that cannot be served so.
    #[error("service `{service}`: {cause}")]
    Law {
        /// The service.
        service: String,
        /// Why.
        cause: LawError,
    },
    /// Weights that leave no room.
    #[error(
        "service `{service}`: the weights of {model} leave no room for keys and values on {gpu}: split it over more GPUs (tensor_parallel), or keep weights in fewer bits"
    )]
    NoRoom {
        /// The service.
        service: String,
        /// Its model.
        model: String,
        /// The GPU.
        gpu: String,
    },
    /// A classical model that cannot be served so.
    #[error(transparent)]
    Classical(#[from] ClassicalServiceError),
    /// Replicas that were never placed.
    #[error("service `{service}`: none of its replicas was placed: {why}")]
    NotPlaced {
        /// The service.
        service: String,
        /// What is known of it.
        why: String,
    },
    /// A router that cannot be.
    #[error("service `{service}`: router: {cause}")]
    Router {
        /// The service.
        service: String,
        /// Why.
        cause: RouterError,
    },
    /// Keys and values that do not get from one replica to another.
    #[error("service `{service}`: keys and values of prompts: {cause}")]
    Transfer {
        /// The service.
        service: String,
        /// Why.
        cause: TransportError,
    },
    /// A trace that cannot be read.
    #[error(transparent)]
    Trace(#[from] TraceError),
    /// Distributions that are not valid.
    #[error("service: {0}")]
    Generator(#[from] GenerateError),
}

/// Where a replica is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    /// Nodes of one kind.
    pub(super) group: &'a NodeGroup,
    /// The network between them.
    pub(super) fabric: Option<&'a Fabric>,
}

/// The calibration for a GPU of the catalogue: by its name, or by what comes before the size of its memory (`A100-80`).
pub(crate) fn calibration_of(gpu: &str) -> Result<Calibration, CalibrationError> {
    let lower = gpu.to_ascii_lowercase();
    let start = lower.split('-').next().unwrap_or_default();
    let names = Calibration::names();
    if let Some(&name) = names.iter().find(|&&name| name == lower) {
        return Calibration::named(name);
    }
    let mut calibration =
        Calibration::named(names.iter().find(|&&name| name == start).copied().unwrap_or(gpu))?;
    // Another memory, and with it another bandwidth.
    if let Some(bytes_per_s) = Catalog::builtin().gpu(gpu).and_then(|gpu| gpu.memory_bytes_per_s) {
        calibration.device.memory_bytes_per_s = bytes_per_s;
    }
    Ok(calibration)
}

/// An engine or a group of them.
pub(super) enum Replica {
    One(Box<Engine<Arc<AnalyticLaw>>>),
    Group(Group<Arc<AnalyticLaw>>),
    Turns(Box<Turns<Arc<AnalyticLaw>>>),
}

/// What a report says of a replica beside what it did.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Built {
    /// Blocks of keys and values.
    pub(super) blocks: u64,
    /// GPUs.
    pub(super) gpus: u32,
    /// The GPU.
    pub(super) gpu: String,
    /// Peak operations a second of one, in the numbers that products run in.
    pub(super) peak_flops: f64,
    /// Peak bytes a second of one.
    pub(super) memory_bytes_per_s: f64,
    /// Dollars for an hour of one, where they are known.
    pub(super) price_per_gpu_hour: Option<f64>,
    /// What the GPUs of an engine draw, where it is known.
    pub(super) drawing: Option<Drawing>,
}

/// All that replicas of a service on nodes of one kind share.
#[derive(Debug)]
pub(super) struct Blueprint {
    pub(super) built: Built,
    /// What iterations have to do.
    pub(super) work: Arc<WorkLaw>,
    law: Arc<AnalyticLaw>,
    adapters: Option<AdapterLaw>,
    /// The same with further models that take turns.
    others: Vec<Self>,
    /// Blocks of an engine.
    blocks: u32,
    block_bytes: f64,
}

impl Blueprint {
    pub(super) fn new(service: &Service, place: Place<'_>) -> Result<Self, ServiceError> {
        let gpus = place.group.node_type.gpus.as_ref();
        let gpu = gpus.map_or("", |gpus| gpus.model.as_str());
        let name = || service.name.clone();
        let calibration =
            calibration_of(gpu).map_err(|cause| ServiceError::Calibration { service: name(), cause })?;
        let machine = place.group.machine(place.fabric);
        let parallelism = service.parallelism;
        let links = links(machine.as_ref(), &calibration, parallelism, service.pods.1);
        let law = AnalyticLaw::new(&service.model, parallelism, &calibration, links, &service.options)
            .map_err(|cause| ServiceError::Law { service: name(), cause })?;
        let memory_bytes = gpus
            .map(|gpus| gpus.memory_bytes as f64)
            .filter(|&bytes| bytes > 0.0)
            .unwrap_or(calibration.device.memory_bytes);
        let engine = &service.engine;
        let mut beside =
            Beside::estimate(&service.model, parallelism, engine.max_batched_tokens, engine.max_sequences);
        let adapters = service.lora.as_ref().map(|lora| {
            let shape = lora.shape(service);
            // Room for all of them is kept from the beginning.
            beside.other_bytes += f64::from(lora.max_loras) * shape.bytes_per_gpu();
            AdapterLaw::new(shape, parallelism, &calibration, lora.links)
        });
        let adapters =
            adapters.transpose().map_err(|cause| ServiceError::Calibration { service: name(), cause })?;
        let weight_bytes = service.options.weights.bytes();
        let counted = blocks(
            &service.model,
            parallelism,
            memory_bytes * VISIBLE_SHARE,
            engine.memory_utilization,
            beside,
            weight_bytes,
            service.options.cache_number_bytes,
            engine.block_tokens,
        );
        let blocks = engine.kv_blocks.or(counted).ok_or_else(|| ServiceError::NoRoom {
            service: name(),
            model: service.model.name.clone(),
            gpu: gpu.to_owned(),
        })?;
        let power =
            Power::of_gpu(gpu).map_err(|cause| ServiceError::Calibration { service: name(), cause })?;
        let peak_flops = if matches!(weight_bytes, 0.9..1.5) {
            calibration.device.flops_8bit
        } else {
            calibration.device.flops_16bit
        };
        let peak_bytes_per_s = calibration.device.memory_bytes_per_s;
        let engine_gpus = f64::from(parallelism.gpus()) / f64::from(parallelism.data);
        let built = Built {
            blocks: u64::from(blocks) * u64::from(parallelism.data),
            gpus: parallelism.gpus(),
            gpu: gpu.to_owned(),
            peak_flops,
            memory_bytes_per_s: peak_bytes_per_s,
            price_per_gpu_hour: place.group.price_per_gpu_hour,
            // With several models it is not known what each iteration has to do.
            drawing: power.filter(|_| service.swap.is_none()).map(|power| Drawing {
                power,
                gpus: engine_gpus,
                peak_flops,
                peak_bytes_per_s,
            }),
        };
        let block_bytes = f64::from(engine.block_tokens)
            * service.model.kv_bytes_per_token(parallelism, service.options.cache_number_bytes);
        let others = service.swap.iter().flat_map(|swap| &swap.models).map(|other| Self::new(other, place));
        let others = others.collect::<Result<_, _>>()?;
        let work = WorkLaw::new(&service.model, weight_bytes, service.options.cache_number_bytes);
        let (work, law) = (Arc::new(work), Arc::new(law));
        Ok(Self { built, work, law, adapters, others, blocks, block_bytes })
    }

    /// What an iteration takes that reads so many tokens in, of a sequence with so many before them.
    pub(super) fn chunk_ns(&self, tokens: u32, context_tokens: u32) -> f64 {
        let chunks = [Chunk { tokens, context_tokens }];
        self.iteration_ns(&Batch { chunks: &chunks, sampled: 1, ..Batch::default() })
    }

    /// What one takes that gives each of so many sequences, of so many tokens, its next.
    pub(super) fn decode_ns(&self, sequences: u32, context_tokens: u32) -> f64 {
        self.iteration_ns(&Batch {
            decodes: sequences,
            decode_context_tokens: u64::from(sequences) * u64::from(context_tokens),
            sampled: sequences,
            ..Batch::default()
        })
    }

    fn iteration_ns(&self, batch: &Batch<'_>) -> f64 {
        (0..self.law.stages()).map(|stage| self.law.stage_ns(batch, stage)).sum()
    }

    /// A replica that has nothing to do.
    pub(super) fn replica(&self, service: &Service) -> Replica {
        let data = service.parallelism.data;
        if let Some(swap) = &service.swap {
            let hosted = |(blueprint, service): (&Self, &Service)| {
                let (from_host_ns, from_storage_ns) = swap.load_ns(service);
                Hosted { engine: blueprint.engine(service), from_host_ns, from_storage_ns }
            };
            let first = std::iter::once((self, service));
            let models = first.chain(self.others.iter().zip(&swap.models)).map(hosted).collect();
            return Replica::Turns(Box::new(Turns::new(models, swap.options)));
        }
        if data > 1 {
            Replica::Group(Group::new((0..data).map(|_| self.engine(service)).collect()))
        } else {
            Replica::One(Box::new(self.engine(service)))
        }
    }

    fn engine(&self, service: &Service) -> Engine<Arc<AnalyticLaw>> {
        let link = |tier: &KvTierFile| {
            let link = TierLink::new(self.block_bytes, tier.gb_per_s * 1e9, tier.latency_us * 1e-6);
            if tier.by_layer { link.by_layer(service.model.layers) } else { link }
        };
        let links = service.engine.kv_tiers.iter().map(link).collect();
        let state = state(service, self.blocks, self.block_bytes);
        let engine =
            Engine::new(Arc::clone(&self.law), batcher(service, self.blocks), state).reading_over(links);
        let engine = match service.speculation {
            Some(speculation) => engine.speculating(speculation),
            None => engine,
        };
        match &self.adapters {
            Some(adapters) => engine.adapting(adapters.clone()),
            None => engine,
        }
    }
}

fn state(service: &Service, blocks: u32, block_bytes: f64) -> State {
    let engine = &service.engine;
    let shares = matches!(engine.batcher, BatcherFile::Vllm | BatcherFile::TensorrtLlm);
    let mut state = State::new(if engine.prefix_caching && shares {
        let tiers: Vec<u32> =
            engine.kv_tiers.iter().map(|tier| (tier.memory.0 as f64 / block_bytes) as u32).collect();
        BlockPool::with_prefix_cache(blocks, engine.block_tokens).with_tiers(&tiers)
    } else {
        BlockPool::new(blocks, engine.block_tokens)
    });
    if let Some(lora) = &service.lora {
        state.adapters = lora.adapters();
    }
    state
}

/// vLLM's share of blocks that stay free when a request is taken, before its V1.
const WATERMARK: f64 = 0.01;

/// Iterations after which `LightLLM` looks for prompts.
const LIGHTLLM_ITERATIONS: u32 = 10;

fn batcher(service: &Service, blocks: u32) -> Box<dyn Batcher + Send> {
    let engine = &service.engine;
    let watermark = (WATERMARK * f64::from(blocks)) as u32;
    let limits = |watermark| Limits::of_stages(engine.max_sequences, service.parallelism.pipeline, watermark);
    let reservation = engine.reserved_tokens.map_or(Reservation::Limit, Reservation::Longest);
    match engine.batcher {
        BatcherFile::Vllm => Box::new(Vllm {
            max_sequences: engine.max_sequences,
            max_batched_tokens: engine.max_batched_tokens,
            chunked_prefill: engine.chunked_prefill,
            long_prefill_tokens: engine.long_prefill_tokens,
            order: if engine.priorities { Order::Priority } else { Order::FirstCome },
            ..Vllm::default()
        }),
        BatcherFile::VllmV0 => Box::new(VllmV0::new(limits(watermark), engine.max_batched_tokens)),
        BatcherFile::Sarathi => Box::new(Sarathi::new(limits(watermark), engine.max_batched_tokens)),
        BatcherFile::Orca => Box::new(Orca::new(limits(0), reservation)),
        BatcherFile::Static => Box::new(Static::new(limits(0), reservation)),
        BatcherFile::LightLlm => {
            Box::new(LightLlm::new(limits(0), engine.max_batched_tokens, LIGHTLLM_ITERATIONS))
        }
        BatcherFile::TensorrtLlm => Box::new(TensorRtLlm {
            capacity: match engine.capacity {
                CapacityFile::GuaranteedNoEvict => Capacity::GuaranteedNoEvict,
                CapacityFile::MaxUtilization => Capacity::MaxUtilization,
                CapacityFile::StaticBatch => Capacity::StaticBatch,
            },
            max_sequences: engine.max_sequences,
            max_batched_tokens: engine.max_batched_tokens,
            chunked_context: engine.chunked_prefill,
        }),
    }
}

impl Serving for Replica {
    fn next_ns(&self) -> Option<u64> {
        match self {
            Self::One(engine) => engine.next_ns(),
            Self::Group(group) => group.next_ns(),
            Self::Turns(turns) => turns.next_ns(),
        }
    }

    fn enqueue_part(&mut self, request: &Request<'_>, part: Part) -> Result<(), Rejection> {
        match self {
            Self::One(engine) => engine.enqueue_part(request, part),
            Self::Group(group) => group.enqueue_part(request, part),
            Self::Turns(turns) => turns.enqueue_part(request, part),
        }
    }

    // Groups have no adapters.
    fn adapter_at(&self, adapter: u32) -> AdapterAt {
        match self {
            Self::One(engine) => engine.adapter_at(adapter),
            Self::Group(_) => AdapterAt::Absent,
            Self::Turns(turns) => turns.adapter_at(adapter),
        }
    }

    fn adapter_totals(&self) -> AdapterTotals {
        match self {
            Self::One(engine) => engine.adapter_totals(),
            Self::Group(_) => AdapterTotals::default(),
            Self::Turns(turns) => turns.adapter_totals(),
        }
    }

    fn take_wanted(&mut self, wanted: &mut Vec<Wanted>) {
        match self {
            Self::One(engine) => wanted.extend(engine.take_wanted()),
            Self::Group(group) => Serving::take_wanted(group, wanted),
            Self::Turns(turns) => turns.take_wanted(wanted),
        }
    }

    fn deliver(&mut self, request: u32, now_ns: u64) -> bool {
        match self {
            Self::One(engine) => engine.deliver(request, now_ns),
            Self::Group(group) => Serving::deliver(group, request, now_ns),
            Self::Turns(turns) => turns.deliver(request, now_ns),
        }
    }

    fn give_up_awaited(&mut self, request: u32, now_ns: u64) -> bool {
        match self {
            Self::One(engine) => engine.give_up_awaited(request, now_ns),
            Self::Group(group) => Serving::give_up_awaited(group, request, now_ns),
            Self::Turns(turns) => turns.give_up_awaited(request, now_ns),
        }
    }

    fn give_up_kept(&mut self, request: u32, now_ns: u64) -> bool {
        match self {
            Self::One(engine) => engine.give_up_kept(request, now_ns),
            Self::Group(group) => Serving::give_up_kept(group, request, now_ns),
            Self::Turns(turns) => turns.give_up_kept(request, now_ns),
        }
    }

    fn cancel(&mut self, request: u32, now_ns: u64) -> Option<Cancelled> {
        match self {
            Self::One(engine) => engine.cancel(request, now_ns),
            Self::Group(group) => group.cancel(request, now_ns),
            Self::Turns(turns) => turns.cancel(request, now_ns),
        }
    }

    fn begin(&mut self, now_ns: u64, horizon_ns: u64, observer: &mut impl Observer) {
        match self {
            Self::One(engine) => engine.begin(now_ns, horizon_ns, observer),
            Self::Group(group) => group.begin(now_ns, observer),
            Self::Turns(turns) => turns.begin(now_ns, horizon_ns, observer),
        }
    }

    fn advance(&mut self, horizon_ns: u64, observer: &mut impl Observer) {
        match self {
            Self::One(engine) => engine.advance(horizon_ns, observer),
            Self::Group(group) => group.advance(observer),
            Self::Turns(turns) => turns.advance(horizon_ns, observer),
        }
    }

    fn requests(&self) -> usize {
        match self {
            Self::One(engine) => engine.requests(),
            Self::Group(group) => Serving::requests(group),
            Self::Turns(turns) => turns.requests(),
        }
    }

    fn left_over(&self) -> Vec<(u32, Rejection)> {
        match self {
            Self::One(engine) => engine.left_over().collect(),
            Self::Group(group) => group.left_over().collect(),
            Self::Turns(turns) => turns.left_over(),
        }
    }

    fn load(&self) -> Load {
        match self {
            Self::One(engine) => engine.load(),
            Self::Group(group) => Serving::load(group),
            Self::Turns(turns) => turns.load(),
        }
    }

    fn cached_blocks(&self, block_keys: &[u64]) -> u32 {
        match self {
            Self::One(engine) => Serving::cached_blocks(&**engine, block_keys),
            Self::Group(group) => Serving::cached_blocks(group, block_keys),
            Self::Turns(turns) => turns.cached_blocks(block_keys),
        }
    }

    fn unfinished(&self) -> Vec<u32> {
        match self {
            Self::One(engine) => engine.unfinished().collect(),
            Self::Group(group) => Serving::unfinished(group),
            Self::Turns(turns) => turns.unfinished(),
        }
    }

    fn prefix_tokens(&self) -> (u64, u64) {
        match self {
            Self::One(engine) => Serving::prefix_tokens(&**engine),
            Self::Group(group) => Serving::prefix_tokens(group),
            Self::Turns(turns) => turns.prefix_tokens(),
        }
    }
}
