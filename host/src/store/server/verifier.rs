//! What a server needs to check a role's password, made on our side: statements of roles stand in
//! servers' logs as they were sent. (RFC 5802 and 7677; the form is that of `pg_authid`.)

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, Mac as _};
use sha2::{Digest as _, Sha256};

/// What PostgreSQL itself takes. The passwords are random, so more would slow nobody down.
const ITERATIONS: u32 = 4096;

type Bytes = [u8; 32];

/// The SCRAM-SHA-256 verifier of an ASCII password. From it the password can't be had.
pub(super) fn verifier(password: &str, salt: [u8; 16]) -> String {
    let salted = salted(password, &salt);
    let stored_key: Bytes = Sha256::digest(hmac(&salted, &[b"Client Key"])).into();
    let server_key = hmac(&salted, &[b"Server Key"]);
    let text = |bytes: &[u8]| BASE64_STANDARD.encode(bytes);
    format!(
        "SCRAM-SHA-256${ITERATIONS}:{}${}:{}",
        text(&salt),
        text(&stored_key),
        text(&server_key)
    )
}

/// PBKDF2 with one block.
fn salted(password: &str, salt: &[u8]) -> Bytes {
    let mut round = hmac(password.as_bytes(), &[salt, &1_u32.to_be_bytes()]);
    let mut sum = round;
    for _ in 1..ITERATIONS {
        round = hmac(password.as_bytes(), &[&round]);
        for (sum, byte) in sum.iter_mut().zip(round) {
            *sum ^= byte;
        }
    }
    sum
}

fn hmac(key: &[u8], parts: &[&[u8]]) -> Bytes {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key may have any length");
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The exchange of RFC 7677, section 3.
    const SALT: &str = "W22ZaJ0SNY7soEsUEjb6gQ==";
    const EXCHANGE: &str = "n=user,r=rOprNGfwEbeRWgbNEkqO,\
        r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,\
        c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
    const PROOF: &str = "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
    const SERVER_SIGNATURE: &str = "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

    fn decoded(text: &str) -> Vec<u8> {
        BASE64_STANDARD.decode(text).unwrap()
    }

    #[test]
    fn a_server_checks_a_client_by_it() {
        let made = verifier("pencil", decoded(SALT).try_into().unwrap());
        let (head, keys) = made.rsplit_once('$').unwrap();
        assert_eq!(head, format!("SCRAM-SHA-256$4096:{SALT}"));
        let (stored_key, server_key) = keys.split_once(':').unwrap();
        let signature = hmac(&decoded(stored_key), &[EXCHANGE.as_bytes()]);
        let client_key: Vec<u8> =
            decoded(PROOF).iter().zip(signature).map(|(proof, sign)| proof ^ sign).collect();
        assert_eq!(Sha256::digest(client_key).to_vec(), decoded(stored_key));
        let says = hmac(&decoded(server_key), &[EXCHANGE.as_bytes()]);
        assert_eq!(says.to_vec(), decoded(SERVER_SIGNATURE));
    }
}
