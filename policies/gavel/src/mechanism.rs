//! Rounds: who runs where next, so that time received follows the shares.

use alloc::collections::BTreeMap;
use alloc::collections::BTreeSet;
use alloc::vec;
use alloc::vec::Vec;

use crate::{Allocation, JobId, Share, Unit};

/// A unit that runs in the coming round.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Placement {
    /// What runs.
    pub unit: Unit,
    /// On which type of GPU.
    pub gpu_type: usize,
}

/// What a unit has received since the last new allocation.
#[derive(Clone, Debug)]
struct Account {
    /// GPUs that it takes.
    scale_factor: u32,
    /// It was there at the last allocation. Before it has been, a job does not run.
    is_known: bool,
    /// Where it can run.
    runs_on: Vec<bool>,
    /// Per type: its share.
    share: Vec<f64>,
    /// Per type: seconds run.
    time_s: Vec<f64>,
    /// Per type: seconds that it was short of under former allocations.
    deficit_s: Vec<f64>,
}

/// Gavel's mechanism. In every round each type of GPU takes units in order of (share / fraction of the type's time
/// received), then of what they were short of, then of share, as far as they fit.
///
/// GPUs are not left idle where a job without a share on their type can run, unless the policy keeps them idle.
pub struct Mechanism {
    types: usize,
    round_s: f64,
    /// Least time between two allocations.
    reset_interval_s: f64,
    last_reset_s: f64,
    is_stale: bool,
    accounts: BTreeMap<Unit, Account>,
    /// Per type: sum of all units' time.
    type_time_s: Vec<f64>,
}

impl Mechanism {
    /// With no jobs. A new allocation is asked for after arrivals and ends, yet not sooner than `reset_interval_s` after
    /// the last.
    pub fn new(types: usize, round_s: f64, reset_interval_s: f64) -> Self {
        Self {
            types,
            round_s,
            reset_interval_s,
            last_reset_s: 0.0,
            is_stale: false,
            accounts: BTreeMap::new(),
            type_time_s: vec![0.0; types],
        }
    }

    /// A unit starts with half a round to its name on every type, so that fractions are defined.
    fn initial_s(&self) -> f64 {
        self.round_s / 2.0
    }

    fn open(&mut self, unit: Unit, scale_factor: u32, runs_on: Vec<bool>) {
        let initial_s = self.initial_s();
        self.type_time_s.iter_mut().for_each(|time| *time += initial_s);
        self.accounts.entry(unit).or_insert_with(|| Account {
            scale_factor,
            is_known: false,
            runs_on,
            share: vec![0.0; self.types],
            time_s: vec![initial_s; self.types],
            deficit_s: vec![0.0; self.types],
        });
    }

    /// A job has come.
    pub fn add(&mut self, job: JobId, scale_factor: u32, runs_on: Vec<bool>) {
        self.open(Unit::single(job), scale_factor, runs_on);
        self.is_stale = true;
    }

    /// A job has ended.
    pub fn remove(&mut self, job: JobId) {
        self.accounts.retain(|unit, _| unit.jobs().all(|one| one != job));
        self.is_stale = true;
    }

    /// Whether the policy is to be asked again.
    pub fn wants_allocation(&self, now_s: f64) -> bool {
        self.is_stale && (now_s - self.last_reset_s >= self.reset_interval_s || self.last_reset_s == 0.0)
    }

    /// Whether the policy will be asked again without a further arrival or end.
    pub fn will_want_allocation(&self) -> bool {
        self.is_stale
    }

    /// Takes a new allocation: accounts are settled into deficits and begin anew. Pairs exist only while they have a
    /// share; `runs_pair` says on which types a pair can run.
    pub fn reset(&mut self, now_s: f64, allocation: Allocation, runs_pair: impl Fn(Unit) -> Vec<bool>) {
        let elapsed_s = now_s - self.last_reset_s;
        let initial_s = self.initial_s();
        for account in self.accounts.values_mut() {
            for gpu_type in 0..self.types {
                let due_s = account.share[gpu_type] * elapsed_s;
                account.deficit_s[gpu_type] += due_s - (account.time_s[gpu_type] - initial_s);
                account.time_s[gpu_type] = initial_s;
                account.share[gpu_type] = 0.0;
            }
        }
        let shared: BTreeSet<Unit> = allocation.iter().map(|share| share.unit).collect();
        self.accounts.retain(|unit, _| unit.second.is_none() || shared.contains(unit));
        for Share { unit, fractions } in allocation {
            let Some(first) = self.accounts.get(&Unit::single(unit.first)) else { continue };
            if !self.accounts.contains_key(&unit) {
                let scale_factor = first.scale_factor;
                self.open(unit, scale_factor, runs_pair(unit));
            }
            if let Some(account) = self.accounts.get_mut(&unit) {
                account.share = fractions;
            }
        }
        self.accounts.values_mut().for_each(|account| account.is_known = true);
        self.type_time_s = vec![initial_s * self.accounts.len() as f64; self.types];
        self.last_reset_s = now_s;
        self.is_stale = false;
    }

    /// A unit ran.
    pub fn ran(&mut self, placement: Placement, seconds: f64) {
        if let Some(account) = self.accounts.get_mut(&placement.unit) {
            account.time_s[placement.gpu_type] += seconds;
            self.type_time_s[placement.gpu_type] += seconds;
        }
    }

    fn priority(&self, account: &Account, gpu_type: usize) -> f64 {
        let share = account.share[gpu_type];
        if share <= 0.0 || !account.runs_on[gpu_type] {
            return 0.0;
        }
        let fraction = account.time_s[gpu_type] / self.type_time_s[gpu_type];
        // A share beyond any fraction where nothing was received: Gavel's constant.
        if fraction > 0.0 { share / fraction } else { share * 1e9 }
    }

    /// Who runs in the coming round. Types choose in the order of `types`.
    pub fn next_round(&self, types: &[usize], workers: &[u32], keeps_idle: bool) -> Vec<Placement> {
        let mut taken: BTreeSet<JobId> = BTreeSet::new();
        let mut placements = Vec::new();
        for &gpu_type in types {
            let mut queue: Vec<([f64; 3], Unit, u32)> = self
                .accounts
                .iter()
                .filter(|(_, account)| account.is_known && account.runs_on[gpu_type])
                .map(|(&unit, account)| {
                    let keys = [
                        self.priority(account, gpu_type),
                        account.deficit_s[gpu_type],
                        account.share[gpu_type],
                    ];
                    (keys, unit, account.scale_factor)
                })
                .filter(|(keys, _, _)| !keeps_idle || keys[0] > 0.0)
                .collect();
            let falling = |one: &[f64; 3], other: &[f64; 3]| {
                one.iter().zip(other).map(|(one, other)| other.total_cmp(one)).find(|order| order.is_ne())
            };
            // Stable: equals stay in order of arrival.
            queue.sort_by(|one, other| falling(&one.0, &other.0).unwrap_or(core::cmp::Ordering::Equal));
            let mut room = workers[gpu_type];
            for (_, unit, scale_factor) in queue {
                if room == 0 {
                    break;
                }
                if scale_factor > room || unit.jobs().any(|job| taken.contains(&job)) {
                    continue;
                }
                room -= scale_factor;
                taken.extend(unit.jobs());
                placements.push(Placement { unit, gpu_type });
            }
        }
        placements
    }
}
