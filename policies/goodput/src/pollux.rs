//! Pollux (OSDI'21): a genetic search over which job has how many GPUs of which node.

use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;

use crate::{JobView, Placement, Shape, restart_factor};

/// Pollux' policy: the harmonic mean of speed-ups is maximised, with at most one job that spans nodes on each node, for two
/// would slow each other's exchange of gradients. It takes all GPUs for alike: goodput is looked up for type 0. Section 4.2 of
/// the paper.
#[derive(Clone, Debug)]
pub struct Pollux {
    /// Allocations that are kept from generation to generation.
    pub population: usize,
    /// Generations per round.
    pub generations: usize,
    /// The allocations of the last round, and its jobs, in the order of their rows.
    kept: Vec<Genome>,
    kept_jobs: Vec<u64>,
    kept_nodes: usize,
}

/// GPUs per job and node, job by job.
type Genome = Vec<u8>;

/// What stands for the speed-up of a job without GPUs: zero has no reciprocal. The paper is silent.
const SPEEDUP_LEAST: f64 = 0.01;

impl Default for Pollux {
    /// The paper's settings: 100 allocations, 100 generations.
    fn default() -> Self {
        Self::new(100, 100)
    }
}

/// The terms of the mean of speed-ups, by row of a genome.
struct Terms {
    gpus_least: usize,
    gpus_most: usize,
    /// By nodes and GPUs: the term where the row is not the current one.
    by_shape: Vec<f64>,
    /// The term of the current row.
    kept: f64,
}

impl Terms {
    fn new(job: &JobView<'_>, nodes: usize, largest_node: u32, fair: Shape) -> Self {
        let term = |speedup: f64| -1.0 / speedup.max(SPEEDUP_LEAST);
        let gpus_most = job.gpus_most as usize;
        // What one GPU does stands for a fair share with which the job cannot run.
        let fair = job.goodput.goodput(fair);
        let one = job.goodput.goodput(Shape { gpu_type: 0, gpus: job.gpus_least.max(1), nodes: 1 });
        let unit = if fair > 0.0 { fair } else { one };
        let speedup = |nodes: usize, gpus: usize| {
            let shape = Shape { gpu_type: 0, gpus: gpus as u32, nodes: nodes as u32 };
            if unit > 0.0 { job.goodput.goodput(shape) / unit } else { 0.0 }
        };
        let factor =
            if job.current.is_empty() { 1.0 } else { restart_factor(job.age_s, job.restarts, job.restart_s) };
        // Each node that it uses gives it a GPU at least.
        let nodes_most = nodes.min(gpus_most);
        let mut by_shape = vec![term(0.0); (nodes_most + 1) * (gpus_most + 1)];
        for used in 1..=nodes_most {
            let most = gpus_most.min(used * largest_node as usize);
            for gpus in used.max(job.gpus_least as usize)..=most {
                by_shape[used * (gpus_most + 1) + gpus] = term(factor * speedup(used, gpus));
            }
        }
        let current: usize = job.current.iter().map(|&(_, gpus)| gpus as usize).sum();
        let kept = term(speedup(job.current.len(), current));
        Self { gpus_least: job.gpus_least as usize, gpus_most, by_shape, kept }
    }
}

/// One round's search.
struct Search<'a> {
    nodes: &'a [u32],
    terms: Vec<Terms>,
    base: Genome,
    draw: &'a mut dyn FnMut(usize) -> usize,
}

