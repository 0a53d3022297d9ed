//! Fits the constants of the laws on kernel timings.
//!
//! Readers turn the timings of [`vidur`], aiconfigurator (a feature of this crate) and [`llmservingsim`] into operations and bytes; [`calibrate`] fits each family on
//! relative errors and says what the error is on shapes (or models) that were held out.

#[cfg(feature = "aiconfigurator")]
pub mod aiconfigurator;
mod fit;
pub mod llmservingsim;
mod read;
pub mod vidur;

use std::collections::BTreeMap;
use std::path::Path;

pub use read::ReadError;

use crate::attention::{ChunkWork, Shape};
use crate::batch::Chunk;
use crate::calibration::{Calibration, Collective, Constants, Errors, Family};
use crate::correction::Correction;
use crate::device::Device;
use crate::link::norm;
use crate::products::ProductPoint;
use fit::{Range, least_squares};

/// One timing of a kernel.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Timing {
    /// Operations; in attention with chunks those of whole tiles.
    pub flops: f64,
    /// Bytes.
    pub bytes: f64,
    /// Attention: sequences that decode times heads (of keys and values; of queries beside a chunk).
    pub blocks: f64,
    /// Attention with chunks: tokens of the longest sequence.
    pub longest: f64,
    /// What it took.
    pub seconds: f64,
    /// Which shape or model it is of: all timings of one are held out together.
    pub shape: u64,
}

impl Timing {
    /// Of an operator that is no attention.
    pub const fn new(flops: f64, bytes: f64, seconds: f64, shape: u64) -> Self {
        Self { flops, bytes, blocks: 0.0, longest: 0.0, seconds, shape }
    }

    /// Of a matrix product in which a weight has `weight_bytes` and what is read beside it `activation_bytes`.
    pub fn product(
        (rows, inner, outer): (f64, f64, f64),
        (weight_bytes, activation_bytes): (f64, f64),
        seconds: f64,
    ) -> Self {
        let bytes = weight_bytes * inner * outer + rows * (activation_bytes * inner + 2.0 * outer);
        Self::new(2.0 * rows * inner * outer, bytes, seconds, (inner as u64) << 32 | outer as u64)
    }

    /// Rows, inner and outer size of a product.
    fn sizes(&self) -> [f64; 3] {
        let (inner, outer) = ((self.shape >> 32) as f64, (self.shape & 0xffff_ffff) as f64);
        [libm::round(self.flops / (2.0 * inner * outer)), inner, outer]
    }

    /// Of attention of `decodes` sequences with a context of `each`, alone.
    pub fn decode(shape: &Shape, decodes: u32, each: f64, seconds: f64, model: u64) -> Self {
        let decodes = f64::from(decodes);
        let mut timing = Self::new(0.0, decodes * each * shape.cached_bytes, seconds, model);
        timing.blocks = decodes * shape.kv_heads;
        timing
    }

    /// Of attention with chunks.
    pub fn chunks(
        shape: &Shape,
        chunks: &[Chunk],
        (decodes, each): (u32, f64),
        seconds: f64,
        model: u64,
    ) -> Self {
        let decoding = f64::from(decodes);
        let work = ChunkWork::new(shape, chunks, decodes, decoding * each, f64::INFINITY);
        Self {
            flops: work.flops,
            bytes: work.bytes,
            blocks: decoding * shape.heads,
            longest: work.longest,
            seconds,
            shape: model,
        }
    }
}

/// Timings of a GPU.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct Timings {
    /// By family.
    pub families: BTreeMap<Family, Vec<Timing>>,
    /// Collectives: operation, by what, GPUs; then bytes that each GPU sends, and seconds.
    pub collectives: BTreeMap<(String, String, u32), Vec<(f64, f64)>>,
}

impl Timings {
    /// Adds one.
    pub fn push(&mut self, family: Family, timing: Timing) {
        if timing.seconds > 0.0 && timing.seconds.is_finite() {
            self.families.entry(family).or_default().push(timing);
        }
    }

