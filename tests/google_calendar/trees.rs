//! Owners and integrations beside each other.

use serde_json::json;
use simulator::model::calendar::Role;
use simulator::model::directory::CalendarSpec;
use tests::TestHost;

use crate::setup::{ANA, BO, Case, OWNER, live, single};

#[tokio::test]
async fn the_same_owner_under_two_trees_never_mixes() {
    let host = TestHost::start().await;
    for email in [ANA, BO] {
        host.simulator.model().create_user(email);
        host.simulator.model().add_event(email, &single(&email[..2], 3)).unwrap();
    }
    let (anas, bos) = (host.all_integrations().await, host.all_integrations().await);
    host.link(&anas, OWNER, ANA).await;
    host.link(&bos, OWNER, BO).await;
    host.settle().await;
    host.assert_matches_model(&anas).await;
    host.assert_matches_model(&bos).await;
    host.unlink(&anas, OWNER).await;
    host.resync(&bos, OWNER).await;
    host.settle().await;
    host.assert_matches_model(&anas).await;
    host.assert_matches_model(&bos).await;
    assert_eq!(host.row_count(&anas, OWNER).await, 0);
    assert_eq!(host.row_count(&bos, OWNER).await, 4);
    let of_tree = |secret: &str| {
        let body = serde_json::json!({ "type": "RESYNC", "external_owner_id": OWNER });
        let (host, anas, secret) = (&host, &anas, secret.to_owned());
        async move { host.post_to(&anas.list, &secret, &body).await.0 }
    };
    assert_eq!(of_tree(&anas.list.secret).await, 202);
    assert_eq!(of_tree(&bos.list.secret).await, 401, "the other tree's secret");
}

/// A second organization has tables, owners and integrations of its own.
#[tokio::test]
async fn organizations_keep_apart() {
    let case = Case::linked().await;
    case.simulator.model().create_user(BO);
    case.simulator.model().add_event(BO, &single("bos", 5)).unwrap();
    assert_eq!(case.json(&["orgs", "create", "Acme"]).await["key"], "acme");
    let acme = ["--org", "acme"];
    let (client_id, client_secret) = {
        let model = case.simulator.model();
        (model.client_id.clone(), model.client_secret.clone())
    };
    let settings = [
        format!("client_id={client_id}"),
        format!("client_secret={client_secret}"),
        format!("api_url={}", case.simulator.api_url()),
        format!("token_url={}", case.simulator.token_url()),
    ];
    let settings = settings.iter().flat_map(|setting| ["--set", setting]);
    let list = [&["google_calendar_list_v1"][..], &acme, &settings.collect::<Vec<_>>()].concat();
    let list = case.create_with(&list).await;
    // The one parent that fits is the organization's own.
    case.create_with(&["google_calendar_v1", "--org", "acme"]).await;
    let events = case.create_with(&["google_calendar_event_v1", "--org", "acme"]).await;

    let token = case.simulator.model().create_user(BO);
    let body = json!({
        "type": "LINKED", "external_owner_id": OWNER, "refresh_token": token,
    });
    assert_eq!(case.post_to(&list, &list.secret, &body).await.0, 202);
    let query = format!("select external_owner_id as o, google_id as e from {}", events.table);
    let of_acme = async || case.json(&["db", "sql", &query, "--org", "acme"]).await;
    case.until("its rows are there", async || of_acme().await != json!([])).await;
    case.settle().await;
    assert_eq!(of_acme().await, json!([{ "o": OWNER, "e": "bos" }]));
    case.matches().await;
    assert_eq!(live(&case.expanded().await), ["one"]);
    let elsewhere = case.command(&["db", "sql", &query]).await;
    assert!(!elsewhere.status.success(), "the other organization has no such table");
    let owners = case.json(&["owners", "list", "--org", "acme"]).await;
    assert_eq!(owners.as_array().map(Vec::len), Some(1));
    assert_eq!(owners[0]["integration"], list.id.as_str());

    // One organization's verbs are nothing to the other.
    case.unlink(&case.tree, OWNER).await;
    case.settle().await;
    assert_eq!(case.row_count(&case.tree, OWNER).await, 0);
    assert_eq!(of_acme().await, json!([{ "o": OWNER, "e": "bos" }]));
}

