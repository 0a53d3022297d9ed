//! Why a job waits, and what a node's failure takes down, in an operator's words.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use foretell_sim::explain::{
    CasualtyOutcome, EventKind, JobEvent, JobExplanation, JobIdentity, NodeExplanation, Snapshot, Standing,
    Wait,
};
use foretell_sim::framework::{EvictionReason, Time};
use foretell_sim::log::EvictionOutcome;

use crate::csv::status_name;
use crate::table::plain_table;
use crate::units::{count, duration, percent, quantity};

/// Rows shown of holders and of nodes each.
const ROWS_MAX: usize = 8;

/// What is known of a job, no table wider than `width`.
pub fn explain_job(explanation: &JobExplanation, width: u16) -> String {
    let JobExplanation { job, events, waits, snapshot } = explanation;
    let mut text = identity(job);
    if let Some(snapshot) = snapshot {
        text.push('\n');
        text.push_str(&at_instant(job, snapshot, width));
        if matches!(snapshot.standing, Standing::Waits(_)) {
            text.push_str(&what_comes(snapshot.at, events));
        }
    }
    text.push('\n');
    text.push_str(&history(job, events));
    if let Some(table) = waited(waits, events, width) {
        text.push('\n');
        text.push_str(&table);
    }
    text
}

fn identity(job: &JobIdentity) -> String {
    let roles: Vec<String> = job
        .roles
        .iter()
        .map(|role| {
            let name =
                if role.spec.role.is_empty() { String::new() } else { format!("{}: ", role.spec.role) };
            let gpus = match (role.spec.gpus.count, role.spec.gpus.milli) {
                (0, _) => "no GPU".to_owned(),
                (gpus, 1000) => format!("{gpus} GPUs"),
                (gpus, milli) => format!("{gpus} GPUs, {} of each", percent(f64::from(milli) / 1000.0)),
            };
            let elastic =
                if role.minimum < role.count { format!(" (needs {})", role.minimum) } else { String::new() };
            format!("{name}{} x {gpus}{elastic}", role.count)
        })
        .collect();
    let of =
        |what: &str, name: &str| if name.is_empty() { String::new() } else { format!(", {what} {name}") };
    format!(
        "Job {}{}{}, priority {}: {}\n",
        job.id,
        of("queue", &job.queue),
        of("user", &job.user),
        job.priority,
        roles.join(" + ")
    )
}

/// The instant as a person and as `--at` reads it.
fn instant(time: Time) -> String {
    let time_s: f64 = time.as_s();
    if time_s < 120.0 { format!("{time_s} s") } else { format!("{} ({time_s} s)", duration(time_s)) }
}

fn at_instant(job: &JobIdentity, snapshot: &Snapshot, width: u16) -> String {
    let mut text = format!("At {} it ", instant(snapshot.at));
    match &snapshot.standing {
        Standing::ToCome => {
            text.push_str("was not submitted yet.\n");
            return text;
        }
        Standing::Ended => {
            text.push_str("had ended.\n");
            return text;
        }
        Standing::Runs { nodes, finishes } => {
            let _ = write!(text, "runs on {}", nodes.join(", "));
            if let Some(finishes) = finishes {
                let _ = write!(text, "; it will be done at {} if nothing changes", instant(*finishes));
            }
            text.push_str(".\n");
            return text;
        }
        Standing::Waits(reason) => {
            let _ = writeln!(text, "waits: {reason}.");
        }
    }
    let free = quantity(snapshot.gpu_free_milli as f64 / 1000.0);
    let _ = match snapshot.pods_waiting {
        0 => writeln!(text, "  Its own pods have yet to leave their nodes. {free} GPUs are free."),
        waiting => writeln!(
            text,
            "  It still needs {}. {free} GPUs are free: {} {} room for {}. {} could take one if emptier.",
            number(waiting.into(), "pod"),
            number(snapshot.nodes_with_room.into(), "node"),
            if snapshot.nodes_with_room == 1 { "has" } else { "have" },
            number(snapshot.pods_with_room.min(waiting.into()), "pod"),
            number(snapshot.nodes_that_could.into(), "other node"),
        ),
    };
    if !snapshot.holders.is_empty() {
        text.push_str("\nWho holds what it needs\n");
        text.push_str(&holders(snapshot, width));
    }
    text.push_str(&drains(job, snapshot));
    text
}

