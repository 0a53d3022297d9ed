//! Snapshots of KAI-Scheduler.

use std::io::{Cursor, Write};

use foretell_kai::{Kai, KaiConfig, Strategy, Verb};
use foretell_manifests::{ManifestError, Objects, cluster, read_objects, read_snapshot, schedule};
use zip::write::SimpleFileOptions;

/// Two nodes with two GPUs each; a pod runs, one is being bound, a gang of two waits beside a pod that has no room.
const SNAPSHOT: &str = r#"{
  "config": {
    "actions": "allocate, reclaim",
    "tiers": [{ "plugins": [
      { "name": "nodeavailability" },
      { "name": "nodeplacement", "arguments": { "cpu": "binpack", "gpu": "spread" } }
    ] }]
  },
  "schedulerParams": { "maxNumberConsolidationPreemptees": 3 },
  "rawObjects": {
    "nodes": [
      { "metadata": { "name": "a" }, "status": { "allocatable": { "cpu": "8", "nvidia.com/gpu": "2", "pods": "9" } } },
      { "metadata": { "name": "b" }, "status": { "allocatable": { "cpu": "8", "nvidia.com/gpu": "2", "pods": "9" } } }
    ],
    "queues": [
      { "metadata": { "name": "all" }, "spec": { "resources": { "gpu": { "quota": 4, "limit": -1 } } } },
      { "metadata": { "name": "team" }, "spec": { "parentQueue": "all",
        "resources": { "cpu": { "quota": -1, "limit": -1 }, "memory": { "quota": -1, "limit": -1 },
                       "gpu": { "quota": 3, "limit": -1, "overQuotaWeight": 1 } } } }
    ],
    "podGroups": [
      { "metadata": { "name": "gang", "namespace": "n" }, "spec": { "minMember": 2, "queue": "team" } },
      { "metadata": { "name": "alone", "namespace": "n" }, "spec": { "minMember": 1, "queue": "team" } }
    ],
    "pods": [
      POD(running, alone, "nodeName": "a"), POD(asked, alone), POD(gang-0, gang), POD(gang-1, gang), POD(last, alone)
    ],
    "bindRequests": [
      { "metadata": { "name": "asked", "namespace": "n" }, "spec": { "podName": "asked", "selectedNode": "b" } }
    ],
    "priorityClasses": null,
    "csiDrivers": [{}],
    "resourceClaims": [{ "metadata": { "name": "claim" } }]
  }
}"#;

/// The snapshot with its pods written out.
fn snapshot() -> String {
    let mut text = String::new();
    for (index, part) in SNAPSHOT.split("POD(").enumerate() {
        if index == 0 {
            text.push_str(part);
            continue;
        }
        let (fields, rest) = part.split_once(')').unwrap();
        let mut fields = fields.splitn(3, ", ");
        let (name, group) = (fields.next().unwrap(), fields.next().unwrap());
        let more = fields.next().map(|field| format!("{field}, ")).unwrap_or_default();
        let pod = format!(
            r#"{{ "metadata": {{ "name": "{name}", "namespace": "n", "annotations": {{ "pod-group-name": "{group}" }} }},
                 "spec": {{ {more}"containers": [{{ "name": "c", "resources": {{ "limits": {{ "nvidia.com/gpu": "1" }} }} }}] }},
                 "status": {{ "phase": "Pending" }} }}{rest}"#
        );
        text.push_str(&pod);
    }
    text
}

fn archive(name: &str, content: &[u8]) -> Vec<u8> {
    let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
    archive.start_file(name, SimpleFileOptions::default()).unwrap();
    archive.write_all(content).unwrap();
    archive.finish().unwrap().into_inner()
}

#[test]
fn a_snapshot_is_read_packed_or_not() {
    let text = snapshot();
    let packed = read_snapshot(&archive("snapshot.json", text.as_bytes()), "s.zip").unwrap();
    let plain = read_objects(&text, "snapshot.json").unwrap();
    let counts = |objects: &Objects| {
        (objects.nodes.len(), objects.kai_queues.len(), objects.kai_pod_groups.len(), objects.pods.len())
    };
    assert_eq!(counts(&packed), (2, 2, 2, 5));
    assert_eq!(counts(&plain), counts(&packed));
    let config = packed.kai_config.clone().unwrap();
    assert_eq!(plain.kai_config, packed.kai_config);
    assert_eq!(config.verbs, [Verb::Allocate, Verb::Reclaim]);
    assert_eq!((config.gpu_placement, config.cpu_placement), (Strategy::Spread, Strategy::Binpack));
    assert_eq!((config.prefers.available, config.prefers.shared_gpus), (true, false));
    assert_eq!(config.max_consolidation_victims, 3);
    let defaults = KaiConfig::default();
    assert_eq!(config.allows_consolidating_reclaim, defaults.allows_consolidating_reclaim);

    let mut cluster = cluster(&packed).unwrap();
    assert_eq!(cluster.warnings, ["s.zip: snapshot.json:1: resource.k8s.io ResourceClaim: not read"]);
    let result = schedule(&mut cluster, &mut Kai::profile("kai".to_owned(), config), 1);
    let binds: Vec<_> =
        result.cycles[0].binds.iter().map(|bind| format!("{} to {}", bind.pod, bind.node)).collect();
    // One pod runs on each node, so that a gang finds a place and nothing is left.
    assert_eq!(binds, ["n/gang-0 to a", "n/gang-1 to b"]);
    let waiting: Vec<_> = result.pending.iter().flat_map(|pending| pending.waiting.clone()).collect();
    assert_eq!(waiting, ["n/last"]);
}

#[test]
fn a_broken_snapshot_is_one_clear_message() {
    let check = |bytes: &[u8], expected: &str| {
        let error: ManifestError = read_snapshot(bytes, "s.zip").unwrap_err();
        assert!(error.to_string().starts_with(expected), "{error} is not {expected}");
    };
    let good = archive("snapshot.json", snapshot().as_bytes());
    check(&good[..good.len() / 2], "s.zip: expected a ZIP archive: ");
    check(b"PK", "s.zip: expected a ZIP archive: ");
    let other = archive("other.json", b"{}");
    check(&other, "s.zip: expected a file snapshot.json in it, as snapshots of KAI-Scheduler have");
    let mut damaged = good.clone();
    damaged[60..90].fill(0x5a);
    check(&damaged, "s.zip: snapshot.json: ");
    check(&archive("snapshot.json", b"{ \"config\": "), "s.zip: snapshot.json:1: EOF while parsing");
    check(&archive("snapshot.json", b"{}"), "s.zip: snapshot.json: expected a field rawObjects");
    let odd = archive("snapshot.json", br#"{ "rawObjects": { "pods": [ { "metadata": { "name": 7 } } ] } }"#);
    check(
        &odd,
        "s.zip: snapshot.json:1: rawObjects.pods[0].metadata.name: invalid type: integer `7`, expected a string",
    );
    let odd = archive("snapshot.json", br#"{ "rawObjects": {}, "config": { "actions": "defrag" } }"#);
    check(
        &odd,
        "s.zip: snapshot.json:1: config.actions: expected allocate, consolidation, reclaim, preempt or ",
    );
}
