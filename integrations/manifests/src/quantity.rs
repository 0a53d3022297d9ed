//! Kubernetes quantities, read exactly.
//!
//! The grammar is that of `resource.Quantity`: a signed decimal number with a binary suffix (`Ki` to `Ei`), a decimal
//! suffix (`n`, `u`, `m`, none, `k` to `E`) or an exponent. Amounts are rounded up, as the scheduler does, and capped at
//! 2^63 - 1.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// The largest amount that Kubernetes represents.
const AMOUNT_MAX: u64 = i64::MAX as u64;
/// Decimal digits after the point that are kept; what lies beyond only rounds up.
const DECIMALS: u32 = 9;

/// An amount of `text` in units of 10^-`decimals`, rounded up. `None` if it is no quantity or negative.
fn parse(text: &str, decimals: u32) -> Option<u64> {
    let unsigned = text.strip_prefix('+').unwrap_or(text);
    let (negative, unsigned) = unsigned.strip_prefix('-').map_or((false, unsigned), |rest| (true, rest));
    let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
    let (number, suffix) = unsigned.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if fraction.contains('.') || (whole.is_empty() && fraction.is_empty()) {
        return None;
    }
    let (factor, exponent) = scale(suffix)?;

    // The number in units of 10^-9, and whether anything is lost.
    let mut lost = false;
    let mut nanos = 0_u128;
    for digit in whole.bytes() {
        nanos = nanos.saturating_mul(10).saturating_add(u128::from(digit - b'0'));
    }
    for position in 0..DECIMALS as usize {
        let digit = fraction.as_bytes().get(position).map_or(0, |digit| digit - b'0');
        nanos = nanos.saturating_mul(10).saturating_add(u128::from(digit));
    }
    lost |= fraction.bytes().skip(DECIMALS as usize).any(|digit| digit != b'0');

    // Saturation is far beyond the cap, so it needs no care.
    let mut amount = nanos.saturating_mul(factor);
    let exponent = exponent + decimals as i32 - DECIMALS as i32;
    let power = 10_u128.saturating_pow(exponent.unsigned_abs());
    if amount == 0 || exponent >= 0 {
        amount = amount.saturating_mul(power);
    } else {
        lost |= !amount.is_multiple_of(power);
        amount /= power;
    }
    let amount = u64::try_from(amount).unwrap_or(AMOUNT_MAX).saturating_add(u64::from(lost)).min(AMOUNT_MAX);
    (!negative || amount == 0).then_some(amount)
}

/// The factor and the power of ten that a suffix stands for.
fn scale(suffix: &str) -> Option<(u128, i32)> {
    Some(match suffix {
        "n" => (1, -9),
        "u" => (1, -6),
        "m" => (1, -3),
        "" => (1, 0),
        "k" => (1, 3),
        "M" => (1, 6),
        "G" => (1, 9),
        "T" => (1, 12),
        "P" => (1, 15),
        "E" => (1, 18),
        "Ki" => (1 << 10, 0),
        "Mi" => (1 << 20, 0),
        "Gi" => (1 << 30, 0),
        "Ti" => (1 << 40, 0),
        "Pi" => (1 << 50, 0),
        "Ei" => (1 << 60, 0),
        _ => {
            let exponent = suffix.strip_prefix(['e', 'E'])?;
            let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
            if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
                return None;
            }
            // Beyond this a number is zero or capped.
            let magnitude = digits.parse::<i32>().unwrap_or(i32::MAX).min(60);
            (1, if exponent.starts_with('-') { -magnitude } else { magnitude })
        }
    })
}

/// The amount in whole units, rounded up. `None` if it is no quantity or negative.
pub fn units(quantity: &Quantity) -> Option<u64> {
    parse(&quantity.0, 0)
}

/// The amount in thousandths, rounded up. `None` if it is no quantity or negative.
pub fn milli(quantity: &Quantity) -> Option<u64> {
    parse(&quantity.0, 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected_units: impl Into<Option<u64>>, expected_milli: impl Into<Option<u64>>) {
        let quantity = Quantity(text.to_owned());
        assert_eq!(
            (units(&quantity), milli(&quantity)),
            (expected_units.into(), expected_milli.into()),
            "{text}"
        );
    }

    #[test]
    fn suffixes_scale() {
        check("0", 0, 0);
        check("4", 4, 4_000);
        check("+4", 4, 4_000);
        check("100m", 1, 100);
        check("1500m", 2, 1_500);
        check("1k", 1_000, 1_000_000);
        check("4Ki", 4_096, 4_096_000);
        check("1.5Gi", 3 << 29, (3 << 29) * 1_000);
        check("2G", 2_000_000_000, 2_000_000_000_000_u64);
        check("1Ti", 1 << 40, (1_u64 << 40) * 1_000);
        check("1e3", 1_000, 1_000_000);
        check("1E-3", 1, 1);
        check("12e+2", 1_200, 1_200_000);
        check("1E", 1_000_000_000_000_000_000, AMOUNT_MAX);
    }

    #[test]
    fn fractions_round_up() {
        check("0.1", 1, 100);
        check(".5", 1, 500);
        check("5.", 5, 5_000);
        check("0.0001", 1, 1);
        check("1n", 1, 1);
        check("1u", 1, 1);
        check("0.0000000000001", 1, 1);
        check("2.0000000000000", 2, 2_000);
        check("1000000n", 1, 1);
        check("1000001n", 1, 2);
    }

    #[test]
    fn large_amounts_are_capped() {
        check("9223372036854775807", AMOUNT_MAX, AMOUNT_MAX);
        check("9223372036854775808", AMOUNT_MAX, AMOUNT_MAX);
        check("99999999999999999999999999999999999999999999999999", AMOUNT_MAX, AMOUNT_MAX);
        check("1e999999999999", AMOUNT_MAX, AMOUNT_MAX);
        check("0e99", 0, 0);
        check("100Ei", AMOUNT_MAX, AMOUNT_MAX);
        check("1e-99", 1, 1);
    }

    #[test]
    fn what_is_no_quantity_is_refused() {
        for text in [
            "", "m", "1.2.3", "1x", "1ki", "1KI", "1e", "1e+", "1e1.5", "-1", "-0.5", "--1", "four", "1 Gi",
            ".",
        ] {
            check(text, None, None);
        }
        check("-0", 0, 0);
    }
}
