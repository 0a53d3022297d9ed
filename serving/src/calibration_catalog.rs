//! Calibrations that ship with the program.

use crate::calibration::{Calibration, CalibrationError};

/// Name and calibration of every GPU in the catalogue, in order of name.
const CALIBRATIONS: &[(&str, &str)] = &[
    ("a100", include_str!("../catalog/calibrations/a100.toml")),
    ("a30", include_str!("../catalog/calibrations/a30.toml")),
    ("a40", include_str!("../catalog/calibrations/a40.toml")),
    ("b200", include_str!("../catalog/calibrations/b200.toml")),
    ("h100", include_str!("../catalog/calibrations/h100.toml")),
    ("h200", include_str!("../catalog/calibrations/h200.toml")),
    ("l40s", include_str!("../catalog/calibrations/l40s.toml")),
    ("rtx-4090", include_str!("../catalog/calibrations/rtx-4090.toml")),
    ("rtx-pro-6000", include_str!("../catalog/calibrations/rtx-pro-6000.toml")),
];

impl Calibration {
    /// The calibration of this GPU in the catalogue.
    pub fn named(name: &str) -> Result<Self, CalibrationError> {
        let unknown = || CalibrationError::Unknown { name: name.to_owned(), known: Self::names().join(", ") };
        let (_, text) = CALIBRATIONS.iter().find(|(known, _)| *known == name).ok_or_else(unknown)?;
        Self::from_toml(text)
    }

    /// Names in the catalogue.
    pub fn names() -> Vec<&'static str> {
        CALIBRATIONS.iter().map(|&(name, _)| name).collect()
    }
}
