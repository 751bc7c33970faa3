//! Numbers as the two formats write them.

use std::io::Write as _;

/// Integers up to here are the same as their float.
const EXACT: u64 = 1 << 53;

/// Writes a value: the shortest decimal form that reads back as the same number.
pub(super) fn push_value(out: &mut Vec<u8>, value: f64) {
    let integer = value as u64;
    #[expect(
        clippy::float_cmp,
        reason = "whether the cast was exact is the question"
    )]
    let exact = integer <= EXACT && integer as f64 == value && value.is_sign_positive();
    if exact {
        push_integer(out, integer);
    } else if value.is_nan() {
        out.extend_from_slice(b"NaN");
    } else if value.is_infinite() {
        out.extend_from_slice(if value > 0.0 { b"+Inf" } else { b"-Inf" });
    } else {
        // Writing into memory cannot fail.
        let _ = write!(out, "{value}");
    }
}

/// Writes a count. Counts beyond 2^53 are rounded as every reader would round them.
pub(super) fn push_count(out: &mut Vec<u8>, count: u64) {
    if count <= EXACT {
        push_integer(out, count);
    } else {
        push_value(out, count as f64);
    }
}

fn push_integer(out: &mut Vec<u8>, mut value: u64) {
    let mut digits = [0; 20];
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[start..]);
}

/// A bound as a value of `le` in text 0.0.4.
pub(super) fn text_bound(bound: f64) -> String {
    bound.to_string()
}

/// A bound as a value of `le` in OpenMetrics, which fixes one spelling per number: always a float
/// (`1.0`), with an exponent from `1e+06` up and from `1e-05` down.
pub(super) fn open_metrics_bound(bound: f64) -> String {
    let scientific = format!("{bound:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if bound != 0.0 && !(-4..6).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{mantissa}e{sign}{:02}", exponent.abs());
    }
    format!("{bound:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(value: f64) -> String {
        let mut out = Vec::new();
        push_value(&mut out, value);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn values_are_short_and_exact() {
        let cases = [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (-3.0, "-3"),
            (0.1, "0.1"),
            (1.5, "1.5"),
            (1e15, "1000000000000000"),
            (9_007_199_254_740_992.0, "9007199254740992"),
            (1e20, "100000000000000000000"),
            (5e-324, &format!("{}", 5e-324)),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
            (f64::NAN, "NaN"),
        ];
        for (number, text) in cases {
            assert_eq!(value(number), text);
        }
    }

    #[test]
    fn counts_are_written_as_their_float() {
        for count in [0, 9, 10, 123_456, EXACT, EXACT + 1, u64::MAX] {
            let mut out = Vec::new();
            push_count(&mut out, count);
            assert_eq!(String::from_utf8(out).unwrap(), (count as f64).to_string());
        }
    }

    #[test]
    fn open_metrics_bounds_are_canonical() {
        let cases = [
            (0.0, "0.0"),
            (1.0, "1.0"),
            (10.0, "10.0"),
            (0.5, "0.5"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (604_800.0, "604800.0"),
            (100_000.0, "100000.0"),
            (1e6, "1e+06"),
            (1_234_567.0, "1.234567e+06"),
            (1e10, "1e+10"),
            (1.5e100, "1.5e+100"),
            (-2.0, "-2.0"),
        ];
        for (bound, text) in cases {
            assert_eq!(open_metrics_bound(bound), text);
        }
        assert_eq!(
            (text_bound(5.0), text_bound(0.25)),
            ("5".into(), "0.25".into())
        );
    }
}
