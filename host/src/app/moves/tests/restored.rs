//! Databases of organizations' own when ours were put back.

use super::*;

const POLL: Duration = Duration::from_millis(20);

/// By `rowgate restore --server`.
#[tokio::test]
async fn a_database_of_its_own_is_put_right_with_ours() {
    let case = Case::new(Dialect::Postgres).await;
    let there = case.moved().await;
    let before = feed::head(&there).await.unwrap().epoch;
    assert_eq!(case.store.restore(|_| ()).await.unwrap().organizations, 1);
    let after = feed::head(&there).await.unwrap().epoch;
    assert_ne!(after, before, "receivers get whole copies");
    let begun = "select feed_epoch from organizations where key = 'default'";
    let begun: Option<String> = query_scalar(begun).fetch_one(case.store.control()).await.unwrap();
    assert_eq!(begun, Some(after));
}

/// The copy of the control database may be older than the password that the customer's server knows.
#[tokio::test]
async fn a_role_of_ours_is_told_its_password_again() {
    let case = Case::new(Dialect::Postgres).await;
    case.moved().await;
    let role = format!("{}_rowgate_reader", case.customer.name());
    let url = case.store.connection_url(case.organization).await.unwrap();
    let mut customer = case.customer.connect().unwrap();
    customer.query(&format!("alter role {role} password null")).unwrap();
    case.store.restore(|_| ()).await.unwrap();
    assert_eq!(case.store.connection_url(case.organization).await.unwrap(), url);
    let kept = fixture::kept(&role);
    assert!(kept.starts_with("SCRAM-SHA-256$"), "{kept}");
}

/// Its owner may do there what they like.
#[tokio::test]
async fn one_that_cant_be_opened_any_more_holds_no_restore_up() {
    let case = Case::new(Dialect::Postgres).await;
    case.moved().await;
    let broken = "drop table rowgate._sqlx_migrations";
    case.customer.connect().unwrap().query(broken).unwrap();
    let restored = case.store.restore(|_| ()).await.unwrap();
    assert_eq!((restored.organizations, restored.left.len()), (0, 1));
    let reason = &restored.left[0].reason;
    assert!(reason.contains("already exists"), "{reason}");
}

/// The others go on at once, and it as soon as it answers.
#[tokio::test]
async fn one_that_is_away_is_put_right_when_it_answers() {
    let case = Case::new(Dialect::Postgres).await;
    let there = case.moved().await;
    let (store, of) = (&case.store, case.organization);
    store.create_organization("other").await.unwrap();
    let before = feed::head(&there).await.unwrap().epoch;
    let held = format!(
        "insert into owners (organization_id, root_id, external_owner_id, state, fence, lease_host,
           lease_until)
         values ({of}, 'svi_1', 'ana', 'linked', 3, 'gone', 9)"
    );
    fixture::run(store, held).await;
    let answers = |does: bool| {
        let sql = format!("alter database \"{}\" allow_connections {does}", case.customer.name());
        Cluster::shared().maintenance().unwrap().query(&sql).unwrap();
    };
    answers(false);
    let restored = store.restore(|_| ()).await.unwrap();
    assert_eq!((restored.organizations, restored.left.len()), (1, 1));
    let left = &restored.left[0];
    assert_eq!(left.key, "default");
    assert!(left.reason.contains("not currently accepting connections"), "{}", left.reason);
    assert!(store.replication(of).await.is_err());
    assert_eq!(store.put_right_left(POLL).await.unwrap(), 0);
    // However slow this machine is.
    let turn = format!("update sweeps set due_at = {} where what = 'restore'", i64::MAX);
    fixture::run(store, turn).await;
    answers(true);
    assert_eq!(store.put_right_left(POLL).await.unwrap(), 0, "it is tried now and then");
    fixture::run(store, "delete from sweeps".to_owned()).await;
    assert_eq!(store.put_right_left(POLL).await.unwrap(), 1);
    assert_eq!(store.put_right_left(POLL).await.unwrap(), 0, "once");
    let there = store.replication(of).await.unwrap();
    let after = feed::head(&there).await.unwrap().epoch;
    assert_ne!(after, before, "receivers get whole copies");
    let stands: (Option<String>, Option<i64>, i64) = query_as(
        "select feed_epoch, put_back_from, rests_until from organizations where key = 'default'",
    )
    .fetch_one(store.control())
    .await
    .unwrap();
    assert_eq!(stands, (Some(after), None, 0));
    let owner: (i64, bool, Option<String>) =
        query_as("select fence, unreleased, lease_host from owners")
            .fetch_one(store.control())
            .await
            .unwrap();
    assert_eq!(owner, (4, true, None), "nobody holds it");
}

/// Nor does one that is slow keep the others from theirs.
#[tokio::test]
async fn one_that_is_slow_holds_no_other_up() {
    let case = Case::new(Dialect::Postgres).await;
    let (store, slow) = (&case.store, case.moved().await);
    let other = store.create_organization("other").await.unwrap().id;
    let beside = Cluster::shared().create_database().unwrap();
    let found = store.look_at_database(other, &beside.url(), None).await.unwrap();
    let Found::Empty(urls) = found else { panic!("nobody was there before") };
    store.begin_move(other, urls).await.unwrap();
    let moved = async || store.moves(other).await.unwrap().remove(0).state;
    let over = async {
        while moved().await == "copying" {
            tokio::task::yield_now().await;
        }
    };
    case.works_until(over).await;
    assert_eq!(moved().await, "done");
    let left = format!("update organizations set put_back_from = 0, rests_until = {}", i64::MAX);
    fixture::run(store, left).await;
    let lock = "lock table rowgate_owners in access exclusive mode";
    let held = fixture::begin(&slow, lock).await;
    let let_go = async {
        let goes_on = "select count(*) from organizations where key = 'other' and rests_until = 0";
        while query_scalar::<i64>(goes_on).fetch_one(store.control()).await.unwrap() == 0 {
            tokio::task::yield_now().await;
        }
        held.commit("").await;
    };
    let (righted, ()) = tokio::join!(store.put_right_left(POLL), let_go);
    assert_eq!(righted.unwrap(), 2);
}
