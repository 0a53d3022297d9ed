//! Files in their archive.

use std::io::Read;
use std::path::Path;

use crate::DataError;
use crate::openb::open;

/// The files with this extension of a `.tar.gz`, by name.
pub(crate) fn read(path: &Path, extension: &str) -> Result<Vec<(String, String)>, DataError> {
    let io = |cause| DataError::io(path, cause);
    let mut archive = tar::Archive::new(open(path)?);
    let mut found = Vec::new();
    for entry in archive.entries().map_err(io)? {
        let mut entry = entry.map_err(io)?;
        let inside = entry.path().map_err(io)?.into_owned();
        let name = inside.display().to_string();
        if inside.extension().is_some_and(|found| found == extension) {
            let mut text = String::new();
            entry.read_to_string(&mut text).map_err(io)?;
            found.push((name, text));
        }
    }
    found.sort();
    Ok(found)
}
