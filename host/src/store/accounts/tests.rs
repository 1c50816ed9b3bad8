use std::time::Duration;

use super::*;
use crate::clock::Clock;
use crate::store::fixture::{Opened, open};
use crate::store::memberships::InvitationLimits;

const MINUTE: Duration = Duration::from_secs(60);

async fn both() -> Vec<(Opened, Clock)> {
    let mut stores = Vec::new();
    for dialect in [Dialect::Sqlite, Dialect::Postgres] {
        let clock = Clock::simulated(1_770_000_000_000_000);
        stores.push((open(dialect, clock.clone()).await, clock));
    }
    stores
}

const LIMITS: StrangerLimits = StrangerLimits { all: 5, per_client: 2 };

fn anybody(named: bool, client: Option<&str>) -> Asker {
    Asker::Anybody { named, client: client.map(str::to_owned), limits: LIMITS }
}

async fn code(store: &Store, email: &str) -> String {
    match store.issue_code(email, anybody(false, None)).await.unwrap() {
        Issued::Code(code) => code,
        Issued::TooMany => panic!("too many codes"),
    }
}

fn another(code: &str) -> String {
    if code == "000000" { "000001".into() } else { "000000".into() }
}

/// Whoever guesses comes from nobody knows where.
async fn is_right(store: &Store, email: &str, code: &str) -> bool {
    store.redeem_code(email, code, None).await.unwrap() == Redeemed::Right
}

#[tokio::test]
async fn a_code_is_used_once_in_time_by_its_address() {
    for (store, clock) in both().await {
        let first = code(&store, "a@example.com").await;
        assert!(first.len() == 6 && first.bytes().all(|b| b.is_ascii_digit()), "{first}");
        assert!(!is_right(&store, "b@example.com", &first).await);
        assert!(is_right(&store, "a@example.com", &format!(" {first} ")).await);
        assert!(!is_right(&store, "a@example.com", &first).await, "used twice");

        let late = code(&store, "a@example.com").await;
        clock.advance(MINUTE * 15);
        assert!(!is_right(&store, "a@example.com", &late).await, "expired");
    }
}

#[tokio::test]
async fn guesses_are_few() {
    for (store, clock) in both().await {
        let right = code(&store, "a@example.com").await;
        for _ in 0..5 {
            assert!(!is_right(&store, "a@example.com", &another(&right)).await);
        }
        assert!(!is_right(&store, "a@example.com", &right).await, "void by now");
        for _ in 0..4 {
            code(&store, "a@example.com").await;
        }
        let more = store.issue_code("a@example.com", anybody(true, None)).await.unwrap();
        assert_eq!(more, Issued::TooMany);
        // Who has the data directory isn't anybody.
        let made = store.issue_code("a@example.com", Asker::Operator).await.unwrap();
        assert!(matches!(made, Issued::Code(_)));
        clock.advance(MINUTE * 61);
        code(&store, "a@example.com").await;
    }
}

#[tokio::test]
async fn a_network_has_few_guesses_whatever_the_addresses() {
    for (store, clock) in both().await {
        let made = async |email: &str| match store.issue_code(email, Asker::Operator).await.unwrap()
        {
            Issued::Code(code) => code,
            Issued::TooMany => panic!("too many codes"),
        };
        let redeemed = async |email: &str, code: &str, network: &str| {
            store.redeem_code(email, code, Some(network.to_owned())).await.unwrap()
        };
        // Many people may share a network: who is right doesn't count.
        for _ in 0..30 {
            let code = made("a@example.com").await;
            assert_eq!(redeemed("a@example.com", &code, "x").await, Redeemed::Right);
        }
        for nth in 0..20 {
            let email = format!("{nth}@example.com");
            let wrong = another(&made(&email).await);
            assert_eq!(redeemed(&email, &wrong, "x").await, Redeemed::Wrong, "{nth}");
        }
        let code = made("a@example.com").await;
        // However often it is tried, the owner's code isn't spoilt by it.
        for _ in 0..9 {
            assert_eq!(redeemed("a@example.com", &code, "x").await, Redeemed::TooMany);
        }
        assert_eq!(redeemed("a@example.com", &code, "y").await, Redeemed::Right);
        clock.advance(MINUTE * 61);
        let code = made("a@example.com").await;
        assert_eq!(redeemed("a@example.com", &code, "x").await, Redeemed::Right);
        clock.advance(MINUTE * 60 * 25);
        let code = made("a@example.com").await;
        assert_eq!(redeemed("a@example.com", &code, "x").await, Redeemed::Right);
        let kept: i64 = query_scalar("select count(*) from login_counts")
            .fetch_one(&store.control)
            .await
            .unwrap();
        assert_eq!(kept, 1, "what counts no more is forgotten");
    }
}

