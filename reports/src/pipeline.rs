//! Pipelines of services: their tables and files.

use std::io::{self, Write};

use foretell_serving::metrics::Spread;
use foretell_serving::pipeline_served::{PipelineEnding, PipelineServed, PipelineSummary, StageEnding};
use serde::Serialize;

use crate::csv::Rows;
use crate::table::{WIDTH_MIN, align_right, new_table, render, spread_table};
use crate::units::{count, duration, percent, quantity};

/// Header of a pipeline's `requests.csv`.
pub const PIPELINE_REQUESTS_HEADER: &str = "request,arrival_s,finished_s,status,failed_stage";

/// Header of a pipeline's `stages.csv`.
pub const PIPELINE_STAGES_HEADER: &str =
    "request,stage,service,service_request,sent_s,ended_s,waiting_s,status,critical";

/// What pipelines came to, no line wider than `width` (at least 72): one after another, and side by side where there are several.
pub fn pipeline_table(pipelines: &[PipelineServed], width: u16) -> String {
    let width = width.max(WIDTH_MIN);
    let one = |served: &PipelineServed| {
        [heading(served, width), latencies(served, width), stages(served, width)].concat()
    };
    let mut sections: Vec<String> = pipelines.iter().map(one).collect();
    if pipelines.len() > 1 {
        sections.push(side_by_side(pipelines, width));
    }
    sections.join("\n")
}

fn heading(served: &PipelineServed, width: u16) -> String {
    let mut table = new_table(width);
    let summary = &served.summary;
    let stages = served.stages.len();
    let plural = if stages == 1 { "stage" } else { "stages" };
    table.add_row(["Pipeline", &format!("{}: {stages} {plural}", served.pipeline)]);
    let mut requests = vec![format!("{} done", count(summary.answered))];
    if summary.failed > 0 {
        requests.push(format!("{} failed", count(summary.failed)));
    }
    let (rate, there) = (quantity(summary.requests_per_s), quantity(summary.concurrency));
    table.add_row([
        "Requests",
        &format!(
            "{} in {}: {rate} a second, {there} at once",
            requests.join(", "),
            duration(summary.duration_s)
        ),
    ]);
    if let Some(limit_s) = served.latency_objective_s {
        let (kept, good) = (percent(summary.slo_attainment), quantity(summary.goodput_per_s));
        table.add_row(["SLO", &format!("{kept} within {}, {good} a second", duration(limit_s))]);
    }
    render(&table)
}

fn latencies(served: &PipelineServed, width: u16) -> String {
    let stages = served.summary.stages.iter().map(|stage| (stage.stage.as_str(), stage.latency_s));
    spread_table(std::iter::once(("end to end", served.summary.latency_s)).chain(stages), width)
}

/// Where time goes: one row for each stage.
fn stages(served: &PipelineServed, width: u16) -> String {
    let mut table = new_table(width);
    table.set_header([
        "Stage",
        "service",
        "done",
        "skipped",
        "failed",
        "of the\nlatency",
        "waiting\nms",
        "serving\nms",
    ]);
    for stage in &served.summary.stages {
        table.add_row([
            stage.stage.clone(),
            stage.service.clone(),
            count(stage.answered),
            count(stage.skipped),
            count(stage.failed),
            percent(stage.critical_share),
            quantity(1e3 * stage.critical_waiting_s),
            quantity(1e3 * (stage.critical_s - stage.critical_waiting_s)),
        ]);
    }
    align_right(&mut table, &[2, 3, 4, 5, 6, 7]);
    table.column_iter_mut().for_each(|column| {
        column.set_padding((1, 0));
    });
    render(&table)
}