    /// Adds all of another.
    pub fn extend(&mut self, other: Self) {
        for (family, mut timings) in other.families {
            self.families.entry(family).or_default().append(&mut timings);
        }
        for (of, mut timings) in other.collectives {
            self.collectives.entry(of).or_default().append(&mut timings);
        }
    }
}

/// Which constants a family has beside its overhead.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// Operations, bytes, and how they overlap.
    Product,
    /// Bytes, and how many of them a cache serves.
    Moving,
    /// Bytes and blocks.
    Decode,
    /// Operations, bytes, blocks, and the walk.
    Chunks,
}

impl Form {
    const fn of(family: Family) -> Self {
        match family {
            Family::Matrix
            | Family::MatrixFp8
            | Family::MatrixFp8Block
            | Family::MatrixWeightOnly
            | Family::Experts
            | Family::ExpertsFp8 => Self::Product,
            Family::Norm
            | Family::Activation
            | Family::Rotary
            | Family::QueryKeyNorm
            | Family::Embedding
            | Family::Sampler => Self::Moving,
            Family::AttentionDecode => Self::Decode,
            Family::AttentionPrefill | Family::AttentionMixed => Self::Chunks,
        }
    }

    fn ranges(self) -> Vec<Range> {
        let range = |start, low, high| Range { start, low, high };
        let flops = range(0.6, 0.02, 1.2);
        let bytes = range(0.8, 0.05, 1.3);
        let overhead = range(6.0, 0.05, 2000.0);
        let power = range(1.5, 0.5, 8.0);
        let block = range(2.0, 1e-3, 200.0);
        match self {
            Self::Product => vec![flops, bytes, overhead, power],
            Self::Moving => vec![range(2.0, 0.02, 20.0), range(3.0, 0.05, 500.0), range(40.0, 1.0, 500.0)],
            Self::Decode => vec![bytes, overhead, block],
            Self::Chunks => {
                vec![flops, range(2.0, 0.05, 10.0), overhead, power, block, range(10.0, 1e-2, 1000.0)]
            }
        }
    }

    fn constants(self, values: &[f64]) -> Constants {
        let mut of = Constants {
            flops_share: 1.0,
            bandwidth_share: 1.0,
            overhead_us: 0.0,
            power: 1.0,
            cached_mb: 0.0,
            block_us: 0.0,
            walk_ns: 0.0,
            correction: None,
            held_out: None,
            carried_from: None,
            source: String::new(),
        };
        match (self, values) {
            (Self::Product, &[flops, bytes, overhead, power]) => {
                (of.flops_share, of.bandwidth_share, of.overhead_us, of.power) =
                    (flops, bytes, overhead, power);
            }
            (Self::Moving, &[bytes, overhead, cached]) => {
                (of.bandwidth_share, of.overhead_us, of.cached_mb) = (bytes, overhead, cached);
            }
            (Self::Decode, &[bytes, overhead, block]) => {
                (of.bandwidth_share, of.overhead_us, of.block_us) = (bytes, overhead, block);
            }
            (_, &[flops, bytes, overhead, power, block, walk]) => {
                (of.flops_share, of.bandwidth_share, of.overhead_us, of.power) =
                    (flops, bytes, overhead, power);
                (of.block_us, of.walk_ns) = (block, walk);
            }
            _ => {}
        }
        of
    }
}

/// Peaks that timings of a family are held against.
#[derive(Clone, Copy)]
struct Peaks {
    flops: f64,
    bytes_per_s: f64,
    multiprocessors: f64,
}

impl Peaks {
    fn of(device: &Device, family: Family) -> Self {
        let eight = matches!(family, Family::MatrixFp8 | Family::MatrixFp8Block | Family::ExpertsFp8);
        Self {
            flops: if eight { device.flops_8bit } else { device.flops_16bit },
            bytes_per_s: device.memory_bytes_per_s,
            multiprocessors: f64::from(device.multiprocessors),
        }
    }

