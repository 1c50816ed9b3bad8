//! Whether a mirror can be made, before it is.

use super::*;

impl Case {
    async fn tried(&self, address: &DatabaseAddress, schema: &str) -> Result<(), String> {
        let spec = TableSpec { table_name: "mirror".into(), ..self.spec.clone() };
        let mirror = Mirror { schema, spec: &spec };
        verify(&self.relays, address, Some(mirror), TIMEOUT).await
    }
}

#[tokio::test]
async fn where_a_mirror_can_be_made_nothing_is_left_of_the_trial() {
    let mut case = Case::new("ticket_v1");
    let there = "select count(*) from pg_namespace where nspname = 'theirs'";
    assert_eq!(case.tried(&case.address, "theirs").await, Ok(()));
    assert_eq!(case.query(there), [[Some("0".to_owned())]]);
    // One that another target has left.
    case.takes(&copy(vec![ticket(1, 10, "a")], None, true)).await;
    leave(&case.relays, &case.address, &case.target, TIMEOUT).await.unwrap();
    assert_eq!(case.tried(&case.address, "theirs").await, Ok(()));
    assert_eq!(case.tickets(), [(1, 10, "a".to_owned())]);
    let filled = "select count(*) from theirs.rowgate_mirrors";
    assert_eq!(case.query(filled), [[Some("0".to_owned())]]);
}

#[tokio::test]
async fn what_its_first_page_would_be_refused_is_refused_before() {
    let case = Case::new("ticket_v1");
    let columns = "owner_id text, title text, row_created_at timestamptz,
       row_updated_at timestamptz, data jsonb";
    for (made, says) in [
        ("create table theirs.mirror (id bigint)".to_owned(), "column pk is missing"),
        ("create view theirs.mirror as select 1".into(), "a view of this name"),
        (
            format!("create table theirs.mirror (pk bigint, number bigint, {columns})"),
            "no unique or exclusion constraint matching",
        ),
        (
            "create table theirs.rowgate_mirrors (target text primary key, table_name text unique,
               fence bigint, since text, bookmark text);
             insert into theirs.rowgate_mirrors values ('syt_2', 'mirror', 1, null, 'b')"
                .into(),
            "table mirror is the mirror of the target syt_2",
        ),
    ] {
        case.query("drop schema if exists theirs cascade; create schema theirs");
        case.query(&made);
        let reason = case.tried(&case.address, "theirs").await.unwrap_err();
        assert!(reason.starts_with("must take the mirror: ") && reason.contains(says), "{reason}");
    }
    let reason = case.tried(&case.address, "pg_theirs").await.unwrap_err();
    assert!(reason.contains("unacceptable schema name"), "{reason}");
    // Somebody who may do nothing.
    let poor = format!("{}_poor", case.database.name());
    case.query(&format!("create role {poor} login; revoke create on schema public from public"));
    let url = case.database.url().replace("rowgate@", &format!("{poor}@"));
    let poor = DatabaseAddress::parse(&url, RULES).unwrap();
    for (schema, says) in [("theirs", "for schema theirs"), ("another", "for database")] {
        let reason = case.tried(&poor, schema).await.unwrap_err();
        assert!(reason.contains("permission denied") && reason.contains(says), "{reason}");
    }
}
