use super::*;
use crate::model::Unseen;

on_both! {
    every_type_comes_back, a_sweep_of_this_call_shows
}

async fn every_type_comes_back(dialect: Dialect) {
    let mut fixture = Fixture::new(dialect).await;
    let values = [
        ("version", Scalar::Integer(-3)),
        ("color", text("réd")),
        ("on_sale", Scalar::Boolean(true)),
        ("weight", Scalar::Double(1.5)),
        ("price", Scalar::Decimal("0.1".into())),
        ("notes", Scalar::Json("{\"a\":1}".into())),
        ("made_on", Scalar::Date(-1)),
        ("sold_at", Scalar::Timestamp(-1)),
        ("picture", Scalar::Bytes(vec![0, 1])),
        ("channel", Scalar::Null),
        ("owner_id", text("a")),
        ("identity", text("a-s-x")),
        ("data", Scalar::Json("{}".into())),
    ];
    let mut columns = vec![texts("id", &[Some("x")]), shelf("s")];
    for (name, value) in &values[..9] {
        columns.push(column(name, Values::Constant(value.clone())));
    }
    let write = [Write::Upsert(batch("thing_v1", 1, columns))];
    let names: Vec<String> = values.iter().map(|(name, _)| (*name).to_owned()).collect();
    let expected: Vec<Scalar> = values.iter().map(|(_, value)| value.clone()).collect();
    let spec = Arc::clone(&fixture.tables["thing_v1"]);
    let key = [text("s"), text("x")];
    let scope = fixture.scope("a");
    let conn = &mut fixture.conn;
    assert_eq!(lookup(conn, &scope, &spec, &key, &names, NONE).await.unwrap(), None);
    let pending = lookup(conn, &scope, &spec, &key, &names, &write).await.unwrap();
    assert_eq!(pending.as_ref(), Some(&expected));
    fixture.apply("a", &write).await.unwrap();
    let conn = &mut fixture.conn;
    let committed = lookup(conn, &scope, &spec, &key, &names, NONE).await.unwrap();
    assert_eq!(committed, Some(expected));
    let delete = [Write::Delete { table: "thing_v1".into(), conditions: Vec::new() }];
    assert_eq!(lookup(conn, &scope, &spec, &key, &names, &delete).await.unwrap(), None);
    let other = ApplyScope { external_owner_id: Some("b".into()), ..scope };
    assert_eq!(lookup(conn, &other, &spec, &key, &names, NONE).await.unwrap(), None);
}

async fn a_sweep_of_this_call_shows(dialect: Dialect) {
    let mut fixture = Fixture::new(dialect).await;
    let begin = Write::BeginFull { table: "thing_v1".into(), scope: Vec::new() };
    let unseen = Unseen::Set(vec![("color".into(), text("gone"))]);
    let end = [Write::EndFull { table: "thing_v1".into(), scope: Vec::new(), unseen }];
    fixture.apply("a", &[Write::Upsert(things(&[("x", None), ("y", None)]))]).await.unwrap();
    fixture.apply("a", &[begin, Write::Upsert(things(&[("x", None)]))]).await.unwrap();
    let spec = Arc::clone(&fixture.tables["thing_v1"]);
    let scope = fixture.scope("a");
    for (id, color) in [("x", Scalar::Null), ("y", text("gone"))] {
        let key = [text("s"), text(id)];
        let found =
            lookup(&mut fixture.conn, &scope, &spec, &key, &["color".into()], &end).await.unwrap();
        assert_eq!(found, Some(vec![color]), "{id}");
    }
}
