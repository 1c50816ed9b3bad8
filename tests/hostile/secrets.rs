//! Attacks on secrets: none enters the guest, none goes where it isn't bound to. That none is left
//! in files and output is checked after every attack of this suite.

use crate::arena::{ACCESS_TOKEN, Arena};

#[tokio::test]
async fn secrets_go_where_they_are_bound_alone() {
    let arena = Arena::start().await;
    arena
        .refused(&[
            ("unknown-secret", "no_such_secret"),
            ("webhook-secret", "webhook_secret"),
            ("secret-abroad", "client_secret"),
            ("secret-elsewhere", "access_token"),
            ("secret-in-foreign-json", "refresh_token"),
            ("secret-bomb", "more than 64 secrets in one request"),
        ])
        .await;
    assert!(arena.elsewhere.seen().is_empty());
    let seen = arena.vendor.seen();
    assert!(seen.iter().all(|request| request.path() == "/token"), "{seen:?}");
}

#[tokio::test]
async fn secrets_stay_out_of_the_guest() {
    let arena = Arena::start().await;
    arena
        .contained(&[
            ("token-reader", r#"{"access_token":null,"expires_in":3600}"#),
            ("secret-inside-a-string", r#"{"access_token":null,"expires_in":3600}"#),
            ("config-reader", "elsewhere_url"),
            ("webhook-reader", "a good neighbour"),
        ])
        .await;
    arena.refused(&[("token-as-form", "should answer JSON")]).await;
    let config = arena.seen("config-reader").await;
    assert!(!config.contains("secret"), "{config}");
    let post = arena.items("webhook-reader").await;
    let post = post.iter().find(|item| item["item_id"] == "post").unwrap();
    assert!(post["note"].as_str().unwrap().contains(r#""refresh_token":null"#), "{post}");
}

#[tokio::test]
async fn a_vendor_that_repeats_the_token_is_masked() {
    let arena = Arena::start().await;
    arena.contained(&[("echo", "201")]).await;
    let sent = arena.vendor.seen().into_iter().find(|request| request.path() == "/api/echo");
    let sent = sent.unwrap();
    let bearer = format!("Bearer {ACCESS_TOKEN}");
    assert_eq!(sent.header("authorization"), Some(bearer.as_str()), "the vendor got it");
    let seen = arena.seen("echo").await;
    for place in ["\n\nBearer ***", "x-authorization: Bearer ***", "location: /elsewhere?said="] {
        assert!(seen.contains(place), "{place}: {seen}");
    }
}
