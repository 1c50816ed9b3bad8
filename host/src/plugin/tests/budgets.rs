use std::task::Poll;
use std::time::Duration;

use super::guest::{self, GET, LOG, OK, SEND};
use super::*;

const FOREVER: &str = "(loop $again (br $again)) unreachable";

#[tokio::test]
async fn an_endless_loop_runs_out_of_cpu_time() {
    let budget = Budget { cpu: Duration::from_millis(50), ..Budget::default() };
    let called = run("", FOREVER, &budget).await;
    assert_eq!(cause(&called), (TrapCause::CpuBudget, "50 ms of CPU time used"));
    assert!((50_000..2_000_000).contains(&called.meters.cpu_us), "{:?}", called.meters);
}

#[tokio::test]
async fn an_endless_loop_runs_out_of_wall_time() {
    let budget = Budget { wall: Duration::from_millis(50), ..Budget::default() };
    let called = run("", FOREVER, &budget).await;
    assert_eq!(cause(&called).0, TrapCause::WallTime);
}

#[tokio::test]
async fn waiting_for_the_vendor_costs_wall_time_alone() {
    let outside = Outside::new(Vendor::Hangs);
    let (cpu, wall) = (Duration::from_millis(150), Duration::from_millis(300));
    let budget = Budget { cpu, wall, ..Budget::default() };
    let called = run_with(SEND, &format!("{GET} {OK}"), &budget, outside).await;
    assert_eq!(cause(&called).0, TrapCause::WallTime);
    assert!(called.meters.cpu_us < 150_000 && called.meters.wall_us >= 300_000);
}

#[tokio::test]
async fn a_loop_yields_to_its_neighbours() {
    // One thread: without yields the second call could not begin before the first ends.
    let component = load(guest::component("", FOREVER)).await;
    let quick = load(guest::component("", OK)).await;
    let budget = Budget { cpu: Duration::from_millis(500), ..Budget::default() };
    let (context, call) = (context(), sync());
    let mut order = Vec::new();
    let order = Mutex::new(&mut order);
    let slow = async {
        component.call(&context, &call, Outside::new(Vendor::Answers), &budget).await;
        order.lock().unwrap().push("slow");
    };
    let quick = async {
        let called = quick.call(&context, &call, Outside::new(Vendor::Answers), &budget).await;
        assert!(called.result.is_ok(), "{called:?}");
        order.lock().unwrap().push("quick");
    };
    tokio::join!(slow, quick);
    assert_eq!(**order.lock().unwrap(), ["quick", "slow"]);
}

#[tokio::test]
async fn more_calls_than_slots_wait() {
    let component = load(guest::component(SEND, &format!("{GET} {OK}"))).await;
    let (context, call, budget) = (context(), sync(), Budget::default());
    let calls =
        (0..40).map(|_| component.call(&context, &call, Outside::new(Vendor::Answers), &budget));
    for called in futures_util::future::join_all(calls).await {
        assert!(called.result.is_ok(), "{called:?}");
    }
}

#[tokio::test]
async fn memory_ends_at_the_limit() {
    // 8 MiB are 128 pages; each growth is by 16 of them.
    let body = "(loop $again (br_if $again (i32.ne (memory.grow (i32.const 16)) (i32.const -1))))
      unreachable";
    let called = run("", body, &Budget::default()).await;
    let (cause, text) = cause(&called);
    assert_eq!(cause, TrapCause::OutOfMemory);
    assert!(text.contains("8388608") && text.contains("memory_mib"), "{text}");
    let peak = called.meters.memory_peak_bytes;
    assert!((7 << 20..=8 << 20).contains(&peak), "{peak}");
}

/// wasmtime's own limit would count each alone.
#[tokio::test]
async fn memories_of_a_call_share_the_limit() {
    // 8 MiB are 128 pages: 100 of another instance leave 27 beside the first page of its own.
    for (pages, fits) in [(27, true), (28, false)] {
        let grow = format!(
            "(if (i32.eq (memory.grow (i32.const {pages})) (i32.const -1)) (then unreachable)) {OK}"
        );
        let bare = guest::beside(guest::bare(&guest::module("", &grow)), "(module (memory 100))");
        let component = load(rowgate_manifest::embed(&bare, &guest::manifest()).unwrap()).await;
        let outside = Outside::new(Vendor::Answers);
        let called = component.call(&context(), &sync(), outside, &Budget::default()).await;
        if fits {
            assert!(called.result.is_ok(), "{called:?}");
        } else {
            assert_eq!(cause(&called).0, TrapCause::OutOfMemory);
        }
    }
}

