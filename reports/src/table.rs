//! Terminal tables: one run's summary.
//!
//! Plain characters without colour, so that they can be piped, pasted and compared.

use comfy_table::{
    Cell, CellAlignment, ColumnConstraint, ContentArrangement, LineStyle, Row, Table, TableStyle,
};
use foretell_serving::metrics::Spread;
use foretell_sim::log::{Distribution, GroupSummary, JobCounts, RunSummary};

use crate::units::{TimeUnit, count, duration, fixed, percent, quantity};

/// Rows shown of queues, users and reasons each.
const ROWS_MAX: usize = 8;
/// Narrower than this, columns of numbers would break.
pub(crate) const WIDTH_MIN: u16 = 72;
/// A column holds numbers below about this many units.
const OUT_OF_PROPORTION: f64 = 1e5;

const STYLE: TableStyle = TableStyle::new().header_separator(LineStyle::none().fill('─'));

/// The summary of one run, no line wider than `width` (at least 72).
pub fn summary_table(summary: &RunSummary, width: u16) -> String {
    let width = width.max(WIDTH_MIN);
    let mut sections = vec![heading(summary, width), totals(summary, width), times(summary, width)];
    sections.extend(waste(summary, width));
    sections.extend(faults(summary, width));
    sections.extend(elastic(summary, width));
    sections.extend(communication(summary, width));
    let mut by_queue: Vec<&GroupSummary> = summary.by_queue.iter().collect();
    // A stable sort: equals stay in order of name.
    by_queue.sort_by(|a, b| b.gpu_s.total_cmp(&a.gpu_s));
    let by_user: Vec<&GroupSummary> = summary.by_user.iter().collect();
    sections.extend(groups("Queue", &by_queue, width));
    sections.extend(groups("User", &by_user, width));
    sections.extend(waits(summary, width));
    sections.extend(reasons(summary, width));
    sections.join("\n")
}

/// Times of requests: one row for each kind, in milliseconds or seconds by its mean.
pub(crate) fn spread_table<'a>(rows: impl IntoIterator<Item = (&'a str, Spread)>, width: u16) -> String {
    let mut table = new_table(width);
    table.set_header(["", "mean", "p50", "p90", "p95", "p99", "max"]);
    for (name, spread) in rows {
        let Spread { count, mean, p50, p90, p95, p99, max } = spread;
        let (unit, scale) = if mean < 1.0 { ("ms", 1e3) } else { ("s", 1.0) };
        let mut row = Row::from([format!("{name}, {unit}")]);
        for value in [mean, p50, p90, p95, p99, max] {
            row.add_cell(Cell::new(if count > 0 { quantity(value * scale) } else { "-".to_owned() }));
        }
        table.add_row(row);
    }
    align_right(&mut table, &[1, 2, 3, 4, 5, 6]);
    render(&table)
}

fn heading(summary: &RunSummary, width: u16) -> String {
    let mut table = new_table(width);
    table.add_row(["Policy", &summary.policy]);
    table.add_row([
        "Cluster",
        &format!(
            "{} nodes, {} GPUs; makespan {}; seed {}",
            count(summary.nodes),
            count(summary.gpus),
            duration(summary.makespan.as_s()),
            summary.seed
        ),
    ]);
    render(&table)
}

/// The cluster's figures beside the jobs by how they ended.
fn totals(summary: &RunSummary, width: u16) -> String {
    let cluster = [
        ("GPU allocation", percent(summary.gpu_allocation)),
        ("  at its peak", percent(summary.gpu_allocation_peak)),
        ("GPU utilisation", percent(summary.gpu_utilisation)),
        ("GPUs fragmented", percent(summary.gpu_fragmentation)),
        ("GPUs stranded", percent(summary.gpu_stranded)),
        ("Queue length, mean", quantity(summary.queue_length_mean)),
        ("  at its peak", count(summary.queue_length_max)),
    ];
    let JobCounts { submitted, completed, failed, cancelled, running, queued, never_placed } = summary.jobs;
    let jobs = [
        ("Jobs submitted", submitted),
        ("  completed", completed),
        ("  failed", failed),
        ("  cancelled", cancelled),
        ("  still running", running),
        ("  still queued", queued),
        ("  never placed", never_placed),
    ];
    let mut table = new_table(width);
    for ((label, value), (job_label, jobs)) in cluster.into_iter().zip(jobs) {
        let share = if submitted > 0 { percent(jobs as f64 / submitted as f64) } else { String::new() };
        table.add_row([label, &value, "   ", job_label, &count(jobs), &share]);
    }
    align_right(&mut table, &[1, 4, 5]);
    render(&table)
}

/// What evictions and partial gangs cost; nothing where there were none.
fn waste(summary: &RunSummary, width: u16) -> Option<String> {
    if summary.evictions == 0 && summary.gpu_partial_s <= 0.0 {
        return None;
    }
    let gpu_hours = |gpu_s: f64| quantity(gpu_s / 3_600.0);
    let mut table = new_table(width);
    let goodput = percent(summary.gpu_goodput);
    table.add_row(["Evictions", &count(summary.evictions), "   ", "GPU goodput", &goodput]);
    let (lost, partial) = (gpu_hours(summary.gpu_lost_s), gpu_hours(summary.gpu_partial_s));
    table.add_row(["  GPU-hours lost", &lost, "", "GPU-hours held by partial gangs", &partial]);
    align_right(&mut table, &[1, 4]);
    Some(render(&table))
}

