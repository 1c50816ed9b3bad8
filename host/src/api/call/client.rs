//! Where a request comes from, as far as that can be known.

use std::net::IpAddr;

use axum::http::HeaderMap;

use crate::egress::is_public;

const FORWARDED: &str = "x-forwarded-for";

/// The network of whoever sent a request. A connection from a public address is theirs. Any other is a
/// proxy's, which writes where its own came from behind what it was told; without that nobody knows.
pub(super) fn client(peer: Option<IpAddr>, headers: &HeaderMap) -> Option<String> {
    let peer = peer?;
    if is_public(peer) {
        return Some(network(peer));
    }
    let told = headers.get_all(FORWARDED).iter().next_back()?.to_str().ok()?;
    let last = told.rsplit(',').next()?.trim();
    last.parse().ok().map(network)
}

/// Of IPv6 whoever has one address has the 2^64 beside it.
fn network(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            format!("{a:x}:{b:x}:{c:x}:{d:x}::/64")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_forwards_says_for_whom_and_others_are_not_asked() {
        for (peer, forwarded, found) in [
            ("8.8.8.8", vec![], Some("8.8.8.8")),
            ("8.8.8.8", vec!["1.1.1.1"], Some("8.8.8.8")),
            ("127.0.0.1", vec![], None),
            ("127.0.0.1", vec!["1.1.1.1"], Some("1.1.1.1")),
            ("10.0.0.7", vec!["6.6.6.6, 1.1.1.1"], Some("1.1.1.1")),
            ("10.0.0.7", vec!["6.6.6.6", "9.9.9.9,1.1.1.1"], Some("1.1.1.1")),
            ("::1", vec!["2606:4700:1:2:3::4"], Some("2606:4700:1:2::/64")),
            ("::1", vec!["::ffff:1.1.1.1"], Some("1.1.1.1")),
            ("127.0.0.1", vec!["unknown"], None),
            ("127.0.0.1", vec![""], None),
        ] {
            let mut headers = HeaderMap::new();
            for value in &forwarded {
                headers.append(FORWARDED, value.parse().unwrap());
            }
            let answer = client(Some(peer.parse().unwrap()), &headers);
            assert_eq!(answer.as_deref(), found, "{peer} {forwarded:?}");
        }
        assert_eq!(client(None, &HeaderMap::new()), None);
    }
}
