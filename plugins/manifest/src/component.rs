//! The manifest inside a component: one custom section at the top level of the binary.
//!
//! Only section headers are walked, never what is in them, so a module or component nested inside
//! can't pass off a manifest of its own as the component's.

use crate::{Error, Manifest, SECTION};

const COMPONENT_HEADER: [u8; 8] = [0, b'a', b's', b'm', 0x0d, 0, 1, 0];
const CUSTOM: u8 = 0;

/// Why a binary has no readable manifest.
#[derive(Debug, thiserror::Error)]
pub enum SectionError {
    /// Some other file.
    #[error("this is not a WebAssembly component; build it with `cargo xtask plugins`")]
    NotComponent,
    /// A core module, which must be encoded first.
    #[error(
        "this is a core module, not a component; encode it first, as `cargo xtask plugins` does"
    )]
    CoreModule,
    /// A section ends after the end of the file.
    #[error("the component is cut off or damaged at byte {0}")]
    Damaged(usize),
    /// No section, or only in a nested module.
    #[error("the component has no custom section `{SECTION}` at its top level; embed plugin.toml")]
    Absent,
    /// More than one section.
    #[error("the component has more than one custom section `{SECTION}`; exactly one is allowed")]
    Repeated,
    /// The section doesn't hold a manifest.
    #[error(transparent)]
    Manifest(#[from] Error),
}

/// Reads and checks the manifest of a component.
pub fn read(component: &[u8]) -> Result<Manifest, SectionError> {
    let mut found = sections(component)?.into_iter().filter_map(|section| section.manifest);
    let payload = found.next().ok_or(SectionError::Absent)?;
    if found.next().is_some() {
        return Err(SectionError::Repeated);
    }
    Ok(Manifest::from_json(payload)?)
}

/// The component with `manifest` in it, in place of one that it may have had.
pub fn embed(component: &[u8], manifest: &Manifest) -> Result<Vec<u8>, SectionError> {
    manifest.check().map_err(Error::from)?;
    let json = manifest.to_json();
    let mut out = COMPONENT_HEADER.to_vec();
    for section in sections(component)? {
        if section.manifest.is_none() {
            out.extend_from_slice(section.bytes);
        }
    }
    let mut body = Vec::with_capacity(json.len() + SECTION.len() + 5);
    write_leb(&mut body, SECTION.len());
    body.extend_from_slice(SECTION.as_bytes());
    body.extend_from_slice(&json);
    out.push(CUSTOM);
    write_leb(&mut out, body.len());
    out.extend_from_slice(&body);
    Ok(out)
}

struct Section<'a> {
    /// Id, length and body.
    bytes: &'a [u8],
    /// What is in it, if it is the manifest's.
    manifest: Option<&'a [u8]>,
}

fn sections(component: &[u8]) -> Result<Vec<Section<'_>>, SectionError> {
    if !component.starts_with(b"\0asm") {
        return Err(SectionError::NotComponent);
    }
    if !component.starts_with(&COMPONENT_HEADER) {
        return Err(SectionError::CoreModule);
    }
    let mut found = Vec::new();
    let mut at = COMPONENT_HEADER.len();
    while at < component.len() {
        let damaged = SectionError::Damaged(at);
        let Some(end) = section_end(component, at) else { return Err(damaged) };
        let Some((len_bytes, _)) = read_leb(&component[at + 1..]) else { return Err(damaged) };
        let body = &component[at + 1 + len_bytes..end];
        let manifest = match component[at] {
            CUSTOM => custom_named(body, SECTION).ok_or(damaged)?,
            _ => None,
        };
        found.push(Section { bytes: &component[at..end], manifest });
        at = end;
    }
    Ok(found)
}

fn section_end(component: &[u8], at: usize) -> Option<usize> {
    let (len_bytes, len) = read_leb(component.get(at + 1..)?)?;
    let end = (at + 1 + len_bytes).checked_add(len)?;
    (end <= component.len()).then_some(end)
}

/// What follows the name of a custom section, if that is `name`. None: damaged.
#[allow(clippy::option_option, reason = "damaged and not this name are different answers")]
fn custom_named<'a>(body: &'a [u8], name: &str) -> Option<Option<&'a [u8]>> {
    let (len_bytes, len) = read_leb(body)?;
    let end = len_bytes.checked_add(len)?;
    let found = body.get(len_bytes..end)?;
    Some((found == name.as_bytes()).then(|| &body[end..]))
}

/// Unsigned LEB128 of up to 32 bits: how many bytes it takes, and its value.
fn read_leb(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut value = 0u64;
    for (i, byte) in bytes.iter().take(5).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            return Some((i + 1, usize::try_from(u32::try_from(value).ok()?).ok()?));
        }
    }
    None
}

fn write_leb(out: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::tests::SMALL;

    fn component(sections: &[(u8, &[u8])]) -> Vec<u8> {
        let mut out = COMPONENT_HEADER.to_vec();
        for (id, body) in sections {
            out.push(*id);
            write_leb(&mut out, body.len());
            out.extend_from_slice(body);
        }
        out
    }

    fn custom(name: &str, payload: &[u8]) -> Vec<u8> {
        let mut body = Vec::new();
        write_leb(&mut body, name.len());
        body.extend_from_slice(name.as_bytes());
        body.extend_from_slice(payload);
        body
    }

    #[test]
    fn what_is_embedded_is_read_again() {
        let manifest = Manifest::from_toml(SMALL).unwrap();
        let plain = component(&[(1, b"nested module"), (0, &custom("producers", b"x"))]);
        let once = embed(&plain, &manifest).unwrap();
        assert_eq!(read(&once).unwrap(), manifest);
        assert!(once.starts_with(&plain));
        assert_eq!(embed(&once, &manifest).unwrap(), once, "embedding again replaces");
    }

    #[test]
    fn refusals() {
        let json = Manifest::from_toml(SMALL).unwrap().to_json();
        let section = custom(SECTION, &json);
        let nested = component(&[(0, &section)]);
        let mut cut = component(&[(0, &section)]);
        cut.pop();
        let core = [b"\0asm\x01\0\0\0".as_slice(), &component(&[(0, &section)])[8..]].concat();
        let cases: &[(&str, Vec<u8>, &str)] = &[
            ("text", b"hello".to_vec(), "not a WebAssembly component"),
            ("a core module", core, "core module"),
            ("none", component(&[(0, &custom("name", b""))]), "no custom section"),
            ("only a nested one", component(&[(4, &nested)]), "no custom section"),
            ("two", component(&[(0, &section), (0, &section)]), "more than one"),
            ("cut off", cut, "damaged at byte 8"),
            (
                "length without end",
                component(&[])[..8].iter().copied().chain([0, 0xff]).collect(),
                "damaged at byte 8",
            ),
            ("name longer than section", component(&[(0, &[200, 1, b'x'])]), "damaged at byte 8"),
            ("not a manifest", component(&[(0, &custom(SECTION, b"{}"))]), "missing field"),
        ];
        for (name, bytes, text) in cases {
            let error = read(bytes).unwrap_err().to_string();
            assert!(error.contains(text), "{name}: {error}");
        }
    }
}
