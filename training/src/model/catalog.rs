//! The models that come with the program.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;
use thiserror::Error;

use super::{Block, Experts, Kind, LatentAttention, Layered, Model, Transformer};

/// Models by name.
#[derive(Clone, PartialEq, Debug)]
pub struct ModelCatalog {
    models: BTreeMap<String, Model>,
    aliases: BTreeMap<String, String>,
}

/// Why a text is no catalogue of models.
#[derive(Debug, Error)]
pub enum CatalogError {
    /// Not TOML, or not of this shape.
    #[error("failed to parse the models: {0}")]
    Syntax(#[from] toml::de::Error),
    /// An entry contradicts itself or another.
    #[error("failed to read model `{name}`: {problem}")]
    Entry {
        /// The entry.
        name: String,
        /// What is wrong with it.
        problem: &'static str,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entries {
    #[serde(default)]
    transformers: Vec<TransformerEntry>,
    #[serde(default)]
    layered: Vec<LayeredEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TransformerEntry {
    name: String,
    #[serde(default)]
    aliases: Vec<String>,
    layers: u32,
    width: u32,
    heads: u32,
    kv_heads: Option<u32>,
    head_size: Option<u32>,
    ffn_width: Option<u32>,
    #[serde(default)]
    gated: bool,
    vocabulary: u32,
    #[serde(default)]
    positions: u32,
    #[serde(default)]
    tied: bool,
    #[serde(default = "yes")]
    causal: bool,
    sequence_length: u32,
    experts: Option<ExpertsEntry>,
    latent: Option<LatentEntry>,
    source: String,
}

fn yes() -> bool {
    true
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExpertsEntry {
    count: u32,
    active: u32,
    #[serde(default)]
    shared: u32,
    width: u32,
    #[serde(default)]
    dense_layers: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LatentEntry {
    query_rank: u32,
    kv_rank: u32,
    rope_size: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LayeredEntry {
    name: String,
    #[serde(default)]
    aliases: Vec<String>,
    blocks: Vec<BlockEntry>,
    #[serde(default)]
    table_parameters: f64,
    #[serde(default)]
    row_bytes_per_sample: f64,
    source: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BlockEntry {
    name: String,
    parameters: f64,
    forward_mflop: f64,
    #[serde(default)]
    three_by_three_mflop: f64,
    activations: f64,
    kernels: f64,
}

impl ModelCatalog {
    /// The catalogue that comes with the program.
    pub fn builtin() -> &'static Self {
        static BUILTIN: LazyLock<ModelCatalog> = LazyLock::new(|| {
            ModelCatalog::parse(include_str!("../../catalog/models.toml"))
                .expect("the built-in catalogue is parsed by a test")
        });
        &BUILTIN
    }

    /// Reads a catalogue from its text.
    pub fn parse(text: &str) -> Result<Self, CatalogError> {
        let entries: Entries = toml::from_str(text)?;
        let mut catalog = Self { models: BTreeMap::new(), aliases: BTreeMap::new() };
        for entry in entries.transformers {
            let aliases = entry.aliases.clone();
            catalog.insert(entry.into_model()?, &aliases)?;
        }
        for entry in entries.layered {
            let aliases = entry.aliases.clone();
            catalog.insert(entry.into_model()?, &aliases)?;
        }
        Ok(catalog)
    }

    fn insert(&mut self, model: Model, aliases: &[String]) -> Result<(), CatalogError> {
        let taken = |name: &str| self.get(name).is_some();
        if taken(&model.name) || aliases.iter().any(|alias| taken(alias)) {
            return Err(CatalogError::Entry { name: model.name, problem: "a name is taken" });
        }
        self.aliases.extend(aliases.iter().map(|alias| (alias.clone(), model.name.clone())));
        self.models.insert(model.name.clone(), model);
        Ok(())
    }

    /// The model of a name or alias.
    pub fn get(&self, name: &str) -> Option<&Model> {
        self.models.get(name).or_else(|| self.models.get(self.aliases.get(name)?))
    }

    /// All models by name.
    pub fn models(&self) -> impl Iterator<Item = &Model> + Clone {
        self.models.values()
    }
}

impl TransformerEntry {
    fn into_model(self) -> Result<Model, CatalogError> {
        let wrong = |problem| CatalogError::Entry { name: self.name.clone(), problem };
        let counts = [self.layers, self.width, self.heads, self.vocabulary, self.sequence_length];
        if counts.contains(&0) {
            return Err(wrong("a size is 0"));
        }
        let head_size = self.head_size.unwrap_or(self.width / self.heads);
        if self.head_size.is_none() && head_size * self.heads != self.width {
            return Err(wrong("`heads` does not divide `width`: `head_size` is needed"));
        }
        let kv_heads = self.kv_heads.unwrap_or(self.heads);
        if kv_heads == 0 || !self.heads.is_multiple_of(kv_heads) {
            return Err(wrong("`kv_heads` does not divide `heads`"));
        }
        let experts = self.experts.as_ref().map(|entry| Experts {
            count: entry.count,
            active: entry.active,
            shared: entry.shared,
            width: entry.width,
            dense_layers: entry.dense_layers,
        });
        if experts.is_some_and(|one| one.active == 0 || one.active > one.count || one.width == 0) {
            return Err(wrong("`experts.active` must be from 1 to `experts.count`"));
        }
        let latent = self.latent.as_ref().map(|entry| LatentAttention {
            query_rank: entry.query_rank,
            kv_rank: entry.kv_rank,
            rope_size: entry.rope_size,
        });
        Ok(Model {
            kind: Kind::Transformer(Transformer {
                layers: self.layers,
                width: self.width,
                heads: self.heads,
                kv_heads,
                head_size,
                ffn_width: self.ffn_width.unwrap_or(4 * self.width),
                is_gated: self.gated,
                vocabulary: self.vocabulary,
                positions: self.positions,
                is_tied: self.tied,
                is_causal: self.causal,
                sequence_length: self.sequence_length,
                experts,
                latent,
            }),
            source: self.source,
            name: self.name,
        })
    }
}

impl LayeredEntry {
    fn into_model(self) -> Result<Model, CatalogError> {
        if self.blocks.is_empty() {
            return Err(CatalogError::Entry { name: self.name, problem: "it has no blocks" });
        }
        let block = |entry: BlockEntry| Block {
            name: entry.name,
            parameters: entry.parameters,
            forward_flops: entry.forward_mflop * 1e6,
            three_by_three_flops: entry.three_by_three_mflop * 1e6,
            activations: entry.activations,
            kernels: entry.kernels,
        };
        Ok(Model {
            kind: Kind::Layered(Layered {
                blocks: self.blocks.into_iter().map(block).collect(),
                table_parameters: self.table_parameters,
                row_bytes_per_sample: self.row_bytes_per_sample,
            }),
            source: self.source,
            name: self.name,
        })
    }
}
