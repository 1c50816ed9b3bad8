use super::*;
use crate::model::{Condition, Unseen};

on_both! {
    a_full_listing_sweeps_what_it_did_not_see, a_row_refused_as_older_was_seen, an_end_needs_its_own_beginning, a_bracket_of_another_mapping_is_dropped_at_the_first_write, beginning_again_starts_over, several_scopes_may_be_open_and_be_dropped, number_keys_are_seen_as_numbers, a_sweep_goes_in_slices, listings_that_end_together_share_a_slice
}

fn begin(scope: &[Condition]) -> Write {
    Write::BeginFull { table: "thing_v1".into(), scope: scope.to_vec() }
}

fn end(scope: &[Condition], unseen: Unseen) -> Write {
    Write::EndFull { table: "thing_v1".into(), scope: scope.to_vec(), unseen }
}

fn gone() -> Unseen {
    Unseen::Set(vec![("color".into(), text("gone"))])
}

fn red(ids: &[&str]) -> Batch {
    things(&ids.iter().map(|id| (*id, Some("red"))).collect::<Vec<_>>())
}

async fn colors(fixture: &mut Fixture) -> String {
    let sql = "select owner_id || id || '=' || coalesce(color, '-') from thing_v1 order by 1";
    fixture.rows(sql).await.join(" ")
}

async fn a_full_listing_sweeps_what_it_did_not_see(dialect: Dialect) {
    let mut fixture = Fixture::new(dialect).await;
    let scope = [is("shelf", "s")];
    for owner in ["a", "b"] {
        let writes = [Write::Upsert(red(&["1", "2", "3", "4", "5", "6"]))];
        fixture.apply(owner, &writes).await.unwrap();
    }
    let mut elsewhere = red(&["1"]);
    elsewhere.columns[1] = shelf("other");
    elsewhere.columns[0] = texts("id", &[Some("0")]);
    // Presented before it begins: doesn't count. After: also if unchanged, patched, or by another call.
    let first = [Write::Upsert(red(&["6"])), begin(&scope), Write::Upsert(red(&["1"]))];
    fixture.apply("a", &first).await.unwrap();
    fixture
        .apply("a", &[Write::Patch(red(&["2", "new"])), Write::Upsert(elsewhere)])
        .await
        .unwrap();
    fixture.apply("b", &[Write::Upsert(red(&["4"]))]).await.unwrap();
    let last = [Write::Upsert(red(&["3"])), end(&scope, gone())];
    let applied = fixture.apply("a", &last).await.unwrap();
    assert_eq!(applied.changed_pks["thing_v1"], [4, 5, 6]);
    assert_eq!(
        colors(&mut fixture).await,
        "a0=red a1=red a2=red a3=red a4=gone a5=gone a6=gone \
         b1=red b2=red b3=red b4=red b5=red b6=red"
    );
    assert_eq!(fixture.rows("select count(*) from rowgate_brackets").await, ["0"]);
    assert_eq!(fixture.rows("select count(*) from rowgate_bracket_keys").await, ["0"]);
    // Swept again, nothing moves.
    let again = [begin(&scope), Write::Upsert(red(&["1", "2", "3"])), end(&scope, gone())];
    assert_eq!(fixture.apply("a", &again).await.unwrap().rows_changed, 0);
    let deleted = [begin(&[]), Write::Upsert(red(&["1"])), end(&[], Unseen::Delete)];
    assert_eq!(fixture.apply("a", &deleted).await.unwrap().deleted, 6);
    assert!(colors(&mut fixture).await.starts_with("a1=red b1=red"));
}

async fn a_row_refused_as_older_was_seen(dialect: Dialect) {
    let mut fixture = Fixture::new(dialect).await;
    let versions = |version| {
        let mut batch = red(&["1"]);
        batch.columns.push(column("version", Values::Constant(Scalar::Integer(version))));
        Write::Upsert(batch)
    };
    fixture.apply("a", &[versions(2), Write::Upsert(red(&["2"]))]).await.unwrap();
    fixture.apply("a", &[begin(&[]), versions(1), end(&[], gone())]).await.unwrap();
    assert_eq!(colors(&mut fixture).await, "a1=red a2=gone");
}

async fn an_end_needs_its_own_beginning(dialect: Dialect) {
    let mut fixture = Fixture::new(dialect).await;
    let (scope, other) = ([is("shelf", "s")], [is("shelf", "t")]);
    let refused = |result: Result<Applied, ApplyError>| matches!(result, Err(ApplyError::NotListed(table)) if table == "thing_v1");
    assert!(refused(fixture.apply("a", &[end(&scope, gone())]).await));
    fixture.apply("a", &[begin(&scope)]).await.unwrap();
    assert!(refused(fixture.apply("a", &[end(&other, gone())]).await));
    assert!(refused(fixture.apply("b", &[end(&scope, gone())]).await));
    let newer = ApplyScope { mapping_version: 2, ..fixture.scope("a") };
    assert!(refused(fixture.apply_in(&newer, &[end(&scope, gone())]).await));
    fixture.apply("a", &[end(&scope, gone())]).await.unwrap();
    assert!(refused(fixture.apply("a", &[end(&scope, gone())]).await));
}

async fn a_bracket_of_another_mapping_is_dropped_at_the_first_write(dialect: Dialect) {
    let mut fixture = Fixture::new(dialect).await;
    fixture.apply("a", &[begin(&[])]).await.unwrap();
    let newer = ApplyScope { mapping_version: 2, ..fixture.scope("a") };
    fixture.apply_in(&newer, &[Write::Upsert(red(&["1"]))]).await.unwrap();
    assert_eq!(fixture.rows("select count(*) from rowgate_brackets").await, ["0"]);
}

