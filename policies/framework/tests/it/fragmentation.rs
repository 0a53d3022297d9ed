//! FGD's measure of fragmentation.

use std::io::Read as _;
use std::io::Write;
use std::path::PathBuf;

use foretell_framework::{ClusterState, GpuModelId, GpuModelSet, NodeId, TaskShape, TypicalTasks};
use foretell_testkit::cluster;
use proptest::prelude::*;

fn shape(cpu_milli: u64, gpus: u32, gpu_milli: u32, models: Option<&[usize]>) -> TaskShape {
    let gpu_models_text = models.map_or(String::new(), |models| format!("{models:?}"));
    let gpu_models = models.unwrap_or_default().iter().copied().map(GpuModelId::new).collect();
    TaskShape { cpu_milli, gpu_milli, gpus, gpu_models_text, gpu_models }
}

/// The probabilities of these shapes are exact in binary, so the sums below are too.
fn workload() -> TypicalTasks {
    TypicalTasks::new(
        vec![
            (shape(4000, 1, 1000, None), 4),       // p = 0.5    one GPU, 4 cores
            (shape(2000, 1, 500, None), 2),        // p = 0.25   half a GPU, 2 cores
            (shape(8000, 0, 0, None), 1),          // p = 0.125  CPU only
            (shape(1000, 2, 1000, Some(&[1])), 1), // p = 0.125  two GPUs of model 1 (T4), 1 core
        ],
        1.0,
    )
}

/// Model 0 is the A100, model 1 the T4.
#[track_caller]
fn check(node: &str, expected_milli: f64, stranded_milli: u64) {
    let mut state = ClusterState::new();
    state.gpu_model_set(["A100", "T4"]).unwrap();
    let id = foretell_testkit::add_node(&mut state, node);
    let fragmentation = workload().of_node(&state, id);
    assert_eq!(
        (fragmentation.expected_milli, fragmentation.stranded_milli),
        (expected_milli, stranded_milli),
        "{node}"
    );
}

#[test]
fn worked_by_hand() {
    // No GPU, and no idle GPU: nothing can be fragmented.
    check("a: cpu=32", 0.0, 0);
    check("a: 2xT4 cpu=32 | 2gpu", 0.0, 0);
    // T = 1000 + 1000. One GPU: all devices serve. Half: likewise. CPU only: T. Two T4: wrong model, T.
    //   0.5*0 + 0.25*0 + 0.125*2000 + 0.125*2000 = 500; the luckiest task strands nothing.
    check("a: 2xA100 cpu=32", 500.0, 0);
    // The right model: two GPUs fit too.   0.125*2000 = 250
    check("a: 2xT4 cpu=32", 250.0, 0);
    // L = [1000, 400], T = 1400. One GPU: 400 lies on a device with too little. Half: 400. CPU only: 1400.
    // Two T4: one device does, T = 1400.   0.5*400 + 0.25*400 + 0.125*1400 + 0.125*1400 = 650; least 400.
    check("a: 2xT4 cpu=32 | 0.6gpu@1", 650.0, 400);
    // L = [500, 400], T = 900. One GPU: none, 900. Half: 400. CPU only and two: 900 each.
    //   0.5*900 + 0.25*400 + 0.125*900 + 0.125*900 = 775; least 400.
    check("a: 2xT4 cpu=32 | 0.5gpu@0, 0.6gpu@1", 775.0, 400);
    // L = [300, 400]: nothing fits but the CPU-only task, which uses no GPU: T = 700 for all.
    check("a: 2xT4 cpu=32 | 0.7gpu@0, 0.6gpu@1", 700.0, 700);
    // 3 cores left. One GPU: lacks CPU, T = 2000. Half: fits. CPU only: T, fits or not. Two: 1 core is enough.
    //   0.5*2000 + 0.25*0 + 0.125*2000 + 0.125*0 = 1250
    check("a: 2xT4 cpu=3", 1250.0, 0);
    // No CPU: T = 2000 for all.
    check("a: 2xT4", 2000.0, 2000);
    // A broken device gives nothing: L = [1000, 0], T = 1000. One and half: fit, nothing on lesser devices.
    //   0.125*1000 + 0.125*1000 = 250
    check("a: 2xT4 cpu=32 broken=1", 250.0, 0);
}

#[test]
fn without_a_workload_nothing_is_fragmented() {
    let state = cluster("a: 2xA100");
    for typical in [TypicalTasks::default(), TypicalTasks::new(Vec::new(), 0.95)] {
        assert!(typical.is_empty());
        assert_eq!(typical.of_node(&state, NodeId::new(0)), foretell_framework::Fragmentation::default());
    }
}

