//! Attacks on CPU, memory, stack, log and the host's patience.

use crate::arena::Arena;

#[tokio::test]
async fn what_a_call_uses_is_limited() {
    let arena = Arena::start().await;
    arena
        .refused(&[
            ("loop", "out of CPU time: 1000 ms of CPU time used"),
            ("receive:loop", "out of CPU time: 1000 ms of CPU time used"),
            ("hog", "134217728 bytes are allowed: raise `limits.memory_mib`"),
            ("receive:hog", "134217728 bytes are allowed: raise `limits.memory_mib`"),
            ("recursion", "trapped: wasm trap: call stack exhausted"),
            ("trap", "trapped: wasm trap: wasm `unreachable` instruction executed"),
            ("receive:trap", "trapped: wasm trap: wasm `unreachable` instruction executed"),
            ("log-flood", "over the limit: more than 50000 calls of the host in one call"),
            ("huge-log", "too many bytes at once: 33554432 are allowed"),
            ("stream-flood", "over the limit: more than 10000 changes of streams and owner"),
            ("lookup-flood", "1001 rows in one call, 1000 are allowed"),
            ("request-flood", "over the limit: more than 1000 requests in one call"),
            ("huge-request", "too many bytes at once: 33554432 are allowed"),
            ("lookup-grind", "out of CPU time: 1000 ms of CPU time used"),
        ])
        .await;
    // Of the flood, and of all else.
    let flood = arena.host.log().lines().filter(|line| line.contains(": line ")).count();
    assert_eq!(flood, 1000, "log lines of one call");
}

#[tokio::test]
async fn the_log_is_the_hosts() {
    let arena = Arena::start().await;
    arena.contained(&[("long-log", "logged"), ("forged-log", "logged")]).await;
    arena.refused(&[("forged-failure", "forged line two")]).await;
    let log = arena.host.log();
    let longest = log.lines().map(str::len).max();
    assert!(longest < Some(20_000), "{longest:?} bytes in a line");
    let forged: Vec<_> = log.lines().filter(|line| line.contains("forged line")).collect();
    assert!(!forged.is_empty(), "what is forged is logged");
    for line in forged {
        assert!(line.contains("forged line one") && line.contains("forged line two"), "{line}");
        let control = line.chars().find(|letter| letter.is_control() || *letter == '\u{2028}');
        assert_eq!(control, None, "{line:?}");
    }
    // What a person reads in a terminal.
    let shown = arena.host.printed(&["owners", "show", "forged-failure"]).await;
    let lines: Vec<_> = shown.lines().filter(|line| line.contains("forged line")).collect();
    assert!(!lines.is_empty(), "what is forged is shown: {shown}");
    assert!(lines.iter().all(|line| line.contains("one") && line.contains("two")), "{shown}");
    assert!(!shown.contains(['\u{1b}', '\u{9b}']), "{shown:?}");
}

#[tokio::test]
async fn a_vendor_that_never_answers_holds_up_its_own_call_alone() {
    let arena = Arena::start().await;
    arena.refused(&[("hang", "no answer in 8000 ms")]).await;
}
