//! What a PostgreSQL server answers, message by message: a letter, a length, a body. A library makes
//! room for whatever length is announced, so ours ends the connection first.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader};

/// Of one message. A row of a catalogue is the largest that we ask for.
pub(super) const MESSAGE_BYTES_MAX: u32 = 1 << 20;

/// Of a whole connection. A page is acknowledged by some hundred bytes.
const BYTES_MAX: u64 = 64 << 20;

/// The length counts itself.
const LENGTH_BYTES: u32 = 4;

/// Remarks of the server, which a library would write to our log.
const NOTICE: u8 = b'N';

/// Passes messages on until the server ends, or says too much.
pub(super) async fn pass_on(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
) -> io::Result<()> {
    let (mut from, mut passed) = (BufReader::new(from), 0_u64);
    let mut message = Vec::new();
    loop {
        let mut head = [0; 5];
        from.read_exact(&mut head).await?;
        let [kind, length @ ..] = head;
        let length = u32::from_be_bytes(length);
        passed += u64::from(length);
        if !(LENGTH_BYTES..=MESSAGE_BYTES_MAX).contains(&length) || passed > BYTES_MAX {
            return Err(io::Error::other("the server says too much"));
        }
        message.clear();
        message.extend_from_slice(&head);
        message.resize(head.len() + (length - LENGTH_BYTES) as usize, 0);
        from.read_exact(&mut message[head.len()..]).await?;
        if kind != NOTICE {
            to.write_all(&message).await?;
        }
    }
}