/// One row for each pipeline.
fn side_by_side(pipelines: &[PipelineServed], width: u16) -> String {
    let mut table = new_table(width);
    table.set_header([
        "Pipeline",
        "done\nreq/s",
        "mean\nms",
        "p50\nms",
        "p90\nms",
        "p95\nms",
        "p99\nms",
        "failed",
        "SLO",
    ]);
    for served in pipelines {
        let summary = &served.summary;
        let Spread { mean, p50, p90, p95, p99, .. } = summary.latency_s;
        let mut row = vec![served.pipeline.clone(), quantity(summary.requests_per_s)];
        row.extend([mean, p50, p90, p95, p99].map(|seconds| quantity(1e3 * seconds)));
        let kept = served.latency_objective_s.map_or("-".to_owned(), |_| percent(summary.slo_attainment));
        row.extend([count(summary.failed), kept]);
        table.add_row(row);
    }
    align_right(&mut table, &[1, 2, 3, 4, 5, 6, 7, 8]);
    table.column_iter_mut().for_each(|column| {
        column.set_padding((1, 0));
    });
    render(&table)
}

/// Writes one row for each request, in order of arrival.
pub fn write_pipeline_requests(served: &PipelineServed, out: &mut impl Write) -> io::Result<()> {
    let mut rows = Rows::new(out, PIPELINE_REQUESTS_HEADER);
    for (request, one) in (0..).zip(&served.requests) {
        rows.decimal(request, 0);
        rows.seconds(one.arrival_ns);
        rows.seconds(one.finished_ns);
        match one.ending {
            PipelineEnding::Answered => {
                rows.raw(b"done");
                rows.raw(b"");
            }
            PipelineEnding::Failed { stage, why } => {
                rows.raw(why.name().as_bytes());
                rows.text(served.stages.get(stage as usize).map_or("", |stage| &stage.name));
            }
        }
        rows.end()?;
    }
    rows.flush()
}

/// Writes one row for each request and stage, in order of arrival and of the scenario.
pub fn write_pipeline_stages(served: &PipelineServed, out: &mut impl Write) -> io::Result<()> {
    let mut rows = Rows::new(out, PIPELINE_STAGES_HEADER);
    for request in 0..served.requests.len() {
        let critical: Vec<u32> = served.critical(request).collect();
        for ((place, stage), run) in (0..).zip(&served.stages).zip(served.runs_of(request)) {
            rows.decimal(request as u64, 0);
            rows.text(&stage.name);
            rows.text(&stage.service);
            match run.last_request {
                Some(number) => rows.decimal(u64::from(number), 0),
                None => rows.raw(b""),
            }
            let status = match run.ending {
                StageEnding::NotReached => "not_reached",
                StageEnding::Answered => "done",
                StageEnding::Skipped => "skipped",
                StageEnding::Failed(why) => why.name(),
            };
            if run.ending == StageEnding::NotReached {
                rows.raw(b"");
                rows.raw(b"");
            } else {
                rows.seconds(run.sent_ns);
                rows.seconds(run.ended_ns);
            }
            match run.last_request {
                Some(_) => rows.seconds(run.waiting_ns),
                None => rows.raw(b""),
            }
            rows.raw(status.as_bytes());
            rows.raw(if critical.contains(&place) { b"1" } else { b"0" });
            rows.end()?;
        }
    }
    rows.flush()
}

/// A pipeline in `pipelines.json`.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct PipelineRecord<'a> {
    /// The policy that placed the replicas of its services.
    pub policy: &'a str,
    /// Its name.
    pub pipeline: &'a str,
    /// What was promised.
    pub latency_objective_s: Option<f64>,
    /// What it came to.
    pub summary: &'a PipelineSummary,
}

impl<'a> PipelineRecord<'a> {
    /// Of a pipeline whose services this policy placed.
    pub(crate) fn new(policy: &'a str, served: &'a PipelineServed) -> Self {
        let PipelineServed { pipeline, latency_objective_s, summary, .. } = served;
        Self { policy, pipeline, latency_objective_s: *latency_objective_s, summary }
    }
}

#[cfg(test)]
mod tests {
    use foretell_serving::pipeline_served::{Failure, PipelineRequest, PipelineStage, StageRun};

    use super::*;