    /// What is faster than the hardware was not captured whole (a cache may serve more bytes than memory, but not four times as many).
    fn can_be(&self, timing: &Timing) -> bool {
        timing.seconds > (timing.flops / (2.0 * self.flops)).max(timing.bytes / (4.0 * self.bytes_per_s))
    }

    /// What the law of a form gives for a timing.
    fn law_s(&self, form: Form, of: &Constants, timing: &Timing) -> f64 {
        let blocks = of.block_us * 1e-6 * timing.blocks / self.multiprocessors;
        match form {
            Form::Moving => of.moving_s(timing.bytes, self.bytes_per_s),
            Form::Product => {
                let seconds = of.seconds(timing.flops, timing.bytes, self.flops, self.bytes_per_s);
                let [rows, inner, outer] = timing.sizes();
                seconds * of.correction.as_ref().map_or(1.0, |of| of.factor(rows, inner, outer))
            }
            Form::Decode => {
                timing.bytes / (self.bytes_per_s * of.bandwidth_share) + blocks + of.overhead_us * 1e-6
            }
            Form::Chunks => {
                let work = timing.flops / (self.flops * of.flops_share)
                    + timing.bytes / (self.bytes_per_s * of.bandwidth_share)
                    + blocks;
                norm(work, timing.longest * of.walk_ns * 1e-9, of.power) + of.overhead_us * 1e-6
            }
        }
    }
}

/// Products of at least so many shapes tell by how much the law is off by size.
const CORRECTED_FROM: usize = 100;

/// Groups that are held out in turn.
const FOLDS: usize = 5;

/// Errors in order of size come to mean, median and ninth decile.
fn errors(mut relative: Vec<f64>) -> Errors {
    relative.sort_by(f64::total_cmp);
    let at = |share: f64| {
        let place = (share * relative.len() as f64) as usize;
        100.0 * relative.get(place.min(relative.len().saturating_sub(1))).copied().unwrap_or(0.0)
    };
    let sum: f64 = relative.iter().sum();
    let rounded = |value: f64| libm::round(value * 100.0) / 100.0;
    Errors {
        points: relative.len() as u32,
        mean_pct: rounded(100.0 * sum / relative.len().max(1) as f64),
        median_pct: rounded(at(0.5)),
        p90_pct: rounded(at(0.9)),
    }
}

/// Products of a family as measured, by efficiency (see [`Measured::products`](crate::tables::Measured::products)).
pub fn product_points(device: &Device, family: Family, timings: &[Timing]) -> Vec<ProductPoint> {
    let peaks = Peaks::of(device, family);
    let point = |timing: &Timing| {
        let [rows, inner, outer] = timing.sizes();
        ProductPoint {
            rows,
            inner,
            outer,
            ideal_s: (timing.flops / peaks.flops).max(timing.bytes / peaks.bytes_per_s),
            seconds: timing.seconds,
        }
    };
    timings.iter().filter(|timing| peaks.can_be(timing)).map(point).collect()
}

