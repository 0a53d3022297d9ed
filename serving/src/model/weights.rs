//! Parameters of a model, and what of it and of its sequences lies on a GPU.

use super::{Attention, Model, ModelError};

/// How a replica is spread over GPUs.
///
/// `tensor x pipeline` GPUs hold one copy of the layers outside experts; `data` such copies work beside each other. Experts are spread
/// over `expert` of the `tensor x data` GPUs of a stage, as vLLM's `--enable-expert-parallel` does with all of them; where `expert` is 1
/// they are split as all else is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Parallelism {
    /// Tensor parallelism.
    pub tensor: u32,
    /// Pipeline parallelism: stages.
    pub pipeline: u32,
    /// Copies that share their experts: data-parallel attention.
    pub data: u32,
    /// GPUs over which experts are spread.
    pub expert: u32,
}

impl Default for Parallelism {
    fn default() -> Self {
        Self { tensor: 1, pipeline: 1, data: 1, expert: 1 }
    }
}

impl Parallelism {
    /// Tensor parallelism alone.
    pub fn tensor(tensor: u32) -> Self {
        Self { tensor, ..Self::default() }
    }

    /// GPUs altogether.
    pub const fn gpus(self) -> u32 {
        self.tensor * self.pipeline * self.data
    }

    /// Whether a model can be split so.
    pub fn check(self, model: &Model) -> Result<(), ModelError> {
        let wrong = |field, value, why: String| Err(ModelError::Parallelism { field, value, why });
        for (field, value) in [
            ("tensor", self.tensor),
            ("pipeline", self.pipeline),
            ("data", self.data),
            ("expert", self.expert),
        ] {
            if value == 0 {
                return wrong(field, value, "should be at least 1".to_owned());
            }
        }
        if !model.heads.is_multiple_of(self.tensor) {
            return wrong("tensor", self.tensor, format!("should divide the {} query heads", model.heads));
        }
        if let Attention::Grouped { kv_heads, .. } = model.attention
            && !kv_heads.is_multiple_of(self.tensor)
            && !self.tensor.is_multiple_of(kv_heads)
        {
            let why = format!("should divide the {kv_heads} heads of keys and values, or be a multiple");
            return wrong("tensor", self.tensor, why);
        }
        if self.pipeline > model.layers {
            return wrong("pipeline", self.pipeline, format!("is more than the {} layers", model.layers));
        }
        if self.expert > 1 {
            let Some(experts) = model.experts else {
                return wrong("expert", self.expert, format!("but {} has no experts", model.name));
            };
            if self.expert != self.tensor * self.data {
                let why = format!("should be tensor x data = {} or 1", self.tensor * self.data);
                return wrong("expert", self.expert, why);
            }
            if self.expert > experts.count {
                return wrong("expert", self.expert, format!("is more than the {} experts", experts.count));
            }
        }
        Ok(())
    }

    /// Layers of each stage. Where they do not divide, those before the last stage take one more each, as vLLM cuts: the last stage has the
    /// projection on the vocabulary besides.
    pub fn stage_layers(self, model: &Model) -> Vec<u32> {
        let stages = self.pipeline as usize;
        let mut layers = vec![model.layers / self.pipeline; stages];
        let left = (model.layers % self.pipeline) as usize;
        for back in 0..left {
            layers[(2 * stages - 2 - back) % stages] += 1;
        }
        layers
    }
}

/// Parameters of a model by part.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Parameters {
    /// Of attention in a layer, its projections and what is inside it.
    pub attention: f64,
    /// Of the feed-forward network of a layer without experts.
    pub dense: f64,
    /// Of one expert.
    pub one_expert: f64,
    /// Of the router, and of what is shared by all experts of a layer.
    pub shared: f64,
    /// Of the norms of a layer.
    pub norms: f64,
    /// Of the embedding (tokens and positions).
    pub embedding: f64,
    /// Of the projection on the vocabulary, 0 if it is the embedding.
    pub output: f64,
    /// Layers without experts, and with.
    pub layers: (f64, f64),
    /// Experts of a layer.
    pub experts: f64,
    /// Experts that a token passes.
    pub active: f64,
    /// Of the norm at the end (and of one after the embedding).
    pub last: f64,
}

impl Parameters {
    /// All of them.
    pub fn total(&self) -> f64 {
        self.with_experts(self.experts)
    }

    /// Those that one token passes.
    pub fn active(&self) -> f64 {
        self.with_experts(self.active)
    }

    fn with_experts(&self, experts: f64) -> f64 {
        let (dense, sparse) = self.layers;
        (dense + sparse) * (self.attention + self.norms)
            + dense * self.dense
            + sparse * (self.shared + experts * self.one_expert)
            + self.embedding
            + self.output
            + self.last
    }
}

