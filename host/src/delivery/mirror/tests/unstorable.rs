//! Pages that are too much, and rows that can't be stored.

use super::*;

fn unstorable(outcome: Outcome) -> String {
    match outcome {
        Outcome::Unstorable(reason) => reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_row_that_cannot_be_stored_is_named_once_it_comes_alone() {
    let mut case = Case::new("ticket_v1");
    case.takes(&copy(vec![ticket(1, 10, "a")], None, true)).await;
    case.query("create index on theirs.mirror (title)");
    // Too long for an index, and nothing that could be compressed.
    let chance = Chance::from_system();
    let long: String = (0..800).map(|_| chance.base36(16)).collect();
    for (title, says) in [
        ("b\0", "invalid byte sequence for encoding \"UTF8\": 0x00 (SQLSTATE 22021)"),
        (long.as_str(), "(SQLSTATE 54000)"),
    ] {
        let reason =
            unstorable(case.apply(&page(vec![ticket(3, 30, "c"), ticket(2, 20, title)])).await);
        assert!(reason.contains(says) && !reason.contains("the row whose"), "{reason}");
        let reason = unstorable(case.apply(&page(vec![ticket(2, 20, title)])).await);
        let named = "the row whose number is 20 can't be stored there: ";
        assert!(reason.starts_with(named) && reason.ends_with(says), "{reason}");
        assert!(!reason.contains(title));
    }
    case.takes(&page(vec![ticket(3, 30, "c")])).await;
    assert_eq!(case.tickets(), [(1, 10, "a".to_owned()), (3, 30, "c".to_owned())]);
}

#[tokio::test]
async fn what_takes_too_long_is_slow_and_not_away() {
    let mut case = Case::new("ticket_v1");
    case.takes(&copy(vec![ticket(1, 10, "a")], None, true)).await;
    case.query(
        "create function theirs.dawdle() returns trigger language plpgsql as
           $$ begin perform pg_sleep(3600); return new; end $$;
         create trigger dawdle before insert on theirs.mirror
           for each row execute function theirs.dawdle()",
    );
    case.timeout = Duration::from_secs(1);
    let slow = case.apply(&page(vec![ticket(2, 20, "b")])).await;
    assert!(matches!(slow, Outcome::Slow(_)), "{slow:?}");
    case.query("drop trigger dawdle on theirs.mirror");
    case.timeout = TIMEOUT;
    case.takes(&page(vec![ticket(2, 20, "b")])).await;
    // Who isn't there isn't slow.
    case.address.server.port = 1;
    case.session = None;
    refused(case.apply(&page(vec![ticket(3, 30, "c")])).await);
}
