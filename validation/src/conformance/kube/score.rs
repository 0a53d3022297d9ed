//! Scores of one plugin.

use std::collections::BTreeMap;

use foretell_default::{KubeScore, normalise, normalise_reversed};
use serde_json::Value;

use super::{Tried, cluster, names, plugin, pod};
use crate::conformance::{Case, Outcome};

pub(super) fn run(case: &Case) -> Tried {
    if !case.get("/normalize").is_null() {
        return Ok(run_normalise(case));
    }
    let (plugin, config) = plugin(case)?;
    let cluster = cluster(case)?;
    let (state, task) = (&cluster.state, pod(case, &cluster)?);
    let spec = state.task_spec(task).ok_or("the pod is gone")?;
    let filtered_out = names(case.get("/filteredOut"));
    let mut candidates: Vec<_> = state.node_ids().collect();
    candidates.retain(|&node| !filtered_out.iter().any(|name| name == cluster.names.node_name(node)));
    let scores = match config.score(plugin).ok_or("it scores nothing")? {
        KubeScore::Node(mut plugin) => plugin
            .applies(state, spec)
            .then(|| candidates.iter().map(|&node| plugin.score(state, spec, node)).collect::<Vec<_>>()),
        KubeScore::Candidates(mut plugin) => plugin.applies(state, spec).then(|| {
            let mut scores = Vec::new();
            plugin.score(state, spec, &candidates, &mut scores);
            scores
        }),
    };
    let got = scores.map(|scores| {
        let names = candidates.iter().map(|&node| cluster.names.node_name(node).to_owned());
        names.zip(scores).collect::<BTreeMap<_, _>>()
    });
    let expected = case.expect("scores").as_object().map(|scores| {
        let score = |score: &Value| score.as_i64().unwrap_or(i64::MIN);
        scores.iter().map(|(node, value)| (node.clone(), score(value))).collect::<BTreeMap<_, _>>()
    });
    let text = |scores: Option<BTreeMap<String, i64>>| {
        scores.map_or_else(|| "left out".to_owned(), |scores| format!("{scores:?}"))
    };
    Ok(Outcome::compare(text(expected), text(got)))
}

fn run_normalise(case: &Case) -> Outcome {
    let numbers =
        |value: &Value| value.as_array().into_iter().flatten().filter_map(Value::as_i64).collect::<Vec<_>>();
    let mut scores = numbers(case.get("/normalize/scores"));
    if case.get("/normalize/reverse").as_bool() == Some(true) {
        normalise_reversed(&mut scores);
    } else {
        normalise(&mut scores);
    }
    Outcome::compare(format!("{:?}", numbers(case.expect("scores"))), format!("{scores:?}"))
}
