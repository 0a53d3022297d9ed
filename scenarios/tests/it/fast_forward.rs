//! Training jobs that are advanced in one jump between changes, against a run in which they make every step one by one; and where a
//! step is slower.

use std::collections::BTreeMap;
use std::sync::Arc;

use foretell_scenarios::fabric::network::{
    Attachment, Member, Network, NetworkSpec, Routing, Shape, Uplinks, Width,
};
use foretell_scenarios::sim::framework::{ClusterState, GpuModelSet, GpuSet, JobId, NodeId, Time};
use foretell_scenarios::sim::log::{JobStatus, Observer, Record};
use foretell_scenarios::sim::traffic::{Phases, PlacementShape, StepModel, Traffic};
use foretell_scenarios::{Fabric, Plan};
use proptest::prelude::*;
use slotmap::SlotMap;

use crate::{read, with};

/// A pod with GPUs: its node, its devices, and the GPUs that the node has.
type Pod = (NodeId, GpuSet, u32);

/// What a run tells of a job.
struct Seen {
    model: Arc<dyn StepModel>,
    duration_s: f64,
    /// By rank.
    pods: BTreeMap<u32, Pod>,
    gpu_models: GpuModelSet,
    start: Option<Time>,
    finish: Option<Time>,
}

impl Seen {
    /// Its nodes in order of their lowest ranks.
    fn nodes(&self) -> Vec<Pod> {
        let mut nodes: Vec<Pod> = Vec::new();
        for &(node, gpus, of_node) in self.pods.values() {
            match nodes.iter_mut().find(|known| known.0 == node) {
                Some(known) => known.1 = GpuSet::from_bits(known.1.bits() | gpus.bits()),
                None => nodes.push((node, gpus, of_node)),
            }
        }
        nodes
    }

    fn shape(&self) -> PlacementShape {
        let nodes = self.nodes();
        let shape = PlacementShape::new(nodes.iter().map(|(_, gpus, _)| gpus.len()), self.gpu_models);
        match nodes[..] {
            [(_, devices, _)] => shape.on_devices(devices),
            _ => shape,
        }
    }

    /// How many steps it is to make.
    fn steps(&self) -> u64 {
        (self.duration_s / self.model.reference_step_s()).round() as u64
    }
}

#[derive(Default)]
struct Heard(Vec<Seen>);

impl Observer for Heard {
    fn advance(&mut self, _from: Time, _to: Time, _state: &ClusterState) {}

    fn record(&mut self, now: Time, record: &Record<'_>, state: &ClusterState) {
        match *record {
            Record::JobSubmitted { submission, .. } => self.0.push(Seen {
                model: Arc::clone(submission.step_model.as_ref().unwrap()),
                duration_s: submission.duration.unwrap().as_s(),
                pods: BTreeMap::new(),
                gpu_models: std::iter::empty().collect(),
                start: None,
                finish: None,
            }),
            Record::PodBound { job, rank, node, gpus, .. } => {
                let seen = &mut self.0[job as usize];
                seen.pods.insert(rank, (node, gpus, state.node(node).spec.gpus));
                seen.gpu_models = state.node(node).spec.gpu_model.into_iter().collect();
            }
            Record::JobStarted { job, .. } => self.0[job as usize].start = Some(now),
            Record::JobFinished { job, .. } => self.0[job as usize].finish = Some(now),
            _ => {}
        }
    }
}

/// A job on its way through its steps.
struct Active {
    job: usize,
    steps_left: u64,
    /// What is left of the step at hand.
    part: f64,
    step_s: f64,
}

/// When jobs end that begin when and where those of the run did, and then make one step after the other. Whenever one begins or ends,
/// what steps take is worked out afresh for all.
fn step_by_step(jobs: &[Seen], fabric: &Fabric, phases: Phases) -> Vec<f64> {
    let mut in_order: Vec<usize> = (0..jobs.len()).collect();
    in_order.sort_by_key(|&job| jobs[job].start.unwrap());
    let mut to_come = in_order.into_iter().peekable();
    let mut active: Vec<Active> = Vec::new();
    let mut ends_s = vec![0.0; jobs.len()];
    let mut now_s = 0.0;
    loop {
        let start_s = to_come.peek().map_or(f64::INFINITY, |&job| jobs[job].start.unwrap().as_s());
        let step_end = |one: &Active| now_s + one.part * one.step_s;
        let next_s = active.iter().map(step_end).fold(start_s, f64::min);
        if next_s.is_infinite() {
            return ends_s;
        }
        let mut has_changed = false;
        active.retain_mut(|one| {
            if now_s + one.part * one.step_s > next_s {
                one.part -= (next_s - now_s) / one.step_s;
                return true;
            }
            (one.part, one.steps_left) = (1.0, one.steps_left - 1);
            if one.steps_left == 0 {
                (ends_s[one.job], has_changed) = (next_s, true);
            }
            one.steps_left > 0
        });
        now_s = next_s;
        while let Some(job) = to_come.next_if(|&job| jobs[job].start.unwrap().as_s() <= now_s) {
            active.push(Active { job, steps_left: jobs[job].steps(), part: 1.0, step_s: 0.0 });
            has_changed = true;
        }
        if has_changed {
            set_steps(jobs, &mut active, fabric, phases);
        }
    }
}

