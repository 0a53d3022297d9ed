//! Writes the calibrations of the catalogue from the data folder: `cargo run --release -p foretell-serving --example calibrations DATA OUT`.

use std::error::Error;
use std::path::Path;

use foretell_serving::Calibration;
use foretell_serving::calibrate::{calibrate, llmservingsim};
use foretell_serving::device::Device;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let data = arguments.next().ok_or("the data folder is missing")?;
    let out = arguments.next().ok_or("the folder to write to is missing")?;
    let folder = Path::new(&data).join("serving");
    let device = |name: &str, flops: f64, eight: f64, bandwidth: f64, gib: f64, multiprocessors| Device {
        name: name.to_owned(),
        flops_16bit: flops,
        flops_8bit: eight,
        memory_bytes_per_s: bandwidth,
        memory_bytes: gib * 1024.0 * 1024.0 * 1024.0,
        multiprocessors,
    };
    let profiles = folder.join("llmservingsim-profiles");
    let source = "vLLM 0.19 layers, profiled for LLMServingSim (casys-kaist, 5daddb2)";
    let mut first: Option<Calibration> = None;
    for (name, hardware, of) in [
        ("rtx-pro-6000", "RTXPRO6000", device("rtx-pro-6000", 503.8e12, 1007.6e12, 1.597e12, 96.0, 188)),
        ("rtx-4090", "RTX4090", device("rtx-4090", 165.2e12, 330.3e12, 1.008e12, 24.0, 128)),
    ] {
        let timings = llmservingsim::timings(&profiles, hardware)?;
        let mut calibration = calibrate(&of, &timings, source);
        match &first {
            Some(first) => calibration.carry(first),
            None => first = Some(calibration.clone()),
        }
        std::fs::write(Path::new(&out).join(format!("{name}.toml")), calibration.to_toml()?)?;
    }
    Ok(())
}
