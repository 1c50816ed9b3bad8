use super::guest::{
    self, ACTIVATE, DELETE, GET, LINK, LOOKUP, OK, REMOVE, RESET, SECRET, SEND, UPSERT,
};
use super::*;
use crate::model::{Batch, OwnerChange, Progress, RetryScope, StreamChange};

/// A batch of `$rows` rows without columns.
fn upsert(rows: u32) -> String {
    format!(
        "(call $upsert (i32.const 1024) (i32.const 7) (i32.const {rows}) (i32.const 0)
          (i32.const 0) (i32.const 256))"
    )
}

fn lookup() -> &'static str {
    "(call $lookup (i32.const 1024) (i32.const 7) (i32.const 0) (i32.const 0) (i32.const 0)
      (i32.const 0) (i32.const 256))"
}

/// A change of the stream with this service and key.
fn stream(function: &str, service: (u32, u32), kind: u32, rest: &str) -> String {
    let (at, length) = service;
    format!(
        "(call {function} (i32.const {at}) (i32.const {length}) (i32.const {kind}) (i32.const 5)
          (i32.const 1056) (i32.const 3) {rest})"
    )
}

const AT_5: &str = "(i32.const 1) (i64.const 5)";

#[tokio::test]
async fn effects_come_in_call_order() {
    let imports = [UPSERT, DELETE, LOOKUP, ACTIVATE].concat();
    let body = [
        &upsert(2),
        lookup(),
        "(call $delete (i32.const 1024) (i32.const 7) (i32.const 0) (i32.const 0) (i32.const 256))",
        &stream("$activate", (1024, 7), 1040, AT_5),
        OK,
    ]
    .concat();
    let outside = Outside::new(Vendor::Answers);
    let called = run_with(&imports, &body, &Budget::default(), outside.clone()).await;
    assert_eq!(
        called.result.unwrap(),
        Returned::Stepped(Step { cursor: None, progress: Progress::More })
    );
    let table = || "item_v1".to_owned();
    let batch = Batch { table: table(), rows: 2, columns: Vec::new() };
    let effects = Effects {
        writes: vec![
            Arc::new(Write::Upsert(batch)),
            Arc::new(Write::Delete { table: table(), conditions: Vec::new() }),
        ],
        streams: vec![StreamChange::Activate { stream: own_stream(), at: Some(5) }],
        owner: Vec::new(),
        looked_up: true,
    };
    assert_eq!(called.effects, effects);
    assert_eq!((called.meters.rows, called.meters.host_calls), (4, 4));
    assert_eq!(outside.lookups.lock().unwrap()[..], [("item_v1".to_owned(), 1)]);
}

#[tokio::test]
async fn receive_is_called() {
    let component = load(guest::component("", OK)).await;
    let outside = Outside::new(Vendor::Answers);
    let called = component.call(&context(), &receive(), outside, &Budget::default()).await;
    assert_eq!(called.result.unwrap(), Returned::Received);
}

#[tokio::test]
async fn receive_alone_changes_the_owner() {
    let component = load(guest::receiver(LINK, &["(call $link)", "(call $link)", OK].concat()));
    let component = component.await;
    let call = async |changes| {
        let budget = Budget { changes, ..Budget::default() };
        component.call(&context(), &receive(), Outside::new(Vendor::Answers), &budget).await
    };
    let called = call(2).await;
    assert_eq!(called.result.unwrap(), Returned::Received);
    assert_eq!(called.effects.owner, [OwnerChange::Link, OwnerChange::Link]);
    assert_eq!(cause(&call(1).await).0, TrapCause::Limit);
    let called = run(LINK, &["(call $link)", OK].concat(), &Budget::default()).await;
    let (cause, text) = cause(&called);
    assert_eq!(cause, TrapCause::Contract);
    assert!(text.contains("only a `receive` can"), "{text}");
}

#[tokio::test]
async fn a_failure_takes_the_effects_with_it() {
    // result = err, failure = retry { reason: "item_v1", after-ms: 7, scope: owner }
    let failure = "(i32.store8 (i32.const 64) (i32.const 1))
      (i32.store (i32.const 80) (i32.const 1024)) (i32.store (i32.const 84) (i32.const 7))
      (i32.store8 (i32.const 88) (i32.const 1)) (i64.store (i32.const 96) (i64.const 7))
      (i32.store8 (i32.const 104) (i32.const 1))";
    let called = run(UPSERT, &[&upsert(1), failure, OK].concat(), &Budget::default()).await;
    let failure =
        Failure::Retry { reason: "item_v1".into(), after_ms: Some(7), scope: RetryScope::Owner };
    assert_eq!(called.result, Err(CallError::Failed(failure)));
    assert_eq!(called.effects, Effects::default());
}

