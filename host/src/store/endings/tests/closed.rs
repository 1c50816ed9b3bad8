//! Organizations that are closed.

use sqlx::Connection as _;
use zeroize::Zeroizing;

use super::*;
use crate::config::Isolation;
use crate::store::feed::Bookmark;
use crate::store::saved_queries::NewSavedQuery;
use crate::store::subscriptions::NewSubscription;

on_both! {
    nothing_is_left_of_an_organization,
    nothing_is_made_in_a_closed_organization,
    all_hosts_let_go_of_a_dropped_database,
}

async fn nothing_is_left_of_an_organization(dialect: Dialect) {
    let store = fixture::open(dialect, Clock::System).await;
    let kept = store.organization("default").await.unwrap();
    let closed = store.found_organization("Acme", Some("a@example.com"), 1).await.unwrap();
    let query = NewSavedQuery {
        organization_id: closed.id,
        created_by: None,
        description: String::new(),
        sql: String::new(),
        public: false,
    };
    store.save_query(query).await.unwrap();
    let url = Zeroizing::new("https://a.example/".to_owned());
    store.create_error_handler(closed.id, &url, String::new()).await.unwrap();
    let to_all = NewSubscription {
        organization: closed.id,
        integration_id: None,
        url,
        shown_url: String::new(),
        secret: Zeroizing::new("hush".to_owned()),
        tells_rows: true,
        tells_synced: true,
        deletions: false,
    };
    store.create_subscription(to_all, Bookmark::Start).await.unwrap();
    let alert = format!(
        "insert into alerts (organization_id, error_type, signature, body, raised_at)
         values ({0}, 'grant_dead', 's', '{{}}', 0);
         insert into alert_posts (alert_id, handler_id, organization_id, due_at)
         select a.id, h.id, {0}, 0 from alerts a, error_handlers h;
         insert into sweeps (what, organization_id, due_at) values ('feed', {0}, 0);
         insert into integrations (id, organization_id, plugin, service, table_name, root_id,
           created_at, number) values ('svi_a', {0}, 'p', 's', 't', 'svi_a', 0, 1)",
        closed.id
    );
    fixture::run(&store, alert).await;
    for of in [kept.id, closed.id] {
        let replication = store.replication(of).await.unwrap();
        let made = replication.write(|connection| {
            Box::pin(async move { Ok(connection.run("create table t (n bigint)").await?) })
        });
        made.await.unwrap();
    }
    store.end_organization(closed.id).await.unwrap();
    assert_eq!(store.organizations().await.unwrap(), std::slice::from_ref(&kept));
    assert!(store.memberships("a@example.com").await.unwrap().is_empty());
    assert!(store.is_closing("acme").await.unwrap());
    let other = store.found_organization("Other", Some("a@example.com"), 1).await;
    assert!(other.is_ok(), "one that is being closed doesn't count");
    work(&store).await.unwrap();
    assert!(!store.is_ending(closed.id, None).await.unwrap());
    assert!(store.replication(closed.id).await.is_err());
    for table in ["sweeps", "integrations", "endings", "saved_queries", "alerts"] {
        assert_eq!(number(&store, &format!("select count(*) from {table}")).await, 0, "{table}");
    }
    assert!(has_table(&store.replication(kept.id).await.unwrap(), "t").await);
    // One of the same name begins at nothing, under another id.
    let again = store.create_organization("Acme").await.unwrap();
    assert_eq!(again.key, closed.key);
    assert!(again.id > closed.id);
    assert!(!has_table(&store.replication(again.id).await.unwrap(), "t").await);
}

#[tokio::test]
async fn who_reads_keeps_no_organization_open() {
    for isolation in [Isolation::Schema, Isolation::Database] {
        let store = fixture::open_with(Dialect::Postgres, Clock::System, isolation).await;
        let of = store.create_organization("acme").await.unwrap().id;
        let url = store.connection_url(of).await.unwrap();
        let reader = sqlx::PgConnection::connect(&url).await.unwrap();
        store.end_organization(of).await.unwrap();
        work(&store).await.unwrap();
        assert!(!store.is_ending(of, None).await.unwrap(), "{isolation:?}");
        assert!(sqlx::PgConnection::connect(&url).await.is_err(), "{isolation:?}");
        drop(reader);
    }
}

async fn nothing_is_made_in_a_closed_organization(dialect: Dialect) {
    let store = fixture::open(dialect, Clock::simulated(1_000)).await;
    with_channels(&store, 2).await;
    let of = store.organization("default").await.unwrap().id;
    store.end_organization(of).await.unwrap();
    work(&store).await.unwrap();
    // A channel is still to be stopped: whoever does works beside the tables.
    store.replication(of).await.unwrap();
    let new = fixture::integration(of, "s", None);
    let refused = store.create_integration(new).await.unwrap_err().to_string();
    assert!(refused.contains("is being closed"), "{refused}");
    let refused = store.organization("default").await.unwrap_err().to_string();
    assert!(refused.contains("is being closed"), "{refused}");
}

async fn all_hosts_let_go_of_a_dropped_database(dialect: Dialect) {
    let store = fixture::open(dialect, Clock::simulated(1_000)).await;
    let of = store.organization("default").await.unwrap().id;
    let other = store.create_organization("other").await.unwrap().id;
    store.replication(other).await.unwrap();
    let mut looked_at = None;
    assert!(!store.let_go_of_dropped(&mut looked_at).await.unwrap());
    store.replication(of).await.unwrap();
    // As another host says it, at the last step but one.
    fixture::run(&store, format!("update organizations set dropping = true where id = {of}")).await;
    assert!(store.let_go_of_dropped(&mut looked_at).await.unwrap());
    assert!(!store.let_go_of_dropped(&mut looked_at).await.unwrap(), "only when something moved");
    assert_eq!(store.opened.organizations(), [other]);
    let refused = store.replication(of).await.unwrap_err().to_string();
    assert!(refused.contains("no organization"), "{refused}");
}
