use super::*;
use crate::clock::Clock;
use crate::store::Dialect;
use crate::store::fixture::{self, on_both, open};

on_both! { queries_are_kept_changed_and_forgotten, they_are_not_without_number }

fn new(organization_id: OrganizationId, sql: &str) -> NewSavedQuery {
    NewSavedQuery {
        organization_id,
        created_by: None,
        description: format!("what is {sql}?"),
        sql: sql.into(),
        public: false,
    }
}

async fn queries_are_kept_changed_and_forgotten(dialect: Dialect) {
    let clock = Clock::simulated(1_000);
    let store = open(dialect, clock.clone()).await;
    let organization = store.organization("default").await.unwrap().id;
    let other = store.create_organization("other").await.unwrap().id;
    let customer = store.welcome("a@example.com").await.unwrap();
    let by = NewSavedQuery { created_by: Some(customer.id), ..new(organization, "select 1") };
    let first = store.save_query(by).await.unwrap();
    assert!(first.id.starts_with("svq_"), "{}", first.id);
    assert_eq!((first.created_by, first.created_at), (Some(customer.id), 1_000));
    clock.advance(std::time::Duration::from_secs(1));
    let second = store.save_query(new(organization, "select 2")).await.unwrap();
    let foreign = store.save_query(new(other, "select 3")).await.unwrap();
    let all = store.saved_queries(organization).await.unwrap();
    assert_eq!(all, [first.clone(), second.clone()]);

    for change in [
        Change::Public(true),
        Change::Sql("select 4".into()),
        Change::Description("what is 4?".into()),
    ] {
        assert!(store.change_saved_query(&first.id, change).await.unwrap().is_some());
    }
    let (sql, description) = ("select 4".into(), "what is 4?".into());
    let changed = SavedQuery { public: true, sql, description, ..first };
    assert_eq!(store.change_saved_query("svq_none", Change::Public(true)).await.unwrap(), None);
    assert_eq!(store.saved_query(&changed.id).await.unwrap(), Some(changed.clone()));
    store.delete_saved_query(&second.id).await.unwrap();
    assert_eq!(store.saved_queries(organization).await.unwrap(), [changed]);
    assert_eq!(store.saved_query(&second.id).await.unwrap(), None);
    assert_eq!(store.saved_query(&foreign.id).await.unwrap(), Some(foreign));
}

async fn they_are_not_without_number(dialect: Dialect) {
    let store = open(dialect, Clock::System).await;
    let organization = store.organization("default").await.unwrap().id;
    let many = format!(
        "with recursive n (n) as (select 1 union all select n + 1 from n where n < {QUERIES_MAX})
         insert into saved_queries (id, organization_id, description, sql, created_at)
         select 'svq_' || n, {organization}, '', '', 0 from n"
    );
    fixture::run(&store, many).await;
    let refused = store.save_query(new(organization, "select 1")).await.unwrap_err();
    assert!(refused.to_string().contains("may keep 1000 queries"), "{refused}");
    let closed = store.create_organization("closed").await.unwrap().id;
    store.end_organization(closed).await.unwrap();
    let refused = store.save_query(new(closed, "select 1")).await.unwrap_err();
    assert!(refused.to_string().contains("is being closed"), "{refused}");
}
