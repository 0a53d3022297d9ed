//! Small tables: YAML in, one fact of the state out.

use foretell_framework::selector::{LabelOperator, LabelRequirement};
use foretell_framework::spec::{HostPort, ScoringRequests, TaintEffect, Toleration, WhenUnsatisfiable};
use foretell_framework::state::TopologyMode;
use foretell_framework::{JobPhase, LabelSelector, TaskSpec, TaskStatus, Time};

use crate::cluster::{read, status};

const NODE: &str = "
apiVersion: v1
kind: Node
metadata: {name: n1}
status: {allocatable: {cpu: '4', memory: 4Gi, pods: 10}}
---
";

/// The class of a pod with this spec.
fn spec(spec: &str) -> TaskSpec {
    let cluster = read(&format!(
        "{NODE}apiVersion: v1\nkind: Pod\nmetadata: {{name: p, labels: {{app: a}}}}\nspec: {{{spec}}}\n"
    ));
    cluster.state.task_spec(cluster.names.task("default/p").unwrap()).unwrap().clone()
}

fn check_requests(text: &str, cpu_milli: u64, memory_bytes: u64, scoring: Option<(u64, u64)>) {
    let spec = spec(text);
    assert_eq!((spec.requests.cpu_milli, spec.requests.memory_bytes), (cpu_milli, memory_bytes), "{text}");
    let found = spec.scoring_requests.unwrap_or_else(|| ScoringRequests::of(&spec.requests));
    let found = (found.cpu_milli, found.memory_bytes);
    assert_eq!(found, scoring.unwrap_or((cpu_milli, memory_bytes)), "{text}");
}

#[test]
fn a_pod_requests_what_its_largest_phase_needs() {
    let requests =
        |cpu: &str, memory: &str| format!("resources: {{requests: {{cpu: {cpu}, memory: {memory}}}}}");
    let [small, large, init, sidecar] =
        [("1", "1k"), ("2", "2k"), ("4", "1k"), ("500m", "500")].map(|(cpu, memory)| requests(cpu, memory));
    check_requests(&format!("containers: [{{name: a, {small}}}, {{name: b, {large}}}]"), 3_000, 3_000, None);
    check_requests(
        &format!("containers: [{{name: a, {small}}}], initContainers: [{{name: i, {init}}}]"),
        4_000,
        1_000,
        None,
    );
    // A sidecar counts with the containers, and with every init container after it.
    check_requests(
        &format!(
            "containers: [{{name: a, {small}}}],
             initContainers: [{{name: s, restartPolicy: Always, {sidecar}}}, {{name: i, {init}}}]"
        ),
        4_500,
        1_500,
        None,
    );
    check_requests(
        &format!("containers: [{{name: a, {small}}}], overhead: {{cpu: 250m, memory: 10}}"),
        1_250,
        1_010,
        None,
    );
    check_requests(
        &format!("resources: {{requests: {{cpu: 3}}}}, containers: [{{name: a, {small}}}]"),
        3_000,
        1_000,
        None,
    );
    check_requests("containers: [{name: a, resources: {limits: {cpu: 2, memory: 3}}}]", 2_000, 3, None);
}

#[test]
fn scores_count_what_is_not_requested_with_a_default() {
    const MIB_200: u64 = 200 << 20;
    check_requests("containers: [{name: a}, {name: b}]", 0, 0, Some((200, 2 * MIB_200)));
    check_requests("containers: [{name: a, resources: {requests: {cpu: 0}}}]", 0, 0, Some((0, MIB_200)));
    check_requests("containers: []", 0, 0, Some((0, 0)));
    check_requests(
        "resources: {requests: {cpu: 1}}, containers: [{name: a}]",
        1_000,
        0,
        Some((1_000, MIB_200)),
    );
}

#[test]
fn tolerations() {
    let toleration =
        |text: &str| spec(&format!("containers: [], tolerations: [{text}]")).tolerations[0].clone();
    let equal = Toleration { key: Some("k".into()), value: Some("v".into()), ..Toleration::default() };
    assert_eq!(toleration("{key: k, value: v}"), equal);
    assert_eq!(toleration("{key: k, operator: Equal, value: v}"), equal);
    assert_eq!(toleration("{operator: Exists}"), Toleration::default());
    assert_eq!(
        toleration("{key: k, operator: Exists, effect: NoExecute}"),
        Toleration { key: Some("k".into()), effect: Some(TaintEffect::NoExecute), ..Toleration::default() }
    );
}

