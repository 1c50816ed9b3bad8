//! A vendor that plays along with the attacks.

use std::sync::{Condvar, Mutex, PoisonError};

use serde_json::json;
use tests::{VendorAnswer, VendorRequest};

use crate::arena::ACCESS_TOKEN;

/// More than the guest's manifest allows of an answer.
const HUGE: usize = 2 << 20;
/// What the bomb decodes to.
const BOMB: usize = 64 << 20;

/// `elsewhere` is another host, which the guest may also reach.
pub(crate) fn answer(request: &VendorRequest, elsewhere: &str) -> VendorAnswer {
    let redirect = |to: String| VendorAnswer::Reply {
        status: 302,
        headers: vec![("Location".to_owned(), to)],
        body: Vec::new(),
    };
    match request.path() {
        "/token" => {
            let token = json!({ "access_token": ACCESS_TOKEN, "expires_in": 3600 });
            VendorAnswer::reply(200, token.to_string())
        }
        "/token/form" => VendorAnswer::reply(200, format!("access_token={ACCESS_TOKEN}&x=1")),
        "/api/echo" => echo(request),
        "/api/huge" => VendorAnswer::reply(200, vec![b'x'; HUGE]),
        "/api/bomb" => VendorAnswer::Reply {
            status: 200,
            headers: vec![("Content-Encoding".to_owned(), "gzip".to_owned())],
            body: zeros_in_gzip(BOMB),
        },
        "/api/headers" => VendorAnswer::Reply {
            status: 200,
            headers: (0..10_000).map(|at| (format!("X-{at}"), "x".repeat(100))).collect(),
            body: Vec::new(),
        },
        "/api/hang" => {
            let nobody = (Mutex::new(()), Condvar::new());
            let waiting = nobody.0.lock().unwrap_or_else(PoisonError::into_inner);
            drop(nobody.1.wait(waiting));
            VendorAnswer::HangUp
        }
        "/api/redirect" => redirect(format!("{elsewhere}/items")),
        "/api/circle" => redirect("/api/circle".to_owned()),
        "/api/abroad" => redirect("/token".to_owned()),
        _ => VendorAnswer::reply(200, "{}"),
    }
}

/// Repeats the Authorization header in every place there is.
fn echo(request: &VendorRequest) -> VendorAnswer {
    let said = request.header("authorization").unwrap_or("nothing").to_owned();
    let location = format!("/elsewhere?said={}", said.replace(' ', "%20"));
    let headers = [("X-Authorization", said.clone()), ("Location", location)];
    VendorAnswer::Reply {
        status: 201,
        headers: headers.map(|(name, value)| (name.to_owned(), value)).to_vec(),
        body: said.into_bytes(),
    }
}

/// A gzip stream of so many zeros, nearly: one zero as it is, then the order to repeat it 258 times,
/// over and over. Whoever decodes it to its end finds that the checksum is missing.
fn zeros_in_gzip(length: usize) -> Vec<u8> {
    let head = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
    let stored_zero = [0, 1, 0, 0xfe, 0xff, 0];
    let mut bits = vec![true, true, false];
    // Length 258 is code 285, `11000101`; distance 1 is `00000`.
    let repeat = [true, true, false, false, false, true, false, true];
    for _ in 0..length / 258 {
        bits.extend(repeat);
        bits.extend([false; 5]);
    }
    let byte = |bits: &[bool]| (0..bits.len()).fold(0, |byte, at| byte | u8::from(bits[at]) << at);
    [&head[..], &stored_zero, &bits.chunks(8).map(byte).collect::<Vec<_>>()].concat()
}
