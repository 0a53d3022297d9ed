//! Terminal tables: one run's summary, and a comparison of several.
//!
//! Plain characters without colour, so that they can be piped, pasted and compared.

use comfy_table::{
    Cell, CellAlignment, ColumnConstraint, ContentArrangement, LineStyle, Row, Table, TableStyle, Width,
};
use foretell_sim::log::{Distribution, GroupSummary, JobCounts, RunSummary};

use crate::units::{TimeUnit, count, duration, fixed, percent, quantity};

/// Rows shown of queues, users and reasons each.
const ROWS_MAX: usize = 8;
/// Narrower than this, columns of numbers would break.
const WIDTH_MIN: u16 = 72;
const NAME_COLUMNS_MAX: u16 = 40;
/// A column holds numbers below about this many units.
const OUT_OF_PROPORTION: f64 = 1e5;

const STYLE: TableStyle = TableStyle::new().header_separator(LineStyle::none().fill('─'));

/// The summary of one run, no line wider than `width` (at least 72).
pub fn summary_table(summary: &RunSummary, width: u16) -> String {
    let width = width.max(WIDTH_MIN);
    let mut sections = vec![heading(summary, width), totals(summary, width), times(summary, width)];
    sections.extend(waste(summary, width));
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

/// One row per policy, no line wider than `width` (at least 72). Columns that do not fit beside each other continue in
/// a block below. `*` marks the best value of a column, where values differ.
pub fn comparison_table<'a>(summaries: impl IntoIterator<Item = &'a RunSummary>, width: u16) -> String {
    let summaries: Vec<&RunSummary> = summaries.into_iter().collect();
    let width = width.max(WIDTH_MIN);
    let names: Vec<&str> = summaries.iter().map(|summary| summary.policy.as_str()).collect();
    let name_columns = names.iter().map(|name| name.chars().count() as u16).max().unwrap_or(0);
    let name_columns = name_columns.clamp("Policy".len() as u16, NAME_COLUMNS_MAX);

    let mut blocks: Vec<Vec<Column>> = Vec::new();
    let mut used = 0;
    for group in column_groups(&summaries) {
        if group.iter().all(Column::is_empty) {
            continue;
        }
        let group_width: u16 = group.iter().map(Column::width).sum();
        match blocks.last_mut() {
            Some(block) if used + group_width <= width => {
                block.extend(group);
                used += group_width;
            }
            _ => {
                blocks.push(group);
                used = name_columns + PADDING + group_width;
            }
        }
    }
    let mut text =
        blocks.iter().map(|block| block_table(&names, block, width)).collect::<Vec<_>>().join("\n");
    text.push_str(" * best of the column; delay: queueing delay; JCT: job completion time\n");
    text
}

/// Blanks around a cell.
const PADDING: u16 = 2;

fn block_table(names: &[&str], block: &[Column], width: u16) -> String {
    let mut table = new_table(width);
    let headers = block.iter().map(|column| column.header.as_str());
    table.set_header(std::iter::once("\nPolicy").chain(headers));
    for (index, name) in names.iter().enumerate() {
        let cells = block.iter().map(|column| column.cells[index].as_str());
        let mut row = Row::from(std::iter::once(*name).chain(cells).collect::<Vec<_>>());
        row.max_height(1);
        table.add_row(row);
    }
    align_right(&mut table, &(1..=block.len()).collect::<Vec<_>>());
    if let Some(column) = table.column_mut(0) {
        column.set_constraint(ColumnConstraint::UpperBoundary(Width::Fixed(NAME_COLUMNS_MAX + PADDING)));
    }
    render(&table)
}

/// A column of the comparison.
struct Column {
    /// Two lines.
    header: String,
    cells: Vec<String>,
}

impl Column {
    fn width(&self) -> u16 {
        let widest =
            self.header.lines().chain(self.cells.iter().map(String::as_str)).map(|text| text.chars().count());
        widest.max().unwrap_or(0) as u16 + PADDING
    }

    /// Whether no policy has anything to show.
    fn is_empty(&self) -> bool {
        self.cells.iter().all(|cell| cell.trim_end() == "-")
    }

