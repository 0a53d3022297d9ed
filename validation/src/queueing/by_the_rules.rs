//! The rules of Tiresias' and Helios' simulators and of orders by one figure, written down event by event, with lists and nothing clever: what the policy is held
//! against where the published outputs show no contention.

use proptest::prelude::*;

use foretell_scenarios::registry::{OrderingConfig, TiresiasConfig};

use super::{JobTimes, Nodes, QueuedJob, Split};

const LIMITS_GPU_S: [u64; 2] = [3250, 7200];

#[derive(Clone, Default)]
struct Entry {
    job: usize,
    /// In all, and since it was last promoted.
    executed_s: u64,
    since_promotion_s: u64,
    /// After it first ran, since it was last promoted.
    waited_s: u64,
    checked_s: u64,
    level: usize,
    running: bool,
}

/// Discretised LAS on a number of GPUs; who has waited so many times as long as it ran is promoted.
fn discretised(jobs: &[QueuedJob], gpus: u32, promote_after: u64) -> Vec<JobTimes> {
    let mut times = vec![JobTimes::default(); jobs.len()];
    let mut runnable: Vec<Entry> = Vec::new();
    let mut levels: [Vec<usize>; 3] = Default::default();
    let (mut next, mut jump_s, mut end) = (0, u64::MAX, (u64::MAX, Vec::<usize>::new()));
    while next < jobs.len() || !runnable.is_empty() {
        let start_s = jobs.get(next).map_or(u64::MAX, |job| job.submit_s);
        let now_s = start_s.min(end.0).min(jump_s);
        if now_s == end.0 {
            for &job in &end.1 {
                let entry = runnable.iter().position(|entry| entry.job == job).unwrap();
                levels[runnable.remove(entry).level].retain(|&other| other != job);
                times[job].end_s = Some(now_s);
            }
        }
        while jobs.get(next).is_some_and(|job| job.submit_s == now_s) {
            runnable.push(Entry { job: next, checked_s: now_s, ..Entry::default() });
            levels[0].push(next);
            next += 1;
        }
        for entry in &mut runnable {
            if entry.running {
                entry.executed_s += now_s - entry.checked_s;
                entry.since_promotion_s += now_s - entry.checked_s;
                let attained = entry.since_promotion_s * u64::from(jobs[entry.job].gpus);
                if LIMITS_GPU_S.get(entry.level).is_some_and(|&limit| attained >= limit) {
                    levels[entry.level].retain(|&other| other != entry.job);
                    entry.level += 1;
                    levels[entry.level].push(entry.job);
                }
            } else if entry.since_promotion_s > 0 {
                entry.waited_s += now_s - entry.checked_s;
                let is_due = entry.waited_s >= entry.since_promotion_s * promote_after;
                if promote_after > 0 && entry.level > 0 && is_due {
                    levels[entry.level].retain(|&other| other != entry.job);
                    levels[0].push(entry.job);
                    (entry.level, entry.since_promotion_s, entry.waited_s) = (0, 0, 0);
                }
            }
            entry.checked_s = now_s;
        }
        let mut free = gpus;
        for &job in levels.iter().flatten() {
            let entry = runnable.iter_mut().find(|entry| entry.job == job).unwrap();
            let runs = jobs[job].gpus <= free;
            free -= if runs { jobs[job].gpus } else { 0 };
            if entry.running && !runs {
                times[job].preemptions += 1;
            }
            if runs {
                times[job].start_s.get_or_insert(now_s);
            }
            entry.running = runs;
        }
        for level in &mut levels {
            let (started, never): (Vec<usize>, Vec<usize>) =
                level.iter().partition(|&&job| times[job].start_s.is_some());
            *level = [started, never].concat();
        }
        (end, jump_s) = ((u64::MAX, Vec::new()), u64::MAX);
        for entry in runnable.iter().filter(|entry| entry.running) {
            let ends_s = now_s + jobs[entry.job].duration_s - entry.executed_s;
            if ends_s < end.0 {
                end = (ends_s, Vec::new());
            }
            if ends_s == end.0 {
                end.1.push(entry.job);
            }
            if let Some(limit) = LIMITS_GPU_S.get(entry.level) {
                jump_s =
                    jump_s.min(now_s + (limit - entry.since_promotion_s) / u64::from(jobs[entry.job].gpus));
            }
        }
        for entry in runnable.iter().filter(|entry| !entry.running && entry.level > 0) {
            let left_s = (entry.since_promotion_s * promote_after).saturating_sub(entry.waited_s);
            jump_s = if left_s > 0 { jump_s.min(now_s + left_s) } else { jump_s };
        }
    }
    times
}

/// Nodes and GPUs on each.
type Held = Vec<(usize, u32)>;

