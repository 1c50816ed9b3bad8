//! A day of many calendars: changes that are pushed, pushes that get lost, channels that end, watches
//! that are refused. At the end every channel is live, none is doubled, and nothing was missed for
//! longer than the interval of the sweep.
#![allow(clippy::unwrap_used, reason = "a test stops at what it didn't expect")]

mod report;
mod setup;

use setup::{Day, HOUR_S};

/// Calendars; `ROWGATE_SOAK=1` has twenty times as many.
const CALENDARS: usize = 500;
const CALENDARS_AN_OWNER: usize = 5;
/// Between two looks at the schedule.
const STEP_S: i64 = 300;
/// The manifest's interval where changes are pushed, and the quarter that chance adds.
const SWEEP_S: i64 = 6 * HOUR_S * 5 / 4;

#[tokio::test(flavor = "multi_thread")]
async fn every_channel_lives_and_nothing_is_missed_for_longer_than_a_sweep() {
    let seed = std::env::var("ROWGATE_SEED").map_or(1, |seed| seed.parse().expect("a number"));
    let calendars = if tests::is_soak() { 20 * CALENDARS } else { CALENDARS };
    println!("seed {seed}, {calendars} calendars");
    let mut day = Day::begin(seed, calendars / CALENDARS_AN_OWNER, CALENDARS_AN_OWNER).await;
    for step in 0..24 * HOUR_S / STEP_S {
        // Each calendar changes twice a day; at times the vendor refuses to watch.
        day.change(calendars * 2 * STEP_S as usize / (24 * HOUR_S as usize));
        day.refuse_watches(step % 36 < 3);
        day.pass(STEP_S).await;
        let late = day.streams_not_run_for(SWEEP_S + STEP_S).await;
        assert!(late.is_empty(), "seed {seed}, step {step}, the first that wait: {late:#?}");
    }
    day.refuse_watches(false);
    // What was lost last is swept, with no further push to tell of it.
    for _ in 0..SWEEP_S / STEP_S {
        day.pass(STEP_S).await;
    }
    day.assert_watched_once().await;
    let late_s = day.lateness_s().await;
    let (latest_s, latest) = late_s.iter().max().cloned().unwrap_or_default();
    assert!(latest_s <= SWEEP_S + STEP_S, "seed {seed}: {latest} came after {latest_s} s");
    day.host.assert_matches_model(&day.tree).await;
    let by_sweep = late_s.iter().filter(|(late_s, _)| *late_s > STEP_S).count();
    println!(
        "{} changes, {} pushes lost, {by_sweep} changes that came later than a step, the latest after \
         {latest_s} s; {} channels in all for {} that are live, {} watches refused",
        late_s.len(),
        day.lost,
        day.channels_ever(),
        day.live_channels().len(),
        day.refused(),
    );
    // A day on which nothing went wrong shows nothing.
    assert!(day.lost > 0 && by_sweep > 0 && day.refused() > 0);
    assert!(day.channels_ever() > 2 * day.live_channels().len());
}
