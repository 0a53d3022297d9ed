//! Model servers: their tables and files.

use std::io::{self, Write};

use foretell_serving::attainment::Breach;
use foretell_serving::cost::{Cost, Energy};
use foretell_serving::fleet::Tries;
use foretell_serving::metrics::{Objective, Summary};
use foretell_serving::served::{BatchServed, Copies, HandOvers, Role, RolloutEvent, Served};
use serde::Serialize;

use crate::adapters::AdaptersRecord;
use crate::csv::Rows;
use crate::fleet;
use crate::table::{WIDTH_MIN, align_right, new_table, render, spread_table};
use crate::units::{count, duration, fixed, percent, quantity};

/// Header of `requests.csv`.
pub const REQUESTS_HEADER: &str = "request,replica,arrival_s,scheduled_s,first_token_s,last_token_s,prompt_tokens,\
                                   output_tokens,cached_tokens,preemptions,queue_s,ttft_s,tpot_s,e2e_s,slo_met,\
                                   status";

/// What the header of `requests.csv` ends with where requests ask for adapters.
pub const REQUESTS_HEADER_ADAPTERS: &str = ",adapter";

/// The same where replicas have several models.
pub const REQUESTS_HEADER_MODELS: &str = ",model";

/// What it ends with after that where there are jobs of requests.
pub const REQUESTS_HEADER_JOBS: &str = ",job";

/// Header of a service's `timeline.csv`.
pub const SERVICE_TIMELINE_HEADER: &str =
    "time_s,busy,running,waiting,kv_blocks,prompt_tokens_per_s,output_tokens_per_s,preemptions";

/// What services came to, no line wider than `width` (at least 72): one after another, and side by side where there are several.
pub fn service_table(services: &[Served], width: u16) -> String {
    let width = width.max(WIDTH_MIN);
    let mut sections: Vec<String> = services.iter().map(|served| one(served, width)).collect();
    if services.len() > 1 {
        sections.push(side_by_side(services, width));
    }
    sections.join("\n")
}

fn one(served: &Served, width: u16) -> String {
    [heading(served, width), latencies(&served.summary, width), figures(served, width)].concat()
}

fn heading(served: &Served, width: u16) -> String {
    let summary = &served.summary;
    let mut table = new_table(width);
    table.add_row([
        "Service",
        &format!("{}: {}, batched by {}", served.service, served.model, served.batcher),
    ]);
    let mut kinds: Vec<(String, usize)> = Vec::new();
    for replica in &served.replicas {
        let kind = format!(
            "{} {} with {} KV blocks of {} tokens",
            replica.gpus,
            replica.gpu,
            count(replica.blocks),
            replica.block_tokens
        );
        let kind = match replica.role.name() {
            "" => kind,
            role => format!("{kind} for {role}"),
        };
        match kinds.iter_mut().find(|(known, _)| *known == kind) {
            Some((_, number)) => *number += 1,
            None => kinds.push((kind, 1)),
        }
    }
    let kinds: Vec<String> = kinds.into_iter().map(|(kind, number)| format!("{number} x {kind}")).collect();
    // Each that came and went is there as often.
    let name = if served.scaling.is_empty() { "Replicas" } else { "Placed" };
    table.add_row([name, &kinds.join(", ")]);
    let rejected = match summary.rejected {
        0 => String::new(),
        rejected => format!(", {} got nothing", count(rejected)),
    };
    table.add_row([
        "Requests",
        &format!("{} done{rejected} in {}", count(summary.requests), duration(summary.duration_s)),
    ]);
    for (name, text) in fleet::rows(served) {
        table.add_row([name, &text]);
    }
    render(&table)
}

fn latencies(summary: &Summary, width: u16) -> String {
    let rows = [
        ("Queueing", summary.queue_s),
        ("TTFT", summary.ttft_s),
        ("TPOT", summary.tpot_s),
        ("ITL", summary.itl_s),
        ("E2E", summary.e2e_s),
    ];
    spread_table(rows, width)
}

fn figures(served: &Served, width: u16) -> String {
    let summary = &served.summary;
    let promised = served.objective != Objective::default();
    let promise = |value: String| if promised { value } else { "-".to_owned() };
    let rows = [
        ("Requests/s", quantity(summary.requests_per_s), "Busy", percent(summary.busy_share)),
        (
            "Output tokens/s",
            quantity(summary.output_tokens_per_s),
            "Running, mean",
            quantity(summary.running),
        ),
        (
            "Prompt tokens/s",
            quantity(summary.prompt_tokens_per_s),
            "Waiting, mean",
            quantity(summary.waiting),
        ),
        (
            "SLO attained",
            promise(percent(summary.slo_attainment)),
            "KV in use, busy",
            percent(summary.kv_use),
        ),
        (
            "Goodput, requests/s",
            promise(quantity(summary.goodput_per_s)),
            "  at its peak",
            percent(summary.kv_peak),
        ),
        ("MFU", percent(served.mfu), "  without a token", percent(summary.kv_waste)),
        ("Memory bandwidth", percent(served.bandwidth_use), "Prefix hits", percent(summary.prefix_hit_rate)),
        ("Iterations", count(summary.totals.iterations), "Preemptions", count(summary.preemptions)),
    ];
    let mut table = new_table(width);
    for (label, value, other_label, other) in rows {
        table.add_row([label, &value, "   ", other_label, &other]);
    }
    align_right(&mut table, &[1, 4]);
    render(&table)
}