/// What failed and what that cost; nothing where nothing fails.
fn faults(summary: &RunSummary, width: u16) -> Option<String> {
    let faults = summary.faults.as_ref()?;
    let gpu_hours = |gpu_s: f64| quantity(gpu_s / 3_600.0);
    let mut table = new_table(width);
    table.set_header(["What failed", "faults", "of jobs", "What it cost", "GPU-h"]);
    let costs = [
        ("GPUs broken", gpu_hours(faults.gpu_broken_s)),
        ("work lost to failures", gpu_hours(faults.gpu_rework_s)),
        ("until they were noticed", gpu_hours(faults.gpu_unnoticed_s)),
        ("restarts", gpu_hours(faults.gpu_restarts_s)),
        ("checkpoints", gpu_hours(faults.gpu_checkpoints_s)),
    ];
    for (of_kind, (label, cost)) in faults.by_kind.iter().zip(costs) {
        let (struck, interruptions) = (count(of_kind.faults), count(of_kind.interruptions));
        table.add_row([of_kind.kind.name(), &struck, &interruptions, label, &cost]);
    }
    let struck = count(faults.by_kind.iter().map(|of_kind| of_kind.faults).sum());
    let ratio = percent(faults.effective_time_ratio);
    table.add_row(["all", &struck, &count(faults.interruptions), "effective training time", &ratio]);
    align_right(&mut table, &[1, 2, 4]);
    Some(render(&table))
}

/// Deadlines, and how often jobs grew and shrank; nothing where there was neither.
fn elastic(summary: &RunSummary, width: u16) -> Option<String> {
    let RunSummary { deadlines, deadlines_met, resizes, .. } = *summary;
    let mut cells = Vec::new();
    if deadlines > 0 {
        let share = percent(deadlines_met as f64 / deadlines as f64);
        cells.extend(["Deadlines met".to_owned(), format!("{} ({share})", count(deadlines_met))]);
    }
    if resizes > 0 {
        cells.extend(["Resizes".to_owned(), count(resizes)]);
    }
    if cells.is_empty() {
        return None;
    }
    if let [_, _, _, _] = *cells {
        cells.insert(2, "   ".to_owned());
    }
    let mut table = new_table(width);
    let right: &[usize] = if cells.len() > 2 { &[1, 4] } else { &[1] };
    table.add_row(cells);
    align_right(&mut table, right);
    Some(render(&table))
}

/// What communication did to jobs; nothing where none says what it communicates.
fn communication(summary: &RunSummary, width: u16) -> Option<String> {
    let communication = summary.communication?;
    let terabytes = |bytes: u128| quantity(bytes as f64 / 1e12);
    let mut table = new_table(width);
    let slowdown = |value: f64| fixed(value, 3);
    let (leaf, spine) = (terabytes(communication.leaf_bytes), terabytes(communication.spine_bytes));
    table.add_row([
        "Step slowdown, mean",
        &slowdown(communication.slowdown_mean),
        "   ",
        "TB from leaves to spines",
        &leaf,
    ]);
    table.add_row(["  p99", &slowdown(communication.slowdown_p99), "", "TB from spines to cores", &spine]);
    table.add_row(["Held back by others", &percent(communication.held_back), "", "", ""]);
    align_right(&mut table, &[1, 4]);
    Some(render(&table))
}

fn times(summary: &RunSummary, width: u16) -> String {
    let mut table = new_table(width);
    table.set_header(["", "jobs", "mean", "p50", "p90", "p99", "max"]);
    for (name, distribution) in [("Queueing delay", summary.queue_delay), ("JCT", summary.completion_time)] {
        let Distribution { count: jobs, mean_s, p50_s, p90_s, p99_s, max_s } = distribution;
        let unit = TimeUnit::of(mean_s);
        let mut row = Row::from([format!("{name}, {}", unit.symbol()), count(jobs)]);
        for value_s in [mean_s, p50_s, p90_s, p99_s, max_s] {
            row.add_cell(Cell::new(if jobs > 0 {
                quantity(value_s / unit.seconds())
            } else {
                "-".to_owned()
            }));
        }
        table.add_row(row);
    }
    align_right(&mut table, &[1, 2, 3, 4, 5, 6]);
    render(&table)
}

