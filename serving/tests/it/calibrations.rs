//! Calibrations in the catalogue, and what fits them.

use std::path::PathBuf;

use foretell_serving::attention::Shape;
use foretell_serving::calibrate::{Timing, Timings, calibrate_folder, fit_family, llmservingsim};
use foretell_serving::calibration::{CalibrationError, Family};
use foretell_serving::tables::{AttentionGrid, AttentionPoint};
use foretell_serving::{
    AnalyticLaw, Batch, Calibration, Chunk, Link, LinkKind, Model, Options, Parallelism, StepLaw,
};

/// The data folder, if it is there.
fn data() -> Option<PathBuf> {
    let named = std::env::var_os("FORETELL_DATA").map(PathBuf::from);
    let beside = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data"));
    named.into_iter().chain([beside]).map(|folder| folder.join("serving")).find(|folder| folder.is_dir())
}

/// The data folder, or the test says that it was skipped.
macro_rules! data_or_skip {
    () => {
        match data() {
            Some(folder) => folder,
            None => {
                eprintln!("skipped: no data folder (FORETELL_DATA, or ../shared/data beside the checkout)");
                return;
            }
        }
    };
}

#[test]
fn all_gpus_are_there_and_say_where_their_constants_come_from() {
    assert_eq!(
        Calibration::names(),
        ["a100", "a30", "a40", "b200", "h100", "h200", "l40s", "rtx-4090", "rtx-pro-6000"]
    );
    for name in Calibration::names() {
        let calibration = Calibration::named(name).unwrap();
        assert_eq!(calibration.device.name, name);
        for (family, of) in &calibration.families {
            let known = of.carried_from.is_some() || of.held_out.is_some() || of.source.contains("elsewhere");
            assert!(known && !of.source.is_empty(), "{name}, {}", family.name());
        }
        let again = Calibration::from_toml(&calibration.to_toml().unwrap()).unwrap();
        assert_eq!(again, calibration);
    }
}

/// Errors on shapes that were held out are no worse than what the reference (5.2, 5.3) has on what was fitted, with a little room.
#[test]
fn errors_are_as_good_as_can_be_had() {
    for (name, family, at_most) in [
        ("a100", Family::Matrix, 7.3),
        ("h100", Family::Matrix, 5.8),
        ("h100", Family::MatrixFp8, 12.2),
        ("h100", Family::MatrixFp8Block, 11.0),
        ("a40", Family::Matrix, 7.5),
        ("rtx-pro-6000", Family::Matrix, 9.0),
        ("rtx-pro-6000", Family::AttentionDecode, 7.5),
        ("rtx-pro-6000", Family::AttentionPrefill, 10.6),
        ("rtx-pro-6000", Family::AttentionMixed, 15.7),
        ("rtx-4090", Family::AttentionMixed, 14.6),
        ("h100", Family::AttentionDecode, 11.4),
        ("h100", Family::AttentionPrefill, 13.6),
    ] {
        let calibration = Calibration::named(name).unwrap();
        let held_out = calibration.of(family).unwrap().held_out.unwrap();
        assert!(held_out.mean_pct <= at_most, "{name}, {}: {}", family.name(), held_out.mean_pct);
    }
}

#[test]
fn errors_of_a_calibration_name_what_is_wrong() {
    let text = Calibration::named("a100").unwrap().to_toml().unwrap();
    let without = text.replace("[families.sampler", "[families.experts-fp8");
    let error = Calibration::from_toml(&without).unwrap_err();
    assert_eq!(error.to_string(), "calibration of a100: the family `sampler` is missing");
    let mut changed = Calibration::named("a100").unwrap();
    changed.families.get_mut(&Family::Matrix).unwrap().flops_share = 0.0;
    let error = Calibration::from_toml(&changed.to_toml().unwrap()).unwrap_err();
    assert_eq!(error.to_string(), "calibration of a100: `matrix`: `flops_share` = 0 should be above 0");
    assert!(matches!(Calibration::named("abacus"), Err(CalibrationError::Unknown { .. })));
}