#[test]
fn node_affinity_keeps_what_matches_nothing() {
    let required = |terms: &str| {
        let text = format!(
            "containers: [], affinity: {{nodeAffinity: {{requiredDuringSchedulingIgnoredDuringExecution: {{nodeSelectorTerms: [{terms}]}}}}}}"
        );
        spec(&text).node_affinity
    };
    let labels = [("kernel".into(), "3".into())].into();
    let check = |terms: &str, expected: bool| {
        assert_eq!(required(terms).matches("n1", &labels), expected, "{terms}");
    };
    check("{matchExpressions: [{key: kernel, operator: Gt, values: ['2']}]}", true);
    check("{matchExpressions: [{key: kernel, operator: Gt, values: [two]}]}", false);
    check("{matchExpressions: [{key: kernel, operator: In, values: []}]}", false);
    check("{matchExpressions: [{key: gpu, operator: NotIn, values: [x]}]}", true);
    check("{matchExpressions: [{key: gpu, operator: NotIn, values: ['not valid!']}]}", false);
    check("{matchFields: [{key: metadata.name, operator: In, values: [n1]}]}", true);
    check("{matchFields: [{key: metadata.name, operator: In, values: [n1, n2]}]}", false);
    check("{matchFields: [{key: metadata.uid, operator: In, values: [n1]}]}", false);
    check("", false);
    check("{}", false);
}

#[test]
fn pod_affinity_is_of_the_own_namespace_unless_it_says_otherwise() {
    let term = |text: &str| {
        let text = format!(
            "containers: [], affinity: {{podAntiAffinity: {{requiredDuringSchedulingIgnoredDuringExecution: [{{topologyKey: zone, {text}}}]}}}}"
        );
        spec(&text).pod_affinity.anti_required[0].clone()
    };
    assert_eq!(term("labelSelector: {}").namespaces, [Box::from("default")]);
    assert_eq!(term("namespaces: [b]").namespaces, [Box::from("b")]);
    let selected = term("namespaceSelector: {}");
    assert_eq!((selected.namespaces.len(), selected.namespace_selector), (0, Some(LabelSelector::default())));
    let own = term("labelSelector: {}, matchLabelKeys: [app, absent]").selector.unwrap();
    let requirement = LabelRequirement { key: "app".into(), operator: LabelOperator::In(vec!["a".into()]) };
    assert_eq!(own.requirements, [requirement]);
}

#[test]
fn spread_constraints_have_the_defaults_of_kubernetes() {
    let text = "containers: [], topologySpreadConstraints: [{maxSkew: 2, topologyKey: zone, whenUnsatisfiable: DoNotSchedule, minDomains: 3, nodeTaintsPolicy: Honor}]";
    let constraint = &spec(text).topology_spread[0];
    assert_eq!((constraint.max_skew, constraint.min_domains), (2, Some(3)));
    assert_eq!(constraint.when_unsatisfiable, WhenUnsatisfiable::DoNotSchedule);
    assert!(constraint.honours_node_affinity && constraint.honours_node_taints);
    assert_eq!(constraint.selector, None);
}

#[test]
fn ports_and_images() {
    let found = spec(
        "containers: [{name: a, image: busybox, ports: [{containerPort: 1, hostPort: 80}, {containerPort: 2}]}],
         initContainers: [{name: i, image: 'x:1', ports: [{containerPort: 3, hostPort: 81}]}],
         volumes: [{name: v, image: {reference: model}}]",
    );
    let port = HostPort { ip: HostPort::ANY_IP.into(), protocol: "TCP".into(), port: 80 };
    assert_eq!(found.host_ports, [port]);
    assert_eq!(found.images.names, ["x:1", "busybox:latest", "model:latest"].map(Box::from));
    assert_eq!(found.images.containers, 2);
    let host_network = spec("hostNetwork: true, containers: [{name: a, ports: [{containerPort: 7}]}]");
    assert_eq!(host_network.host_ports[0].port, 7);
}

