//! Measured throughputs per type of GPU, alone and in pairs.

use std::collections::BTreeMap;
use std::path::Path;

use foretell_gavel::PairThroughputs;
use serde_json::Value;

use crate::DataError;
use crate::openb::open;

/// The types of GPU, in the order in which Gavel offers them.
pub(super) const GPU_TYPES: [&str; 3] = ["v100", "p100", "k80"];

/// A kind of job: its model with batch size, and the number of GPUs.
pub(super) type Kind = (String, u32);

/// Steps per second.
pub(super) struct Throughputs {
    kinds: Vec<Kind>,
    by_kind: BTreeMap<Kind, usize>,
    /// Per kind and type: alone.
    alone: Vec<[f64; GPU_TYPES.len()]>,
    /// Per kind and other kind: per type, of the first and the second.
    together: BTreeMap<(usize, usize), [(f64, f64); GPU_TYPES.len()]>,
}

impl Throughputs {
    /// Reads Gavel's `simulation_throughputs.json.gz`.
    pub(super) fn read(path: &Path) -> Result<Self, DataError> {
        let bad = |expected: String| DataError::Field { path: path.to_owned(), expected };
        let document: Value =
            serde_json::from_reader(open(path)?).map_err(|error| bad(format!("JSON, but: {error}")))?;
        let mut found = Self {
            kinds: Vec::new(),
            by_kind: BTreeMap::new(),
            alone: Vec::new(),
            together: BTreeMap::new(),
        };
        for (at, gpu_type) in GPU_TYPES.iter().enumerate() {
            let table = document.get(gpu_type).and_then(Value::as_object);
            let table = table.ok_or_else(|| bad(format!("a table `{gpu_type}`")))?;
            for (name, others) in table {
                let kind_of = |name: &str| {
                    parse_kind(name).ok_or_else(|| {
                        bad(format!("a kind like ('A3C', 1) in place of `{name}` of {gpu_type}"))
                    })
                };
                let kind = found.number(kind_of(name)?);
                let others =
                    others.as_object().ok_or_else(|| bad(format!("a table for {name} of {gpu_type}")))?;
                for (other, value) in others {
                    let wrong = || bad(format!("steps per second for {other} with {name} of {gpu_type}"));
                    if other == "null" {
                        found.alone[kind][at] = value.as_f64().ok_or_else(wrong)?;
                        continue;
                    }
                    let pair = (kind, found.number(kind_of(other)?));
                    let steps = |index: usize| value.get(index).and_then(Value::as_f64).ok_or_else(wrong);
                    found.together.entry(pair).or_default()[at] = (steps(0)?, steps(1)?);
                }
            }
        }
        Ok(found)
    }

    fn number(&mut self, kind: Kind) -> usize {
        if let Some(&number) = self.by_kind.get(&kind) {
            return number;
        }
        let number = self.kinds.len();
        self.kinds.push(kind.clone());
        self.alone.push([0.0; GPU_TYPES.len()]);
        self.by_kind.insert(kind, number);
        number
    }

    /// The number of a kind, if it was measured.
    pub(super) fn kind(&self, kind: &Kind) -> Option<usize> {
        self.by_kind.get(kind).copied()
    }

    /// The number of a kind, which need not have been measured: a model on a number of GPUs for which there is no figure
    /// is taken to run at its speed on one, as where the work grows with the GPUs. Nothing if the model is unknown.
    pub(super) fn kind_or_alike(&mut self, kind: Kind) -> Option<usize> {
        if let Some(number) = self.kind(&kind) {
            return Some(number);
        }
        let alike = self.kind(&(kind.0.clone(), 1))?;
        let number = self.number(kind);
        self.alone[number] = self.alone[alike];
        Some(number)
    }

    /// Number of GPUs of a kind.
    pub(super) fn scale_factor(&self, kind: usize) -> u32 {
        self.kinds[kind].1
    }

    /// Steps per second alone, per type; zero where the kind cannot run.
    pub(super) fn alone(&self, kind: usize) -> [f64; GPU_TYPES.len()] {
        self.alone[kind]
    }
}

impl PairThroughputs for Throughputs {
    fn together(&self, one: usize, other: usize, gpu_type: usize) -> (f64, f64) {
        if let Some(found) = self.together.get(&(one, other)) {
            return found[gpu_type];
        }
        self.together.get(&(other, one)).map_or((0.0, 0.0), |found| (found[gpu_type].1, found[gpu_type].0))
    }
}

/// A kind as Python prints it: `('ResNet-18 (batch size 16)', 1)`.
fn parse_kind(text: &str) -> Option<Kind> {
    let (model, scale_factor) = text.strip_prefix("('")?.strip_suffix(')')?.rsplit_once("', ")?;
    Some((model.to_owned(), scale_factor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_parse() {
        let check = |text, expected: Option<(&str, u32)>| {
            assert_eq!(parse_kind(text), expected.map(|(model, scale)| (model.to_owned(), scale)), "{text}");
        };
        check("('ResNet-18 (batch size 16)', 1)", Some(("ResNet-18 (batch size 16)", 1)));
        check("('A3C', 8)", Some(("A3C", 8)));
        check("A3C", None);
        check("('A3C', x)", None);
    }
}
