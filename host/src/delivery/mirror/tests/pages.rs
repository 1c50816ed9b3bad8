//! What pages come to.

use super::*;

#[tokio::test]
async fn pages_come_to_the_same_however_often_they_are_applied() {
    let mut case = Case::new("ticket_v1");
    let first = copy(vec![ticket(1, 10, "a"), ticket(2, 20, "b")], None, true);
    let then = page(vec![gone(1, 10), ticket(2, 20, "c"), ticket(3, 30, "d")]);
    for of in [&first, &first, &then, &then] {
        case.takes(of).await;
    }
    let expected = [(2, 20, "c".to_owned()), (3, 30, "d".to_owned())];
    assert_eq!(case.tickets(), expected);
    // A row that is the same isn't written.
    let version = "select xmin::text, ctid::text from theirs.mirror where pk = 3";
    let before = case.query(version);
    case.takes(&then).await;
    assert_eq!(case.query(version), before);
    // A connection that was cut is made anew.
    case.database.cut_connections().unwrap();
    refused(case.apply(&then).await);
    case.takes(&then).await;
    assert_eq!(case.tickets(), expected);
}

#[tokio::test]
async fn rows_are_found_by_their_key_whatever_their_numbers() {
    let mut case = Case::new("ticket_v1");
    let rows = vec![ticket(1, 10, "a"), ticket(2, 20, "b"), ticket(3, 30, "c")];
    case.takes(&copy(rows, None, true)).await;
    // Linked again after its tombstones were forgotten: the same keys have new numbers.
    case.takes(&page(vec![ticket(4, 10, "a"), ticket(5, 20, "b")])).await;
    // After an older copy was put back, numbers are others'.
    case.takes(&page(vec![ticket(5, 10, "a"), ticket(4, 20, "b")])).await;
    case.takes(&page(vec![gone(3, 30), ticket(3, 40, "d")])).await;
    let expected = [(3, 40, "d".to_owned()), (4, 20, "b".to_owned()), (5, 10, "a".to_owned())];
    assert_eq!(case.tickets(), expected);
}

#[tokio::test]
async fn a_column_that_the_table_got_is_added() {
    let mut case = Case::new("ticket_v1");
    let whole = case.spec.clone();
    let title = whole.position("title").unwrap();
    case.spec.columns.remove(title);
    let without = |change: Change| {
        let mut row = change.row.unwrap();
        row.remove(title);
        Change::new(change.pk, change.key, Some(row))
    };
    case.takes(&copy(vec![without(ticket(1, 10, "a"))], None, true)).await;
    // The next holder has the next version.
    (case.spec, case.session) = (whole, None);
    case.takes(&page(vec![ticket(2, 20, "b")])).await;
    assert_eq!(case.tickets(), [(1, 10, String::new()), (2, 20, "b".to_owned())]);
}

#[tokio::test]
async fn the_longest_key_arrives_and_goes() {
    let mut case = Case::new("issue_v1");
    let chance = Chance::seeded(7);
    let mut key: String = (0..200).map(|_| chance.base36(16)).collect();
    key.truncate(2_500);
    let value = |name: &str| match name {
        "pk" => Value::Integer(1),
        "id" => Value::Text(key.clone().into()),
        "title" => Value::Null,
        "data" => Value::Text("{}".into()),
        _ => Value::Text("2026-11-01T10:00:00.000001Z".into()),
    };
    let row = case.spec.columns.iter().map(|column| value(&column.name)).collect();
    case.takes(&copy(vec![Change::new(1, key.clone(), Some(row))], None, true)).await;
    let ids = "select id from theirs.mirror";
    assert_eq!(case.query(ids), [vec![Some(key.clone())]]);
    case.takes(&page(vec![Change::new(1, key, None)])).await;
    assert!(case.query(ids).is_empty());
}

#[tokio::test]
async fn every_type_arrives_exactly() {
    let mut case = Case::new("thing_v1");
    let value = |name: &str| -> Value<'static> {
        let text = |text: &'static str| Value::Text(text.into());
        match name {
            "pk" => Value::Integer(i64::MAX),
            "version" | "page_size" => Value::Integer(i64::MIN),
            "on_sale" => Value::Boolean(true),
            "weight" => Value::Double(0.1 + 0.2),
            "price" => text("12345678901234567890.000000000123"),
            "notes" => text("{\"b\":1e2,\"a\":\"\\u00fc \\\"\"}"),
            "data" => text("{}"),
            "made_on" => text("0001-01-31"),
            "sold_at" => text("9999-12-31T23:59:59.999999Z"),
            "row_created_at" | "row_updated_at" => text("1969-12-31T23:59:59.000001Z"),
            "picture" => Value::Bytes(vec![0, 255, 39].into()),
            "color" | "expires_at" => Value::Null,
            _ => text("ü'\"\\ \n"),
        }
    };
    let row: Vec<Value<'static>> =
        case.spec.columns.iter().map(|column| value(&column.name)).collect();
    let key = "ü'\"\\ \n".to_owned();
    case.takes(&copy(vec![Change::new(i64::MAX, key, Some(row))], None, true)).await;
    let found = case.query(
        "set timezone = 'UTC'; set extra_float_digits = 3;
         select pk, version, on_sale, weight, price, notes = '{\"a\": \"ü \\\"\", \"b\": 100}', made_on,
           sold_at, row_updated_at, encode(picture, 'hex'), color is null, id from theirs.mirror",
    );
    let expected = [
        "9223372036854775807",
        "-9223372036854775808",
        "t",
        "0.30000000000000004",
        "12345678901234567890.000000000123",
        "t",
        "0001-01-31",
        "9999-12-31 23:59:59.999999+00",
        "1969-12-31 23:59:59.000001+00",
        "00ff27",
        "t",
        "ü'\"\\ \n",
    ];
    assert_eq!(found, [expected.map(|text| Some(text.to_owned())).to_vec()]);
}