#[tokio::test]
async fn codes_are_long_where_somebody_guesses() {
    for (store, clock) in both().await {
        for nth in 0..10 {
            let right = code(&store, "a@example.com").await;
            assert_eq!(right.len(), 6, "{nth}");
            assert!(!is_right(&store, "a@example.com", &another(&right)).await);
            clock.advance(MINUTE * 61);
        }
        let long = code(&store, "a@example.com").await;
        assert!(long.len() == 9 && long.bytes().all(|b| b.is_ascii_digit()), "{long}");
        assert!(is_right(&store, "a@example.com", &long).await);
        let Issued::Code(theirs) =
            store.issue_code("a@example.com", Asker::Operator).await.unwrap()
        else {
            panic!("too many codes")
        };
        assert_eq!(theirs.len(), 9, "it can be guessed at as well");
        assert_eq!(code(&store, "b@example.com").await.len(), 6);
        clock.advance(MINUTE * 60 * 24);
        assert_eq!(code(&store, "a@example.com").await.len(), 6);
    }
}

#[tokio::test]
async fn a_network_takes_only_a_part_of_an_addresss_codes() {
    for (store, clock) in both().await {
        store.welcome("a@example.com").await.unwrap();
        let gets = async |email: &str, network: &str| {
            let made = store.issue_code(email, anybody(true, Some(network))).await.unwrap();
            matches!(made, Issued::Code(_))
        };
        for (network, times, got) in
            [("x", 5, true), ("x", 9, false), ("y", 5, true), ("z", 1, false)]
        {
            for nth in 0..times {
                assert_eq!(gets("a@example.com", network).await, got, "{network} {nth}");
            }
        }
        clock.advance(MINUTE * 61);
        assert!(gets("a@example.com", "x").await, "an hour later");
        // Nor does it have all that it likes for many addresses.
        for nth in 0..50 {
            assert!(gets(&format!("{nth}@example.com"), "w").await, "{nth}");
        }
        assert!(!gets("50@example.com", "w").await);
        assert!(gets("50@example.com", "v").await);
    }
}

#[tokio::test]
async fn strangers_crowd_nobody_out() {
    for (store, clock) in both().await {
        store.welcome("customer@a.b").await.unwrap();
        let organization = store.organization(DEFAULT).await.unwrap().id;
        let limits = InvitationLimits { waiting: 9, a_day: 9 };
        store.invite(organization, "invited@a.b", Role::Member, limits).await.unwrap();
        for (email, asker, issued) in [
            ("1@a.b", anybody(false, Some("x")), true),
            ("2@a.b", anybody(false, Some("x")), true),
            ("3@a.b", anybody(false, Some("x")), false),
            ("2@a.b", anybody(false, Some("x")), true),
            ("3@a.b", anybody(false, Some("y")), true),
            ("4@a.b", anybody(false, None), true),
            ("5@a.b", anybody(false, None), true),
            ("6@a.b", anybody(false, None), false),
            ("6@a.b", anybody(false, Some("z")), false),
            ("5@a.b", anybody(false, None), true),
            ("customer@a.b", anybody(false, Some("x")), true),
            ("invited@a.b", anybody(false, Some("x")), true),
            ("6@a.b", anybody(true, Some("x")), true),
            ("7@a.b", Asker::Operator, true),
        ] {
            let made = store.issue_code(email, asker.clone()).await.unwrap();
            assert_eq!(matches!(made, Issued::Code(_)), issued, "{email} {asker:?}");
        }
        // Those that are known count for nobody, and where they are isn't kept.
        let kept: Vec<(String, String)> = query_as(
            "select email, client from login_codes where client is not null order by email",
        )
        .fetch_all(&store.control)
        .await
        .unwrap();
        let kept: Vec<_> = kept.iter().map(|(email, at)| (email.as_str(), at.as_str())).collect();
        assert_eq!(kept, [("1@a.b", "x"), ("2@a.b", "x"), ("3@a.b", "y")]);
        clock.advance(MINUTE * 61);
        code(&store, "8@a.b").await;
    }
}

