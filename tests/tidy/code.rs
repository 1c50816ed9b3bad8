//! Rust text without what only people read: comments and the insides of strings become blanks, so
//! that positions stay and a rule sees code alone.

/// `text` with comments, strings and characters blanked.
pub(crate) fn only_code(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let (length, keep) = match skipped(rest, out.chars().next_back()) {
            Some(length) => (length, false),
            None => (first.len_utf8(), true),
        };
        let (piece, after) = rest.split_at(length);
        if keep {
            out.push_str(piece);
        } else {
            out.extend(piece.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        }
        rest = after;
    }
    out
}

/// The lines on which `name` stands as a whole word, counted from 1.
pub(crate) fn lines_with(code: &str, name: &str) -> Vec<usize> {
    let lines = code.lines().enumerate();
    lines.filter(|(_, line)| has_word(line, name)).map(|(at, _)| at + 1).collect()
}

/// Does `name` stand in `text` as a whole word?
pub(crate) fn has_word(text: &str, name: &str) -> bool {
    text.match_indices(name).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + name.len()..].chars().next();
        !before.is_some_and(is_word) && !after.is_some_and(is_word)
    })
}

pub(crate) fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// How many bytes a comment or literal takes at the start of `rest`. None: this is code.
fn skipped(rest: &str, before: Option<char>) -> Option<usize> {
    if rest.starts_with("//") {
        return Some(rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return Some(block_comment(rest));
    }
    if rest.starts_with('"') {
        return Some(quoted(rest, '"'));
    }
    if rest.starts_with('r') && !before.is_some_and(|c| is_word(c) && c != 'b' && c != 'c') {
        return raw_string(rest);
    }
    if rest.starts_with('\'') {
        return character(rest);
    }
    None
}

fn block_comment(rest: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < rest.len() {
        let ahead = &rest.as_bytes()[at..];
        if ahead.starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if ahead.starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    rest.len()
}

fn quoted(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at + c.len_utf8(),
            _ => {}
        }
    }
    rest.len()
}

fn raw_string(rest: &str) -> Option<usize> {
    let hashes = rest[1..].chars().take_while(|c| *c == '#').count();
    let inside = rest[1 + hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let length = inside.find(&end).map_or(inside.len(), |at| at + end.len());
    Some(1 + hashes + 1 + length)
}

/// A character, unless the quote begins a lifetime.
fn character(rest: &str) -> Option<usize> {
    let inside = &rest[1..];
    let first = inside.chars().next()?;
    let is_character = first == '\\' || inside[first.len_utf8()..].starts_with('\'');
    is_character.then(|| quoted(rest, '\''))
}

#[test]
fn comments_and_literals_are_blanked() {
    for (text, code) in [
        ("a // b\nc", "a     \nc"),
        ("a /* b /* c */ d */ e", "a                   e"),
        (r#"f("a\"b") + g"#, "f(      ) + g"),
        (r##"r#"a "b" c"# + d"##, "             + d"),
        ("'x' + '\\'' + 'a: &'b c", "    +      + 'a: &'b c"),
        ("\"// no comment\" a", "                a"),
        ("for r in rows", "for r in rows"),
    ] {
        assert_eq!(only_code(text), code, "{text}");
    }
}

#[test]
fn words_are_whole() {
    assert_eq!(lines_with("sqlx::x\nmysqlx\nuse sqlx;\nsqlx_core", "sqlx"), [1, 3]);
}
