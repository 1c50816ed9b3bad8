//! Which redirects are followed: those that stay at their origin.

use url::Url;

use super::message::{Body, HttpRequest, HttpResponse};
use super::url_prefix::{Origin, parse_target};

/// The request that a redirect asks for, if it stays at the origin of `url`. Whether it may be sent
/// is then decided as for any other.
pub(super) fn follow(
    request: &HttpRequest,
    url: &Url,
    response: &HttpResponse,
) -> Option<HttpRequest> {
    let drops_body = match (response.status, request.method.as_str()) {
        (301 | 302, "POST") => true,
        (303, "GET" | "HEAD") => false,
        (303, _) => true,
        (301 | 302 | 307 | 308, _) => false,
        _ => return None,
    };
    let (_, location) = response.headers.iter().find(|(name, _)| name == "location")?;
    let mut next = url.join(location).ok()?;
    next.set_fragment(None);
    let next = parse_target(next.as_str()).ok()?;
    if Origin::of_url(&next) != Origin::of_url(url) {
        return None;
    }
    let mut followed = request.clone();
    followed.url = next.into();
    // The location brings its own query.
    followed.query = Vec::new();
    if drops_body {
        followed.method = "GET".into();
        followed.body = Body::None;
        followed.headers.retain(|(name, _)| !name.to_ascii_lowercase().starts_with("content-"));
    }
    Some(followed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_origin_alone() {
        let cases = [
            ("GET", 302, "/b?x=1#f", Some("GET https://a.example/b?x=1")),
            ("GET", 301, "c", Some("GET https://a.example/api/c")),
            ("GET", 308, "https://A.example:443/c", Some("GET https://a.example/c")),
            ("POST", 302, "/b", Some("GET https://a.example/b")),
            ("POST", 303, "/b", Some("GET https://a.example/b")),
            ("POST", 307, "/b", Some("POST https://a.example/b")),
            ("DELETE", 302, "/b", Some("DELETE https://a.example/b")),
            ("GET", 302, "https://b.example/b", None),
            ("GET", 302, "//b.example/b", None),
            ("GET", 302, "http://a.example/b", None),
            ("GET", 302, "https://a.example:444/b", None),
            ("GET", 302, "https://u:p@a.example/b", None),
            ("GET", 302, "javascript:alert(1)", None),
            ("GET", 302, "/%2e%2e%2fb", None),
            ("GET", 304, "/b", None),
            ("GET", 200, "/b", None),
        ];
        for (method, status, location, expected) in cases {
            let request = HttpRequest {
                method: method.into(),
                url: "https://a.example/api/a".into(),
                query: Vec::new(),
                headers: Vec::new(),
                body: Body::Bytes(vec![1]),
                timeout_ms: None,
            };
            let headers = vec![("location".to_owned(), location.to_owned())];
            let response = HttpResponse { status, headers, body: Vec::new() };
            let url = parse_target(&request.url).unwrap();
            let next = follow(&request, &url, &response);
            let next = next.map(|next| format!("{} {}", next.method, next.url));
            assert_eq!(next.as_deref(), expected, "{method} {status} {location}");
        }
    }
}
