//! Common models, embedded.

use super::{Model, ModelError};

macro_rules! catalog {
    ($($name:literal),+ $(,)?) => {
        /// Name and `config.json` (of what matters here) of every model in the catalogue, in order of name.
        const CONFIGS: &[(&str, &str)] =
            &[$(($name, include_str!(concat!("../../catalog/models/", $name, ".json")))),+];
    };
}

catalog! {
    "bloom-176b",
    "codellama-34b",
    "deepseek-v2-lite",
    "deepseek-v3",
    "falcon-180b",
    "gpt-oss-120b",
    "gpt-oss-20b",
    "internlm-20b",
    "llama-2-13b",
    "llama-2-70b",
    "llama-2-7b",
    "llama-3-70b",
    "llama-3-8b",
    "llama-3.1-405b",
    "llama-3.1-70b",
    "llama-3.1-8b",
    "llama-3.3-70b",
    "mistral-7b",
    "mistral-7b-v0.3",
    "mixtral-8x22b",
    "mixtral-8x7b",
    "opt-13b",
    "opt-175b",
    "phi-2",
    "qwen-72b",
    "qwen2-7b",
    "qwen2.5-32b",
    "qwen2.5-72b",
    "qwen2.5-7b",
    "qwen3-235b-a22b",
    "qwen3-30b-a3b",
    "qwen3-32b",
    "qwen3-8b",
    "yi-34b",
}

impl Model {
    /// The model of this name in the catalogue, or whose name in Hugging Face's hub ends so (`meta-llama/Llama-3.1-8B`); capitals do not
    /// matter.
    pub fn named(name: &str) -> Result<Self, ModelError> {
        let wanted = name.rsplit('/').next().unwrap_or(name).to_ascii_lowercase();
        let wanted = wanted.trim_start_matches("meta-").trim_end_matches("-hf");
        let exact = CONFIGS.iter().find(|(known, _)| *known == wanted);
        // Variants for chat have the sizes of what they were trained from.
        let bare = |text: &str| {
            ["-v0.1", "-2507", "-instruct", "-chat", "-it"]
                .iter()
                .fold(text.to_owned(), |text, suffix| text.trim_end_matches(suffix).to_owned())
        };
        let found = exact.or_else(|| CONFIGS.iter().find(|(known, _)| *known == bare(wanted)));
        match found {
            Some((known, text)) => Self::from_config(known, text),
            None => Err(ModelError::Unknown { name: name.to_owned(), known: Self::names().join(", ") }),
        }
    }

    /// Names in the catalogue.
    pub fn names() -> Vec<&'static str> {
        CONFIGS.iter().map(|&(name, _)| name).collect()
    }
}
