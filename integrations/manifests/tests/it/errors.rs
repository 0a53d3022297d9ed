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
}
