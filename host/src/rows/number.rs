//! Decimal numbers of any size in one spelling per value.

/// Longer plain numbers are written with an exponent.
const PLAIN_MAX_DIGITS: i64 = 40;

/// No number that is stored has more digits before its point, or after it. PostgreSQL's `numeric` ends at
/// 131,072 and 16,383, but writes all of them out for whoever reads the row: `1e131071` is 128 KiB.
const STORED_DIGITS_MAX: i64 = 1_000;

/// Length in bytes of the number at the beginning of `bytes`, by the grammar of RFC 8259.
pub(super) fn scan(bytes: &[u8]) -> Option<usize> {
    let mut at = usize::from(bytes.first() == Some(&b'-'));
    let whole = run(bytes, at);
    if whole == 0 || (whole > 1 && bytes[at] == b'0') {
        return None;
    }
    at += whole;
    if bytes.get(at) == Some(&b'.') {
        let fraction = run(bytes, at + 1);
        if fraction == 0 {
            return None;
        }
        at += 1 + fraction;
    }
    if matches!(bytes.get(at), Some(b'e' | b'E')) {
        at += 1;
        at += usize::from(matches!(bytes.get(at), Some(b'+' | b'-')));
        let exponent = run(bytes, at);
        if exponent == 0 {
            return None;
        }
        at += exponent;
    }
    Some(at)
}

fn run(bytes: &[u8], from: usize) -> usize {
    bytes.iter().skip(from).take_while(|byte| byte.is_ascii_digit()).count()
}

/// A decimal in its one spelling per value; what is none stays as it is.
pub fn canonical_decimal(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    match scan(text.as_bytes()) {
        Some(length) if length == text.len() => push_canonical(text, &mut out),
        _ => out.push_str(text),
    }
    out
}

/// Whether a number that [`scan`] accepted is whole and stays as it is written. Such a one is storable.
pub(super) fn is_canonical(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_whole = digits.bytes().all(|byte| byte.is_ascii_digit());
    is_whole && digits.len() as i64 <= PLAIN_MAX_DIGITS && text != "-0"
}

/// Whether databases store a number as one; `canonical`: as [`push_canonical`] writes it.
pub(super) fn is_storable(canonical: &str) -> bool {
    let digits = canonical.strip_prefix('-').unwrap_or(canonical);
    let (mantissa, exponent) = digits.split_once(['e', 'E']).unwrap_or((digits, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let Some(exponent) = small_integer(exponent) else { return false };
    let (before, after) = (whole.len() as i64 + exponent, fraction.len() as i64 - exponent);
    before.max(after) <= STORED_DIGITS_MAX
}

/// Appends a number that [`scan`] accepted, so that equal values have equal text and no digit is
/// lost: `1.50` and `15e-1` are `1.5`, `1e400` stays. Exponents beyond 18 digits stay as written.
pub(super) fn push_canonical(text: &str, out: &mut String) {
    if is_canonical(text) {
        out.push_str(text);
        return;
    }
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let (mantissa, exponent) = digits.split_once(['e', 'E']).unwrap_or((digits, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let significant = format!("{whole}{fraction}");
    let significant = significant.trim_start_matches('0');
    let kept = significant.trim_end_matches('0');
    if kept.is_empty() {
        out.push('0');
        return;
    }
    let Some(exponent) = small_integer(exponent) else {
        out.push_str(text);
        return;
    };
    if negative {
        out.push('-');
    }
    let scale = exponent - fraction.len() as i64 + (significant.len() - kept.len()) as i64;
    push_scaled(kept, scale, out);
}

/// `digits` x 10^`scale`; `digits` neither begins nor ends with a zero.
fn push_scaled(digits: &str, scale: i64, out: &mut String) {
    let length = digits.len() as i64;
    if scale >= 0 && (scale == 0 || length + scale <= PLAIN_MAX_DIGITS) {
        out.push_str(digits);
        out.extend(std::iter::repeat_n('0', scale as usize));
    } else if scale < 0 && length + scale > 0 {
        let (whole, fraction) = digits.split_at((length + scale) as usize);
        out.push_str(whole);
        out.push('.');
        out.push_str(fraction);
    } else if scale < 0 && -scale <= PLAIN_MAX_DIGITS {
        out.push_str("0.");
        out.extend(std::iter::repeat_n('0', (-scale - length) as usize));
        out.push_str(digits);
    } else {
        out.push_str(digits);
        out.push('e');
        out.push_str(&scale.to_string());
    }
}

fn small_integer(text: &str) -> Option<i64> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let digits = digits.trim_start_matches('0');
    match digits.len() {
        0 => Some(0),
        1..=18 => digits.parse::<i64>().ok().map(|number| sign * number),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(text: &str) -> String {
        let mut out = String::new();
        push_canonical(text, &mut out);
        out
    }

    #[test]
    fn equal_values_have_equal_text() {
        let long = "123456789012345678901234567890123456789012345";
        let zeros = format!("1{}", "0".repeat(60));
        let cases = [
            ("0", "0"),
            ("-0", "0"),
            ("-0.0", "0"),
            ("0e99999999999999999999", "0"),
            ("1", "1"),
            ("-12", "-12"),
            ("1.50", "1.5"),
            ("15e-1", "1.5"),
            ("150E-2", "1.5"),
            ("0.00015e+4", "1.5"),
            ("1e3", "1000"),
            ("1000.0", "1000"),
            ("0.001", "0.001"),
            ("1e-3", "0.001"),
            ("1e400", "1e400"),
            ("-10e399", "-1e400"),
            ("1e-400", "1e-400"),
            (long, long),
            (zeros.as_str(), "1e60"),
            ("1e60", "1e60"),
            ("1e9999999999999999999999", "1e9999999999999999999999"),
        ];
        for (text, expected) in cases {
            assert_eq!(scan(text.as_bytes()), Some(text.len()), "{text}");
            assert_eq!(canonical(text), expected, "{text}");
            assert_eq!(canonical(expected), expected, "{text} again");
        }
    }

    #[test]
    fn what_databases_store() {
        let nines = |count| "9".repeat(count);
        let cases = [
            ("0".to_owned(), true),
            ("-1.5".to_owned(), true),
            ("1e999".to_owned(), true),
            ("1e1000".to_owned(), false),
            ("1e-1000".to_owned(), true),
            ("-1e-1001".to_owned(), false),
            (nines(1_000), true),
            (nines(1_001), false),
            (format!("0.{}", nines(1_000)), true),
            (format!("0.{}", nines(1_001)), false),
            ("1e999999999999999999".to_owned(), false),
            ("1e9999999999999999999999".to_owned(), false),
            ("1e-9999999999999999999999".to_owned(), false),
        ];
        for (text, expected) in cases {
            assert_eq!(is_storable(&canonical(&text)), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_number() {
        for text in ["", "-", ".5", "01", "1.", "1e", "1e+", "+1", "--1", "x"] {
            assert_ne!(scan(text.as_bytes()), Some(text.len()), "{text}");
        }
        assert_eq!(scan(b"12,"), Some(2));
    }
}
