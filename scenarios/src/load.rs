//! From text to a scenario.

use std::path::Path;

use serde::Deserialize;
use toml::de::DeValue;

use crate::document::Document;
use crate::error::{InvalidScenario, ScenarioError};
use crate::file::ScenarioFile;
use crate::resolve::{Environment, resolve};
use crate::scenario::Scenario;
use crate::{overrides, profiles, schema, structure};

/// The version of the format that this program reads.
const VERSION: &str = "1";

/// A scenario, and the file with its overrides that it comes from.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// What was written, defaults filled in.
    pub file: ScenarioFile,
    /// What it means.
    pub scenario: Scenario,
}

impl Loaded {
    /// BLAKE3 of what was written, overrides and defaults included, in hexadecimal: equal digests mean equal scenarios.
    pub fn digest(&self) -> String {
        // Maps keep the order of declaration, so the text is the same for the same scenario.
        let text = serde_json::to_string(&self.file).unwrap_or_default();
        blake3::hash(text.as_bytes()).to_hex().to_string()
    }

    /// What was written, overrides and defaults included, as a scenario file.
    pub fn text(&self) -> String {
        toml::to_string(&self.file).unwrap_or_default()
    }
}

/// Reads a scenario file and applies the overrides (`path=value`) in order.
pub fn load(
    path: &Path,
    overrides: &[String],
    environment: Environment<'_>,
) -> Result<Loaded, ScenarioError> {
    let text = std::fs::read_to_string(path)
        .map_err(|cause| ScenarioError::Read { path: path.to_owned(), cause })?;
    let base_dir = path.parent().unwrap_or(Path::new(""));
    Ok(parse(&path.display().to_string(), &text, overrides, base_dir, environment)?)
}

/// Reads a scenario from text; `name` stands for the file in messages, and relative paths start from `base_dir`.
pub fn parse(
    name: &str,
    text: &str,
    overrides: &[String],
    base_dir: &Path,
    environment: Environment<'_>,
) -> Result<Loaded, InvalidScenario> {
    let mut document = Document::parse(name, text);
    if !document.has_problems() {
        for text in overrides {
            overrides::apply(&mut document, text);
        }
    }
    let loaded = interpret(&mut document, base_dir, environment);
    document.finish(loaded)
}

/// Each step needs the one before to have found nothing wrong.
fn interpret(document: &mut Document<'_>, base_dir: &Path, environment: Environment<'_>) -> Option<Loaded> {
    if document.has_problems() {
        return None;
    }
    check_version(document);
    if document.has_problems() {
        return None;
    }
    structure::check(document, schema().as_value());
    if document.has_problems() {
        return None;
    }
    let mut file = ScenarioFile::deserialize(toml::Deserializer::from(document.to_table()))
        .map_err(|error| document.toml_error(&error, 0))
        .ok()?;
    profiles::inline(&mut file.scheduler, document, base_dir);
    let scenario = resolve(&file, document, base_dir, environment)?;
    Some(Loaded { file, scenario })
}

/// A file of another version is not held against this version's fields.
fn check_version(document: &mut Document<'_>) {
    if let Some(DeValue::Integer(version)) =
        document.root().get_ref().get("version").map(toml::Spanned::get_ref)
        && version.as_str() != VERSION
    {
        let message = format!("version {version} is not supported");
        document.problem("version", message, Some(format!("this program reads version {VERSION}")));
    }
}
