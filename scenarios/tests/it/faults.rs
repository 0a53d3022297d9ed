//! What fails, as scenarios say it.

use foretell_scenarios::sim::framework::{NodeId, Time};
use foretell_scenarios::sim::platform::{Checkpoints, FaultKind, OnFailure, Place, RolePolicy, SizedBytes};

use crate::{check, problems, read, with};

/// The good scenario with something more at its end.
fn and(text: &str) -> String {
    format!("{}\n{text}", with("", ""))
}

#[test]
fn what_cannot_be_is_said() {
    check(
        &and("[faults]\npreset = \"llama\""),
        "14:10: faults.preset: unknown value `llama` (did you mean `llama3`?)",
    );
    check(
        &and("[faults]\ngpu = { per_1000_node_days = -1 }"),
        "14:30: faults.gpu.per_1000_node_days: expected a number from 0 to 1000000000, got -1",
    );
    check(
        &and("[faults]\nspares = 2"),
        "14:10: faults.spares: expected fewer than the cluster has nodes (2), got 2",
    );
    check(
        &and("[[faults.at]]\ntime_s = 1\nnode = \"dgx-h100-002\"\nkind = \"gpu\""),
        "15:8: faults.at[0].node: unknown node `dgx-h100-002` (did you mean `dgx-h100-0000`?)",
    );
    check(
        &and("[[faults.at]]\ntime_s = 1\nnode = \"dgx-h100-0001\"\nkind = \"gpu\"\ngpu = 8"),
        "17:7: faults.at[0].gpu: node `dgx-h100-0001` has 8 GPUs, counted from 0",
    );
    check(
        &and("[[faults.at]]\ntime_s = 1\nnode = \"dgx-h100-0001\"\nkind = \"nic\"\ngpu = 1"),
        "17:7: faults.at[0].gpu: expected none beside this `kind`, got 1",
    );
    let sizes = "sizes = [{ weight = 1, gpus_per_task = 1 }]";
    check(
        &with(sizes, "sizes = [{ weight = 1, gpus_per_task = 1, max_retries = 2 }]"),
        "8:10: workload.synthetic.sizes[0]: what to do on failure is said, but nothing fails (add a section \
         `[faults]`, or leave out `on_failure` and `max_retries`)",
    );
    let young =
        "[preemption]\ncheckpoint = { interval = \"young\", size_per_gpu = \"12 GB\", write_gb_per_s = 1 }";
    check(
        &and(young),
        "14:27: preemption.checkpoint.interval: nothing fails, so that there is no best interval (add a section \
         `[faults]` with a `preset` or with rates, or `mean_time_between_evictions_s`)",
    );
    let both = young.replace("[preemption]", "[preemption]\ncheckpoint_interval_s = 9");
    assert!(
        problems(&and(&format!("{both}\n[faults]\npreset = \"llama3\"")), &[])
            .contains("expected this or `checkpoint_interval_s`, got both")
    );
    check(
        &and("[preemption]\ncheckpoint = { write_gb_per_s = 1 }"),
        "14:14: preemption.checkpoint: expected at least one of `size_per_gpu` and `size_per_job`, got neither (no job \
         trains a model, whose states would say it)",
    );
}

#[test]
fn what_is_said_is_what_is_meant() {
    assert!(read(&with("", ""), &[]).unwrap().faults.is_none());
    let text = and(
        "[preemption]\ncheckpoint = { interval = \"young\", size_per_gpu = \"12 GB\", write_gb_per_s = 4, \
         read_gb_per_s = 8, stall_fraction = 0.25 }\n\
         [faults]\npreset = \"llama3\"\nnic = { per_1000_node_days = 5, repair_time_s = 60 }\nmax_retries = 3\nspares = 1\n\
         stragglers = { share = 0.5, speed = 0.9 }\ncheck = { time_s = 60, catches = 0.5 }\n\
         [[faults.at]]\ntime_s = 100\nnode = \"dgx-h100-0001\"\nkind = \"gpu\"\ngpu = 7\nduration_s = 50\n",
    );
    let text = text.replace(
        "sizes = [{ weight = 1, gpus_per_task = 1 }]",
        "sizes = [{ weight = 1, gpus_per_task = 1, on_failure = \"restart_pod\", roles = [{ name = \"ps\", tasks = 1, \
         on_failure = \"fail\" }] }]",
    );
    let scenario = read(&text, &[]).unwrap();
    let faults = scenario.faults.unwrap();
    let per_million_node_days = |kind: FaultKind| (faults.rate(kind).per_node_s * 86.4e9).round() as u64;
    assert_eq!(FaultKind::ALL.map(per_million_node_days), [416, 2_423, 5_000, 316, 570, 0, 0, 0, 0, 0]);
    let repair_s = |kind: FaultKind| faults.rate(kind).repair.mean.as_s();
    assert_eq!((repair_s(FaultKind::Gpu), repair_s(FaultKind::Nic)), (14_400.0, 60.0));
    assert_eq!(faults.detection, Time::from_s(600.0));
    let slow = faults.stragglers.unwrap();
    assert_eq!((slow.speed_millionths, slow.detection, faults.spares), (900_000, None, 1));
    assert_eq!(faults.check.unwrap().time, Time::from_s(60.0));
    let at = faults.scheduled[0];
    assert_eq!((at.place, at.kind, at.device), (Place::Node(NodeId::new(1)), FaultKind::Gpu, Some(7)));
    let cost = scenario.preemption.checkpoint_cost;
    assert_eq!(cost.size, Some(SizedBytes { base: 0, per_gpu: 12_000_000_000 }));
    assert_eq!((cost.write_bytes_per_s, cost.read_bytes_per_s), (4_000_000_000, 8_000_000_000));
    assert_eq!((cost.stall_millionths, scenario.preemption.checkpoints), (250_000, Checkpoints::Young));
    let foretell_scenarios::scenario::Workload::Synthetic(jobs) = scenario.workload else { panic!() };
    let policy = jobs.traits[0].on_failure.as_ref().unwrap();
    assert_eq!((policy.on_failure, policy.max_retries), (OnFailure::RestartPod, Some(3)));
    let ps = RolePolicy { role: "ps".into(), on_failure: OnFailure::Fail, max_retries: None };
    assert_eq!(policy.roles, [ps]);
}

