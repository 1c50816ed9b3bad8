//! A full listing of the vendor's items (`GET {api_url}/items`: a JSON object, id to note). The
//! items that it doesn't name any more are swept; those of the other parts are out of its scope.

use std::collections::BTreeMap;

use crate::bindings::rowgate::plugin::db::{self, Condition, Op, Scalar, Unseen};
use crate::bindings::rowgate::plugin::types::{Context, Failure};
use crate::{ITEMS, requests, rows};

/// Ids of listed items begin with it.
const LISTED: &str = "listed-";

pub(crate) fn list(context: &Context) -> Result<(), Failure> {
    let scope = [Condition {
        column: "item_id".to_owned(),
        op: Op::StartsWith,
        value: Scalar::Text(LISTED.to_owned()),
    }];
    db::begin_full(ITEMS, &scope).map_err(rows::refused)?;
    let answer = requests::items(context)?;
    let listed: BTreeMap<String, String> = serde_json::from_slice(&answer.body)
        .map_err(|error| Failure::Bug(format!("items: {error}")))?;
    let listed: Vec<_> =
        listed.into_iter().map(|(id, note)| (format!("{LISTED}{id}"), note)).collect();
    let items: Vec<_> = listed.iter().map(|(id, note)| (id.as_str(), note.as_str())).collect();
    if !items.is_empty() {
        rows::upsert(&rows::items(&items))?;
    }
    db::end_full(ITEMS, &scope, &Unseen::Delete).map_err(rows::refused)
}
