use foretell_framework::{JobPhase, TaskStatus};

use crate::cluster::read;

const NODES: &str = "
apiVersion: v1
kind: Node
metadata: {name: n1}
status: {allocatable: {cpu: '64', memory: 64Gi, pods: 10, nvidia.com/gpu: 8}}
---
";

/// Names of a job's pods in order of rank, and their roles.
fn pods(text: &str, group: &str) -> Vec<(String, String)> {
    let cluster = read(&format!("{NODES}{text}"));
    let job = cluster.state.job(cluster.names.job(group).unwrap()).unwrap();
    let pod = |&task| {
        let role = cluster.state.task_spec(task).unwrap().role.to_string();
        (cluster.names.pod(task).unwrap().to_owned(), role)
    };
    job.tasks().iter().map(pod).collect()
}

fn named(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|&(pod, role)| (pod.to_owned(), role.to_owned())).collect()
}

const TEMPLATE: &str =
    "template: {spec: {containers: [{name: c, resources: {requests: {cpu: '1', memory: 1Gi}}}]}}";

#[test]
fn a_volcano_job_becomes_a_gang_of_roles() {
    let text = format!(
        "apiVersion: batch.volcano.sh/v1alpha1
kind: Job
metadata: {{name: j, namespace: a, annotations: {{volcano.sh/preemptable: 'false'}}}}
spec:
  minAvailable: 3
  queue: q
  tasks:
  - {{name: ps, replicas: 1, {TEMPLATE}}}
  - {{name: worker, replicas: 3, minAvailable: 2, {TEMPLATE}}}
"
    );
    assert_eq!(
        pods(&text, "a/j"),
        named(&[
            ("a/j-ps-0", "ps"),
            ("a/j-worker-0", "worker"),
            ("a/j-worker-1", "worker"),
            ("a/j-worker-2", "worker")
        ])
    );
    let cluster = read(&format!("{NODES}{text}"));
    let job = cluster.state.job(cluster.names.job("a/j").unwrap()).unwrap();
    assert_eq!((job.spec.min_member, job.spec.phase), (3, JobPhase::Pending));
    assert_eq!(job.spec.preemptable, Some(false));
    assert_eq!(&*cluster.state.queue(job.spec.queue).name, "q");
    let gang = job.spec.gang.as_ref().unwrap();
    assert_eq!(gang.role_minima, [("ps".into(), 1), ("worker".into(), 2)]);
    assert_eq!(gang.min_resources.as_ref().unwrap().cpu_milli, Some(3_000));
    // Pods that are alike are one class, whatever their number.
    assert_eq!(job.spec.tasks.iter().map(|&(_, count)| count).collect::<Vec<_>>(), [1, 3]);
}

#[test]
fn a_kubeflow_job_is_a_gang_of_all_its_pods() {
    for (kind, field, roles, expected) in [
        ("PyTorchJob", "pytorchReplicaSpecs", ["Master", "Worker"], ["master", "worker"]),
        ("TFJob", "tfReplicaSpecs", ["PS", "Worker"], ["ps", "worker"]),
        ("MPIJob", "mpiReplicaSpecs", ["Launcher", "Worker"], ["launcher", "worker"]),
    ] {
        let text = format!(
            "apiVersion: kubeflow.org/v1
kind: {kind}
metadata: {{name: j, namespace: a}}
spec:
  runPolicy: {{schedulingPolicy: {{queue: q}}}}
  {field}:
    {}: {{replicas: 1, restartPolicy: Never, {TEMPLATE}}}
    {}: {{replicas: 2, {TEMPLATE}}}
",
            roles[0], roles[1]
        );
        let [first, second] = expected;
        assert_eq!(
            pods(&text, "a/j"),
            named(&[
                (&format!("a/j-{first}-0"), first),
                (&format!("a/j-{second}-0"), second),
                (&format!("a/j-{second}-1"), second)
            ]),
            "{kind}"
        );
        let cluster = read(&format!("{NODES}{text}"));
        let job = cluster.state.job(cluster.names.job("a/j").unwrap()).unwrap();
        assert_eq!(job.spec.min_member, 3);
    }
}

