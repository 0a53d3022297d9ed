//! Servers of classical models: their tables and files.

use std::io::{self, Write};

use foretell_serving::classical_served::{ClassicalServed, ClassicalSummary, Ending};
use foretell_serving::cost::ClassicalCost;
use serde::Serialize;

use crate::csv::Rows;
use crate::fleet::dollars_by;
use crate::table::{WIDTH_MIN, align_right, new_table, render, spread_table};
use crate::units::{count, duration, fixed, percent, quantity};

/// Header of a classical service's `requests.csv`.
pub const CLASSICAL_REQUESTS_HEADER: &str =
    "request,replica,level,arrival_s,dispatched_s,finished_s,batch_size,status";

/// What classical services came to, no line wider than `width` (at least 72): one in full, several side by side.
pub fn classical_overview(services: &[ClassicalServed], width: u16) -> String {
    match services {
        [_] => classical_table(services, width),
        _ => side_by_side(services, width.max(WIDTH_MIN)),
    }
}

/// What classical services came to, no line wider than `width` (at least 72): one after another, and side by side where there are several.
pub fn classical_table(services: &[ClassicalServed], width: u16) -> String {
    let width = width.max(WIDTH_MIN);
    let one = |served: &ClassicalServed| {
        [heading(served, width), latencies(&served.summary, width), figures(served, width)]
    };
    let mut sections: Vec<String> = services.iter().map(|served| one(served).concat()).collect();
    if services.len() > 1 {
        sections.push(side_by_side(services, width));
    }
    sections.join("\n")
}

fn heading(served: &ClassicalServed, width: u16) -> String {
    let mut table = new_table(width);
    let batches = match served.max_batch_size {
        1 => "no batches".to_owned(),
        most => format!("batches of up to {}", count(u64::from(most))),
    };
    let instances = if served.instances == 1 { "instance" } else { "instances" };
    table.add_row(["Service", &format!("{}: {} {instances}, {batches}", served.service, served.instances)]);
    let mut kinds: Vec<(&str, usize)> = Vec::new();
    for replica in &served.replicas {
        match kinds.iter_mut().find(|(known, _)| *known == replica.gpu) {
            Some((_, number)) => *number += 1,
            None => kinds.push((&replica.gpu, 1)),
        }
    }
    let part = match served.gpu_milli {
        1000 => String::new(),
        milli => format!("{} of ", percent(f64::from(milli) / 1e3)),
    };
    let kinds: Vec<String> =
        kinds.into_iter().map(|(gpu, number)| format!("{number} x {part}1 {gpu}")).collect();
    table.add_row(["Replicas", &kinds.join(", ")]);
    let summary = &served.summary;
    let mut requests = vec![format!("{} done", count(summary.requests))];
    for (number, what) in [(summary.refused, "refused"), (summary.timed_out, "timed out")] {
        if number > 0 {
            requests.push(format!("{} {what}", count(number)));
        }
    }
    table.add_row(["Requests", &format!("{} in {}", requests.join(", "), duration(summary.duration_s))]);
    if let Some(cost) = served.cost() {
        let by = [
            (cost.per_million_answers, "a million answers"),
            (cost.per_million_answers_in_slo, "a million within the SLO"),
        ];
        table.add_row(["Cost", &dollars_by(cost.dollars, by)]);
    }
    render(&table)
}

fn latencies(summary: &ClassicalSummary, width: u16) -> String {
    let levels: Vec<String> =
        (1..=summary.level_latency_s.len()).map(|level| format!("Latency, level {level}")).collect();
    let of_levels = levels.iter().map(String::as_str).zip(summary.level_latency_s.iter().copied());
    let rows = [("Latency", summary.latency_s), ("Queueing", summary.queue_s)];
    spread_table(rows.into_iter().chain(of_levels), width)
}

fn promise(served: &ClassicalServed, value: String) -> String {
    if served.latency_objective_s.is_some() { value } else { "-".to_owned() }
}

