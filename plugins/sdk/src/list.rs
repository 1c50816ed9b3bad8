//! Lists: an object with an array of items among its members, as most vendors answer.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::de::{Deserialize, DeserializeOwned, IgnoredAny};
use serde_json::value::RawValue;

use crate::{Answer, Failure, Result};

/// A page of a list.
#[derive(Debug)]
pub struct List<'a, H, T> {
    /// All but the items.
    pub head: H,
    /// In their order.
    pub items: Vec<Item<'a, T>>,
}

/// An item of a list.
#[derive(Debug)]
pub struct Item<'a, T> {
    /// As it came.
    pub raw: &'a str,
    /// None: it is JSON of another shape.
    pub parsed: Option<T>,
}

impl Answer {
    /// The body as a list whose items are the array `name`, none where it has no such member. Each item is
    /// read once, which is a third quicker than first as raw JSON and then as `T`. HTML and a body that broke
    /// off are a retry; a list of another shape is a `Bug`, with the path.
    pub fn list<'a, H, T>(&'a self, name: &str) -> Result<List<'a, H, T>>
    where
        H: DeserializeOwned,
        T: Deserialize<'a>,
    {
        let Ok(text) = str::from_utf8(&self.body) else { return Err(self.broken()) };
        let Some(start) = Place { text, at: 0 }.array(name) else {
            let head: H = self.json()?;
            let members: BTreeMap<String, IgnoredAny> = self.json()?;
            if members.contains_key(name) {
                return Err(self.shapeless(name, "no array"));
            }
            return Ok(List { head, items: Vec::new() });
        };
        let mut place = Place { text, at: start };
        let items = place.items().ok_or_else(|| self.broken())?;
        // Whichever were taken, the others would count as gone.
        if place.is_repeated(name) {
            return Err(self.shapeless(name, "there are two of them"));
        }
        let head = [&text[..start], &text[place.at..]].concat();
        let head = Self { status: self.status, headers: Vec::new(), body: head.into_bytes() };
        Ok(List { head: head.json()?, items })
    }

    fn shapeless(&self, name: &str, what: &str) -> Failure {
        Failure::Bug(format!("answer {}, at `{name}`: {what}", self.status))
    }

    /// What is wrong with a body that is no JSON.
    fn broken(&self) -> Failure {
        let not_json = || Failure::retry(format!("answer {}: no JSON", self.status));
        self.json::<IgnoredAny>().err().unwrap_or_else(not_json)
    }
}

