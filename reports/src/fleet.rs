//! Replicas of a service as they come and go, and clients who try again.

use std::cmp::Reverse;
use std::io::{self, Write};

use foretell_serving::attainment::{ENOUGH, WINDOW_S, Window};
use foretell_serving::cost::{Cost, Energy};
use foretell_serving::metrics::Objective;
use foretell_serving::served::{BatchServed, Role, RolloutEvent, Served};

use crate::adapters;
use crate::csv::Rows;
use crate::units::{count, duration, fixed, percent, quantity};

/// Header of `replicas.csv`.
pub const REPLICAS_HEADER: &str = "replica,placed_s,ready_s,until_s,gpu,gpus,kv_blocks,role,requests,busy_s";

/// Header of `attainment.csv`.
pub const ATTAINMENT_HEADER: &str = "time_s,arrived,answered,kept,replicas";

/// Header of `scaling.csv`.
pub const SCALING_HEADER: &str = "time_s,role,from,to,reason";

/// Header of `rollout.csv`.
pub const ROLLOUT_HEADER: &str = "time_s,percent,reason";

/// A time of which milliseconds matter.
fn short(seconds: f64) -> String {
    if seconds < 1.0 { format!("{} ms", quantity(1e3 * seconds)) } else { format!("{} s", quantity(seconds)) }
}

fn nanos(seconds: f64) -> u64 {
    (seconds * 1e9).round() as u64
}

/// Writes one row for each time that a replica was placed, in that order; one that was evicted and came back has two.
pub fn write_replicas(served: &Served, out: &mut impl Write) -> io::Result<()> {
    let mut rows = Rows::new(out, REPLICAS_HEADER);
    for one in &served.replicas {
        rows.decimal(u64::from(one.replica), 0);
        rows.seconds(nanos(one.placed_s));
        rows.seconds(nanos(one.ready_s));
        match one.until_s {
            Some(until_s) => rows.seconds(nanos(until_s)),
            None => rows.raw(b""),
        }
        rows.text(&one.gpu);
        rows.decimal(u64::from(one.gpus), 0);
        rows.decimal(one.blocks, 0);
        rows.raw(one.role.name().as_bytes());
        rows.decimal(one.requests, 0);
        rows.seconds(nanos(one.busy_s));
        rows.end()?;
    }
    rows.flush()
}

/// Writes one row for each minute up to the last arrival.
pub fn write_attainment(served: &Served, out: &mut impl Write) -> io::Result<()> {
    let mut rows = Rows::new(out, ATTAINMENT_HEADER);
    for window in served.windows() {
        let from_s = window.from_s as f64;
        rows.seconds(window.from_s * 1_000_000_000);
        for number in [window.arrived, window.answered, window.kept] {
            rows.decimal(number, 0);
        }
        let replicas = served.mean_replicas(from_s, from_s + WINDOW_S as f64);
        rows.decimal((replicas * 1e3).round() as u64, 3);
        rows.end()?;
    }
    rows.flush()
}

/// Writes one row for each change of the number of replicas that were asked for.
pub fn write_scaling(served: &Served, out: &mut impl Write) -> io::Result<()> {
    let mut rows = Rows::new(out, SCALING_HEADER);
    for event in &served.scaling {
        rows.seconds(nanos(event.at_s));
        rows.raw(event.role.name().as_bytes());
        rows.decimal(u64::from(event.from), 0);
        rows.decimal(u64::from(event.to), 0);
        rows.text(&event.reason);
        rows.end()?;
    }
    rows.flush()
}

/// Writes one row for each time that a new version got another part of the requests.
pub fn write_rollout(served: &Served, out: &mut impl Write) -> io::Result<()> {
    let mut rows = Rows::new(out, ROLLOUT_HEADER);
    for event in &served.rollout {
        rows.seconds(nanos(event.at_s));
        rows.decimal(u64::from(event.percent), 0);
        rows.text(&event.reason);
        rows.end()?;
    }
    rows.flush()
}

/// What became of a new version: its part as time went on, and which part of the requests of each version kept what is promised.
fn rollout_rows(served: &Served) -> Vec<(&'static str, String)> {
    if served.rollout.is_empty() {
        return Vec::new();
    }
    let part = |event: &RolloutEvent| {
        let at = duration(event.at_s);
        match event.percent {
            0 => format!("after {at} {}", event.reason),
            percent => format!("after {at} {percent} %"),
        }
    };
    let parts: Vec<String> = served.rollout.iter().map(part).collect();
    let version = |canary: bool| {
        let of_it = served.outcomes.iter().filter(|(replica, _)| {
            let role = served.replicas.get(*replica as usize).map(|one| one.role);
            (role == Some(Role::Canary)) == canary
        });
        let (mut all, mut kept) = (0_u64, 0_u64);
        for (_, outcome) in of_it {
            all += 1;
            kept += u64::from(outcome.meets(&served.objective));
        }
        let slo = if served.objective == Objective::default() || all == 0 {
            String::new()
        } else {
            format!(", {} within the SLO", percent(kept as f64 / all as f64))
        };
        format!("{} requests{slo}", count(all))
    };
    let versions = format!("old: {}; new: {}", version(false), version(true));
    vec![("Rollout", parts.join("; ")), ("Versions", versions)]
}

