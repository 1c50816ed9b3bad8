//! Bodies as gzip. What was compressed lately is there already: the service's own work costs who calls it
//! nothing, while here both share a machine.

use std::collections::VecDeque;
use std::io::Write;
use std::sync::Mutex;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::shared::locked;

/// Smaller ones are quicker compressed than found.
const KEPT_FROM_BYTES: usize = 64 << 10;
/// Of bodies that are kept, in all: the pages of some 60,000 events.
const KEPT_BYTES: usize = 96 << 20;

/// The latest ones.
#[derive(Default)]
pub(crate) struct Compressed(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    /// As they are, and compressed.
    bodies: VecDeque<(Vec<u8>, Bytes)>,
    bytes: usize,
}

impl Compressed {
    pub(crate) fn gzip(&self, body: Vec<u8>) -> Bytes {
        if body.len() < KEPT_FROM_BYTES {
            return gzip(&body);
        }
        if let Some((_, found)) = locked(&self.0).bodies.iter().find(|(kept, _)| *kept == body) {
            return found.clone();
        }
        let compressed = gzip(&body);
        locked(&self.0).keep(body, compressed.clone());
        compressed
    }
}

impl Kept {
    fn keep(&mut self, body: Vec<u8>, compressed: Bytes) {
        self.bytes += body.len();
        self.bodies.push_back((body, compressed));
        while self.bytes > KEPT_BYTES {
            let Some((oldest, _)) = self.bodies.pop_front() else { return };
            self.bytes -= oldest.len();
        }
    }
}

fn gzip(body: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    // Writing to memory can't fail.
    let _ = encoder.write_all(body);
    encoder.finish().unwrap_or_default().into()
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;

    use super::*;

    #[test]
    fn each_body_comes_back_as_its_own() {
        let compressed = Compressed::default();
        let body = |first: u8, bytes| {
            let mut body = vec![b'x'; bytes];
            body[0] = first;
            body
        };
        let sizes = [1, KEPT_FROM_BYTES, KEPT_FROM_BYTES + 1, KEPT_BYTES / 2, KEPT_BYTES];
        for bytes in sizes {
            for first in [b'a', b'b', b'a'] {
                let mut plain = Vec::new();
                let gzip = compressed.gzip(body(first, bytes));
                GzDecoder::new(&gzip[..]).read_to_end(&mut plain).unwrap();
                assert!(plain == body(first, bytes), "{bytes} bytes");
            }
            let kept = locked(&compressed.0);
            let bytes: usize = kept.bodies.iter().map(|(body, _)| body.len()).sum();
            assert_eq!(kept.bytes, bytes);
            assert!(kept.bytes <= KEPT_BYTES);
        }
        let body = body(b'c', KEPT_FROM_BYTES);
        let (first, second) = (compressed.gzip(body.clone()), compressed.gzip(body));
        assert_eq!(first.as_ptr(), second.as_ptr(), "compressed once");
    }
}