async fn beginning_again_starts_over(dialect: Dialect) {
    let mut fixture = Fixture::new(dialect).await;
    fixture.apply("a", &[Write::Upsert(red(&["1", "2"]))]).await.unwrap();
    fixture.apply("a", &[begin(&[]), Write::Upsert(red(&["1"]))]).await.unwrap();
    fixture.apply("a", &[begin(&[]), Write::Upsert(red(&["2"]))]).await.unwrap();
    assert_eq!(fixture.rows("select count(*) from rowgate_bracket_keys").await, ["1"]);
    fixture.apply("a", &[end(&[], gone())]).await.unwrap();
    assert_eq!(colors(&mut fixture).await, "a1=gone a2=red");
}

async fn several_scopes_may_be_open_and_be_dropped(dialect: Dialect) {
    let mut fixture = Fixture::new(dialect).await;
    let spec = Arc::clone(&fixture.tables["thing_v1"]);
    let (s, t) = ([is("shelf", "s")], [is("shelf", "t")]);
    fixture.apply("a", &[begin(&s), begin(&t), begin(&[])]).await.unwrap();
    fixture.apply("a", &[Write::Upsert(red(&["1"]))]).await.unwrap();
    assert_eq!(fixture.rows("select keys from rowgate_bracket_keys").await, [r#"["a-s-1"]"#; 2]);
    let open = "select scope from rowgate_brackets order by scope";
    drop_brackets(&mut fixture.conn, 97, &spec, Some(&s)).await.unwrap();
    assert_eq!(fixture.rows(open).await, [r#"[["shelf","=","t"]]"#, "[]"]);
    drop_brackets(&mut fixture.conn, 98, &spec, None).await.unwrap();
    drop_brackets(&mut fixture.conn, 97, &spec, None).await.unwrap();
    assert_eq!(fixture.rows(open).await, [""; 0]);
    assert_eq!(fixture.rows("select count(*) from rowgate_bracket_keys").await, ["0"]);
}

async fn number_keys_are_seen_as_numbers(dialect: Dialect) {
    let mut fixture = Fixture::new(dialect).await;
    let tickets = |numbers: &[i64]| {
        let column = column("number", Values::Integer(numbers.to_vec()));
        Write::Upsert(batch("ticket_v1", numbers.len(), vec![column]))
    };
    let begin = Write::BeginFull { table: "ticket_v1".into(), scope: Vec::new() };
    let end =
        Write::EndFull { table: "ticket_v1".into(), scope: Vec::new(), unseen: Unseen::Delete };
    fixture.apply("a", &[tickets(&[1, 2, 3])]).await.unwrap();
    fixture.apply("a", &[begin, tickets(&[2]), end]).await.unwrap();
    assert_eq!(fixture.rows("select number from ticket_v1").await, ["2"]);
}

/// Commits writes until all are done: of each commit, how many were, and the rows that moved.
async fn in_slices(fixture: &mut Fixture, writes: &[Write], slice: u32) -> Vec<(usize, u64)> {
    let (mut left, mut commits) = (writes, Vec::new());
    while !left.is_empty() {
        let scope = fixture.scope("a");
        let applied = fixture.apply_slice(&scope, left, slice).await.unwrap();
        commits.push((applied.writes_done, applied.rows_changed + applied.deleted));
        left = &left[applied.writes_done..];
        let open = fixture.rows("select count(*) from rowgate_brackets").await;
        assert_eq!(open == ["0"], left.is_empty(), "{commits:?}");
    }
    commits
}

async fn a_sweep_goes_in_slices(dialect: Dialect) {
    for unseen in [gone(), Unseen::Delete] {
        let mut fixture = Fixture::new(dialect).await;
        let all = Write::Upsert(red(&["1", "2", "3", "4", "5", "6"]));
        fixture.apply("a", &[all]).await.unwrap();
        fixture.apply("a", &[begin(&[]), Write::Upsert(red(&["1"]))]).await.unwrap();
        let (before, behind) = (Write::Upsert(red(&["2", "7"])), Write::Upsert(red(&["8"])));
        let kept = match unseen {
            Unseen::Delete => "a1=red a2=red a7=red a8=red",
            Unseen::Set(_) => "a1=red a2=red a3=gone a4=gone a5=gone a6=gone a7=red a8=red",
        };
        let writes = [before, end(&[], unseen), behind];
        // Each write is made once, in order. After two full slices nobody knows that nothing is left.
        assert_eq!(in_slices(&mut fixture, &writes, 2).await, [(1, 3), (0, 2), (2, 1)]);
        assert_eq!(colors(&mut fixture).await, kept);
        assert_eq!(fixture.rows("select count(*) from rowgate_bracket_keys").await, ["0"]);
        let moved = "select commit_id, count(*) from rowgate_feed where commit_id > 2
                     group by commit_id order by commit_id";
        assert_eq!(fixture.rows(moved).await, ["3|3", "4|2", "5|1"]);
    }
}

async fn listings_that_end_together_share_a_slice(dialect: Dialect) {
    let mut fixture = Fixture::new(dialect).await;
    let (s, t) = ([is("shelf", "s")], [is("shelf", "t")]);
    let mut elsewhere = red(&["3", "4"]);
    elsewhere.columns[1] = shelf("t");
    let all = [Write::Upsert(red(&["1", "2"])), Write::Upsert(elsewhere)];
    fixture.apply("a", &all).await.unwrap();
    fixture.apply("a", &[begin(&s), begin(&t)]).await.unwrap();
    let writes = [end(&s, gone()), end(&t, gone())];
    assert_eq!(in_slices(&mut fixture, &writes, 3).await, [(1, 3), (1, 1)]);
    assert_eq!(colors(&mut fixture).await, "a1=gone a2=gone a3=gone a4=gone");
}