/// A place in a text of JSON.
#[derive(Clone, Copy)]
struct Place<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Place<'a> {
    /// Where the array of a member of this object begins, behind its bracket. None: there is none, or what
    /// stands before it is no JSON.
    fn array(mut self, name: &str) -> Option<usize> {
        self.take(b'{').then_some(())?;
        self.member(name)?;
        self.take(b'[').then_some(self.at)
    }

    /// Goes from a member's name to the value of the first one of this name. None: there is none, or what
    /// stands before it is no JSON.
    fn member(&mut self, name: &str) -> Option<()> {
        loop {
            let key: Cow<'a, str> = self.value()?;
            self.take(b':').then_some(())?;
            if key == name {
                return Some(());
            }
            let _other: IgnoredAny = self.value()?;
            self.take(b',').then_some(())?;
        }
    }

    /// The items of the array that began here, up to its closing bracket. None: it is no JSON.
    fn items<T: Deserialize<'a>>(&mut self) -> Option<Vec<Item<'a, T>>> {
        let mut items = Vec::new();
        self.skip_space();
        if self.text[self.at..].starts_with(']') {
            return Some(items);
        }
        loop {
            self.skip_space();
            let start = self.at;
            let parsed = self.value();
            if parsed.is_none() {
                let _raw: &'a RawValue = self.value()?;
            }
            items.push(Item { raw: &self.text[start..self.at], parsed });
            if !self.take(b',') {
                return self.text[self.at..].starts_with(']').then_some(items);
            }
        }
    }

    /// Is there another member of this name behind the array whose closing bracket is here? What is no JSON is
    /// noticed by who reads the whole.
    fn is_repeated(mut self, name: &str) -> bool {
        self.take(b']') && self.take(b',') && self.member(name).is_some()
    }

    /// Goes over a value. None: it isn't of this shape; nothing was gone over.
    fn value<T: Deserialize<'a>>(&mut self) -> Option<T> {
        let mut values = serde_json::Deserializer::from_str(&self.text[self.at..]).into_iter();
        let value = values.next()?.ok()?;
        self.at += values.byte_offset();
        Some(value)
    }

    fn take(&mut self, byte: u8) -> bool {
        self.skip_space();
        let found = self.text.as_bytes().get(self.at) == Some(&byte);
        self.at += usize::from(found);
        found
    }

    fn skip_space(&mut self) {
        let is_space = |byte: &&u8| matches!(**byte, b' ' | b'\t' | b'\n' | b'\r');
        self.at += self.text.as_bytes()[self.at..].iter().take_while(is_space).count();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, serde::Deserialize)]
    struct Head {
        next: Option<String>,
    }

    #[derive(Debug, PartialEq, serde::Deserialize)]
    struct Event<'a> {
        id: &'a str,
    }

    fn answer(body: &str) -> Answer {
        Answer { status: 200, headers: Vec::new(), body: body.into() }
    }

    /// Items: as they came, and their ids.
    type Found<'a> = Vec<(&'a str, Option<&'a str>)>;

    fn list<'a>(answer: &'a Answer) -> Result<(Option<String>, Found<'a>)> {
        let list: List<'a, Head, Event<'a>> = answer.list("items")?;
        let item = |item: &Item<'a, Event<'a>>| (item.raw, item.parsed.as_ref().map(|e| e.id));
        Ok((list.head.next, list.items.iter().map(item).collect()))
    }

    #[test]
    fn items_are_parsed_and_kept_as_they_came() {
        let a = r#"{"id":"a","items":[{"id":"c"}]}"#;
        let b = r#"{ "x" : [ "]", 1.50 ] , "id" : "b" }"#;
        let (ab, next) = (vec![(a, Some("a")), (b, Some("b"))], Some("t".to_owned()));
        let cases = [
            (format!(r#"{{"items":[{a},{b}],"next":"t"}}"#), (next.clone(), ab.clone())),
            (
                format!(" {{ \"next\" : \"t\" ,\n\"items\"\t: [ {a} ,\n {b}\n] }} "),
                (next.clone(), ab),
            ),
            (
                format!(r#"{{"x":{{"items":[1]}},"it\u0065ms":[{a}]}}"#),
                (None, vec![(a, Some("a"))]),
            ),
            (r#"{"items":[],"next":"t"}"#.into(), (next.clone(), vec![])),
            (r#"{"items":[ ]}"#.into(), (None, vec![])),
            (r#"{"next":"t"}"#.into(), (next, vec![])),
            ("{}".into(), (None, vec![])),
            (
                r#"{"items":[{"id":1},{},null,"x",{"id":"é"},-1.0e3]}"#.into(),
                (
                    None,
                    vec![
                        (r#"{"id":1}"#, None),
                        ("{}", None),
                        ("null", None),
                        (r#""x""#, None),
                        (r#"{"id":"é"}"#, Some("é")),
                        ("-1.0e3", None),
                    ],
                ),
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(list(&answer(&text)), Ok(expected), "{text}");
        }
    }

    /// Each beginning of a list is a retry, never a shorter list.
    #[test]
    fn what_broke_off_is_a_retry() {
        let whole = r#"{"next":"t","items":[{"id":"a"},{"id":1},"x"],"other":[{}]}"#;
        for length in 0..whole.len() {
            let failure = list(&answer(&whole[..length])).unwrap_err();
            assert!(matches!(failure, Failure::Retry(_)), "{length}: {failure:?}");
        }
        let brokens = [
            "<html>",
            r#"{"items":[1 2]}"#,
            r#"{"items":[1,]}"#,
            r#"{"items":[]]"#,
            r#"{"items":[]}x"#,
            r#"{"items":[]}{"items":[{}]}"#,
            "{}<html>",
        ];
        for broken in brokens {
            let failure = list(&answer(broken)).unwrap_err();
            assert!(matches!(failure, Failure::Retry(_)), "{broken}: {failure:?}");
        }
        let not_utf8 = Answer { body: b"{\"items\":[\"\xff\"]}".to_vec(), ..answer("") };
        assert!(matches!(list(&not_utf8), Err(Failure::Retry(_))));
    }

    #[test]
    fn a_list_of_another_shape_is_a_bug() {
        let items = [
            r#"{"items":null}"#,
            r#"{"items":{}}"#,
            r#"{"next":"t","items":"x"}"#,
            r#"{"items":[],"items":[{"id":"a"}],"next":"t"}"#,
            r#"{"items":[{"id":"a"}], "x": [1, "]"] , "it\u0065ms":[{"id":"b"}]}"#,
            r#"{"items":[{"id":"a"}],"items":null}"#,
        ];
        for text in items {
            let failure = list(&answer(text)).unwrap_err();
            assert!(matches!(&failure, Failure::Bug(text) if text.contains("`items`")), "{text}");
        }
        let next = answer(r#"{"items":[{"id":"a"}],"next":1}"#);
        let failure = list(&next).unwrap_err();
        assert!(matches!(&failure, Failure::Bug(text) if text.contains("`next`")), "{failure:?}");
        assert!(matches!(list(&answer("[]")), Err(Failure::Bug(_))));
    }
}
