//! Calibrations that ship with the program.

use crate::calibration::{Calibration, CalibrationError};

/// Name and calibration of every GPU in the catalogue, in order of name.
const CALIBRATIONS: &[(&str, &str)] = &[
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
