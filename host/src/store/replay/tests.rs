use super::*;
use crate::clock::Clock;
use crate::secrets::KeyId;
use crate::store::fixture::{self, Opened, on_both, plan};
use crate::store::{Dialect, query};

on_both! {
    what_is_meant_comes_again_in_order,
    a_long_span_is_read_slice_by_slice,
    no_slice_walks_through_the_inbox,
    a_secret_that_is_gone_leaves_it_out,
    what_a_later_link_has_overtaken_stays_out,
}

const NOW: Micros = 1_000;

/// Items: id, received, done, parked. 5 is another organization's, 6 waits.
const FILL: &str = "
insert into integrations (id, organization_id, plugin, service, table_name, depends_on, root_id,
  created_at, number) values
  ('svi_2', 1, 'p', 'd', 'd', 'svi_1', 'svi_1', 0, 2),
  ('svi_3', (select max(id) from organizations), 'p', 's', 't', null, 'svi_3', 0, 3);
insert into owners (organization_id, root_id, external_owner_id, due_at, state) values
  (1, 'svi_1', 'ana', null, 'linked'), (1, 'svi_1', 'bob', 7, 'linked'),
  ((select max(id) from organizations), 'svi_3', 'other', null, 'linked');
insert into inbox (owner_id, integration_id, received_at, method, path, query, headers, body, sealed,
  parked, done_at) values
  (1, 'svi_1', 100, 'POST', '/a', 'q=1', '[[\"h\",\"v\"]]', 'one', '{}', false, 150),
  (1, 'svi_1', 200, 'POST', '', '', '[]', 'two', '{}', true, null),
  (2, 'svi_2', 200, 'PUT', '', '', '[]', 'three', '{}', false, 220),
  (1, 'svi_1', 300, 'POST', '', '', '[]', 'four', '{}', false, 301),
  (3, 'svi_3', 200, 'POST', '', '', '[]', 'five', '{}', false, 201),
  (1, 'svi_1', 200, 'POST', '', '', '[]', 'six', '{}', false, null);";

async fn filled(dialect: Dialect) -> Opened {
    let store = fixture::open(dialect, Clock::simulated(NOW)).await;
    fixture::root(&store, "svi_1").await;
    store.create_organization("other").await.unwrap();
    fixture::run(&store, FILL.to_owned()).await;
    let posted = BASE64_STANDARD.encode(sealed(&store, "posted"));
    let posted = query("update inbox set sealed = $1 where id = 2")
        .bind(format!("{{\"token\":\"{posted}\"}}"));
    store.control().execute(posted).await.unwrap();
    store
}

/// As a token of ana's is stored.
fn sealed(store: &Store, token: &str) -> Vec<u8> {
    store.keyring().seal(&inbox::place(1, "token"), token.as_bytes())
}

/// The token in an item of ana's, which the newest key has sealed.
fn opened(store: &Store, item: &str) -> String {
    let values: BTreeMap<String, String> = serde_json::from_str(item).unwrap();
    let [("token", value)] = values.iter().map(|(n, v)| (n.as_str(), v)).collect::<Vec<_>>()[..]
    else {
        panic!("{item}")
    };
    let sealed = BASE64_STANDARD.decode(value).unwrap();
    assert_eq!(KeyId::of(&sealed), Some(store.keyring().newest()));
    let token = store.keyring().open(&inbox::place(1, "token"), &sealed).unwrap();
    String::from_utf8(token.to_vec()).unwrap()
}

async fn what_is_meant_comes_again_in_order(dialect: Dialect) {
    let store = filled(dialect).await;
    let span = Span { organization: 1, integration_id: None, after: 0, before: 1_000 };
    for (span, ids) in [
        (span, vec![1, 2, 3, 4]),
        (Span { after: 101, ..span }, vec![2, 3, 4]),
        (Span { after: 101, before: 300, ..span }, vec![2, 3]),
        (Span { integration_id: Some("svi_2"), ..span }, vec![3]),
    ] {
        let found = store.stored_webhooks(span, 10).await.unwrap();
        assert_eq!(found, ids, "{span:?}");
    }
    assert_eq!(store.stored_webhooks(span, 2).await.unwrap().len(), 2);
    let one = store.stored_webhook(1, 1).await.unwrap().unwrap();
    assert_eq!((one.external_owner_id.as_str(), one.body.as_slice()), ("ana", &b"one"[..]));
    assert_eq!(store.stored_webhook(1, 5).await.unwrap(), None, "another organization's");
    assert_eq!(store.stored_webhook(1, 6).await.unwrap(), None, "it is to be done anyway");
    // Who changes the key has gone through the inbox before.
    store.keyring().put_before([2; 32]);
    let all = [1, 2, 3, 4].map(|id| (id, Vec::new())).to_vec();
    let again = store.replay(all, BTreeSet::new()).await.unwrap();
    assert_eq!((again.left_out, again.due), (vec![], vec![1, 1, 2, 1]));
    let again: Vec<(OwnerId, String, String, Vec<u8>, Micros, String)> = query_as(
        "select owner_id, method, path, body, received_at, sealed from inbox
         where id > 6 and done_at is null and not parked order by id",
    )
    .fetch_all(store.control())
    .await
    .unwrap();
    assert_eq!(opened(&store, &again[1].5), "posted");
    let texts = |owner, method: &str, path: &str, body: &str, sealed: &str| {
        (owner, method.to_owned(), path.to_owned(), body.into(), NOW, sealed.to_owned())
    };
    assert_eq!(
        again,
        [
            texts(1, "POST", "/a", "one", "{}"),
            texts(1, "POST", "", "two", &again[1].5),
            texts(2, "PUT", "", "three", "{}"),
            texts(1, "POST", "", "four", "{}"),
        ]
    );
    let due: Vec<(i64,)> = query_as("select due_at from owners where id < 3 order by id")
        .fetch_all(store.control())
        .await
        .unwrap();
    assert_eq!(due, [(NOW,), (7,)]);
}

