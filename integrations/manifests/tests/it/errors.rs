use foretell_manifests::{cluster, read_objects};

fn check(text: &str, expected: &str) {
    let result = read_objects(text, "a.yaml").and_then(|objects| cluster(&objects).map(|_| ()));
    assert_eq!(result.unwrap_err().to_string(), expected, "{text}");
}

#[test]
fn errors_name_file_line_object_and_field() {
    check(
        "apiVersion: v1\nkind: Pod\nmetadata:\n  name: p\nspec:\n  priority: high\n",
        "a.yaml:6: Pod p: spec.priority: invalid type: string \"high\", expected i32",
    );
    check(
        "---\napiVersion: v1\nkind: Pod\nmetadata: {}\n",
        "a.yaml:4: Pod: metadata.name: missing; every object has one",
    );
    check("kind: Pod\n", "a.yaml:1: Pod: apiVersion: missing; every object has one");
    check("a: [1\nb: 2\n", "a.yaml:2: illegal placement of ':' indicator");
    check(
        "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Node\n  metadata:\n    name: n\n    labels: [1]\n",
        "a.yaml:8: Node n: metadata.labels: invalid type: sequence, expected a map",
    );
}

#[test]
fn values_are_checked_when_they_are_read_into_a_cluster() {
    const POD: &str = "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec:\n";
    check(
        &format!("{POD}  containers: [{{name: c, resources: {{requests: {{cpu: many}}}}}}]\n"),
        "a.yaml:1: Pod p: spec.containers[0].resources.requests.cpu: expected a quantity of zero or more, such as \
         500m, 4 or 16Gi; got `many`",
    );
    check(
        &format!("{POD}  tolerations: [{{effect: NoWay}}]\n"),
        "a.yaml:1: Pod p: spec.tolerations[0].effect: expected NoSchedule, PreferNoSchedule or NoExecute; got `NoWay`",
    );
    check(
        &format!(
            "{POD}  topologySpreadConstraints: [{{maxSkew: 1, topologyKey: z, whenUnsatisfiable: Never}}]\n"
        ),
        "a.yaml:1: Pod p: spec.topologySpreadConstraints[0].whenUnsatisfiable: expected DoNotSchedule or \
         ScheduleAnyway; got `Never`",
    );
    let node = "apiVersion: v1\nkind: Node\nmetadata: {name: n}\n";
    check(
        &format!("{node}---\n{node}"),
        "a.yaml:5: Node n: metadata.name: a node of this name has been read already",
    );
    check(
        "apiVersion: topology.volcano.sh/v1alpha1\nkind: HyperNode\nmetadata: {name: h}\nspec: {tier: 1, members: [{type: Rack}]}\n",
        "a.yaml:1: HyperNode h: spec.members[0].type: expected Node or HyperNode; got `Rack`",
    );
}