#[test]
fn pods_stand_where_their_status_says() {
    let check = |spec: &str, given: &str, metadata: &str, expected: TaskStatus, node: Option<&str>| {
        let cluster = read(&format!(
            "{NODE}apiVersion: v1\nkind: Pod\nmetadata: {{name: p, annotations: {{scheduling.k8s.io/group-name: g}}, {metadata}}}\nspec: {{containers: [], {spec}}}\nstatus: {{{given}}}\n"
        ));
        assert_eq!(status(&cluster, "default/p"), (expected, node.map(str::to_owned)), "{spec} {given}");
    };
    check("nodeName: n1", "phase: Running", "", TaskStatus::Running, Some("n1"));
    check("nodeName: n1", "", "", TaskStatus::Running, Some("n1"));
    check("nodeName: n1", "phase: Pending", "", TaskStatus::Bound, Some("n1"));
    let deleted = "deletionTimestamp: '2026-01-01T00:00:00Z'";
    check("nodeName: n1", "phase: Running", deleted, TaskStatus::Releasing, Some("n1"));
    check("nodeName: n1", "phase: Succeeded", "", TaskStatus::Succeeded, None);
    check("nodeName: n1", "phase: Failed", "", TaskStatus::Failed, None);
    check("", "phase: Pending", "", TaskStatus::Waiting, None);
    check("", "phase: Pending", deleted, TaskStatus::Failed, None);
    check("nodeName: gone", "phase: Running", "", TaskStatus::Failed, None);
}

#[test]
fn nominations_gates_and_times_are_kept() {
    let cluster = read(&format!(
        "{NODE}apiVersion: v1\nkind: Pod\nmetadata: {{name: p, creationTimestamp: '1970-01-01T00:00:09Z'}}\nspec: {{containers: [], schedulingGates: [{{name: g}}]}}\nstatus: {{nominatedNodeName: n1}}\n"
    ));
    let task = cluster.state.task(cluster.names.task("default/p").unwrap()).unwrap();
    assert_eq!(task.nominated(), cluster.names.node("n1"));
    assert!(task.details.gated);
    assert_eq!(task.details.created, Some(Time::from_s(9.0)));
}

#[test]
fn priority_is_the_pods_its_class_or_the_default() {
    let check = |text: &str, expected: (i32, bool), warnings: usize| {
        let cluster = read(&format!(
            "{NODE}apiVersion: scheduling.k8s.io/v1
kind: PriorityClass
metadata: {{name: high}}
value: 9
preemptionPolicy: Never
---
apiVersion: scheduling.k8s.io/v1
kind: PriorityClass
metadata: {{name: usual}}
value: 5
globalDefault: true
---
apiVersion: v1
kind: Pod
metadata: {{name: p}}
spec: {{containers: [], {text}}}
"
        ));
        let task = cluster.names.task("default/p").unwrap();
        let never = cluster.state.task_spec(task).unwrap().never_preempts;
        assert_eq!((cluster.state.task(task).unwrap().details.priority, never), expected, "{text}");
        assert_eq!(cluster.warnings.len(), warnings, "{text}");
    };
    check("priority: 3", (3, false), 0);
    check("priorityClassName: high", (9, true), 0);
    check("priorityClassName: high, preemptionPolicy: PreemptLowerPriority", (9, false), 0);
    check("", (5, false), 0);
    check("priorityClassName: system-node-critical", (2_000_001_000, false), 0);
    check("priorityClassName: absent", (0, false), 1);
}