/// What jobs of a size with parameter servers do when one of their pods fails, and when any other does: action and bound of each.
#[test]
fn what_a_size_says_comes_first() {
    use OnFailure::{Fail, RestartJob, RestartPod};
    type Said = (OnFailure, Option<u32>);
    let found = |of_all: &str, of_size: &str, of_role: &str| -> [Said; 3] {
        let size = format!(
            "sizes = [{{ weight = 1, gpus_per_task = 1{of_size}, roles = [{{ name = \"ps\", tasks = 1{of_role} }}] }}]"
        );
        let text = and(&format!("[faults]\npreset = \"llama3\"\n{of_all}"));
        let scenario =
            read(&text.replace("sizes = [{ weight = 1, gpus_per_task = 1 }]", &size), &[]).unwrap();
        let foretell_scenarios::scenario::Workload::Synthetic(jobs) = scenario.workload else { panic!() };
        let default = scenario.faults.unwrap().policy;
        let policy = jobs.traits[0].on_failure.as_deref().unwrap_or(&default);
        let of = |role: &str| {
            let own = policy.roles.iter().find(|own| *own.role == *role);
            own.map_or((policy.on_failure, None), |own| (own.on_failure, own.max_retries))
        };
        [(policy.on_failure, policy.max_retries), of("worker"), of("ps")]
    };
    let roles = "max_retries = 9\nroles = [{ name = \"ps\", on_failure = \"fail\", max_retries = 2 }, \
                 { name = \"worker\", max_retries = 5 }]";
    let (size, role) = (", on_failure = \"restart_pod\"", ", max_retries = 1");
    let job = (RestartJob, None);
    assert_eq!(found("", "", ""), [job, job, job]);
    assert_eq!(found(roles, "", ""), [(RestartJob, Some(9)), (RestartJob, Some(5)), (Fail, Some(2))]);
    assert_eq!(found(roles, "", role), [(RestartJob, Some(9)), (RestartJob, Some(5)), (Fail, Some(1))]);
    assert_eq!(found(roles, size, ""), [(RestartPod, Some(9)), (RestartPod, Some(5)), (RestartPod, Some(2))]);
    assert_eq!(found("", ", max_retries = 3", role), [(RestartJob, Some(3)), job, (RestartJob, Some(1))]);
    check(
        &and("[faults]\nroles = [{ name = \"ps\" }, { name = \"worker\" }, { name = \"worker\" }]"),
        "14:19: faults.roles[0].name: no job has pods of a role `ps` (expected `worker`)\n\
         14:57: faults.roles[2].name: there is another role `worker`",
    );
}

/// Two nodes whose jobs train a model, and something more at the end.
fn trains(text: &str) -> String {
    let train = "{ model = \"llama-3-8b\", strategy = \"fsdp\" }";
    let classes = format!("[workload.communication]\nclasses = [{{ name = \"a\", train = {train} }}]");
    let sizes = "sizes = [{ weight = 1, tasks = 2, gpus_per_task = 8 }]";
    format!("{}\n{classes}\n{text}", with("sizes = [{ weight = 1, gpus_per_task = 1 }]", sizes))
}

