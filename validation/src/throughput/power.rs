//! What an A100 drew while it served (Splitwise, ISCA'24), beside our law of power fitted on the other machines.
//!
//! The averages of a run go with its answers, which take nearly all of its time; the peaks go with its prompts.

use std::collections::BTreeMap;
use std::path::Path;

use foretell_serving::model::work::Work;
use foretell_serving::power::Power;
use foretell_serving::{Batch, Calibration, Chunk, Model};

use super::Line;
use super::splitwise::{ANSWER_TOKENS, Measured, TABLE};
use crate::Error;
use crate::openb::existing;
use crate::rows::read_rows;

/// Names of cases begin so.
pub(super) const BY_POWER: &str = "Power";

const HARDWARE: &str = "a100-80gb";

/// Averages of longer prompts fall, though there is more to read: as if time around the run counted in them.
const LONGEST_TOKENS: u32 = 2048;

/// Share of the limit from which a peak counts as being at it.
const AT_THE_LIMIT: f64 = 0.95;

/// A row: shares of the peaks that the work took of the time that was measured, and of the limit of power.
#[derive(Clone, Copy, Debug, Default)]
struct Drawn {
    flops_use: f64,
    bandwidth_use: f64,
    share: f64,
}

/// Answers, prompts below the limit of power and prompts at it.
#[derive(Clone, Debug, Default)]
struct Rows {
    answers: Vec<Drawn>,
    prompts: Vec<Drawn>,
    limited: Vec<Drawn>,
}

/// By model and number of GPUs, and what an idle GPU draws at most: the least average of all.
struct Table {
    machines: BTreeMap<(String, u32), Rows>,
    idle_share: f64,
}

fn table(data: &Path) -> Result<Table, Error> {
    let path = existing(&data.join(TABLE))?;
    let cannot = |message: String| Error::Run { path: path.clone(), message };
    let gpu = Calibration::named("a100").map_err(|error| cannot(error.to_string()))?.device;
    let mut machines: BTreeMap<(String, u32), Rows> = BTreeMap::new();
    let mut idle_share = f64::INFINITY;
    for (_, row) in read_rows::<Measured>(&path)? {
        if row.hardware != HARDWARE || row.average_power <= 0.0 || row.token_size != ANSWER_TOKENS {
            continue;
        }
        idle_share = idle_share.min(row.average_power);
        let model = Model::named(&row.model.replace("llama2", "llama-2"))
            .map_err(|error| cannot(error.to_string()))?;
        let (prompt, batch) = (row.prompt_size, row.batch_size);
        let chunks = vec![Chunk { tokens: prompt, context_tokens: 0 }; batch as usize];
        let work = |batch: &Batch<'_>| model.work(batch, 2.0, 2.0);
        let read = work(&Batch { chunks: &chunks, sampled: batch, ..Batch::default() });
        let context = u64::from(batch) * u64::from(prompt + ANSWER_TOKENS / 2);
        let answer = work(&Batch {
            decodes: batch,
            decode_context_tokens: context,
            sampled: batch,
            ..Batch::default()
        });
        let drawn = |Work { flops, bytes }: Work, time_ms: f64, share: f64| {
            let gpu_s = f64::from(row.tensor_parallel) * time_ms / 1e3;
            Drawn {
                flops_use: flops / (gpu_s * gpu.flops_16bit),
                bandwidth_use: bytes / (gpu_s * gpu.memory_bytes_per_s),
                share,
            }
        };
        let prompts = drawn(read, row.prompt_time, row.peak_power);
        let answers = drawn(answer, row.token_time, row.average_power);
        let rows = machines.entry((row.model, row.tensor_parallel)).or_default();
        let of_prompts = if prompts.share < AT_THE_LIMIT { &mut rows.prompts } else { &mut rows.limited };
        of_prompts.push(prompts);
        if prompt <= LONGEST_TOKENS {
            rows.answers.push(answers);
        }
    }
    Ok(Table { machines, idle_share })
}

