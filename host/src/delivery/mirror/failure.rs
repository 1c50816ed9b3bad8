//! Why a page wasn't applied, and what that says of the page.

use super::DatabaseAddress;
use crate::delivery::decision::Outcome;
use crate::rows::TableSpec;
use crate::store::feed::Page;
use crate::store::says_unstorable;

/// Of PostgreSQL: it takes neither user nor password.
const REFUSED_CREDENTIALS: &str = "28P01";
/// Of PostgreSQL: it takes no such connection, whatever the password.
const REFUSED_CONNECTION: &str = "28000";

/// No more of a server's words is kept.
const TOLD_CHARS_MAX: usize = 300;

/// Nor of a row's key.
const KEY_CHARS_MAX: usize = 200;

/// Why a page wasn't applied.
pub(super) enum Failure {
    Database(sqlx::Error),
    /// In our own words.
    Refused(String),
    /// The mirror is gone, another one, or put back to an older copy.
    Lost,
}

/// What it is that the server doesn't like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// The page takes too long.
    Slow,
    /// The page is more than the server has room for.
    TooLarge,
    /// A row, whenever it comes.
    Row,
    /// Nothing that fewer rows would change.
    Other,
}

impl Failure {
    /// For people.
    pub(super) fn told(self, address: &DatabaseAddress) -> String {
        match self {
            Self::Lost => "it is gone".into(),
            Self::Refused(reason) => reason,
            Self::Database(error) => told(&error, address),
        }
    }

    pub(super) fn outcome(
        self,
        address: &DatabaseAddress,
        spec: &TableSpec,
        page: &Page,
    ) -> Outcome {
        let error = match self {
            Self::Lost => return Outcome::Lost,
            Self::Refused(reason) => return Outcome::Unanswered(reason),
            Self::Database(error) => error,
        };
        let reason = told(&error, address);
        let code = error.as_database_error().and_then(|error| error.code());
        match fault(&code.unwrap_or_default()) {
            Fault::Slow => Outcome::Slow(reason),
            Fault::TooLarge => Outcome::TooLarge(reason),
            Fault::Row => Outcome::Unstorable(of_row(spec, page, reason)),
            Fault::Other => Outcome::Unanswered(reason),
        }
    }
}

/// By SQLSTATE: `query_canceled`, which statement_timeout does; `out_of_memory`.
fn fault(code: &str) -> Fault {
    match code {
        "57014" => Fault::Slow,
        "53200" => Fault::TooLarge,
        _ if says_unstorable(code) => Fault::Row,
        _ => Fault::Other,
    }
}

/// Names the row, once it is known which one it is.
fn of_row(spec: &TableSpec, page: &Page, reason: String) -> String {
    let [change] = page.changes.as_slice() else { return reason };
    let key = one_line(&change.key, KEY_CHARS_MAX);
    let column = &spec.unique_column().name;
    format!("the row whose {column} is {key} can't be stored there: {reason}")
}

/// What a server, or the way there, has to say.
pub(super) fn told(error: &sqlx::Error, address: &DatabaseAddress) -> String {
    let text = match error.as_database_error() {
        None => error.to_string(),
        Some(database) => {
            let code = database.code().unwrap_or_default();
            let said = format!("{} (SQLSTATE {code})", database.message());
            match &*code {
                REFUSED_CREDENTIALS => return "it refuses the user and password".into(),
                REFUSED_CONNECTION => format!(
                    "it refuses this connection (by its pg_hba.conf: user, address or encryption): \
                     {said}"
                ),
                _ => said,
            }
        }
    };
    one_line(&address.hide(&text), TOLD_CHARS_MAX)
}

/// It ends up in somebody's terminal.
pub(super) fn one_line(text: &str, chars_max: usize) -> String {
    let words = text.split(|letter: char| letter.is_whitespace() || letter.is_control());
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    words.join(" ").chars().take(chars_max).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_say_what_it_is_that_they_do_not_like() {
        for (code, expected) in [
            ("57014", Fault::Slow),
            ("53200", Fault::TooLarge),
            ("54000", Fault::Row),
            ("22021", Fault::Row),
            ("22P05", Fault::Row),
            // Gone by itself, or by whoever looks after that database.
            ("53100", Fault::Other),
            ("55P03", Fault::Other),
            ("57P01", Fault::Other),
            ("23505", Fault::Other),
            ("42501", Fault::Other),
            ("", Fault::Other),
        ] {
            assert_eq!(fault(code), expected, "{code}");
        }
    }

    #[test]
    fn what_is_told_is_one_line() {
        assert_eq!(one_line(" a\u{1b}[2J\n\tb\u{0}c ", 300), "a [2J b c");
        assert_eq!(one_line("abc", 2), "ab");
    }
}