#[test]
fn what_names_the_group_of_a_pod() {
    let check = |metadata: &str, spec: &str, expected: &str| {
        let cluster = read(&format!(
            "{NODE}apiVersion: v1\nkind: Pod\nmetadata: {{name: p, {metadata}}}\nspec: {{containers: [], {spec}}}\n"
        ));
        let job = cluster.state.task(cluster.names.task("default/p").unwrap()).unwrap().job;
        assert_eq!(cluster.names.group(job), Some(expected), "{metadata} {spec}");
    };
    let owner = "ownerReferences: [{apiVersion: batch/v1, kind: Job, name: j, uid: u, controller: true}]";
    let volcano = format!("annotations: {{scheduling.k8s.io/group-name: v}}, {owner}");
    let label = format!("labels: {{scheduling.x-k8s.io/pod-group: c}}, {volcano}");
    check("", "", "default/p");
    check(owner, "", "default/j");
    check(&volcano, "", "default/v");
    check(&label, "", "default/c");
    check(&label, "schedulingGroup: {podGroupName: k}", "default/k");
}

#[test]
fn pod_groups_of_all_kinds_are_gangs() {
    let cluster = read(&format!(
        "{NODE}apiVersion: scheduling.x-k8s.io/v1alpha1
kind: PodGroup
metadata: {{name: c}}
spec: {{minMember: 3, scheduleTimeoutSeconds: 30}}
---
apiVersion: scheduling.k8s.io/v1beta1
kind: PodGroup
metadata: {{name: k}}
spec: {{schedulingPolicy: {{gang: {{minCount: 4}}}}, priority: 7}}
---
apiVersion: scheduling.volcano.sh/v1beta1
kind: PodGroup
metadata: {{name: v}}
spec:
  minMember: 5
  networkTopology: {{mode: soft, highestTierAllowed: 2}}
  subGroupPolicy: [{{name: s, subGroupSize: 2, minSubGroups: 1, matchLabelKeys: [a]}}]
"
    ));
    let job = |name: &str| &cluster.state.job(cluster.names.job(name).unwrap()).unwrap().spec;
    assert_eq!(job("default/c").min_member, 3);
    assert_eq!(job("default/c").gang.as_ref().unwrap().schedule_timeout, Some(Time::from_s(30.0)));
    assert_eq!((job("default/k").min_member, job("default/k").priority), (4, 7));
    let volcano = job("default/v");
    assert_eq!((volcano.min_member, volcano.phase), (5, JobPhase::Pending));
    let gang = volcano.gang.as_ref().unwrap();
    let topology = gang.network_topology.as_ref().unwrap();
    assert_eq!((topology.mode, topology.highest_tier), (TopologyMode::Soft, Some(2)));
    assert_eq!((gang.sub_groups[0].size, gang.sub_groups[0].min_groups), (Some(2), Some(1)));
}

#[test]
fn jobs_are_in_order_of_creation_then_uid() {
    let pod = |name: &str, created: &str, uid: &str| {
        let created =
            if created.is_empty() { String::new() } else { format!(", creationTimestamp: '{created}'") };
        format!(
            "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, uid: '{uid}'{created}}}\nspec: {{containers: []}}\n"
        )
    };
    let text = [
        pod("late", "2026-01-02T00:00:00Z", ""),
        pod("b", "", ""),
        pod("early", "2026-01-01T00:00:00Z", ""),
        pod("a", "", "zzz"),
    ];
    let cluster = read(&format!("{NODE}{}", text.concat()));
    let mut jobs: Vec<_> = cluster
        .names
        .groups()
        .map(|(name, job)| (cluster.state.job(job).unwrap().spec.sequence, name))
        .collect();
    jobs.sort_unstable();
    let names: Vec<_> = jobs.into_iter().map(|(_, name)| name).collect();
    assert_eq!(names, ["default/b", "default/a", "default/early", "default/late"]);
}

