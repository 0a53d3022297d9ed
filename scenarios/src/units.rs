//! Amounts that a person writes with a unit.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// An amount of memory, written as `"64 GiB"` or `"1.5 TB"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct ByteSize(pub u64);

/// JSON schema `format` of a [`ByteSize`].
pub(crate) const BYTE_SIZE_FORMAT: &str = "byte-size";

const UNITS: [(&str, f64); 11] = [
    ("B", 1.0),
    ("KiB", 1024.0),
    ("MiB", 1_048_576.0),
    ("GiB", 1_073_741_824.0),
    ("TiB", 1_099_511_627_776.0),
    ("PiB", 1_125_899_906_842_624.0),
    ("kB", 1e3),
    ("MB", 1e6),
    ("GB", 1e9),
    ("TB", 1e12),
    ("PB", 1e15),
];

/// A text that is no amount of memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected an amount of memory such as \"64 GiB\" or \"1.5 TB\"")]
pub struct InvalidByteSize;

impl std::str::FromStr for ByteSize {
    type Err = InvalidByteSize;

    fn from_str(text: &str) -> Result<Self, InvalidByteSize> {
        let text = text.trim();
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let unit = &text[digits.len()..];
        let digits = digits.trim_end();
        // `f64` also reads signs and exponents, which nobody means here.
        if !digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
            return Err(InvalidByteSize);
        }
        let amount: f64 = digits.parse().map_err(|_| InvalidByteSize)?;
        let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit).ok_or(InvalidByteSize)?;
        let bytes = (amount * factor).round();
        // Sums over a cluster must stay within 64 bits.
        if bytes > 1e15 { Err(InvalidByteSize) } else { Ok(Self(bytes as u64)) }
    }
}

impl TryFrom<String> for ByteSize {
    type Error = InvalidByteSize;

    fn try_from(text: String) -> Result<Self, InvalidByteSize> {
        text.parse()
    }
}

impl From<ByteSize> for String {
    fn from(size: ByteSize) -> Self {
        size.to_string()
    }
}

impl std::fmt::Display for ByteSize {
    /// In the largest binary unit that divides it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut amount = self.0;
        let mut unit = 0;
        while amount > 0 && amount.is_multiple_of(1024) && unit < 5 {
            amount /= 1024;
            unit += 1;
        }
        write!(f, "{amount} {}", UNITS[unit].0)
    }
}

impl JsonSchema for ByteSize {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "ByteSize".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "format": BYTE_SIZE_FORMAT,
            "pattern": "^ *[0-9]+(\\.[0-9]*)? *(B|[KMGTP]iB|[kMGTP]B) *$",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_with_units_are_bytes() {
        let check = |text: &str, expected: Option<u64>| {
            assert_eq!(text.parse().ok(), expected.map(ByteSize), "{text}");
        };
        check("2 TiB", Some(2 << 40));
        check("64GiB", Some(64 << 30));
        check("1.5 TB", Some(1_500_000_000_000));
        check("0 B", Some(0));
        check("64", None);
        check("GiB", None);
        check("-1 GiB", None);
        check("1e3 GiB", None);
        check("inf B", None);
        check("64 gib", None);
        check("9999 PiB", None);
        check("ä GiB", None);
    }

    #[test]
    fn what_is_written_reads_back() {
        for bytes in [0, 1, 1023, 1024, 48_305_799_168, 2 << 40, 2_000_000_000_001] {
            assert_eq!(ByteSize(bytes).to_string().parse(), Ok(ByteSize(bytes)));
        }
    }
}