impl Search<'_> {
    /// The sum of the terms: the mean of speed-ups rises with it.
    fn fitness(&self, genome: &Genome) -> f64 {
        let width = self.nodes.len();
        let rows = genome.chunks_exact(width).zip(self.base.chunks_exact(width)).zip(&self.terms);
        let term = |((row, base), terms): ((&[u8], &[u8]), &Terms)| {
            if row == base {
                return terms.kept;
            }
            let nodes = row.iter().filter(|&&gpus| gpus > 0).count();
            let gpus: usize = row.iter().map(|&gpus| usize::from(gpus)).sum();
            terms.by_shape[nodes * (terms.gpus_most + 1) + gpus]
        };
        rows.map(term).sum()
    }

    /// Sets one in as many cells as there are nodes, on average, to a random number of GPUs.
    fn mutate(&mut self, genome: &mut Genome) {
        let width = self.nodes.len();
        let mut at = (self.draw)(2 * width);
        while at < genome.len() {
            let most = self.terms[at / width].gpus_most.min(self.nodes[at % width] as usize);
            genome[at] = (self.draw)(most + 1) as u8;
            // Gaps are uniform with the mean that independent cells would have.
            at += 1 + (self.draw)(2 * width - 1);
        }
    }

    /// Rows of one parent up to a cut, of the other from there.
    fn cross(&mut self, one: &Genome, other: &Genome) -> Genome {
        let width = self.nodes.len();
        let cut = (self.draw)(self.terms.len() + 1) * width;
        let mut child = Vec::with_capacity(one.len());
        child.extend_from_slice(&one[..cut]);
        child.extend_from_slice(&other[cut..]);
        child
    }

    /// Makes an allocation legal: takes GPUs away from random jobs.
    fn repair(&mut self, genome: &mut Genome) {
        let width = self.nodes.len();
        let jobs = self.terms.len();
        for (row, terms) in genome.chunks_exact_mut(width).zip(&self.terms) {
            let gpus: usize = row.iter().map(|&gpus| usize::from(gpus)).sum();
            let mut excess = gpus.saturating_sub(terms.gpus_most);
            if excess > 0 {
                let start = (self.draw)(width);
                for step in 0..width {
                    let cell = &mut row[(start + step) % width];
                    let taken = usize::from(*cell).min(excess);
                    *cell -= taken as u8;
                    excess -= taken;
                }
            }
        }
        self.separate(genome);
        for node in 0..width {
            let used: usize = (0..jobs).map(|job| usize::from(genome[job * width + node])).sum();
            let mut excess = used.saturating_sub(self.nodes[node] as usize);
            if excess > 0 {
                let start = (self.draw)(jobs);
                for step in 0..jobs {
                    let cell = &mut genome[(start + step) % jobs * width + node];
                    let taken = usize::from(*cell).min(excess);
                    *cell -= taken as u8;
                    excess -= taken;
                }
            }
        }
        for (row, terms) in genome.chunks_exact_mut(width).zip(&self.terms) {
            let gpus: usize = row.iter().map(|&gpus| usize::from(gpus)).sum();
            if gpus < terms.gpus_least {
                row.fill(0);
            }
        }
    }

    /// Leaves each node to one of the jobs that span nodes, beside those that do not.
    fn separate(&mut self, genome: &mut Genome) {
        let width = self.nodes.len();
        let jobs = self.terms.len();
        let spans = |row: &[u8]| row.iter().filter(|&&gpus| gpus > 0).count() > 1;
        let mut spanning: Vec<usize> =
            (0..jobs).filter(|&job| spans(&genome[job * width..(job + 1) * width])).collect();
        if spanning.len() < 2 {
            return;
        }
        for node in 0..width {
            let start = (self.draw)(spanning.len());
            let mut is_taken = false;
            for step in 0..spanning.len() {
                let job = spanning[(start + step) % spanning.len()];
                let cell = &mut genome[job * width + node];
                if *cell > 0 && core::mem::replace(&mut is_taken, true) {
                    *cell = 0;
                }
            }
            spanning.retain(|&job| spans(&genome[job * width..(job + 1) * width]));
            if spanning.len() < 2 {
                return;
            }
        }
    }
}

impl Pollux {
    /// A search of this size.
    pub fn new(population: usize, generations: usize) -> Self {
        Self {
            population: population.max(2),
            generations,
            kept: Vec::new(),
            kept_jobs: Vec::new(),
            kept_nodes: 0,
        }
    }