/// Least squares, one after the other: answers give what bandwidth draws and what being on does; prompts below the limit, what operations draw
/// beyond; prompts at the limit, the limit.
fn fit(rows: &[&Rows], idle_share: f64, limit_w: f64) -> Power {
    let all = |of: fn(&Rows) -> &Vec<Drawn>| rows.iter().flat_map(move |rows| of(rows).iter().copied());
    let answers = || all(|rows| &rows.answers);
    let count = answers().count() as f64;
    let mean = |of: fn(&Drawn) -> f64| answers().map(|one| of(&one)).sum::<f64>() / count;
    let (bandwidth_use, share) = (mean(|one| one.bandwidth_use), mean(|one| one.share));
    let along = |one: &Drawn| one.bandwidth_use - bandwidth_use;
    let bandwidth_share = answers().map(|one| along(&one) * (one.share - share)).sum::<f64>()
        / answers().map(|one| along(&one).powi(2)).sum::<f64>();
    let active_share = share - bandwidth_share * bandwidth_use;
    let prompts = || all(|rows| &rows.prompts);
    let beyond = |one: &Drawn| one.share - active_share - bandwidth_share * one.bandwidth_use;
    let flops_share = prompts().map(|one| one.flops_use * beyond(&one)).sum::<f64>()
        / prompts().map(|one| one.flops_use.powi(2)).sum::<f64>();
    let limited = || all(|rows| &rows.limited);
    let most_share = limited().map(|one| one.share).sum::<f64>() / limited().count() as f64;
    Power { limit_w, idle_share, active_share, bandwidth_share, flops_share, most_share }
}

/// Watts of each machine while it answers and while it reads, by the constants that the other machines give.
pub(super) fn lines(data: &Path) -> Result<Vec<Line>, Error> {
    let table = table(data)?;
    let limit_w = Power::of_gpu("A100-80").ok().flatten().map_or(f64::NAN, |power| power.limit_w);
    let mut lines = Vec::new();
    for (machine, rows) in &table.machines {
        let others: Vec<&Rows> =
            table.machines.iter().filter(|(other, _)| *other != machine).map(|(_, rows)| rows).collect();
        let power = fit(&others, table.idle_share, limit_w);
        let name = if machine.0.starts_with("llama") { "70B" } else { "BLOOM" };
        for (figure, of) in
            [("answer W", &rows.answers), ("prompt W", &rows.prompts), ("peak W", &rows.limited)]
        {
            let mut line = Line::new(format!("{BY_POWER} {name} A100 TP{}", machine.1), figure);
            for one in of {
                line.push(limit_w * one.share, limit_w * power.busy_share(one.flops_use, one.bandwidth_use));
            }
            if !of.is_empty() {
                lines.push(line);
            }
        }
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn the_constants_are_what_the_table_says() {
        let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
        let data = std::env::var_os("FORETELL_DATA").map_or(beside, Into::into);
        if !data.join(TABLE).with_extension("csv.gz").exists() {
            let _ = writeln!(std::io::stderr(), "skipped: there is no public data folder");
            return;
        }
        let table = table(&data).unwrap();
        let kept = Power::of_gpu("A100-80").unwrap().unwrap();
        let all: Vec<&Rows> = table.machines.values().collect();
        let found = fit(&all, table.idle_share, kept.limit_w);
        let rounded = |power: Power| {
            let Power { limit_w: _, idle_share, active_share, bandwidth_share, flops_share, most_share } =
                power;
            [idle_share, active_share, bandwidth_share, flops_share, most_share]
                .map(|share| format!("{share:.3}"))
        };
        assert_eq!(rounded(found), rounded(kept));
    }

    #[test]
    fn a_law_is_found_again() {
        let law = Power {
            limit_w: 1.0,
            idle_share: 0.1,
            active_share: 0.3,
            bandwidth_share: 0.6,
            flops_share: 0.9,
            most_share: 1.0,
        };
        let at = |flops_use: f64, bandwidth_use: f64| Drawn {
            flops_use,
            bandwidth_use,
            share: law.busy_share(flops_use, bandwidth_use),
        };
        let rows = Rows {
            answers: [0.1, 0.4, 0.8].map(|use_| at(0.0, use_)).to_vec(),
            prompts: vec![at(0.2, 0.1), at(0.5, 0.2)],
            limited: vec![at(0.9, 0.0)],
        };
        let found = fit(&[&rows], 0.1, 1.0);
        for (found, law) in [
            (found.active_share, law.active_share),
            (found.bandwidth_share, law.bandwidth_share),
            (found.flops_share, law.flops_share),
            (found.most_share, law.most_share),
        ] {
            assert!((found - law).abs() < 1e-12, "{found} for {law}");
        }
    }
}
