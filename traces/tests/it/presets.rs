//! How well presets fit the traces that they are taken from: the figures in `docs/traces.md`.

use foretell_traces::generate::{Duration, DurationLaw, GeneratorConfig, Preset, Size};
use foretell_traces::{JobRecord, open};

use crate::fixture::published;

/// A preset and its trace.
struct Source {
    config: GeneratorConfig,
    jobs: Vec<JobRecord>,
}

impl Source {
    fn read(preset: Preset, trace: &str) -> Option<Self> {
        let jobs = open(&published(trace)?, None).unwrap().collect::<Result<_, _>>().unwrap();
        Some(Self { config: preset.config(), jobs })
    }

    /// Checks a class of jobs, told by GPUs and thousandths of each: its share of jobs, and that the fit of its run
    /// times is the documented one, as ratio of means, law over trace, and as Kolmogorov-Smirnov distance.
    fn check(&self, name: &str, class: fn(u32, u32) -> bool, mean_ratio: f64, distance: f64) {
        let of_size = |size: &&Size| class(size.tasks * size.gpus_per_task, size.gpu_milli);
        let of_job = |job: &&JobRecord| class(job.tasks * job.gpus_per_task, job.gpu_milli);
        let law = self.config.sizes.iter().find(of_size).unwrap().duration.as_ref().unwrap();
        let mut run_times_s: Vec<f64> = self.jobs.iter().filter(of_job).map(|job| job.duration_s).collect();
        run_times_s.sort_by(f64::total_cmp);
        let mean_s = run_times_s.iter().sum::<f64>() / run_times_s.len() as f64;
        let measured = (law.mean_s() / mean_s, kolmogorov_smirnov(law, &run_times_s));
        let close = |value: f64, expected: f64| (value - expected).abs() < 0.0006;
        assert!(
            close(measured.0, mean_ratio) && close(measured.1, distance),
            "{name}: ratio of means {:.3}, distance {:.3}",
            measured.0,
            measured.1
        );

        let weight: f64 = self.config.sizes.iter().filter(of_size).map(|size| size.weight).sum();
        let total: f64 = self.config.sizes.iter().map(|size| size.weight).sum();
        let share = run_times_s.len() as f64 / self.jobs.len() as f64;
        assert!((weight / total - share).abs() < 1e-9, "{name}: {share} of the jobs of the trace");
    }

    /// Checks the ratio of mean GPU-seconds of a job, preset over trace.
    fn check_work(&self, ratio: f64) {
        let mean = self.jobs.iter().map(JobRecord::gpu_seconds).sum::<f64>() / self.jobs.len() as f64;
        let measured = self.config.mean_gpu_seconds() / mean;
        assert!((measured - ratio).abs() < 0.0006, "ratio of GPU-seconds {measured:.3}");
    }
}

/// Largest difference between the distribution of a law and that of sorted values.
fn kolmogorov_smirnov(law: &Duration, sorted: &[f64]) -> f64 {
    let DurationLaw::Mixture { components } = &law.law else { panic!("a preset's run times are a mixture") };
    let total: f64 = components.iter().map(|(weight, _)| weight).sum();
    let cumulative = |x: f64| {
        let below = |(weight, law): &(f64, DurationLaw)| {
            let DurationLaw::LogUniform { min_s, max_s } = law else { panic!("of log-uniform laws") };
            weight * ((x.max(1e-9) / min_s).ln() / (max_s / min_s).ln()).clamp(0.0, 1.0)
        };
        components.iter().map(below).sum::<f64>() / total
    };
    let count = sorted.len() as f64;
    let mut distance = 0.0_f64;
    let mut below = 0;
    for equals in sorted.chunk_by(|a, b| a.to_bits() == b.to_bits()) {
        let law = cumulative(equals[0]);
        let up_to = below + equals.len();
        distance = distance.max((law - below as f64 / count).abs()).max((law - up_to as f64 / count).abs());
        below = up_to;
    }
    distance
}

#[test]
fn openb_fits_its_trace() {
    let Some(source) = Source::read(Preset::Openb, "openb/openb_pod_list_default.csv.gz") else { return };
    source.check("shares", |gpus, milli| gpus == 1 && milli < 1000, 1.075, 0.021);
    source.check("single GPUs", |gpus, milli| gpus == 1 && milli == 1000, 1.030, 0.018);
    source.check("no GPU", |gpus, _| gpus == 0, 1.105, 0.114);
    source.check("2 to 8 GPUs", |gpus, _| gpus > 1, 0.935, 0.040);
    source.check_work(1.052);
}

#[test]
fn philly_fits_its_trace() {
    let Some(source) = Source::read(Preset::Philly, "philly/philly_pollux_82247jobs.csv.gz") else { return };
    source.check("1 GPU", |gpus, _| gpus == 1, 1.017, 0.047);
    source.check("2 GPUs", |gpus, _| gpus == 2, 1.028, 0.064);
    source.check("4 GPUs", |gpus, _| gpus == 4, 1.039, 0.029);
    source.check("8 GPUs", |gpus, _| gpus == 8, 1.017, 0.011);
    source.check("over 8 GPUs", |gpus, _| gpus > 8, 1.028, 0.027);
    source.check_work(1.060);
}