/// Constants of a family, and their error on shapes that were held out, a fifth in turn; where there is but one shape, on points.
pub fn fit_family(device: &Device, family: Family, timings: &[Timing]) -> Constants {
    let (form, peaks) = (Form::of(family), Peaks::of(device, family));
    let possible = |timing: &&Timing| form != Form::Product || peaks.can_be(timing);
    let timings: Vec<Timing> = timings.iter().filter(possible).copied().collect();
    let fitted = |on: &[&Timing]| {
        let values = least_squares(&form.ranges(), |values, into| {
            let constants = form.constants(values);
            into.extend(
                on.iter().map(|timing| libm::log(peaks.law_s(form, &constants, timing) / timing.seconds)),
            );
        });
        form.constants(&values)
    };
    let mut shapes: Vec<u64> = timings.iter().map(|timing| timing.shape).collect();
    shapes.sort_unstable();
    shapes.dedup();
    let is_product = form == Form::Product && !matches!(family, Family::Experts | Family::ExpertsFp8);
    let fitted = |on: &[&Timing]| {
        let mut constants = rounded(fitted(on));
        if is_product && shapes.len() >= CORRECTED_FROM {
            let log = |timing: &&Timing| {
                (timing.sizes(), libm::log(timing.seconds / peaks.law_s(form, &constants, timing)))
            };
            constants.correction = Some(Correction::fit(&on.iter().map(log).collect::<Vec<_>>()));
        }
        constants
    };
    let mut constants = fitted(&timings.iter().collect::<Vec<_>>());
    let fold = |index: usize, timing: &Timing| {
        if shapes.len() == 1 {
            index % FOLDS
        } else {
            shapes.binary_search(&timing.shape).unwrap_or(0) % FOLDS
        }
    };
    let folds = if shapes.len() == 1 { FOLDS } else { FOLDS.min(shapes.len()) };
    let mut relative = Vec::with_capacity(timings.len());
    for held in 0..folds {
        let is_held = |index: usize, timing: &Timing| fold(index, timing) == held;
        let rest: Vec<&Timing> = timings
            .iter()
            .enumerate()
            .filter(|&(index, timing)| !is_held(index, timing))
            .map(|(_, timing)| timing)
            .collect();
        if rest.is_empty() {
            continue;
        }
        let without = fitted(&rest);
        relative.extend(
            timings
                .iter()
                .enumerate()
                .filter(|&(index, timing)| is_held(index, timing))
                .map(|(_, timing)| (peaks.law_s(form, &without, timing) / timing.seconds - 1.0).abs()),
        );
    }
    constants.held_out = Some(errors(relative));
    if family == Family::AttentionPrefill {
        // No sequence decodes: the timings say nothing of it.
        constants.block_us = 0.0;
    }
    constants
}

/// Four digits: more are noise.
fn rounded(mut of: Constants) -> Constants {
    for value in [
        &mut of.flops_share,
        &mut of.bandwidth_share,
        &mut of.overhead_us,
        &mut of.power,
        &mut of.cached_mb,
        &mut of.block_us,
        &mut of.walk_ns,
    ] {
        *value = four_digits(*value);
    }
    of
}

fn four_digits(value: f64) -> f64 {
    if value == 0.0 {
        return 0.0;
    }
    let scale = libm::pow(10.0, 3.0 - libm::floor(libm::log10(value.abs())));
    libm::round(value * scale) / scale
}

/// Latency, bandwidth and power of a collective; errors on sizes that were held out, every fifth in turn.
fn fit_collective(of: &(String, String, u32), timings: &[(f64, f64)]) -> Collective {
    let ranges = [
        Range { start: 20.0, low: 0.5, high: 2000.0 },
        Range { start: 1e11, low: 1e8, high: 2e12 },
        Range { start: 0.9, low: 0.3, high: 4.0 },
    ];
    let law = |values: &[f64], bytes: f64| norm(values[0] * 1e-6, bytes / values[1], values[2]);
    let fitted = |on: &[(f64, f64)]| {
        least_squares(&ranges, |values, into| {
            into.extend(on.iter().map(|&(bytes, seconds)| libm::log(law(values, bytes) / seconds)));
        })
    };
    let mut relative = Vec::with_capacity(timings.len());
    for held in 0..FOLDS {
        let part = |inside: bool| -> Vec<(f64, f64)> {
            let chosen = timings.iter().enumerate().filter(|(index, _)| (index % FOLDS == held) == inside);
            chosen.map(|(_, &timing)| timing).collect()
        };
        let without = fitted(&part(false));
        relative
            .extend(part(true).iter().map(|&(bytes, seconds)| (law(&without, bytes) / seconds - 1.0).abs()));
    }
    let values = fitted(timings);
    Collective {
        operation: of.0.clone(),
        by: of.1.clone(),
        gpus: of.2,
        latency_us: four_digits(values[0]),
        bytes_per_s: four_digits(values[1]),
        power: four_digits(values[2]),
        held_out: Some(errors(relative)),
        source: String::new(),
    }
}

