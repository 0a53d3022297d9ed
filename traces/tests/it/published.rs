//! Facts of the published traces.

use std::collections::BTreeMap;

use foretell_traces::openb::{self, PodRow};
use foretell_traces::{JobRecord, NodeFormat, TraceFormat, open, philly, read_nodes};

use crate::fixture::published;

/// Pods, and milli-GPU of all of them.
fn check_pods(trace: &str, pods: usize, gpu_milli: u64) {
    let Some(path) = published(&format!("openb/openb_pod_list_{trace}.csv.gz")) else { return };
    let read = openb::read_pods(&path).unwrap();
    let total = read.iter().map(|pod| u64::from(pod.gpus) * u64::from(pod.gpu_milli)).sum::<u64>();
    assert_eq!((read.len(), total), (pods, gpu_milli), "of {trace}");
}

#[test]
fn openb_totals() {
    for trace in ["default", "cpu050", "cpu100", "cpu200", "cpu250"] {
        let pods = match trace {
            "cpu050" => 7439,
            "cpu100" => 7853,
            "cpu200" => 8832,
            "cpu250" => 9420,
            _ => 8152,
        };
        // Only the pods without GPUs differ.
        check_pods(trace, pods, 6_086_800);
    }
    check_pods("gpushare100", 8152, 3_952_670);
    check_pods("multigpu20", 8324, 7_086_800);
    check_pods("multigpu30", 8508, 8_086_800);
    check_pods("multigpu40", 8746, 9_442_800);
    check_pods("multigpu50", 9061, 11_358_800);
}

#[test]
fn openb_composition() {
    let Some(path) = published("openb/openb_pod_list_default.csv.gz") else { return };
    let pods = openb::read_pods(&path).unwrap();
    let count = |is: fn(&PodRow) -> bool| pods.iter().filter(|pod| is(pod)).count();
    assert_eq!(count(|pod| pod.gpus == 0), 1088);
    assert_eq!(count(|pod| pod.gpus == 1 && pod.gpu_milli == 1000), 3911);
    assert_eq!(count(|pod| pod.gpus == 1 && pod.gpu_milli < 1000), 3078);
    assert_eq!(count(|pod| pod.gpus == 2), 16);
    assert_eq!(count(|pod| pod.gpus == 4), 15);
    assert_eq!(count(|pod| pod.gpus == 8), 44);
    assert_eq!(count(|pod| (pod.gpus == 0) != (pod.gpu_milli == 0)), 0);
}

#[test]
fn openb_model_constraints() {
    for (trace, constrained) in
        [("gpuspec10", 732), ("gpuspec20", 1444), ("gpuspec25", 1759), ("gpuspec33", 2388)]
    {
        let Some(path) = published(&format!("openb/openb_pod_list_{trace}.csv.gz")) else { return };
        let jobs = open(&path, Some(TraceFormat::Openb)).unwrap();
        let with_models = jobs.filter(|job| !job.as_ref().unwrap().gpu_models.is_empty()).count();
        assert_eq!(with_models, constrained, "of {trace}");
    }
}

#[test]
fn openb_orders_and_ranks() {
    let Some(order) = published("openb/order/order_openb_pod_list_default.csv.gz") else { return };
    let seeds: Vec<u64> = (42..=51).collect();
    let orders = openb::read_order(&order, &seeds, 8152).unwrap();
    assert!(orders.keys().copied().eq(42..=51));
    // The originals, shuffled, and then clones up to 130 % of the GPUs.
    let mut originals = orders[&42][..8152].to_vec();
    originals.sort_unstable();
    assert!(originals.into_iter().eq(0..8152));
    assert_eq!(orders[&42].len(), 10_866);
    let ranks = published("openb/order/noderank_openb_pod_list_default.csv.gz").unwrap();
    assert_eq!(openb::read_node_rank(&ranks, &seeds, 1213).unwrap().len(), 10);
}

#[test]
fn openb_nodes() {
    let Some(path) = published("openb/openb_node_list_gpu_node.csv.gz") else { return };
    let nodes = read_nodes(&path, NodeFormat::Openb).unwrap();
    assert_eq!(nodes.len(), 1213);
    assert_eq!(nodes.iter().map(|node| node.cpu_milli).sum::<u64>(), 107_018_000);
    let mut gpus = BTreeMap::new();
    for node in &nodes {
        *gpus.entry(&*node.gpu_model).or_default() += node.gpus;
    }
    let expected = [
        ("A10", 2),
        ("G2", 4392),
        ("G3", 312),
        ("P100", 265),
        ("T4", 842),
        ("V100M16", 195),
        ("V100M32", 204),
    ];
    assert_eq!(gpus, expected.into());
    let all = published("openb/openb_node_list_all_node.csv.gz").unwrap();
    assert_eq!(read_nodes(&all, NodeFormat::Openb).unwrap().len(), 1523);
}

#[test]
fn philly_jobs_and_nodes() {
    let Some(path) = published("philly/philly_pollux_82247jobs.csv.gz") else { return };
    let jobs: Vec<JobRecord> = philly::read_jobs(&path).unwrap();
    let mut by_gpus = BTreeMap::new();
    for job in &jobs {
        *by_gpus.entry(job.tasks * job.gpus_per_task).or_insert(0) += 1;
    }
    let expected = [
        (1, 76_627),
        (2, 1818),
        (4, 1870),
        (8, 1643),
        (12, 7),
        (16, 199),
        (24, 7),
        (32, 67),
        (64, 6),
        (128, 3),
    ];
    assert_eq!(by_gpus, expected.into());
    assert!(jobs.iter().all(|job| job.gpus_per_task <= 8));
    // From 2017-09-04 10:30:41 to 2017-12-22 08:02:11.
    let span_s = jobs.last().unwrap().submit_s - jobs[0].submit_s;
    assert_eq!(span_s.to_bits(), 9_408_690.0_f64.to_bits());
    let nodes = read_nodes(&published("philly/philly_vc.csv").unwrap(), NodeFormat::Philly).unwrap();
    assert_eq!(nodes.len(), 352);
    let of_one = nodes.iter().filter(|node| &*node.virtual_cluster == "11cb48");
    assert_eq!(of_one.map(|node| node.gpus).sum::<u32>(), 128);
}

#[test]
fn every_job_is_valid_and_in_order_of_submission() {
    for name in ["openb/openb_pod_list_default.csv.gz", "philly/philly_pollux_82247jobs.csv.gz"] {
        let Some(path) = published(name) else { return };
        let mut previous_s = 0.0;
        for job in open(&path, None).unwrap() {
            let job = job.unwrap();
            job.check().unwrap();
            assert!(job.submit_s >= previous_s, "{} in {name}", job.id);
            previous_s = job.submit_s;
        }
    }
}