#[tokio::test]
async fn what_was_refused_once_never_commits() {
    let unknown = "(call $delete (i32.const 1072) (i32.const 8) (i32.const 0) (i32.const 0)
      (i32.const 256))";
    // The guest goes on only if the error is there, with the case `unknown-table`.
    let seen = "(if (i32.ne (i32.load8_u (i32.const 256)) (i32.const 1)) (then unreachable))
      (if (i32.ne (i32.load8_u (i32.const 260)) (i32.const 0)) (then unreachable))";
    let called = run(DELETE, &[unknown, seen, OK].concat(), &Budget::default()).await;
    let Err(CallError::Refused(text)) = &called.result else { panic!("{called:?}") };
    assert!(text.contains("unknown table: other_v1"), "{text}");
    assert_eq!(called.effects, Effects::default());

    let called = run(UPSERT, &[&upsert(60), &upsert(41), OK].concat(), &Budget::default()).await;
    let Err(CallError::Refused(text)) = &called.result else { panic!("{called:?}") };
    assert!(text.contains("101 rows in one call, 100 are allowed"), "{text}");
    let called = run(UPSERT, &[&upsert(u32::MAX), OK].concat(), &Budget::default()).await;
    assert!(matches!(called.result, Err(CallError::Refused(_))));

    let budget = Budget { write_bytes: 50, ..Budget::default() };
    let called = run(UPSERT, &[&upsert(1), OK].concat(), &budget).await;
    assert!(matches!(called.result, Err(CallError::Refused(_))));
}

#[tokio::test]
async fn a_cursor_has_a_largest_size() {
    let body =
        "(i32.store8 (i32.const 72) (i32.const 1)) (i32.store (i32.const 76) (i32.const 1024))
      (i32.store (i32.const 80) (i32.const 7)) (i32.const 64)";
    let called = run("", body, &Budget::default()).await;
    let step = Step { cursor: Some(b"item_v1".to_vec()), progress: Progress::More };
    assert_eq!(called.result.unwrap(), Returned::Stepped(step));
    let budget = Budget { cursor_bytes: 6, ..Budget::default() };
    let called = run("", body, &budget).await;
    let refused = "a cursor of 7 bytes, 6 are allowed".to_owned();
    assert_eq!(called.result, Err(CallError::Refused(refused)));
}

#[tokio::test]
async fn only_streams_of_the_manifest() {
    let cases = [
        (stream("$activate", (1072, 8), 1040, AT_5), "a stream of the service `other_v1`"),
        (stream("$activate", (1024, 7), 1168, AT_5), "a stream of the kind `token`"),
        (stream("$reset", (1024, 7), 1040, ""), "can't reset its own stream"),
        (stream("$remove", (1024, 7), 1040, ""), "can't remove its own stream"),
    ];
    for (body, expected) in cases {
        let imports = [ACTIVATE, RESET, REMOVE].concat();
        let called = run(&imports, &[&body, OK].concat(), &Budget::default()).await;
        let (cause, text) = cause(&called);
        assert_eq!(cause, TrapCause::Contract);
        assert!(text.contains(expected), "{text}");
    }
}

#[tokio::test]
async fn secrets_by_their_names_alone() {
    let ask = |at: u32| {
        format!("(drop (call $secret (i32.const {at}) (i32.const 5) (i32.const 1))) {OK}")
    };
    assert!(run(SECRET, &ask(1168), &Budget::default()).await.result.is_ok());
    let called = run(SECRET, &ask(1040), &Budget::default()).await;
    let (cause, text) = cause(&called);
    assert_eq!(cause, TrapCause::Contract);
    assert!(text.contains("unknown secret `items`"), "{text}");
}

#[tokio::test]
async fn an_import_may_end_the_call() {
    let outside = Outside::new(Vendor::EndsTheCall);
    let called = run_with(SEND, &[GET, OK].concat(), &Budget::default(), outside).await;
    let failure = Failure::TooSlow("bucket".into());
    assert_eq!(called.result, Err(CallError::Failed(failure)));
}

#[tokio::test]
async fn requests_and_answers_cross_whole() {
    // Status at 264, length of the body at 280.
    let seen = "(if (i32.ne (i32.load16_u (i32.const 264)) (i32.const 200)) (then unreachable))
      (if (i32.ne (i32.load (i32.const 280)) (i32.const 3)) (then unreachable))";
    let outside = Outside::new(Vendor::Answers);
    let body = [GET, seen, OK].concat();
    let called = run_with(SEND, &body, &Budget::default(), outside.clone()).await;
    assert!(called.result.is_ok(), "{called:?}");
    let requests = outside.requests.lock().unwrap();
    assert_eq!(
        (requests[0].method.as_str(), requests[0].url.as_str()),
        ("GET", "https://a.example/x")
    );
    assert_eq!((called.meters.http_requests, called.meters.http_bytes), (1, 3));
}

#[tokio::test]
async fn every_call_has_a_fresh_memory() {
    let body = "(if (i32.load (i32.const 512)) (then unreachable))
      (i32.store (i32.const 512) (i32.const 1)) (i32.const 64)";
    let component = load(guest::component("", body)).await;
    for _ in 0..8 {
        let outside = Outside::new(Vendor::Answers);
        let called = component.call(&context(), &sync(), outside, &Budget::default()).await;
        assert!(called.result.is_ok(), "{called:?}");
    }
}
