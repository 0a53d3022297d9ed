//! Jobs with a network topology, through the allocate action and Volcano's plugins.

use foretell_actions::Allocate;
use foretell_framework::select::{BestFitGpus, BestNode};
use foretell_framework::state::{Domain, GangSpec, NetworkTopology, SubGroupPolicy, TopologyMode};
use foretell_framework::{
    ClusterState, DomainId, DomainTree, EnabledPlugin, JobId, JobPhase, JobSpec, NodeId, NodeSpec, Plugins,
    Profile, Reason, Session, SessionPlugin, Switches, Tiers, Time,
};
use foretell_gang::Gang;
use foretell_testkit::placement::{legal, random};
use foretell_testkit::{check_invariants, cluster, job_spec, task_spec};
use foretell_topology::NetworkTopologyAware;
use proptest::prelude::*;

fn profile() -> Profile {
    let plugin = |plugin: Box<dyn SessionPlugin>| EnabledPlugin { plugin, switches: Switches::default() };
    let topology = NetworkTopologyAware::default();
    let tiers = Tiers::new(vec![vec![plugin(Box::new(Gang)), plugin(Box::new(topology))]]);
    let plugins =
        Plugins::new(Box::new(BestNode), Box::new(BestFitGpus)).with_filters(legal()).with_tiers(tiers);
    Profile::new("topology".into(), plugins, vec![Box::new(Allocate::new(false))])
}

fn cycle(state: &mut ClusterState) -> usize {
    let (mut random, mut decisions) = (random(0), Vec::new());
    profile().cycle(&mut Session::new(state, Time::ZERO, &mut random, &mut decisions));
    decisions.len()
}

fn hard(tier: u32) -> NetworkTopology {
    NetworkTopology { mode: TopologyMode::Hard, highest_tier: Some(tier), highest_tier_name: None }
}

fn add(state: &mut ClusterState, text: &str, gang: GangSpec) -> JobId {
    let spec = job_spec(state, text);
    state.add_job(JobSpec { gang: Some(Box::new(gang)), phase: JobPhase::Inqueue, ..spec })
}

fn nodes(state: &ClusterState, job: JobId) -> Vec<NodeId> {
    let tasks = state.job(job).unwrap().tasks().iter();
    tasks.filter_map(|&task| Some(state.task(task)?.placement()?.node)).collect()
}

fn names(state: &ClusterState, job: JobId) -> String {
    let names: Vec<_> =
        nodes(state, job).iter().map(|&node| state.node(node).spec.name.to_string()).collect();
    names.join(" ")
}

#[test]
fn the_fullest_rack_that_holds_the_gang_is_taken() {
    let mut state = cluster(
        "a1: 8xH100 cpu=8 domain=pod/rackA
         a2: 8xH100 cpu=8 domain=pod/rackA
         b1: 8xH100 cpu=8 domain=pod/rackB | 4gpu cpu=4
         b2: 8xH100 cpu=8 domain=pod/rackB
         c1: 8xH100 cpu=8 domain=pod/rackC | 8gpu cpu=8
         c2: 8xH100 cpu=8 domain=pod/rackC",
    );
    let gang = GangSpec { network_topology: Some(hard(1)), ..GangSpec::default() };
    let job = add(&mut state, "3 x 4gpu cpu=4", gang);
    assert_eq!(cycle(&mut state), 3);
    // Rack C has room for two only; of A and B, B is the fuller one.
    assert!(nodes(&state, job).iter().all(|&node| state.node(node).spec.name.starts_with('b')));
}

#[test]
fn each_pair_stays_in_its_rack_while_the_job_spans_racks() {
    let mut state = cluster(
        "a1: 8xH100 domain=pod/rackA
         a2: 8xH100 domain=pod/rackA
         b1: 8xH100 domain=pod/rackB
         b2: 8xH100 domain=pod/rackB",
    );
    let policy = SubGroupPolicy {
        name: "pairs".into(),
        size: Some(2),
        match_label_keys: vec!["pair".into()],
        network_topology: Some(hard(1)),
        ..SubGroupPolicy::default()
    };
    let gang = GangSpec { network_topology: Some(hard(2)), sub_groups: vec![policy], ..GangSpec::default() };
    let job = add(&mut state, "2 x 8gpu label.pair=one; 2 x 8gpu label.pair=two", gang);
    assert_eq!(cycle(&mut state), 4);
    let names = names(&state, job);
    assert!(["a1 a2 b1 b2", "b1 b2 a1 a2"].contains(&&*names), "{names}");
}