/// From the most frequent shape down until 95 % of the tasks are covered; equally frequent ones by CPU, share, number
/// of GPUs and text, all descending. What was taken is found by what it calls fragmented.
#[test]
fn typical_tasks_are_the_most_frequent() {
    let len = |counts: &[u64], share| {
        let shapes =
            counts.iter().enumerate().map(|(index, &count)| (shape(index as u64, 1, 1000, None), count));
        TypicalTasks::new(shapes.collect(), share).len()
    };
    assert_eq!(len(&[90, 5, 3, 2], 0.95), 2); // 95 of 100 is enough
    assert_eq!(len(&[90, 4, 3, 3], 0.95), 3); // 94 is not
    assert_eq!(len(&[3, 3, 4, 90], 0.95), 3); // in any order
    assert_eq!(len(&[100], 0.95), 1);
    assert_eq!(len(&[50, 50], 0.5), 1);
    assert_eq!(len(&[50, 50], 1.0), 2);
    assert_eq!(len(&[50, 50], 0.0), 0);

    // Two shapes of equal count, one of which is taken: p = (1/2) / (1/2) = 1. The node has 10 cores, one A100 with
    // 500 left and one whole. F is 0 if the task fits in any device, 500 if it needs a whole one, 1500 if neither.
    let taken = |left: TaskShape, right: TaskShape| {
        let mut state = cluster("a: 2xA100 cpu=10 | 0.5gpu@0");
        state.gpu_model("T4").unwrap();
        let expected =
            |counts| TypicalTasks::new(counts, 0.5).of_node(&state, NodeId::new(0)).expected_milli as u64;
        let forward = expected(vec![(left.clone(), 1), (right.clone(), 1)]);
        assert_eq!(forward, expected(vec![(right, 1), (left, 1)]), "the order of input does not matter");
        forward
    };
    assert_eq!(taken(shape(11_000, 1, 100, None), shape(1000, 1, 1000, None)), 1500, "more CPU first");
    assert_eq!(taken(shape(1000, 1, 1000, None), shape(1000, 3, 100, None)), 500, "then the larger share");
    assert_eq!(taken(shape(1000, 3, 100, None), shape(1000, 1, 100, None)), 1500, "then more devices");
    // "[1]" (the T4, which the node does not have) is after "[0]".
    assert_eq!(
        taken(shape(1000, 1, 100, Some(&[1])), shape(1000, 1, 100, Some(&[0]))),
        1500,
        "then the text"
    );
}

/// The recipe word by word: seven sums in order of typical tasks, six of them added in this order.
fn literal(shapes: &[(TaskShape, u64)], covered: f64, cpu_left: u64, left: &[u32], model: usize) -> f64 {
    let total: u64 = covered_total(shapes);
    let (mut q1, mut q2, mut q3, mut q4, mut xl, mut xr, mut no_access) = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0);
    let all: u64 = left.iter().map(|&left| u64::from(left)).sum();
    let (chosen, sum) = cut(shapes, covered);
    for (shape, count) in &chosen {
        let mut p = *count as f64 / total as f64;
        if chosen.len() < shapes.len() {
            p /= sum as f64 / total as f64;
        }
        let t = all as f64;
        let cpu_fits = cpu_left >= shape.cpu_milli;
        let gpu_fits = left.iter().filter(|&&left| left >= shape.gpu_milli).count() >= shape.gpus as usize;
        if shape.gpus == 0 {
            if cpu_fits { xl += p * t } else { xr += p * t }
        } else if !shape.gpu_models.allows(GpuModelId::new(model)) {
            no_access += p * t;
        } else if cpu_fits && gpu_fits {
            let lesser: u64 =
                left.iter().filter(|&&left| left < shape.gpu_milli).map(|&left| u64::from(left)).sum();
            q2 += p * lesser as f64;
            q3 += p * (all - lesser) as f64;
        } else if cpu_fits {
            q2 += p * t;
        } else if gpu_fits {
            q4 += p * t;
        } else {
            q1 += p * t;
        }
    }
    assert!(q3 >= 0.0);
    q1 + q2 + q4 + xl + xr + no_access
}

fn covered_total(shapes: &[(TaskShape, u64)]) -> u64 {
    shapes.iter().map(|(_, count)| count).sum()
}

