//! What the API tells of one tree, page by page, of all trees of an organization.

use serde_json::{Value, json};

use super::client::{Client, segment};

/// A collection of all pages. `below` an integration; `place`: what the next page is asked for, behind a page's
/// last thing.
pub(super) async fn all(
    client: &Client,
    below: &str,
    place: impl Fn(&Value) -> String,
) -> anyhow::Result<Value> {
    let mut all: Vec<Value> = Vec::new();
    let mut page = json!({ "display_headers": [] });
    for root in roots(client).await? {
        let mut after = String::new();
        loop {
            let path = client.of_integration(&root, below)?;
            let separator = if below.contains('?') { '&' } else { '?' };
            page = client.get(&format!("{path}{separator}after={}", segment(&after))).await?.body;
            let items = page["items"].as_array().cloned().unwrap_or_default();
            after = items.last().map(&place).unwrap_or_default();
            all.extend(items);
            if page["has_more"] != true {
                break;
            }
        }
    }
    if !all.is_empty() {
        // Of the last tree, which may be empty.
        page["message"] = "".into();
    }
    page["items"] = all.into();
    Ok(page)
}

/// Integrations that stand at the top of a tree.
pub(super) async fn roots(client: &Client) -> anyhow::Result<Vec<String>> {
    let all = client.get(&client.of_org("service_integrations")?).await?;
    let all = all.body["items"].as_array().cloned().unwrap_or_default().into_iter();
    let roots = all.filter(|one| one["depends_on"].is_null());
    Ok(roots.filter_map(|one| Some(one["opaque_id"].as_str()?.to_owned())).collect())
}
