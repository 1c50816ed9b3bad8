use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::string::plain_length;
use super::*;

#[test]
fn equal_values_have_equal_text() {
    let cases = [
        (r#" { "b" : 1 , "a" : [ ] } "#, r#"{"a":[],"b":1}"#),
        (r#"{"a":1,"a":2}"#, r#"{"a":2}"#),
        (r#"{"b":{"d":1,"c":2},"a":{"c":1}}"#, r#"{"a":{"c":1},"b":{"c":2,"d":1}}"#),
        (r#"{"a\u0000":1,"a":2,"b":0}"#, r#"{"a":2,"b":0}"#),
        (r#""a\u0000b""#, r#""ab""#),
        (r#""a\\u0000b""#, r#""a\\u0000b""#),
        (r#""a\\\u0000b""#, r#""a\\b""#),
        (r#""\u00e9\/\u0041""#, r#""é/A""#),
        (r#""\u000a\u001F""#, "\"\\n\\u001f\""),
        (r#""\ud83d\ude00""#, "\"😀\""),
        (r#""\ud83dx\udc00""#, "\"\u{fffd}x\u{fffd}\""),
        (r#""\ud83d\ud83d\ude00""#, "\"\u{fffd}😀\""),
        (r#"[1.0,1e400,-0,true,false,null]"#, r#"[1,1e400,0,true,false,null]"#),
        ("[10e-1001,-1e1000,1]", r#"[1e-1000,"-1e1000",1]"#),
        ("1e99999999999999999999", r#""1e99999999999999999999""#),
        ("\"a\0b\"", r#""ab""#),
        (" {}", "{}"),
        ("{\"\":1}", "{\"\":1}"),
    ];
    for (text, expected) in cases {
        assert_eq!(canonical(text).as_deref(), Ok(expected), "{text}");
        assert_eq!(canonical(expected).as_deref(), Ok(expected), "{text} again");
    }
}

#[test]
fn what_is_no_json() {
    let texts = [
        "",
        " ",
        "{",
        "[",
        "\"",
        "{\"a\"}",
        "{\"a\":}",
        "{a:1}",
        "[1,]",
        "{\"a\":1,}",
        "[1 2]",
        "tru",
        "nul",
        "01",
        "1.",
        "+1",
        "'a'",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\\u12g4\"",
        "\"\\",
        "1 2",
        "\"a\nb\"",
        "NaN",
        "{}}",
        "\0",
    ];
    for text in texts {
        assert!(canonical(text).is_err(), "{text}");
    }
}

/// A byte at a time against eight at a time: each byte at each place, between plain ones and beside another.
#[test]
fn a_run_of_plain_characters_ends_where_it_must() {
    let one_by_one = |text: &[u8]| {
        let special = |byte: &u8| *byte < 0x20 || *byte == b'"' || *byte == b'\\';
        text.iter().position(special).unwrap_or(text.len())
    };
    for byte in 0..=u8::MAX {
        for at in 0..20 {
            for beside in [b'a', b' ', b'!', b'#', b'"', 0, 0x1f, 0x80, 0xff] {
                let mut text = [b'a'; 21];
                (text[at], text[at + 1]) = (byte, beside);
                for text in [&text[..], &text[..=at], &text[at..]] {
                    assert_eq!(plain_length(text), one_by_one(text), "{text:?}");
                }
            }
        }
    }
}

#[test]
fn depth_is_bounded() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(canonical(&nested(128)).is_ok());
    assert!(canonical(&nested(100_000)).is_err());
}

/// Random documents against serde_json: the same value, and the same text from any spelling.
#[test]
fn agrees_with_another_parser() {
    for seed in 0..2_000 {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let (mut text, mut respelt) = (String::new(), String::new());
        document(&mut random, 0, &mut text, &mut respelt);
        let ours = canonical(&text).unwrap();
        let parse = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(parse(&ours), parse(&text), "seed {seed}: {text}");
        assert_eq!(canonical(&respelt).unwrap(), ours, "seed {seed}: {respelt}");
    }
}

const DAMAGE: &[u8] = b"\\\"{}[]:,u0e-\0\x01 \x80";

/// Damaged documents are refused or repaired, never a panic; what is accepted is stable.
#[test]
fn damage_is_no_panic() {
    for seed in 0..5_000 {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let (mut text, mut respelt) = (String::new(), String::new());
        document(&mut random, 0, &mut text, &mut respelt);
        let mut bytes = respelt.into_bytes();
        for _ in 0..random.random_range(1..4) {
            let at = random.random_range(0..bytes.len());
            bytes[at] = DAMAGE[random.random_range(0..DAMAGE.len())];
        }
        let text = String::from_utf8_lossy(&bytes);
        if let Ok(once) = canonical(&text) {
            assert_eq!(canonical(&once).unwrap(), once, "seed {seed}: {text}");
        }
    }
}

/// The same random value twice: members sorted, and in another order with other escapes.
fn document(random: &mut ChaCha8Rng, depth: u32, text: &mut String, respelt: &mut String) {
    match random.random_range(0..if depth < 4 { 7 } else { 4 }) {
        0 => {
            let number = random.random_range(-1_000..1_000);
            text.push_str(&number.to_string());
            respelt.push_str(&format!("{number}.00"));
        }
        1 => [text, respelt].into_iter().for_each(|text| text.push_str("true")),
        2 | 3 => {
            text.push_str("\"x\\n/é\\\\\"");
            respelt.push_str("\"\\u0078\\u000A\\/\\u00E9\\u005c\"");
        }
        4 => {
            text.push('[');
            respelt.push_str(" [ ");
            for item in 0..random.random_range(0..4) {
                if item > 0 {
                    text.push(',');
                    respelt.push_str("\t,");
                }
                document(random, depth + 1, text, respelt);
            }
            text.push(']');
            respelt.push_str(" ]");
        }
        _ => {
            let mut members = Vec::new();
            for member in 0..random.random_range(0..5) {
                let (mut a, mut b) = (String::new(), String::new());
                document(random, depth + 1, &mut a, &mut b);
                members
                    .push((format!("\"k{member}\":{a}"), format!("\n\"k\\u003{member}\" : {b}")));
            }
            let texts: Vec<&str> = members.iter().map(|(a, _)| a.as_str()).collect();
            text.push_str(&format!("{{{}}}", texts.join(",")));
            let respelts: Vec<&str> = members.iter().rev().map(|(_, b)| b.as_str()).collect();
            respelt.push_str(&format!("{{{}}}", respelts.join(",")));
        }
    }
}
