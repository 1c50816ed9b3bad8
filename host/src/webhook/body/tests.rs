use super::*;

fn fields() -> IndexMap<String, BodyField> {
    let manifest: rowgate_manifest::Manifest =
        toml::from_str(include_str!("../../../tests/fixtures/google_calendar.toml")).unwrap();
    manifest.services["google_calendar_list_v1"].webhook.as_ref().unwrap().body.clone()
}

fn errors(body: &str) -> Vec<(String, String)> {
    let Err(errors) = check(&fields(), body.as_bytes()) else { return Vec::new() };
    errors.into_iter().flat_map(|(f, e)| e.into_iter().map(move |e| (f.clone(), e))).collect()
}

#[test]
fn all_spellings_pass() {
    for verb in ["LINK", "LINKED", "REFRESH", "REFRESHED", "UNLINK", "UNLINKED", "RESYNC"] {
        let body = format!(
            r#"{{"type": "{verb}", "external_owner_id": "o", "refresh_token": "planted"}}"#
        );
        let checked = check(&fields(), body.as_bytes()).unwrap_or_else(|e| panic!("{verb}: {e:?}"));
        assert_eq!(checked.owner.as_deref(), Some("o"));
        let text = String::from_utf8(checked.body).unwrap();
        assert!(!text.contains("planted"), "{verb}: {text}");
        assert!(text.contains(r#""refresh_token":null"#));
        let brings_token = verb.starts_with("LINK") || verb.starts_with("REFRESH");
        assert_eq!(checked.secrets.len(), usize::from(brings_token), "{verb}");
    }
}

#[test]
fn what_is_not_touched_keeps_its_bytes() {
    let body = r#" { "type":"RESYNC","external_owner_id":"a\u0041","n": 1e999, "z":[ 1 ] } "#;
    assert_eq!(check(&fields(), body.as_bytes()).unwrap().body, body.as_bytes());
    let body = r#"{"type":"RESYNC","external_owner_id":123456789012345678901234,"n": 1.50}"#;
    let checked = check(&fields(), body.as_bytes()).unwrap();
    assert_eq!(checked.owner.as_deref(), Some("123456789012345678901234"));
    assert_eq!(
        String::from_utf8(checked.body).unwrap(),
        r#"{"type":"RESYNC","external_owner_id":"123456789012345678901234","n":1.50}"#
    );
}

#[test]
fn a_repeated_key_counts_once_and_leaks_nothing() {
    let body = r#"{"type":"LINK","external_owner_id":"o","refresh_token":"one",
                   "refresh_token":"two"}"#;
    let checked = check(&fields(), body.as_bytes()).unwrap();
    assert_eq!(checked.secrets[0].1.as_str(), "two");
    let text = String::from_utf8(checked.body).unwrap();
    assert!(!text.contains("one") && !text.contains("two"), "{text}");
}

#[test]
fn a_value_that_does_not_count_is_not_kept() {
    for (before, kept) in [
        // Escaped or not, it is the same key.
        (r#""refresh_token":"planted","refresh_token":null"#, r#""refresh_token":null"#),
        (r#""refresh\u005ftoken":"planted","refresh_token":null"#, r#""refresh_token":null"#),
        (r#""refresh_token":null,"refresh_token":"planted""#, r#""refresh_token":null"#),
        (r#""n":"planted", "n":[ 1 ]"#, r#""n":[ 1 ]"#),
    ] {
        for verb in ["UNLINK", "RESYNC"] {
            let body = format!(r#"{{"type":"{verb}","external_owner_id":"o",{before}}}"#);
            let checked = check(&fields(), body.as_bytes()).unwrap_or_else(|e| panic!("{e:?}"));
            let stored = String::from_utf8(checked.body).unwrap();
            let expected = format!(r#"{{"type":"{verb}","external_owner_id":"o",{kept}}}"#);
            assert_eq!(stored, expected, "{before}");
            assert!(checked.secrets.is_empty());
        }
    }
}

#[test]
fn what_is_wrong_is_named() {
    let long = "x".repeat(1025);
    let allowed = "must be one of LINK, LINKED, REFRESH, REFRESHED, UNLINK, UNLINKED, RESYNC";
    let needed = "is missing (needed when type is LINK, LINKED, REFRESH, REFRESHED)";
    for (body, field, error) in [
        ("", "body", "is empty: send a JSON object"),
        (" \n", "body", "is empty: send a JSON object"),
        ("[1]", "body", "must be a JSON object"),
        (r#""secret""#, "body", "must be a JSON object"),
        ("{", "body", "is not JSON: EOF while parsing an object at line 1 column 1"),
        ("type=LINK", "body", "is not JSON: expected ident at line 1 column 2"),
        (r#"{"external_owner_id":"o"}"#, "type", &format!("is missing: {allowed}")),
        (r#"{"type":"NOPE","external_owner_id":"o"}"#, "type", allowed),
        (r#"{"type":7,"external_owner_id":"o"}"#, "type", allowed),
        (r#"{"type":true,"external_owner_id":"o"}"#, "type", "must be a string"),
        (r#"{"type":"RESYNC"}"#, "external_owner_id", "is missing"),
        (r#"{"type":"RESYNC","external_owner_id":null}"#, "external_owner_id", "is missing"),
        (r#"{"type":"RESYNC","external_owner_id":""}"#, "external_owner_id", "must not be empty"),
        (r#"{"type":"RESYNC","external_owner_id":1.0}"#, "external_owner_id", "must be a string"),
        (r#"{"type":"RESYNC","external_owner_id":{}}"#, "external_owner_id", "must be a string"),
        (
            r#"{"type":"RESYNC","external_owner_id":"a\u0000"}"#,
            "external_owner_id",
            "must not contain the character NUL",
        ),
        (
            r#"{"type":"RESYNC","external_owner_id":"\ud800"}"#,
            "external_owner_id",
            "is not valid Unicode text",
        ),
        (
            &format!(r#"{{"type":"RESYNC","external_owner_id":"{long}"}}"#),
            "external_owner_id",
            "must have at most 1024 characters, it has 1025",
        ),
        (r#"{"type":"LINK","external_owner_id":"o"}"#, "refresh_token", needed),
        (
            r#"{"type":"LINK","external_owner_id":"o","refresh_token":""}"#,
            "refresh_token",
            "must not be empty",
        ),
    ] {
        assert_eq!(errors(body), [(field.into(), error.into())], "{body}");
    }
    assert_eq!(errors("{}").len(), 2, "all that is wrong is said at once");
    let Err(errors) = check(&fields(), b"{\"type\":\"\xff\"}") else { panic!("not UTF-8") };
    assert_eq!(errors["body"], ["is not UTF-8 text"]);
}

#[test]
fn a_stored_body_says_which_secrets_it_brought() {
    for (verb, secrets) in
        [("LINKED", vec!["refresh_token"]), ("UNLINKED", vec![]), ("RESYNC", vec![])]
    {
        let body = format!(
            r#"{{"type": "{verb}", "external_owner_id": "o", "refresh_token": "planted"}}"#
        );
        let stored = check(&fields(), body.as_bytes()).unwrap().body;
        assert_eq!(secrets_of(&fields(), &stored), secrets, "{verb}");
    }
    assert!(secrets_of(&fields(), b"no JSON").is_empty());
}
