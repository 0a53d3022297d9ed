//! The integer program against trying everything.

use foretell_goodput::{Choice, Exact, Selection, Shape, Solver};
use proptest::prelude::*;

/// Every admissible answer, one job after the other.
fn best_of_all(selection: &Selection, job: usize, chosen: &mut Vec<usize>) -> f64 {
    if job == selection.jobs {
        return selection.worth(chosen);
    }
    let mut best = best_of_all(selection, job + 1, chosen);
    for (at, choice) in selection.choices.iter().enumerate() {
        if choice.job == job {
            chosen.push(at);
            if selection.admits(chosen) {
                best = best.max(best_of_all(selection, job + 1, chosen));
            }
            chosen.pop();
        }
    }
    best
}

fn selections() -> impl Strategy<Value = Selection> {
    let choice = (0_usize..2, 1_u32..6, 0.01..2.0);
    let jobs = proptest::collection::vec(proptest::collection::vec(choice, 0..4), 0..6);
    (jobs, proptest::collection::vec(0_u32..9, 2)).prop_map(|(jobs, capacities)| Selection {
        jobs: jobs.len(),
        capacities,
        choices: jobs
            .into_iter()
            .enumerate()
            .flat_map(|(job, choices)| {
                choices.into_iter().map(move |(gpu_type, gpus, worth)| Choice {
                    job,
                    shape: Shape { gpu_type, gpus, nodes: 1 },
                    worth,
                })
            })
            .collect(),
    })
}

proptest! {
    #[test]
    fn the_exact_answer_is_the_best(selection in selections()) {
        let chosen = Exact::default().choose(&selection).unwrap();
        prop_assert!(selection.admits(&chosen));
        let best = best_of_all(&selection, 0, &mut Vec::new());
        prop_assert!((selection.worth(&chosen) - best).abs() < 1e-9, "{} {}", selection.worth(&chosen), best);
    }

    #[test]
    fn without_tables_the_answer_is_still_admissible(selection in selections()) {
        let chosen = Exact { cells: 0 }.choose(&selection).unwrap();
        prop_assert!(selection.admits(&chosen));
    }
}
