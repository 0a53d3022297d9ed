//! Volcano's `tdm` (time division multiplexing): nodes that are lent at certain hours.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::cmp::Ordering;

use foretell_framework::{
    ClusterState, JobId, Labels, NodeId, Rejection, SessionPlugin, TaskId, TaskSpec, TaskStatus, Time, Vote,
};

/// Label of nodes, and annotation of pods.
const ZONE: &str = "volcano.sh/revocable-zone";
/// Annotation of pods and groups.
const PREEMPTABLE: &str = "volcano.sh/preemptable";
/// Annotations of groups: how many of their pods must stay, and how many may go.
const MIN_AVAILABLE: &str = "volcano.sh/jdb-min-available";
const MAX_UNAVAILABLE: &str = "volcano.sh/jdb-max-unavailable";

/// The score of a node in an open zone for a task that agrees to be revoked, in points.
const ZONE_SCORE: f64 = 100.0;

const NANOS_PER_MINUTE: u64 = 60_000_000_000;
const MINUTES_PER_DAY: u64 = 24 * 60;

/// When a zone is open: minutes after midnight. A window that ends where it begins, or before, ends on the next day;
/// like the original it is then closed in the hours after midnight that belong to the day before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Window {
    /// First minute.
    pub start_minute: u32,
    /// The minute at whose beginning it closes.
    pub end_minute: u32,
}

impl Window {
    /// From text such as `10:00-21:00`; `None` if it is not that.
    pub fn parse(text: &str) -> Option<Self> {
        let minute = |text: &str| {
            let (hours, minutes) = text.split_once(':')?;
            let (hours, minutes) = (hours.parse::<u32>().ok()?, minutes.parse::<u32>().ok()?);
            (hours < 24 && minutes < 60).then_some(hours * 60 + minutes)
        };
        let (start, end) = text.trim().split_once('-')?;
        Some(Self { start_minute: minute(start)?, end_minute: minute(end)? })
    }

    /// Whether it is open at a time, which counts from a midnight.
    pub const fn is_open(self, now: Time) -> bool {
        let today = now.as_nanos() % (MINUTES_PER_DAY * NANOS_PER_MINUTE);
        let start = self.start_minute as u64 * NANOS_PER_MINUTE;
        let end = self.end_minute as u64 * NANOS_PER_MINUTE;
        today >= start && (self.end_minute <= self.start_minute || today <= end)
    }
}

/// Arguments of the plugin.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RevocableZonesConfig {
    /// Windows by zone.
    pub zones: BTreeMap<Box<str>, Window>,
    /// The least time between evictions from closed zones.
    pub evict_period: Time,
}

impl Default for RevocableZonesConfig {
    fn default() -> Self {
        Self { zones: BTreeMap::new(), evict_period: Time::from_nanos(NANOS_PER_MINUTE) }
    }
}

/// Keeps tasks that do not agree to be revoked off nodes that are lent, all tasks off them while their zone is closed,
/// and names those to evict when it closes.
#[derive(Default)]
pub struct RevocableZones {
    config: RevocableZonesConfig,
    now: Time,
    evicted_at: Option<Time>,
    /// Whether this session may evict.
    evicts: bool,
}

impl RevocableZones {
    /// With these arguments.
    pub fn new(config: RevocableZonesConfig) -> Self {
        Self { config, ..Self::default() }
    }

    /// Whether the zone is known and open.
    fn is_open(&self, zone: &str) -> bool {
        self.config.zones.get(zone).is_some_and(|window| window.is_open(self.now))
    }
}

fn zone(state: &ClusterState, node: NodeId) -> Option<&str> {
    state.node(node).spec.labels.get(ZONE).map(|zone| &**zone).filter(|zone| !zone.is_empty())
}

fn flag(annotations: &Labels) -> Option<bool> {
    annotations.get(PREEMPTABLE).and_then(|value| value.parse().ok())
}

/// Whether a task agrees to be revoked: it says so, or says that it may be displaced.
fn is_revocable(spec: &TaskSpec) -> bool {
    match spec.annotations.get(ZONE) {
        Some(zone) => &**zone == "*",
        None => flag(&spec.annotations) == Some(true),
    }
}

/// Whether a task may be displaced; one that says nothing may.
fn is_preemptable(spec: &TaskSpec) -> bool {
    flag(&spec.annotations).or_else(|| flag(&spec.labels)).unwrap_or(true)
}

fn is_job_preemptable(state: &ClusterState, job: JobId) -> bool {
    state.job(job).and_then(|job| job.spec.preemptable).unwrap_or(true)
}

/// An amount of tasks, or a share of all of them, rounded up.
fn amount(text: &str, all: usize) -> Option<usize> {
    match text.strip_suffix('%') {
        Some(percent) => Some((percent.parse::<usize>().ok()? * all).div_ceil(100)),
        None => text.parse().ok(),
    }
}

/// How many running tasks of a job may go at once.
fn budget(state: &ClusterState, job: JobId) -> usize {
    let Some(job) = state.job(job) else { return 0 };
    let (all, running) = (job.tasks().len(), job.count(TaskStatus::Running) as usize);
    let bound = |key| job.spec.annotations.get(key).map(|text| amount(text, all).unwrap_or(0));
    if let Some(max_unavailable) = bound(MAX_UNAVAILABLE) {
        let ended = (job.count(TaskStatus::Succeeded) + job.count(TaskStatus::Failed)) as usize;
        return max_unavailable.saturating_sub(all - ended - running);
    }
    match bound(MIN_AVAILABLE) {
        Some(min_available) if running >= min_available => running - min_available,
        _ => 1,
    }
}

