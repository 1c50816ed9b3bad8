use rowgate_manifest::Stale;

use super::*;
use crate::model::{Batch, Column, Values};
use crate::rows::fixture::{batch, column, sample, spec, texts, validity};

const BEFORE: &str = "1970-01-01T00:00:10.000000Z";

/// Events of a calendar: status, series, and when each was last changed, in seconds.
fn events(rows: &[(Option<&str>, Option<&str>, Option<i64>)]) -> Batch {
    let ids: Vec<String> = (0..rows.len()).map(|row| format!("e{row}")).collect();
    let ids: Vec<Option<&str>> = ids.iter().map(|id| Some(id.as_str())).collect();
    let updated: Vec<Option<i64>> = rows.iter().map(|(.., updated)| *updated).collect();
    let micros = updated.iter().map(|at| at.unwrap_or_default() * 1_000_000).collect();
    let updated =
        Column { validity: validity(&updated), ..column("updated", Values::Timestamp(micros)) };
    let calendars = vec![Some("c"); rows.len()];
    let statuses: Vec<_> = rows.iter().map(|(status, ..)| *status).collect();
    let series: Vec<_> = rows.iter().map(|(_, series, _)| *series).collect();
    let columns = vec![
        texts("google_id", &ids),
        texts("google_calendar_id", &calendars),
        texts("status", &statuses),
        texts("recurring_event_id", &series),
        updated,
    ];
    batch("events", rows.len(), columns)
}

fn long_stale(spec: &TableSpec, batch: &Batch) -> Vec<bool> {
    let rows = Rows::new(spec, batch, Some("a")).unwrap();
    (0..rows.rows).map(|row| rows.is_long_stale(spec, BEFORE, row)).collect()
}

#[test]
fn what_is_stale_and_old_by_the_vendors_time() {
    /// What is presented, and of which feed it is long stale: expanded, source.
    type Case = ((Option<&'static str>, Option<&'static str>, Option<i64>), bool, bool);
    let (gone, live) = (Some("cancelled"), Some("confirmed"));
    let cases: [Case; 7] = [
        ((gone, None, Some(9)), true, true),
        ((gone, None, Some(10)), false, false),
        ((gone, None, None), false, false),
        ((live, None, Some(9)), false, false),
        ((None, None, Some(9)), false, false),
        ((gone, Some("series"), Some(9)), true, false),
        ((live, Some("series"), Some(9)), false, false),
    ];
    let batch = events(&cases.map(|(row, ..)| row));
    let expanded = long_stale(&spec("google_calendar_event_v1"), &batch);
    assert_eq!(expanded, cases.map(|(_, expanded, _)| expanded));
    let source = long_stale(&spec("google_calendar_source_event_v1"), &batch);
    assert_eq!(source, cases.map(|(.., source)| source));
}

#[test]
fn without_a_declaration_or_a_time_nothing_is() {
    let batch = events(&[(Some("cancelled"), None, Some(1))]);
    let mut spec = spec("google_calendar_event_v1");
    spec.stale.as_mut().unwrap().since = None;
    assert_eq!(long_stale(&spec, &batch), [false]);
    spec.stale = None;
    assert_eq!(long_stale(&spec, &batch), [false]);
}

#[test]
fn conditions_of_each_type() {
    let text = |text: &str| Literal::Text(text.to_owned());
    let (yes, seven, red) = (Value::Boolean(true), Value::Integer(7), Value::Text("red".into()));
    let null = Value::Null;
    let cases = [
        (PartialCondition::Equal(Literal::Bool(true)), Some(&yes), true),
        (PartialCondition::Equal(Literal::Bool(false)), Some(&yes), false),
        (PartialCondition::Equal(Literal::Int(7)), Some(&seven), true),
        (PartialCondition::Equal(Literal::Int(8)), Some(&seven), false),
        (PartialCondition::Equal(text("red")), Some(&red), true),
        (PartialCondition::Equal(text("re")), Some(&red), false),
        (PartialCondition::Equal(text("")), None, false),
        (PartialCondition::DistinctFrom("red".into()), Some(&red), false),
        (PartialCondition::DistinctFrom("blue".into()), Some(&red), true),
        (PartialCondition::DistinctFrom("red".into()), Some(&null), true),
        (PartialCondition::Null(true), None, true),
        (PartialCondition::Null(true), Some(&null), true),
        (PartialCondition::Null(true), Some(&red), false),
        (PartialCondition::Null(false), Some(&red), true),
    ];
    for (condition, value, expected) in cases {
        assert_eq!(holds(&condition, value), expected, "{condition:?} {value:?}");
    }
}

#[test]
fn declarations_that_make_no_sense() {
    let on = |column: &str, condition| [(column.to_owned(), condition)].into_iter().collect();
    let red = || PartialCondition::Equal(Literal::Text("red".into()));
    let cases = [
        (Stale { conditions: on("nope", red()), since: None }, "names nope"),
        (
            Stale { conditions: on("on_sale", red()), since: None },
            "on_sale compares Text with Bool",
        ),
        (Stale { conditions: [].into_iter().collect(), since: None }, "means every row"),
        (Stale { conditions: on("color", red()), since: Some("made_on".into()) }, "`stale.since`"),
        (Stale { conditions: on("color", red()), since: Some("nope".into()) }, "names nope"),
    ];
    for (stale, reason) in cases {
        let mut manifest = sample();
        manifest.services["thing_v1"].stale = Some(stale);
        let error = TableSpec::new(&manifest, "thing_v1", "t").unwrap_err();
        assert!(error.reason.contains(reason), "{error}");
    }
}

#[test]
fn stale_rows_have_an_index_of_their_own() {
    let indexes = |service: &str| -> Vec<(Vec<String>, usize)> {
        let spec = spec(service);
        let stale = spec.indexes.iter().filter(|index| index.name.contains("_stale_"));
        let names = |columns: &[usize]| -> Vec<String> {
            columns.iter().map(|column| spec.columns[*column].name.clone()).collect()
        };
        stale.map(|index| (names(&index.columns), index.partial.len())).collect()
    };
    let columns = vec!["external_owner_id".to_owned(), "row_updated_at".to_owned()];
    assert_eq!(indexes("google_calendar_event_v1"), [(columns.clone(), 1)]);
    assert_eq!(indexes("google_calendar_source_event_v1"), [(columns, 2)]);
    assert!(indexes("google_calendar_v1").is_empty());
}