fn set_steps(jobs: &[Seen], active: &mut [Active], fabric: &Fabric, phases: Phases) {
    let mut traffic = Traffic::new(fabric.network().unwrap(), fabric.routing, phases).unwrap();
    let mut ids = SlotMap::<JobId, ()>::with_key();
    let mut placed = Vec::new();
    for one in &*active {
        let (id, law) = (ids.insert(()), Arc::new(jobs[one.job].model.law(&jobs[one.job].shape())));
        let members = jobs[one.job].nodes().into_iter().map(|(node, gpus, of_node)| Member {
            node: node.index() as u32,
            rails: traffic.rails_of(gpus.iter(), of_node),
        });
        let members = members.collect();
        traffic.place(id, Arc::clone(&law), members);
        placed.push((id, law));
    }
    traffic.take_changed();
    for (one, (id, law)) in active.iter_mut().zip(placed) {
        one.step_s = traffic.stepping(id).map_or_else(|| law.alone_s(), |stepping| stepping.step_s);
    }
}

const MODELS: [&str; 4] = [
    "model = \"resnet-50\", strategy = \"horovod\", precision = \"fp16\", samples_per_gpu = 16",
    "model = \"vgg-16\", strategy = \"ddp\", precision = \"fp16\", samples_per_gpu = 8",
    "model = \"bert-large\", strategy = \"ddp\", samples_per_gpu = 4",
    "model = \"llama-3-8b\", strategy = \"fsdp\", samples_per_gpu = 1",
];

/// Twelve nodes of 8 GPUs in leaves of two, with an eighth of the way up, and jobs that train for so many steps.
fn scenario(seed: u64, phases: &str, rails: bool, steps: &[u32]) -> String {
    let fabric = format!(
        "count = 12 }}]\nfabric = {{ shape = \"three_tier\", nodes_per_leaf = 2, rails = {rails}, oversubscription = 8, \
         leaves_per_pod = {}, spine_oversubscription = 2 }}",
        if rails { 16 } else { 2 },
    );
    let sizes = "weight = 1, gpus_per_task = 8 }, { weight = 2, tasks = 2, gpus_per_task = 8 }, \
                 { weight = 2, tasks = 3, gpus_per_task = 8 }, { weight = 1, tasks = 5, gpus_per_task = 8 }, \
                 { weight = 1, tasks = 3, gpus_per_task = 4";
    let classes: Vec<String> = MODELS
        .iter()
        .zip(steps)
        .enumerate()
        .map(|(index, (model, steps))| {
            format!("{{ name = \"{index}\", train = {{ {model}, steps = {steps} }} }}")
        })
        .collect();
    let text = with("count = 2 }]", &fabric).replace("weight = 1, gpus_per_task = 1", sizes);
    let text = text
        .replace("load = 0.5", "rate_per_hour = 1000")
        .replace("version = 1", &format!("version = 1\nseed = {seed}"));
    format!("{text}[workload.communication]\nphases = \"{phases}\"\nclasses = [{}]\n", classes.join(", "))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(24) })]

    /// Whoever comes and goes beside them, in whatever order, jobs end when they would if they made every step by itself.
    #[test]
    fn one_jump_is_as_good_as_every_step(
        seed in 0_u64..1_000_000,
        is_synchronised in any::<bool>(),
        rails in any::<bool>(),
        policy in prop::sample::select(vec!["fifo+random", "fifo+spread", "fifo+binpack", "fifo+topology"]),
        steps in prop::collection::vec(1_u32..400, MODELS.len()),
    ) {
        let (name, phases) =
            if is_synchronised { ("synchronised", Phases::Synchronised) } else { ("interleaved", Phases::Interleaved) };
        let plan = Plan::new(read(&scenario(seed, name, rails, &steps), &[]).unwrap()).unwrap();
        let mut heard = Heard::default();
        let result = plan.run(policy, &mut heard, &mut |_| ()).unwrap();
        let fabric = plan.scenario().fabric.as_ref().unwrap();
        let ends_s = step_by_step(&heard.0, fabric, phases);
        prop_assert!(result.jobs.iter().all(|job| job.status == JobStatus::Completed));
        for (seen, end_s) in heard.0.iter().zip(ends_s) {
            prop_assert!(steps.iter().any(|&steps| u64::from(steps) == seen.steps()));
            let (start_s, finish_s) = (seen.start.unwrap().as_s(), seen.finish.unwrap().as_s());
            // Speeds are kept in millionths.
            let near_s = 5e-6 * (finish_s - start_s) + 1e-6;
            prop_assert!((finish_s - end_s).abs() < near_s, "from {start_s} s to {finish_s} s, step by step {end_s} s");
        }
    }
}

const NODES_PER_LEAF: u32 = 8;
const LEAVES: u32 = 8;
const PODS: u32 = 8;

