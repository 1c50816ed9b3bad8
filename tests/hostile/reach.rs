//! Attacks on what may be reached: hosts, paths, methods, the frame of a request; and answers that
//! attack.

use crate::arena::Arena;

#[tokio::test]
async fn what_is_not_granted_is_not_reached() {
    let arena = Arena::start().await;
    let before = arena.vendor.seen().len();
    arena
        .refused(&[
            ("undeclared-host", "undeclared.example.net"),
            ("metadata-address", "169.254.169.254"),
            ("file-url", "Denied("),
            ("user-in-url", "Denied("),
            ("longer-host", "Denied("),
            ("other-port", "Denied("),
            ("longer-path", "Denied("),
            ("dots-in-path", "Denied("),
            ("hidden-dots-in-path", "Denied("),
            ("backslash-in-path", "Denied("),
            ("line-break-in-url", "Denied("),
            ("undeclared-method", "plugin.toml doesn't ask for DELETE"),
            ("method-injection", "the method isn't an HTTP token"),
            ("host-header", "the header `host` is the host's own"),
            ("framing-header", "the header `transfer-encoding` is the host's own"),
            ("header-injection", "the header `x-note` has a value with line breaks"),
            ("header-name-injection", "isn't a header name"),
        ])
        .await;
    let reached = &arena.vendor.seen()[before..];
    assert!(reached.is_empty(), "{reached:?}");
    assert!(arena.elsewhere.seen().is_empty());
}

#[tokio::test]
async fn answers_that_attack() {
    let arena = Arena::start().await;
    arena
        .refused(&[
            ("huge-answer", "TooLarge(1048576)"),
            ("bomb", "TooLarge(1048576)"),
            ("huge-headers", "Transfer("),
        ])
        .await;
    // A redirect that isn't followed is the answer.
    arena
        .contained(&[
            ("redirected", "302"),
            ("redirected-in-circles", "302"),
            ("redirected-abroad", "302"),
        ])
        .await;
    let elsewhere = arena.elsewhere.seen();
    assert!(elsewhere.is_empty(), "{elsewhere:?}");
    let seen = arena.vendor.seen();
    let circles = seen.iter().filter(|request| request.path() == "/api/circle").count();
    assert_eq!(circles, 6, "five redirects are followed");
    let abroad: Vec<_> = seen.iter().filter(|request| request.path() == "/token").collect();
    assert_eq!(abroad.len(), 1, "the token request alone: {abroad:?}");
    assert_eq!(abroad[0].header("authorization"), None);
}
