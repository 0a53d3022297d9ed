//! One choice per job, within what each type of GPU holds: the integer program of Sia, and how it is solved here.

use alloc::vec;
use alloc::vec::Vec;

use crate::Shape;

/// A shape that a job may be given, and what that is worth.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Choice {
    /// The job, by its place in the view.
    pub job: usize,
    /// What it would be given.
    pub shape: Shape,
    /// What that adds to the sum that is maximised.
    pub worth: f64,
}

/// Maximise the sum of the worth of what is chosen: at most one choice per job, and per type of GPU no more GPUs than there
/// are. As an integer program: a variable that is 0 or 1 per choice, a row per job and a row per type.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Selection {
    /// Number of jobs.
    pub jobs: usize,
    /// GPUs per type.
    pub capacities: Vec<u32>,
    /// Choices by job, ascending; of positive worth.
    pub choices: Vec<Choice>,
}

/// Solves selections.
pub trait Solver {
    /// What is chosen, as places in [`Selection::choices`]; nothing if no answer could be found.
    fn choose(&mut self, selection: &Selection) -> Option<Vec<usize>>;
}

impl Selection {
    /// Whether these choices are allowed together.
    pub fn admits(&self, chosen: &[usize]) -> bool {
        let mut has_choice = vec![false; self.jobs];
        let mut used = vec![0; self.capacities.len()];
        chosen.iter().all(|&at| {
            let Choice { job, shape, .. } = self.choices[at];
            used[shape.gpu_type] += shape.gpus;
            !core::mem::replace(&mut has_choice[job], true)
                && used[shape.gpu_type] <= self.capacities[shape.gpu_type]
        })
    }

    /// The sum of the worth of these choices.
    pub fn worth(&self, chosen: &[usize]) -> f64 {
        chosen.iter().map(|&at| self.choices[at].worth).sum()
    }

    /// Where the choices of each job are.
    fn ranges(&self) -> Vec<core::ops::Range<usize>> {
        let mut ranges = Vec::with_capacity(self.jobs);
        let mut begin = 0;
        for job in 0..self.jobs {
            let end = begin + self.choices[begin..].iter().take_while(|choice| choice.job == job).count();
            ranges.push(begin..end);
            begin = end;
        }
        ranges
    }
}

/// Solves exactly, as far as tables stay small: prices per type bound what any choice can still contribute, what cannot
/// belong to a better answer than a greedy one is struck off, and the rest is decided by dynamic programming over the GPUs left.
/// Where the tables would be larger than `cells`, the greedy answer stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Exact {
    /// Most cells of the tables: one per job and combination of GPUs left.
    pub cells: usize,
}

impl Default for Exact {
    fn default() -> Self {
        Self { cells: 50_000_000 }
    }
}

/// Sweeps over the prices, and steps of each search for a price.
const SWEEPS: u32 = 3;
const BISECTIONS: u32 = 40;

/// Worth that counts as equal, so that rounding strikes off no optimum.
const EPSILON: f64 = 1e-9;

struct Search<'a> {
    selection: &'a Selection,
    ranges: Vec<core::ops::Range<usize>>,
    /// Worth of a GPU per type, in the bound.
    prices: Vec<f64>,
}

impl Search<'_> {
    /// Worth of a choice beyond the price of its GPUs.
    fn surplus(&self, at: usize) -> f64 {
        let Choice { shape, worth, .. } = self.selection.choices[at];
        worth - self.prices[shape.gpu_type] * f64::from(shape.gpus)
    }

    /// The greatest surplus of a job, which is zero where nothing is worth its price.
    fn greatest(&self, job: usize) -> f64 {
        self.ranges[job].clone().map(|at| self.surplus(at)).fold(0.0, f64::max)
    }

    /// No selection is worth more, at whatever prices.
    fn bound(&self) -> f64 {
        let whole =
            self.prices.iter().zip(&self.selection.capacities).map(|(price, &gpus)| price * f64::from(gpus));
        whole.sum::<f64>() + (0..self.ranges.len()).map(|job| self.greatest(job)).sum::<f64>()
    }

    /// GPUs of a type that jobs would take at these prices.
    fn demand(&self, gpu_type: usize) -> u32 {
        let taken = |range: &core::ops::Range<usize>| {
            let mut best = (0.0, 0);
            for at in range.clone() {
                let surplus = self.surplus(at);
                if surplus > best.0 {
                    let shape = self.selection.choices[at].shape;
                    best = (surplus, if shape.gpu_type == gpu_type { shape.gpus } else { 0 });
                }
            }
            best.1
        };
        self.ranges.iter().map(taken).sum()
    }

    /// Raises prices, type by type, until what would be taken is there.
    fn find_prices(&mut self) {
        let dearest = self.selection.choices.iter().map(|choice| choice.worth).fold(0.0, f64::max);
        for _ in 0..SWEEPS {
            for gpu_type in 0..self.prices.len() {
                let capacity = self.selection.capacities[gpu_type];
                self.prices[gpu_type] = 0.0;
                if self.demand(gpu_type) <= capacity {
                    continue;
                }
                let (mut low, mut high) = (0.0, dearest);
                for _ in 0..BISECTIONS {
                    self.prices[gpu_type] = f64::midpoint(low, high);
                    if self.demand(gpu_type) <= capacity {
                        high = self.prices[gpu_type];
                    } else {
                        low = self.prices[gpu_type];
                    }
                }
                self.prices[gpu_type] = high;
            }
        }
    }

    /// A good answer: step by step the change of one job that adds most per GPU.
    fn greedy(&self) -> Vec<Option<usize>> {
        let Selection { choices, capacities, .. } = self.selection;
        let mut left = capacities.clone();
        let mut chosen: Vec<Option<usize>> = vec![None; self.ranges.len()];
        loop {
            let mut best: Option<(f64, usize)> = None;
            for (at, choice) in choices.iter().enumerate() {
                let old = chosen[choice.job].map(|old| choices[old]);
                let back = old.filter(|old| old.shape.gpu_type == choice.shape.gpu_type);
                let room = left[choice.shape.gpu_type] + back.map_or(0, |old| old.shape.gpus);
                let gained = choice.worth - old.map_or(0.0, |old| old.worth);
                if choice.shape.gpus > room || gained <= EPSILON {
                    continue;
                }
                let more = f64::from(choice.shape.gpus) - old.map_or(0.0, |old| f64::from(old.shape.gpus));
                let rate = gained / more.max(0.5);
                if best.is_none_or(|(greatest, _)| rate > greatest) {
                    best = Some((rate, at));
                }
            }
            let Some((_, at)) = best else { return chosen };
            let choice = choices[at];
            if let Some(old) = chosen[choice.job].replace(at) {
                left[choices[old].shape.gpu_type] += choices[old].shape.gpus;
            }
            left[choice.shape.gpu_type] -= choice.shape.gpus;
        }
    }

    /// Per job: what can belong to an answer that is worth more than `known`. `None` is to go without.
    fn promising(&self, known: f64) -> Vec<Vec<Option<usize>>> {
        let spare = self.bound() - known + EPSILON;
        let per_job = |job: usize| {
            let least = self.greatest(job) - spare;
            let without = (least <= 0.0).then_some(None);
            let with = self.ranges[job].clone().filter(|&at| self.surplus(at) >= least).map(Some);
            without.into_iter().chain(with).collect()
        };
        (0..self.ranges.len()).map(per_job).collect()
    }
}