/// A number of things: `1 pod`, `2 pods`.
fn number(number: u64, thing: &str) -> String {
    format!("{} {thing}{}", count(number), if number == 1 { "" } else { "s" })
}

fn holders(snapshot: &Snapshot, width: u16) -> String {
    let rows = snapshot.holders.iter().take(ROWS_MAX).map(|holder| {
        let until = match (holder.running, holder.finishes) {
            (true, Some(finishes)) => format!("in {}", duration(finishes.since(snapshot.at).as_s())),
            (true, None) => "never".to_owned(),
            (false, _) => "does not run".to_owned(),
        };
        vec![
            holder.id.to_string(),
            holder.queue.to_string(),
            quantity(holder.gpu_milli as f64 / 1000.0),
            count(holder.nodes.into()),
            until,
        ]
    });
    let mut text = plain_table(["job", "queue", "GPUs", "nodes", "ends"], rows, &[2, 3], width);
    if let Some(rest) = snapshot.holders.get(ROWS_MAX..).filter(|rest| !rest.is_empty()) {
        let gpu_milli: u64 = rest.iter().map(|holder| holder.gpu_milli).sum();
        let gpus = quantity(gpu_milli as f64 / 1000.0);
        let _ = writeln!(text, " and {} more jobs with {gpus} GPUs", count(rest.len() as u64));
    }
    text
}

/// What would let it start: the nodes that have to drain.
fn drains(job: &JobIdentity, snapshot: &Snapshot) -> String {
    let missing = u64::from(snapshot.pods_waiting).saturating_sub(snapshot.pods_with_room);
    if missing == 0 || snapshot.drains.is_empty() {
        return String::new();
    }
    let mut text = format!(
        "\nWhat would let it start\n  Room for {} of job {}. If all that runs runs to its end, it is first found on\n",
        number(missing, "more pod"),
        job.id
    );
    for drain in snapshot.drains.iter().take(usize::try_from(missing).unwrap_or(ROWS_MAX).min(ROWS_MAX)) {
        let _ = match drain.at {
            Some(at) => writeln!(
                text,
                "  {} in {}, when {} ends",
                drain.node,
                duration(at.since(snapshot.at).as_s()),
                drain.jobs.join(", "),
            ),
            None => writeln!(text, "  {}, but never: what is there does not end by itself", drain.node),
        };
    }
    text
}

/// What the run itself shows: when it started after the instant, and what made room.
fn what_comes(at: Time, events: &[JobEvent]) -> String {
    let start = events.iter().find_map(|event| match &event.kind {
        EventKind::Started { after } if event.time >= at => Some((event.time, after)),
        _ => None,
    });
    let never = events.iter().any(|event| matches!(event.kind, EventKind::NeverPlaced(_)));
    match start {
        Some((time, after)) => {
            let wait = duration(time.since(at).as_s());
            let after = if after.is_empty() {
                String::new()
            } else {
                format!(", when {} ended", after.iter().map(|job| &**job).collect::<Vec<_>>().join(", "))
            };
            format!("  Run forward, it starts at {}, {wait} later{after}.\n", instant(time))
        }
        None if never => String::new(),
        None => "  Run forward, it does not start before the run ends.\n".to_owned(),
    }
}

fn history(job: &JobIdentity, events: &[JobEvent]) -> String {
    let mut text = format!("Submitted at {}\n", instant(job.submit));
    for event in events {
        let what = match &event.kind {
            EventKind::Started { .. } => "started".to_owned(),
            EventKind::Finished(status) => status_name(*status).replace('_', " "),
            EventKind::NeverPlaced(reason) => format!("never placed: {reason}"),
            EventKind::Evicted { pods, node, reason, beneficiary, outcome } => {
                let beneficiary = beneficiary.as_ref();
                let whom = beneficiary.map_or(String::new(), |job| format!(" for job {job}"));
                let outcome = match outcome {
                    EvictionOutcome::DidNotRun => "it did not run yet".to_owned(),
                    EvictionOutcome::GoesOn { pods } => format!("it goes on with {pods} pods"),
                    EvictionOutcome::Stops { lost } => {
                        format!("it stops and loses {} GPU-hours", quantity(*lost as f64 / 3.6e15))
                    }
                };
                let pods = if *pods == 1 { "a pod".to_owned() } else { format!("{pods} pods, the first") };
                format!("{pods} on {node} {}{whom}: {outcome}", eviction_text(*reason))
            }
        };
        let _ = writeln!(text, "  at {} {what}", instant(event.time));
    }
    text
}

