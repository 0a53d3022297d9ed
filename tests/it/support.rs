//! Running the command, and finding the data.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The checkout.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The public data, if they are there; says on standard error what is skipped if not.
pub(crate) fn data_or_skip(what: &str) -> Option<PathBuf> {
    let data = std::env::var_os("FORETELL_DATA").map_or_else(|| root().join("../shared/data"), PathBuf::from);
    if data.join("openb").is_dir() {
        return Some(data);
    }
    // Straight to standard error: what a test that passes prints is captured.
    let _ = writeln!(
        std::io::stderr(),
        "skipped: {what}: no public data in {} (set FORETELL_DATA)",
        data.display()
    );
    None
}

/// The command at 80 columns, in the root of the checkout.
pub(crate) fn foretell(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_foretell"));
    command.args(arguments).current_dir(root()).env("COLUMNS", "80").env_remove("FORETELL_DATA");
    if let Some(data) = std::env::var_os("FORETELL_DATA") {
        command.env("FORETELL_DATA", data);
    }
    command.output().expect("the command starts")
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("UTF-8")
}

/// The command must succeed; what it printed.
#[track_caller]
pub(crate) fn succeed(arguments: &[&str]) -> String {
    let output = foretell(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", stderr(&output));
    stdout(&output)
}

/// A run of a scenario into a fresh directory.
#[track_caller]
pub(crate) fn run_into(directory: &Path, scenario: &str, more: &[&str]) -> String {
    let out = directory.to_str().expect("UTF-8");
    succeed(&[&["run", scenario, "--out", out], more].concat())
}
