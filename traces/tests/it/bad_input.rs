//! What is wrong with a file, and where, in one line.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use foretell_traces::{NodeFormat, TraceFormat, open, openb, read_nodes};

use crate::fixture::file;

/// The error of reading this file to its end, without its folder; `""` if there is none.
fn error_of(content: &[u8], format: Option<TraceFormat>) -> String {
    let (folder, path) = file("trace.csv", content);
    let result = open(&path, format).and_then(|mut jobs| jobs.try_for_each(|job| job.map(drop)));
    let message = result.err().map_or_else(String::new, |error| error.to_string());
    message.replace(&format!("{}/", folder.path().display()), "")
}

fn check(content: &str, expected: &str) {
    assert_eq!(error_of(content.as_bytes(), None), expected, "for {content:?}");
}

#[test]
fn canonical_fields() {
    let check_row = |row: &str, expected: &str| {
        let content = format!(
            "job_id,submit_s,duration_s,gpus_per_task,tasks,gpu_milli,gpu_models,priority,status\n\
             a,1,1,1,1,1000,,0,completed\n{row}\n"
        );
        check(&content, expected);
    };
    check_row("b,1,1,1,1,1000,V100|A100,0,failed", "");
    check_row("b,1,1,1,,,,,", "");
    check_row("b,1,1,0,1,,V100|,0,completed", "");
    check_row("b,1,1", "trace.csv:3: expected 9 fields, got 3");
    let seconds = "a number of seconds from 0 to 4000000000";
    for bad in ["-1", "NaN", "inf", "-inf", "1e10", "", "1 s"] {
        let expected = format!("trace.csv:3: column \"duration_s\": expected {seconds}, got {bad:?}");
        check_row(&format!("b,1,{bad},1,1,1000,,0,completed"), &expected);
    }
    check_row(
        "b,0.5,1,1,1,1000,,0,completed",
        "trace.csv:3: column \"submit_s\": expected rows in order of submission, at 1 or later, got \"0.5\"",
    );
    for bad in ["-1", "1025", "99999999999999999999", "1.5", "NaN", ""] {
        let expected = format!(
            "trace.csv:3: column \"gpus_per_task\": expected a whole number from 0 to 1024, got {bad:?}"
        );
        check_row(&format!("b,1,1,{bad},1,1000,,0,completed"), &expected);
    }
    check_row(
        "b,1,1,1,0,1000,,0,completed",
        "trace.csv:3: column \"tasks\": expected a whole number from 1 to 100000, got \"0\"",
    );
    check_row(
        "b,1,1,1,1,0,,0,completed",
        "trace.csv:3: column \"gpu_milli\": expected a whole number from 1 to 1000, got \"0\"",
    );
    check_row(
        "b,1,1,1,1,1000,A||B,0,completed",
        "trace.csv:3: column \"gpu_models\": expected names of GPU models separated by \"|\", got \"A||B\"",
    );
    check_row(
        "b,1,1,1,1,1000,,3000000000,completed",
        "trace.csv:3: column \"priority\": expected a whole number from -2147483648 to 2147483647, \
         got \"3000000000\"",
    );
    check_row(
        "b,1,1,1,1,1000,,0,done",
        "trace.csv:3: column \"status\": expected one of completed, failed, cancelled, got \"done\"",
    );
    check_row(
        ",1,1,1,1,1000,,0,completed",
        "trace.csv:3: column \"job_id\": expected a name of 1 to 4096 bytes, got \"\"",
    );
    check_row(
        "\"two\nlines\",1,1,1,1,1000,,0,completed",
        "trace.csv:3: column \"job_id\": expected at most 4096 bytes of text without control characters, \
         got \"two\\nlines\"",
    );
}

#[test]
fn headers() {
    check("", "trace.csv:1: expected a header, got an empty file");
    check("\n\n", "trace.csv:1: expected a header, got an empty file");
    check("job_id,submit_s,duration_s,gpus_per_task\n", "");
    check("job_id,submit_s,duration_s,gpus_per_task", "");
    check("\u{feff}job_id,submit_s,duration_s,gpus_per_task\r\na,0,1,1\r\n", "");
    check(
        "x,y\n1,2\n",
        "trace.csv:1: expected the header of a canonical, openb, philly or sacct trace, got \"x,y\"",
    );
    check(
        "job_id,submit_s,duration_s\n",
        "trace.csv:1: column \"gpus_per_task\": missing; the header is \"job_id,submit_s,duration_s\"",
    );
    check(
        "job_id,job_id,submit_s\n",
        "trace.csv:1: column \"job_id\": expected each column once, got it twice",
    );
    check(
        "job_id,submit_s,duration_s,gpus_per_task,colour\n",
        "trace.csv:1: column \"colour\": unknown column; expected only job_id, user, queue, submit_s, \
         duration_s, tasks, gpus_per_task, gpu_milli, cpu_milli, memory_bytes, gpu_models, priority, status, account, qos, limit_s, min_tasks, \
         max_tasks, scaling, deadline_s",
    );
}