async fn a_long_span_is_read_slice_by_slice(dialect: Dialect) {
    let store = filled(dialect).await;
    // All at one time: a slice ends, and the next begins, between two of them. Every third waits.
    let count = 2 * SLICE + 2;
    let many = format!(
        "with recursive n (n) as (select 1 union all select n + 1 from n where n < {count})
         insert into inbox (owner_id, integration_id, received_at, method, path, query, headers,
           body, done_at)
         select 1, 'svi_1', 500, 'POST', '', '', '[]', '', case when n % 3 <> 0 then 501 end
         from n order by n"
    );
    fixture::run(&store, many).await;
    let span = Span { organization: 1, integration_id: None, after: 500, before: 501 };
    let expected: Vec<InboxId> = (1..=count).filter(|n| n % 3 != 0).map(|n| n + 6).collect();
    assert_eq!(store.stored_webhooks(span, 10_000).await.unwrap(), expected);
    let before = Span { after: 0, before: 500, ..span };
    assert_eq!(store.stored_webhooks(before, 10_000).await.unwrap(), [1, 2, 3, 4]);
}

async fn no_slice_walks_through_the_inbox(dialect: Dialect) {
    let store = filled(dialect).await;
    let steps = plan(store.control(), RECEIVED, received_arguments("svi_1", 0, 0, 1_000)).await;
    let (index, others) = match dialect {
        Dialect::Sqlite => ("SEARCH inbox USING INDEX inbox_received", ["SCAN", "TEMP B-TREE"]),
        Dialect::Postgres => ("Index Scan using inbox_received", ["Seq Scan", "Sort"]),
    };
    assert!(steps.iter().any(|step| step.contains(index)), "{steps:#?}");
    assert!(!steps.iter().any(|step| others.iter().any(|o| step.contains(o))), "{steps:#?}");
}

async fn a_secret_that_is_gone_leaves_it_out(dialect: Dialect) {
    let store = filled(dialect).await;
    let secrets = query(
        "insert into owner_secrets (owner_id, grant_id, name, version, sealed)
         values (1, 1, 'token', 2, $1), (1, 1, 'cached', 1, $1), (1, 4, 'token', 1, null)",
    );
    store.control().execute(secrets.bind(sealed(&store, "kept"))).await.unwrap();
    store.keyring().put_before([2; 32]);
    let needed = || vec!["token".to_owned()];
    let all = vec![(1, needed()), (3, needed()), (4, needed())];
    let again = store.replay(all, BTreeSet::new()).await.unwrap();
    assert_eq!((again.left_out, again.due), (vec![3, 4], vec![1]));
    let again: (String,) =
        query_as("select sealed from inbox where id > 6").fetch_one(store.control()).await.unwrap();
    assert_eq!(opened(&store, &again.0), "kept");
}

async fn what_a_later_link_has_overtaken_stays_out(dialect: Dialect) {
    let store = filled(dialect).await;
    let secrets = query(
        "insert into owner_secrets (owner_id, grant_id, name, version, sealed)
         values (1, 4, 'token', 1, $1)",
    );
    store.control().execute(secrets.bind(sealed(&store, "kept"))).await.unwrap();
    let needed = || vec!["token".to_owned()];
    let none = BTreeSet::new();
    let again = store.replay(vec![(1, Vec::new()), (2, Vec::new())], none.clone()).await.unwrap();
    assert_eq!((again.left_out, again.due), (vec![1, 2], vec![]));
    // Nothing that the replay makes overtakes what follows in it, in this call or the next.
    let parked = "update inbox set parked = true where id = 6".to_owned();
    fixture::run(&store, parked).await;
    let again = store.replay(vec![(4, needed()), (6, Vec::new())], none.clone()).await.unwrap();
    assert_eq!((again.left_out, again.due), (vec![], vec![1, 1]));
    let again = store.replay(vec![(6, Vec::new())], again.made).await.unwrap();
    assert_eq!((again.left_out.len(), again.made.len()), (0, 3));
    // A link that waits overtakes what came before, whenever it came.
    let again = store.replay(vec![(6, Vec::new())], none.clone()).await.unwrap();
    assert_eq!(again.left_out, [6]);
    // One that is kept to stop channels with links nobody.
    let unlinked = "update inbox set done_at = 500 where id > 6;
                    update owners set state = 'unlinked'";
    fixture::run(&store, unlinked.to_owned()).await;
    let again = store.replay(vec![(1, Vec::new()), (4, needed())], none).await.unwrap();
    assert_eq!((again.left_out, again.due), (vec![4], vec![1]));
}
