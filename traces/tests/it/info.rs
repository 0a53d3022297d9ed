//! Statistics of a small trace, by hand.

use foretell_traces::info::SizeClass;
use foretell_traces::{JobStatus, TraceInfo, open};

use crate::fixture::file;

fn info(content: &str) -> TraceInfo {
    let (_folder, path) = file("trace.csv", content.as_bytes());
    TraceInfo::of(open(&path, None).unwrap()).unwrap()
}

#[test]
fn a_small_trace() {
    let info = info(
        "job_id,user,queue,submit_s,duration_s,tasks,gpus_per_task,gpu_milli,status\n\
         a,ann,q,10,100,1,0,,completed\n\
         b,bob,q,20,100,1,1,500,failed\n\
         c,bob,,20,200,1,1,,completed\n\
         d,,r,60,400,2,8,,cancelled\n\
         e,bob,r,110,0,1,3,,completed\n",
    );
    assert_eq!(info.jobs, 5);
    let close =
        |value: f64, expected: f64| assert!((value / expected - 1.0).abs() < 1e-12, "{value}, {expected}");
    close(info.span_s(), 100.0);
    close(info.gpu_seconds, 50.0 + 200.0 + 6400.0);
    close(info.mean_demanded_gpus().unwrap(), 66.5);
    // Gaps 10, 0, 40, 50: mean 25, variance (225 + 625 + 225 + 625) / 4.
    let gaps = info.gaps.unwrap();
    close(gaps.mean_s, 25.0);
    close(gaps.coefficient_of_variation, 425.0_f64.sqrt() / 25.0);
    let run_times = info.run_times.unwrap();
    close(run_times.mean_s, 160.0);
    close(run_times.max_s, 400.0);
    assert!((run_times.p50_s / 100.0 - 1.0).abs() < 0.0051);

    let jobs_of = |class: SizeClass| info.sizes.iter().find(|(of, _)| *of == class).unwrap().1.jobs;
    assert_eq!(SizeClass::ALL.map(jobs_of), [1, 1, 1, 0, 1, 0, 1]);
    let names = |named: &[(Box<str>, foretell_traces::info::Share)]| {
        named.iter().map(|(name, share)| format!("{name}:{}", share.jobs)).collect::<Vec<_>>()
    };
    assert_eq!(names(&info.queues), ["q:2", "r:2", ":1"]);
    assert_eq!(names(&info.users), ["bob:3", "ann:1"]);
    let statuses: Vec<_> = info.statuses.iter().map(|(status, share)| (*status, share.jobs)).collect();
    let expected = [(JobStatus::Completed, 3), (JobStatus::Failed, 1), (JobStatus::Cancelled, 1)];
    assert_eq!(statuses, expected);
}

#[test]
fn traces_of_one_job_and_of_none() {
    let header = "job_id,submit_s,duration_s,gpus_per_task\n";
    let none = info(header);
    assert_eq!((none.jobs, none.run_times, none.gaps, none.mean_demanded_gpus()), (0, None, None, None));
    let one = info(&format!("{header}a,5,7,1\n"));
    assert_eq!((one.jobs, one.gaps, one.mean_demanded_gpus()), (1, None, None));
    assert!(one.run_times.is_some());
}