/// What services came to: one in full, several side by side; no line wider than `width` (at least 72).
pub fn service_overview(services: &[Served], width: u16) -> String {
    match services {
        [_] => service_table(services, width),
        _ => side_by_side(services, width.max(WIDTH_MIN)),
    }
}

/// One row for each service. In one unit for each column, so that rows compare at a glance.
fn side_by_side(services: &[Served], width: u16) -> String {
    let mut table = new_table(width);
    let mut header = vec![
        "Service",
        "TTFT\nmean s",
        "TTFT\np99 s",
        "TPOT\nmean ms",
        "E2E\nmean s",
        "out\ntok/s",
        "KV\nuse",
        "SLO",
    ];
    let costs: Vec<Option<Cost>> = services.iter().map(Served::cost).collect();
    let any_cost = costs.iter().any(Option::is_some);
    if any_cost {
        header.push("$/M\nout");
    }
    let columns = header.len();
    table.set_header(header);
    for (served, cost) in services.iter().zip(costs) {
        let summary = &served.summary;
        let slo = if served.objective == Objective::default() {
            "-".to_owned()
        } else {
            percent(summary.slo_attainment)
        };
        let mut row = vec![
            served.service.clone(),
            quantity(summary.ttft_s.mean),
            quantity(summary.ttft_s.p99),
            quantity(1e3 * summary.tpot_s.mean),
            quantity(summary.e2e_s.mean),
            fixed(summary.output_tokens_per_s, 0),
            percent(summary.kv_use),
            slo,
        ];
        if any_cost {
            let amount = cost.and_then(|cost| cost.per_million_output_tokens);
            row.push(amount.map_or_else(|| "-".to_owned(), quantity));
        }
        table.add_row(row);
    }
    align_right(&mut table, &(1..columns).collect::<Vec<_>>());
    table.column_iter_mut().for_each(|column| {
        column.set_padding((1, 0));
    });
    render(&table)
}

/// Writes one row for each request, in order of arrival; those that got nothing have no other times.
pub fn write_requests(served: &Served, out: &mut impl Write) -> io::Result<()> {
    let adapters = served.adapters.as_ref();
    let last = match adapters {
        Some(adapters) if adapters.are_models => REQUESTS_HEADER_MODELS,
        Some(_) => REQUESTS_HEADER_ADAPTERS,
        None => "",
    };
    let jobs = if served.batches.is_empty() { "" } else { REQUESTS_HEADER_JOBS };
    let header = format!("{REQUESTS_HEADER}{last}{jobs}");
    let mut rows = Rows::new(out, &header);
    let adapter = |rows: &mut Rows<'_, _>, request: u32| {
        if let Some(adapters) = adapters {
            rows.text(adapters.name(adapters.of(request)));
        }
        if !served.batches.is_empty() {
            let job = served.job_of.get(request as usize).copied().unwrap_or(0) as usize;
            let job = job.checked_sub(1).and_then(|number| served.batches.get(number));
            rows.text(job.map_or("", |job| &job.name));
        }
    };
    let mut rejected = served.refused.iter().peekable();
    let mut refuse = |rows: &mut Rows<'_, _>, before: u32| -> io::Result<()> {
        while let Some(refused) = rejected.next_if(|refused| refused.request < before) {
            rows.decimal(u64::from(refused.request), 0);
            rows.raw(b"");
            rows.seconds(refused.arrival_ns);
            (0..12).for_each(|_| rows.raw(b""));
            rows.text(&refused.why.to_string());
            adapter(rows, refused.request);
            rows.end()?;
        }
        Ok(())
    };
    for (replica, outcome) in served.outcomes.iter() {
        refuse(&mut rows, outcome.request)?;
        rows.decimal(u64::from(outcome.request), 0);
        let number = served.replicas.get(replica as usize).map_or(replica, |of| of.replica);
        rows.decimal(u64::from(number), 0);
        for at in [outcome.arrival_ns, outcome.scheduled_ns, outcome.first_token_ns, outcome.last_token_ns] {
            rows.seconds(at);
        }
        for tokens in
            [outcome.prompt_tokens, outcome.output_tokens, outcome.cached_tokens, outcome.preemptions]
        {
            rows.decimal(u64::from(tokens), 0);
        }
        rows.seconds(outcome.scheduled_ns - outcome.arrival_ns);
        rows.seconds(outcome.first_token_ns - outcome.arrival_ns);
        match outcome.tpot_s() {
            Some(tpot_s) => rows.seconds((tpot_s * 1e9).round() as u64),
            None => rows.raw(b""),
        }
        rows.seconds(outcome.last_token_ns - outcome.arrival_ns);
        rows.decimal(u64::from(outcome.meets(&served.objective)), 0);
        rows.raw(b"done");
        adapter(&mut rows, outcome.request);
        rows.end()?;
    }
    refuse(&mut rows, u32::MAX)?;
    rows.flush()
}

