//! On a file and on a server.

mod each_column;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use zeroize::Zeroizing;

use super::*;
use crate::clock::Clock;
use crate::model::{OrganizationId, OwnerId};
use crate::store::fixture::{self, Opened, on_both};
use crate::store::inbox::NewItem;
use crate::store::owner_secrets::{self, Captured};
use crate::store::{Dialect, query_scalar};

on_both! {
    nothing_is_lost_while_others_write,
    one_that_was_ended_goes_on_where_it_stood,
    no_sealed_value_is_overlooked,
    what_cannot_be_opened_is_counted,
}

const ROOT: &str = "svi_1";

/// With an integration.
async fn rotating(dialect: Dialect) -> Opened {
    let store = fixture::open(dialect, Clock::simulated(1_000_000)).await;
    store.organization("default").await.unwrap();
    fixture::root(&store, ROOT).await;
    store
}

fn item(organization: OrganizationId, owner: &str, secret: &str) -> NewItem {
    let secrets = vec![("token".into(), Zeroizing::new(secret.into()))];
    NewItem { secrets, ..fixture::item(organization, ROOT, owner) }
}

async fn capture(store: &Store, owner: OwnerId, grant: i64, name: &str, value: &str) {
    let captured = Captured { name, value, expires_at: None, used: Vec::new() };
    owner_secrets::capture(store.control(), store.keyring(), (owner, grant), captured)
        .await
        .unwrap();
}

async fn secret(store: &Store, owner: OwnerId, grant: i64, name: &str) -> String {
    let key = (owner, grant);
    let found = owner_secrets::find(store.control(), key, name, 0).await.unwrap().unwrap();
    assert_eq!(KeyId::of(&found.sealed), Some(store.keyring().newest()), "{owner}/{grant}/{name}");
    let opened = store.keyring().open(&crate::store::inbox::place(owner, name), &found.sealed);
    String::from_utf8(opened.unwrap().to_vec()).unwrap()
}

/// Writers change secrets and take webhooks in while all of them are sealed again.
async fn nothing_is_lost_while_others_write(dialect: Dialect) {
    let seeds = if dialect == Dialect::Sqlite { 5 } else { 2 };
    for seed in 0..seeds {
        println!("seed {seed}");
        let store = rotating(dialect).await;
        let organization = store.organization("default").await.unwrap().id;
        let owners = 4;
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut values: BTreeMap<(OwnerId, i64), String> = BTreeMap::new();
        for owner in 0..owners {
            let (_, id) =
                store.accept(item(organization, &format!("o{owner}"), "posted")).await.unwrap();
            for grant in 0..200 {
                capture(&store, id, grant, "token", "before").await;
                values.insert((id, grant), "before".into());
            }
        }
        store.keyring().put_before([2; 32]);
        let writing = async {
            for nth in 0..100 {
                let at = random.random_range(0..values.len());
                let key = *values.keys().nth(at).unwrap();
                let value = format!("written {nth}");
                capture(&store, key.0, key.1, "token", &value).await;
                values.insert(key, value);
                let owner = format!("o{}", random.random_range(0..owners));
                store.accept(item(organization, &owner, "posted")).await.unwrap();
            }
        };
        let mut told = Vec::new();
        let sealing = store.seal_again(|progress| told.push(progress));
        let ((), resealed) = tokio::join!(writing, sealing);
        let resealed = resealed.unwrap();
        assert!(resealed > 0 && told.iter().map(|one| one.resealed).sum::<u64>() == resealed);
        assert_eq!(store.sealed_with_others().await.unwrap(), Left::default(), "seed {seed}");
        for ((owner, grant), value) in &values {
            assert_eq!(secret(&store, *owner, *grant, "token").await, *value, "seed {seed}");
        }
        assert_eq!(opened_items(&store).await, vec!["posted"; owners + 100]);
        let standing: i64 = query_scalar("select count(*) from key_rotation")
            .fetch_one(store.control())
            .await
            .unwrap();
        assert_eq!(standing, 0);
    }
}

async fn opened_items(store: &Store) -> Vec<String> {
    let items: Vec<(OwnerId, String)> = query_as("select owner_id, sealed from inbox order by id")
        .fetch_all(store.control())
        .await
        .unwrap();
    let mut opened = Vec::new();
    for (owner, sealed) in items {
        for (name, value) in Stored::Map(sealed).values().unwrap() {
            assert_eq!(KeyId::of(&value), Some(store.keyring().newest()));
            let value = store.keyring().open(&crate::store::inbox::place(owner, &name), &value);
            opened.push(String::from_utf8(value.unwrap().to_vec()).unwrap());
        }
    }
    opened
}

