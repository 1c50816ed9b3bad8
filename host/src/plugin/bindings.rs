//! Bindings of the world in `wit/`. What waits is async; everything may trap.
#![allow(missing_docs, unreachable_pub, reason = "generated")]

wasmtime::component::bindgen!({
    world: "plugin",
    path: "../wit",
    imports: {
        "rowgate:plugin/http": async | trappable,
        "rowgate:plugin/db.lookup": async | trappable,
        default: trappable,
    },
    exports: { default: async },
});