#[test]
fn hyper_nodes_are_domains_with_parents() {
    let cluster = read(
        "apiVersion: topology.volcano.sh/v1alpha1
kind: HyperNode
metadata: {name: top}
spec: {tier: 2, tierName: spine, members: [{type: HyperNode, selector: {regexMatch: {pattern: '^rack'}}}]}
---
apiVersion: topology.volcano.sh/v1alpha1
kind: HyperNode
metadata: {name: rack-a}
spec: {tier: 1, members: [{type: Node, selector: {exactMatch: {name: a1}}}]}
---
apiVersion: topology.volcano.sh/v1alpha1
kind: HyperNode
metadata: {name: rack-b}
spec: {tier: 1, members: [{type: Node, selector: {labelMatch: {matchLabels: {rack: b}}}}]}
---
apiVersion: v1
kind: Node
metadata: {name: a1}
---
apiVersion: v1
kind: Node
metadata: {name: x, labels: {rack: b}}
---
apiVersion: v1
kind: Node
metadata: {name: alone}
",
    );
    let domains = |node: &str| {
        let node = cluster.names.node(node).unwrap();
        cluster.state.domains_of(node).map(|(_, domain)| (&*domain.name, domain.tier)).collect::<Vec<_>>()
    };
    assert_eq!(domains("a1"), [("rack-a", 1), ("top", 2)]);
    assert_eq!(domains("x"), [("rack-b", 1), ("top", 2)]);
    assert_eq!(domains("alone"), []);
}

#[test]
fn budgets_without_status_are_computed() {
    let check = |bound: &str, expected: i32| {
        let pods = ["Running", "Running", "Pending", "Succeeded"].iter().enumerate().map(|(index, phase)| {
            format!("---\napiVersion: v1\nkind: Pod\nmetadata: {{name: p{index}, labels: {{a: b}}}}\nspec: {{nodeName: n1, containers: []}}\nstatus: {{phase: {phase}}}\n")
        });
        let budget = format!(
            "---\napiVersion: policy/v1\nkind: PodDisruptionBudget\nmetadata: {{name: b}}\nspec: {{{bound}, selector: {{matchLabels: {{a: b}}}}}}\n"
        );
        let cluster = read(&format!("{NODE}{budget}{}", pods.collect::<String>()));
        assert_eq!(cluster.state.objects().disruption_budgets[0].disruptions_allowed, expected, "{bound}");
    };
    check("minAvailable: 1", 1);
    check("minAvailable: 50%", 0);
    check("maxUnavailable: 2", 1);
    check("maxUnavailable: 34%", 1);
    check("minAvailable: 5", 0);
}

#[test]
fn quotas_name_amounts_under_several_names() {
    let cluster = read(
        "apiVersion: v1
kind: ResourceQuota
metadata: {name: q}
spec: {hard: {requests.cpu: '4', cpu: '2', requests.nvidia.com/gpu: '8', pods: '3', requests.example.com/nic: '1'}}
---
apiVersion: v1
kind: Node
metadata: {name: n}
status: {allocatable: {nvidia.com/gpu: 8}}
---
apiVersion: scheduling.x-k8s.io/v1alpha1
kind: ElasticQuota
metadata: {name: e}
spec: {min: {cpu: '1'}, max: {cpu: '3', nvidia.com/gpu: '2'}}
",
    );
    let objects = cluster.state.objects();
    let hard = &objects.resource_quotas[0].hard;
    assert_eq!((hard.cpu_milli, hard.gpu_milli, hard.tasks), (Some(2_000), Some(8_000), Some(3)));
    assert_eq!(cluster.state.resource_name(hard.extended[0].0), "example.com/nic");
    let elastic = &objects.elastic_quotas[0];
    assert_eq!((elastic.min.cpu_milli, elastic.max.gpu_milli), (Some(1_000), Some(2_000)));
}

#[test]
fn nodes_with_more_devices_than_a_set_holds_are_counted() {
    let cluster = read(
        "apiVersion: v1\nkind: Node\nmetadata: {name: n}\nstatus: {allocatable: {nvidia.com/gpu: 100}}\n",
    );
    let node = cluster.state.node(cluster.names.node("n").unwrap());
    assert_eq!(node.spec.gpus, 0);
    assert_eq!(node.spec.allocatable.all_extended().map(|(_, amount)| amount).collect::<Vec<_>>(), [100]);
}

#[test]
fn lists_and_kinds_that_are_not_read() {
    let cluster = read(
        "apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: Node
  metadata: {name: n}
- apiVersion: v1
  kind: Secret
  metadata: {name: s}
- apiVersion: v1
  kind: Secret
  metadata: {name: t}
",
    );
    assert!(cluster.names.node("n").is_some());
    assert_eq!(cluster.warnings, ["test.yaml:7: v1 Secret: not read, and 1 more"]);
}
