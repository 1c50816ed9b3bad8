//! Who may post to an integration, and what.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Who may post to an integration's endpoint, and what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// Request headers that reach the component, names in lower case.
    #[serde(default)]
    pub headers: Vec<String>,
    /// The first whose header is present decides.
    pub auth: Vec<WebhookAuth>,
    /// Fields that the body must have. Empty: any JSON object.
    #[serde(default)]
    pub body: IndexMap<String, BodyField>,
}

impl Webhook {
    /// A body that would pass, for people: the first of the allowed values, else the field's name.
    pub fn example_body(&self) -> Value {
        let mut body = Map::new();
        for (name, field) in self.body.iter().filter(|(_, field)| !field.optional) {
            let asked = |(other, values): (&String, &Vec<String>)| {
                let given = body.get(other).and_then(Value::as_str);
                given.is_some_and(|given| values.iter().any(|value| value == given))
            };
            if !field.when.iter().all(asked) {
                continue;
            }
            let value = match field.kind {
                BodyKind::String => {
                    field.values.first().cloned().unwrap_or_else(|| name.to_uppercase()).into()
                }
                BodyKind::Integer => 1.into(),
                BodyKind::Boolean => true.into(),
                BodyKind::Object => Value::Object(Map::new()),
                BodyKind::Array => Value::Array(Vec::new()),
            };
            body.insert(name.clone(), value);
        }
        Value::Object(body)
    }
}

/// One way to authenticate a post.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
#[allow(missing_docs, reason = "the names say it")]
pub enum WebhookAuth {
    /// A header that holds a secret of the configuration.
    Header { header: String, secret: String },
    /// A vendor's push channel, known by id and token.
    Channel {
        /// Header with the channel id.
        id: String,
        /// Header with the channel token.
        token: String,
        /// Header with the vendor's own id of the channel.
        #[serde(default)]
        vendor_id: Option<String>,
        /// The post carries data for `receive`; else it only makes streams due.
        #[serde(default)]
        data: bool,
    },
}

/// One field of a webhook body.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BodyField {
    /// `string` if absent. An integer where a string is asked becomes its decimal text.
    #[serde(default, rename = "type")]
    pub kind: BodyKind,
    /// The allowed values.
    #[serde(default, rename = "enum")]
    pub values: Vec<String>,
    /// Least number of characters.
    #[serde(default)]
    pub min: Option<u32>,
    /// Largest number of characters.
    #[serde(default)]
    pub max: Option<u32>,
    /// This field is the external owner id.
    #[serde(default)]
    pub owner: bool,
    /// Sealed on arrival as this secret; the component sees null.
    #[serde(default)]
    pub seal: Option<String>,
    /// Needed only where these other fields have one of these values.
    #[serde(default)]
    pub when: IndexMap<String, Vec<String>>,
    /// May be absent.
    #[serde(default)]
    pub optional: bool,
}

/// JSON type of a body field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the names say it")]
pub enum BodyKind {
    #[default]
    String,
    Integer,
    Boolean,
    Object,
    Array,
}