/// The first rows of queues or users. Nothing when there is at most one: its figures are the run's.
fn groups(kind: &str, groups: &[&GroupSummary], width: u16) -> Option<String> {
    if groups.len() < 2 {
        return None;
    }
    let shown = &groups[..groups.len().min(ROWS_MAX)];
    let total_gpu_s: f64 = groups.iter().map(|group| group.gpu_s).sum();
    // One unit for each column, so that rows compare at a glance.
    let unit = |figure: fn(&GroupSummary) -> f64| typical_unit(shown.iter().map(|group| figure(group)));
    let delay_unit = unit(|group| group.queue_delay.mean_s);
    let jct_unit = unit(|group| group.completion_time.mean_s);

    let mut table = new_table(width);
    table.set_header([
        kind.to_owned(),
        "jobs".to_owned(),
        "not\nstarted".to_owned(),
        "GPU-h".to_owned(),
        "share".to_owned(),
        format!("delay\nmean, {}", delay_unit.symbol()),
        format!("delay\np99, {}", delay_unit.symbol()),
        format!("JCT\nmean, {}", jct_unit.symbol()),
    ]);
    for group in shown {
        let time = |distribution: Distribution, value_s: f64, unit: TimeUnit| {
            if distribution.count > 0 { quantity(value_s / unit.seconds()) } else { "-".to_owned() }
        };
        let (delay, jct) = (group.queue_delay, group.completion_time);
        let mut row = Row::from([
            group.name.clone(),
            count(group.jobs.submitted),
            count(group.jobs.queued + group.jobs.never_placed),
            quantity(group.gpu_s / 3_600.0),
            if total_gpu_s > 0.0 { percent(group.gpu_s / total_gpu_s) } else { "-".to_owned() },
            time(delay, delay.mean_s, delay_unit),
            time(delay, delay.p99_s, delay_unit),
            time(jct, jct.mean_s, jct_unit),
        ]);
        row.max_height(1);
        table.add_row(row);
    }
    align_right(&mut table, &[1, 2, 3, 4, 5, 6, 7]);
    let rest = &groups[shown.len()..];
    let rest_jobs = rest.iter().map(|group| group.jobs.submitted).sum();
    Some(render(&table) + &and_more(rest.len(), rest_jobs))
}

/// What jobs waited for, by GPU time.
fn waits(summary: &RunSummary, width: u16) -> Option<String> {
    let total_s: f64 = summary.waits.iter().map(|(_, gpu_s)| gpu_s).sum();
    if total_s <= 0.0 {
        return None;
    }
    let mut table = new_table(width);
    table.set_header(["What jobs waited for", "GPU-h", "share"]);
    for (reason, gpu_s) in summary.waits.iter().take(ROWS_MAX) {
        table.add_row([reason, &quantity(gpu_s / 3_600.0), &percent(gpu_s / total_s)]);
    }
    align_right(&mut table, &[1, 2]);
    Some(render(&table))
}

fn reasons(summary: &RunSummary, width: u16) -> Option<String> {
    if summary.reasons.is_empty() {
        return None;
    }
    let (shown, rest) = summary.reasons.split_at(summary.reasons.len().min(ROWS_MAX));
    let mut table = new_table(width);
    table.set_header(["Why jobs did not start", "jobs"]);
    for (reason, jobs) in shown {
        table.add_row([reason, &count(*jobs)]);
    }
    align_right(&mut table, &[1]);
    Some(render(&table) + &and_more(rest.len(), rest.iter().map(|(_, jobs)| jobs).sum()))
}

fn and_more(rest: usize, jobs: u64) -> String {
    match rest {
        0 => String::new(),
        _ => format!(" and {} more ({} jobs)\n", count(rest as u64), count(jobs)),
    }
}

/// The unit of the median of those values that are not zero, or a larger one if the largest value is out of all
/// proportion.
pub(crate) fn typical_unit(values_s: impl Iterator<Item = f64>) -> TimeUnit {
    let mut values_s: Vec<f64> = values_s.filter(|value_s| *value_s > 0.0).collect();
    values_s.sort_by(f64::total_cmp);
    let (Some(median_s), Some(max_s)) = (values_s.get(values_s.len() / 2), values_s.last()) else {
        return TimeUnit::Second;
    };
    let of_max = TimeUnit::of(max_s / OUT_OF_PROPORTION);
    if of_max.seconds() > TimeUnit::of(*median_s).seconds() { of_max } else { TimeUnit::of(*median_s) }
}

/// A table in the style of the others, for reports that are made elsewhere. Columns in `right` hold numbers.
pub fn plain_table<'a>(
    header: impl IntoIterator<Item = &'a str>,
    rows: impl IntoIterator<Item = Vec<String>>,
    right: &[usize],
    width: u16,
) -> String {
    let mut table = new_table(width);
    table.set_header(header);
    table.add_rows(rows);
    align_right(&mut table, right);
    // Such tables have many columns: one blank between them has to do.
    table.column_iter_mut().for_each(|column| {
        column.set_padding((1, 0));
    });
    render(&table)
}

pub(crate) fn new_table(width: u16) -> Table {
    let mut table = Table::new();
    table.load_style(STYLE).set_width(width).set_content_arrangement(ContentArrangement::Dynamic);
    table
}

/// Numbers stand to the right and are never wrapped: the first column gives way.
pub(crate) fn align_right(table: &mut Table, columns: &[usize]) {
    for &index in columns {
        if let Some(column) = table.column_mut(index) {
            column.set_cell_alignment(CellAlignment::Right);
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
    }
}

pub(crate) fn render(table: &Table) -> String {
    let mut text = String::new();
    for line in table.lines() {
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}