/// First come first served, one node or whole nodes and a rest, first that fits; the head blocks or is passed over.
fn first_come(jobs: &[QueuedJob], nodes: Nodes, skips: bool) -> Vec<JobTimes> {
    let mut times = vec![JobTimes::default(); jobs.len()];
    let mut free = vec![nodes.gpus; nodes.count as usize];
    let (mut next, mut waiting) = (0, Vec::new());
    // End, job, and what it holds of which nodes.
    let mut running: Vec<(u64, usize, Held)> = Vec::new();
    while next < jobs.len() || !running.is_empty() {
        let ends_s = running.iter().map(|(end_s, ..)| *end_s).min().unwrap_or(u64::MAX);
        let now_s = ends_s.min(jobs.get(next).map_or(u64::MAX, |job| job.submit_s));
        running.retain(|(end_s, job, held)| {
            if *end_s == now_s {
                for &(node, gpus) in held {
                    free[node] += gpus;
                }
                times[*job].end_s = Some(now_s);
            }
            *end_s != now_s
        });
        while jobs.get(next).is_some_and(|job| job.submit_s == now_s) {
            waiting.push(next);
            next += 1;
        }
        let mut blocked = false;
        waiting.retain(|&job: &usize| {
            let held = if blocked { None } else { yarn(&free, jobs[job].gpus, nodes.gpus) };
            let Some(held) = held else {
                blocked |= !skips;
                return true;
            };
            for &(node, gpus) in &held {
                free[node] -= gpus;
            }
            times[job].start_s = Some(now_s);
            running.push((now_s + jobs[job].duration_s, job, held));
            false
        });
    }
    times
}

fn yarn(free: &[u32], gpus: u32, per_node: u32) -> Option<Held> {
    let whole = (gpus / per_node) as usize;
    let mut held: Held = free
        .iter()
        .enumerate()
        .filter(|&(_, &free)| free == per_node)
        .map(|(node, _)| (node, per_node))
        .take(whole)
        .collect();
    let rest = gpus % per_node;
    if rest > 0 {
        let is_taken = |node| held.iter().any(|&(other, _)| other == node);
        let node = (0..free.len()).find(|&node| !is_taken(node) && free[node] >= rest)?;
        held.push((node, rest));
    }
    (held.len() == whole + usize::from(rest > 0)).then_some(held)
}

/// Jobs in order of a figure of (GPUs, seconds had, seconds left), smallest first, on a number of GPUs; looked at again after a
/// quantum while jobs wait beside others that run.
fn smallest_first(
    jobs: &[QueuedJob],
    gpus: u32,
    quantum_s: u64,
    figure: impl Fn(u64, u64, u64) -> u64,
) -> Vec<JobTimes> {
    let mut times = vec![JobTimes::default(); jobs.len()];
    let mut remaining_s: Vec<u64> = jobs.iter().map(|job| job.duration_s).collect();
    let (mut next, mut now_s) = (0, 0);
    let mut there: Vec<usize> = Vec::new();
    let mut running: Vec<usize> = Vec::new();
    while next < jobs.len() || !there.is_empty() {
        let end_s = running.iter().map(|&job| now_s + remaining_s[job]).min().unwrap_or(u64::MAX);
        let is_contended = !running.is_empty() && running.len() < there.len();
        let look_s = if is_contended { now_s.saturating_add(quantum_s) } else { u64::MAX };
        let then_s = end_s.min(look_s).min(jobs.get(next).map_or(u64::MAX, |job| job.submit_s));
        for &job in &running {
            remaining_s[job] -= then_s - now_s;
        }
        now_s = then_s;
        for &job in running.iter().filter(|&&job| remaining_s[job] == 0) {
            times[job].end_s = Some(now_s);
        }
        while jobs.get(next).is_some_and(|job| job.submit_s == now_s) {
            there.push(next);
            next += 1;
        }
        there.retain(|&job| times[job].end_s.is_none());
        running.retain(|&job| times[job].end_s.is_none());
        there.sort_by_key(|&job| {
            let (left_s, all_s) = (remaining_s[job], jobs[job].duration_s);
            (figure(u64::from(jobs[job].gpus), all_s - left_s, left_s), job)
        });
        let mut free = gpus;
        let mut chosen = Vec::new();
        for &job in &there {
            if jobs[job].gpus <= free {
                free -= jobs[job].gpus;
                times[job].start_s.get_or_insert(now_s);
                chosen.push(job);
            } else if running.contains(&job) {
                times[job].preemptions += 1;
            }
        }
        running = chosen;
    }
    times
}