/// Timings made by a law give that law back, and no error on what was held out.
#[test]
fn a_law_is_found_again() {
    let device = Calibration::named("a100").unwrap().device;
    let mut truth = Calibration::named("a100").unwrap().of(Family::Matrix).unwrap().clone();
    (truth.flops_share, truth.bandwidth_share, truth.overhead_us, truth.power) = (0.7, 0.8, 5.0, 1.5);
    let mut timings = Vec::new();
    for size in [1024.0, 2048.0, 4096.0, 5120.0, 8192.0, 14336.0] {
        for rows in [1.0, 4.0, 16.0, 64.0, 256.0, 1024.0, 4096.0] {
            let mut timing = Timing::product((rows, size, 4096.0), (2.0, 2.0), 1.0);
            timing.seconds =
                truth.seconds(timing.flops, timing.bytes, device.flops_16bit, device.memory_bytes_per_s);
            timings.push(timing);
        }
    }
    let found = fit_family(&device, Family::Matrix, &timings);
    assert!((found.flops_share - 0.7).abs() < 0.002, "{found:?}");
    assert!((found.bandwidth_share - 0.8).abs() < 0.002, "{found:?}");
    assert!((found.overhead_us - 5.0).abs() < 0.05, "{found:?}");
    assert!(found.held_out.unwrap().mean_pct < 0.1, "{found:?}");
    // A timing that the hardware cannot reach is left out.
    let mut wrong = timings[6];
    wrong.seconds *= 1e-4;
    timings.push(wrong);
    let kept = fit_family(&device, Family::Matrix, &timings);
    assert_eq!(kept.held_out.unwrap().points, found.held_out.unwrap().points);
}

/// The calibration that ships is what the fit gives on the data folder.
#[test]
fn the_catalogue_is_what_the_timings_give() {
    let folder = data_or_skip!();
    for (name, tables, hardware) in
        [("rtx-4090", "llmservingsim-profiles", "RTX4090"), ("a30", "a30-qwen2-7b-vidur-fork", "a30")]
    {
        let shipped = Calibration::named(name).unwrap();
        let fitted = calibrate_folder(&folder.join(tables), hardware, &shipped.device, "").unwrap();
        assert!(fitted.families.len() >= 7);
        for (family, of) in &fitted.families {
            let known = shipped.of(*family).unwrap();
            assert_eq!(
                (of.flops_share, of.held_out),
                (known.flops_share, known.held_out),
                "{name} {}",
                family.name()
            );
        }
    }
}

/// Lines between points of the grid against the points that are not on it.
#[test]
fn the_grid_of_attention_holds_between_its_points() {
    let folder = data_or_skip!().join("llmservingsim-profiles");
    for (model, at_most, bias_at_most) in
        [("meta-llama__Llama-3.1-8B__bf16__tp1", 0.035, 0.01), ("Qwen__Qwen3-32B__bf16__tp2", 0.05, 0.035)]
    {
        let path = folder.join(format!("RTXPRO6000__{model}__attention.csv.gz"));
        let points = llmservingsim::attention_points(&path).unwrap();
        let grid = AttentionGrid::new(&points).unwrap();
        let (mut sum, mut signed, mut count) = (0.0, 0.0, 0.0);
        for &([tokens, before, decodes, each], seconds) in &points {
            let on_grid = [tokens, before, each].iter().all(|value| *value == 0 || value.is_power_of_two());
            if tokens == 0 || decodes == 0 {
                continue;
            }
            let [tokens, before, decodes, each] = [tokens, before, decodes, each].map(f64::from);
            let error = grid.mixed_s(tokens, before, decodes, each) / seconds - 1.0;
            if on_grid {
                assert!(error.abs() < 1e-9);
            } else {
                sum += error.abs();
                signed += error;
                count += 1.0;
            }
        }
        assert!(count > 8000.0);
        assert!(sum / count < at_most, "{model}: {}", sum / count);
        assert!((signed / count).abs() < bias_at_most, "{model}: {}", signed / count);
    }
}

/// What was measured of a model in place of the law: iterations of both differ by what the law is off, no more.
#[test]
fn the_law_agrees_with_what_was_measured() {
    let folder = data_or_skip!().join("llmservingsim-profiles");
    let link = Link::additive(LinkKind::Pcie, 16e9, 20e-6);
    let calibration = Calibration::named("rtx-pro-6000").unwrap();
    for (name, tensor) in
        [("meta-llama/Llama-3.1-8B", 1), ("Qwen/Qwen3-32B", 2), ("Qwen/Qwen3-30B-A3B-Instruct-2507", 1)]
    {
        let model = Model::named(name).unwrap();
        let split = Parallelism::tensor(tensor);
        let measured = llmservingsim::measured(&folder, "RTXPRO6000", name, "bf16", tensor).unwrap();
        assert!(measured.attention.is_some() && measured.operators.len() >= 9);
        let options = Options { max_tokens: 2048, max_sequences: 128, ..Options::default() };
        let exact =
            AnalyticLaw::with_measured(&model, split, &calibration, &link, &options, &measured).unwrap();
        let law = AnalyticLaw::new(&model, split, &calibration, &link, &options).unwrap();
        for (decodes, each, chunks) in [
            (4, 100, vec![]),
            (16, 1000, vec![]),
            (128, 700, vec![]),
            (0, 0, vec![Chunk { tokens: 2048, context_tokens: 0 }]),
            (64, 700, vec![Chunk { tokens: 500, context_tokens: 300 }]),
            (
                64,
                700,
                vec![Chunk { tokens: 500, context_tokens: 0 }, Chunk { tokens: 700, context_tokens: 0 }],
            ),
        ] {
            let batch = Batch {
                decodes,
                decode_tokens: 1,
                decode_context_tokens: u64::from(decodes * each),
                chunks: &chunks,
                sampled: decodes,
            };
            let ratio = law.stage_ns(&batch, 0) / exact.stage_ns(&batch, 0);
            assert!((0.85..1.15).contains(&ratio), "{name}: {batch:?}: {ratio}");
        }
        let batch = Batch { decodes: 77, decode_context_tokens: 77_123, sampled: 77, ..Batch::default() };
        assert_eq!(exact.decode_ns(77, 77_123).to_bits(), exact.stage_ns(&batch, 0).to_bits());
    }
}

