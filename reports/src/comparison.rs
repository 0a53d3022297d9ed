//! The comparison of several runs: one row per policy.

use std::fmt::Write as _;

use comfy_table::{ColumnConstraint, Row, Width};
use foretell_sim::log::{CommunicationSummary, Distribution, RunSummary};

use crate::table::{WIDTH_MIN, align_right, new_table, render, typical_unit};
use crate::units::{TimeUnit, fixed, percent, quantity};

const NAME_COLUMNS_MAX: u16 = 40;

/// One row per policy, no line wider than `width` (at least 72). Columns that do not fit beside each other continue in
/// a block below. `*` marks the best value of a column, where values differ.
///
/// Runs of one policy that follow each other are its runs with several seeds: the row shows their mean, a second one
/// their standard deviation.
pub fn comparison_table<'a>(summaries: impl IntoIterator<Item = &'a RunSummary>, width: u16) -> String {
    let summaries: Vec<&RunSummary> = summaries.into_iter().collect();
    let width = width.max(WIDTH_MIN);
    let policies: Vec<&[&RunSummary]> = summaries.chunk_by(|run, next| run.policy == next.policy).collect();
    let seeds: Vec<usize> = policies.iter().map(|runs| runs.len()).collect();
    let repeated = seeds.iter().any(|&seeds| seeds > 1);
    let mut names = Vec::new();
    for runs in &policies {
        names.push(runs[0].policy.as_str());
        names.extend(repeated.then_some(DEVIATION));
    }
    let name_columns = names.iter().map(|name| name.chars().count() as u16).max().unwrap_or(0);
    let name_columns = name_columns.clamp("Policy".len() as u16, NAME_COLUMNS_MAX);

    let mut blocks: Vec<Vec<Column>> = Vec::new();
    let mut used = 0;
    for group in column_groups(&summaries) {
        if group.iter().all(Figures::is_empty) {
            continue;
        }
        let group: Vec<Column> = group.iter().map(|figures| figures.column(&seeds)).collect();
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
    if repeated {
        let counts = match (seeds.iter().min(), seeds.iter().max()) {
            (Some(least), Some(most)) if least == most => format!("{most}"),
            (least, most) => format!("{} to {}", least.unwrap_or(&0), most.unwrap_or(&0)),
        };
        let _ = writeln!(text, " each row: mean over {counts} seeds; below it (±) the standard deviation");
    }
    text
}

/// Stands before the deviations of the policy above.
const DEVIATION: &str = "  ±";

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
}

/// What a column shows, run by run.
struct Figures<'a> {
    /// Two lines.
    header: String,
    /// `None` where a run has nothing to show.
    values: Vec<Option<f64>>,
    best: Best,
    format: Box<dyn Fn(f64) -> String + 'a>,
}

impl<'a> Figures<'a> {
    fn new(header: String, values: &[Option<f64>], best: Best, format: impl Fn(f64) -> String + 'a) -> Self {
        Self { header, values: values.to_vec(), best, format: Box::new(format) }
    }

    /// Whether no run has anything to show.
    fn is_empty(&self) -> bool {
        self.values.iter().all(Option::is_none)
    }

    /// The cells; each policy has as many runs as `seeds` says, one after the other.
    fn column(&self, seeds: &[usize]) -> Column {
        let mut rest = self.values.as_slice();
        let policies = seeds.iter().map(|&runs| {
            let (of_policy, others) = rest.split_at(runs);
            rest = others;
            mean_and_deviation(of_policy.iter().copied().flatten())
        });
        let policies: Vec<Option<(f64, f64)>> = policies.collect();
        let better =
            |a: f64, b: f64| if self.best == Best::Lowest { a.total_cmp(&b) } else { b.total_cmp(&a) };
        let means = || policies.iter().copied().flatten().map(|(mean, _)| mean);
        let best = means().min_by(|a, b| better(*a, *b)).map(&self.format);
        let worst = means().max_by(|a, b| better(*a, *b)).map(&self.format);
        let marked = self.best != Best::Unmarked && best != worst;
        let repeated = seeds.iter().any(|&runs| runs > 1);
        let mut cells = Vec::new();
        for &policy in &policies {
            let text = policy.map_or_else(|| "-".to_owned(), |(mean, _)| (self.format)(mean));
            // By what is shown: of two values that read the same, neither is marked alone.
            let mark = if marked && best.as_ref() == Some(&text) { '*' } else { ' ' };
            cells.push(format!("{text}{mark}"));
            if repeated {
                let deviation = policy.map(|(_, deviation)| (self.format)(deviation));
                cells.push(deviation.unwrap_or_default() + " ");
            }
        }
        Column { header: self.header.clone(), cells }
    }
}

