use std::fs;
use std::path::{Path, PathBuf};

use super::guest::{self, OK, SEND};
use super::*;
use crate::plugin::engine::contained;

fn cached(dir: &Path) -> PathBuf {
    let files: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    files.into_iter().next().unwrap()
}

fn embed(bare: &[u8], manifest: &str) -> Vec<u8> {
    rowgate_manifest::embed(bare, &Manifest::from_toml(manifest).unwrap()).unwrap()
}

fn refusal(wasm: &[u8]) -> String {
    inspect(wasm).unwrap_err().to_string()
}

#[test]
fn a_component_says_what_it_is() {
    let wasm = guest::component(SEND, OK);
    let inspection = inspect(&wasm).unwrap();
    assert_eq!(inspection.manifest, guest::manifest());
    assert_eq!(inspection.digest.len(), 64);
    assert!(inspection.imports.contains(&"rowgate:plugin/http@0.1.0".to_owned()));
    assert!(!inspection.imports.iter().any(|import| import.contains("owners")), "pruned");
}

#[test]
fn what_is_no_plugin_is_refused() {
    let module = guest::module("", OK);
    assert!(refusal(b"hello").contains("not a WebAssembly component"));
    assert!(refusal(&wat::parse_str(&module).unwrap()).contains("core module"));
    assert!(refusal(&guest::bare(&module)).contains("manifest"));
    assert!(refusal(&vec![0; WASM_MAX_BYTES + 1]).contains("may have"));
    let mut cut = guest::component("", OK);
    cut.truncate(cut.len() / 2);
    refusal(&cut);
}

#[test]
fn imports_beyond_world_and_grants_are_named() {
    let no_egress = guest::MANIFEST
        .replace("[[egress]]\nurl = \"{api_url}\"\nmethods = [\"GET\"]", "")
        .replace("to = [\"{api_url}\"]", "to = []");
    let text = refusal(&embed(&guest::bare(&guest::module(SEND, OK)), &no_egress));
    assert!(text.contains("`rowgate:plugin/http@0.1.0`") && text.contains("[[egress]]"), "{text}");

    for (import, advice) in [
        ("wasi:clocks/wall-clock@0.2.6", "no WASI"),
        ("acme:db/query@1.0.0", "rowgate:plugin@0.1.0 alone"),
        ("rowgate:plugin/http@0.2.0", "offers version 0.1.0"),
        ("rowgate:plugin/files@0.1.0", "no such interface"),
        ("plain", "rowgate:plugin@0.1.0 alone"),
    ] {
        let text = format!(r#"(component (import "{import}" (instance (export "f" (func)))))"#);
        let text = refusal(&embed(&wat::parse_str(text).unwrap(), guest::MANIFEST));
        assert!(text.contains(import) && text.contains(advice), "{text}");
    }
}

#[tokio::test]
async fn other_shapes_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let edited = r#"package rowgate:plugin@0.1.0;
        interface owners { link: func(hard: bool); }
        world plugin { import owners; }"#;
    let module = r#"(module (import "rowgate:plugin/owners@0.1.0" "link" (func (param i32)))
        (memory (export "memory") 1))"#;
    let wasm = embed(&guest::bare_of(module, edited), guest::MANIFEST);
    let error = engine().load(wasm, dir.path()).await.err().unwrap();
    assert!(matches!(&error, Refused::Contract(text) if text.contains("owners")), "{error}");

    let nothing = r#"package rowgate:plugin@0.1.0; world plugin {}"#;
    let module = r#"(module (memory (export "memory") 1))"#;
    let wasm = embed(&guest::bare_of(module, nothing), guest::MANIFEST);
    let error = engine().load(wasm, dir.path()).await.err().unwrap();
    assert!(matches!(&error, Refused::Contract(text) if text.contains("integration")), "{error}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "what is refused isn't kept");
}

#[tokio::test]
async fn a_panic_of_the_compiler_is_a_refusal() {
    let refused = contained(|| -> Result<(), Refused> { panic!("planted") }).await;
    let text = refused.unwrap_err().to_string();
    assert!(text.contains("the compiler panicked"), "{text}");
}

#[tokio::test]
async fn more_memory_than_any_call_gets_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let module = guest::module("", OK).replace("\"memory\") 1)", "\"memory\") 129)");
    let wasm = embed(&guest::bare(&module), guest::MANIFEST);
    let error = engine().load(wasm, dir.path()).await.err().unwrap();
    assert!(error.to_string().contains("limits.memory_mib"), "{error}");
}

#[tokio::test]
async fn invalid_code_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let wasm = guest::component("", OK);
    // The body of `sync` becomes one that leaves nothing on the stack.
    let at = wasm.windows(3).rposition(|bytes| bytes == [0x41, 0xc0, 0x00]).unwrap();
    let mut broken = wasm.clone();
    broken[at..at + 3].copy_from_slice(&[0x01, 0x01, 0x01]);
    let error = engine().load(broken, dir.path()).await.err().unwrap();
    assert!(matches!(error, Refused::Compile(_)), "{error}");
}

#[tokio::test]
async fn compiled_code_is_kept_and_checked() {
    use std::os::unix::fs::MetadataExt;
    let dir = tempfile::tempdir().unwrap();
    let wasm = guest::component("", OK);
    let inode = |path: &Path| fs::metadata(path).unwrap().ino();
    engine().load(wasm.clone(), dir.path()).await.unwrap();
    let path = cached(dir.path());
    let (first, content) = (inode(&path), fs::read(&path).unwrap());
    engine().load(wasm.clone(), dir.path()).await.unwrap();
    assert_eq!(inode(&cached(dir.path())), first, "loaded, not compiled again");

    let mut flipped = content.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    let other_tag = [&[0; 32], &content[32..]].concat();
    for forged in [&flipped[..], &content[..content.len() / 2], &other_tag[..], b"", b"short"] {
        fs::write(&path, forged).unwrap();
        let component = engine().load(wasm.clone(), dir.path()).await.unwrap();
        assert_eq!(fs::read(&path).unwrap(), content, "compiled anew and written again");
        let outside = Outside::new(Vendor::Answers);
        let called = component.call(&context(), &sync(), outside, &Budget::default()).await;
        assert!(called.result.is_ok());
    }

    let options = EngineOptions { memories: 4, ..EngineOptions::new([8; 32]) };
    Engine::new(options).unwrap().load(wasm.clone(), dir.path()).await.unwrap();
    assert_ne!(fs::read(&path).unwrap()[..32], content[..32], "another key, another tag");

    let nowhere = dir.path().join("file");
    fs::write(&nowhere, b"").unwrap();
    engine().load(wasm, &nowhere).await.expect("a cache that can't be written costs time alone");
}