    /// Where each job runs in the coming round. `nodes` are the GPUs of each node, at most 255; `draw(n)` is a random number below `n`. The
    /// search goes on from the allocations of the round before.
    pub fn allocate(
        &mut self,
        nodes: &[u32],
        jobs: &[JobView<'_>],
        draw: &mut dyn FnMut(usize) -> usize,
    ) -> Vec<Placement> {
        if jobs.is_empty() || nodes.is_empty() {
            return vec![Placement::new(); jobs.len()];
        }
        let width = nodes.len();
        let mut base = vec![0; jobs.len() * width];
        for (row, job) in base.chunks_exact_mut(width).zip(jobs) {
            for &(node, gpus) in job.current {
                row[node] = gpus as u8;
            }
        }
        let fair = fair_share(nodes, jobs.len());
        let largest_node = nodes.iter().copied().max().unwrap_or(0);
        let terms = jobs.iter().map(|job| Terms::new(job, width, largest_node, fair)).collect();
        let mut search = Search { nodes, terms, base, draw };

        let mut population = self.first_population(jobs, &mut search);
        for _ in 0..self.generations {
            let parents = population.len();
            for _ in 0..self.population {
                let (one, other) = (tournament(parents, search.draw), tournament(parents, search.draw));
                let mut child = search.cross(&population[one].1, &population[other].1);
                search.mutate(&mut child);
                search.repair(&mut child);
                population.push((search.fitness(&child), child));
            }
            self.survive(&mut population);
        }
        let best = population[0].1.clone();
        self.kept = population.into_iter().map(|(_, genome)| genome).collect();
        self.kept_jobs = jobs.iter().map(|job| job.id).collect();
        self.kept_nodes = width;
        let placement = |row: &[u8]| {
            let used = row.iter().enumerate().filter(|&(_, &gpus)| gpus > 0);
            used.map(|(node, &gpus)| (node, u32::from(gpus))).collect()
        };
        best.chunks_exact(width).map(placement).collect()
    }

    /// The current allocation and those kept, with rows of jobs that are gone left out and of new jobs empty.
    fn first_population(&self, jobs: &[JobView<'_>], search: &mut Search<'_>) -> Vec<(f64, Genome)> {
        let width = search.nodes.len();
        let mut genomes = vec![search.base.clone()];
        search.repair(&mut genomes[0]);
        if self.kept_nodes == width {
            let rows: BTreeMap<u64, usize> =
                self.kept_jobs.iter().enumerate().map(|(row, &id)| (id, row)).collect();
            let old_rows: Vec<Option<usize>> = jobs.iter().map(|job| rows.get(&job.id).copied()).collect();
            for kept in &self.kept {
                let mut genome = vec![0; jobs.len() * width];
                for (row, old) in genome.chunks_exact_mut(width).zip(&old_rows) {
                    if let Some(old) = old {
                        row.copy_from_slice(&kept[old * width..(old + 1) * width]);
                    }
                }
                search.repair(&mut genome);
                genomes.push(genome);
            }
        }
        let mut population: Vec<(f64, Genome)> =
            genomes.into_iter().map(|genome| (search.fitness(&genome), genome)).collect();
        self.survive(&mut population);
        population
    }

    /// Keeps the fittest, each once.
    fn survive(&self, population: &mut Vec<(f64, Genome)>) {
        population.sort_by(|one, other| other.0.total_cmp(&one.0));
        population.dedup();
        population.truncate(self.population);
    }
}

/// The better of two: the population is sorted.
fn tournament(parents: usize, draw: &mut dyn FnMut(usize) -> usize) -> usize {
    draw(parents).min(draw(parents))
}

/// What each of so many jobs would have if the GPUs were divided equally, on as few nodes as hold it.
fn fair_share(nodes: &[u32], jobs: usize) -> Shape {
    let total: u32 = nodes.iter().sum();
    let gpus = (total / jobs as u32).max(1);
    let largest = nodes.iter().copied().max().unwrap_or(1).max(1);
    Shape { gpu_type: 0, gpus, nodes: gpus.div_ceil(largest) }
}