#[test]
fn scaling_fields() {
    let head = "job_id,submit_s,duration_s,gpus_per_task,tasks,min_tasks,max_tasks,scaling,deadline_s\n";
    let check_job = |row: &str, expected: &str| check(&format!("{head}{row}\n"), expected);
    check_job("a,0,1,1,4,1,8,amdahl=0.1,7", "");
    check_job("a,0,1,1,4,,,,", "");
    check_job("a,0,1,0,4,1,8,amdahl=0.1,", "");
    check_job(
        "a,0,1,1,4,5,8,,",
        "trace.csv:2: column \"min_tasks\": expected a whole number from 1 to 4, got \"5\"",
    );
    check_job(
        "a,0,1,1,4,1,3,,",
        "trace.csv:2: column \"max_tasks\": expected a whole number from 4 to 4096, got \"3\"",
    );
    let law = "expected a law such as `amdahl=0.05`, `communication=0.1`, `linear` or speeds from 0.000001 to 10000, with \
               `@FROM`, `MODEL:`, `xFACTOR` before and `across LAW` after it as needed; curves are separated by `;`";
    for bad in ["fast", "amdahl=2"] {
        let expected = format!("trace.csv:2: column \"scaling\": {law}, got {bad:?}");
        check_job(&format!("a,0,1,1,4,1,8,{bad},"), &expected);
    }
    check_job(
        "a,0,1,1,4,1,8,T4: linear,",
        "trace.csv:2: column \"scaling\": expected a curve for all models from the start on and after every `@FROM`, \
         got \"T4: linear\"",
    );
    check_job(
        "a,0,1,1,4,,,,-1",
        "trace.csv:2: column \"deadline_s\": expected a number of seconds from 0 to 4000000000, got \"-1\"",
    );
}

#[test]
fn openb_and_philly_fields() {
    let pods = "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos,pod_phase,\
                creation_time,deletion_time,scheduled_time\n";
    let check_pod = |row: &str, expected: &str| check(&format!("{pods}{row}\n"), expected);
    check_pod("p,1,1,1,1000,,LS,Running,0,5,1", "");
    check_pod("p,1,1,1,1000,,LS,Pending,0,5,", "");
    check_pod(
        "p,1,1,1,1000,,LS,Running,0,5,6",
        "trace.csv:2: column \"deletion_time\": expected a time that is not before the pod was created or \
         scheduled, got \"5\"",
    );
    check_pod(
        "p,1,1,1,1000,,LS,Lost,0,5,1",
        "trace.csv:2: column \"pod_phase\": expected one of Running, Succeeded, Failed, Pending, got \"Lost\"",
    );
    check_pod(
        "p,1,1,1,0,,LS,Running,0,5,1",
        "trace.csv:2: column \"gpu_milli\": expected a whole number from 1 to 4294967295, got \"0\"",
    );
    check(
        "name,cpu_milli,memory_mib,num_gpu,gpu_milli\np,1,1,1,1000\n",
        "trace.csv:1: column \"creation_time\": missing: pods without times cannot be replayed, only used as \
         arrivals in a study",
    );
    let check_philly = |row: &str, expected: &str| {
        check(&format!("timestamp,duration,num_gpus,gpu_time,cluster\n{row}\n"), expected);
    };
    check_philly("2017-10-09 07:01:55,1,1,1,vc", "");
    check_philly(
        "2017-13-09 07:01:55,1,1,1,vc",
        "trace.csv:2: column \"timestamp\": expected a time such as 2017-10-09 07:01:55 in the years 1970 to 2069, \
         got \"2017-13-09 07:01:55\"",
    );
    check_philly(
        "1066-10-14 09:00:00,1,1,1,vc",
        "trace.csv:2: column \"timestamp\": expected a time such as 2017-10-09 07:01:55 in the years 1970 to 2069, \
         got \"1066-10-14 09:00:00\"",
    );
    check_philly(
        "2017-10-09 07:01:55,1,0,1,vc",
        "trace.csv:2: column \"num_gpus\": expected a whole number from 1 to 65536, got \"0\"",
    );
}

/// A thousand valid rows.
fn valid_rows() -> String {
    let rows = (0..1000).map(|i| format!("job-{i},{i},1,1\n"));
    std::iter::once("job_id,submit_s,duration_s,gpus_per_task\n".to_owned()).chain(rows).collect()
}

