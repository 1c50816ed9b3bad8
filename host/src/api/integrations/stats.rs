//! An integration in figures.

use serde_json::{Value, json};

use super::{found, of};
use crate::api::answer::Answer;
use crate::api::call::Call;
use crate::api::endpoint::Access::Member;
use crate::api::endpoint::Json::{Integer, Number, Text};
use crate::api::endpoint::{Endpoint, Field, Shape, field};
use crate::api::failure::Failure;
use crate::rows;
use crate::store::outcomes::Counted;

/// Those of webhooks are WebhookDB's.
const STATS: &[Field] = &[
    field("count_last_7_days", "", Integer),
    field("count_last_7_days_formatted", "Count Last 7 Days", Text),
    field("success_last_7_days", "", Integer),
    field("success_last_7_days_formatted", "Successful Last 7 Days", Text),
    field("success_last_7_days_percent", "", Number),
    field("success_last_7_days_percent_formatted", "Successful Last 7 Days %", Text),
    field("rejected_last_7_days", "", Integer),
    field("rejected_last_7_days_formatted", "Rejected Last 7 Days", Text),
    field("rejected_last_7_days_percent", "", Number),
    field("rejected_last_7_days_percent_formatted", "Rejected Last 7 Days %", Text),
    field("successful_of_last_10", "", Integer),
    field("successful_of_last_10_formatted", "Successful Of Last 10 Webhooks", Text),
    field("rejected_of_last_10", "", Integer),
    field("rejected_of_last_10_formatted", "Rejected Of Last 10 Webhooks", Text),
    field("owners_linked", "Owners linked", Integer),
    field("owners_dead", "Owners whose grant is dead", Integer),
    field("webhooks_kept", "Webhooks kept", Integer),
    field("webhooks_waiting", "Waiting", Integer),
    field("webhooks_parked", "Failed for good", Integer),
    field("last_webhook_at", "Last webhook", Text),
    field("streams", "Streams", Integer),
    field("streams_failing", "Failing", Integer),
    field("last_success_at", "Last sync", Text),
];

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![Endpoint::get(
        of!("/{i}/stats"),
        "How an integration is, and what its webhooks were answered",
        Member,
        &[],
        &[(200, Shape::Single(STATS))],
        |call| Box::pin(stats(call)),
    )]
}

async fn stats(call: Call) -> Result<Answer, Failure> {
    let of = found(&call).await?;
    let store = &call.app.store;
    let stats = store.integration_stats(&of.root_id, &of.service).await?;
    let counted = store.counted(&of.id).await?;
    let time = |at: Option<i64>| at.and_then(rows::timestamp_text);
    let mut entity = webhooks(&counted);
    for (name, value) in [
        ("owners_linked", json!(stats.owners_linked)),
        ("owners_dead", json!(stats.owners_dead)),
        ("webhooks_kept", json!(stats.webhooks_kept)),
        ("webhooks_waiting", json!(stats.webhooks_waiting)),
        ("webhooks_parked", json!(stats.webhooks_parked)),
        ("last_webhook_at", json!(time(stats.last_webhook_at))),
        ("streams", json!(stats.streams.all)),
        ("streams_failing", json!(stats.streams.failing)),
        ("last_success_at", json!(time(stats.streams.last_success_at))),
    ] {
        entity[name] = value;
    }
    let message = match counted.accepted + counted.rejected {
        0 => "No webhook came to this integration in the last seven days.",
        _ => "",
    };
    Ok(Answer::single(entity, message, STATS))
}

fn webhooks(counted: &Counted) -> Value {
    let mut entity = json!({});
    let mut count = |name: &str, count: i64| {
        entity[name] = count.into();
        entity[format!("{name}_formatted")] = count.to_string().into();
    };
    let all = counted.accepted + counted.rejected;
    count("count_last_7_days", all);
    count("success_last_7_days", counted.accepted);
    count("rejected_last_7_days", counted.rejected);
    count("successful_of_last_10", counted.last_accepted);
    count("rejected_of_last_10", counted.last_rejected);
    for (name, part) in [
        ("success_last_7_days_percent", counted.accepted),
        ("rejected_last_7_days_percent", counted.rejected),
    ] {
        // To a thousandth, so that integers do.
        let thousandths = if all == 0 { 0 } else { (part * 1_000 + all / 2) / all };
        #[expect(clippy::cast_precision_loss, reason = "it is 1,000 at most")]
        let share = thousandths as f64 / 1_000.0;
        entity[name] = share.into();
        let percent = format!("{}.{}%", thousandths / 10, thousandths % 10);
        entity[format!("{name}_formatted")] = percent.into();
    }
    entity
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_shown_as_webhookdb_does() {
        for (accepted, rejected, share, text) in [
            (3, 1, 0.75, "75.0%"),
            (2, 1, 0.667, "66.7%"),
            (0, 0, 0.0, "0.0%"),
            (7, 0, 1.0, "100.0%"),
        ] {
            let counted = Counted { accepted, rejected, last_accepted: 2, last_rejected: 8 };
            let shown = webhooks(&counted);
            assert_eq!(shown["success_last_7_days_percent"], json!(share));
            assert_eq!(shown["success_last_7_days_percent_formatted"], text);
            assert_eq!(shown["count_last_7_days"], accepted + rejected);
            assert_eq!(shown["rejected_of_last_10_formatted"], "8");
        }
    }
}