#[test]
fn a_job_that_fits_the_cluster_but_no_rack_is_told_so() {
    let mut state = cluster(
        "a1: 8xH100 domain=pod/rackA
         a2: 8xH100 domain=pod/rackA
         b1: 8xH100 domain=pod/rackB",
    );
    let gang = GangSpec { network_topology: Some(hard(1)), ..GangSpec::default() };
    let job = add(&mut state, "3 x 8gpu", gang);
    let before = state.clone();
    assert_eq!(cycle(&mut state), 0);
    assert_eq!(state, before);
    let (mut random, mut decisions) = (random(0), Vec::new());
    let mut session = Session::new(&mut state, Time::ZERO, &mut random, &mut decisions);
    let reason = profile().explain(&mut session, job);
    let expected = Reason::NoDomain {
        tasks: 3,
        gpus: 8,
        tier: 1,
        roomiest: Some("rackA".into()),
        room: 2,
        cluster_room: 3,
    };
    assert_eq!(reason, expected);
    assert_eq!(state, before);
}

proptest! {
    /// No job is spread beyond the tier that it demands, none is placed in part, what is not placed leaves no trace, and
    /// a job that some allowed domain holds is placed.
    #[test]
    fn hard_topologies_hold(
        racks in proptest::collection::vec((0_usize..3, proptest::collection::vec(0_u32..=8, 1..5)), 1..6),
        jobs in proptest::collection::vec((1_u32..8, 1_u32..=8, 1_u32..4), 1..5),
    ) {
        let mut state = ClusterState::new();
        let model = state.gpu_model("H100").unwrap();
        let domain = |name: String, tier, parent| Domain { name: name.into(), tier, tier_name: "".into(), parent };
        let pods: Vec<DomainId> =
            (0..3).map(|index| state.add_domain(domain(format!("pod{index}"), 2, None))).collect();
        for (index, (pod, nodes)) in racks.iter().enumerate() {
            let rack = state.add_domain(domain(format!("rack{index}"), 1, Some(pods[*pod])));
            for (position, &gpus) in nodes.iter().enumerate() {
                let gpu_model = (gpus > 0).then_some(model);
                let name = format!("n{index}-{position}");
                state.add_node(NodeSpec { gpus, gpu_model, domain: Some(rack), ..NodeSpec::new(name) }).unwrap();
            }
        }
        let tree = DomainTree::new(&state);
        for (tasks, gpus, tier) in jobs {
            let gang = GangSpec { network_topology: Some(hard(tier)), ..GangSpec::default() };
            let class = task_spec(&mut state, &format!("{gpus}gpu"));
            let class = state.class(&class);
            let queue = state.queue_id("default");
            let sequence = state.jobs().count() as u64;
            let spec = JobSpec::new(sequence, queue, [(class, tasks)]);
            let job = state.add_job(JobSpec { gang: Some(Box::new(gang)), ..spec });
            let before = state.clone();
            let holds = |domain| {
                let rooms = tree.nodes(domain).iter().map(|&node| {
                    before.gpu_free_milli(node).iter().filter(|&&free| free == 1000).count() as u32 / gpus
                });
                rooms.sum::<u32>() >= tasks
            };
            let fits = (0..tree.len()).map(DomainId::new).any(|domain| tree.tier(domain) <= tier && holds(domain));
            cycle(&mut state);
            prop_assert_eq!(check_invariants(&state), Ok(()));
            let placed = nodes(&state, job);
            prop_assert_eq!(placed.len() as u32, if fits { tasks } else { 0 });
            if fits {
                let domain = tree.common_of(placed).unwrap();
                prop_assert!(tree.tier(domain) <= tier);
            } else {
                prop_assert_eq!(&state, &before);
            }
            // The next job is alone in its cycle: those that wait are gone.
            if !fits {
                state.remove_job(job);
            }
        }
    }
}
