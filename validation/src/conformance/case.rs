//! A case: a file of the corpus.

use std::path::{Path, PathBuf};

use foretell_manifests::{Cluster, ManifestError, Objects, cluster, documents, read_documents};
use serde::Deserialize;
use serde_json::Value;

/// The `apiVersion` of the document that states a case.
pub const API_VERSION: &str = "foretell/v1";

/// A case.
#[derive(Clone, Debug)]
pub struct Case {
    /// Its file.
    pub path: PathBuf,
    /// The project whose tests state it: `kube`, `volcano`, `uncertain/kube`.
    pub source: String,
    /// Its name.
    pub name: String,
    /// What it is about: its name before the number.
    pub area: String,
    /// The kind of its first document.
    pub kind: String,
    /// The `spec` of its first document.
    pub spec: Value,
    /// The objects of the other documents.
    pub objects: Objects,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Header {
    api_version: String,
    kind: String,
    metadata: Metadata,
    spec: Value,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Metadata {
    name: String,
}

impl Case {
    /// Reads a case; `None` if the text states none.
    pub fn read(path: &Path, text: &str) -> Result<Option<Self>, ManifestError> {
        let documents = documents(text);
        let Some((first, rest)) = documents.split_first() else { return Ok(None) };
        // Cheap: most files of other kinds are told apart without being parsed.
        if !first.text.contains(API_VERSION) {
            return Ok(None);
        }
        let file = path.display().to_string();
        let Header { api_version, kind, metadata, spec } = first.parse(&file)?;
        if api_version != API_VERSION {
            return Ok(None);
        }
        let objects = read_documents(rest, &file)?;
        let area = area(&metadata.name).to_owned();
        let source = source(path, &spec);
        Ok(Some(Self { path: path.to_owned(), source, name: metadata.name, area, kind, spec, objects }))
    }

    /// The cluster that the objects describe.
    pub fn cluster(&self) -> Result<Cluster, ManifestError> {
        cluster(&self.objects)
    }

    /// A part of the spec by JSON pointer, such as `/expect/binds`; null where there is none.
    pub fn get(&self, pointer: &str) -> &Value {
        self.spec.pointer(pointer).unwrap_or(&Value::Null)
    }

    /// A text of the spec.
    pub fn text(&self, pointer: &str) -> Option<&str> {
        self.get(pointer).as_str()
    }

    /// What the case expects.
    pub fn expect(&self, name: &str) -> &Value {
        self.spec.get("expect").and_then(|expect| expect.get(name)).unwrap_or(&Value::Null)
    }
}

/// The part of a name before its number.
fn area(name: &str) -> &str {
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let mut end = 0;
    for part in name.split('-') {
        if is_number(part) {
            break;
        }
        end += part.len() + 1;
    }
    name.get(..end.saturating_sub(1)).unwrap_or(name)
}

/// The scheduler whose test a case restates: by the repository that it names, so that cases may lie anywhere; else by its
/// folder. Those below a folder `uncertain` say so.
fn source(path: &Path, spec: &Value) -> String {
    let folder = name(path.parent());
    let repository = spec.pointer("/source/repo").and_then(Value::as_str).unwrap_or("");
    let source = match repository.rsplit('/').next().unwrap_or("") {
        "microshift" | "kubernetes" => "kube",
        "volcano" => "volcano",
        "scheduler-plugins" => "scheduler-plugins",
        "kueue" => "kueue",
        "KAI-Scheduler" => "kai",
        _ => folder,
    };
    let uncertain = [path.parent(), path.parent().and_then(Path::parent)].map(name).contains(&"uncertain");
    if uncertain { format!("uncertain/{source}") } else { source.to_owned() }
}

fn name(path: Option<&Path>) -> &str {
    path.and_then(Path::file_name).and_then(|name| name.to_str()).unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn areas_end_before_the_number() {
        for (name, expected) in [
            ("fit-001-one-pod", "fit"),
            ("allocate-subgroup-010-soft", "allocate-subgroup"),
            ("it-reclaim-002", "it-reclaim"),
            ("unnumbered", "unnumbered"),
            ("tier-2x-003-x", "tier-2x"),
        ] {
            assert_eq!(area(name), expected, "{name}");
        }
    }

    #[test]
    fn sources_are_repositories_or_folders() {
        for (path, repository, expected) in [
            ("a/kube/x.yaml", "", "kube"),
            ("a/uncertain/kube/x.yaml", "", "uncertain/kube"),
            ("x.yaml", "", ""),
            ("a/cases/x.yaml", "volcano-sh/volcano", "volcano"),
            ("a/uncertain/x.yaml", "openshift/microshift", "uncertain/kube"),
            ("a/kai/x.yaml", "someone/else", "kai"),
        ] {
            let spec = serde_json::json!({ "source": { "repo": repository } });
            assert_eq!(source(Path::new(path), &spec), expected, "{path} {repository}");
        }
    }
}