#[test]
fn compressed_data() {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(valid_rows().as_bytes()).unwrap();
    let compressed = encoder.finish().unwrap();
    // Compression is told from the content, whatever the name.
    assert_eq!(error_of(&compressed, None), "");
    let truncated = error_of(&compressed[..compressed.len() - 9], None);
    assert!(truncated.ends_with("the compressed data end too early: the file is truncated"), "{truncated}");
    // A bit of the checksum, which is followed by four bytes of length.
    let mut damaged = compressed;
    let checksum = damaged.len() - 8;
    damaged[checksum] ^= 1;
    let damaged = error_of(&damaged, None);
    assert!(damaged.ends_with("the compressed data are damaged"), "{damaged}");
}

#[test]
fn rows_have_a_limit() {
    const MIB: usize = 1 << 20;
    let expected = "trace.csv:1002: expected rows of at most 1048576 bytes, got a longer one";
    let with = |row: String| error_of((valid_rows() + &row).as_bytes(), None);
    // No newline in ten million bytes; the same for a quote that is never closed.
    assert_eq!(with("x".repeat(10 * MIB)), expected);
    assert_eq!(with("\"".to_owned() + &"x,1,1,1\n".repeat(2 * MIB)), expected);
    // Long, but not too long: it is only not a name.
    let long = with("x".repeat(MIB - 100) + ",1000,1,1\n");
    assert!(long.starts_with("trace.csv:1002: column \"job_id\": expected at most 4096 bytes"), "{long}");
    // The limit is for a row, not for the file.
    let (_folder, path) = file("trace.csv", (valid_rows() + &"z,2000,1,1\n".repeat(MIB / 4)).as_bytes());
    assert_eq!(open(&path, None).unwrap().count(), 1000 + MIB / 4);
}

#[test]
fn text_is_utf8() {
    let content = [valid_rows().as_bytes(), b"\xff\xfe,2000,1,1\n"].concat();
    assert_eq!(error_of(&content, None), "trace.csv:1002: column \"job_id\": expected UTF-8 text");
}

#[test]
fn after_an_error_there_are_no_more_rows() {
    let (_folder, path) = file("trace.csv", (valid_rows() + "x,-1,1,1\ny,2000,1,1\n").as_bytes());
    let jobs: Vec<_> = open(&path, None).unwrap().collect();
    assert_eq!(jobs.len(), 1001);
    assert!(jobs[1000].is_err());
}

#[test]
fn node_lists() {
    let check = |format: NodeFormat, content: &str, expected: &str| {
        let (folder, path) = file("nodes.csv", content.as_bytes());
        let message = read_nodes(&path, format).err().map_or_else(String::new, |error| error.to_string());
        assert_eq!(
            message.replace(&format!("{}/", folder.path().display()), ""),
            expected,
            "for {content:?}"
        );
    };
    let openb = "sn,cpu_milli,memory_mib,gpu,model\n";
    check(NodeFormat::Openb, &format!("{openb}n,1,1,0,\nm,1,1,2,T4\n"), "");
    check(
        NodeFormat::Openb,
        &format!("{openb}n,1,1,2,\n"),
        "nodes.csv:2: column \"model\": expected a GPU model exactly where there are GPUs, got \"\"",
    );
    // The limit counts the nodes of all virtual clusters.
    check(
        NodeFormat::Philly,
        "vc,node num\na,65535\nb,2\n",
        "nodes.csv:3: column \"node num\": expected a whole number from 0 to 1, got \"2\"",
    );
}

#[test]
fn arrival_orders_and_node_ranks() {
    let (_folder, path) = file("order.csv", b"event,s42,s43\n0,2,0\n1,0,1\n2,1,\n");
    let order = openb::read_order(&path, &[42, 43, 99], 3).unwrap();
    assert_eq!(order, [(42, vec![2, 0, 1]), (43, vec![0, 1])].into());
    let error = |result: Result<_, foretell_traces::TraceError>| {
        let message = result.map(drop).unwrap_err().to_string();
        message.rsplit_once("order.csv").unwrap().1.to_owned()
    };
    assert_eq!(
        error(openb::read_order(&path, &[42], 2)),
        ":2: column \"s42\": expected a whole number below 2, and blank cells only at the end, got \"2\"",
    );
    assert_eq!(
        error(openb::read_node_rank(&path, &[42, 43], 3)),
        ": column \"s43\": expected each rank from 0 to 2 once",
    );
    let (_folder, gap) = file("order.csv", b"event,s42\n0,1\n1,\n2,0\n");
    assert_eq!(
        error(openb::read_order(&gap, &[42], 3)),
        ":4: column \"s42\": expected a whole number below 3, and blank cells only at the end, got \"0\"",
    );
}

#[test]
fn files_that_are_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let error = |path: &std::path::Path| open(path, None).err().unwrap().message;
    assert_eq!(error(&folder.path().join("absent.csv")), "no such file");
    assert_eq!(error(folder.path()), "expected a file, got a directory");
}
