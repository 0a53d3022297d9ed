//! Policies described by configurations of real schedulers.

use std::path::Path;

use foretell_scenarios::{Loaded, Plan, ScenarioError, load};

use super::environment;

const VOLCANO: &str =
    "actions: \"enqueue, allocate\"\ntiers:\n- plugins:\n  - name: gang\n  - name: predicates\n";
const KUBE: &str = "apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\n";
const SLURM: &str = "PartitionName=gpu Nodes=ALL Default=YES\n";

fn written(folder: &Path, scheduler: &str) -> Result<Loaded, ScenarioError> {
    let scenario = folder.join("scenario.toml");
    let text = format!(
        "version = 1\nname = \"t\"\n[cluster]\nnodes = [{{ type = \"dgx-a100\", count = 1 }}]\n\
         [workload.synthetic]\njobs = 3\nrate_per_hour = 1\nduration = {{ law = \"fixed\", value_s = 60 }}\n\
         sizes = [{{ weight = 1, gpus_per_task = 1 }}]\n[scheduler]\n{scheduler}\n"
    );
    std::fs::write(&scenario, text).unwrap();
    std::fs::write(folder.join("volcano.conf"), VOLCANO).unwrap();
    std::fs::write(folder.join("kube.yaml"), KUBE).unwrap();
    std::fs::write(folder.join("slurm.conf"), SLURM).unwrap();
    load(&scenario, &[], environment(None))
}

#[test]
fn a_policy_may_be_a_file_or_text_in_place() {
    let folder = tempfile::tempdir().unwrap();
    for (scheduler, policies) in [
        ("profile = \"gang\"", &["gang"][..]),
        ("profile = \"volcano.conf\"", &["volcano"]),
        ("profile = \"kube.yaml\"", &["kube"]),
        // A built-in policy has that name already.
        ("profile = \"slurm.conf\"", &["slurm.conf"]),
        (
            "policies = [\"ours\", \"gang\"]\n[[scheduler.profiles]]\nname = \"ours\"\nfile = \"volcano.conf\"",
            &["ours", "gang"],
        ),
        (
            "policies = [\"ours\"]\n[[scheduler.profiles]]\nname = \"ours\"\nconfig = '''\nactions: allocate\ntiers: []\n'''",
            &["ours"],
        ),
    ] {
        let loaded = written(folder.path(), scheduler).unwrap();
        assert_eq!(loaded.scenario.scheduler.policies, policies, "{scheduler}");
        // A run directory keeps the text, not the name, of the file: it means the same wherever it is read.
        let elsewhere = tempfile::tempdir().unwrap();
        let copy = elsewhere.path().join("scenario.toml");
        std::fs::write(&copy, loaded.text()).unwrap();
        assert_eq!(load(&copy, &[], environment(None)).unwrap().digest(), loaded.digest(), "{scheduler}");
        Plan::new(loaded.scenario).unwrap();
    }
}

#[test]
fn what_is_wrong_with_a_configuration_is_said_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("bad.conf"), "actions: allocate\ntiers:\n- plugins:\n  - name: gank\n")
        .unwrap();
    for (scheduler, expected) in [
        ("profile = \"missing.conf\"", "failed to read"),
        ("profile = \"bad.conf\"", "bad.conf:4: tiers[0].plugins[0].name: unknown plugin `gank`"),
        ("profile = \"gank\"", "unknown policy `gank`"),
        ("profile = \"gang\"\npolicies = [\"gang\"]", "got both"),
        ("", "expected `profile` or at least one of `policies`"),
        ("policies = [\"a\"]\n[[scheduler.profiles]]\nname = \"a\"", "got neither"),
        (
            "policies = [\"gang\"]\n[[scheduler.profiles]]\nname = \"gang\"\nfile = \"volcano.conf\"",
            "there is another policy `gang`",
        ),
        (
            "policies = [\"a/b\"]\n[[scheduler.profiles]]\nname = \"a/b\"\nfile = \"volcano.conf\"",
            "not a name for a policy",
        ),
    ] {
        let error = format!("{:?}", written(folder.path(), scheduler).unwrap_err());
        assert!(error.contains(expected), "{scheduler}: {error}");
    }
}

#[test]
fn what_has_no_effect_is_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    let config = VOLCANO.to_owned() + "  - name: cdp\n";
    std::fs::write(folder.path().join("warned.conf"), config).unwrap();
    let loaded = written(folder.path(), "profile = \"warned.conf\"").unwrap();
    let warnings = loaded.scenario.scheduler.warnings;
    assert!(matches!(warnings.as_slice(), [warning] if warning.contains("cdp")), "{warnings:?}");
}