const fn eviction_text(reason: EvictionReason) -> &'static str {
    match reason {
        EvictionReason::Preempted => "preempted",
        EvictionReason::Reclaimed => "reclaimed (its queue holds more than it deserves, another goes short)",
        EvictionReason::Consolidated => "moved to bring free capacity together",
        EvictionReason::GangTimedOut => "let go (it waited too long for the rest of its gang)",
        EvictionReason::NodeRevoked => "sent off (the node's lease has ended)",
        EvictionReason::Shrunk => "let go (the job goes on with fewer)",
    }
}

/// How long it waited for what.
fn waited(waits: &[Wait], events: &[JobEvent], width: u16) -> Option<String> {
    let last =
        events.last().map(|event| event.time).into_iter().chain(waits.last().map(|wait| wait.from)).max()?;
    let mut by_kind: BTreeMap<&str, f64> = BTreeMap::new();
    for wait in waits {
        // A wait that goes on to the end of the run has no end to count to.
        let to = if wait.to == Time::MAX { last } else { wait.to };
        *by_kind.entry(wait.kind).or_default() += to.since(wait.from).as_s();
    }
    let total_s: f64 = by_kind.values().sum();
    if total_s <= 0.0 {
        return None;
    }
    let mut rows: Vec<_> = by_kind.into_iter().collect();
    rows.sort_by(|(_, one), (_, other)| other.total_cmp(one));
    let rows = rows
        .into_iter()
        .map(|(kind, waited_s)| vec![kind.to_owned(), duration(waited_s), percent(waited_s / total_s)]);
    Some(plain_table(["What it waited for", "how long", "share"], rows, &[1, 2], width))
}

/// What a node's failure takes down, no table wider than `width`.
pub fn explain_node(explanation: &NodeExplanation, width: u16) -> String {
    let NodeExplanation { node, at, gpus, gpu_free_milli, casualties } = explanation;
    let mut text = format!(
        "Node {node} at {}: {gpus} GPUs, {} free, pods of {} jobs\n",
        instant(*at),
        quantity(*gpu_free_milli as f64 / 1000.0),
        count(casualties.len() as u64)
    );
    if casualties.is_empty() {
        return text;
    }
    text.push_str("\nIf it fails\n");
    let rows = casualties.iter().map(|job| {
        let left = job.placed - job.pods;
        let outcome = match job.outcome {
            CasualtyOutcome::Stops { lost } => {
                let lost = quantity(lost as f64 / 3.6e15);
                if job.other_nodes == 0 {
                    format!("stops and loses {lost} GPU-h")
                } else {
                    format!(
                        "stops as a whole: {left} of {} pods would be left, it needs {}; {} GPUs on {} stop too; loses \
                         {lost} GPU-h",
                        job.placed,
                        job.min_member,
                        quantity(job.gpu_elsewhere_milli as f64 / 1000.0),
                        number(job.other_nodes.into(), "other node"),
                    )
                }
            }
            CasualtyOutcome::GoesOn => {
                format!("goes on with {left} of {} pods, it needs {}", job.placed, job.min_member)
            }
            CasualtyOutcome::DoesNotRun => "does not run yet: its gang is not whole".to_owned(),
        };
        vec![
            job.id.to_string(),
            job.queue.to_string(),
            count(job.pods.into()),
            quantity(job.gpu_milli as f64 / 1000.0),
            outcome,
        ]
    });
    text.push_str(&plain_table(["job", "queue", "pods", "GPUs", "what becomes of it"], rows, &[2, 3], width));
    text
}
