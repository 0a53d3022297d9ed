//! Dumps of Slurm's accounting.

use foretell_traces::{JobRecord, JobStatus, TraceError, open};

fn read(text: &str) -> Result<Vec<JobRecord>, TraceError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sacct.txt");
    std::fs::write(&path, text).unwrap();
    open(&path, None)?.collect()
}

#[test]
fn a_dump_becomes_jobs_in_order_of_submission() {
    let jobs = read(include_str!("../data/sacct.txt")).unwrap();
    let rows: Vec<String> = jobs
        .iter()
        .map(|job| {
            let JobRecord { id, user, account, queue, qos, submit_s, duration_s, .. } = job;
            let JobRecord { tasks, gpus_per_task, cpu_milli, memory_bytes, status, .. } = job;
            let (models, limit) =
                (job.gpu_models_text(), job.limit_s.map_or("-".into(), |limit| limit.to_string()));
            let gib = memory_bytes >> 30;
            format!(
                "{id} {user}/{account} {queue}/{qos} at {submit_s} for {duration_s} of {limit}: \
                 {tasks} x {gpus_per_task} {models} {cpu_milli}m {gib}Gi {status}"
            )
        })
        .collect();
    let expected = [
        "101 ann/physics gpu/normal at 0 for 3600 of 7200: 1 x 4 a100 32000m 128Gi completed",
        "102 bob/biology gpu/high at 60 for 93784 of -: 2 x 8 a100 64000m 512Gi failed",
        "103_1 bob/biology gpu/normal at 120 for 10 of 1800: 1 x 1 v100 4000m 16Gi completed",
        "103_2 bob/biology gpu/normal at 120 for 20 of 1800: 1 x 1 v100 4000m 16Gi cancelled",
        // Requeued after a node failed: the first submission, the last run.
        "104 ann/physics gpu/normal at 180 for 600 of 3600: 1 x 2  16000m 64Gi completed",
        // Still running when the dump was made.
        "106 eve/physics cpu/normal at 300 for 86400 of 172800: 3 x 0  40000m 64Gi completed",
    ];
    assert_eq!(rows, expected);
    assert_eq!(jobs[3].status, JobStatus::Cancelled);
}

#[test]
fn a_column_at_the_end_of_every_line_does_no_harm() {
    let jobs = read("JobID|Submit|Start|End|State|AllocTRES|\n7|0|5|65|COMPLETED|cpu=1,gres/gpu=1,node=1|\n")
        .unwrap();
    assert_eq!((jobs.len(), jobs[0].duration_s, jobs[0].gpus_per_task), (1, 60.0, 1));
}

#[test]
fn what_is_wrong_is_said_with_line_and_column() {
    let header = "JobID|Submit|Elapsed|Timelimit|State|NNodes|AllocTRES\n";
    let check = |text: &str, expected: &str| {
        let error = read(text).unwrap_err().to_string();
        let (_, message) = error.split_once("sacct.txt:").unwrap();
        assert_eq!(message, expected);
    };
    let row = |row: &str| format!("{header}1|0|00:10|UNLIMITED|COMPLETED|1|cpu=1\n{row}\n");
    check(
        "JobID|Submit|State|AllocTRES\n",
        "1: column \"Elapsed\": missing; the header is \"JobID,Submit,State,AllocTRES\"",
    );
    check(
        "JobID|Submit|State|Elapsed\n",
        "1: column \"AllocTRES\": missing; the header is \"JobID,Submit,State,Elapsed\"",
    );
    check(
        &row("2|yesterday|00:10|1:00|COMPLETED|1|cpu=1"),
        "3: column \"Submit\": expected a time such as 2024-03-01T12:00:00, or seconds since 1970, got \"yesterday\"",
    );
    check(
        &row("2|0|ten|1:00|COMPLETED|1|cpu=1"),
        "3: column \"Elapsed\": expected a span such as 1-12:30:00, 12:30:00 or 30:00, got \"ten\"",
    );
    check(
        &row("2|0|00:10|soon|COMPLETED|1|cpu=1"),
        "3: column \"Timelimit\": expected a span such as 1-12:30:00, 12:30:00 or 30:00, UNLIMITED or Partition_Limit, \
         got \"soon\"",
    );
    check(
        &row("2|0|00:10|1:00|DONE|1|cpu=1"),
        "3: column \"State\": expected a state of a Slurm job such as COMPLETED, got \"DONE\"",
    );
    check(
        &row("2|0|00:10|1:00|COMPLETED|1|cpu=many"),
        "3: column \"AllocTRES\": expected resources such as cpu=16,mem=64G,node=2,gres/gpu:a100=8, got \"cpu=many\"",
    );
    check(
        &row("2|0|00:10|1:00|COMPLETED|x|cpu=1"),
        "3: column \"NNodes\": expected a whole number from 0 to 100000, got \"x\"",
    );
    check(&row("2|0|00:10"), "3: expected 7 fields, got 3");
}
