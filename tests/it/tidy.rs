//! Rules of the house that no lint checks.

use std::path::{Path, PathBuf};

use crate::support::root;

/// Lines of a source file beyond which it is more than one room.
const LINES_MAX: usize = 600;

fn sources() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut pending: Vec<_> = [
        "benches",
        "cli",
        "integrations",
        "policies",
        "reports",
        "scenarios",
        "search",
        "sim",
        "tests",
        "traces",
        "validation",
    ]
    .map(|name| root().join(name))
    .into();
    while let Some(directory) = pending.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
                pending.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    assert!(found.len() > 50);
    found
}

fn relative(path: &Path) -> String {
    path.strip_prefix(root()).unwrap().display().to_string()
}

#[test]
fn files_are_one_room_each() {
    for path in sources() {
        let lines = std::fs::read_to_string(&path).unwrap().lines().count();
        assert!(lines <= LINES_MAX, "{}: {lines} lines", relative(&path));
    }
}

#[test]
fn nothing_is_left_for_later() {
    let banned = ["todo", "unimplemented"].map(|name| format!("{name}!("));
    for path in sources() {
        let text = std::fs::read_to_string(&path).unwrap();
        for banned in &banned {
            assert!(!text.contains(banned.as_str()), "{}: {banned}", relative(&path));
        }
    }
}

#[test]
fn policies_are_no_std() {
    for member in
        members().iter().filter(|member| member.starts_with("policies/") && *member != "policies/testkit")
    {
        let text = std::fs::read_to_string(root().join(member).join("src/lib.rs")).unwrap();
        assert!(text.contains("#![no_std]"), "{member}");
    }
}

#[test]
fn every_crate_takes_the_workspace_lints() {
    for member in members() {
        let manifest = std::fs::read_to_string(root().join(&member).join("Cargo.toml")).unwrap();
        assert!(manifest.contains("[lints]\nworkspace = true"), "{member}");
    }
}

/// The workspace's crates by directory; the root is the empty one.
fn members() -> Vec<String> {
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let list = manifest.split_once("members = [").unwrap().1.split_once(']').unwrap().0;
    let members: Vec<_> =
        list.split('"').skip(1).step_by(2).map(str::to_owned).chain([String::new()]).collect();
    assert!(members.len() > 10, "{members:?}");
    members
}