#[tokio::test]
async fn a_guest_may_live_with_a_refused_growth() {
    let body = format!("(drop (memory.grow (i32.const 1000))) {OK}");
    assert!(run("", &body, &Budget::default()).await.result.is_ok());
}

#[tokio::test]
async fn a_trap_tells_the_panic_and_where() {
    let body = "(call $log (i32.const 3) (i32.const 1136) (i32.const 30) (i32.const 0)
      (i32.const 0)) unreachable";
    let outside = Outside::new(Vendor::Answers);
    let called = run_with(LOG, body, &Budget::default(), outside.clone()).await;
    let (cause, text) = cause(&called);
    assert_eq!(cause, TrapCause::Guest);
    assert!(text.contains("unreachable") && text.contains("panicked at src/lib.rs:7"), "{text}");
    assert_eq!(outside.log.lock().unwrap()[..], ["Error panicked at src/lib.rs:7: boom"]);
}

#[tokio::test]
async fn stack_overflow_is_a_trap() {
    let module = guest::module("", &format!("(call $deep) {OK}")).replacen(
        "(memory ",
        "(func $deep (call $deep) (call $deep)) (memory ",
        1,
    );
    let wasm = rowgate_manifest::embed(&guest::bare(&module), &guest::manifest()).unwrap();
    let component = load(wasm).await;
    let outside = Outside::new(Vendor::Answers);
    let called = component.call(&context(), &sync(), outside, &Budget::default()).await;
    let (cause, text) = cause(&called);
    assert_eq!(cause, TrapCause::Guest);
    assert!(text.contains("stack"), "{text}");
}

#[tokio::test]
async fn too_many_bytes_at_once() {
    let body = format!(
        "(call $log (i32.const 1) (i32.const 16384) (i32.const 40000) (i32.const 0)
          (i32.const 0)) {OK}"
    );
    let budget = Budget { host_call_bytes: 30_000, ..Budget::default() };
    let called = run(LOG, &body, &budget).await;
    assert_eq!(cause(&called).0, TrapCause::HostCallBytes);
    assert!(run(LOG, &body, &Budget::default()).await.result.is_ok());
}

#[tokio::test]
async fn counted_imports_end_the_call() {
    let loops = |body: &str| {
        format!(
            "(loop $again {body} (local.set $n (i32.add (local.get $n) (i32.const 1)))
              (br_if $again (i32.lt_u (local.get $n) (i32.const 20)))) {OK}"
        )
    };
    let log =
        "(call $log (i32.const 1) (i32.const 1024) (i32.const 7) (i32.const 0) (i32.const 0))";
    let budget = Budget { http_requests: 5, host_calls: 25, log_lines: 3, ..Budget::default() };
    let called = run(SEND, &loops(GET), &budget).await;
    assert_eq!(cause(&called), (TrapCause::Limit, "more than 5 requests in one call"));
    assert_eq!(called.meters.http_bytes, 15);

    let outside = Outside::new(Vendor::Answers);
    let called = run_with(LOG, &loops(log), &budget, outside.clone()).await;
    assert!(called.result.is_ok());
    assert_eq!(outside.log.lock().unwrap().len(), 3, "the rest is dropped");

    let budget = Budget { host_calls: 19, ..Budget::default() };
    let called = run(LOG, &loops(log), &budget).await;
    assert_eq!(cause(&called), (TrapCause::Limit, "more than 19 calls of the host in one call"));
}

#[tokio::test]
async fn dropping_a_call_frees_its_slot() {
    let component = load(guest::component(SEND, &format!("{GET} {OK}"))).await;
    let (context, call, budget) = (context(), sync(), Budget::default());
    for _ in 0..10 {
        let outside = Outside::new(Vendor::Hangs);
        let called = component.call(&context, &call, outside, &budget);
        let mut called = Box::pin(called);
        let polled = std::future::poll_fn(|waker| Poll::Ready(called.as_mut().poll(waker)));
        assert!(polled.await.is_pending());
    }
    let called = component.call(&context, &call, Outside::new(Vendor::Answers), &budget).await;
    assert!(called.result.is_ok(), "{called:?}");
}