#[tokio::test]
async fn an_invitation_is_stored_without_its_code() {
    for (store, _) in both().await {
        let organization = store.organization(DEFAULT).await.unwrap().id;
        let limits = InvitationLimits { waiting: 9, a_day: 9 };
        let code = store.invite(organization, "a@b.c", Role::Member, limits).await.unwrap();
        let stored: Vec<u8> = query_scalar("select invitation from memberships")
            .fetch_one(&store.control)
            .await
            .unwrap();
        assert_eq!(stored.len(), 32, "a digest");
        assert!(!store.members(organization).await.unwrap()[0].accepted);
        let by_digest: String = stored.iter().map(|byte| format!("{byte:02x}")).collect();
        for (email, wrong) in [("a@b.c", "join-0"), ("x@b.c", &code), ("a@b.c", &by_digest)] {
            assert!(store.join(email, wrong).await.unwrap().is_none(), "{email}");
        }
        assert!(store.join("a@b.c", &format!(" {code} ")).await.unwrap().is_some());
        assert!(store.join("a@b.c", &code).await.unwrap().is_none(), "used twice");
        assert!(store.members(organization).await.unwrap()[0].accepted);
    }
}

#[tokio::test]
async fn the_first_owns_the_host_and_the_organization_that_is_there() {
    for (store, _) in both().await {
        let default = store.organization(DEFAULT).await.unwrap();
        assert!(!store.has_customers().await.unwrap());
        let first = store.welcome("a@example.com").await.unwrap();
        let second = store.welcome("b@example.com").await.unwrap();
        assert!(first.operator && !second.operator);
        assert_eq!(store.welcome("a@example.com").await.unwrap(), first);
        let of_first = store.memberships("a@example.com").await.unwrap();
        assert_eq!(of_first.len(), 1);
        assert_eq!(of_first[0].organization.id, default.id);
        let of_second = store.memberships("b@example.com").await.unwrap();
        assert_eq!(of_second[0].organization.name, "b@example.com Org");
        assert_eq!(of_second[0].organization.key, "b_example_com_org");
        // Another address with the same key.
        store.welcome("b_example@com").await.unwrap();
        let of_third = store.memberships("b_example@com").await.unwrap();
        assert_eq!(of_third[0].organization.key, "b_example_com_org_2");
    }
}

#[tokio::test]
async fn sessions_end_and_their_tokens_are_not_stored() {
    for (store, clock) in both().await {
        let customer = store.welcome("a@example.com").await.unwrap();
        let ttl = 3_600_000_000;
        let one = store.open_session(customer.id, ttl).await.unwrap();
        let two = store.open_session(customer.id, ttl).await.unwrap();
        assert_eq!(store.session(&one).await.unwrap().as_ref(), Some(&customer));
        assert_eq!(store.session("").await.unwrap(), None);
        store.close_session(&one).await.unwrap();
        assert_eq!(store.session(&one).await.unwrap(), None);
        assert!(store.session(&two).await.unwrap().is_some());
        let digests: Vec<Vec<u8>> =
            query_scalar("select digest from sessions").fetch_all(&store.control).await.unwrap();
        assert!(digests.iter().all(|digest| digest.as_slice() != two.as_bytes()));
        clock.advance(MINUTE * 60);
        assert_eq!(store.session(&two).await.unwrap(), None, "expired");
        let other = store.welcome("b@example.com").await.unwrap();
        store.open_session(other.id, ttl).await.unwrap();
        let kept: i64 =
            query_scalar("select count(*) from sessions").fetch_one(&store.control).await.unwrap();
        assert_eq!(kept, 1, "what has expired is forgotten, whosever it was");
        let three = store.open_session(customer.id, ttl).await.unwrap();
        assert_eq!(store.close_sessions("a@example.com").await.unwrap(), 1);
        assert_eq!(store.session(&three).await.unwrap(), None);
    }
}