#[test]
fn checkpoints_of_models_come_at_the_best_interval() {
    let found = |text: &str| {
        let preemption = read(&trains(text), &[]).unwrap().preemption;
        (preemption.checkpoints, preemption.checkpoint_cost.size.is_none())
    };
    let faults = "[faults]\npreset = \"llama3\"";
    let of = |fields: &str| format!("[preemption]\ncheckpoint = {{ write_gb_per_s = 1{fields} }}\n");
    for (text, checkpoints) in [
        // Nothing is said of checkpoints.
        (faults.to_owned(), Checkpoints::Never),
        (of("") + faults, Checkpoints::Young),
        (of(", interval = \"daly\"") + faults, Checkpoints::Daly),
        (of(", mean_time_between_evictions_s = 9"), Checkpoints::Young),
        (of("") + "checkpoint_interval_s = 60\n" + faults, Checkpoints::Every(Time::from_s(60.0))),
    ] {
        assert_eq!(found(&text), (checkpoints, true), "{text}");
    }
    let text = of(", size_per_job = \"1 GB\"") + faults;
    assert_eq!(found(&text), (Checkpoints::Young, false));
    // Where nothing fails there is no best interval.
    check(
        &trains(&of("")),
        "16:14: preemption.checkpoint: nothing says when checkpoints are taken (give `preemption.checkpoint_interval_s`, `[faults]` with a `preset` or with rates, or `preemption.checkpoint.mean_time_between_evictions_s`)",
    );
}

/// Llama 3 8B, fully sharded: 12 bytes for each of 8.03 * 10^9 parameters are 96.4 GB, 9.64 s at 10 GB/s. Nine of them in 1,000 s of work.
#[test]
fn a_model_says_what_its_checkpoints_take() {
    let took_ds = |fields: &str| {
        let text = format!(
            "[preemption]\ncheckpoint_interval_s = 100\ncheckpoint = {{ write_gb_per_s = 10{fields} }}\n"
        );
        let text = trains(&text).replace("jobs = 10", "jobs = 1");
        let text = text.replace("law = \"exponential\", mean_s = 60", "law = \"fixed\", value_s = 1000");
        let result = crate::communication::run(&text);
        let job = &result.jobs[0];
        (job.finish.unwrap().since(job.start.unwrap()).as_s() * 10.0).round() as u64
    };
    assert_eq!(took_ds(""), 10_867);
    // Half of the writing it goes on; as much a checkpoint of half the size takes.
    assert_eq!(took_ds(", stall_fraction = 0.5"), 10_434);
    assert_eq!(took_ds(", size_per_job = \"48.2 GB\""), 10_434);
}

/// Two nodes under leaves of their own with two spines, on which jobs communicate, and something more at the end.
fn on_fabric(text: &str) -> String {
    let fabric = "count = 2 }]\nfabric = { shape = \"leaf_spine\", nodes_per_leaf = 1, spines = 2 }";
    let classes = "[workload.communication]\nclasses = [{ name = \"a\", share = 0.5 }]";
    format!("{}\n{classes}\n{text}", with("count = 2 }]", fabric))
}

#[test]
fn parts_of_the_fabric_fail_where_there_is_one() {
    check(
        &and("[faults]\nleaf_link = { per_1000_device_days = 1 }"),
        "14:13: faults.leaf_link: there is no fabric that anything is sent over (it takes `cluster.fabric`, and \
         `workload.communication` to say what is sent over it)",
    );
    check(
        &on_fabric("[faults]\ncore_switch = { per_1000_device_days = 1 }"),
        "17:15: faults.core_switch: the fabric has none of these",
    );
    let at = |fields: &str| on_fabric(&format!("[[faults.at]]\ntime_s = 1\n{fields}"));
    check(
        &at("kind = \"leaf_link\"\nleaf = 1"),
        "18:8: faults.at[0].kind: expected `leaf` and `spine` and no other place beside this `kind`",
    );
    check(
        &at("kind = \"leaf_link\"\nleaf = 1\nspine = 2"),
        "16:1: faults.at[0]: the fabric has no such switch or link",
    );
    check(
        &at("kind = \"gpu\"\nleaf = 1"),
        "16:1: faults.at[0]: missing field `node`\n19:8: faults.at[0].leaf: expected none beside this `kind`",
    );
    let faults = |text: &str| read(&on_fabric(text), &[]).unwrap().faults.unwrap();
    let rates = faults("[faults]\nleaf_switch = { per_1000_device_days = 8.64, repair_time_s = 60 }");
    let leaf = rates.rate(FaultKind::LeafSwitch);
    assert!((leaf.per_node_s - 1e-7).abs() < 1e-12 && leaf.repair.mean == Time::from_s(60.0), "{leaf:?}");
    let link = faults("[[faults.at]]\ntime_s = 1\nkind = \"leaf_link\"\nleaf = 1\nspine = 0\nduration_s = 9");
    let [fault] = &*link.scheduled else { panic!("expected one fault") };
    assert_eq!(fault.place, Place::Cable { number: 2, below: 1, above: 0 });
    assert_eq!(fault.duration, Some(Time::from_s(9.0)));
}
