//! Sizes of a transformer.

/// Layers of attention and a feed-forward network, between an embedding and a projection on the vocabulary.
#[derive(Clone, PartialEq, Debug)]
pub struct Transformer {
    /// Number of layers.
    pub layers: u32,
    /// Width of the residual stream.
    pub width: u32,
    /// Heads of queries.
    pub heads: u32,
    /// Heads of keys and values.
    pub kv_heads: u32,
    /// Width of a head.
    pub head_size: u32,
    /// Width inside the feed-forward network of a dense layer.
    pub ffn_width: u32,
    /// Whether the feed-forward network has a gate: three matrices in place of two.
    pub is_gated: bool,
    /// Tokens that are told apart.
    pub vocabulary: u32,
    /// Positions that have an embedding of their own; 0 where they are rotated in.
    pub positions: u32,
    /// Whether the projection on the vocabulary is the embedding.
    pub is_tied: bool,
    /// Whether a token sees only those before it.
    pub is_causal: bool,
    /// The context that it is commonly trained with.
    pub sequence_length: u32,
    /// Experts in place of the feed-forward network.
    pub experts: Option<Experts>,
    /// Keys and values from a narrow vector (`DeepSeek`'s MLA).
    pub latent: Option<LatentAttention>,
}

/// Experts: feed-forward networks of which each token meets a few.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Experts {
    /// In each layer.
    pub count: u32,
    /// Of which each token is sent to so many.
    pub active: u32,
    /// Beside those that all tokens meet.
    pub shared: u32,
    /// Width inside each.
    pub width: u32,
    /// The first layers that have none.
    pub dense_layers: u32,
}

/// Widths of latent attention.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LatentAttention {
    /// Rank of the queries' projection; 0 if they come from the whole width.
    pub query_rank: u32,
    /// Rank of keys' and values' projection.
    pub kv_rank: u32,
    /// Width of a head that carries the position.
    pub rope_size: u32,
}

impl Transformer {
    /// Parameters of a layer's attention.
    pub fn attention_parameters(&self) -> f64 {
        let [width, heads, head] = [self.width, self.heads, self.head_size].map(f64::from);
        match self.latent {
            None => width * head * (2.0 * heads + 2.0 * f64::from(self.kv_heads)),
            Some(latent) => {
                let [rank, kv_rank, rope] =
                    [latent.query_rank, latent.kv_rank, latent.rope_size].map(f64::from);
                let queries = heads * (head + rope);
                let query = if latent.query_rank > 0 { rank * (width + queries) } else { width * queries };
                // Down to the latent and the shared position, up to keys and values of all heads, and the output.
                query + width * (kv_rank + rope) + kv_rank * heads * 2.0 * head + heads * head * width
            }
        }
    }

    /// Numbers of keys and values of a token, of a layer.
    pub fn kept_keys(&self) -> f64 {
        match self.latent {
            None => 2.0 * f64::from(self.kv_heads) * f64::from(self.head_size),
            Some(latent) => f64::from(latent.kv_rank) + f64::from(latent.rope_size),
        }
    }

    fn matrices(&self) -> f64 {
        if self.is_gated { 3.0 } else { 2.0 }
    }

    /// Parameters of a feed-forward network of a width inside.
    pub fn ffn_parameters(&self, ffn_width: u32) -> f64 {
        self.matrices() * f64::from(self.width) * f64::from(ffn_width)
    }

    /// Number of layers with experts.
    pub fn expert_layers(&self) -> u32 {
        self.experts.map_or(0, |experts| self.layers.saturating_sub(experts.dense_layers))
    }

    /// Parameters of a layer without those of experts that tokens are sent to. Gains of norms are left out: they are less than
    /// a thousandth.
    pub fn shared_layer_parameters(&self) -> f64 {
        let ffn = match self.experts {
            // The shared ones, and the router.
            Some(experts) => {
                f64::from(experts.shared) * self.ffn_parameters(experts.width)
                    + f64::from(self.width) * f64::from(experts.count)
            }
            None => self.ffn_parameters(self.ffn_width),
        };
        self.attention_parameters() + ffn
    }

    /// Parameters of a layer without experts.
    pub fn dense_layer_parameters(&self) -> f64 {
        self.attention_parameters() + self.ffn_parameters(self.ffn_width)
    }

    /// Parameters of the experts of a layer that tokens are sent to.
    pub fn routed_layer_parameters(&self) -> f64 {
        self.experts.map_or(0.0, |experts| f64::from(experts.count) * self.ffn_parameters(experts.width))
    }

    /// Parameters of the embedding of tokens and positions.
    pub fn embedding_parameters(&self) -> f64 {
        f64::from(self.width) * (f64::from(self.vocabulary) + f64::from(self.positions))
    }

    /// Parameters of the projection on the vocabulary that it has for itself.
    pub fn head_parameters(&self) -> f64 {
        if self.is_tied { 0.0 } else { f64::from(self.width) * f64::from(self.vocabulary) }
    }

    /// All parameters.
    pub fn parameters(&self) -> f64 {
        self.counted(self.routed_layer_parameters())
    }

    /// Those that a token meets.
    pub fn active_parameters(&self) -> f64 {
        self.counted(
            self.experts
                .map_or(0.0, |experts| f64::from(experts.active) * self.ffn_parameters(experts.width)),
        )
    }

    fn counted(&self, routed: f64) -> f64 {
        let expert_layers = f64::from(self.expert_layers());
        let dense = f64::from(self.layers) - expert_layers;
        let layers =
            expert_layers * (self.shared_layer_parameters() + routed) + dense * self.dense_layer_parameters();
        layers + self.embedding_parameters() + self.head_parameters()
    }
}
