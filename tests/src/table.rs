//! Rows, as a customer's SQL sees them.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{TestHost, Tree};

impl TestHost {
    /// Rows of expanded events of an owner, in the order of calendar and id.
    pub async fn events(&self, tree: &Tree, owner: &str) -> Vec<Value> {
        self.events_in(tree.events(), owner).await
    }

    /// The same as they stand at the source.
    pub async fn source_events(&self, tree: &Tree, owner: &str) -> Vec<Value> {
        self.events_in(tree.sources(), owner).await
    }

    async fn events_in(&self, table: &str, owner: &str) -> Vec<Value> {
        self.sql(&format!(
            "select * from {table} where external_owner_id = {} \
             order by google_calendar_id, google_id",
            quoted(owner)
        ))
        .await
    }

    /// Rows of calendars of an owner, in the order of their ids.
    pub async fn calendars(&self, tree: &Tree, owner: &str) -> Vec<Value> {
        let (table, owner) = (&tree.calendar.table, quoted(owner));
        self.sql(&format!(
            "select * from {table} where external_owner_id = {owner} order by google_id"
        ))
        .await
    }

    /// Status of each event row in a calendar of any owner, by id.
    pub async fn statuses(&self, table: &str, calendar: &str) -> BTreeMap<String, String> {
        let query = format!(
            "select google_id, status from {table} where google_calendar_id = {}",
            quoted(calendar)
        );
        let text = |value: &Value| value.as_str().unwrap_or("null").to_owned();
        let rows = self.sql(&query).await.into_iter();
        rows.map(|row| (text(&row["google_id"]), text(&row["status"]))).collect()
    }

    /// Rows of an owner in each table of the tree.
    pub async fn row_counts(&self, tree: &Tree, owner: &str) -> BTreeMap<String, i64> {
        let counts = tree.tables().map(|table| {
            let owner = quoted(owner);
            format!(
                "select '{table}' as name, count(*) as n from {table} \
                 where external_owner_id = {owner}"
            )
        });
        let query = counts.collect::<Vec<_>>().join(" union all ");
        let rows = self.sql(&query).await.into_iter();
        rows.map(|row| {
            let name = row["name"].as_str().unwrap_or_default().to_owned();
            (name, row["n"].as_i64().expect("a count"))
        })
        .collect()
    }

    /// Rows of an owner in all tables of the tree.
    pub async fn row_count(&self, tree: &Tree, owner: &str) -> i64 {
        self.row_counts(tree, owner).await.values().sum()
    }
}

/// A text in SQL.
pub(crate) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
