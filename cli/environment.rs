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
pub(crate) const fn of_scenarios(data_dir: Option<&Path>) -> foretell_scenarios::Environment<'_> {
    foretell_scenarios::Environment { data_dir }
}

/// Threads per core beyond which more of them only cost.
const THREADS_PER_CORE_MAX: usize = 4;

/// So many threads, or one per core.
pub(crate) fn thread_pool(threads: Option<usize>) -> Result<rayon::ThreadPool, rayon::ThreadPoolBuildError> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = threads.map_or(cores, |threads| threads.clamp(1, cores * THREADS_PER_CORE_MAX));
    rayon::ThreadPoolBuilder::new().num_threads(threads).build()
}
