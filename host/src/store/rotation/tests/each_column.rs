//! A value of every column that is sealed, stored by the code that stores it and opened by the code that
//! opens it.

use super::*;
use crate::model::Topic;
use crate::store::channels::{self, NewChannel};
use crate::store::feed::Bookmark;
use crate::store::integrations::StoredDraft;
use crate::store::integrations::change::Change;
use crate::store::leases::{self, Claimant};
use crate::store::moves;
use crate::store::subscriptions::NewSubscription;
use crate::store::targets::{Kind, NewTarget};

on_both! {
    each_value_is_opened_by_who_uses_it,
}

async fn each_value_is_opened_by_who_uses_it(dialect: Dialect) {
    let store = rotating(dialect).await;
    let ids = fill(&store).await;
    let before = opened(&store, &ids).await;
    let there = |column: &&SealedColumn| column.is_in(dialect);
    for column in COLUMNS.iter().filter(there) {
        let rows = store.sealed_rows(column, None).await.unwrap();
        assert_eq!(rows.len(), 1, "{}.{}", column.table, column.column);
    }
    store.keyring().put_before([2; 32]);
    let resealed = store.seal_again(|_| ()).await.unwrap();
    assert_eq!(resealed, COLUMNS.iter().filter(there).count() as u64);
    // So each was opened with the old key for its place, and is opened with the new one below.
    assert_eq!(store.sealed_with_others().await.unwrap(), Left::default());
    let after = opened(&store, &ids).await;
    assert_eq!(after, before);
    for (name, value) in &after {
        assert!(value.contains(name), "{name}: {value}");
    }
}

struct Ids {
    organization: OrganizationId,
    owner: OwnerId,
    target: String,
    subscription: String,
    handler: String,
}

/// One value in each column, which says where it is.
async fn fill(store: &Store) -> Ids {
    let organization = store.organization("default").await.unwrap().id;
    let (_, owner) = store.accept(item(organization, "a", "in inbox")).await.unwrap();
    capture(store, owner, 1, "token", "in owner_secrets").await;
    let of_tree = Change::Secret(Some(text("in integration_secrets")));
    store.change_value(ROOT, "client_secret", of_tree).await.unwrap();
    let draft = StoredDraft {
        id: "svi_draft".into(),
        organization,
        service: "s".into(),
        depends_on: None,
        values: [("client_id".to_owned(), text("in integration_drafts"))].into(),
    };
    store.store_draft(&draft).await.unwrap();
    begin_channel(store, organization).await;
    let target = store.create_target(target(store).await).await.unwrap().id;
    let new = NewSubscription {
        organization,
        integration_id: Some(ROOT.into()),
        url: text("in subscriptions.url"),
        shown_url: String::new(),
        secret: text("in subscriptions.secret"),
        tells_rows: true,
        tells_synced: false,
        deletions: false,
    };
    let subscription = store.create_subscription(new, Bookmark::Start).await.unwrap().id;
    let url = text("in error_handlers");
    let handler = store.create_error_handler(organization, &url, String::new()).await.unwrap().id;
    insert_move(store, organization).await;
    Ids { organization, owner, target, subscription, handler }
}

fn text(text: &str) -> Zeroizing<String> {
    Zeroizing::new(text.to_owned())
}

async fn begin_channel(store: &Store, organization: OrganizationId) {
    let by = Claimant { host: "host".into(), ttl: 1_000_000, organization_leases_max: 1 };
    let now = store.clock().now();
    let lease = leases::claim(store.control(), &by, organization, now).await.unwrap().unwrap();
    let new = NewChannel {
        id: "channel".into(),
        generation: 1,
        grant_id: 0,
        topic: Topic { push: "p".into(), key: String::new() },
        token: text("in channels"),
        address: String::new(),
        expires_at: now + 1_000_000,
    };
    channels::begin(store.control(), store.keyring(), &lease, new, now).await.unwrap();
}

async fn target(store: &Store) -> NewTarget {
    NewTarget {
        integration: store.integration(ROOT).await.unwrap().unwrap(),
        kind: Kind::Http,
        to_place: String::new(),
        to_schema: String::new(),
        to_table: String::new(),
        url: text("in targets.url"),
        shown_url: String::new(),
        signing_secret: text("in targets.signing_secret"),
        period_s: 60,
        page_size: 200,
        deletions: false,
    }
}

/// Without the database that it would go to.
async fn insert_move(store: &Store, organization: OrganizationId) {
    let sealed = |column: &str| {
        let place = moves::place("dbm_1", column);
        store.keyring().seal(&place, format!("in moves.{column}").as_bytes())
    };
    let insert = query(
        "insert into moves (id, organization_id, state, admin_url, readonly_url, own_reader, shown_url,
           created_at, progressed_at) values ('dbm_1', $1, 'failed', $2, $3, false, '', 0, 0)",
    );
    let insert = insert.bind(organization).bind(sealed("admin_url")).bind(sealed("readonly_url"));
    store.control().execute(insert).await.unwrap();
}

/// What stands in each column, by the name that the value must say.
async fn opened(store: &Store, ids: &Ids) -> Vec<(&'static str, String)> {
    let utf8 = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let of_owner = secret(store, ids.owner, 1, "token").await;
    let of_tree = store.tree_secret(ROOT, "client_secret").await.unwrap().unwrap();
    let draft = store.draft(ids.organization, "svi_draft").await.unwrap().unwrap();
    let channel = store.known_channel(ROOT, "channel").await.unwrap().unwrap();
    let target = store.target_secrets(&ids.target).await.unwrap();
    let (url, known_by) = store.subscription_secrets(&ids.subscription).await.unwrap();
    let handlers = query_scalar("select url from error_handlers");
    let handler: Vec<u8> = handlers.fetch_one(store.control()).await.unwrap();
    let handler = store.opened(&ids.handler, "url", &handler).unwrap();
    let admin_url = store.move_url("dbm_1", "admin_url").await.unwrap();
    let readonly_url = store.move_url("dbm_1", "readonly_url").await.unwrap();
    let mut all = vec![
        ("inbox", opened_items(store).await.concat()),
        ("owner_secrets", of_owner),
        ("integration_secrets", utf8(&of_tree)),
        ("integration_drafts", draft.values["client_id"].to_string()),
        ("channels", utf8(&channel.token)),
        ("targets.url", target.url.to_string()),
        ("targets.signing_secret", target.signing_secret.to_string()),
        ("subscriptions.url", url.to_string()),
        ("subscriptions.secret", known_by.to_string()),
        ("error_handlers", handler.to_string()),
        ("moves.admin_url", admin_url.to_string()),
        ("moves.readonly_url", readonly_url.to_string()),
    ];
    if store.control().dialect() == Dialect::Postgres {
        // Made by chance: it says nothing of where it is.
        let reader = store.reader(ids.organization).await.unwrap();
        all.push(("", reader.password.to_string()));
    }
    all
}
