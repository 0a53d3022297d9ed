//! Sia's shapes, choices and nodes.

use foretell_goodput::{
    Exact, GoodputTable, JobView, NodeType, Shape, Sia, Wanted, doubled, node_types, pack, shape_of,
};
use proptest::prelude::*;

use crate::table;

const CLUSTER: [NodeType; 2] =
    [NodeType { nodes: 3, gpus_per_node: 4 }, NodeType { nodes: 2, gpus_per_node: 8 }];

fn shape(gpu_type: usize, gpus: u32, nodes: u32) -> Shape {
    Shape { gpu_type, gpus, nodes }
}

fn job<'a>(id: u64, goodput: &'a GoodputTable, current: &'a [(usize, u32)]) -> JobView<'a> {
    JobView {
        id,
        gpus_least: 1,
        gpus_most: 64,
        goodput,
        age_s: 3600.0,
        restarts: 0,
        restart_s: 30.0,
        current,
    }
}

#[test]
fn shapes_are_parts_by_powers_of_two_and_whole_nodes() {
    let found: Vec<_> = Sia::shapes(&CLUSTER).iter().map(|s| (s.gpu_type, s.gpus, s.nodes)).collect();
    let small = [(0, 1, 1), (0, 2, 1), (0, 4, 1), (0, 8, 2), (0, 12, 3)];
    let large = [(1, 1, 1), (1, 2, 1), (1, 4, 1), (1, 8, 1), (1, 16, 2)];
    assert_eq!(found, [small, large].concat());
}

#[test]
fn jobs_may_double() {
    let check =
        |had, least, most, expected| assert_eq!(doubled(had, least, most), expected, "{had} {least} {most}");
    check(0, 1, 64, 1);
    check(0, 8, 64, 8);
    check(1, 1, 64, 2);
    check(6, 1, 64, 12);
    check(48, 1, 64, 64);
}

#[test]
fn each_gets_the_type_that_it_gains_most_from() {
    // One is four times as fast on the second type, one is indifferent.
    let keen = table(&CLUSTER, |s| f64::from(s.gpus) * if s.gpu_type == 1 { 4.0 } else { 1.0 });
    let even = table(&CLUSTER, |s| f64::from(s.gpus));
    let jobs = [job(0, &even, &[]), job(1, &keen, &[])];
    let shapes = Sia::default().choose(&CLUSTER, &jobs, &mut Exact::default());
    assert_eq!(shapes, [Some(shape(0, 12, 3)), Some(shape(1, 16, 2))]);
}

#[test]
fn a_job_that_gains_little_is_not_restarted() {
    let flat = table(&CLUSTER, |s| 1.0 + 0.01 * f64::from(s.gpus));
    let steep = table(&CLUSTER, |s| f64::from(s.gpus));
    let check = |goodput, age_s, expected: Shape| {
        let current = [(0, 2)];
        let jobs = [JobView { age_s, ..job(0, goodput, &current) }];
        assert_eq!(Sia::default().choose(&CLUSTER, &jobs, &mut Exact::default()), [Some(expected)]);
    };
    check(&flat, 60.0, shape(0, 2, 1));
    check(&flat, 1e6, shape(1, 16, 2));
    check(&steep, 60.0, shape(1, 16, 2));
}

#[test]
fn parts_are_packed_anew_where_they_would_not_fit() {
    // Two jobs with two GPUs of a node each have the nodes in halves: a job of four needs one of them to move.
    let cluster = [NodeType { nodes: 2, gpus_per_node: 4 }];
    let half = Some(shape(0, 2, 1));
    let current = [vec![(0, 2)], vec![(1, 2)], vec![]];
    let jobs = [half, half, Some(shape(0, 4, 1))];
    let jobs: Vec<_> =
        jobs.into_iter().zip(&current).map(|(shape, current)| Wanted { shape, current }).collect();
    assert_eq!(pack(&cluster, &jobs), [vec![(1, 2)], vec![(1, 2)], vec![(0, 4)]]);
    // Without it both stay.
    assert_eq!(pack(&cluster, &jobs[..2]), [vec![(0, 2)], vec![(1, 2)]]);
}

proptest! {
    #[test]
    fn what_sia_chooses_is_placed(
        slopes in proptest::collection::vec((0.1_f64..1.0, 0.2_f64..5.0, 0.0_f64..1e5), 1..12),
        rounds in 1_usize..5,
    ) {
        let types = node_types(&CLUSTER);
        let tables: Vec<_> = slopes.iter().map(|&(power, faster, _)| {
            table(&CLUSTER, |s| f64::from(s.gpus).powf(power) * if s.gpu_type == 1 { faster } else { 1.0 })
        }).collect();
        let mut current = vec![Vec::new(); slopes.len()];
        for round in 0..rounds {
            let jobs: Vec<_> = tables.iter().zip(&slopes).zip(&current).enumerate()
                .map(|(id, ((goodput, &(_, _, age_s)), current))| JobView {
                    age_s: age_s + 60.0 * round as f64,
                    gpus_most: 1 << (2 * round),
                    ..job(id as u64, goodput, current)
                }).collect();
            let sia = Sia::default();
            let shapes = sia.choose(&CLUSTER, &jobs, &mut Exact::default());
            let placed = sia.allocate(&CLUSTER, &jobs, &mut Exact::default());
            let mut used = vec![0; types.len()];
            for (placement, shape) in placed.iter().zip(&shapes) {
                prop_assert_eq!(shape_of(placement, &types), *shape);
                for &(node, gpus) in placement {
                    prop_assert_eq!(Some(types[node]), shape.map(|shape| shape.gpu_type));
                    used[node] += gpus;
                }
            }
            for (node, &used) in used.iter().enumerate() {
                prop_assert!(used <= CLUSTER[types[node]].gpus_per_node);
            }
            current = placed;
        }
    }
}