/// The shapes that are taken, and how many tasks they cover.
fn cut(shapes: &[(TaskShape, u64)], percent: f64) -> (Vec<(TaskShape, u64)>, u64) {
    let mut sorted = shapes.to_vec();
    sorted.sort_by(|(a, more), (b, less)| {
        let key = |shape: &TaskShape| (shape.cpu_milli, shape.gpu_milli, shape.gpus);
        less.cmp(more).then(key(b).cmp(&key(a))).then(b.gpu_models_text.cmp(&a.gpu_models_text))
    });
    let target = percent * covered_total(shapes) as f64 / 100.0;
    let (mut chosen, mut sum) = (Vec::new(), 0);
    for entry in sorted {
        if sum as f64 >= target {
            break;
        }
        sum += entry.1;
        chosen.push(entry);
    }
    (chosen, sum)
}

fn shapes() -> impl Strategy<Value = Vec<(TaskShape, u64)>> {
    let models = prop_oneof![Just(Vec::new()), prop::collection::vec(0_usize..3, 1..3)];
    let gpu = prop_oneof![
        1 => Just((0, 0)),
        3 => (1_u32..=1, 1_u32..=1000),
        2 => (1_u32..=8, Just(1000)),
    ];
    let shape = (0_u64..16, gpu, models).prop_map(|(cpu, (gpus, gpu_milli), models)| TaskShape {
        cpu_milli: cpu * 1000,
        gpu_milli,
        gpus,
        gpu_models_text: format!("{models:?}"),
        gpu_models: models.into_iter().map(GpuModelId::new).collect(),
    });
    prop::collection::btree_map(shape, 1_u64..50, 1..60).prop_map(|shapes| shapes.into_iter().collect())
}

proptest! {
    /// To the last bit: scores are truncated, so the last bit can decide between two nodes.
    #[test]
    fn equals_the_recipe_to_the_bit(
        shapes in shapes(),
        percent in prop_oneof![Just(95_u32), 1_u32..=100],
        nodes in prop::collection::vec((0_u64..20_000, prop::collection::vec(prop_oneof![Just(1000), Just(0), 0_u32..1000], 0..9), 0_usize..3), 1..10),
    ) {
        let typical = TypicalTasks::new(shapes.clone(), f64::from(percent) / 100.0);
        // In percent as the code sees it; for the 95 of the study these are equal to the bit.
        let percent = f64::from(percent) / 100.0 * 100.0;
        prop_assert_eq!(typical.len(), cut(&shapes, percent).0.len());
        for (cpu_left, left, model) in nodes {
            let ours = typical.evaluate(cpu_left, &left, GpuModelId::new(model)).expected_milli;
            let recipe = literal(&shapes, percent, cpu_left, &left, model);
            prop_assert_eq!(ours.to_bits(), recipe.to_bits(), "{} {}", ours, recipe);
        }
    }
}

#[test]
fn the_study_takes_95_percent_to_the_bit() {
    assert_eq!((0.95_f64 * 100.0).to_bits(), 95.0_f64.to_bits());
}

/// The numbers of typical shapes of the published traces, where the data are at hand.
#[test]
fn the_published_traces_have_their_typical_shapes() {
    for (trace, expected) in [("default", 35), ("gpuspec33", 127)] {
        let Some(text) = openb_pods(trace) else { continue };
        let shapes = text.lines().skip(1).map(|line| {
            let fields: Vec<&str> = line.split(',').collect();
            let number = |column: usize| fields[column].parse::<u64>().unwrap();
            let gpus = number(3) as u32;
            let (gpu_milli, models) =
                if gpus == 0 { (0, "") } else { (number(4).min(1000) as u32, fields[5]) };
            let gpu_models_text = models.to_string();
            let gpu_models = GpuModelSet::ANY;
            (TaskShape { cpu_milli: number(1), gpu_milli, gpus, gpu_models_text, gpu_models }, 1)
        });
        assert_eq!(TypicalTasks::of_tasks(shapes, 0.95).len(), expected, "{trace}");
    }
}

#[expect(clippy::disallowed_methods, reason = "a test that reads published data if there are any")]
fn openb_pods(trace: &str) -> Option<String> {
    let shared = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data");
    let data = std::env::var("FORETELL_DATA").map_or_else(|_| PathBuf::from(shared), PathBuf::from);
    let path = data.join(format!("openb/openb_pod_list_{trace}.csv.gz"));
    let Ok(bytes) = std::fs::read(&path) else {
        // Straight to standard error: what a test that passes prints is captured.
        let _ = writeln!(std::io::stderr(), "skipped: no {}", path.display());
        return None;
    };
    let mut text = String::new();
    flate2::read::GzDecoder::new(&bytes[..]).read_to_string(&mut text).expect("a gzip file of text");
    Some(text)
}
