//! Where tests read published data from, and files that they write themselves.

use std::io::Write;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// A file of the published data, or `None` and a message where there are none.
pub(crate) fn published(name: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("FORETELL_DATA")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data"), PathBuf::from);
    if folder.is_dir() {
        return Some(folder.join(name));
    }
    // Straight to standard error: what a test that passes prints is captured.
    let _ = writeln!(
        std::io::stderr(),
        "skipped: {name} is not there, set FORETELL_DATA to the folder with the published data"
    );
    None
}

/// A file with this content in a folder of its own, which lives as long as the first of the two.
pub(crate) fn file(name: &str, content: &[u8]) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, content).unwrap();
    (folder, path)
}
