//! A guest whose imports go beyond the contract: it asks WASI for the time.

#![allow(unsafe_code, missing_docs, reason = "the bindings are generated")]

mod bindings {
    wit_bindgen::generate!({
        path: ["../../../wit", "wit"],
        inline: "
            package tests:guest;
            world overreaching {
                include rowgate:plugin/plugin@0.1.0;
                import wasi:clocks/wall-clock@0.2.6;
            }
        ",
        world: "tests:guest/overreaching",
        generate_all,
    });
}

use bindings::exports::rowgate::plugin::integration::{
    Channel, Guest, Step, Subscription, Webhook,
};
use bindings::rowgate::plugin::types::{Context, Failure, StreamId, Topic};
use bindings::wasi::clocks::wall_clock;

struct WasiImport;

impl Guest for WasiImport {
    fn receive(_: Context, _: Webhook) -> Result<(), Failure> {
        Err(the_time())
    }

    fn sync(_: Context, _: StreamId, _: Option<Vec<u8>>, _: u32) -> Result<Step, Failure> {
        Err(the_time())
    }

    fn subscribe(_: Context, _: Topic, _: Channel) -> Result<Option<Subscription>, Failure> {
        Err(the_time())
    }

    fn unsubscribe(_: Context, _: Option<Topic>, _: Subscription) -> Result<(), Failure> {
        Err(the_time())
    }
}

fn the_time() -> Failure {
    Failure::Bug(format!("a guest knows the time: {} s", wall_clock::now().seconds))
}

bindings::export!(WasiImport with_types_in bindings);
