use super::*;

on_both! {
    an_unchanged_row_does_not_move, every_type_is_stored_and_compared_by_value, each_way_to_treat_what_exists, absent_columns_stay, only_strictly_older_versions_are_refused, the_last_of_a_repeated_key_wins, a_patch_leaves_out_rows_that_are_not_there, another_owners_row_ends_the_whole_call, tables_of_one_row_an_owner_and_without_owners, writes_to_a_service_without_integration_are_dropped, large_batches_go_in_chunks
}

const THINGS: &str = "select identity, owner_id, color, row_created_at, row_updated_at \
                      from thing_v1 order by identity";

fn upsert(batch: Batch) -> Vec<Write> {
    vec![Write::Upsert(batch)]
}

fn at(second: i64) -> String {
    crate::rows::timestamp_text(second * 1_000_000).unwrap()
}

async fn an_unchanged_row_does_not_move(dialect: Dialect) {
    let mut fixture = Fixture::new(dialect).await;
    let first = upsert(things(&[("x", Some("red")), ("y", None)]));
    let applied = fixture.apply("a", &first).await.unwrap();
    assert_eq!((applied.rows_changed, applied.rows_presented), (2, 2));
    assert_eq!(applied.changed_pks["thing_v1"], [1, 2]);
    let rows = fixture.rows(THINGS).await;
    assert_eq!(rows[0], format!("a-s-x|a|red|{0}|{0}", at(1)));

    let applied = fixture.apply("a", &first).await.unwrap();
    assert_eq!((applied.rows_changed, applied.rows_presented), (0, 2));
    assert!(applied.changed_pks.is_empty());
    assert_eq!(fixture.rows(THINGS).await, rows);
    assert_eq!(fixture.rows("select max(commit_id) from rowgate_feed").await, ["1"]);

    let second = upsert(things(&[("x", Some("red")), ("y", Some("blue"))]));
    let applied = fixture.apply("a", &second).await.unwrap();
    assert_eq!(applied.changed_pks["thing_v1"], [2]);
    let rows = fixture.rows(THINGS).await;
    assert_eq!(rows[1], format!("a-s-y|a|blue|{}|{}", at(1), at(3)));
}

