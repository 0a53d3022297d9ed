//! The FGD study on real data, and on data that are not what they should be.

use std::path::Path;

use crate::support::{data_or_skip, foretell, stderr, stdout, succeed};

#[test]
fn a_published_run_of_each_policy_is_reproduced() {
    let Some(data) = data_or_skip("validate openb") else { return };
    let directory = tempfile::tempdir().unwrap();
    let json = directory.path().join("report.json");
    let data = data.to_str().unwrap();
    let arguments = [
        "validate",
        "openb",
        "--data",
        data,
        "--trace",
        "default,gpushare40",
        "--seed",
        "42",
        "--json",
        json.to_str().unwrap(),
    ];
    let policies = ["--policy", "DotProd,GpuClustering,GpuPacking,BestFit,FGD"];
    let printed = succeed(&[&arguments[..], &policies].concat());
    let summary = "openb: 10 runs, 3930 cells, 849 placements: all within tolerance";
    assert_eq!(printed.lines().last(), Some(summary), "{printed}");
    let report: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&json).unwrap()).unwrap();
    assert_eq!(report["passed"], true);
    assert_eq!(report["cases"].as_array().unwrap().len(), 11);
}

/// A copy of the data that one trace needs.
fn copy_of_default(data: &Path, to: &Path) {
    for file in [
        "openb_node_list_gpu_node.csv.gz",
        "openb_pod_list_default.csv.gz",
        "order/order_openb_pod_list_default.csv.gz",
        "order/noderank_openb_pod_list_default.csv.gz",
        "expected/analysis_allo_discrete.csv.gz",
        "expected/analysis_frag_discrete.csv.gz",
        "expected/analysis_frag_ratio_discrete.csv.gz",
    ] {
        let target = to.join(file);
        std::fs::create_dir_all(target.parent().unwrap()).unwrap();
        std::fs::copy(data.join("openb").join(file), target).unwrap();
    }
}

#[test]
fn another_trace_in_the_same_layout_works_and_a_wrong_expectation_is_a_miss() {
    let Some(data) = data_or_skip("validate openb on other data") else { return };
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    copy_of_default(&data, root);
    // The same trace under another name, with plain files and one expectation changed.
    for (file, suffix) in
        [("openb_pod_list", ""), ("order/order_openb_pod_list", ""), ("order/noderank_openb_pod_list", "")]
    {
        std::fs::rename(
            root.join(format!("{file}_default.csv.gz{suffix}")),
            root.join(format!("{file}_mine.csv.gz")),
        )
        .unwrap();
    }
    let unpack = |name: &str| {
        use std::io::Read;
        let mut text = String::new();
        let file = std::fs::File::open(root.join(name)).unwrap();
        flate2::read::GzDecoder::new(file).read_to_string(&mut text).unwrap();
        std::fs::remove_file(root.join(name)).unwrap();
        let kept = text.lines().filter(|line| {
            line.starts_with("workload")
                || (line.starts_with("openb_pod_list_default,06-FGD") && line.contains(",42,"))
        });
        let kept = kept.flat_map(|line| [line, "\n"]).collect::<String>();
        kept.replace("openb_pod_list_default", "openb_pod_list_mine")
    };
    for table in ["allo", "frag", "frag_ratio"] {
        let text = unpack(&format!("expected/analysis_{table}_discrete.csv.gz"));
        std::fs::write(root.join(format!("expected/analysis_{table}_discrete.csv")), text).unwrap();
    }
    let arguments = ["validate", "openb", "--data", root.to_str().unwrap()];
    let printed = succeed(&arguments);
    assert!(printed.ends_with("openb: 1 runs, 393 cells, 0 placements: all within tolerance\n"), "{printed}");

    let path = root.join("expected/analysis_allo_discrete.csv");
    let text = std::fs::read_to_string(&path).unwrap();
    let (before, last) = text.trim_end().rsplit_once(',').unwrap();
    std::fs::write(&path, format!("{before},{}\n", last.parse::<f64>().unwrap() + 0.5)).unwrap();
    let output = foretell(&arguments);
    assert_eq!(output.status.code(), Some(1));
    assert!(stdout(&output).contains("1 of 1 cases beyond tolerance"), "{}", stdout(&output));

    // Unusable data: exit 2, and the message says what and where.
    let frag = std::fs::read_to_string(root.join("expected/analysis_frag_discrete.csv")).unwrap();
    let (header, row) = frag.split_once('\n').unwrap();
    let of_seed = |seed: &str| format!("{header}\n{}", row.replacen(",42,", &format!(",{seed},"), 1));
    let cut = |text: &str| text.rsplit_once(',').unwrap().0.to_owned();
    for (text, expected) in [
        (of_seed("x"), "analysis_frag_discrete.csv:2: expected a whole number in column `seed`"),
        (of_seed("43"), "no row for openb_pod_list_mine 06-FGD seed 42"),
        (format!("{header}\n"), "no row for openb_pod_list_mine 06-FGD seed 42"),
        (
            format!("{}\n{}\n", cut(header), cut(row)),
            "as many levels of arrived GPU as the other tables have",
        ),
        (
            format!("{header}\n{},\n", cut(row)),
            "analysis_frag_discrete.csv:2: expected a number in column `130`",
        ),
        (
            format!("{header}\n{},NaN\n", cut(row)),
            "analysis_frag_discrete.csv:2: expected a number in column `130`",
        ),
        (
            format!("{frag}{row}"),
            "analysis_frag_discrete.csv:3: expected each (workload, sc_policy, seed) once",
        ),
    ] {
        std::fs::write(root.join("expected/analysis_frag_discrete.csv"), text).unwrap();
        let output = foretell(&arguments);
        let message = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{expected}: {message}");
        assert!(message.contains(expected), "expected {expected:?} in {message}");
    }

    let output = foretell(&["validate", "openb", "--data", root.join("nowhere").to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
}
