//! Which pending-set structure the engine should use, measured with the hold model (Jones, CACM 1986): with `n` events
//! pending, pop one and schedule one a random increment later.
//!
//! `cargo bench --bench event_queue` runs everything, `-- 'hold exponential/.*/1000$'` a part. An element is one
//! schedule and one pop. The candidates do without cancellation and assertions, which the engine's queue has.

mod calendar;
mod heaps;

use std::hint::black_box;
use std::time::Duration;

use calendar::CalendarQueue;
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use foretell_sim::engine::{Classed, EventHandle, EventQueue, Time};
use heaps::{DaryHeap, PackedHeap, StdHeap};

/// The size of the simulator's own events, or a little more.
#[derive(Clone, Copy)]
struct Payload([u64; 2]);

impl Classed for Payload {
    fn class(&self) -> u8 {
        (self.0[0] % 4) as u8
    }
}

trait PendingSet: Default {
    fn schedule(&mut self, time: u64, payload: Payload);
    fn pop(&mut self) -> Option<(u64, Payload)>;
}

impl PendingSet for EventQueue<Payload> {
    fn schedule(&mut self, time: u64, payload: Payload) {
        Self::schedule(self, Time::from_nanos(time), payload);
    }

    fn pop(&mut self) -> Option<(u64, Payload)> {
        Self::pop(self).map(|(time, payload)| (time.as_nanos(), payload))
    }
}

/// The engine's queue with every event cancellable.
#[derive(Default)]
struct Cancellable(EventQueue<Payload>);

impl PendingSet for Cancellable {
    fn schedule(&mut self, time: u64, payload: Payload) {
        self.0.schedule_cancellable(Time::from_nanos(time), payload);
    }

    fn pop(&mut self) -> Option<(u64, Payload)> {
        PendingSet::pop(&mut self.0)
    }
}

/// How far ahead an event is scheduled, in nanoseconds.
#[derive(Clone, Copy)]
enum Increment {
    /// Mean one second.
    Exponential,
    /// Nine in ten of mean one millisecond, the others of mean ten seconds: iterations and jobs.
    Bimodal,
    /// Three in four at the same instant, the others of mean one second: controllers that tell each other.
    Bursts,
}

const QUANTILES: usize = 1024;

/// Increments at about a nanosecond a draw, so that the queue is what is measured.
struct Increments {
    kind: Increment,
    state: u64,
    /// Quantiles of the exponential distribution of mean one, between which a draw is interpolated.
    quantiles: Vec<f64>,
}

impl Increments {
    fn new(kind: Increment) -> Self {
        // The last stands for the tail, whose quantile at one is infinite.
        let above = |index| {
            if index < QUANTILES { 1.0 - index as f64 / QUANTILES as f64 } else { 0.25 / QUANTILES as f64 }
        };
        let quantiles = (0..=QUANTILES).map(|index| -f64::ln(above(index))).collect();
        Self { kind, state: 1, quantiles }
    }

    /// `SplitMix64` (Steele, Lea and Flood, OOPSLA 2014).
    fn draw(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn next(&mut self) -> u64 {
        let bits = self.draw();
        let mean_ns = match self.kind {
            Increment::Bimodal if (bits >> 10) % 10 < 9 => 1e6,
            Increment::Bimodal => 1e10,
            Increment::Bursts if (bits >> 10) % 4 < 3 => return 0,
            Increment::Exponential | Increment::Bursts => 1e9,
        };
        let index = bits as usize % QUANTILES;
        let fraction = (bits >> 40) as f64 / f64::from(1 << 24);
        let (low, high) = (self.quantiles[index], self.quantiles[index + 1]);
        ((low + fraction * (high - low)) * mean_ns) as u64
    }
}

/// A queue in the steady state of the hold model. The exponential distribution has no memory, so filling with it starts
/// there; one turnover lets the structure itself settle.
fn settled<Q: PendingSet>(pending: u64, increments: &mut Increments) -> Q {
    let mut queue = Q::default();
    for index in 0..pending {
        queue.schedule(increments.next(), Payload([index, 0]));
    }
    for _ in 0..pending {
        hold(&mut queue, increments);
    }
    queue
}

fn hold<Q: PendingSet>(queue: &mut Q, increments: &mut Increments) {
    let (time, payload) = queue.pop().expect("the hold model never drains");
    queue.schedule(time + increments.next(), black_box(payload));
}

fn bench_hold<Q: PendingSet>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    kind: Increment,
    pending: u64,
) {
    let mut state = None;
    group.bench_function(format!("{name}/{pending}"), |bencher| {
        let (queue, increments) = state.get_or_insert_with(|| {
            let mut increments = Increments::new(kind);
            (settled::<Q>(pending, &mut increments), increments)
        });
        bencher.iter(|| hold(queue, increments));
    });
}