/// Every profile has the grid of attention, and stands in for the law.
#[test]
fn every_profile_can_be_read() {
    let folder = data_or_skip!().join("llmservingsim-profiles");
    for (hardware, name, tensor, experts) in [
        ("RTX4090", "meta-llama/Llama-3.1-8B", 1, false),
        ("RTXPRO6000", "meta-llama/Llama-3.1-8B", 1, false),
        ("RTXPRO6000", "meta-llama/Llama-3.1-8B", 2, false),
        ("RTXPRO6000", "Qwen/Qwen3-32B", 1, false),
        ("RTXPRO6000", "Qwen/Qwen3-32B", 2, false),
        ("RTXPRO6000", "Qwen/Qwen3-30B-A3B-Instruct-2507", 1, true),
    ] {
        let measured = llmservingsim::measured(&folder, hardware, name, "bf16", tensor).unwrap();
        let grid = measured.attention.as_ref().unwrap();
        assert_eq!(measured.experts.is_some(), experts);
        // More context takes longer, everywhere.
        for decodes in [1.0, 5.0, 100.0, 200.0] {
            let at = |context| grid.mixed_s(300.0, 100.0, decodes, context);
            assert!(at(4000.0) > at(2000.0) && at(2000.0) > 0.0, "{hardware} {name} {tensor} {decodes}");
        }
    }
}

#[test]
fn a_grid_with_holes_is_none() {
    let whole: Vec<AttentionPoint> = [0, 16, 32]
        .iter()
        .flat_map(|&tokens| [0, 16].map(|before| (tokens, before)))
        .flat_map(|(tokens, before)| [0, 1, 2].map(|decodes| (tokens, before, decodes)))
        .flat_map(|(tokens, before, decodes)| [0, 16, 32].map(|each| ([tokens, before, decodes, each], 1e-5)))
        .filter(|&([tokens, before, decodes, each], _)| {
            (decodes > 0) == (each > 0) && (tokens > 0 || before == 0)
        })
        .collect();
    assert!(AttentionGrid::new(&whole).is_some());
    for hole in [[16, 16, 2, 32], [32, 0, 0, 0], [0, 0, 1, 16]] {
        let rest: Vec<AttentionPoint> = whole.iter().copied().filter(|(at, _)| *at != hole).collect();
        assert!(AttentionGrid::new(&rest).is_none(), "{hole:?}");
    }
}

#[test]
fn timings_that_are_no_times_are_left_out() {
    let mut timings = Timings::default();
    let shape = Shape::new(&Model::named("llama-3.1-8b").unwrap(), 1, 2.0);
    for seconds in [0.0, f64::NAN, -1.0, 1e-5] {
        timings.push(Family::AttentionDecode, Timing::decode(&shape, 1, 16.0, seconds, 0));
    }
    assert_eq!(timings.families[&Family::AttentionDecode].len(), 1);
}

