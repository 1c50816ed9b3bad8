//! Names of SQL objects.

use sha2::{Digest, Sha256};

/// What Postgres keeps of a name; longer ones are cut there without a word.
const NAME_MAX_BYTES: usize = 63;

/// Lower case letters, digits and `_`, not beginning with a digit, at most 63 bytes.
pub fn is_identifier(name: &str) -> bool {
    let mut bytes = name.bytes();
    let Some(first) = bytes.next() else { return false };
    let first_fits = first.is_ascii_lowercase() || first == b'_';
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    first_fits && bytes.all(fits) && name.len() <= NAME_MAX_BYTES
}

/// `<table>_<cols>_idx`; past 63 bytes the columns become 16 hexadecimal digits of their hash.
pub(super) fn index_name(table: &str, columns: &[&str]) -> String {
    let columns = columns.join("_");
    let name = format!("{table}_{columns}_idx");
    if name.len() <= NAME_MAX_BYTES {
        return name;
    }
    // 42 + `_` + 16 + `_idx` = 63 bytes. The table's name is ASCII (`is_identifier`).
    format!("{table:.42}_{}_idx", hash(name.as_bytes(), 8))
}

/// So many bytes of the text's hash, in hexadecimal digits.
pub(super) fn hash(text: &[u8], bytes: usize) -> String {
    Sha256::digest(text).iter().take(bytes).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_are_shortened_and_stay_distinct() {
        assert_eq!(index_name("event_ab12", &["google_id"]), "event_ab12_google_id_idx");
        let table = "t".repeat(63);
        let (a, b) = (index_name(&table, &["a"]), index_name(&table, &["b"]));
        assert_eq!((a.len(), b.len()), (63, 63));
        assert_ne!(a, b);
    }

    #[test]
    fn identifiers() {
        for good in ["a", "_x", "google_calendar_event_v1_2f9c"] {
            assert!(is_identifier(good), "{good}");
        }
        for bad in ["", "1a", "A", "a b", "a\"", "é", &"a".repeat(64)] {
            assert!(!is_identifier(bad), "{bad}");
        }
    }
}