    /// `values` are `None` where a policy has nothing to show.
    fn new(header: String, values: &[Option<f64>], best: Best, format: impl Fn(f64) -> String) -> Self {
        let better = |a: f64, b: f64| if best == Best::Lowest { a.total_cmp(&b) } else { b.total_cmp(&a) };
        let marked = best != Best::Unmarked;
        let best = values.iter().copied().flatten().min_by(|a, b| better(*a, *b));
        let worst = values.iter().copied().flatten().max_by(|a, b| better(*a, *b));
        let (best, worst) = (best.map(&format), worst.map(&format));
        let cell = |value: Option<f64>| {
            let text = value.map_or_else(|| "-".to_owned(), &format);
            // By what is shown: of two values that read the same, neither is marked alone.
            let mark = if marked && best != worst && best.as_ref() == Some(&text) { '*' } else { ' ' };
            format!("{text}{mark}")
        };
        Self { header, cells: values.iter().map(|value| cell(*value)).collect() }
    }
}

/// Which value of a column gets the mark.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Best {
    Lowest,
    Highest,
    /// None: it is not better in itself to have more or less of it, or the policies did not do the same work.
    Unmarked,
}

/// Columns in groups that stay together.
fn column_groups(summaries: &[&RunSummary]) -> Vec<Vec<Column>> {
    let share = |header: &str, best, figure: fn(&RunSummary) -> f64| {
        let values: Vec<_> = summaries.iter().map(|summary| Some(figure(summary))).collect();
        Column::new(header.to_owned(), &values, best, percent)
    };
    let jobs = |header: &str, figure: fn(&RunSummary) -> u64| {
        let values: Vec<_> = summaries.iter().map(|summary| Some(figure(summary) as f64)).collect();
        Column::new(header.to_owned(), &values, Best::Lowest, |value| fixed(value, 0))
    };
    let shown_s = |summary: &RunSummary| {
        // A run in which no job ends has none.
        (summary.completion_time.count > 0).then(|| summary.makespan.as_s())
    };
    let makespans_s: Vec<_> = summaries.iter().map(|summary| shown_s(summary)).collect();
    let makespan_unit = typical_unit(makespans_s.iter().copied().flatten());
    vec![
        vec![
            // Allocated GPUs may be held by pods that wait: utilisation is what is wanted.
            share("GPU\nalloc.", Best::Unmarked, |summary| summary.gpu_allocation),
            share("GPU\npeak", Best::Unmarked, |summary| summary.gpu_allocation_peak),
            share("GPU\nutil.", Best::Highest, |summary| summary.gpu_utilisation),
            share("GPU\nfrag.", Best::Lowest, |summary| summary.gpu_fragmentation),
            duration_column(
                "make-\nspan",
                makespan_unit,
                &makespans_s,
                same_work(summaries, |summary| summary.completion_time.count),
            ),
            jobs("never\nplaced", |summary| summary.jobs.never_placed),
            jobs("still\nqueued", |summary| summary.jobs.queued),
        ],
        distribution_columns("delay", summaries, |summary| summary.queue_delay),
        distribution_columns("JCT", summaries, |summary| summary.completion_time),
        size_columns(summaries),
        fairness_columns(summaries),
        waste_columns(summaries),
    ]
}

/// Mean queueing delay by size of job, where jobs differ in size.
fn size_columns(summaries: &[&RunSummary]) -> Vec<Column> {
    let mut names: Vec<&str> = Vec::new();
    for group in summaries.iter().flat_map(|summary| &summary.by_size) {
        if !names.contains(&&*group.name) {
            names.push(&group.name);
        }
    }
    if names.len() < 2 {
        return Vec::new();
    }
    let mean_s = |summary: &RunSummary, name: &str| {
        let group = summary.by_size.iter().find(|group| group.name == name)?;
        (group.queue_delay.count > 0).then_some(group.queue_delay.mean_s)
    };
    let all = summaries.iter().flat_map(|summary| names.iter().filter_map(|name| mean_s(summary, name)));
    let unit = typical_unit(all);
    let column = |name: &&str| {
        let values_s: Vec<_> = summaries.iter().map(|summary| mean_s(summary, name)).collect();
        let best = same_work(summaries, |summary| summary.queue_delay.count);
        duration_column(
            &format!("delay of\n{}", name.replace(" GPUs", "").replace(" GPU", "")),
            unit,
            &values_s,
            best,
        )
    };
    names.iter().map(column).collect()
}

