//! Configuration files of schedulers: `volcano-scheduler.conf` and `KubeSchedulerConfiguration`, plain or inside a
//! `ConfigMap`; and `slurm.conf`.

mod kube;
mod volcano;

use std::collections::BTreeMap;

use foretell_framework::Profile;
use foretell_registry::{
    KubeConfig, PolicyConfig, SlurmConfig, SlurmError, VolcanoConfig, VolcanoError, build_kube, build_slurm,
    build_volcano, parse_slurm,
};
use serde::Deserialize;
use serde_json::Value;

use crate::error::ManifestError;
use crate::objects::Origin;
use crate::read::{Document, documents, from_value};

pub use kube::set_plugin_arguments;
pub use volcano::arguments;

/// A configuration of a scheduler.
#[derive(Clone, PartialEq, Debug)]
pub enum SchedulerConfig {
    /// Of Volcano.
    Volcano(VolcanoConfig),
    /// Of kube-scheduler.
    Kube(KubeConfig),
    /// Of Slurm.
    Slurm(Box<SlurmConfig>),
}

impl SchedulerConfig {
    /// The policy that it describes, and what of it has no effect.
    pub fn profile(&self, name: &str, config: &PolicyConfig) -> Result<(Profile, Vec<String>), VolcanoError> {
        match self {
            Self::Kube(kube) => Ok((build_kube(name, kube, config), Vec::new())),
            Self::Slurm(slurm) => Ok((build_slurm(name, slurm, config), Vec::new())),
            Self::Volcano(volcano) => {
                build_volcano(name, volcano, config).map(|built| (built.profile, built.warnings))
            }
        }
    }
}

/// What tells the configurations apart.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Header {
    api_version: String,
    kind: String,
    actions: Option<Value>,
    tiers: Option<Value>,
    data: BTreeMap<String, Value>,
}

/// Reads a configuration, whichever it is, and what it has that is not supported. `file` names it in errors.
pub fn read_config(text: &str, file: &str) -> Result<(SchedulerConfig, Vec<String>), ManifestError> {
    if is_slurm(text) {
        let (config, warnings) = parse_slurm(text).map_err(|SlurmError { line, key, message }| {
            let error = ManifestError::new(file, line as u64, message);
            ManifestError { field: key, ..error }
        })?;
        return Ok((SchedulerConfig::Slurm(Box::new(config)), warnings));
    }
    let documents = documents(text);
    let [document] = documents.as_slice() else {
        let message = format!("expected one YAML document; got {}", documents.len());
        return Err(ManifestError::new(file, 0, message));
    };
    let header: Header = document.parse(file)?;
    if header.kind == "ConfigMap" {
        let texts: Vec<_> = header.data.iter().filter(|(key, _)| is_config_file(key)).collect();
        let [(key, Value::String(inner))] = texts.as_slice() else {
            let message = "expected one key of `data` that ends in .conf or .yaml";
            return Err(ManifestError::new(file, document.line, message));
        };
        let line = document.line_after(&format!("{key}:"));
        let document = Document { line, text: inner };
        return read_header(&document.parse(file)?, &document, file);
    }
    read_header(&header, document, file)
}

/// Whether the first line that says something is of the form `KEY=VALUE`, which is no YAML of the others.
fn is_slurm(text: &str) -> bool {
    let first = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'));
    first.and_then(|line| line.split_once('=')).is_some_and(|(key, _)| {
        !key.is_empty() && key.chars().all(|character| character.is_ascii_alphanumeric())
    })
}

fn is_config_file(name: &str) -> bool {
    [".conf", ".yaml", ".yml"].iter().any(|ending| name.ends_with(ending))
}

fn read_header(
    header: &Header,
    document: &Document<'_>,
    file: &str,
) -> Result<(SchedulerConfig, Vec<String>), ManifestError> {
    let origin = Origin { file: file.into(), line: document.line, object: "".into() };
    let value: Value = document.parse(file)?;
    let mut warnings = Vec::new();
    let config = if header.kind == "KubeSchedulerConfiguration" {
        if header.api_version != "kubescheduler.config.k8s.io/v1" {
            let message = format!("expected kubescheduler.config.k8s.io/v1; got `{}`", header.api_version);
            return Err(document.locate(origin.error("apiVersion", message), &[]));
        }
        kube::read(value, &origin, &mut warnings).map(SchedulerConfig::Kube)
    } else if header.actions.is_some() || header.tiers.is_some() {
        volcano::read(value, &origin, &mut warnings).map(SchedulerConfig::Volcano)
    } else {
        Err(origin.error("", "expected `actions` and `tiers` of Volcano, or a KubeSchedulerConfiguration"))
    };
    let warnings = warnings.into_iter().map(|warning| document.locate(warning, &[]).to_string()).collect();
    config.map(|config| (config, warnings)).map_err(|error| document.locate(error, &[]))
}

/// Reads Volcano's configuration from a value that some file has in it.
pub fn volcano_config(value: Value, origin: &Origin) -> Result<(VolcanoConfig, Vec<String>), ManifestError> {
    let mut warnings = Vec::new();
    let config = volcano::read(value, origin, &mut warnings)?;
    Ok((config, warnings.iter().map(ToString::to_string).collect()))
}

/// A value as a type, with errors under a field.
fn typed<T: serde::de::DeserializeOwned>(
    value: Value,
    field: &str,
    origin: &Origin,
) -> Result<T, ManifestError> {
    from_value(value, origin).map_err(|error| {
        let field = match (field, error.field.as_str()) {
            ("", inner) => inner.to_owned(),
            (outer, "") => outer.to_owned(),
            (outer, inner) => format!("{outer}.{inner}"),
        };
        ManifestError { field, ..error }
    })
}
