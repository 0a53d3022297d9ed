//! What Kueue lets in, of workloads and of jobs that it would make some of.

use foretell_kueue::{CycleConfig, Preemptor};
use foretell_manifests::{Admissions, admit, read_objects};

/// Two queues that share a cohort of eight GPUs in two flavors, four in each queue and flavor or none.
const QUOTAS: &str = "
apiVersion: kueue.x-k8s.io/v1beta2
kind: ResourceFlavor
metadata: {name: a100}
---
apiVersion: kueue.x-k8s.io/v1beta2
kind: ResourceFlavor
metadata: {name: t4}
---
apiVersion: kueue.x-k8s.io/v1beta2
kind: WorkloadPriorityClass
metadata: {name: urgent}
value: 10
---
apiVersion: kueue.x-k8s.io/v1beta2
kind: ClusterQueue
metadata: {name: research}
spec:
  cohortName: all
  namespaceSelector: {}
  resourceGroups:
  - coveredResources: [nvidia.com/gpu]
    flavors:
    - {name: a100, resources: [{name: nvidia.com/gpu, nominalQuota: 4}]}
    - {name: t4, resources: [{name: nvidia.com/gpu, nominalQuota: 2}]}
  preemption: {withinClusterQueue: LowerPriority}
---
apiVersion: kueue.x-k8s.io/v1beta2
kind: LocalQueue
metadata: {name: main, namespace: n}
spec: {clusterQueue: research}
";

fn job(name: &str, gpus: u32, pods: u32, more: &str) -> String {
    format!(
        "---
apiVersion: batch/v1
kind: Job
metadata:
  name: {name}
  namespace: n
  creationTimestamp: 2026-01-01T00:00:0{pods}Z
  labels: {{kueue.x-k8s.io/queue-name: main{more}}}
spec:
  parallelism: {pods}
  suspend: true
  template:
    spec:
      containers: [{{name: c, resources: {{limits: {{nvidia.com/gpu: {gpus}}}}}}}]
"
    )
}

fn decided(text: &str, cycles: u32) -> Admissions {
    let objects = read_objects(text, "a.yaml").unwrap();
    let config = CycleConfig { preemptor: Preemptor::Classical, ..CycleConfig::default() };
    admit(&objects, &config, cycles).unwrap()
}

/// In words: who was let in where, who left, who waits and why.
fn words(result: &Admissions) -> Vec<String> {
    let mut words = Vec::new();
    for cycle in &result.cycles {
        for workload in &cycle.admitted {
            let sets = workload.pod_sets.iter().map(|set| {
                let flavors: Vec<_> = set.flavors.values().cloned().collect();
                let domains: Vec<_> =
                    set.domains.iter().map(|(domain, pods)| format!(" {pods} on {domain}")).collect();
                format!("{} {} in {}{}", set.count, set.name, flavors.join(","), domains.join(","))
            });
            words.push(format!("{} gets {}", workload.workload, sets.collect::<Vec<_>>().join("; ")));
        }
        for workload in &cycle.preempted {
            words.push(format!(
                "{} leaves for {}: {}",
                workload.workload, workload.beneficiary, workload.reason
            ));
        }
    }
    words.extend(
        result.pending.iter().map(|pending| format!("{} waits: {}", pending.workload, pending.reason)),
    );
    words
}

fn check(objects: &[&str], cycles: u32, expected: &[&str]) {
    assert_eq!(words(&decided(&objects.concat(), cycles)), expected);
}

#[test]
fn jobs_get_the_first_flavor_that_has_room_or_wait_with_a_reason() {
    let lost = job("lost", 1, 1, "").replace("queue-name: main", "queue-name: other");
    let jobs = [
        job("big", 4, 3, ""),
        job("small", 1, 2, ""),
        job("next", 1, 2, ""),
        job("oldest", 2, 1, ""),
        lost,
        job("free", 1, 1, "").replace("kueue.x-k8s.io/queue-name", "other"),
    ];
    check(
        &[QUOTAS, &jobs.concat()],
        1,
        &[
            "n/job-oldest gets 1 main in a100",
            "n/job-small gets 2 main in a100",
            "n/job-next gets 2 main in t4",
            "n/job-big waits: asks for 12 nvidia.com/gpu; at most 0 are left, in flavor t4",
            "n/job-lost waits: no local queue leads it to a cluster queue, or that is stopped",
        ],
    );
}

/// A workload of a job `old` that holds so many A100s.
fn running(gpus: u32) -> String {
    RUNNING.replace("nvidia.com/gpu: 4", &format!("nvidia.com/gpu: {gpus}"))
}

const RUNNING: &str = "---
apiVersion: kueue.x-k8s.io/v1beta2
kind: Workload
metadata:
  name: running
  namespace: n
  ownerReferences: [{apiVersion: batch/v1, kind: Job, name: old, uid: u}]
spec:
  queueName: main
  priority: 0
  podSets:
  - {name: main, count: 1, template: {spec: {containers: [{name: c, resources: {limits: {nvidia.com/gpu: 4}}}]}}}
status:
  conditions:
  - {type: QuotaReserved, status: 'True', reason: r, message: m, lastTransitionTime: 2026-01-01T00:00:00Z}
  admission:
    clusterQueue: research
    podSetAssignments: [{name: main, count: 1, flavors: {nvidia.com/gpu: a100}, resourceUsage: {nvidia.com/gpu: 4}}]
