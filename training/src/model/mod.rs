//! Models and their sizes.

mod catalog;
mod layered;
mod transformer;

pub use catalog::{CatalogError, ModelCatalog};
pub use layered::{Block, Layered};
pub use transformer::{Experts, LatentAttention, Transformer};

/// A model to train.
#[derive(Clone, PartialEq, Debug)]
pub struct Model {
    /// Name, such as `llama-3-70b`.
    pub name: String,
    /// What it is made of.
    pub kind: Kind,
    /// Where its sizes come from.
    pub source: String,
}

/// What a model is made of.
#[derive(Clone, PartialEq, Debug)]
pub enum Kind {
    /// Layers of attention and a feed-forward network.
    Transformer(Transformer),
    /// Blocks one after the other, such as of a convolutional network.
    Layered(Layered),
}

impl Model {
    /// All parameters.
    pub fn parameters(&self) -> f64 {
        match &self.kind {
            Kind::Transformer(model) => model.parameters(),
            Kind::Layered(model) => model.parameters(),
        }
    }

    /// Parameters that a sample or token meets: of experts only those that it is sent to.
    pub fn active_parameters(&self) -> f64 {
        match &self.kind {
            Kind::Transformer(model) => model.active_parameters(),
            Kind::Layered(model) => model.parameters(),
        }
    }

    /// Its transformer, if it is one.
    pub const fn transformer(&self) -> Option<&Transformer> {
        match &self.kind {
            Kind::Transformer(model) => Some(model),
            Kind::Layered(_) => None,
        }
    }

    /// Operations of a training step for one sequence (of a transformer) or sample, as counted for MFU: forward, and twice that backward;
    /// nothing computed again.
    ///
    /// For transformers `6 P + 12 L h s` for each token, with the whole of the attention matrix (llm-foundry's and `PaLM`'s
    /// formula).
    pub fn flops_per_sample(&self, sequence_length: u32) -> f64 {
        match &self.kind {
            Kind::Transformer(model) => {
                let tokens = f64::from(sequence_length);
                let attention = 12.0
                    * f64::from(model.layers)
                    * f64::from(model.heads)
                    * f64::from(model.head_size)
                    * tokens;
                (6.0 * self.active_parameters() + attention) * tokens
            }
            Kind::Layered(model) => 3.0 * model.forward_flops(),
        }
    }
}
