//! "Did you mean": the known name nearest to a mistyped one.

/// The candidate that a typo most likely meant: at most a third of its letters away; of equals one with the same first
/// letter, which people rarely get wrong.
pub(crate) fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let typed = name.to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| {
            let known = candidate.to_lowercase();
            (edit_distance(&typed, &known), known.chars().next() != typed.chars().next(), candidate)
        })
        .filter(|&(distance, _, candidate)| distance <= candidate.chars().count().div_ceil(3))
        .min_by_key(|&(distance, other_start, _)| (distance, other_start))
        .map(|(_, _, candidate)| candidate)
}

/// `did you mean "x"?`, or else all that there is to choose from.
pub(crate) fn hint<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str> + Clone) -> String {
    if let Some(candidate) = nearest(name, candidates.clone()) {
        return format!("did you mean `{candidate}`?");
    }
    format!("expected {}", one_of(candidates))
}

/// `one of a, b, c`.
pub(crate) fn one_of<'a>(candidates: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<_> = candidates.into_iter().map(|name| format!("`{name}`")).collect();
    match names.as_slice() {
        [] => "none".to_owned(),
        [only] => only.clone(),
        _ => format!("one of {}", names.join(", ")),
    }
}

/// Insertions, deletions, substitutions and swaps of neighbours between two names (restricted Damerau-Levenshtein).
fn edit_distance(from: &str, to: &str) -> usize {
    let from: Vec<char> = from.chars().collect();
    let to: Vec<char> = to.chars().collect();
    let mut rows = vec![(0..=to.len()).collect::<Vec<_>>()];
    for i in 1..=from.len() {
        let mut row = vec![i];
        for j in 1..=to.len() {
            let substitution = rows[i - 1][j - 1] + usize::from(from[i - 1] != to[j - 1]);
            let mut best = substitution.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && from[i - 1] == to[j - 2] && from[i - 2] == to[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[from.len()][to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_within_reach_is_suggested() {
        let names = ["dgx-h100", "dgx-h200", "dgx-a100", "g4dn.metal"];
        let check = |typed, expected| assert_eq!(nearest(typed, names), expected, "{typed}");
        assert_eq!(nearest("H10", ["A10", "H100"]), Some("H100"));
        check("dgx-h100", Some("dgx-h100"));
        check("DGX-H200", Some("dgx-h200"));
        check("dgx-h010", Some("dgx-h100"));
        check("dgxh200", Some("dgx-h200"));
        check("gd4n.metal", Some("g4dn.metal"));
        check("hgx-h100", Some("dgx-h100"));
        check("tpu", None);
        check("", None);
    }

    #[test]
    fn a_swap_of_neighbours_is_one_edit() {
        let check = |from, to, expected| {
            assert_eq!(edit_distance(from, to), expected, "{from} -> {to}");
            assert_eq!(edit_distance(to, from), expected, "{to} -> {from}");
        };
        check("count", "cuont", 1);
        check("count", "count", 0);
        check("kitten", "sitting", 3);
        check("", "seed", 4);
    }
}
