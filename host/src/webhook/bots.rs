//! Crawlers that follow an endpoint's address, e.g. from a chat where it was pasted.

use axum::http::{HeaderMap, header};

/// Parts of the user agents of well-known crawlers and link previews, in lower case.
const KNOWN: [&str; 22] = [
    "adsbot",
    "ahrefsbot",
    "applebot",
    "baiduspider",
    "bingbot",
    "bytespider",
    "ccbot",
    "claudebot",
    "discordbot",
    "duckduckbot",
    "facebookexternalhit",
    "googlebot",
    "gptbot",
    "linkedinbot",
    "mj12bot",
    "petalbot",
    "semrushbot",
    "slackbot",
    "telegrambot",
    "twitterbot",
    "whatsapp",
    "yandexbot",
];

/// Whether a GET comes from a crawler and doesn't say that it is meant.
pub(super) fn is_refused(headers: &HeaderMap, query: Option<&str>) -> bool {
    let Some(agent) = headers.get(header::USER_AGENT) else { return false };
    let agent = String::from_utf8_lossy(agent.as_bytes()).to_lowercase();
    KNOWN.iter().any(|bot| agent.contains(bot)) && !skips_check(query)
}

fn skips_check(query: Option<&str>) -> bool {
    let pairs = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    pairs.into_iter().any(|(name, _)| name == "skipbotcheck")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crawlers_are_refused_unless_the_url_says_otherwise() {
        for (agent, query, refused) in [
            ("Mozilla/5.0 (compatible; Googlebot/2.1)", None, true),
            ("Slackbot-LinkExpanding 1.0", Some("a=1"), true),
            ("Slackbot-LinkExpanding 1.0", Some("a=1&skipbotcheck=1"), false),
            ("Slackbot-LinkExpanding 1.0", Some("skipbotcheck"), false),
            ("curl/8.0", None, false),
            ("robotics-backend/1.0", None, false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::USER_AGENT, agent.parse().unwrap());
            assert_eq!(is_refused(&headers, query), refused, "{agent} {query:?}");
        }
        assert!(!is_refused(&HeaderMap::new(), None));
    }
}
