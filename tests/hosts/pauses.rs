//! A vendor that asks one host for a pause has it from all of them, in the middle of what they do, too.

use simulator::model::directory::CalendarSpec;
use simulator::model::generate::Mix;
use simulator::{Fault, Held, Moment, Pages, Then, When};
use tests::{TestHost, us_until};

use crate::posts::email;
use crate::{ALONE, listening};

/// What the vendor asks for, and what a wait that it causes is at least when a test looks at it.
const PAUSE_S: &str = "3600";
const LEFT_US: i64 = 3_000_000_000;
/// The second calendar of the owner whom the vendor refuses.
const SECOND: &str = "team@group.calendar.google.com";

fn of(owner: &str) -> When {
    When { user: Some(email(owner)), ..When::path("*/events") }
}

/// Which request of an owner is held.
fn one<'h>(held: &'h [Held], owner: &str, path: &str) -> &'h Held {
    let mut fits =
        held.iter().filter(|one| one.user == Some(email(owner)) && one.path.contains(path));
    let found = fits.next().unwrap_or_else(|| panic!("{path} of {owner} isn't held: {held:?}"));
    assert!(fits.next().is_none(), "several of {owner} are held: {held:?}");
    found
}

/// When the host will look at the owner again, from now.
async fn next_due_us(host: &TestHost, owner: &str) -> i64 {
    let owner = host.owner(owner).await;
    us_until(owner["next_due"].as_str().unwrap_or_else(|| panic!("it is never due: {owner}")))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_that_one_host_is_asked_for_is_kept_by_another_in_the_middle_of_a_listing() {
    let _alone = ALONE.lock().await;
    let first = listening().env("ROWGATE_RUN_WORKERS", "1").start().await;
    let tree = first.integrations().await;
    let simulator = &first.simulator;
    simulator.model().create_user(&email("ann"));
    let spec = CalendarSpec { id: Some(SECOND.to_owned()), ..CalendarSpec::default() };
    simulator.model().add_calendar(&email("ann"), &spec).expect("the account is there");
    simulator.model().create_user(&email("bob"));
    let made = simulator.model().generate_events(&email("bob"), 5, Mix::Singles);
    made.expect("the account is there");

    // Ann's two listings wait. One will be refused; the other one keeps the only worker all the time.
    simulator.add_fault(Fault::when(of("ann").times(2), Then::Hold(Moment::Before)));
    let refused = When { user: Some(email("ann")), ..When::path("*/ann*/events") };
    simulator.add_fault(Fault {
        headers: [("Retry-After".to_owned(), PAUSE_S.to_owned())].into(),
        ..Fault::when(refused, Then::Error("rateLimitExceeded".to_owned()))
    });
    first.link(&tree, "ann", &email("ann")).await;
    simulator.await_held(2).await;

    // Bob's listing is the other host's, and stands between its first page and the second.
    simulator.add_fault(Fault::when(of("bob"), Then::ShortPage(2)));
    let first_page = When { page: Some(Pages::First), ..of("bob") };
    simulator.add_fault(Fault::when(first_page.times(1), Then::Hold(Moment::After)));
    let second = listening().start_beside(&first).await;
    second.link(&tree, "bob", &email("bob")).await;
    let waiting = simulator.await_held(3).await;

    simulator.release_held(Some(one(&waiting, "ann", "/ann").id));
    first
        .until("the pause is stored", async || {
            first.number("select max(not_before) from integrations").await > 0
        })
        .await;
    // Told by the host that has no room, and after the pause: who has handled it has heard of both.
    first.link(&tree, "cy", &email("cy")).await;
    let handled = "select count(*) from owners o join inbox i on i.owner_id = o.id
                   where o.external_owner_id = 'cy' and o.lease_host is null
                     and i.done_at is not null";
    second.until("the post is handled", async || second.number(handled).await == 1).await;

    let last = simulator.requests().last().map(|seen| seen.number);
    simulator.release_held(Some(one(&waiting, "bob", "/bob").id));
    second
        .until("the listing rests", async || {
            let streams = second.streams().await.into_iter();
            let mut of_bob = streams.filter(|one| one["external_owner_id"] == "bob");
            of_bob.any(|one| {
                one["last_error"].as_str().is_some_and(|text| text.contains("asked for a pause"))
            })
        })
        .await;
    let page = format!("select count(*) as n from {}", tree.events());
    assert_eq!(second.sql(&page).await[0]["n"], 2, "the page that had come is committed");
    for owner in ["bob", "cy"] {
        let left_us = next_due_us(&second, owner).await;
        assert!(left_us > LEFT_US, "{owner} is due in {left_us} us");
    }
    let asked = simulator.requests().last().map(|seen| seen.number);
    assert_eq!(asked, last, "the vendor was asked in its pause: {:?}", simulator.requests().last());
    assert!(simulator.requests().iter().all(|seen| seen.user != Some(email("cy"))));
    assert_eq!(simulator.release_held(None), 1, "the first host had room meanwhile");
}