    /// Two stages. Of three requests the first waits 10 ms of the 30 of its second stage, the second skips that, and the third is lost by it.
    fn served(pipeline: &str) -> PipelineServed {
        let stage = |name: &str, after: &[u32]| PipelineStage {
            name: name.to_owned(),
            service: format!("a-service-for-{name}"),
            after: after.to_vec(),
            requests: 1,
        };
        let run = |ending, sent_ms: u64, ended_ms: u64, last_request, waiting_ms: u64| StageRun {
            ending,
            sent_ns: sent_ms * 1_000_000,
            ended_ns: ended_ms * 1_000_000,
            last_request,
            waiting_ns: waiting_ms * 1_000_000,
        };
        let lost = StageEnding::Failed(Failure::ReplicaLost);
        let runs = vec![
            run(StageEnding::Answered, 0, 10, Some(0), 0),
            run(StageEnding::Answered, 10, 40, Some(0), 10),
            run(StageEnding::Answered, 20, 30, Some(1), 0),
            run(StageEnding::Skipped, 30, 30, None, 0),
            run(StageEnding::Answered, 40, 50, Some(2), 0),
            run(lost, 50, 60, None, 0),
        ];
        let request = |arrival_ms: u64, finished_ms: u64, ending| PipelineRequest {
            arrival_ns: arrival_ms * 1_000_000,
            finished_ns: finished_ms * 1_000_000,
            ending,
        };
        let failed = PipelineEnding::Failed { stage: 1, why: Failure::ReplicaLost };
        let requests = vec![
            request(0, 40, PipelineEnding::Answered),
            request(20, 30, PipelineEnding::Answered),
            request(40, 60, failed),
        ];
        let stages = vec![stage("one", &[]), stage("two", &[0])];
        PipelineServed::new(pipeline, stages, Some(0.02), (requests, runs), 70_000_000)
    }

    #[test]
    fn a_row_for_each_request_and_stage() {
        let written = |write: &dyn Fn(&mut Vec<u8>) -> io::Result<()>| {
            let mut written = Vec::new();
            write(&mut written).unwrap();
            String::from_utf8(written).unwrap()
        };
        let rows = "0,0,0.04,done,\n1,0.02,0.03,done,\n2,0.04,0.06,replica_lost,two\n";
        assert_eq!(
            written(&|out| write_pipeline_requests(&served("p"), out)),
            format!("{PIPELINE_REQUESTS_HEADER}\n{rows}")
        );
        let rows = "0,one,a-service-for-one,0,0,0.01,0,done,1\n0,two,a-service-for-two,0,0.01,0.04,0.01,done,1\n\
                    1,one,a-service-for-one,1,0.02,0.03,0,done,1\n1,two,a-service-for-two,,0.03,0.03,,skipped,0\n\
                    2,one,a-service-for-one,2,0.04,0.05,0,done,0\n2,two,a-service-for-two,,0.05,0.06,,replica_lost,0\n";
        assert_eq!(
            written(&|out| write_pipeline_stages(&served("p"), out)),
            format!("{PIPELINE_STAGES_HEADER}\n{rows}")
        );
    }

    #[test]
    fn tables_fit_and_have_the_figures() {
        let many = [served("one"), served("a-pipeline-with-a-long-name-of-many-stages")];
        let text = pipeline_table(&many, 80);
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        // Of 40 and 10 ms the first stage is 20, the second 30, of which 10 are waited; one of three within 20 ms; 70 ms of requests in 60.
        for expected in
            ["2 done, 1 failed in 0.06 s", "1.17 at once", "40.0%", "60.0%", "end to end, ms", "33.3%"]
        {
            assert!(text.contains(expected), "{expected}\n{text}");
        }
        let stages = &many[0].summary.stages;
        assert_eq!((stages[1].answered, stages[1].skipped, stages[1].failed), (1, 1, 1));
        assert!((stages[1].critical_s - 0.015).abs() < 1e-12, "{stages:?}");
        assert!((stages[1].critical_waiting_s - 0.005).abs() < 1e-12, "{stages:?}");
    }
}
