use super::*;
use crate::rows::fixture::{google_calendar, sample, spec};

#[test]
fn columns_stand_in_order_and_know_who_writes_them() {
    let calendar = spec("google_calendar_v1");
    let columns: Vec<(&str, &Role)> =
        calendar.columns.iter().map(|column| (column.name.as_str(), &column.role)).collect();
    let expected = [
        ("pk", Role::Pk),
        ("compound_identity", Role::Computed(vec![2, 3])),
        ("external_owner_id", Role::Owner),
        ("google_id", Role::Key),
        ("time_zone", Role::Guest),
        ("deleted", Role::Guest),
        ("sync_tokens", Role::Bookkeeping),
        ("events_page_size", Role::Bookkeeping),
        ("events_watch_channel_id", Role::Bookkeeping),
        ("events_watch_resource_id", Role::Bookkeeping),
        ("events_watch_channel_expiration", Role::Bookkeeping),
        ("row_created_at", Role::CreatedAt),
        ("row_updated_at", Role::UpdatedAt),
        ("data", Role::Data),
    ];
    assert_eq!(columns, expected.each_ref().map(|(name, role)| (*name, role)));
    assert_eq!(calendar.unique_key, 1);
}

#[test]
fn the_unique_key_is_computed_or_the_owner_or_the_only_key_column() {
    for (service, unique) in [
        ("google_calendar_event_v1", "compound_identity"),
        ("google_calendar_list_v1", "external_owner_id"),
        ("ticket_v1", "number"),
        ("issue_v1", "id"),
    ] {
        assert_eq!(spec(service).unique_column().name, unique, "{service}");
    }
}

#[test]
fn an_owner_column_always_leads_an_index() {
    let names = |service: &str| -> Vec<String> {
        spec(service).indexes.into_iter().map(|index| index.name).collect()
    };
    assert_eq!(names("thing_v1"), ["thing_v1_color_idx", "thing_v1_owner_id_idx"]);
    assert_eq!(names("account_v1"), [""; 0]);
}

#[test]
fn tables_that_make_no_sense() {
    /// Table, what is changed in it, what the refusal says.
    type Case = (&'static str, fn(&mut Table), &'static str);
    let cases: [Case; 10] = [
        ("thing", |t| t.key = vec!["nope".into()], "nope isn't in `columns`"),
        ("thing", |t| t.key = vec!["id".into(), "id".into()], "twice"),
        ("thing", |t| t.owner = Some("id".into()), "column id is there twice"),
        ("thing", |t| t.newer = Some("id".into()), "`newer`"),
        ("thing", |t| t.computed[0] = "{owner_id}-{id}".into(), "the whole `key`"),
        ("thing", |t| t.computed[0] = "{owner_id}-{id}-{shelf}-x".into(), "isn't like"),
        ("thing", |t| t.computed[0] = "{owner_id}-{id}-{shelf}-{color}".into(), "color isn't"),
        ("thing", |t| t.computed.clear(), "needs a computed column"),
        ("issue", |t| t.key.clear(), "neither an owner nor a key"),
        ("thing", |t| t.indexes = vec![vec!["nope".into()]], "names nope, which is no column"),
    ];
    for (table, change, reason) in cases {
        let mut manifest = sample();
        change(&mut manifest.tables[table]);
        let error = TableSpec::new(&manifest, &format!("{table}_v1"), "t").unwrap_err();
        assert!(error.reason.contains(reason), "{error}");
    }
}

#[test]
fn names_never_reach_sql_unchecked() {
    let manifest = google_calendar();
    for name in ["", "a\"b", "A", "drop table x"] {
        assert!(TableSpec::new(&manifest, "google_calendar_v1", name).is_err(), "{name}");
    }
    let mut manifest = sample();
    manifest.tables["issue"].columns.insert("a\" b".into(), ColumnType::Text);
    assert!(TableSpec::new(&manifest, "issue_v1", "t").is_err());
}