";

/// What is free is kept for the head that needs it beside what others are to leave.
#[test]
fn nobody_takes_what_a_head_waits_to_have_whole() {
    let urgent = job("urgent", 3, 1, ", kueue.x-k8s.io/priority-class: urgent");
    let objects = [QUOTAS, &running(2), &job("old", 2, 1, ""), &urgent, &job("small", 1, 2, "")];
    let leaves = "n/running leaves for n/job-urgent: InClusterQueue";
    check(
        &objects,
        1,
        &[
            leaves,
            "n/job-urgent waits: waits until n/running has left",
            "n/job-small waits: behind the head of its queue",
        ],
    );
    check(
        &objects,
        4,
        &[
            leaves,
            "n/job-urgent gets 1 main in a100",
            // Who left is the older one.
            "n/running gets 1 main in t4",
            "n/job-small waits: asks for 2 nvidia.com/gpu; at most 0 are left, in flavor t4",
        ],
    );
}

#[test]
fn a_search_goes_on_behind_a_flavor_in_which_nobody_can_be_displaced() {
    let quotas =
        QUOTAS.replace("  preemption: {", "  flavorFungibility: {whenCanPreempt: Preempt}\n  preemption: {");
    let objects = [&quotas, &running(4), &job("old", 4, 1, ""), &job("equal", 1, 2, "")];
    check(&objects.map(String::as_str), 1, &["n/job-equal gets 2 main in t4"]);
}

#[test]
fn who_is_preempted_leaves_before_the_next_cycle() {
    let urgent = job("urgent", 3, 1, ", kueue.x-k8s.io/priority-class: urgent");
    let objects = [QUOTAS, RUNNING, &job("old", 4, 1, ""), &urgent];
    let leaves = "n/running leaves for n/job-urgent: InClusterQueue";
    check(&objects, 1, &[leaves, "n/job-urgent waits: waits until n/running has left"]);
    check(
        &objects,
        4,
        &[
            leaves,
            "n/job-urgent gets 1 main in a100",
            "n/running waits: asks for 4 nvidia.com/gpu; at most 2 are left, in flavor t4",
        ],
    );
}

/// One rack with two nodes of two GPUs, as a flavor with a topology.
const RACK: &str = "
apiVersion: kueue.x-k8s.io/v1beta2
kind: Topology
metadata: {name: racks}
spec: {levels: [{nodeLabel: rack}, {nodeLabel: kubernetes.io/hostname}]}
---
apiVersion: kueue.x-k8s.io/v1beta2
kind: ResourceFlavor
metadata: {name: tas}
spec: {nodeLabels: {gpu: 'yes'}, topologyName: racks}
---
apiVersion: kueue.x-k8s.io/v1beta2
kind: ClusterQueue
metadata: {name: research}
spec:
  namespaceSelector: {}
  resourceGroups:
  - coveredResources: [nvidia.com/gpu]
    flavors: [{name: tas, resources: [{name: nvidia.com/gpu, nominalQuota: 9}]}]
---
apiVersion: kueue.x-k8s.io/v1beta2
kind: LocalQueue
metadata: {name: main, namespace: n}
spec: {clusterQueue: research}
";

fn node(name: &str) -> String {
    format!(
        "---
apiVersion: v1
kind: Node
metadata: {{name: {name}, labels: {{gpu: 'yes', rack: r, kubernetes.io/hostname: {name}}}}}
status:
  allocatable: {{nvidia.com/gpu: 2, pods: 9}}
  conditions: [{{type: Ready, status: 'True'}}]
"
    )
}

#[test]
fn kubeflow_jobs_and_pods_ask_for_a_topology_by_annotation() {
    let template = |level: &str| {
        format!(
            "{{metadata: {{annotations: {{kueue.x-k8s.io/podset-required-topology: {level}}}}}, \
             spec: {{containers: [{{name: c, resources: {{limits: {{nvidia.com/gpu: 1}}}}}}]}}}}"
        )
    };
    let train = format!(
        "---
apiVersion: kubeflow.org/v1
kind: PyTorchJob
metadata: {{name: train, namespace: n, labels: {{kueue.x-k8s.io/queue-name: main}}}}
spec: {{pytorchReplicaSpecs: {{Worker: {{replicas: 3, template: {}}}}}}}
",
        template("rack")
    );
    let pod = "---
apiVersion: v1
kind: Pod
metadata:
  name: alone
  namespace: n
  creationTimestamp: 2026-01-01T00:00:01Z
  labels: {kueue.x-k8s.io/queue-name: main}
  annotations: {kueue.x-k8s.io/podset-required-topology: rack}
spec: {containers: [{name: c, resources: {limits: {nvidia.com/gpu: 1}}}]}
";
    let objects = [RACK, &node("a"), &node("b"), &train, pod];
    check(
        &objects,
        1,
        &["n/pytorchjob-train gets 3 worker in tas 2 on a, 1 on b", "n/pod-alone gets 1 main in tas 1 on b"],
    );
    let objects = decided(&objects.concat(), 1).objects();
    assert_eq!(objects[0]["kind"], "Workload");
    assert_eq!(objects[0]["status"]["admission"]["podSetAssignments"][0]["count"], 3);
}
