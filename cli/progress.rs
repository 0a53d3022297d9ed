//! Progress bars on standard error, if that is a terminal.

use std::time::Duration;

use foretell_scenarios::sim::engine::Progress;
use foretell_scenarios::sim::framework::{ClusterState, Time};
use foretell_scenarios::sim::log::{Observer, Record};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

/// One bar per run, in their order.
pub(crate) struct Bars {
    all: MultiProgress,
    name_width: usize,
}

impl Bars {
    /// Bars for runs with these names.
    pub(crate) fn new<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let name_width = names.into_iter().map(str::len).max().unwrap_or(0);
        Self { all: MultiProgress::new(), name_width }
    }

    /// A bar that counts `unit`s up to `total`.
    pub(crate) fn add(&self, name: &str, total: u64, unit: &str) -> ProgressBar {
        let template =
            format!("{{prefix}} {{bar:24}} {{human_pos}}/{{human_len}} {unit}  {{per_sec}}  {{msg}}");
        let style = ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = self.all.add(ProgressBar::new(total).with_style(style.progress_chars("━━╌")));
        bar.set_prefix(format!("{name:width$}", width = self.name_width));
        bar.enable_steady_tick(Duration::from_millis(200));
        bar
    }
}

/// Counts jobs that have ended, for a bar.
pub(crate) struct JobsDone {
    bar: ProgressBar,
    done: u64,
}

impl JobsDone {
    /// Counts for this bar.
    pub(crate) const fn new(bar: ProgressBar) -> Self {
        Self { bar, done: 0 }
    }
}

/// Jobs between two updates of the bar.
const UPDATE_JOBS: u64 = 64;

impl Observer for JobsDone {
    fn advance(&mut self, _from: Time, _to: Time, _state: &ClusterState) {}

    fn record(&mut self, _now: Time, record: &Record<'_>, _state: &ClusterState) {
        if let Record::JobFinished { .. } | Record::JobNeverPlaced { .. } | Record::JobLeftQueued { .. } =
            record
        {
            self.done += 1;
            if self.done.is_multiple_of(UPDATE_JOBS) {
                self.bar.set_position(self.done);
            }
        }
    }
}

/// Says on the bar how far simulated time has come.
pub(crate) fn show_time(bar: &ProgressBar, progress: Progress) {
    if !bar.is_hidden() {
        bar.set_message(format!("{:.1} d simulated", progress.simulated.as_s() / 86_400.0));
    }
}
