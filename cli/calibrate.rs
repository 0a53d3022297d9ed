//! `foretell calibrate`: fits what kernels reach on a GPU from timings of them.

use std::error::Error;
use std::path::{Path, PathBuf};

use clap::Args;
use foretell_serving::Calibration;
use foretell_serving::calibrate::calibrate_folder;
use foretell_serving::calibration::Errors;
use foretell_serving::device::Device;

use crate::{CommandResult, Outcome, output};

#[derive(Args)]
pub(crate) struct CalibrateArgs {
    /// The folder with the timings: Vidur's profiles, `LLMServingSim`'s, or aiconfigurator's (in a build with the feature of
    /// that name).
    #[arg(long, value_name = "DIR")]
    tables: PathBuf,
    /// A GPU of the catalogue, such as `rtx-4090`, whose peaks the timings are held against.
    #[arg(long, value_name = "NAME", required_unless_present = "device", conflicts_with = "device")]
    gpu: Option<String>,
    /// A GPU of your own: a TOML file with `name`, `flops_16bit`, `flops_8bit`, `memory_bytes_per_s`, `memory_bytes` and
    /// `multiprocessors`.
    #[arg(long, value_name = "FILE")]
    device: Option<PathBuf>,
    /// What the tables call the GPU: names of files begin so, or its folder is named so. [default: the GPU's name, hyphens and capitals
    /// aside]
    #[arg(long, value_name = "NAME")]
    hardware: Option<String>,
    /// The GPU of the catalogue from which families come that were not timed. [default: the GPU itself with `--gpu`, else `h100`]
    #[arg(long, value_name = "NAME")]
    carry: Option<String>,
    /// What to write down as the source of the timings. [default: the folder]
    #[arg(long, value_name = "TEXT")]
    source: Option<String>,
    /// The file to write.
    #[arg(long, value_name = "FILE.toml")]
    out: PathBuf,
}

/// Whose constants are carried over where neither is said.
const CARRIED_FROM: &str = "h100";

pub(crate) fn run(args: &CalibrateArgs) -> CommandResult {
    let (device, default_from) = match (&args.gpu, &args.device) {
        (_, Some(path)) => (read_device(path)?, CARRIED_FROM),
        (Some(gpu), None) => (Calibration::named(gpu)?.device, gpu.as_str()),
        (None, None) => return Err("give --gpu or --device".into()),
    };
    let from = Calibration::named(args.carry.as_deref().unwrap_or(default_from))?;
    let hardware = match &args.hardware {
        Some(hardware) => hardware.clone(),
        None => called(&args.tables, &device.name)?,
    };
    let source = args.source.clone().unwrap_or_else(|| args.tables.display().to_string());
    let mut calibration = calibrate_folder(&args.tables, &hardware, &device, &source)?;
    calibration.carry(&from);
    let text = calibration.to_toml()?;
    // What is written can be read.
    Calibration::from_toml(&text)?;
    write_whole(&args.out, &text)?;
    output::print(&table(&calibration))?;
    let carried: Vec<String> = calibration
        .families
        .iter()
        .filter_map(|(family, of)| Some(format!("{} from {}", family.name(), of.carried_from.as_ref()?)))
        .collect();
    if !carried.is_empty() {
        output::print(&wrapped("Not timed, carried over: ", &carried))?;
    }
    output::print(&format!("The calibration of {} is in {}", device.name, args.out.display()))?;
    Ok(Outcome::Success)
}

/// Reads peaks of a GPU.
fn read_device(path: &Path) -> Result<Device, Box<dyn Error>> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let device: Device = toml::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
    for (field, value) in [
        ("flops_16bit", device.flops_16bit),
        ("flops_8bit", device.flops_8bit),
        ("memory_bytes_per_s", device.memory_bytes_per_s),
        ("memory_bytes", device.memory_bytes),
        ("multiprocessors", f64::from(device.multiprocessors)),
    ] {
        if !(value > 0.0 && value.is_finite()) {
            return Err(format!("{}: `{field}` = {value} should be above 0", path.display()).into());
        }
    }
    Ok(device)
}

/// What the tables call a GPU: the beginning of a name in their folder that is its name, hyphens and capitals aside.
fn called(tables: &Path, gpu: &str) -> Result<String, Box<dyn Error>> {
    let plain = |name: &str| name.to_ascii_lowercase().replace(['-', '_', ' '], "");
    let wanted = plain(gpu);
    let entries = std::fs::read_dir(tables).map_err(|error| format!("{}: {error}", tables.display()))?;
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| format!("{}: {error}", tables.display()))?;
        names.push(entry.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    let begins = |name: &str| {
        let end = name.find("__").unwrap_or(name.len());
        (plain(&name[..end]) == wanted).then(|| name[..end].to_owned())
    };
    Ok(names.iter().find_map(|name| begins(name)).unwrap_or_else(|| gpu.to_owned()))
}

/// Writes a file that is there whole or not at all.
fn write_whole(path: &Path, text: &str) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("failed to write {}: {error}", path.display());
    if path.is_dir() {
        return Err(format!("{}: expected the name of a file to write, got a folder", path.display()));
    }
    let mut partial = path.as_os_str().to_owned();
    partial.push(format!(".partial-{}", std::process::id()));
    let partial = PathBuf::from(partial);
    std::fs::write(&partial, text).and_then(|()| std::fs::rename(&partial, path)).map_err(|error| {
        // What is left of it is of no use; the first error is the one to tell.
        let _ = std::fs::remove_file(&partial);
        failed(error)
    })
}

/// Errors on timings that were held out, the worst first.
fn table(calibration: &Calibration) -> String {
    let families = calibration.families.iter().map(|(family, of)| (family.name().to_owned(), of.held_out));
    let collectives = calibration
        .collectives
        .iter()
        .map(|of| (format!("{} {} {}", of.operation, of.by, of.gpus), of.held_out));
    let mut rows: Vec<(String, Errors)> = families
        .chain(collectives)
        .filter_map(|(name, held_out)| Some((name, held_out.filter(|of| of.points > 0)?)))
        .collect();
    rows.sort_by(|one, other| other.1.mean_pct.total_cmp(&one.1.mean_pct));
    let cells = rows.into_iter().map(|(name, of)| {
        let figures = [of.mean_pct, of.median_pct, of.p90_pct].map(|value| format!("{value:.1}"));
        [vec![name, of.points.to_string()], figures.to_vec()].concat()
    });
    let titles = ["held out", "timings", "mean\n%", "median\n%", "9 of 10\nbelow %"];
    foretell_reports::plain_table(titles, cells, &[1, 2, 3, 4], output::width())
}

/// A list behind a word, broken at the width of the terminal.
fn wrapped(word: &str, items: &[String]) -> String {
    let width = usize::from(output::width());
    let mut text = String::new();
    let mut line = word.trim_end().to_owned();
    for (index, item) in items.iter().enumerate() {
        let end = if index + 1 < items.len() { "," } else { "." };
        if line.len() + item.len() + 2 > width {
            text += &line;
            text.push('\n');
            line.clear();
            line.push(' ');
        }
        line = format!("{line} {item}{end}");
    }
    text + &line
}
