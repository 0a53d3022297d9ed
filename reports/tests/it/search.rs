//! What a capacity search found, shown and written.

use foretell_reports::{search_table, write_search, write_search_dir, write_search_points};
use foretell_search::{Deployment, Found, FoundPoint, Goal, Searched, Unit, Verdict, mark_frontier};
use proptest::prelude::*;

use crate::fixture::manifest;

fn found(gpu_count: u64, held: Option<f64>, missed: Option<f64>) -> Found {
    let point = |load: Option<f64>, verdict| {
        let values = vec![Some(0.75), None, Some(0.01)];
        load.map(|load| FoundPoint { load, replicas: 1, seeds: 3, verdict, values })
    };
    Found {
        gpu: "H100".to_owned(),
        gpu_count,
        dollars_per_hour: None,
        held: held.map(|load| (load, 1)),
        missed: missed.map(|load| (load, 1)),
        values: vec![Some(0.75), Some(f64::INFINITY), Some(0.01)],
        limit: missed.map(|_| 0),
        is_on_frontier: false,
        runs: 6,
        points: point(held, Verdict::Held).into_iter().chain(point(missed, Verdict::Missed)).collect(),
    }
}

fn searched(goal: Goal, keys: &[&str], found: Vec<Result<Found, String>>) -> Searched {
    let values = |index: usize| keys.iter().map(|key| format!("{}{index}", &key[..1])).collect();
    let mut deployments: Vec<Deployment> = found
        .into_iter()
        .enumerate()
        .map(|(index, found)| Deployment { values: values(index), found })
        .collect();
    mark_frontier(&mut deployments);
    let texts = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
    Searched {
        goal,
        service: "chat".to_owned(),
        unit: Unit::Requests,
        terms: texts(&["p99 ttft < 1s", "p99 tpot < 50ms", "backlog < 5%"]),
        measures: texts(&["p99 ttft", "p99 tpot", "backlog"]),
        times: vec![true, true, false],
        limits: vec![1.0, 0.05, 0.05],
        confidence: 0.95,
        keys: texts(keys),
        deployments,
    }
}

fn four() -> Vec<Result<Found, String>> {
    vec![
        Ok(found(1, Some(12.5), Some(13.0))),
        Ok(found(2, Some(30.0), None)),
        Ok(found(2, None, Some(0.001))),
        Err("the cluster has no room for so many replicas of such a size, \"they\" say, and whoever wants to know goes on".to_owned()),
    ]
}

fn widest(text: &str) -> usize {
    text.lines().map(|line| line.chars().count()).max().unwrap_or(0)
}

#[test]
fn tables_of_deployments() {
    let most = searched(Goal::MostLoad, &["gpu", "services.chat.engine.max_sequences"], four());
    insta::assert_snapshot!("search_80", search_table(&most, 80));
    insta::assert_snapshot!("search_120", search_table(&most, 120));
    let least = searched(Goal::FewestReplicas, &[], vec![Ok(found(4, Some(50.0), None))]);
    insta::assert_snapshot!("search_least_80", search_table(&least, 80));
}

#[test]
fn files_of_deployments() {
    let most = searched(Goal::MostLoad, &["gpu", "tp"], four());
    let written = |write: &dyn Fn(&mut Vec<u8>) -> std::io::Result<()>| {
        let mut out = Vec::new();
        write(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    };
    insta::assert_snapshot!("search_csv", written(&|out| write_search(&most, out)));
    insta::assert_snapshot!("search_points_csv", written(&|out| write_search_points(&most, out)));
    // Every row has as many cells as the header.
    let mut reader = csv::Reader::from_reader(std::io::Cursor::new(written(&|out| write_search(&most, out))));
    assert_eq!(reader.records().map(Result::unwrap).count(), 4);
}

#[test]
fn plots_show_what_is_held() {
    let directory = tempfile::tempdir().unwrap();
    let plot = |searched: &Searched, name: &str| {
        let out = directory.path().join(name);
        write_search_dir(&out, &manifest(), searched).unwrap();
        std::fs::read_to_string(out.join("plots/frontier.svg")).unwrap()
    };
    let svg = plot(&searched(Goal::MostLoad, &["gpu"], four()), "four");
    for text in ["GPUs", "held (requests/s)", "gpu g0", "gpu g3", "frontier"] {
        assert!(svg.contains(text), "{text}");
    }
    assert_eq!(svg.matches("<circle").count(), 2);
    // As many GPUs each: then by time.
    let equal = vec![Ok(found(1, Some(12.5), None)), Ok(found(1, Some(9.0), None))];
    let svg = plot(&searched(Goal::MostLoad, &["batch"], equal), "equal");
    assert!(svg.contains("p99 ttft where it is held (s)") && !svg.contains("frontier"));
    let svg = plot(&searched(Goal::MostLoad, &["gpu"], vec![Err("no".to_owned())]), "nothing");
    assert!(svg.contains("nothing is held"));
}

proptest! {
    #[test]
    fn no_line_is_wider_than_asked_for(
        keys in 0_usize..5,
        all in prop::collection::vec((1_u64..5000, prop::option::of(0.001..1e6), prop::option::of(0.001..1e6)), 1..40),
        width in 72_u16..140,
    ) {
        let keys = &["gpu", "tensor_parallel", "engine.max_batched_tokens", "batcher", "router"][..keys];
        let all = all.into_iter().map(|(gpus, held, missed)| Ok(found(gpus, held, missed))).collect();
        let text = search_table(&searched(Goal::MostLoad, keys, all), width);
        prop_assert!(widest(&text) <= width.into(), "{} columns:\n{text}", widest(&text));
    }
}