/// Dynamic programming over the GPUs that are still to be had. The best worth for each combination is the first that was
/// found, so that the answer does not depend on anything but the order of choices.
fn decide(
    selection: &Selection,
    open: &[Vec<Option<usize>>],
    left: &[u32],
    cells: usize,
) -> Option<Vec<usize>> {
    let mut strides = Vec::with_capacity(left.len());
    let mut states: usize = 1;
    for &gpus in left {
        strides.push(states);
        states = states.checked_mul(gpus as usize + 1)?;
    }
    if states.checked_mul(open.len() + 1)? > cells {
        return None;
    }
    let mut before = vec![0.0_f64; states];
    let mut decisions: Vec<Vec<u16>> = Vec::with_capacity(open.len());
    for options in open {
        let mut after = vec![f64::NEG_INFINITY; states];
        let mut decision = vec![0_u16; states];
        for (number, option) in options.iter().enumerate() {
            let (stride, gpus, size, worth) = option.map_or((1, 0, 0, 0.0), |at| {
                let Choice { shape, worth, .. } = selection.choices[at];
                let gpu_type = shape.gpu_type;
                (strides[gpu_type], shape.gpus as usize, left[gpu_type] as usize + 1, worth)
            });
            if option.is_some() && gpus >= size {
                continue;
            }
            // States in which at least `gpus` of the type are left lie together within each block of the type.
            let block = if option.is_some() { stride * size } else { states };
            let skipped = stride * gpus;
            for start in (0..states).step_by(block) {
                for state in start + skipped..start + block {
                    let total = before[state - skipped] + worth;
                    if total > after[state] {
                        after[state] = total;
                        decision[state] = number as u16;
                    }
                }
            }
        }
        decisions.push(decision);
        before = after;
    }
    let mut state = states - 1;
    if before[state] == f64::NEG_INFINITY {
        return None;
    }
    let mut chosen = Vec::new();
    for (options, decision) in open.iter().zip(&decisions).rev() {
        if let Some(at) = options[usize::from(decision[state])] {
            let shape = selection.choices[at].shape;
            state -= strides[shape.gpu_type] * shape.gpus as usize;
            chosen.push(at);
        }
    }
    Some(chosen)
}

impl Solver for Exact {
    fn choose(&mut self, selection: &Selection) -> Option<Vec<usize>> {
        let prices = vec![0.0; selection.capacities.len()];
        let mut search = Search { selection, ranges: selection.ranges(), prices };
        search.find_prices();
        let greedy: Vec<usize> = search.greedy().into_iter().flatten().collect();
        let known = selection.worth(&greedy);
        // Jobs with one option left are decided; the table need not know of them.
        let mut left = selection.capacities.clone();
        let mut chosen = Vec::new();
        let mut open = Vec::new();
        for options in search.promising(known) {
            if let [option] = options[..] {
                let Some(at) = option else { continue };
                let shape = selection.choices[at].shape;
                let Some(rest) = left[shape.gpu_type].checked_sub(shape.gpus) else { return Some(greedy) };
                left[shape.gpu_type] = rest;
                chosen.push(at);
            } else {
                open.push(options);
            }
        }
        if let Some(decided) = decide(selection, &open, &left, self.cells) {
            chosen.extend(decided);
            chosen.sort_unstable();
            if selection.worth(&chosen) >= known {
                return Some(chosen);
            }
        }
        Some(greedy)
    }
}
