//! What is written reads back as it was.

use std::path::Path;
use std::sync::Arc;

use foretell_traces::canonical::{Reader, Writer};
use foretell_traces::record::{MAX_CPU_MILLI, MAX_GPUS_PER_TASK, MAX_MEMORY_BYTES, MAX_TASKS, MAX_TIME_S};
use foretell_traces::{JobRecord, JobStatus, ScalingCurve, ScalingRecord, SpeedLaw};
use proptest::prelude::*;
use proptest::sample::select;

fn name() -> impl Strategy<Value = Box<str>> {
    // Everything that CSV has to quote, and text beyond ASCII.
    "[a-zß猫 ,\"'|#;\\\\-]{0,12}".prop_map(Into::into)
}

fn law() -> impl Strategy<Value = SpeedLaw> {
    prop_oneof![
        Just(SpeedLaw::Linear),
        (0.0..1.0).prop_map(SpeedLaw::Amdahl),
        (0.0..1.0).prop_map(SpeedLaw::Communication),
        prop::collection::vec(1e-6..=1e4, 1..6).prop_map(SpeedLaw::Speeds),
    ]
}

prop_compose! {
    fn curve()(
        from in prop_oneof![Just(0.0), 0.0..1.0],
        models in prop::collection::vec("[A-Z][a-z0-9-]{0,4}", 0..3),
        factor in prop_oneof![Just(1.0), 1e-3..1e3],
        one_node in law(),
        many_nodes in prop::option::of(law()),
    ) -> ScalingCurve {
        ScalingCurve { from, models, factor, one_node, many_nodes }
    }
}

prop_compose! {
    fn scaling()(
        max_tasks in 8_u32..20,
        mut curves in prop::collection::vec(curve(), 1..4),
        for_all in law(),
    ) -> ScalingRecord {
        // One for all models from the start on, and wherever others begin.
        let mut starts: Vec<f64> = curves.iter().map(|curve| curve.from).collect();
        starts.push(0.0);
        curves.extend(starts.into_iter().map(|from| ScalingCurve { from, ..ScalingCurve::of(for_all.clone()) }));
        ScalingRecord { min_tasks: 1, max_tasks, curves }
    }
}

prop_compose! {
    fn job()(
        id in "[a-z,\"é]{1,12}",
        user in name(),
        queue in name(),
        (submit_s, duration_s) in (0.0..=MAX_TIME_S, prop_oneof![Just(0.0), 0.0..=1e-3, 0.0..=MAX_TIME_S]),
        tasks in 1..=MAX_TASKS,
        gpus_per_task in prop_oneof![Just(0), 1..=MAX_GPUS_PER_TASK],
        gpu_milli in 1..=1000_u32,
        cpu_milli in 0..=MAX_CPU_MILLI,
        memory_bytes in 0..=MAX_MEMORY_BYTES,
        gpu_models in prop::collection::vec("[A-Za-z0-9, -]{1,8}", 0..4),
        priority in any::<i32>(),
        status in select(JobStatus::ALL.to_vec()),
        (account, qos) in (name(), name()),
        (limit_s, deadline_s) in (prop::option::of(0.0..=MAX_TIME_S), prop::option::of(0.0..=MAX_TIME_S)),
        scaling in prop::option::of(scaling()),
    ) -> JobRecord {
        let has_gpus = gpus_per_task > 0;
        let scaling = scaling.filter(|_| has_gpus);
        let tasks = if scaling.is_some() { tasks % 8 + 1 } else { tasks };
        JobRecord {
            id: id.into(),
            user,
            queue,
            submit_s,
            duration_s,
            tasks,
            gpus_per_task,
            gpu_milli: if has_gpus { gpu_milli } else { 0 },
            cpu_milli,
            memory_bytes,
            gpu_models: if has_gpus { gpu_models } else { Vec::new() },
            priority,
            status,
            account,
            qos,
            limit_s,
            scaling: scaling.map(Arc::new),
            deadline_s,
        }
    }
}

fn write(path: &Path, jobs: &[JobRecord]) {
    let mut writer = Writer::create(path).unwrap();
    for job in jobs {
        writer.write(job).unwrap();
    }
    writer.finish().unwrap();
}

proptest! {
    #[test]
    fn canonical_files_read_back(mut jobs in prop::collection::vec(job(), 0..20), compressed: bool) {
        jobs.sort_by(|job, other| job.submit_s.total_cmp(&other.submit_s));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(if compressed { "trace.csv.gz" } else { "trace.csv" });
        write(&path, &jobs);
        let read = Reader::open(&path).unwrap().collect::<Result<Vec<_>, _>>().unwrap();
        prop_assert_eq!(read, jobs);
        let gzip_magic = std::fs::read(&path).unwrap().starts_with(&[0x1f, 0x8b]);
        prop_assert_eq!(gzip_magic, compressed);
    }
}

fn plain_job() -> JobRecord {
    JobRecord {
        id: "a".into(),
        user: "".into(),
        queue: "".into(),
        submit_s: 0.25,
        duration_s: 10.0,
        tasks: 2,
        gpus_per_task: 8,
        gpu_milli: 1000,
        cpu_milli: 500,
        memory_bytes: 1024,
        gpu_models: vec!["A100".into(), "H100".into()],
        priority: -1,
        status: JobStatus::Failed,
        account: "".into(),
        qos: "".into(),
        limit_s: Some(60.0),
        scaling: Some(Arc::new(ScalingRecord {
            min_tasks: 1,
            max_tasks: 4,
            curves: ScalingRecord::parse_law("amdahl=0.05; @0.5 linear").unwrap(),
        })),
        deadline_s: Some(7200.5),
    }
}

#[test]
fn canonical_files_look_like_this() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trace.csv");
    write(&path, &[plain_job()]);
    let expected = "job_id,user,queue,submit_s,duration_s,tasks,gpus_per_task,gpu_milli,cpu_milli,\
                    memory_bytes,gpu_models,priority,status,account,qos,limit_s,min_tasks,max_tasks,scaling,deadline_s\n\
                    a,,,0.25,10,2,8,1000,500,1024,A100|H100,-1,failed,,,60,1,4,amdahl=0.05; @0.5 linear,7200.5\n";
    assert_eq!(std::fs::read_to_string(&path).unwrap(), expected);
}

#[test]
fn a_file_appears_only_when_it_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trace.csv");
    std::fs::write(&path, "before").unwrap();
    let mut writer = Writer::create(&path).unwrap();
    writer.write(&plain_job()).unwrap();
    let invalid = JobRecord { tasks: 0, ..plain_job() };
    let error = writer.write(&invalid).unwrap_err();
    assert_eq!((error.line, error.column.as_deref()), (Some(3), Some("tasks")));
    assert_eq!(error.message, "expected a whole number from 1 to 100000, got \"0\"");
    drop(writer);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "before");
    let files = std::fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(files, 1, "nothing half-written is left");
    let absent = Writer::create(&folder.path().join("absent/trace.csv")).err().unwrap();
    assert_eq!(absent.message, "the folder to write it in does not exist");
}
