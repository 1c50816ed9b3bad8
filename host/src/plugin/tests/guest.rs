//! Guests written as core WebAssembly text, encoded as components of the world in `wit/`.

use rowgate_manifest::Manifest;
use wit_component::{ComponentEncoder, StringEncoding};
use wit_parser::Resolve;

pub(super) const MANIFEST: &str = r#"
[plugin]
name = "probe"
version = "0.1.0"
cursor = { writes = 1, reads = [1] }
limits = { wall_s = 30, cpu_ms = 10000, memory_mib = 8, answer_mib = 1, rows = 100 }

[services.item_v1]
table = "item"
[services.item_v1.config]
api_url = { kind = "url", default = "https://a.example" }
[services.item_v1.webhook]
auth = [{ kind = "header", header = "x-secret", secret = "hook" }]
[services.item_v1.webhook.body]
id = { owner = true }
[services.item_v1.streams.items]
per_row = { table = "item_v1", key = "id" }
page_limit = 10
poll_s = { pushed = 60, unpushed = 60, unsupported = 60 }

[services.item_v1.config.hook]
prompt = "Secret:"
secret = true

[secrets.token]
per = "owner"
to = ["{api_url}"]

[[egress]]
url = "{api_url}"
methods = ["GET"]

[tables.item]
owner = "owner_id"
key = ["id"]
columns = { id = "text", other = "text" }
"#;

/// Texts in the guest's memory; 1024 is the first.
const DATA: &str = r#"
  (data (i32.const 1024) "item_v1")        ;; 7
  (data (i32.const 1040) "items")          ;; 5
  (data (i32.const 1056) "own")            ;; 3
  (data (i32.const 1072) "other_v1")       ;; 8
  (data (i32.const 1088) "https://a.example/x") ;; 19
  (data (i32.const 1120) "GET")            ;; 3
  (data (i32.const 1136) "panicked at src/lib.rs:7: boom") ;; 30
  (data (i32.const 1168) "token")          ;; 5
"#;

/// Where a `sync` body finds zeroed memory: returned, it is `ok({ cursor: none, progress: more })`.
/// Results of imports go to 256.
const PRELUDE: &str = r#"
  (memory (export "memory") 1)
  (global $heap (mut i32) (i32.const 4096))
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    (local $at i32)
    (local.set $at (i32.and (i32.add (global.get $heap) (i32.const 7)) (i32.const -8)))
    (global.set $heap (i32.add (local.get $at) (local.get 3)))
    (if (i32.gt_u (global.get $heap) (i32.mul (memory.size) (i32.const 65536)))
      (then (if (i32.eq (memory.grow (i32.add (i32.div_u (local.get 3) (i32.const 65536))
                                              (i32.const 1))) (i32.const -1))
        (then unreachable))))
    (local.get $at))
  (func (export "rowgate:plugin/integration@0.1.0#receive") (param i32) (result i32)
    (i32.const 64))
  (func (export "rowgate:plugin/integration@0.1.0#subscribe") (param i32) (result i32)
    unreachable)
  (func (export "rowgate:plugin/integration@0.1.0#unsubscribe") (param i32) (result i32)
    unreachable)
"#;

pub(super) const LOG: &str = r#"(import "rowgate:plugin/log@0.1.0" "write"
  (func $log (param i32 i32 i32 i32 i32)))"#;
pub(super) const UPSERT: &str = r#"(import "rowgate:plugin/db@0.1.0" "upsert"
  (func $upsert (param i32 i32 i32 i32 i32 i32)))"#;
pub(super) const DELETE: &str = r#"(import "rowgate:plugin/db@0.1.0" "delete"
  (func $delete (param i32 i32 i32 i32 i32)))"#;
pub(super) const LOOKUP: &str = r#"(import "rowgate:plugin/db@0.1.0" "lookup"
  (func $lookup (param i32 i32 i32 i32 i32 i32 i32)))"#;
pub(super) const ACTIVATE: &str = r#"(import "rowgate:plugin/streams@0.1.0" "activate"
  (func $activate (param i32 i32 i32 i32 i32 i32 i32 i64)))"#;
