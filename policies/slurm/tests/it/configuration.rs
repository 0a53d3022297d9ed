//! `slurm.conf` and the lines beside it.

use foretell_framework::Time;
use foretell_slurm::{Fairness, PreemptMode, PreemptType, parse};

#[test]
fn a_configuration_is_read() {
    let (config, warnings) = parse(include_str!("../data/slurm.conf")).unwrap();
    let weights = config.weights;
    assert_eq!(
        (weights.age, weights.fair_share, weights.job_size, weights.partition, weights.qos),
        (1000, 10_000, 500, 2000, 3000)
    );
    assert_eq!(config.max_age, Time::from_s(14.0 * 86_400.0));
    assert_eq!((config.half_life, config.favor_small), (Time::from_s(3.5 * 86_400.0), true));
    assert_eq!((config.fairness, config.preempt), (Fairness::Classic, PreemptType::Qos));
    assert_eq!(
        (config.backfill, config.max_job_test, config.window),
        (true, 1000, Time::from_s(2880.0 * 60.0))
    );
    assert_eq!((config.billing.cpu, config.billing.gpu, config.billing.memory_gib), (0.5, 2.0, 0.25));
    let names: Vec<_> = config.partitions[0].nodes.as_ref().unwrap().iter().map(|name| &**name).collect();
    assert_eq!(names, ["gpu08", "gpu09", "gpu10", "big1", "login"]);
    assert_eq!((config.partitions[0].tier, config.partitions[0].job_factor), (10, 100));
    assert_eq!(config.partitions[0].max_time, Some(Time::from_s(2.5 * 86_400.0)));
    assert!(config.partitions[1].is_default && config.partitions[1].nodes.is_none());
    assert_eq!(config.partitions[1].max_time, None);
    let high = &config.qos[1];
    assert_eq!((high.group.gpu_milli, high.group.memory_bytes), (Some(64_000), Some(2 << 40)));
    assert_eq!((high.jobs_per_user, high.per_user.cpu_milli), (Some(4), Some(128_000)));
    assert_eq!(high.preempts, ["normal".into()]);
    assert_eq!(config.qos[0].preempt_mode, Some(PreemptMode::Requeue));
    assert_eq!((config.accounts[1].parent.as_deref(), config.accounts[1].shares), (Some("science"), 30));
    assert_eq!(config.users.len(), 3);
    assert_eq!(
        warnings,
        [
            "12: PreemptMode: SUSPEND requeues here",
            "13: bf_interval has no effect",
            "15: PriorityCalcPeriod has no effect",
            "20: PreemptMode: CANCEL requeues here",
        ]
    );
}

#[test]
fn what_is_wrong_is_said_with_the_line() {
    for (text, expected) in [
        (
            "ClusterName=a\nPriorityWeightAge=much",
            "2: PriorityWeightAge: expected a whole number, got `much`",
        ),
        (
            "PriorityMaxAge=soon",
            "1: PriorityMaxAge: expected a time such as 1-12:30:00, 12:30:00 or minutes, got `soon`",
        ),
        ("PriorityFavorSmall=maybe", "1: PriorityFavorSmall: expected YES or NO, got `maybe`"),
        (
            "PreemptType=preempt/all",
            "1: PreemptType: expected preempt/none, preempt/partition_prio or preempt/qos, got `preempt/all`",
        ),
        ("PreemptMode=KILL", "1: PreemptMode: expected OFF, REQUEUE, CANCEL, SUSPEND or GANG, got `KILL`"),
        ("\nPartitionName=a Nodes=n[3-1]", "2: Nodes: expected names such as node[001-016], got `n[3-1]`"),
        ("PartitionName=a\nPartitionName=a", "2: PartitionName: two partitions have the name `a`"),
        (
            "QOS=a GrpTRES=gpus=1",
            "1: GrpTRES: expected amounts such as cpu=64,gres/gpu=8,mem=512G,node=4, got `gpus=1`",
        ),
        ("Account=a Parent=b", "1: Parent: expected an account of a line before, got `b`"),
        ("User=u Account=a", "1: Account: expected accounts of lines before, got `a`"),
        ("SchedulerParameters=bf_window=long", "1: bf_window: expected a whole number, got `long`"),
        ("PartitionName", "1: PartitionName: expected KEY=VALUE"),
    ] {
        assert_eq!(parse(text).unwrap_err().to_string(), expected);
    }
}