/// Largest finish-time ratio first, at multiples of the lease while jobs wait; in between, what is free goes to waiting jobs.
fn fair_finish(jobs: &[QueuedJob], gpus: u32, lease_s: u64) -> Vec<JobTimes> {
    let mut times = vec![JobTimes::default(); jobs.len()];
    let mut remaining_s: Vec<u64> = jobs.iter().map(|job| job.duration_s).collect();
    let (mut next, mut now_s) = (0, 0);
    let mut there: Vec<usize> = Vec::new();
    let mut running: Vec<usize> = Vec::new();
    while next < jobs.len() || !there.is_empty() {
        let end_s = running.iter().map(|&job| now_s + remaining_s[job]).min().unwrap_or(u64::MAX);
        let contended = running.len() < there.len();
        let lease_end_s = if contended { (now_s / lease_s + 1) * lease_s } else { u64::MAX };
        let then_s = end_s.min(lease_end_s).min(jobs.get(next).map_or(u64::MAX, |job| job.submit_s));
        for &job in &running {
            remaining_s[job] -= then_s - now_s;
        }
        now_s = then_s;
        there.retain(|&job| remaining_s[job] > 0);
        for &job in running.iter().filter(|&&job| remaining_s[job] == 0) {
            times[job].end_s = Some(now_s);
        }
        running.retain(|&job| remaining_s[job] > 0);
        while jobs.get(next).is_some_and(|job| job.submit_s == now_s) {
            there.push(next);
            next += 1;
        }
        let ratio = |job: usize| {
            let QueuedJob { submit_s, duration_s, gpus: asked } = jobs[job];
            let mean = if now_s == submit_s {
                there.len() as f64
            } else {
                // How long each job was there while this one was.
                let overlap_s = |other: usize| {
                    let end_s = times[other].end_s.unwrap_or(now_s);
                    end_s.saturating_sub(submit_s.max(jobs[other].submit_s))
                };
                (0..next).map(overlap_s).sum::<u64>() as f64 / (now_s - submit_s) as f64
            };
            let slower = (f64::from(asked) / (f64::from(gpus) / mean.max(1.0))).max(1.0);
            (now_s - submit_s + remaining_s[job]) as f64 / duration_s as f64 / slower
        };
        let auctions = contended && now_s >= lease_end_s;
        let mut order: Vec<usize> =
            there.iter().copied().filter(|job| auctions || !running.contains(job)).collect();
        order.sort_by(|&a, &b| ratio(b).total_cmp(&ratio(a)).then(a.cmp(&b)));
        let mut chosen = if auctions { Vec::new() } else { running.clone() };
        let mut free = gpus - chosen.iter().map(|&job| jobs[job].gpus).sum::<u32>();
        for job in order {
            if jobs[job].gpus <= free {
                free -= jobs[job].gpus;
                times[job].start_s.get_or_insert(now_s);
                chosen.push(job);
            } else if running.contains(&job) {
                times[job].preemptions += 1;
            }
        }
        running = chosen;
    }
    times
}

fn jobs() -> impl Strategy<Value = Vec<QueuedJob>> {
    let job = (0_u64..900, 1_u64..6000, prop_oneof![4 => 1_u32..5, 1 => 5_u32..17]);
    prop::collection::vec(job, 1..40).prop_map(|jobs| {
        let mut submit_s = 0;
        let job = |(interval_s, duration_s, gpus)| {
            submit_s += interval_s;
            QueuedJob { submit_s, duration_s, gpus }
        };
        jobs.into_iter().map(job).collect()
    })
}

const NODES: Nodes = Nodes { count: 4, gpus: 4 };

fn simulated(jobs: &[QueuedJob], policy: &str, split: Split) -> Vec<JobTimes> {
    super::run(NODES, split, jobs, policy, OrderingConfig::default(), 0).unwrap()
}

proptest! {
    #[test]
    fn discretised_las_is_as_the_rules_say(jobs in jobs(), promote_after in 0_u64..3) {
        let tiresias = TiresiasConfig { promote_after, ..TiresiasConfig::default() };
        let ordering = OrderingConfig { tiresias, ..OrderingConfig::default() };
        let ours = super::run(NODES, Split::ByGpu, &jobs, "tiresias+first-fit", ordering, 0).unwrap();
        prop_assert_eq!(ours, discretised(&jobs, NODES.count * NODES.gpus, promote_after));
    }

    // Without penalties: here a job that is preempted while it restarts pays for the next restart only, there for both.
    #[test]
    fn orders_by_one_figure_are_as_the_rules_say(jobs in jobs()) {
        let by_the_rules = |quantum_s, figure: fn(u64, u64, u64) -> u64| {
            smallest_first(&jobs, NODES.count * NODES.gpus, quantum_s, figure)
        };
        for (policy, expected) in [
            ("srtf+first-fit", by_the_rules(u64::MAX, |_, _, left_s| left_s)),
            ("srsf+first-fit", by_the_rules(u64::MAX, |gpus, _, left_s| gpus * left_s)),
            ("las+first-fit", by_the_rules(360, |gpus, had_s, _| gpus * had_s)),
        ] {
            prop_assert_eq!(simulated(&jobs, policy, Split::ByGpu), expected, "{}", policy);
        }
    }

    #[test]
    fn finish_time_fairness_is_as_the_rules_say(jobs in jobs()) {
        let expected = fair_finish(&jobs, NODES.count * NODES.gpus, 1200);
        prop_assert_eq!(simulated(&jobs, "themis+first-fit", Split::ByGpu), expected);
    }

    #[test]
    fn first_come_first_served_is_as_the_rules_say(jobs in jobs(), skips: bool) {
        let policy = if skips { "fifo-skip+first-fit" } else { "fifo+first-fit" };
        prop_assert_eq!(simulated(&jobs, policy, Split::ByNode), first_come(&jobs, NODES, skips));
    }
}
