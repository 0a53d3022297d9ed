//! Pollux' search.

use foretell_goodput::{GoodputTable, JobView, NodeType, Placement, Pollux};
use proptest::prelude::*;

use crate::{draws, table};

const CLUSTER: [NodeType; 1] = [NodeType { nodes: 4, gpus_per_node: 4 }];
const NODES: [u32; 4] = [4; 4];

fn job<'a>(id: u64, goodput: &'a GoodputTable, current: &'a [(usize, u32)]) -> JobView<'a> {
    JobView {
        id,
        gpus_least: 1,
        gpus_most: 16,
        goodput,
        age_s: 3600.0,
        restarts: 0,
        restart_s: 30.0,
        current,
    }
}

fn gpus(placement: &Placement) -> u32 {
    placement.iter().map(|&(_, gpus)| gpus).sum()
}

#[test]
fn a_job_alone_that_scales_gets_everything() {
    let steep = table(&CLUSTER, |s| f64::from(s.gpus));
    let placed = Pollux::default().allocate(&NODES, &[job(0, &steep, &[])], &mut draws(1));
    assert_eq!(placed, [vec![(0, 4), (1, 4), (2, 4), (3, 4)]]);
}

#[test]
fn what_does_not_scale_leaves_room_for_what_does() {
    let steep = table(&CLUSTER, |s| f64::from(s.gpus));
    let flat = table(&CLUSTER, |s| 1.0 - 0.1 * f64::from(s.gpus - 1));
    let jobs = [job(0, &flat, &[]), job(1, &steep, &[])];
    let placed = Pollux::default().allocate(&NODES, &jobs, &mut draws(2));
    assert_eq!((gpus(&placed[0]), gpus(&placed[1])), (1, 15));
}

#[test]
fn slow_links_keep_jobs_within_nodes() {
    let local = table(&CLUSTER, |s| if s.nodes == 1 { f64::from(s.gpus) } else { 0.5 });
    let jobs: Vec<_> = (0..4).map(|id| job(id, &local, &[])).collect();
    let placed = Pollux::default().allocate(&NODES, &jobs, &mut draws(3));
    assert!(placed.iter().all(|placement| placement.len() == 1 && gpus(placement) == 4), "{placed:?}");
}

#[test]
fn a_young_job_that_gains_little_stays() {
    let nearly_flat = table(&CLUSTER, |s| 1.0 + 0.01 * f64::from(s.gpus));
    let check = |age_s, stays: bool| {
        let jobs = [JobView { age_s, ..job(0, &nearly_flat, &[(2, 3)]) }];
        let placed = Pollux::default().allocate(&NODES, &jobs, &mut draws(4));
        assert_eq!(placed[0] == [(2, 3)], stays, "{age_s} {placed:?}");
    };
    check(60.0, true);
    check(1e7, false);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn allocations_are_legal(
        limits in proptest::collection::vec((1_u32..5, 0_u32..16, 0.1_f64..1.0), 1..9),
        seed: u64,
    ) {
        let tables: Vec<_> =
            limits.iter().map(|&(_, _, power)| table(&CLUSTER, |s| f64::from(s.gpus).powf(power))).collect();
        let mut pollux = Pollux::new(20, 10);
        let mut draw = draws(seed);
        let mut current = vec![Placement::new(); limits.len()];
        for _ in 0..3 {
            let jobs: Vec<_> = tables.iter().zip(&limits).zip(&current).enumerate()
                .map(|(id, ((goodput, &(least, more, _)), current))| JobView {
                    gpus_least: least,
                    gpus_most: least + more,
                    ..job(id as u64, goodput, current)
                }).collect();
            let placed = pollux.allocate(&NODES, &jobs, &mut draw);
            let mut used = [0; 4];
            let mut spanning = [0; 4];
            for (placement, job) in placed.iter().zip(&jobs) {
                prop_assert!(placement.is_empty() || (job.gpus_least..=job.gpus_most).contains(&gpus(placement)));
                for &(node, gpus) in placement {
                    used[node] += gpus;
                    spanning[node] += u32::from(placement.len() > 1);
                }
            }
            prop_assert!(used.iter().all(|&gpus| gpus <= 4), "{used:?}");
            prop_assert!(spanning.iter().all(|&jobs| jobs <= 1), "{spanning:?}");
            current = placed;
        }
    }
}