/// Mean and sample standard deviation; `None` if there is no value.
fn mean_and_deviation(values: impl Iterator<Item = f64> + Clone) -> Option<(f64, f64)> {
    let count = values.clone().count();
    if count == 0 {
        return None;
    }
    let mean = values.clone().sum::<f64>() / count as f64;
    let squares: f64 = values.map(|value| (value - mean) * (value - mean)).sum();
    let deviation = if count > 1 { (squares / (count - 1) as f64).sqrt() } else { 0.0 };
    Some((mean, deviation))
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
fn column_groups(summaries: &[&RunSummary]) -> Vec<Vec<Figures<'static>>> {
    let share = |header: &str, best, figure: fn(&RunSummary) -> f64| {
        let values: Vec<_> = summaries.iter().map(|summary| Some(figure(summary))).collect();
        Figures::new(header.to_owned(), &values, best, percent)
    };
    let jobs = |header: &str, figure: fn(&RunSummary) -> u64| {
        let values: Vec<_> = summaries.iter().map(|summary| Some(figure(summary) as f64)).collect();
        Figures::new(header.to_owned(), &values, Best::Lowest, |value| fixed(value, 0))
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
        elastic_columns(summaries),
        communication_columns(summaries),
    ]
}

/// Mean queueing delay by size of job, where jobs differ in size.
fn size_columns(summaries: &[&RunSummary]) -> Vec<Figures<'static>> {
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
fn fairness_columns(summaries: &[&RunSummary]) -> Vec<Figures<'static>> {
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
        Figures::new(header.to_owned(), &values, best, move |value| fixed(value, decimals))
    };
    vec![
        column("slow-\ndown", best(Best::Lowest), |summary| summary.fairness.slowdown_mean),
        column("slowd.\np99", best(Best::Lowest), |summary| summary.fairness.slowdown_p99),
        column("Jain", best(Best::Highest), |summary| summary.fairness.jain),
    ]
}

/// What evictions and partial gangs cost; empty where there were none.
fn waste_columns(summaries: &[&RunSummary]) -> Vec<Figures<'static>> {
    type Figure = fn(&RunSummary) -> f64;
    let column = |header: &str, shown: Figure, best, figure: Figure, format: fn(f64) -> String| {
        let any = summaries.iter().any(|summary| shown(summary) > 0.0);
        let values: Vec<_> = summaries.iter().map(|summary| any.then(|| figure(summary))).collect();
        Figures::new(header.to_owned(), &values, best, format)
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

/// Deadlines, and how often jobs grew and shrank; empty where there was neither.
fn elastic_columns(summaries: &[&RunSummary]) -> Vec<Figures<'static>> {
    let met = |summary: &&RunSummary| {
        (summary.deadlines > 0).then(|| summary.deadlines_met as f64 / summary.deadlines as f64)
    };
    let any_resize = summaries.iter().any(|summary| summary.resizes > 0);
    let resizes = |summary: &&RunSummary| any_resize.then_some(summary.resizes as f64);
    let met: Vec<_> = summaries.iter().map(met).collect();
    let resizes: Vec<_> = summaries.iter().map(resizes).collect();
    let columns = [
        Figures::new("deadl.\nmet".to_owned(), &met, Best::Highest, percent),
        Figures::new("re-\nsizes".to_owned(), &resizes, Best::Unmarked, |value| fixed(value, 0)),
    ];
    columns.into_iter().filter(|column| !column.is_empty()).collect()
}

/// What communication did to jobs; empty where none says what it communicates.
fn communication_columns(summaries: &[&RunSummary]) -> Vec<Figures<'static>> {
    type Figure = fn(CommunicationSummary) -> f64;
    let column = |header: &str, figure: Figure, format: fn(f64) -> String| {
        let of = |summary: &&RunSummary| summary.communication.map(figure);
        let values: Vec<_> = summaries.iter().map(of).collect();
        Figures::new(header.to_owned(), &values, Best::Lowest, format)
    };
    let columns = [
        column("step\nslowd.", |figures| figures.slowdown_mean, |value| fixed(value, 3)),
        column("held\nback", |figures| figures.held_back, percent),
        column("PB from\nleaves", |figures| figures.leaf_bytes as f64 / 1e15, quantity),
    ];
    columns.into_iter().filter(|column| !column.is_empty()).collect()
}

/// Mean and percentiles, in one unit.
fn distribution_columns(
    name: &str,
    summaries: &[&RunSummary],
    of: fn(&RunSummary) -> Distribution,
) -> Vec<Figures<'static>> {
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

fn duration_column(name: &str, unit: TimeUnit, values_s: &[Option<f64>], best: Best) -> Figures<'static> {
    let values: Vec<_> =
        values_s.iter().map(|value_s| value_s.map(|value_s| value_s / unit.seconds())).collect();
    let decimals = decimals(values.iter().copied().flatten());
    Figures::new(format!("{name}, {}", unit.symbol()), &values, best, move |value| fixed(value, decimals))
}

/// Decimals that suit a whole column.
fn decimals(values: impl Iterator<Item = f64>) -> usize {
    match values.fold(0.0, f64::max) {
        ..99.95 => 2,
        ..999.5 => 1,
        _ => 0,
    }
}
