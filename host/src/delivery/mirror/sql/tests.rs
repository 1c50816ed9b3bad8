use super::*;
use crate::rows::fixture::spec;

fn statements(service: &str) -> String {
    let spec = TableSpec { table_name: "mirror".into(), ..spec(service) };
    let mirror = Mirror { schema: "theirs", spec: &spec };
    let last = spec.columns.iter().rfind(|column| column.nullable()).unwrap();
    let all = [
        mirror.create_schema(),
        mirror.create_mirrors(),
        mirror.create_table(),
        mirror.add_column(last),
        mirror.filled_by(),
        mirror.begin(),
        mirror.go_on(),
        mirror.fence(),
        leave(mirror.schema),
        mirror.make_room(),
        mirror.delete(),
        mirror.upsert(),
        mirror.sweep(),
    ];
    all.map(|statement| format!("{statement};\n")).concat()
}

/// `UPDATE_SNAPSHOTS=1` writes them anew. A key of numbers, and one of text.
#[test]
fn sql_of_mirrors() {
    for service in ["ticket_v1", "thing_v1"] {
        let sql = statements(service);
        let here = concat!(env!("CARGO_MANIFEST_DIR"), "/src/delivery/mirror/sql/tests");
        let path = format!("{here}/{service}.sql");
        if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
            std::fs::write(&path, &sql).unwrap();
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap_or_default(), sql, "{path}");
    }
}

#[test]
fn names_are_quoted() {
    let spec = TableSpec { table_name: "order".into(), ..spec("ticket_v1") };
    let mirror = Mirror { schema: "a\"b", spec: &spec };
    assert!(mirror.delete().starts_with("delete from \"a\"\"b\".\"order\" where"));
}
