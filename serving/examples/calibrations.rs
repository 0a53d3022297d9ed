//! Writes the calibrations of the catalogue from the data folder:
//! `cargo run --release -p foretell-serving --features aiconfigurator --example calibrations DATA OUT`.

use std::error::Error;
use std::fmt::Write as _;
use std::path::Path;

use foretell_serving::Calibration;
use foretell_serving::calibrate::{Timings, aiconfigurator, calibrate, llmservingsim, vidur};
use foretell_serving::calibration::{Constants, Family};
use foretell_serving::device::Device;

/// Name, tera-operations in 16 and in 8 bits, terabytes a second, gibibytes, multiprocessors: data sheets, as the reference takes them.
const DEVICES: [(&str, f64, f64, f64, f64, u32); 9] = [
    ("a100", 312.0, 624.0, 2.039, 80.0, 108),
    ("h100", 989.0, 1979.0, 3.35, 80.0, 132),
    ("h200", 989.0, 1979.0, 4.8, 141.0, 132),
    ("b200", 2250.0, 4500.0, 8.0, 180.0, 148),
    ("l40s", 362.0, 733.0, 0.864, 48.0, 142),
    ("a30", 165.0, 330.0, 0.933, 24.0, 56),
    ("a40", 149.7, 299.3, 0.696, 48.0, 84),
    ("rtx-4090", 165.2, 330.3, 1.008, 24.0, 128),
    ("rtx-pro-6000", 503.8, 1007.6, 1.597, 96.0, 188),
];

const AIC: &str = "aiconfigurator 095f58a";
const VIDUR: &str = "Vidur 7d47513";
const LLMSERVINGSIM: &str = "vLLM 0.19 layers, profiled for LLMServingSim 5daddb2";
const A30: &str = "Qwen2-7B with FlashInfer, in Vidur's format (a fork of Vidur)";

fn device(name: &str) -> Result<Device, Box<dyn Error>> {
    let found = DEVICES.iter().find(|(known, ..)| *known == name);
    let &(_, half, eight, bandwidth, gib, multiprocessors) = found.ok_or("no such device")?;
    Ok(Device {
        name: name.to_owned(),
        flops_16bit: half * 1e12,
        flops_8bit: eight * 1e12,
        memory_bytes_per_s: bandwidth * 1e12,
        memory_bytes: gib * f64::from(1 << 30),
        multiprocessors,
    })
}

/// Families in `of` are taken out.
fn without(mut timings: Timings, of: &[Family]) -> Timings {
    timings.families.retain(|family, _| !of.contains(family));
    timings
}

/// Products in 16 bits whose constants the reference states, with the error on what they were fitted on; the timings are not in the data folder.
fn stated(calibration: &mut Calibration, power: f64, flops: f64, bytes: f64, overhead_us: f64, error: &str) {
    let constants = Constants {
        flops_share: flops,
        bandwidth_share: bytes,
        overhead_us,
        power,
        cached_mb: 0.0,
        block_us: 0.0,
        walk_ns: 0.0,
        correction: None,
        held_out: None,
        carried_from: None,
        source: format!("{AIC}, fitted elsewhere, {error} off on what it was fitted on"),
    };
    calibration.families.insert(Family::Matrix, constants);
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let data = arguments.next().ok_or("the data folder is missing")?;
    let out = arguments.next().ok_or("the folder to write to is missing")?;
    let folder = Path::new(&data).join("serving");
    let profiles = folder.join("llmservingsim-profiles");
    let silicon = folder.join("aiconfigurator-silicon");
    let profiling = folder.join("vidur-profiling");

    let mut pro =
        calibrate(&device("rtx-pro-6000")?, &llmservingsim::timings(&profiles, "RTXPRO6000")?, LLMSERVINGSIM);
    let mut ada =
        calibrate(&device("rtx-4090")?, &llmservingsim::timings(&profiles, "RTX4090")?, LLMSERVINGSIM);

    // Both sources time products of 16 bits: vLLM's are the ones served. Vidur has the operators that only move bytes.
    let both = |name: &str, system: &str| -> Result<Calibration, Box<dyn Error>> {
        let served = calibrate(&device(name)?, &aiconfigurator::timings(&silicon, system)?, AIC);
        let attention = [Family::Matrix, Family::AttentionDecode, Family::AttentionPrefill];
        let beside = without(vidur::timings(&profiling, name)?, &attention);
        let mut calibration = calibrate(&device(name)?, &beside, VIDUR);
        calibration.families.extend(served.families);
        calibration.collectives.extend(served.collectives);
        Ok(calibration)
    };
    let mut ampere = both("a100", "a100_sxm")?;
    let mut hopper = both("h100", "h100_sxm")?;
    let nccl = |name: &str, system: &str| -> Result<Calibration, Box<dyn Error>> {
        Ok(calibrate(&device(name)?, &aiconfigurator::timings(&silicon, system)?, AIC))
    };
    let (mut h200, mut b200) = (nccl("h200", "h200_sxm")?, nccl("b200", "b200_sxm")?);
    let mut l40s = calibrate(&device("l40s")?, &Timings::default(), "");
    stated(&mut b200, 2.12, 0.721, 0.762, 2.5, "12.4 %");
    stated(&mut l40s, 2.55, 0.639, 0.876, 1.5, "19.3 %");
    let mut a40 = calibrate(&device("a40")?, &vidur::timings(&profiling, "a40")?, VIDUR);
    let a30_folder = folder.join("a30-qwen2-7b-vidur-fork");
    let mut a30 = calibrate(&device("a30")?, &vidur::timings(&a30_folder, "a30")?, A30);

    // What is missing comes from the nearest GPU: of the same generation first. Sampling and norms of queries and keys, and attention of mixed
    // batches, were timed on the RTX PRO 6000 and in part on the RTX 4090 alone.
    ada.carry(&pro);
    ampere.carry(&ada);
    hopper.carry(&ampere);
    pro.carry(&hopper);
    ada.carry(&hopper);
    h200.carry(&hopper);
    b200.carry(&hopper);
    l40s.carry(&ada);
    l40s.carry(&hopper);
    a40.carry(&ampere);
    a30.carry(&ampere);

    let mut table = String::from("GPU | family | timings | mean | median | p90 | source\n");
    for calibration in [&ampere, &hopper, &h200, &b200, &l40s, &a30, &a40, &ada, &pro] {
        let name = &calibration.device.name;
        std::fs::write(Path::new(&out).join(format!("{name}.toml")), calibration.to_toml()?)?;
        let collectives = calibration
            .collectives
            .iter()
            .map(|of| (format!("{} {} {}", of.operation, of.by, of.gpus), of.held_out, String::new()));
        let families = calibration.families.iter().map(|(family, of)| {
            let from =
                of.carried_from.as_ref().map_or(of.source.clone(), |from| format!("carried from {from}"));
            (family.name().to_owned(), of.held_out, from)
        });
        for (what, held_out, from) in families.chain(collectives) {
            match held_out {
                Some(of) => writeln!(
                    table,
                    "{name} | {what} | {} | {} | {} | {} | {from}",
                    of.points, of.mean_pct, of.median_pct, of.p90_pct
                )?,
                None => writeln!(table, "{name} | {what} | - | - | - | - | {from}")?,
            }
        }
    }
    std::fs::write(Path::new(&out).join("ERRORS.txt"), table)?;
    Ok(())
}
