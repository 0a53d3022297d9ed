use foretell_framework::{JobPhase, TaskStatus};
use foretell_manifests::{Cluster, cluster, read_objects};

pub(crate) fn read(text: &str) -> Cluster {
    cluster(&read_objects(text, "test.yaml").unwrap()).unwrap()
}

pub(crate) fn status(cluster: &Cluster, pod: &str) -> (TaskStatus, Option<String>) {
    let task = cluster.state.task(cluster.names.task(pod).unwrap()).unwrap();
    let node = task.placement().map(|placement| cluster.names.node_name(placement.node).to_owned());
    (task.status(), node)
}

const CLUSTER: &str = "
apiVersion: v1
kind: Node
metadata: {name: n1, labels: {nvidia.com/gpu.product: A100}}
status: {allocatable: {cpu: '4', memory: 4Gi, pods: 10, nvidia.com/gpu: 8, example.com/nic: 2}}
---
apiVersion: scheduling.volcano.sh/v1beta1
kind: Queue
metadata: {name: q1}
spec: {weight: 3, capability: {cpu: '2', nvidia.com/gpu: 4}}
---
apiVersion: scheduling.volcano.sh/v1beta1
kind: PodGroup
metadata: {name: pg1, namespace: c1}
spec: {queue: q1, minMember: 2, minTaskMember: {worker: 1}}
status: {phase: Inqueue}
---
apiVersion: v1
kind: Pod
metadata: {name: p1, namespace: c1, annotations: {scheduling.k8s.io/group-name: pg1}}
spec: {nodeName: n1, containers: [{name: c, resources: {limits: {nvidia.com/gpu: 2}, requests: {cpu: 500m}}}]}
status: {phase: Running}
---
apiVersion: v1
kind: Pod
metadata: {name: p2, namespace: c1, annotations: {scheduling.k8s.io/group-name: pg1}}
spec: {containers: [{name: c}]}
---
apiVersion: v1
kind: Pod
metadata: {name: alone}
spec: {containers: [{name: c, resources: {requests: {example.com/nic: 1}}}]}
";

#[test]
fn pods_of_a_group_are_one_job_in_its_queue() {
    let cluster = read(CLUSTER);
    let job = cluster.state.job(cluster.names.job("c1/pg1").unwrap()).unwrap();
    assert_eq!((job.spec.min_member, job.tasks().len(), job.placed()), (2, 2, 1));
    assert_eq!(job.spec.phase, JobPhase::Inqueue);
    assert_eq!(Some(job.spec.queue), cluster.names.queue("q1"));
    let queue = cluster.state.queue(job.spec.queue);
    assert_eq!((queue.spec.weight, queue.spec.capability.gpu_milli), (3, Some(4_000)));
    assert_eq!(queue.gpu_allocated_milli, 2_000);
    assert_eq!(status(&cluster, "c1/p1"), (TaskStatus::Running, Some("n1".to_owned())));
    assert_eq!(status(&cluster, "c1/p2"), (TaskStatus::Waiting, None));
}

#[test]
fn pods_in_no_group_are_jobs_of_one() {
    let cluster = read(CLUSTER);
    let job = cluster.names.job("default/alone").unwrap();
    assert_eq!(cluster.state.job(job).unwrap().tasks().len(), 1);
    assert_eq!(cluster.names.group(job), Some("default/alone"));
    assert_eq!(cluster.warnings, [""; 0]);
}

#[test]
fn whole_accelerators_are_devices_and_all_else_is_counted() {
    let cluster = read(CLUSTER);
    let node = cluster.state.node(cluster.names.node("n1").unwrap());
    assert_eq!(node.spec.gpus, 8);
    assert_eq!(cluster.state.gpu_model_name(node.spec.gpu_model.unwrap()), "A100");
    assert_eq!(cluster.names.gpu_resource.as_deref(), Some("nvidia.com/gpu"));
    let extended: Vec<_> = node.spec.allocatable.all_extended().collect();
    assert_eq!(extended.len(), 1);
    assert_eq!((cluster.state.resource_name(extended[0].0), extended[0].1), ("example.com/nic", 2));
}
