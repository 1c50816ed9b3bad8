//! Lets one reading statement through. The connection is read-only as well; this keeps out what
//! read-only connections still do: open other files (ATTACH, VACUUM INTO) and set pragmas.
//!
//! So it has to see where a statement ends as SQLite does (`sqlite3GetToken` in its tokenize.c). A variable is
//! what it can't follow: `$1(';')` is one. Nobody needs any, for nothing is bound here.

const READING: [&str; 5] = ["select", "with", "values", "explain", "pragma"];

/// Pragmas that tell of the schema and can't be set.
const PRAGMAS: [&str; 7] = [
    "table_info",
    "table_xinfo",
    "table_list",
    "index_list",
    "index_info",
    "index_xinfo",
    "compile_options",
];

/// Says what is wrong with a text that doesn't begin with a verb of reading. What else PostgreSQL's
/// role may not do is not for us to know.
pub(super) fn check_verb(text: &str) -> Result<(), String> {
    let rest = skip_blank(text)?;
    if rest.is_empty() {
        return Err("there is no statement".into());
    }
    let verb = word(rest);
    if !READING.contains(&verb.as_str()) {
        return Err(format!(
            "only reading statements are allowed here ({}), not `{verb}`",
            READING.join(", ")
        ));
    }
    Ok(())
}

/// Says what is wrong with a text that isn't one reading statement of SQLite.
pub(super) fn check(text: &str) -> Result<(), String> {
    // To SQLite the text ends there.
    if text.contains('\0') {
        return Err("there is a NUL in the statement".into());
    }
    check_verb(text)?;
    let mut rest = skip_blank(text)?;
    let verb = word(rest);
    // Many pragmas do their work while SQLite compiles them, so also if they are only explained.
    if verb == "explain" {
        let mut explained = rest;
        for passed in ["explain", "query", "plan"] {
            if word(explained) == passed {
                explained = skip_blank(&explained[passed.len()..])?;
            }
        }
        if word(explained) == "pragma" {
            return Err("a pragma can't be explained here".into());
        }
    }
    if verb == "pragma" {
        let name = word(skip_blank(&rest[verb.len()..])?);
        if !PRAGMAS.contains(&name.as_str()) {
            return Err(format!("the pragma `{name}` is not allowed here"));
        }
    }
    while let Some(first) = rest.chars().next() {
        rest = match first {
            ';' => {
                if !skip_blank(&rest[1..])?.is_empty() {
                    return Err("only one statement at a time is allowed".into());
                }
                return Ok(());
            }
            '\'' | '"' | '`' => skip_quoted(rest, first)?,
            '[' => skip_quoted(rest, ']')?,
            '$' | '?' | ':' | '@' | '#' => {
                return Err(format!("`{first}` begins a parameter: write its value instead"));
            }
            _ => &rest[first.len_utf8()..],
        };
        rest = skip_blank(rest)?;
    }
    Ok(())
}

/// The leading word in lower case.
fn word(text: &str) -> String {
    let letters = text.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_');
    letters.collect::<String>().to_ascii_lowercase()
}

/// What stands after white space and comments.
fn skip_blank(mut text: &str) -> Result<&str, String> {
    loop {
        text = text.trim_start();
        if let Some(comment) = text.strip_prefix("--") {
            text = comment.split_once('\n').map_or("", |(_, after)| after);
        } else if let Some(comment) = text.strip_prefix("/*") {
            text = comment.split_once("*/").ok_or("a comment isn't closed")?.1;
        } else {
            return Ok(text);
        }
    }
}

/// What stands after a quoted text; a doubled quote is two quoted texts in a row here.
fn skip_quoted(text: &str, quote: char) -> Result<&str, String> {
    match text[1..].split_once(quote) {
        Some((_, after)) => Ok(after),
        None => Err(format!("a quoted text isn't closed: {quote} is missing")),
    }
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn one_reading_statement_passes() {
        for text in [
            "select 1",
            " -- why\n SELECT 1 ; ",
            "/* a; */ with x as (select ';') select * from x;",
            "select 'it''s; fine', \"a;b\", [c;d], `e;f`",
            "values (1)",
            "explain query plan select 1",
            "pragma table_info('x')",
            "select 1; -- done",
            "select data ->> '$.a?b:c@d#e', \"$1('\" from t -- $1(';",
        ] {
            assert_eq!(check(text), Ok(()), "{text}");
        }
    }

    #[test]
    fn everything_else_is_refused() {
        for (text, reason) in [
            ("", "no statement"),
            (" -- nothing", "no statement"),
            ("attach 'control.db' as c", "`attach`"),
            ("ATTACH 'control.db' as c", "`attach`"),
            ("/**/vacuum into 'x'", "`vacuum`"),
            ("delete from t", "`delete`"),
            ("pragma query_only = 0", "`query_only`"),
            ("pragma main.query_only = 0", "`main`"),
            ("select 1; attach 'x' as y", "one statement"),
            ("select ';'; delete from t", "one statement"),
            ("select 1 /* ", "comment"),
            ("select 'x", "quoted"),
            (";select 1", "only reading"),
            ("select $1(');attach 'control.db' as c --'", "parameter"),
            ("select a$1(';'); attach 'x' as y", "parameter"),
            ("select @a(';'), #b, :c, ?1", "parameter"),
            ("select 1 where x = :c", "parameter"),
            ("select ?1", "parameter"),
            ("select 1 \0; attach 'x' as y", "NUL"),
            ("select 1 --\0", "NUL"),
            ("explain pragma query_only=off", "explained"),
            ("EXPLAIN /* */ query plan -- x\n pragma x=1", "explained"),
        ] {
            let refusal = check(text).unwrap_err();
            assert!(refusal.contains(reason), "{text}: {refusal}");
        }
    }
}