impl Model {
    /// Parameters by part.
    pub fn parameters(&self) -> Parameters {
        let width = f64::from(self.width);
        let heads = f64::from(self.heads);
        let bias = |on: bool, size: f64| if on { size } else { 0.0 };
        let mut attention = match self.attention {
            Attention::Grouped { kv_heads, head_size } => {
                let queries = heads * f64::from(head_size);
                let cached = 2.0 * f64::from(kv_heads) * f64::from(head_size);
                width * (2.0 * queries + cached)
                    + bias(self.biases.queries_keys_values, queries + cached)
                    + bias(self.biases.output, width)
                    + bias(self.query_key_norm, 2.0 * f64::from(head_size))
            }
            Attention::Latent { query_rank, kv_rank, plain_size, rotated_size, value_size } => {
                let key_size = f64::from(plain_size + rotated_size);
                let queries = match query_rank {
                    // The compressed query passes a norm.
                    Some(rank) => width * f64::from(rank) + f64::from(rank) * (1.0 + heads * key_size),
                    None => width * heads * key_size,
                };
                let rank = f64::from(kv_rank);
                queries
                    + width * (rank + f64::from(rotated_size))
                    + rank
                    + rank * heads * f64::from(plain_size + value_size)
                    + heads * f64::from(value_size) * width
            }
        };
        if self.architecture == "gpt_oss" {
            // A learned sink for each head.
            attention += heads;
        }
        let matrices = if self.gated { 3.0 } else { 2.0 };
        let feed_forward = |inner: f64| {
            matrices * width * inner + bias(self.biases.feed_forward, (matrices - 1.0) * inner + width)
        };
        let norm = if self.biases.norms { 2.0 * width } else { width };
        let (mut one_expert, mut shared, mut experts, mut active) = (0.0, 0.0, 0.0, 0.0);
        if let Some(of) = self.experts {
            one_expert = feed_forward(f64::from(of.width));
            if self.architecture == "gpt_oss" {
                one_expert += 2.0 * f64::from(of.width) + width;
            }
            shared = width * f64::from(of.count);
            if of.shared_width > 0 {
                shared += feed_forward(f64::from(of.shared_width));
            }
            (experts, active) = (f64::from(of.count), f64::from(of.active));
        }
        let table = f64::from(self.vocabulary) * width;
        let sparse = f64::from(self.expert_layers());
        Parameters {
            attention,
            dense: feed_forward(f64::from(self.ffn_width)),
            one_expert,
            shared,
            norms: f64::from(self.norms) * norm,
            embedding: table + f64::from(self.positions) * width,
            output: if self.tied { 0.0 } else { table },
            layers: (f64::from(self.layers) - sparse, sparse),
            experts,
            active,
            // BLOOM has a norm after the embedding.
            last: if self.architecture == "bloom" { 2.0 * norm } else { norm },
        }
    }

    /// Bytes of the weights on the GPU that holds most. Projections have `weight_bytes` a parameter; embeddings, norms, routers and the
    /// projection on the vocabulary keep 2 (quantised checkpoints leave those alone).
    pub fn weight_bytes(&self, parallelism: Parallelism, weight_bytes: f64) -> f64 {
        let parts = self.parameters();
        let tensor = f64::from(parallelism.tensor);
        // Heads of keys and values are copied where there are fewer than GPUs; what is compressed for attention is on every GPU.
        let width = f64::from(self.width);
        let attention = match self.attention {
            Attention::Grouped { kv_heads, head_size } => {
                let cached = width * 2.0 * f64::from(kv_heads) * f64::from(head_size);
                let copies = (tensor / f64::from(kv_heads)).max(1.0);
                (parts.attention - cached + cached * copies) / tensor
            }
            Attention::Latent { query_rank, kv_rank, rotated_size, .. } => {
                let whole = width * f64::from(query_rank.unwrap_or(0) + kv_rank + rotated_size);
                whole + (parts.attention - whole) / tensor
            }
        };
        let experts = match self.experts {
            Some(of) if parallelism.expert > 1 => f64::from(of.count.div_ceil(parallelism.expert)),
            _ => parts.experts / tensor,
        };
        let router = f64::from(self.experts.map_or(0, |of| of.count)) * width;
        let shared = (parts.shared - router) / tensor;
        // As many layers with experts as there can be: these are the larger ones.
        let stages = parallelism.stage_layers(self);
        let mut first = 0_u32;
        let mut most = 0.0_f64;
        let dense_layers = self.layers - self.expert_layers();
        for (stage, &layers) in stages.iter().enumerate() {
            let dense = f64::from(dense_layers.saturating_sub(first).min(layers));
            let sparse = f64::from(layers) - dense;
            first += layers;
            let projections = f64::from(layers) * attention
                + dense * parts.dense / tensor
                + sparse * (shared + experts * parts.one_expert);
            let (is_first, is_last) = (stage == 0, stage + 1 == stages.len());
            let mut kept = f64::from(layers) * parts.norms + sparse * router;
            if is_first || (is_last && self.tied) {
                kept += parts.embedding / tensor;
            }
            if is_last {
                kept += parts.output / tensor + parts.last;
            }
            most = most.max(projections * weight_bytes + 2.0 * kept);
        }
        most
    }

    /// Bytes of keys and values (or of the latent, which every GPU holds whole) that a token takes on each GPU of the stage with most
    /// layers.
    ///
    /// A window frees what is beyond it in layers that have one; that is not counted here.
    pub fn kv_bytes_per_token(&self, parallelism: Parallelism, number_bytes: f64) -> f64 {
        let layers = parallelism.stage_layers(self).into_iter().max().unwrap_or(0);
        f64::from(layers) * self.cached_numbers_per_gpu(parallelism.tensor) * number_bytes
    }

    /// Numbers of a token in memory on each GPU for a layer: `2 x max(1, kv heads / tp) x head size`, or the whole latent.
    pub fn cached_numbers_per_gpu(&self, tensor: u32) -> f64 {
        match self.attention {
            Attention::Grouped { kv_heads, head_size } => {
                2.0 * f64::from((kv_heads / tensor).max(1)) * f64::from(head_size)
            }
            Attention::Latent { .. } => f64::from(self.cached_numbers()),
        }
    }
}