#[test]
fn batch_jobs_and_deployments_are_pods_that_need_not_run_together() {
    let text = format!(
        "apiVersion: batch/v1
kind: Job
metadata: {{name: j, namespace: a}}
spec: {{parallelism: 3, completions: 2, {TEMPLATE}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: d, namespace: a}}
spec: {{replicas: 2, selector: {{matchLabels: {{app: d}}}}, {TEMPLATE}}}
"
    );
    assert_eq!(pods(&text, "a/j"), named(&[("a/j-0", ""), ("a/j-1", "")]));
    let cluster = read(&format!("{NODES}{text}"));
    assert_eq!(cluster.state.job(cluster.names.job("a/j").unwrap()).unwrap().spec.min_member, 1);
    assert_eq!(pods(&text, "a/d-1"), named(&[("a/d-1", "")]));
}

#[test]
fn controllers_with_pods_are_left_alone() {
    let text = format!(
        "apiVersion: batch/v1
kind: Job
metadata: {{name: j, namespace: a}}
spec: {{parallelism: 3, {TEMPLATE}}}
---
apiVersion: v1
kind: Pod
metadata:
  name: j-abc
  namespace: a
  ownerReferences: [{{apiVersion: batch/v1, kind: Job, name: j, uid: '', controller: true}}]
spec: {{nodeName: n1, containers: [{{name: c}}]}}
status: {{phase: Running}}
"
    );
    assert_eq!(pods(&text, "a/j"), named(&[("a/j-abc", "")]));
    let cluster = read(&format!("{NODES}{text}"));
    let task = cluster.names.task("a/j-abc").unwrap();
    assert_eq!(cluster.state.task(task).unwrap().status(), TaskStatus::Running);
    assert!(cluster.names.is_owned(task));
}

#[test]
fn limit_ranges_fill_in_and_bound() {
    let job = |resources: &str| {
        format!(
            "apiVersion: v1
kind: LimitRange
metadata: {{name: l, namespace: a}}
spec:
  limits:
  - type: Container
    default: {{memory: 2Gi}}
    defaultRequest: {{cpu: 500m}}
    max: {{cpu: '4'}}
---
apiVersion: batch/v1
kind: Job
metadata: {{name: j, namespace: a}}
spec: {{template: {{spec: {{containers: [{{name: c, resources: {resources}}}]}}}}}}
"
        )
    };
    let cluster = read(&format!("{NODES}{}", job("{}")));
    let spec = cluster.state.task_spec(cluster.names.task("a/j-0").unwrap()).unwrap();
    assert_eq!((spec.requests.cpu_milli, spec.requests.memory_bytes), (500, 2 << 30));

    let cluster = read(&format!("{NODES}{}", job("{requests: {cpu: '8'}, limits: {cpu: '8'}}")));
    assert_eq!(cluster.names.task("a/j-0"), None);
    assert_eq!(
        cluster.warnings,
        [
            "test.yaml:17: Job a/j: 1 of 1 pods are not created: limit range l: container c may use more cpu than the \
          maximum"
        ]
    );
}

#[test]
fn quotas_refuse_what_goes_beyond() {
    let text = format!(
        "apiVersion: v1
kind: ResourceQuota
metadata: {{name: q, namespace: a}}
spec: {{hard: {{requests.cpu: '2500m', pods: '10'}}}}
---
apiVersion: batch/v1
kind: Job
metadata: {{name: j, namespace: a}}
spec: {{parallelism: 4, {TEMPLATE}}}
---
apiVersion: batch/v1
kind: Job
metadata: {{name: k, namespace: a}}
spec: {{template: {{spec: {{containers: [{{name: c}}]}}}}}}
"
    );
    assert_eq!(pods(&text, "a/j"), named(&[("a/j-0", ""), ("a/j-1", "")]));
    assert_eq!(
        read(&format!("{NODES}{text}")).warnings,
        [
            "test.yaml:12: Job a/j: 2 of 4 pods are not created: resource quota q: requests.cpu would be 3000 of 2500 \
             (thousandths)",
            "test.yaml:17: Job a/k: 1 of 1 pods are not created: resource quota q: the pod must say its requests.cpu",
        ]
    );
}