/// Fits every family and collective of which there are timings. Families without are missing: see [`Calibration::carry`].
pub fn calibrate(device: &Device, timings: &Timings, source: &str) -> Calibration {
    let mut families = BTreeMap::new();
    for (&family, of) in &timings.families {
        let mut constants = fit_family(device, family, of);
        source.clone_into(&mut constants.source);
        families.insert(family, constants);
    }
    let collectives = timings.collectives.iter().filter(|(_, of)| of.len() >= FOLDS).map(|(of, timings)| {
        let mut collective = fit_collective(of, timings);
        source.clone_into(&mut collective.source);
        collective
    });
    let collectives = collectives.collect();
    Calibration { device: device.clone(), families, collectives }
}

/// Reads all timings of a GPU in a folder, of whatever kind they are, and fits them. `hardware` is what the tables call the GPU.
///
/// Files that begin with `HARDWARE__` are [`llmservingsim`]'s, `HARDWARE_*.parquet` aiconfigurator's (with the feature of that name; an error
/// without); all else is read as [`vidur`]'s. Tables may be compressed or not.
pub fn calibrate_folder(
    folder: &Path,
    hardware: &str,
    device: &Device,
    source: &str,
) -> Result<Calibration, ReadError> {
    Ok(calibrate(device, &read_folder(folder, hardware)?, source))
}

/// All timings of a GPU in a folder, as of [`calibrate_folder`].
pub fn read_folder(folder: &Path, hardware: &str) -> Result<Timings, ReadError> {
    let names = read::names(folder)?;
    let begins =
        |start: &str, end: &str| names.iter().any(|name| name.starts_with(start) && name.ends_with(end));
    let profile = format!("{hardware}__");
    if begins(&profile, ".csv.gz") || begins(&profile, ".csv") {
        return llmservingsim::timings(folder, hardware);
    }
    if begins(&format!("{hardware}_"), ".parquet") {
        #[cfg(feature = "aiconfigurator")]
        return aiconfigurator::timings(folder, hardware);
        #[cfg(not(feature = "aiconfigurator"))]
        return Err(ReadError::NotBuilt { path: folder.to_owned() });
    }
    vidur::timings(folder, hardware)
}

/// A fitted walk below this is none.
const SPLIT_WALK_NS: f64 = 1.0;

impl Calibration {
    /// Takes over families that are missing from another GPU: the shares of its peaks, and its overheads; which kernels a library chooses by size
    /// only where both compute alike. Where attention of chunks alone was timed on both, attention of mixed batches follows it: its share of the
    /// peak, and what blocks cost, by how fast they walk (not where a kernel splits them, so that none walks alone).
    pub fn carry(&mut self, from: &Self) {
        let alone = |of: &Self| {
            let of = of.families.get(&Family::AttentionPrefill)?;
            (of.walk_ns > SPLIT_WALK_NS).then_some((of.flops_share, of.walk_ns))
        };
        let (share, pace) = match (alone(self), alone(from)) {
            (Some((share, walk)), Some((other_share, other_walk))) => {
                (share / other_share, walk / other_walk)
            }
            _ => (1.0, 1.0),
        };
        for (&family, constants) in &from.families {
            if self.families.contains_key(&family) {
                continue;
            }
            let origin = constants.carried_from.clone().unwrap_or_else(|| from.device.name.clone());
            let mut carried = Constants { carried_from: Some(origin), held_out: None, ..constants.clone() };
            if self.device.flops_16bit.to_bits() != from.device.flops_16bit.to_bits() {
                carried.correction = None;
            }
            if family == Family::AttentionMixed {
                carried.flops_share *= share;
                carried.walk_ns *= pace;
                carried.block_us *= pace;
            }
            self.families.insert(family, rounded(carried));
        }
    }
}