/// An amount of money.
pub(crate) fn dollars(amount: f64) -> String {
    format!("${}", quantity(amount))
}

/// What a service costs, by what it did for it.
fn costs(cost: &Cost) -> String {
    let by = [
        (cost.per_million_output_tokens, "a million output tokens"),
        (cost.per_million_tokens, "a million tokens with prompts"),
        (cost.per_1000_requests_in_slo, "1,000 requests within the SLO"),
    ];
    dollars_by(cost.dollars, by)
}

/// An amount of money, and what it is by what was done for it.
pub(crate) fn dollars_by<const N: usize>(all: f64, by: [(Option<f64>, &str); N]) -> String {
    let mut text = dollars(all);
    for (place, (amount, what)) in
        by.into_iter().filter_map(|(amount, what)| Some((amount?, what))).enumerate()
    {
        let before = if place == 0 { ": " } else { ", " };
        text.extend([before, &dollars(amount), " for ", what]);
    }
    text
}

/// What became of a job of requests.
fn job_row(job: &BatchServed) -> String {
    let done = if job.answered > 0 {
        let took_s = job.last_s - job.submit_s;
        let tokens_per_s = if took_s > 0.0 { job.output_tokens as f64 / took_s } else { 0.0 };
        format!(" after {}, {} output tokens/s", duration(took_s), quantity(tokens_per_s))
    } else {
        String::new()
    };
    format!(
        "{}: {} of {} requests{done}; deadline of {} {}",
        job.name,
        count(job.answered),
        count(job.requests),
        duration(job.deadline_s - job.submit_s),
        if job.is_met() { "met" } else { "missed" }
    )
}

/// What happened to the fleet, for a row of a table each; nothing of one to which nothing happened.
pub(crate) fn rows(served: &Served) -> Vec<(&'static str, String)> {
    let mut rows = Vec::new();
    if served.replicas.len() > 1 || !served.scaling.is_empty() {
        rows.push(("Routed", format!("{}, {} GPU hours", served.router, quantity(served.gpu_hours()))));
    }
    if let Some(first) = served.scaling.first() {
        let to = served.scaling.iter().map(|event| event.to);
        let (least, most) = (to.clone().min().unwrap_or(0), to.max().unwrap_or(0));
        let (least, most) = (least.min(first.from), most.max(first.from));
        let times = match served.scaling.len() {
            1 => "once".to_owned(),
            times => format!("{} times", count(times as u64)),
        };
        let text = format!("{times}, between {least} and {most} replicas");
        rows.push(("Scaled", text));
    }
    rows.extend(rollout_rows(served));
    if let Some(handed) = served.handed_over {
        let text = format!(
            "{} requests, {} GB; {} until there was room, {} on the way, on average",
            count(handed.requests),
            quantity(handed.bytes / 1e9),
            short(handed.room_s),
            short(handed.transfer_s)
        );
        rows.push(("Handed over", text));
    }
    if let Some(longest) =
        served.breaches().iter().max_by_key(|one| (one.until_s - one.from_s, Reverse(one.from_s)))
    {
        let windows = served.windows();
        let below = windows.iter().filter_map(Window::attainment).filter(|&share| share < ENOUGH).count();
        let text = format!(
            "kept by less than {} of requests in {} of {} minutes; longest from {} to {}",
            percent(ENOUGH),
            count(below as u64),
            count(windows.len() as u64),
            duration(longest.from_s as f64),
            duration(longest.until_s as f64)
        );
        rows.push(("SLO", text));
    }
    if let Some(cost) = served.cost() {
        rows.push(("Cost", costs(&cost)));
    }
    if let Some(Energy { kwh, joules_per_output_token, mean_gpu_w }) = served.energy() {
        let by_token =
            joules_per_output_token.map(|joules| format!(", {} J for an output token", quantity(joules)));
        let text = format!(
            "{} kWh{}, {} W of a GPU on average",
            quantity(kwh),
            by_token.unwrap_or_default(),
            fixed(mean_gpu_w, 0)
        );
        rows.push(("GPU energy", text));
    }
    if let Some(copied) = served.copied {
        let text = format!(
            "beginnings of {} prompts, {} GB; {} on the way, on average",
            count(copied.requests),
            quantity(copied.bytes / 1e9),
            short(copied.transfer_s)
        );
        rows.push(("Copied", text));
    }
    rows.extend(adapters::row(served));
    rows.extend(served.batches.iter().map(|job| ("Job", job_row(job))));
    let tries = served.tries;
    if tries.retried + tries.given_up + tries.lost > 0 {
        let text = format!(
            "{} further tries; {} given up, {} of them computed no further, {} lost with their replica, {} answered in vain",
            count(tries.retried),
            count(tries.given_up),
            count(tries.cancelled),
            count(tries.lost),
            count(tries.wasted)
        );
        rows.push(("Clients", text));
    }
    rows
}