fn bench_candidates(group: &mut BenchmarkGroup<'_, WallTime>, kind: Increment, sizes: &[u64]) {
    for &pending in sizes {
        bench_hold::<EventQueue<Payload>>(group, "engine (wheel)", kind, pending);
        bench_hold::<Cancellable>(group, "engine (wheel), cancellable", kind, pending);
        bench_hold::<StdHeap>(group, "binary heap", kind, pending);
        bench_hold::<DaryHeap<4>>(group, "4-ary heap", kind, pending);
        bench_hold::<DaryHeap<8>>(group, "8-ary heap", kind, pending);
        bench_hold::<PackedHeap>(group, "4-ary heap, payload apart", kind, pending);
        bench_hold::<CalendarQueue>(group, "calendar queue", kind, pending);
    }
}

/// Pop one and move one: cancel it and schedule it elsewhere, as when a rate changes and a completion moves.
fn bench_cancel(group: &mut BenchmarkGroup<'_, WallTime>, pending: usize) {
    let mut increments = Increments::new(Increment::Exponential);
    let mut queue = EventQueue::default();
    let mut schedule = |queue: &mut EventQueue<Payload>, now: Time, index: usize| -> EventHandle {
        let time = now + Time::from_nanos(increments.next());
        queue.schedule_cancellable(time, Payload([index as u64, 0]))
    };
    let mut handles: Vec<_> = (0..pending).map(|index| schedule(&mut queue, Time::ZERO, index)).collect();
    let mut victim = 0;
    group.bench_function(format!("engine (wheel)/{pending}"), |bencher| {
        bencher.iter(|| {
            let (now, payload) = queue.pop().expect("every event popped is scheduled again");
            let popped = payload.0[0] as usize;
            handles[popped] = schedule(&mut queue, now, popped);
            victim = (victim + 1) % pending;
            assert!(queue.cancel(handles[victim]), "every handle kept is of a pending event");
            handles[victim] = schedule(&mut queue, now, victim);
        });
    });
}

fn event_queue(criterion: &mut Criterion) {
    let groups: [(&str, Increment, &[u64]); 3] = [
        ("hold exponential", Increment::Exponential, &[1_000, 10_000, 100_000, 1_000_000, 10_000_000]),
        ("hold bimodal", Increment::Bimodal, &[1_000, 100_000]),
        ("hold bursts", Increment::Bursts, &[1_000, 100_000]),
    ];
    for (name, kind, sizes) in groups {
        let mut group = criterion.benchmark_group(name);
        configure(&mut group);
        bench_candidates(&mut group, kind, sizes);
    }
    let mut group = criterion.benchmark_group("hold and move one");
    configure(&mut group);
    for pending in [1_000, 100_000] {
        bench_cancel(&mut group, pending);
    }
}

/// Few long samples: a turn of the wheel or a resize of the calendar must fall inside each.
fn configure(group: &mut BenchmarkGroup<'_, WallTime>) {
    group
        .throughput(Throughput::Elements(1))
        .sampling_mode(SamplingMode::Flat)
        .sample_size(10)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(3));
}

criterion_group!(benches, event_queue);
criterion_main!(benches);
