//! Every cluster of the conformance corpus is read.

use std::io::Write;
use std::path::{Path, PathBuf};

use foretell_manifests::{cluster, documents, read_documents};

fn corpus() -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    let data = std::env::var_os("FORETELL_DATA").map_or_else(beside, PathBuf::from);
    Some(data.join("conformance")).filter(|path| path.is_dir())
}

#[test]
fn every_cluster_of_the_corpus_is_read() {
    let Some(corpus) = corpus() else {
        let _ = writeln!(std::io::stderr(), "skipped: clusters of the corpus: no public data");
        return;
    };
    let mut files = 0;
    for source in ["kube", "volcano", "scheduler-plugins", "uncertain/kube", "uncertain/volcano"] {
        for entry in std::fs::read_dir(corpus.join(source)).unwrap() {
            let path = entry.unwrap().path();
            let text = std::fs::read_to_string(&path).unwrap();
            let objects = read_documents(&documents(&text)[1..], &path.display().to_string());
            let state = objects.and_then(|objects| cluster(&objects));
            assert!(state.is_ok(), "{}", state.unwrap_err());
            files += 1;
        }
    }
    assert!(files > 400, "{files} files");
}
