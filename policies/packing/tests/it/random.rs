//! Random choices are uniform over what is feasible, and repeat with the seed.

use foretell_framework::{NodeId, PickGpus};
use foretell_packing::{RandomGpus, RandomNode};
use foretell_testkit::placement::{plugins, random};
use foretell_testkit::{cluster, task_spec};

const DRAWS: u32 = 6000;

/// Pearson's statistic of counts that should be equal. With 5 degrees of freedom one in a thousand fair experiments
/// exceeds 20.5.
fn chi_square(counts: &[u32]) -> f64 {
    let expected = f64::from(counts.iter().sum::<u32>()) / counts.len() as f64;
    counts.iter().map(|&count| (f64::from(count) - expected).powi(2) / expected).sum()
}

#[test]
fn nodes_are_chosen_uniformly_among_the_feasible() {
    let mut state = cluster(
        "a: 1xT4\nfull: 1xT4 | 1gpu\nb: 8xA100\nc: 2xT4 | 1gpu\nd: 1xT4\nnone: cpu=8\ne: 4xA100\ncordoned: 8xT4 cordoned\nf: 1xT4",
    );
    let spec = task_spec(&mut state, "1gpu");
    let class = state.class(&spec);
    let mut random = random(7);
    let mut plugins = plugins(RandomNode);
    let mut counts = vec![0; state.nodes().len()];
    for _ in 0..DRAWS {
        counts[plugins.choose_node(&state, class, &mut random).unwrap().index()] += 1;
    }
    let feasible = [0, 2, 3, 4, 6, 8].map(|node| std::mem::take(&mut counts[node]));
    assert_eq!(counts.iter().sum::<u32>(), 0, "an infeasible node was chosen: {counts:?}");
    assert!(chi_square(&feasible) < 20.5, "{feasible:?}");
}

#[test]
fn devices_are_chosen_uniformly_among_those_that_fit() {
    let mut state = cluster("a: 8xA100 broken=6 | 0.5gpu@0, 0.6gpu@3, 0.1gpu@5");
    let spec = task_spec(&mut state, "0.5gpu");
    let mut random = random(7);
    let mut counts = vec![0; 8];
    for _ in 0..DRAWS {
        let devices = RandomGpus.pick(&state, &spec, NodeId::new(0), &mut random);
        assert_eq!(devices.len(), 1);
        counts[devices.iter().next().unwrap()] += 1;
    }
    let fitting = [0, 1, 2, 4, 5, 7].map(|device| std::mem::take(&mut counts[device]));
    assert_eq!(counts.iter().sum::<u32>(), 0, "a device that does not fit was chosen: {counts:?}");
    assert!(chi_square(&fitting) < 20.5, "{fitting:?}");
}

#[test]
fn nothing_feasible_is_no_choice() {
    let mut state = cluster("a: 1xT4 | 1gpu");
    let spec = task_spec(&mut state, "1gpu");
    let class = state.class(&spec);
    assert_eq!(plugins(RandomNode).choose_node(&state, class, &mut random(0)), None);
}

#[test]
fn the_seed_decides() {
    let mut state = cluster("a: 8xT4\nb: 8xT4\nc: 8xT4\nd: 8xT4");
    let spec = task_spec(&mut state, "1gpu");
    let class = state.class(&spec);
    let draws = |seed| {
        let (mut random, mut plugins) = (random(seed), plugins(RandomNode));
        (0..32).map(|_| plugins.choose_node(&state, class, &mut random)).collect::<Vec<_>>()
    };
    let draws = [draws(1), draws(1), draws(2)];
    assert_eq!(draws[0], draws[1]);
    assert_ne!(draws[0], draws[2]);
}