fn figures(served: &ClassicalServed, width: u16) -> String {
    let summary = &served.summary;
    let rows = [
        ("Requests/s", quantity(summary.requests_per_s), "GPU busy", percent(summary.gpu_busy_share)),
        (
            "SLO attained",
            promise(served, percent(summary.slo_attainment)),
            "Batch size, mean",
            quantity(summary.batch_size),
        ),
        (
            "Goodput, requests/s",
            promise(served, quantity(summary.goodput_per_s)),
            "Batches",
            count(summary.batches),
        ),
    ];
    let mut table = new_table(width);
    for (label, value, other_label, other) in rows {
        table.add_row([label, &value, "   ", other_label, &other]);
    }
    align_right(&mut table, &[1, 4]);
    render(&table)
}

/// One row for each service. In one unit for each column, so that rows compare at a glance.
fn side_by_side(services: &[ClassicalServed], width: u16) -> String {
    let mut table = new_table(width);
    table.set_header([
        "Service",
        "done\nreq/s",
        "mean\nms",
        "p50\nms",
        "p99\nms",
        "queue\nms",
        "batch\nmean",
        "GPU\nbusy",
        "lost",
        "SLO",
    ]);
    for served in services {
        let summary = &served.summary;
        table.add_row([
            served.service.clone(),
            fixed(summary.requests_per_s, 0),
            quantity(1e3 * summary.latency_s.mean),
            quantity(1e3 * summary.latency_s.p50),
            quantity(1e3 * summary.latency_s.p99),
            quantity(1e3 * summary.queue_s.mean),
            quantity(summary.batch_size),
            percent(summary.gpu_busy_share),
            count(summary.refused + summary.timed_out),
            promise(served, percent(summary.slo_attainment)),
        ]);
    }
    align_right(&mut table, &[1, 2, 3, 4, 5, 6, 7, 8, 9]);
    table.column_iter_mut().for_each(|column| {
        column.set_padding((1, 0));
    });
    render(&table)
}

/// Writes one row for each request, in order of arrival; those that got no answer have neither a start nor a batch.
pub fn write_classical_requests(served: &ClassicalServed, out: &mut impl Write) -> io::Result<()> {
    let mut rows = Rows::new(out, CLASSICAL_REQUESTS_HEADER);
    for end in &served.ends {
        rows.decimal(u64::from(end.request), 0);
        let number = served.replicas.get(end.replica as usize).map_or(end.replica, |of| of.replica);
        rows.decimal(u64::from(number), 0);
        rows.decimal(u64::from(end.priority_level), 0);
        rows.seconds(end.arrival_ns);
        if let Ending::Done { dispatched_ns, .. } = end.ending {
            rows.seconds(dispatched_ns);
        } else {
            rows.raw(b"");
        }
        rows.seconds(end.finished_ns);
        if let Ending::Done { batch_size, .. } = end.ending {
            rows.decimal(u64::from(batch_size), 0);
        } else {
            rows.raw(b"");
        }
        rows.raw(match end.ending {
            Ending::Done { .. } => b"done",
            Ending::TimedOut => b"timed_out",
            Ending::Refused(_) => b"refused",
        });
        rows.end()?;
    }
    rows.flush()
}

/// A classical service in `classical_services.json`.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct ClassicalRecord<'a> {
    /// The policy that placed its replicas.
    pub policy: &'a str,
    /// Its name.
    pub service: &'a str,
    /// Instances of each replica.
    pub instances: u32,
    /// Requests of a batch, at most.
    pub max_batch_size: u32,
    /// What was promised.
    pub latency_objective_s: Option<f64>,
    /// Hours of GPUs that its replicas had.
    pub gpu_hours: f64,
    /// What these cost, where prices are known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost: Option<ClassicalCost>,
    /// Replicas that served.
    pub replicas: Vec<ClassicalReplicaRecord<'a>>,
    /// What it came to.
    pub summary: &'a ClassicalSummary,
}

