//! What wit-bindgen makes of `wit/`. Nothing of it shows in the SDK except the plain types that
//! `lib.rs` names one by one.
#![allow(unsafe_code, reason = "calls across the component boundary; all of it is generated")]
#![allow(missing_docs, unreachable_pub, clippy::all, reason = "generated")]

wit_bindgen::generate!({
    world: "plugin",
    path: "../../wit",
    pub_export_macro: true,
    export_macro_name: "export_component",
    default_bindings_module: "rowgate_plugin::bindings",
    additional_derives: [PartialEq],
});