async fn every_type_is_stored_and_compared_by_value(dialect: Dialect) {
    let mut fixture = Fixture::new(dialect).await;
    let row = |notes: &str, price: &str| {
        let columns = vec![
            texts("id", &[Some("x")]),
            shelf("s"),
            column("on_sale", Values::Boolean(vec![1])),
            column("weight", Values::Double(vec![-0.0])),
            column("price", Values::Decimal(crate::rows::fixture::utf8(&[Some(price)]))),
            documents("notes", &[Some(notes)]),
            column("made_on", Values::Date(vec![19_000])),
            column("sold_at", Values::Timestamp(vec![1_700_000_000_000_000])),
            column(
                "picture",
                Values::Bytes(crate::model::Utf8 { offsets: vec![0, 2], data: vec![0, 255] }),
            ),
        ];
        upsert(batch("thing_v1", 1, columns))
    };
    fixture.apply("a", &row(r#"{"a":1e400,"b":[1]}"#, "12345678901234567890.10")).await.unwrap();
    let types = match dialect {
        Dialect::Sqlite => {
            "select typeof(on_sale), typeof(weight), typeof(picture), hex(picture) from thing_v1"
        }
        Dialect::Postgres => {
            "select pg_typeof(on_sale)::text, pg_typeof(weight)::text, pg_typeof(picture)::text, \
             upper(encode(picture, 'hex')) from thing_v1"
        }
    };
    let stored = match dialect {
        Dialect::Sqlite => "integer|real|blob|00FF",
        Dialect::Postgres => "boolean|double precision|bytea|00FF",
    };
    assert_eq!(fixture.rows(types).await, [stored]);
    let sql = "select on_sale, weight = 0, price, notes, made_on, sold_at, data from thing_v1";
    let stored = "1|1|12345678901234567890.1|{\"a\":1e400,\"b\":[1]}|2022-01-08|\
                  2023-11-14T22:13:20.000000Z|{}";
    assert_eq!(fixture.rows(sql).await, [stored]);
    let same = row(r#" {"b":[1.0], "a":10E399} "#, "1234567890123456789010e-2");
    assert_eq!(fixture.apply("a", &same).await.unwrap().rows_changed, 0);
    // A document that looks like a number stays text.
    fixture.apply("a", &row("12345678901234567890123", "1")).await.unwrap();
    let sql = "select notes, price from thing_v1";
    assert_eq!(fixture.rows(sql).await, ["12345678901234567890123|1"]);
    if dialect == Dialect::Sqlite {
        let types = "select typeof(notes), typeof(price) from thing_v1";
        assert_eq!(fixture.rows(types).await, ["text|text"]);
    }
}

async fn each_way_to_treat_what_exists(dialect: Dialect) {
    let mut fixture = Fixture::new(dialect).await;
    for mode in [Existing::Replace, Existing::Merge, Existing::Keep] {
        let shelf_name = format!("{mode:?}");
        let row = |color: Option<&str>, data: Option<&str>| {
            let columns = vec![
                texts("id", &[Some("x")]),
                shelf(&shelf_name),
                existing(mode, texts("color", &[color])),
                existing(mode, documents("data", &[data])),
            ];
            upsert(batch("thing_v1", 1, columns))
        };
        for (color, data, replace, merge, keep) in [
            (None, None, "-|{}", "-|{}", "-|{}"),
            (Some("red"), Some("[1]"), "red|[1]", "red|[1]", "red|{}"),
            (Some("blue"), Some("[2]"), "blue|[2]", "blue|[2]", "red|{}"),
            (None, None, "-|{}", "blue|[2]", "red|{}"),
        ] {
            fixture.apply("a", &row(color, data)).await.unwrap();
            let sql = format!("select color, data from thing_v1 where shelf = '{shelf_name}'");
            let expected = match mode {
                Existing::Replace => replace,
                Existing::Merge => merge,
                Existing::Keep => keep,
            };
            assert_eq!(fixture.rows(&sql).await, [expected], "{mode:?} {color:?}");
        }
    }
}

async fn absent_columns_stay(dialect: Dialect) {
    let mut fixture = Fixture::new(dialect).await;
    let mut all = things(&[("x", Some("red"))]);
    all.columns.push(documents("data", &[Some("[1]")]));
    fixture.apply("a", &upsert(all)).await.unwrap();
    let only_key = batch("thing_v1", 1, vec![texts("id", &[Some("x")]), shelf("s")]);
    let applied = fixture.apply("a", &upsert(only_key)).await.unwrap();
    assert_eq!((applied.rows_changed, applied.rows_presented), (0, 1));
    assert_eq!(fixture.rows("select color, data from thing_v1").await, ["red|[1]"]);
}

async fn only_strictly_older_versions_are_refused(dialect: Dialect) {
    let mut fixture = Fixture::new(dialect).await;
    let row = |version: Option<i64>, color: &str| {
        let bits = crate::rows::fixture::validity(&[version]);
        let version = column("version", Values::Integer(vec![version.unwrap_or_default()]));
        let mut batch = things(&[("x", Some(color))]);
        batch.columns.push(Column { validity: bits, ..version });
        upsert(batch)
    };
    for (version, color, expected) in [
        (Some(5), "a", "5|a"),
        (Some(4), "b", "5|a"),
        (Some(5), "c", "5|c"),
        (None, "d", "-|d"),
        (Some(1), "e", "1|e"),
        (Some(7), "f", "7|f"),
    ] {
        fixture.apply("a", &row(version, color)).await.unwrap();
        let stored = fixture.rows("select version, color from thing_v1").await;
        assert_eq!(stored, [expected], "{version:?} {color}");
    }
    let set = |version| Write::Update {
        table: "thing_v1".into(),
        set: vec![("version".into(), Scalar::Integer(version)), ("color".into(), text("g"))],
        conditions: Vec::new(),
    };
    fixture.apply("a", &[set(6)]).await.unwrap();
    assert_eq!(fixture.rows("select version, color from thing_v1").await, ["7|f"]);
    fixture.apply("a", &[set(7)]).await.unwrap();
    assert_eq!(fixture.rows("select version, color from thing_v1").await, ["7|g"]);
}

async fn the_last_of_a_repeated_key_wins(dialect: Dialect) {
    let mut fixture = Fixture::new(dialect).await;
    let repeated =
        things(&[("x", Some("red")), ("y", Some("y")), ("x", None), ("x", Some("blue"))]);
    let applied = fixture.apply("a", &upsert(repeated)).await.unwrap();
    assert_eq!((applied.rows_changed, applied.rows_presented), (2, 4));
    let mut merged = things(&[("x", Some("green")), ("x", None)]);
    merged.columns[2].existing = Existing::Merge;
    fixture.apply("a", &upsert(merged)).await.unwrap();
    assert_eq!(
        fixture.rows("select id, color from thing_v1 order by id").await,
        ["x|green", "y|y"]
    );
    let feed = "select pk, deleted, commit_id from rowgate_feed order by 1";
    assert_eq!(fixture.rows(feed).await, ["1|0|2", "2|0|1"]);
}

async fn a_patch_leaves_out_rows_that_are_not_there(dialect: Dialect) {
    let mut fixture = Fixture::new(dialect).await;
    fixture.apply("a", &upsert(things(&[("x", Some("red"))]))).await.unwrap();
    let patch = [Write::Patch(things(&[("x", Some("blue")), ("y", Some("blue"))]))];
    let applied = fixture.apply("a", &patch).await.unwrap();
    assert_eq!((applied.rows_changed, applied.rows_presented), (1, 2));
    assert_eq!(fixture.apply("a", &patch).await.unwrap().rows_changed, 0);
    assert_eq!(fixture.apply("b", &patch).await.unwrap().rows_changed, 0);
    assert_eq!(fixture.rows("select owner_id, id, color from thing_v1").await, ["a|x|blue"]);
}

async fn another_owners_row_ends_the_whole_call(dialect: Dialect) {
    let mut fixture = Fixture::new(dialect).await;
    let tickets = |numbers: &[i64], title: &str| {
        let numbers = column("number", Values::Integer(numbers.to_vec()));
        let title = column("title", Values::Constant(text(title)));
        batch("ticket_v1", numbers_of(&numbers), vec![numbers, title])
    };
    fixture.apply("a", &upsert(tickets(&[1, 2], "mine"))).await.unwrap();
    // Though nothing else would change.
    let writes = [Write::Upsert(things(&[("x", None)])), Write::Upsert(tickets(&[3, 2], "mine"))];
    let error = fixture.apply("b", &writes).await.unwrap_err();
    assert_eq!(error.to_string(), "table ticket_v1: row 2 belongs to another owner");
    let ApplyError::AnotherOwnersRow { table, key } = error else { panic!("{error}") };
    assert_eq!((table.as_str(), key.as_str()), ("ticket_v1", "2"));
    assert_eq!(fixture.rows("select count(*) from thing_v1").await, ["0"]);
    let rows = fixture.rows("select number, owner_id, title from ticket_v1").await;
    assert_eq!(rows, ["1|a|mine", "2|a|mine"]);
    // A patch only sees its owner's rows.
    let patched = fixture.apply("b", &[Write::Patch(tickets(&[2], "theirs"))]).await.unwrap();
    assert_eq!(patched.rows_changed, 0);
}

fn numbers_of(column: &Column) -> usize {
    match &column.values {
        Values::Integer(values) => values.len(),
        _ => 0,
    }
}

async fn tables_of_one_row_an_owner_and_without_owners(dialect: Dialect) {
    let mut fixture = Fixture::new(dialect).await;
    let account = |title| upsert(batch("account_v1", 1, vec![texts("title", &[title])]));
    for (owner, title) in [("a", Some("x")), ("b", None), ("a", Some("y"))] {
        assert_eq!(fixture.apply(owner, &account(title)).await.unwrap().rows_changed, 1);
    }
    let empty = upsert(batch("account_v1", 1, Vec::new()));
    assert_eq!(fixture.apply("c", &empty).await.unwrap().rows_changed, 1);
    assert_eq!(fixture.apply("c", &empty).await.unwrap().rows_changed, 0);
    let rows = fixture.rows("select owner_id, title from account_v1 order by 1").await;
    assert_eq!(rows, ["a|y", "b|-", "c|-"]);

    let issue = texts("id", &[Some("i")]);
    let issue = upsert(batch("issue_v1", 1, vec![issue, texts("title", &[Some("t")])]));
    let scope = ApplyScope { external_owner_id: None, ..fixture.scope("-") };
    assert_eq!(fixture.apply_in(&scope, &issue).await.unwrap().rows_changed, 1);
    let error = fixture.apply_in(&scope, &account(None)).await.unwrap_err();
    assert!(matches!(error, ApplyError::Rejected(Rejected::Other(_))), "{error}");
}

async fn writes_to_a_service_without_integration_are_dropped(dialect: Dialect) {
    let mut fixture = Fixture::new(dialect).await;
    let mut elsewhere = things(&[("x", None)]);
    elsewhere.table = "not_configured_v1".to_owned();
    let applied = fixture.apply("a", &upsert(elsewhere)).await.unwrap();
    assert_eq!(applied, Applied::default());
}

async fn large_batches_go_in_chunks(dialect: Dialect) {
    let mut fixture = Fixture::new(dialect).await;
    let ids: Vec<String> = (0..2_303).map(|id| format!("{id:04}")).collect();
    let rows: Vec<_> = ids.iter().map(|id| (id.as_str(), Some("red"))).collect();
    let applied = fixture.apply("a", &upsert(things(&rows))).await.unwrap();
    assert_eq!(applied.rows_changed, 2_303);
    assert_eq!(applied.changed_pks["thing_v1"], (1..=2_303).collect::<Vec<i64>>());
    assert_eq!(fixture.rows("select count(*) from rowgate_feed").await, ["2303"]);
}