/// How evenly jobs fared.
fn fairness_columns(summaries: &[&RunSummary]) -> Vec<Column> {
    let best = |best| {
        if same_work(summaries, |summary| summary.completion_time.count) == Best::Unmarked {
            Best::Unmarked
        } else {
            best
        }
    };
    let column = |header: &str, best, figure: fn(&RunSummary) -> f64| {
        let values: Vec<_> = summaries
            .iter()
            .map(|summary| (summary.completion_time.count > 0).then(|| figure(summary)))
            .collect();
        let decimals = decimals(values.iter().copied().flatten());
        Column::new(header.to_owned(), &values, best, |value| fixed(value, decimals))
    };
    vec![
        column("slow-\ndown", best(Best::Lowest), |summary| summary.fairness.slowdown_mean),
        column("slowd.\np99", best(Best::Lowest), |summary| summary.fairness.slowdown_p99),
        column("Jain", best(Best::Highest), |summary| summary.fairness.jain),
    ]
}

/// What evictions and partial gangs cost; empty where there were none.
fn waste_columns(summaries: &[&RunSummary]) -> Vec<Column> {
    type Figure = fn(&RunSummary) -> f64;
    let column = |header: &str, shown: Figure, best, figure: Figure, format: fn(f64) -> String| {
        let any = summaries.iter().any(|summary| shown(summary) > 0.0);
        let values: Vec<_> = summaries.iter().map(|summary| any.then(|| figure(summary))).collect();
        Column::new(header.to_owned(), &values, best, format)
    };
    let gpu_hours = |gpu_s: f64| quantity(gpu_s / 3_600.0);
    let evictions: Figure = |summary| summary.evictions as f64;
    let lost: Figure = |summary| summary.gpu_lost_s;
    let partial: Figure = |summary| summary.gpu_partial_s;
    let columns = [
        column("GPU\ngoodput", lost, Best::Highest, |summary| summary.gpu_goodput, percent),
        column("evic-\ntions", evictions, Best::Unmarked, evictions, |value| fixed(value, 0)),
        column("GPU-h\nlost", lost, Best::Lowest, lost, gpu_hours),
        column("GPU-h in\npart. gangs", partial, Best::Lowest, partial, gpu_hours),
    ];
    columns.into_iter().filter(|column| !column.is_empty()).collect()
}

/// Mean and percentiles, in one unit.
fn distribution_columns(
    name: &str,
    summaries: &[&RunSummary],
    of: fn(&RunSummary) -> Distribution,
) -> Vec<Column> {
    let unit = typical_unit(summaries.iter().map(|summary| of(summary).mean_s));
    let best = same_work(summaries, |summary| of(summary).count);
    let column = |label: &str, figure: fn(Distribution) -> f64| {
        let shown_s = |times: Distribution| (times.count > 0).then(|| figure(times));
        let values_s: Vec<_> = summaries.iter().map(|summary| shown_s(of(summary))).collect();
        duration_column(&format!("{name}\n{label}"), unit, &values_s, best)
    };
    vec![
        column("mean", |times| times.mean_s),
        column("p50", |times| times.p50_s),
        column("p99", |times| times.p99_s),
    ]
}

/// A policy that leaves jobs out has shorter times for it: they are compared only where all did as many jobs.
fn same_work(summaries: &[&RunSummary], jobs: impl Fn(&RunSummary) -> u64) -> Best {
    let mut counts = summaries.iter().map(|summary| jobs(summary));
    let first = counts.next();
    if counts.all(|count| Some(count) == first) { Best::Lowest } else { Best::Unmarked }
}

fn duration_column(name: &str, unit: TimeUnit, values_s: &[Option<f64>], best: Best) -> Column {
    let values: Vec<_> =
        values_s.iter().map(|value_s| value_s.map(|value_s| value_s / unit.seconds())).collect();
    let decimals = decimals(values.iter().copied().flatten());
    Column::new(format!("{name}, {}", unit.symbol()), &values, best, |value| fixed(value, decimals))
}

/// Decimals that suit a whole column.
fn decimals(values: impl Iterator<Item = f64>) -> usize {
    match values.fold(0.0, f64::max) {
        ..99.95 => 2,
        ..999.5 => 1,
        _ => 0,
    }
}

/// The unit of the median of those values that are not zero, or a larger one if the largest value is out of all
/// proportion.
fn typical_unit(values_s: impl Iterator<Item = f64>) -> TimeUnit {
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

fn new_table(width: u16) -> Table {
    let mut table = Table::new();
    table.load_style(STYLE).set_width(width).set_content_arrangement(ContentArrangement::Dynamic);
    table
}

/// Numbers stand to the right and are never wrapped: the first column gives way.
fn align_right(table: &mut Table, columns: &[usize]) {
    for &index in columns {
        if let Some(column) = table.column_mut(index) {
            column.set_cell_alignment(CellAlignment::Right);
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
    }
}

fn render(table: &Table) -> String {
    let mut text = String::new();
    for line in table.lines() {
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}