/// Nodes for ranks in order: at a cut of the first kind the next leaf begins, at one of the second kind the next pod.
fn nodes(ranks: usize, leaf_cuts: &[usize], pod_cuts: &[usize]) -> Vec<u32> {
    let (mut pod, mut leaf, mut place) = (0, 0, 0);
    let nodes = (0..ranks).map(|rank| {
        if pod_cuts.contains(&rank) {
            (pod, leaf, place) = (pod + 1, 0, 0);
        } else if leaf_cuts.contains(&rank) {
            (leaf, place) = (leaf + 1, 0);
        }
        place += 1;
        (pod * LEAVES + leaf) * NODES_PER_LEAF + place - 1
    });
    nodes.collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    /// The same GPUs of as many nodes: a ring in order of the tree is never faster on more leaves or more pods, nor in another order, and
    /// one node is as good as any; alone, and beside a neighbour that stays where it is.
    #[test]
    fn a_worse_place_is_never_faster(
        model in 0..MODELS.len(),
        ranks in 2_usize..=8,
        gpus in prop::sample::select(vec![4_u32, 8]),
        (leaf_cuts, kept_leaf_cuts) in (prop::collection::vec(1_usize..8, 0..5), 0_usize..5),
        (pod_cuts, kept_pod_cuts) in (prop::collection::vec(1_usize..8, 0..4), 0_usize..4),
        order in Just((0..8).collect::<Vec<usize>>()).prop_shuffle(),
        (leaf_ratio, spine_ratio, nic_gb_per_s) in (1.0..16.0_f64, 1.0..8.0_f64, 1.0..50.0_f64),
        is_synchronised in any::<bool>(),
    ) {
        let phases = if is_synchronised { Phases::Synchronised } else { Phases::Interleaved };
        // A job of the model as a scenario makes it.
        let class = format!("classes = [{{ name = \"a\", train = {{ {}, steps = 1 }} }}]", MODELS[model]);
        let size = format!("weight = 1, tasks = {ranks}, gpus_per_task = {gpus}");
        let text = with("count = 2 }]", "count = 8 }]").replace("weight = 1, gpus_per_task = 1", &size);
        let text = text.replace("jobs = 10", "jobs = 1");
        let plan = Plan::new(read(&format!("{text}[workload.communication]\n{class}\n"), &[]).unwrap()).unwrap();
        let mut heard = Heard::default();
        plan.run("default", &mut heard, &mut |_| ()).unwrap();
        let [job] = &heard.0[..] else { panic!("one job was told") };
        let up = |ratio| Uplinks { switches: 1, width: Width::Oversubscription(ratio) };
        let shape = Shape::ThreeTier {
            attachment: Attachment::ByNode { nodes_per_leaf: NODES_PER_LEAF },
            spines: up(leaf_ratio),
            leaves_per_pod: LEAVES,
            cores: up(spine_ratio),
        };
        let spec = NetworkSpec { nodes: NODES_PER_LEAF * LEAVES * PODS, nics_per_node: 8, nic_gb_per_s, shape };
        let network = Network::new(&spec).unwrap();
        let law_on = |counts: Vec<u32>| Arc::new(job.model.law(&PlacementShape::new(counts, job.gpu_models)));
        let law = law_on(vec![gpus; ranks]);
        let step_s = |nodes: &[u32]| {
            let mut traffic = Traffic::new(network.clone(), Routing::Adaptive, phases).unwrap();
            let id = SlotMap::<JobId, ()>::with_key().insert(());
            let rails: Vec<u32> = (0..gpus).collect();
            let members = nodes.iter().map(|&node| Member { node, rails: rails.clone() }).collect();
            traffic.place(id, Arc::clone(&law), members);
            traffic.take_changed();
            traffic.stepping(id).map_or_else(|| law.alone_s(), |stepping| stepping.step_s)
        };
        let worse = step_s(&nodes(ranks, &leaf_cuts, &pod_cuts));
        let (fewer_leaf, fewer_pod) = (
            &leaf_cuts[..kept_leaf_cuts.min(leaf_cuts.len())],
            &pod_cuts[..kept_pod_cuts.min(pod_cuts.len())],
        );
        // A pod's cut that is gone leaves one of leaves, so that only the pod is another.
        let leaf_cuts_left: Vec<usize> = fewer_leaf.iter().chain(&pod_cuts).copied().collect();
        let better_pods = step_s(&nodes(ranks, &[&leaf_cuts[..], &pod_cuts[..]].concat(), fewer_pod));
        let better_leaves = step_s(&nodes(ranks, &leaf_cuts_left, &pod_cuts));
        let together = step_s(&nodes(ranks, &[], &[]));
        let sorted = nodes(ranks, &leaf_cuts, &pod_cuts);
        let shuffled: Vec<u32> = order.iter().filter_map(|&rank| sorted.get(rank).copied()).collect();
        let shuffled = step_s(&shuffled);
        for (name, better, worse) in [
            ("fewer pods", better_pods, worse),
            ("fewer leaves", better_leaves, worse),
            ("one leaf", together, better_pods),
            ("one leaf", together, better_leaves),
            ("in order", worse, shuffled),
        ] {
            prop_assert!(better <= worse * (1.0 + 1e-9), "{name}: {better} s, worse {worse} s");
        }
    }
}
