//! JSON bodies that may hold secrets.

use crate::Part;

/// A JSON value in which a secret can stand for a string. The host fills it in, quoted and escaped.
#[derive(Clone, Debug, PartialEq)]
pub enum Json {
    /// Any JSON without secrets.
    Plain(serde_json::Value),
    /// The string that the secret of this name holds.
    Secret(String),
    /// Fields in their order.
    Object(Vec<(String, Json)>),
    /// Items in their order.
    Array(Vec<Json>),
}

impl Json {
    /// An object of these fields.
    pub fn object<K: Into<String>>(fields: impl IntoIterator<Item = (K, Self)>) -> Self {
        Self::Object(fields.into_iter().map(|(name, value)| (name.into(), value)).collect())
    }

    /// The string that a secret holds.
    pub fn secret(name: impl Into<String>) -> Self {
        Self::Secret(name.into())
    }

    /// Text between secrets, and secrets.
    pub(crate) fn parts(&self) -> Vec<Part> {
        let mut parts = Vec::new();
        let mut text = String::new();
        self.write(&mut text, &mut parts);
        if !text.is_empty() {
            parts.push(Part::Text(text));
        }
        parts
    }

    fn write(&self, text: &mut String, parts: &mut Vec<Part>) {
        match self {
            Self::Plain(value) => text.push_str(&value.to_string()),
            Self::Secret(name) => {
                if !text.is_empty() {
                    parts.push(Part::Text(std::mem::take(text)));
                }
                parts.push(Part::Secret(name.clone()));
            }
            Self::Object(fields) => {
                text.push('{');
                for (i, (name, value)) in fields.iter().enumerate() {
                    let comma = if i == 0 { "" } else { "," };
                    let name = serde_json::Value::from(name.as_str());
                    text.push_str(&format!("{comma}{name}:"));
                    value.write(text, parts);
                }
                text.push('}');
            }
            Self::Array(items) => {
                text.push('[');
                for (i, item) in items.iter().enumerate() {
                    text.push_str(if i == 0 { "" } else { "," });
                    item.write(text, parts);
                }
                text.push(']');
            }
        }
    }
}

impl<T: Into<serde_json::Value>> From<T> for Json {
    fn from(value: T) -> Self {
        Self::Plain(value.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Part {
        Part::Text(text.into())
    }

    #[test]
    fn secrets_stand_between_the_texts() {
        let json = Json::object([
            ("id", Json::from("a\"b")),
            ("token", Json::secret("channel_token")),
            ("list", Json::Array(vec![Json::from(1), Json::secret("other")])),
        ]);
        let expected = vec![
            text(r#"{"id":"a\"b","token":"#),
            Part::Secret("channel_token".into()),
            text(r#","list":[1,"#),
            Part::Secret("other".into()),
            text("]}"),
        ];
        assert_eq!(json.parts(), expected);
        assert_eq!(Json::from("x").parts(), vec![text("\"x\"")]);
        assert_eq!(Json::secret("s").parts(), vec![Part::Secret("s".into())]);
    }
}