/// Products as measured, by efficiency: on rows that were held out, and on shapes.
#[cfg(feature = "aiconfigurator")]
#[test]
fn products_by_efficiency() {
    use foretell_serving::calibrate::{aiconfigurator, product_points};
    use foretell_serving::products::{ProductPoint, ProductTable};
    let folder = data_or_skip!().join("aiconfigurator-silicon");
    for (name, system, family, rows_at_most, shapes_at_most) in [
        ("a100", "a100_sxm", Family::Matrix, 0.085, 0.065),
        ("h100", "h100_sxm", Family::Matrix, 0.06, 0.05),
        ("h100", "h100_sxm", Family::MatrixFp8, 0.05, 0.05),
    ] {
        let timings = aiconfigurator::timings(&folder, system).unwrap();
        let device = Calibration::named(name).unwrap().device;
        let points = product_points(&device, family, &timings.families[&family]);
        let mean = |held: &dyn Fn(&ProductPoint) -> bool| {
            let rest: Vec<ProductPoint> = points.iter().copied().filter(|point| !held(point)).collect();
            let table = ProductTable::new(&rest);
            let held: Vec<&ProductPoint> = points.iter().filter(|point| held(point)).collect();
            let error = |point: &&ProductPoint| {
                let efficiency = table.efficiency(point.rows, point.inner, point.outer).unwrap();
                (point.ideal_s / efficiency / point.seconds - 1.0).abs()
            };
            held.iter().map(error).sum::<f64>() / held.len() as f64
        };
        let mut rows: Vec<u64> = points.iter().map(|point| point.rows as u64).collect();
        rows.sort_unstable();
        rows.dedup();
        let every_second = mean(&|point| rows.binary_search(&(point.rows as u64)).unwrap() % 2 == 1);
        let of_shapes =
            mean(&|point| (point.inner as u64 / 128 + point.outer as u64 / 128).is_multiple_of(5));
        assert!(every_second < rows_at_most, "{name}: {every_second}");
        assert!(of_shapes < shapes_at_most, "{name}: {of_shapes}");
    }
}

#[test]
fn a_folder_without_timings_says_what_was_looked_for() {
    let device = Calibration::named("a100").unwrap().device;
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/src"));
    let error = calibrate_folder(&folder, "a100", &device, "").unwrap_err();
    assert!(error.to_string().ends_with("/src: no file `*mlp.csv` or `*mlp.csv.gz`"), "{error}");
    let error = calibrate_folder(&folder.join("absent"), "a100", &device, "").unwrap_err();
    assert!(error.to_string().contains("absent"), "{error}");
}

/// How fast a block walks along keys was timed on both GPUs; what a block costs beside chunks follows it.
#[test]
fn what_is_carried_over_follows_the_pace_of_the_gpu() {
    let of = |name: &str, family| Calibration::named(name).unwrap().of(family).unwrap().clone();
    let pace =
        of("h100", Family::AttentionPrefill).walk_ns / of("rtx-4090", Family::AttentionPrefill).walk_ns;
    assert!(pace < 0.5, "{pace}");
    let (carried, measured) = (of("h100", Family::AttentionMixed), of("rtx-4090", Family::AttentionMixed));
    assert_eq!(carried.carried_from.as_deref(), Some("rtx-4090"));
    for (found, from) in [(carried.walk_ns, measured.walk_ns), (carried.block_us, measured.block_us)] {
        let ratio = found / from;
        assert!((ratio / pace - 1.0).abs() < 0.05, "{ratio} {pace}");
    }
}

/// The page of step times has the errors of the calibrations that ship.
#[test]
fn the_page_has_the_errors_that_ship() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/serving-step-times.md");
    let page = std::fs::read_to_string(page).unwrap();
    let mut rows = 0;
    for name in Calibration::names() {
        let calibration = Calibration::named(name).unwrap();
        let families =
            calibration.families.iter().map(|(family, of)| (family.name().to_owned(), of.held_out));
        let collectives = calibration
            .collectives
            .iter()
            .map(|of| (format!("{} {} {}", of.operation, of.by, of.gpus), of.held_out));
        for (what, held_out) in families.chain(collectives) {
            let Some(of) = held_out else { continue };
            let row = format!(
                "| {name} | {what} | {} | {} | {} | {} |",
                of.points, of.mean_pct, of.median_pct, of.p90_pct
            );
            assert!(page.contains(&row), "docs/serving-step-times.md lacks\n{row}");
            rows += 1;
        }
    }
    assert_eq!(
        rows,
        page.lines().filter(|line| line.starts_with("| ") && line.matches('|').count() == 7).count() - 4
    );
}

#[test]
fn timings_that_are_not_there_are_told_from_those_that_cannot_be_read() {
    let folder = std::env::temp_dir().join(format!("foretell-timings-{}", std::process::id()));
    let missing =
        || llmservingsim::measured(&folder, "GPU", "a/b", "bf16", 1).err().map(|error| error.is_missing());
    assert_eq!(missing(), Some(true));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("GPU__a__b__bf16__tp1__dense.csv.gz"), "no gzip").unwrap();
    assert_eq!(missing(), Some(false));
    std::fs::remove_dir_all(&folder).unwrap();
}
