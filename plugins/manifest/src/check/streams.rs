//! Stream kinds and push channels.

use indexmap::IndexMap;
use serde_json::Value;

use super::tables::no_column;
use super::{Check, at_least_1, one_of, references};
use crate::{ColumnType, PerRow, Push, StreamKind, StreamRef, Table, WebhookAuth};

impl Check<'_> {
    pub(super) fn streams(&mut self) {
        for (service, entry) in &self.manifest.services {
            for (kind, stream) in &entry.streams {
                let path = format!("services.{service}.streams.{kind}");
                self.identifier(&path, kind);
                match stream {
                    StreamRef::Inline(stream) => self.stream(service, &path, stream),
                    StreamRef::Named(name) => match self.manifest.stream_kinds.get(name) {
                        Some(stream) => {
                            self.stream(service, &format!("stream_kinds.{name}"), stream);
                        }
                        None => {
                            let known = one_of(self.manifest.stream_kinds.keys());
                            self.problem(
                                path,
                                format!("there is no stream kind `{name}`; {known}"),
                            );
                        }
                    },
                }
            }
        }
        for (name, push) in &self.manifest.push {
            self.push(&format!("push.{name}"), name, push);
        }
    }

    fn stream(&mut self, service: &str, path: &str, stream: &StreamKind) {
        self.per_row(service, &format!("{path}.per_row"), &stream.per_row);
        if let Some(table) = self.manifest.table(service) {
            self.rows(&format!("{path}.rows"), table, stream);
            if let Some(removed) = &stream.removed {
                self.values(&format!("{path}.removed.set"), table, &removed.set);
                self.require(!stream.rows.is_empty(), &format!("{path}.removed"), || {
                    "nobody knows which rows are meant; add `rows`".into()
                });
            }
        }
        let limits = stream.page_limit_min > 0 && stream.page_limit_min <= stream.page_limit;
        self.require(limits, &format!("{path}.page_limit"), || {
            format!(
                "the limit shrinks from {} to {}: the first must be the larger, both at least 1",
                stream.page_limit, stream.page_limit_min
            )
        });
        let poll = &stream.poll_s;
        let polled = poll.pushed > 0 && poll.unpushed > 0 && poll.unsupported > 0;
        self.require(polled && stream.recheck_s != Some(0), &format!("{path}.poll_s"), at_least_1);
        if let Some(push) = &stream.push {
            let known = &self.manifest.push;
            self.require(known.contains_key(push), &format!("{path}.push"), || {
                format!("there is no push channel `{push}`; {}", one_of(known.keys()))
            });
        }
    }

    fn rows(&mut self, path: &str, table: &Table, stream: &StreamKind) {
        for (column, value) in &stream.rows {
            let path = format!("{path}.{column}");
            self.require(table.columns.contains_key(column), &path, || no_column(column));
            let key_only = references(value).is_some_and(|names| names.iter().all(|n| *n == "key"));
            self.require(key_only, &path, || {
                format!("`{value}`: only `{{key}}` can stand in braces here")
            });
        }
    }

    /// The rows of an ancestor, or of the service itself.
    fn per_row(&mut self, service: &str, path: &str, per_row: &PerRow) {
        let services = &self.manifest.services;
        let mut line = std::iter::successors(Some(service), |at| {
            services.get(*at).and_then(|service| service.depends_on.as_deref())
        });
        if !line.any(|ancestor| ancestor == per_row.table) {
            let text = format!("`{}` is not `{service}` or what it depends on", per_row.table);
            return self.problem(format!("{path}.table"), text);
        }
        let Some(table) = self.manifest.table(&per_row.table) else { return };
        if let Some(key) = &per_row.key {
            let text = table.columns.get(key) == Some(&ColumnType::Text);
            self.require(text, &format!("{path}.key"), || {
                format!("`{key}` is no text column of that table")
            });
        }
        self.values(&format!("{path}.unless"), table, &per_row.unless);
    }

    fn values(&mut self, path: &str, table: &Table, values: &IndexMap<String, Value>) {
        for (column, value) in values {
            let path = format!("{path}.{column}");
            let Some(kind) = table.columns.get(column) else {
                self.problem(path, no_column(column));
                continue;
            };
            self.require(fits(*kind, value), &path, || {
                format!("{value} is no value of type {kind:?}").to_lowercase()
            });
        }
    }

    fn push(&mut self, path: &str, name: &str, push: &Push) {
        self.identifier(path, &name.replace('-', "_"));
        let webhook = self.manifest.services.get(&push.endpoint).and_then(|s| s.webhook.as_ref());
        let channels = webhook.is_some_and(|webhook| {
            webhook.auth.iter().any(|auth| matches!(auth, WebhookAuth::Channel { .. }))
        });
        self.require(channels, &format!("{path}.endpoint"), || {
            format!("`{}` is no service whose webhook takes `kind = \"channel\"`", push.endpoint)
        });
        let row = &push.row.table;
        self.per_row(row, &format!("{path}.row"), &push.row);
        if let Some(table) = self.manifest.table(row) {
            let fills = [
                ("channel", &push.fills.channel, ColumnType::Text),
                ("vendor", &push.fills.vendor, ColumnType::Text),
                ("expires", &push.fills.expires, ColumnType::Timestamptz),
            ];
            for (what, column, kind) in fills {
                let fits = table.columns.get(column) == Some(&kind);
                self.require(fits, &format!("{path}.fills.{what}"), || {
                    format!("`{column}` is no column of type {kind:?} of that table")
                });
            }
        }
        self.require(push.renew_s < push.ttl_s, &format!("{path}.renew_s"), || {
            format!("renewed {} s before it ends, but lives {} s", push.renew_s, push.ttl_s)
        });
    }
}

fn fits(kind: ColumnType, value: &Value) -> bool {
    match kind {
        ColumnType::Bool => value.is_boolean(),
        ColumnType::Int => value.is_i64(),
        ColumnType::Double => value.is_number(),
        ColumnType::Json => true,
        _ => value.is_string(),
    }
}
