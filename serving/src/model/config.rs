//! Reads `config.json`.

use serde_json::{Map, Value};

use super::{Attention, Biases, Experts, Model, ModelError, Window};

/// Architectures whose feed-forward network has two matrices; all others have a gate.
const NOT_GATED: [&str; 9] =
    ["opt", "bloom", "gpt2", "gpt_neox", "gptj", "falcon", "phi", "mpt", "starcoder2"];

/// Architectures with layer norms, which have a bias; all others have `RMSNorm`.
const LAYER_NORM: [&str; 8] = ["opt", "bloom", "gpt2", "gpt_neox", "gptj", "falcon", "phi", "starcoder2"];

/// Architectures with biases at every projection.
const BIAS_EVERYWHERE: [&str; 6] = ["opt", "bloom", "gpt2", "gpt_neox", "phi", "starcoder2"];

struct Fields<'a>(&'a Map<String, Value>);

impl<'a> Fields<'a> {
    /// The first of the names that is there and not null, with the name.
    fn find(&self, names: &[&'static str]) -> Option<(&'static str, &'a Value)> {
        names
            .iter()
            .find_map(|&name| self.0.get(name).filter(|value| !value.is_null()).map(|value| (name, value)))
    }

    fn optional(&self, names: &[&'static str]) -> Result<Option<u32>, ModelError> {
        let Some((field, value)) = self.find(names) else { return Ok(None) };
        match value.as_u64().and_then(|value| u32::try_from(value).ok()) {
            Some(value) => Ok(Some(value)),
            None => Err(ModelError::Field { field, expected: "a whole number", found: value.to_string() }),
        }
    }

    /// At least 1.
    fn size(&self, names: &[&'static str]) -> Result<u32, ModelError> {
        match self.optional(names)? {
            Some(0) => {
                let field = self.find(names).map_or(names[0], |(field, _)| field);
                Err(ModelError::Field { field, expected: "at least 1", found: "0".to_owned() })
            }
            Some(value) => Ok(value),
            None => Err(ModelError::Missing { field: names[0] }),
        }
    }

    fn flag(&self, names: &[&'static str], default: bool) -> Result<bool, ModelError> {
        let Some((field, value)) = self.find(names) else { return Ok(default) };
        let wrong = || ModelError::Field { field, expected: "true or false", found: value.to_string() };
        value.as_bool().ok_or_else(wrong)
    }

    fn text(&self, name: &'static str) -> Result<Option<&'a str>, ModelError> {
        let Some((field, value)) = self.find(&[name]) else { return Ok(None) };
        let wrong = || ModelError::Field { field, expected: "text", found: value.to_string() };
        value.as_str().map(Some).ok_or_else(wrong)
    }
}

impl Model {
    /// Reads `config.json`. A model that holds its text model in `text_config` (as multimodal ones do) is that text model.
    pub fn from_config(name: &str, text: &str) -> Result<Self, ModelError> {
        let value: Value = serde_json::from_str(text).map_err(|error| ModelError::Json(error.to_string()))?;
        let Some(whole) = value.as_object() else {
            return Err(ModelError::Json("should be an object".to_owned()));
        };
        let inner = whole.get("text_config").and_then(Value::as_object).unwrap_or(whole);
        from_fields(name, &Fields(inner))
    }
}

fn from_fields(name: &str, fields: &Fields<'_>) -> Result<Model, ModelError> {
    let Some(architecture) = fields.text("model_type")? else {
        return Err(ModelError::Missing { field: "model_type" });
    };
    let width = fields.size(&["hidden_size", "n_embd", "n_embed", "d_model"])?;
    let heads = fields.size(&["num_attention_heads", "n_head", "n_heads"])?;
    let layers = fields.size(&["num_hidden_layers", "n_layer", "n_layers", "num_layers"])?;
    let attention = attention(fields, architecture, width, heads)?;
    let experts = experts(fields, layers)?;
    let mut ffn_width =
        match fields.optional(&["intermediate_size", "ffn_dim", "n_inner", "ffn_hidden_size"])? {
            Some(0) => {
                let found = "0".to_owned();
                return Err(ModelError::Field { field: "intermediate_size", expected: "at least 1", found });
            }
            Some(given) => given,
            None if NOT_GATED.contains(&architecture) => 4 * width,
            None if experts.is_some_and(|experts| experts.layers == layers) => 0,
            None => return Err(ModelError::Missing { field: "intermediate_size" }),
        };
    if architecture == "qwen" {
        // The first Qwen counts both halves of the gated projection.
        ffn_width /= 2;
    }
    // Falcon's new architecture has two norms side by side, its older one and Phi have one.
    let side_by_side = match architecture {
        "phi" | "gptj" => true,
        "falcon" => !fields.flag(&["new_decoder_architecture"], false)?,
        _ => false,
    };
    let positions = match architecture {
        // Two positions are kept for padding.
        "opt" => fields.size(&["max_position_embeddings"])? + 2,
        "gpt2" => fields.size(&["n_positions", "max_position_embeddings"])?,
        _ => 0,
    };
    let tied_by_default =
        matches!(architecture, "opt" | "bloom" | "gpt2" | "falcon" | "gemma" | "gemma2" | "gemma3");
    let context =
        fields.optional(&["max_position_embeddings", "n_positions", "seq_length", "max_sequence_length"])?;
    Ok(Model {
        name: name.to_owned(),
        architecture: architecture.to_owned(),
        layers,
        width,
        heads,
        attention,
        query_key_norm: matches!(architecture, "qwen3" | "qwen3_moe" | "gemma3" | "olmo2"),
        window: window(fields, architecture, layers)?,
        ffn_width,
        gated: !NOT_GATED.contains(&architecture),
        experts,
        norms: if side_by_side { 1 } else { 2 },
        biases: biases(fields, architecture)?,
        vocabulary: fields.size(&["vocab_size"])?,
        tied: fields.flag(&["tie_word_embeddings"], tied_by_default)?,
        positions,
        context_tokens: context.unwrap_or(2048),
    })
}

fn attention(
    fields: &Fields<'_>,
    architecture: &str,
    width: u32,
    heads: u32,
) -> Result<Attention, ModelError> {
    if let Some(kv_rank) = fields.optional(&["kv_lora_rank"])? {
        return Ok(Attention::Latent {
            query_rank: fields.optional(&["q_lora_rank"])?,
            kv_rank,
            plain_size: fields.size(&["qk_nope_head_dim"])?,
            rotated_size: fields.size(&["qk_rope_head_dim"])?,
            value_size: fields.size(&["v_head_dim"])?,
        });
    }
    let multi_query = architecture == "falcon"
        && fields.flag(&["multi_query"], true)?
        && !fields.flag(&["new_decoder_architecture"], false)?;
    let kv_heads = match fields.optional(&["num_key_value_heads", "num_kv_heads", "n_head_kv"])? {
        _ if multi_query => 1,
        Some(given) => given,
        None => heads,
    };
    if kv_heads == 0 || !heads.is_multiple_of(kv_heads) {
        let why = format!("= {kv_heads} should divide the {heads} query heads");
        return Err(ModelError::Contradiction { field: "num_key_value_heads", why });
    }
    let head_size = match fields.optional(&["head_dim", "kv_channels"])? {
        Some(given) if given > 0 => given,
        _ if width.is_multiple_of(heads) => width / heads,
        _ => {
            let why = format!("= {heads} does not divide the width {width}, and there is no `head_dim`");
            return Err(ModelError::Contradiction { field: "num_attention_heads", why });
        }
    };
    Ok(Attention::Grouped { kv_heads, head_size })
}

fn experts(fields: &Fields<'_>, layers: u32) -> Result<Option<Experts>, ModelError> {
    let Some(count) = fields.optional(&["n_routed_experts", "num_local_experts", "num_experts"])? else {
        return Ok(None);
    };
    if count <= 1 {
        return Ok(None);
    }
    let active = fields.size(&["num_experts_per_tok", "experts_per_token"])?;
    if active > count {
        let why = format!("= {active} is more than the {count} experts");
        return Err(ModelError::Contradiction { field: "num_experts_per_tok", why });
    }
    let width = fields.size(&["moe_intermediate_size", "intermediate_size"])?;
    let shared_width = match fields.optional(&["shared_expert_intermediate_size"])? {
        Some(given) => given,
        None => fields.optional(&["n_shared_experts"])?.unwrap_or(0) * width,
    };
    let dense_first = fields.optional(&["first_k_dense_replace"])?.unwrap_or(0).min(layers);
    let every = fields.optional(&["decoder_sparse_step", "moe_layer_freq"])?.unwrap_or(1).max(1);
    let dense_named = match fields.find(&["mlp_only_layers"]) {
        Some((field, value)) => {
            let wrong = || ModelError::Field { field, expected: "a list", found: value.to_string() };
            value.as_array().ok_or_else(wrong)?.len() as u32
        }
        None => 0,
    };
    let sparse = ((layers - dense_first) / every).saturating_sub(dense_named);
    Ok(Some(Experts { count, active, width, shared_width, layers: sparse }))
}

fn window(fields: &Fields<'_>, architecture: &str, layers: u32) -> Result<Option<Window>, ModelError> {
    // Qwen's configurations state a window that `use_sliding_window` then switches off.
    if !fields.flag(&["use_sliding_window"], true)? {
        return Ok(None);
    }
    let Some(tokens) = fields.optional(&["sliding_window"])? else { return Ok(None) };
    let layers = match fields.find(&["layer_types"]) {
        Some((field, value)) => {
            let wrong = || ModelError::Field { field, expected: "a list", found: value.to_string() };
            let types = value.as_array().ok_or_else(wrong)?;
            types.iter().filter(|one| one.as_str() == Some("sliding_attention")).count() as u32
        }
        None if architecture == "gpt_oss" || architecture == "gemma2" => layers / 2,
        None => layers,
    };
    Ok((layers > 0).then_some(Window { tokens, layers }))
}

fn biases(fields: &Fields<'_>, architecture: &str) -> Result<Biases, ModelError> {
    let everywhere = BIAS_EVERYWHERE.contains(&architecture) || fields.flag(&["bias"], false)?;
    let attention = fields.flag(&["attention_bias", "qkv_bias"], false)?;
    Ok(Biases {
        queries_keys_values: everywhere
            || attention
            || matches!(architecture, "qwen" | "qwen2" | "qwen2_moe"),
        output: everywhere || (attention && architecture != "qwen2"),
        feed_forward: everywhere && architecture != "internlm" || fields.flag(&["mlp_bias"], false)?,
        norms: LAYER_NORM.contains(&architecture),
    })
}