#[tokio::test]
async fn an_integration_made_later_gets_its_rows_without_a_post() {
    let host = TestHost::start().await;
    host.simulator.model().create_user(ANA);
    host.simulator.model().add_event(ANA, &single("one", 3)).unwrap();
    let mut tree = host.calendars_only().await;
    host.link(&tree, OWNER, ANA).await;
    host.settle().await;
    host.assert_matches_model(&tree).await;
    tree.event = Some(host.create("google_calendar_event_v1", &tree.calendar).await);
    let count = format!("select count(*) as n from {}", tree.events());
    host.until("its rows appear", async || host.sql(&count).await[0]["n"] == 1).await;
    host.settle().await;
    host.assert_matches_model(&tree).await;
}

#[tokio::test]
async fn two_owners_share_a_calendar() {
    let case = Case::linked().await;
    let shared = {
        let mut model = case.simulator.model();
        model.create_user(BO);
        let spec = CalendarSpec { summary: "team".into(), ..CalendarSpec::default() };
        let id = model.add_calendar(ANA, &spec).unwrap();
        model.share_calendar(&id, BO, Role::Reader).unwrap();
        model.add_event(&id, &single("both", 5)).unwrap();
        id
    };
    case.link(&case.tree, "customer-2", BO).await;
    case.catch_up().await;
    case.matches().await;
    let query = format!(
        "select external_owner_id as o from {} where google_id = 'both' order by 1",
        case.tree.events()
    );
    let owners: Vec<_> = case.sql(&query).await.into_iter().map(|row| row["o"].clone()).collect();
    assert_eq!(owners, [OWNER, "customer-2"]);
    // One owner's catch-up changes nothing for the other.
    case.simulator.model().patch_event(&shared, "both", &single("both", 6)).unwrap();
    case.catch_up().await;
    let query = format!(
        "select start_at from {} where google_id = 'both' order by external_owner_id",
        case.tree.events()
    );
    let starts: Vec<_> =
        case.sql(&query).await.into_iter().map(|row| row["start_at"].clone()).collect();
    assert_eq!(starts, ["2026-11-06T10:00:00.000000Z", "2026-11-05T10:00:00.000000Z"]);
    // And one's leaving takes none of the other's rows.
    case.unlink(&case.tree, OWNER).await;
    case.settle().await;
    assert_eq!(live(&case.statuses(case.tree.events(), &shared).await), ["both"]);
    assert_eq!(case.row_count(&case.tree, OWNER).await, 0);
}

#[tokio::test]
async fn ids_that_look_alike_when_joined_stay_apart() {
    let case = Case::unlinked().await;
    let spec = |id: &str| CalendarSpec { id: Some(id.into()), ..CalendarSpec::default() };
    case.simulator.model().create_user(BO);
    case.simulator.model().add_calendar(ANA, &spec("b-c@group")).unwrap();
    case.simulator.model().add_calendar(BO, &spec("c@group")).unwrap();
    for (calendar, id) in [("b-c@group", "d"), ("c@group", "d")] {
        case.simulator.model().add_event(calendar, &single(id, 3)).unwrap();
    }
    // `a` + `b-c` and `a-b` + `c`.
    case.link(&case.tree, "a", ANA).await;
    case.link(&case.tree, "a-b", BO).await;
    case.settle().await;
    case.matches().await;
    case.unlink(&case.tree, "a").await;
    case.settle().await;
    case.matches().await;
    assert_eq!(case.row_count(&case.tree, "a-b").await, 1 + 2 + 1 + 1);
}