pub(super) const RESET: &str = r#"(import "rowgate:plugin/streams@0.1.0" "reset"
  (func $reset (param i32 i32 i32 i32 i32 i32)))"#;
pub(super) const REMOVE: &str = r#"(import "rowgate:plugin/streams@0.1.0" "remove"
  (func $remove (param i32 i32 i32 i32 i32 i32)))"#;
pub(super) const LINK: &str = r#"(import "rowgate:plugin/owners@0.1.0" "link" (func $link))"#;
pub(super) const SECRET: &str = r#"(import "rowgate:plugin/http@0.1.0" "secret"
  (func $secret (param i32 i32 i32) (result i32)))"#;
pub(super) const SEND: &str = r#"(import "rowgate:plugin/http@0.1.0" "send"
  (func $send (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)))"#;

/// `GET https://a.example/x`.
pub(super) const GET: &str = "(call $send (i32.const 1120) (i32.const 3) (i32.const 1088)
  (i32.const 19) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
  (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 256))";

/// Returns `ok`, without a cursor.
pub(crate) const OK: &str = "(i32.const 64)";

pub(super) fn manifest() -> Manifest {
    Manifest::from_toml(MANIFEST).unwrap()
}

/// A component whose `sync` has this body.
pub(crate) fn component(imports: &str, sync: &str) -> Vec<u8> {
    rowgate_manifest::embed(&bare(&module(imports, sync)), &manifest()).unwrap()
}

/// A component whose `receive` has this body.
pub(super) fn receiver(imports: &str, receive: &str) -> Vec<u8> {
    let (head, body) = ("(param i32) (result i32)\n    ", "(i32.const 64))");
    let module = module(imports, OK);
    let module = module.replacen(&format!("{head}{body}"), &format!("{head}{receive})"), 1);
    rowgate_manifest::embed(&bare(&module), &manifest()).unwrap()
}

/// The core module of [`component`].
pub(super) fn module(imports: &str, sync: &str) -> String {
    format!(
        r#"(module {imports} {PRELUDE} {DATA}
  (func (export "rowgate:plugin/integration@0.1.0#sync") (param i32) (result i32)
    (local $n i32) {sync}))"#
    )
}

/// A component without manifest.
pub(super) fn bare(module: &str) -> Vec<u8> {
    let mut resolve = Resolve::default();
    let wit = concat!(env!("CARGO_MANIFEST_DIR"), "/../wit");
    let (package, _) = resolve.push_dir(wit).unwrap();
    encode(module, &resolve, package)
}

/// The component with another core module in it, which has an instance too.
pub(super) fn beside(mut component: Vec<u8>, module: &str) -> Vec<u8> {
    let payloads = wasmparser::Parser::new(0).parse_all(&component);
    let modules = payloads
        .filter(|payload| matches!(payload, Ok(wasmparser::Payload::ModuleSection { .. })))
        .count();
    let module = wat::parse_str(module).unwrap();
    // Sections of the component model's binary format: a core module; one instance of it, without
    // arguments. All numbers are below 128.
    component.extend([1, u8::try_from(module.len()).unwrap()]);
    component.extend(module);
    component.extend([2, 4, 1, 0, u8::try_from(modules).unwrap(), 0]);
    component
}

/// A component of an edited contract.
pub(super) fn bare_of(module: &str, wit: &str) -> Vec<u8> {
    let mut resolve = Resolve::default();
    let package = resolve.push_str("edited.wit", wit).unwrap();
    encode(module, &resolve, package)
}

fn encode(module: &str, resolve: &Resolve, package: wit_parser::PackageId) -> Vec<u8> {
    let world = resolve.select_world(&[package], None).unwrap();
    let mut module = wat::parse_str(module).unwrap();
    let utf8 = StringEncoding::UTF8;
    wit_component::embed_component_metadata(&mut module, resolve, world, utf8, false).unwrap();
    let mut encoder = ComponentEncoder::default();
    encoder.validate(true).module(&module).unwrap().encode().unwrap()
}
