//! What the command reads of its environment, so that no library has to.

use std::path::{Path, PathBuf};

/// Where the public data are if `FORETELL_DATA` does not say: beside the checkout.
const DATA_BESIDE_CHECKOUT: &str = "../shared/data";

/// The folder that `data:` paths start from, if there is one.
pub(crate) fn data_dir() -> Option<PathBuf> {
    match std::env::var_os("FORETELL_DATA") {
        Some(path) if !path.is_empty() => Some(path.into()),
        _ => Some(PathBuf::from(DATA_BESIDE_CHECKOUT)).filter(|path| path.is_dir()),
    }
}

/// What a scenario may refer to outside of its file.
pub(crate) fn of_scenarios(data_dir: Option<&Path>) -> foretell_scenarios::Environment<'_> {
    foretell_scenarios::Environment { data_dir, check_policy: &foretell_scenarios::check_policy }
}
