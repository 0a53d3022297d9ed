//! Queues, tiers of the network, and jobs that are more than a trace tells.

use foretell_scenarios::Plan;
use foretell_scenarios::sim::framework::state::TopologyMode;
use foretell_scenarios::sim::framework::{ClusterState, Time};
use foretell_scenarios::sim::log::{Observer, Record};

use crate::{check, read, with};

#[test]
fn what_cannot_be_is_said() {
    let queues = |text: &str| with("[workload.synthetic]", &format!("{text}\n[workload.synthetic]"));
    check(
        &queues("[[queue]]\nname = \"a\"\nparent = \"b\"\n[[queue]]\nname = \"b\"\nparent = \"a\""),
        "7:10: queue[0].parent: a queue must not contain itself\n\
         10:10: queue[1].parent: a queue must not contain itself",
    );
    check(
        &queues("[[queue]]\nname = \"teams\"\n[[queue]]\nname = \"teams\"\nparent = \"team\""),
        "8:8: queue[1].name: two queues have the name `teams`\n\
         9:10: queue[1].parent: unknown queue `team` (did you mean `teams`?)",
    );
    check(
        &with(
            "nodes = [{ type",
            "topology = [{ name = \"leaf\", nodes = 4 }, { name = \"spine\", nodes = 6 }]\n\
             blocked_nodes = [\"dgx-h100-0002\"]\nnodes = [{ type",
        ),
        "4:69: cluster.topology[1].nodes: expected a multiple of the tier below, which has 4 nodes\n\
         5:18: cluster.blocked_nodes[0]: unknown node `dgx-h100-0002` (did you mean `dgx-h100-0000`?)",
    );
    check(
        &with(
            "gpus_per_task = 1 }",
            "gpus_per_task = 1, min_tasks = 2, network_topology = { mode = \"hard\", highest_tier = \"leaf\" } }",
        ),
        "8:55: workload.synthetic.sizes[0].min_tasks: expected at most the number of tasks (1), got 2\n\
         8:109: workload.synthetic.sizes[0].network_topology.highest_tier: unknown tier `leaf` (expected none)",
    );
}

/// Looks at the first job that runs.
#[derive(Default)]
struct Look(Option<ClusterState>);

impl Observer for Look {
    fn advance(&mut self, _from: Time, _to: Time, state: &ClusterState) {
        if self.0.is_none() && state.jobs().next().is_some() {
            self.0 = Some(state.clone());
        }
    }

    fn record(&mut self, _now: Time, _record: &Record<'_>, _state: &ClusterState) {}
}

#[test]
fn policies_see_queues_domains_and_roles() {
    let text = with(
        "nodes = [{ type",
        "topology = [{ name = \"leaf\", nodes = 1 }, { name = \"spine\", nodes = 2 }]\n\
         blocked_nodes = [\"dgx-h100-0001\"]\nnodes = [{ type",
    );
    let text = text.replace(
        "gpus_per_task = 1 }",
        "tasks = 4, gpus_per_task = 1, min_tasks = 2, priority = 7, preemptable = false, \
         network_topology = { mode = \"soft\", highest_tier = \"spine\" }, \
         roles = [{ name = \"ps\", tasks = 1, cpus_per_task = 2.5, memory_per_task = \"1 GiB\" }] }",
    );
    let text = text
        + "[[queue]]\nname = \"a\"\nparent = \"all\"\nweight = 3\nreclaimable = false\ndeserved = { gpus = 8 }\n\
           [[queue]]\nname = \"all\"\ncapability = { gpus = 12.5, cpus = 64, memory = \"1 TiB\" }\n";
    let plan = Plan::new(read(&text, &[]).unwrap()).unwrap();
    let mut look = Look::default();
    plan.run("default", &mut look, &mut |_| ()).unwrap();
    let state = look.0.unwrap();

    let [first, second] = state.nodes() else { panic!("two nodes") };
    // What is blocked is the policy's affair: the node itself is not cordoned.
    assert_eq!((first.tasks().is_empty(), second.tasks().is_empty()), (false, true));
    assert!(!second.spec.unschedulable);
    let tiers: Vec<_> = state
        .domains_of(state.node_ids().nth(1).unwrap())
        .map(|(_, domain)| (&*domain.name, domain.tier))
        .collect();
    assert_eq!(tiers, [("leaf-0001", 1), ("spine-0000", 2)]);

    let queue = |name| &state.queue(state.find_queue(name).unwrap()).spec;
    assert_eq!(queue("a").parent, state.find_queue("all"));
    assert_eq!((queue("a").weight, queue("a").reclaimable), (3, false));
    assert_eq!(queue("a").deserved.gpu_milli, Some(8000));
    let capability = &queue("all").capability;
    assert_eq!(
        (capability.gpu_milli, capability.cpu_milli, capability.memory_bytes),
        (Some(12_500), Some(64_000), Some(1 << 40))
    );

    let (_, job) = state.jobs().next().unwrap();
    assert_eq!((job.spec.priority, job.spec.preemptable, job.spec.min_member), (7, Some(false), 3));
    let gang = job.spec.gang.as_ref().unwrap();
    assert_eq!(gang.role_minima, [("ps".into(), 1), ("worker".into(), 2)]);
    let topology = gang.network_topology.as_ref().unwrap();
    assert_eq!((topology.mode, topology.highest_tier), (TopologyMode::Soft, Some(2)));
    let roles: Vec<_> =
        job.spec.tasks.iter().map(|&(class, count)| (state.class_spec(class), count)).collect();
    assert_eq!(
        roles
            .iter()
            .map(|(spec, count)| (&*spec.role, spec.requests.cpu_milli, spec.gpus.count, *count))
            .collect::<Vec<_>>(),
        [("ps", 2500, 0, 1), ("worker", 0, 1, 4)]
    );
}
