//! Signatures of what is sent out, as the Standard Webhooks specification has them: HMAC-SHA256 over
//! id, time and body.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, Mac as _};
use sha2::Sha256;

const SECRET_PREFIX: &str = "whsec_";

/// The value of `webhook-signature`. None: the secret isn't `whsec_` and base64.
pub fn sign(secret: &str, id: &str, timestamp_s: i64, body: &[u8]) -> Option<String> {
    let key = BASE64_STANDARD.decode(secret.strip_prefix(SECRET_PREFIX)?).ok()?;
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).ok()?;
    mac.update(format!("{id}.{timestamp_s}.").as_bytes());
    mac.update(body);
    Some(format!("v1,{}", BASE64_STANDARD.encode(mac.finalize().into_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made with Python: `hmac.new(key, b"msg_1.1700000000.{}", "sha256")`.
    #[test]
    fn a_known_signature() {
        let secret = format!("whsec_{}", BASE64_STANDARD.encode([7; 32]));
        let signed = sign(&secret, "msg_1", 1_700_000_000, b"{}").unwrap();
        assert_eq!(signed, "v1,nuLLyheCKcS2N8JNOFt5stk98R+umYWr26/ZTfdtGM8=");
        assert_ne!(sign(&secret, "msg_2", 1_700_000_000, b"{}").unwrap(), signed);
        assert_eq!(sign("plain", "msg_1", 0, b""), None);
        assert_eq!(sign("whsec_???", "msg_1", 0, b""), None);
    }
}
