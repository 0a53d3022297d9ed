//! The schedulers' own tests, restated as data; and the two drivers of one state.

use crate::support::{data_or_skip, foretell, stdout, succeed};

/// Every case of kube-scheduler, Volcano, scheduler-plugins, Kueue and KAI-Scheduler comes out as expected, but for what is not modelled.
#[test]
fn the_schedulers_own_tests_pass() {
    let Some(data) = data_or_skip("validate conformance") else { return };
    let directory = tempfile::tempdir().unwrap();
    let json = directory.path().join("report.json");
    let cases = data.join("conformance");
    for (source, passed, unsupported) in [
        ("/kube/", 264, 0),
        ("/volcano/", 124, 9),
        ("/scheduler-plugins/", 22, 0),
        ("/kueue/", 204, 0),
        ("/kai/", 230, 9),
    ] {
        succeed(&[
            "validate",
            "conformance",
            "--data",
            cases.to_str().unwrap(),
            "--filter",
            source,
            "--json",
            json.to_str().unwrap(),
        ]);
        let report: serde_json::Value =
            serde_json::from_str(&std::fs::read_to_string(&json).unwrap()).unwrap();
        let results = report["results"].as_array().unwrap();
        let own = results.iter().filter(|case| case["source"] == source.trim_matches('/'));
        let count = |outcome: &str| own.clone().filter(|case| case["outcome"] == outcome).count();
        assert_eq!(
            (count("passed"), count("failed"), count("unsupported")),
            (passed, 0, unsupported),
            "{source}"
        );
    }
}

#[test]
fn a_folder_without_cases_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let output = foretell(&["validate", "conformance", "--data", directory.path().to_str().unwrap()]);
    assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(2), ""));
}