/// Writes one row for each interval of time: means over it, and sums of preemptions.
pub fn write_service_timeline(served: &Served, out: &mut impl Write) -> io::Result<()> {
    let mut rows = Rows::new(out, SERVICE_TIMELINE_HEADER);
    let interval_ns = served.recorder.interval_ns;
    let mean = |sum: f64| (sum / interval_ns as f64 * 1e3).round() as u64;
    for (index, one) in served.recorder.timeline.iter().enumerate() {
        rows.seconds(index as u64 * interval_ns);
        for sum in [one.busy_ns, one.running, one.waiting, one.blocks] {
            rows.decimal(mean(sum), 3);
        }
        for tokens in [one.prefill_tokens, one.output_tokens] {
            rows.decimal(mean(tokens * 1e9), 3);
        }
        rows.decimal(one.preemptions.round() as u64, 0);
        rows.end()?;
    }
    rows.flush()
}

/// A service in `services.json`.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct ServiceRecord<'a> {
    /// The policy that placed its replicas.
    pub policy: &'a str,
    /// Its name.
    pub service: &'a str,
    /// Its model.
    pub model: &'a str,
    /// Its batcher.
    pub batcher: &'a str,
    /// Its router.
    pub router: &'a str,
    /// What was promised.
    pub objective: Objective,
    /// Replicas that served.
    pub replicas: Vec<ReplicaRecord<'a>>,
    /// Hours of a GPU that they had.
    pub gpu_hours: f64,
    /// What they cost, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost: Option<Cost>,
    /// What its GPUs drew, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub energy: Option<Energy>,
    /// When too few requests kept what is promised.
    pub breaches: Vec<Breach>,
    /// What became of clients' tries.
    pub tries: Tries,
    /// What was handed from replicas that read prompts in to those that generate answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub handed_over: Option<HandOvers>,
    /// Beginnings of prompts that were copied from one replica's cache to another's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub copied: Option<Copies>,
    /// Adapters, where requests ask for them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adapters: Option<AdaptersRecord>,
    /// Models that take turns on each replica, where there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub models: Option<AdaptersRecord>,
    /// Jobs of requests with a deadline.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub batches: Vec<BatchRecord<'a>>,
    /// Parts of the requests that a new version got.
    #[serde(skip_serializing_if = "<[RolloutEvent]>::is_empty")]
    pub rollout: &'a [RolloutEvent],
    /// How often the number of replicas changed.
    pub scalings: u64,
    /// See `foretell_serving::served::Served`.
    pub mfu: f64,
    /// See there.
    pub bandwidth_use: f64,
    /// What it came to.
    pub summary: &'a Summary,
}

/// A job of requests in `services.json`.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct BatchRecord<'a> {
    /// What became of it.
    #[serde(flatten)]
    pub job: &'a BatchServed,
    /// Whether all of it was answered in time.
    pub met: bool,
}

/// A replica in `services.json`.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct ReplicaRecord<'a> {
    /// Its number.
    pub replica: u32,
    /// Since when it served.
    pub ready_s: f64,
    /// The model of its GPUs.
    pub gpu: &'a str,
    /// How many.
    pub gpus: u32,
    /// Blocks of keys and values.
    pub kv_blocks: u64,
    /// What it does of requests.
    pub role: Role,
}

impl<'a> ServiceRecord<'a> {
    /// Of a service that this policy placed.
    pub(crate) fn new(policy: &'a str, served: &'a Served) -> Self {
        Self {
            policy,
            service: &served.service,
            model: &served.model,
            batcher: &served.batcher,
            router: &served.router,
            objective: served.objective,
            replicas: served
                .replicas
                .iter()
                .map(|replica| ReplicaRecord {
                    replica: replica.replica,
                    ready_s: replica.ready_s,
                    gpu: &replica.gpu,
                    gpus: replica.gpus,
                    kv_blocks: replica.blocks,
                    role: replica.role,
                })
                .collect(),
            gpu_hours: served.gpu_hours(),
            cost: served.cost(),
            energy: served.energy(),
            breaches: served.breaches(),
            tries: served.tries,
            handed_over: served.handed_over,
            copied: served.copied,
            adapters: AdaptersRecord::of(served, false),
            models: AdaptersRecord::of(served, true),
            batches: served.batches.iter().map(|job| BatchRecord { job, met: job.is_met() }).collect(),
            rollout: &served.rollout,
            scalings: served.scaling.len() as u64,
            mfu: served.mfu,
            bandwidth_use: served.bandwidth_use,
            summary: &served.summary,
        }
    }
}