/// Of the tasks, per job in their order, as many as its budget allows.
fn within_budgets(state: &ClusterState, tasks: impl Iterator<Item = TaskId>) -> Vec<TaskId> {
    let mut left: BTreeMap<JobId, usize> = BTreeMap::new();
    tasks
        .filter(|&task| {
            let Some(job) = state.task(task).map(|task| task.job) else { return false };
            let left = left.entry(job).or_insert_with(|| budget(state, job));
            let may_go = *left > 0;
            *left = left.saturating_sub(1);
            may_go
        })
        .collect()
}

impl SessionPlugin for RevocableZones {
    fn name(&self) -> &'static str {
        "tdm"
    }

    fn open(&mut self, _state: &ClusterState, now: Time) {
        self.now = now;
        self.evicts = self.evicted_at.is_none_or(|last| last + self.config.evict_period <= now);
        if self.evicts {
            self.evicted_at = Some(now);
        }
    }

    fn compare_jobs(&self, state: &ClusterState, left: JobId, right: JobId) -> Ordering {
        is_job_preemptable(state, left).cmp(&is_job_preemptable(state, right))
    }

    fn job_pipelined(&self, state: &ClusterState, job: JobId) -> Vote {
        let Some(job) = state.job(job) else { return Vote::Reject };
        let has = job.placed() + job.count(TaskStatus::Succeeded) + job.nominated();
        if has >= job.spec.min_member { Vote::Permit } else { Vote::Reject }
    }

    fn job_starving(&self, state: &ClusterState, job: JobId) -> Option<bool> {
        let waits = state.job(job).is_some_and(|job| job.count(TaskStatus::Waiting) > job.nominated());
        Some(waits && !is_job_preemptable(state, job))
    }

    fn preemptable(
        &self,
        state: &ClusterState,
        preemptor: TaskId,
        candidates: &[TaskId],
    ) -> Option<Vec<TaskId>> {
        let spec = state.task_spec(preemptor)?;
        if is_preemptable(spec) || is_revocable(spec) {
            return Some(Vec::new());
        }
        let may_go = candidates.iter().copied().filter(|&task| {
            state.task(task).is_some_and(|entry| {
                let node = entry.placement().map(|placement| placement.node);
                entry.status() == TaskStatus::Running
                    && is_preemptable(state.class_spec(entry.class))
                    && node.is_some_and(|node| zone(state, node).is_none())
            })
        });
        Some(within_budgets(state, may_go))
    }

    fn victims(&self, state: &ClusterState, candidates: &[TaskId]) -> Option<Vec<TaskId>> {
        if !self.evicts {
            return None;
        }
        let zones = self.config.zones.keys().map(|zone| &**zone);
        let closed: BTreeSet<&str> = zones.filter(|zone| !self.is_open(zone)).collect();
        let must_go = candidates.iter().copied().filter(|&task| {
            state.task(task).is_some_and(|entry| {
                let node = entry.placement().map(|placement| placement.node);
                let zone = node.and_then(|node| zone(state, node));
                entry.status() == TaskStatus::Running
                    && is_preemptable(state.class_spec(entry.class))
                    && zone.is_some_and(|zone| closed.contains(zone))
            })
        });
        Some(within_budgets(state, must_go))
    }

    fn judges_nodes(&self, _state: &ClusterState, _task: TaskId) -> bool {
        true
    }

    fn filter_node(&self, state: &ClusterState, task: TaskId, node: NodeId) -> Result<(), Rejection> {
        let Some(zone) = zone(state, node) else { return Ok(()) };
        let agrees = state.task_spec(task).is_some_and(is_revocable);
        if self.is_open(zone) && agrees { Ok(()) } else { Err(Rejection::RevocableZone) }
    }

    fn score_nodes(&self, state: &ClusterState, task: TaskId, nodes: &[NodeId], scores: &mut [f64]) {
        if !state.task_spec(task).is_some_and(is_revocable) {
            return;
        }
        for (score, &node) in scores.iter_mut().zip(nodes) {
            if zone(state, node).is_some_and(|zone| self.is_open(zone)) {
                *score += ZONE_SCORE;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_read_and_judged() {
        let check = |window: &str, hours: f64, expected: bool| {
            let window = Window::parse(window).unwrap();
            assert_eq!(window.is_open(Time::from_s(hours * 3600.0)), expected, "{window:?} at {hours}");
        };
        check("10:00-21:00", 9.9, false);
        check("10:00-21:00", 10.0, true);
        check("10:00-21:00", 21.5, false);
        check("10:00-21:00", 24.0 * 400.0 + 12.0, true);
        check("0:00-0:00", 12.0, true);
        check("0:00-0:01", 12.0, false);
        check("22:00-06:00", 23.0, true);
        check("22:00-06:00", 3.0, false);
        for text in ["", "10:00", "10:00-", "25:00-26:00", "10-21", "10:00-21:00-22:00"] {
            assert_eq!(Window::parse(text), None, "{text}");
        }
    }

    #[test]
    fn amounts_are_numbers_or_shares() {
        let check = |text: &str, expected| assert_eq!(amount(text, 5), expected, "{text}");
        check("3", Some(3));
        check("50%", Some(3));
        check("99%", Some(5));
        check("0%", Some(0));
        check("many", None);
    }
}
