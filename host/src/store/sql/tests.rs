use std::time::Duration;

use serde_json::json;

use super::*;
use crate::chance::Chance;
use crate::clock::Clock;
use crate::config::DataDir;
use crate::secrets::Keyring;

const LIMITS: QueryLimits = QueryLimits { rows: 10, bytes: 1_000, time: Duration::from_secs(10) };

async fn filled() -> (tempfile::TempDir, Store, OrganizationId) {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = DataDir::new(dir.path());
    data_dir.create().unwrap();
    let chance = Chance::seeded(1);
    let keyring = Keyring::new([1; 32], chance.clone());
    let store = Store::open(data_dir, Clock::System, keyring, chance).await.unwrap();
    let organization = store.organization("default").await.unwrap().id;
    let database = store.replication(organization).await.unwrap();
    database
        .write(|connection| {
            Box::pin(async move {
                connection
                    .execute(
                        "create table t (n bigint, deleted boolean, data json text, plain text, b blob);
                         insert into t values (1, 1, '{\"a\":[1]}', '{}', x'00ff'),
                           (2, 0, 'null', 'x', null), (3, null, null, null, null)",
                    )
                    .await?;
                Ok(())
            })
        })
        .await
        .unwrap();
    (dir, store, organization)
}

#[tokio::test]
async fn values_keep_their_types() {
    let (_dir, store, organization) = filled().await;
    let sql = "select n, deleted, data, plain, b, 1.5 as f from t order by n";
    let answer = store.query(organization, sql, LIMITS).await.unwrap();
    assert_eq!(answer.columns, ["n", "deleted", "data", "plain", "b", "f"]);
    assert_eq!(
        answer.rows,
        [
            [json!(1), json!(true), json!({"a": [1]}), json!("{}"), json!("AP8="), json!(1.5)],
            [json!(2), json!(false), json!(null), json!("x"), json!(null), json!(1.5)],
            [json!(3), json!(null), json!(null), json!(null), json!(null), json!(1.5)],
        ]
    );
    let empty = store.query(organization, "select n, data from t where n > 9", LIMITS).await;
    assert_eq!(empty.unwrap(), Rows { columns: vec!["n".into(), "data".into()], rows: vec![] });
}

#[tokio::test]
async fn limits_hold_and_nothing_is_written() {
    let (_dir, store, organization) = filled().await;
    let endless = "with recursive c(x) as (select 1 union all select x + 1 from c) ";
    for (sql, limits, reason) in [
        ("select * from nowhere".to_owned(), LIMITS, "no such table: nowhere"),
        (format!("{endless} select x from c"), LIMITS, "more than 10 rows"),
        ("select hex(zeroblob(900))".into(), LIMITS, "larger than 1000 bytes"),
        (
            format!("{endless} select count(*) from c"),
            QueryLimits { time: Duration::from_millis(50), ..LIMITS },
            "longer than 0.05 s",
        ),
        ("with x as (select 1) delete from t".into(), LIMITS, "readonly"),
        ("select load_extension('x')".into(), LIMITS, "not authorized"),
    ] {
        let refusal = store.query(organization, &sql, limits).await.unwrap_err().to_string();
        assert!(refusal.contains(reason), "{sql}: {refusal}");
    }
    let count = store.query(organization, "select count(*) from t", LIMITS).await.unwrap();
    assert_eq!(count.rows, [[json!(3)]]);
}