/// A replica in `classical_services.json`.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct ClassicalReplicaRecord<'a> {
    /// Its number.
    pub replica: u32,
    /// Since when it served.
    pub ready_s: f64,
    /// The model of its GPU.
    pub gpu: &'a str,
    /// What it had of it, in thousandths.
    pub gpu_milli: u32,
}

impl<'a> ClassicalRecord<'a> {
    /// Of a service that this policy placed.
    pub(crate) fn new(policy: &'a str, served: &'a ClassicalServed) -> Self {
        let replica = |replica: &'a foretell_serving::classical_served::ClassicalServedBy| {
            let gpu_milli = served.gpu_milli;
            ClassicalReplicaRecord {
                replica: replica.replica,
                ready_s: replica.ready_s,
                gpu: &replica.gpu,
                gpu_milli,
            }
        };
        Self {
            policy,
            service: &served.service,
            instances: served.instances,
            max_batch_size: served.max_batch_size,
            latency_objective_s: served.latency_objective_s,
            gpu_hours: served.gpu_hours(),
            cost: served.cost(),
            replicas: served.replicas.iter().map(replica).collect(),
            summary: &served.summary,
        }
    }
}

#[cfg(test)]
mod tests {
    use foretell_serving::classical_served::{ClassicalEnd, ClassicalServedBy, Executed};
    use foretell_serving::policies::Refusal;

    use super::*;

    /// Three requests: one is answered after 30 ms, of which it waited 10, one waited too long, one was refused.
    fn served(service: &str) -> ClassicalServed {
        let endings = [
            (40_000_000, Ending::Done { dispatched_ns: 20_000_000, batch_size: 2 }),
            (45_000_000, Ending::TimedOut),
            (10_000_000, Ending::Refused(Refusal::QueueFull { waiting: 1 })),
        ];
        let end = |(request, (finished_ns, ending))| ClassicalEnd {
            request,
            replica: 0,
            priority_level: 1,
            arrival_ns: 10_000_000,
            finished_ns,
            ending,
        };
        let ends: Vec<ClassicalEnd> = (0..).zip(endings).map(end).collect();
        let executed = Executed { batches: 1, requests: 2, gpu_ns: 7_000_000 };
        ClassicalServed {
            service: service.to_owned(),
            instances: 2,
            max_batch_size: 1_000_000,
            gpu_milli: 500,
            latency_objective_s: Some(0.03),
            summary: ClassicalSummary::new(&ends, &executed, 1, 1, Some(0.03)),
            ends,
            replicas: vec![ClassicalServedBy {
                replica: 3,
                placed_s: 0.009,
                ready_s: 0.01,
                gpu: "A100-80".to_owned(),
                price_per_gpu_hour: Some(2000.0),
            }],
        }
    }

    #[test]
    fn a_row_for_each_request() {
        let mut written = Vec::new();
        write_classical_requests(&served("one"), &mut written).unwrap();
        let rows = "0,3,1,0.01,0.02,0.04,2,done\n1,3,1,0.01,,0.045,,timed_out\n2,3,1,0.01,,0.01,,refused\n";
        assert_eq!(String::from_utf8(written).unwrap(), format!("{CLASSICAL_REQUESTS_HEADER}\n{rows}"));
    }

    #[test]
    fn tables_fit_and_have_the_figures() {
        let many = [served("one"), served("a-service-with-a-long-name-on-a-part-of-a-gpu")];
        let text = classical_table(&many, 80);
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        // Of 35 ms the GPU is busy for 7.
        for expected in [
            "1 done, 1 refused, 1 timed out in 0.04 s",
            "20.0%",
            "33.3%",
            "28.6",
            "$0.01: $10,000 for a million answers",
            "1 x 50.0% of 1 A100-80",
        ] {
            assert!(text.contains(expected), "{expected}\n{text}");
        }
        assert_eq!(classical_overview(&many[..1], 80), classical_table(&many[..1], 80));
    }
}
