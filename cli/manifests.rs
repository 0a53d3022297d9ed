//! Files of Kubernetes objects.

use std::error::Error;
use std::path::{Path, PathBuf};

use foretell_manifests::{Objects, read_objects, read_snapshot};

/// How ZIP archives begin: snapshots of KAI-Scheduler.
const ZIP: &[u8] = b"PK";

/// The objects of files and folders, in order.
pub(crate) fn read(paths: &[PathBuf]) -> Result<Objects, Box<dyn Error>> {
    let mut objects = Objects::default();
    for path in paths {
        for file in files(path)? {
            let name = file.display().to_string();
            let bytes = std::fs::read(&file).map_err(|error| format!("{name}: {error}"))?;
            objects.append(if bytes.starts_with(ZIP) {
                read_snapshot(&bytes, &name)?
            } else {
                let text = String::from_utf8(bytes).map_err(|_| format!("{name}: expected text in UTF-8"))?;
                read_objects(&text, &name)?
            });
        }
    }
    Ok(objects)
}

pub(crate) fn read_file(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// The file, or the YAML and JSON files of the folder, in order of name.
fn files(path: &Path) -> Result<Vec<PathBuf>, String> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let io = |error: std::io::Error| format!("{}: {error}", path.display());
    let mut found = Vec::new();
    for entry in std::fs::read_dir(path).map_err(io)? {
        let entry = entry.map_err(io)?.path();
        let is_manifest = entry
            .extension()
            .is_some_and(|extension| ["yaml", "yml", "json"].iter().any(|known| extension == *known));
        if entry.is_dir() {
            found.extend(files(&entry)?);
        } else if is_manifest {
            found.push(entry);
        }
    }
    found.sort();
    if found.is_empty() {
        return Err(format!("{}: no .yaml, .yml or .json file there", path.display()));
    }
    Ok(found)
}