async fn one_that_was_ended_goes_on_where_it_stood(dialect: Dialect) {
    let store = rotating(dialect).await;
    let organization = store.organization("default").await.unwrap().id;
    let (_, owner) = store.accept(item(organization, "a", "posted")).await.unwrap();
    let count = SLICE * 2 + 10;
    for grant in 0..count {
        capture(&store, owner, grant, "token", "value").await;
    }
    let newest = store.keyring().put_before([2; 32]);
    // As after a first slice of the owners' secrets: of those before it, nothing is looked at.
    let stands = format!(
        "insert into key_rotation (key_id, step, after)
         values ('{newest}', 1, '[{owner},{},\"token\"]')",
        SLICE - 1
    );
    fixture::run(&store, stands).await;
    assert_eq!(store.seal_again(|_| ()).await.unwrap(), (count - SLICE) as u64);
    let left = store.sealed_with_others().await.unwrap();
    assert_eq!(left.by_key.into_values().sum::<u64>(), SLICE as u64 + 1, "and the inbox item");
    // With nothing noted it begins at the beginning.
    assert_eq!(store.seal_again(|_| ()).await.unwrap(), SLICE as u64 + 1);
    assert_eq!(store.sealed_with_others().await.unwrap(), Left::default());
    // What was noted for another key says nothing.
    let newest = store.keyring().put_before([3; 32]);
    let noted = "insert into key_rotation (key_id, step, after) values ('0badc0de', 7, '[]')";
    fixture::run(&store, noted.into()).await;
    assert_eq!(store.seal_again(|_| ()).await.unwrap(), count as u64 + 1);
    assert_eq!(secret(&store, owner, 0, "token").await, "value");
    assert_eq!(store.keyring().newest(), newest);
}

/// Whatever looks sealed, in any column of any table, is known to the rotation.
async fn no_sealed_value_is_overlooked(dialect: Dialect) {
    let store = rotating(dialect).await;
    let of = |table: &'static str, column: &'static str| (table.to_owned(), column.to_owned());
    // Columns of bytes, and what they hold if it isn't sealed.
    let unsealed = [
        of("inbox", "body"),
        of("login_codes", "digest"),
        of("login_counts", "who"),
        of("memberships", "invitation"),
        of("plugin_versions", "wasm"),
        of("sessions", "digest"),
    ];
    let sql = match dialect {
        Dialect::Sqlite => {
            "select m.name, c.name from sqlite_master m join pragma_table_info(m.name) c
             where m.type = 'table' and lower(c.type) = 'blob' and m.name not like '\\_sqlx%' escape '\\'"
        }
        Dialect::Postgres => {
            "select cast(table_name as text), cast(column_name as text)
             from information_schema.columns
             where table_schema = 'public' and data_type = 'bytea'
               and table_name not like '\\_sqlx%' escape '\\'"
        }
    };
    let columns: Vec<(String, String)> = query_as(sql).fetch_all(store.control()).await.unwrap();
    let known: Vec<_> = COLUMNS.iter().map(|one| of(one.table, one.column)).collect();
    assert!(columns.len() > unsealed.len());
    for column in columns {
        assert!(known.contains(&column) || unsealed.contains(&column), "{column:?}");
    }
    assert!(known.contains(&of("inbox", "sealed")), "the one that is text");
}

async fn what_cannot_be_opened_is_counted(dialect: Dialect) {
    let store = rotating(dialect).await;
    let organization = store.organization("default").await.unwrap().id;
    let (_, owner) = store.accept(item(organization, "a", "posted")).await.unwrap();
    capture(&store, owner, 1, "token", "value").await;
    let old = store.keyring().newest();
    // Moved to another place, where it can't be opened.
    fixture::run(&store, "update owner_secrets set name = 'other'".into()).await;
    store.keyring().put_before([2; 32]);
    assert_eq!(store.seal_again(|_| ()).await.unwrap(), 1, "the inbox item");
    let left = store.sealed_with_others().await.unwrap();
    assert_eq!(left.by_key, BTreeMap::from([(old, 1)]));
    assert_eq!(left.example, Some(format!("inbox/{owner}/other")));
}
