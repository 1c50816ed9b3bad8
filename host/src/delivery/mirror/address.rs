//! The address of a database as the customer gave it, checked.

use percent_encoding::percent_decode_str;
use url::Url;
use zeroize::Zeroizing;

use crate::delivery::destination::{DestinationRules, masked, url};
use crate::egress::{DatabaseServer, Tls, is_this_machine};

/// A database that may be connected to.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseAddress {
    pub(super) server: DatabaseServer,
    pub(super) user: String,
    pub(super) password: Zeroizing<String>,
    pub(super) database: String,
    /// As it may be shown.
    shown: String,
}

/// PostgreSQL's.
const PORT: u16 = 5_432;

/// By the names that PostgreSQL's own library gives them.
const SSL_MODES: [(&str, Tls); 4] = [
    ("disable", Tls::Never),
    ("prefer", Tls::IfOffered),
    ("require", Tls::Always),
    ("verify-full", Tls::Verified),
];

impl DatabaseAddress {
    /// Checks an address.
    ///
    /// # Errors
    /// What is wrong with it, without its secrets.
    pub(in crate::delivery) fn parse(text: &str, rules: DestinationRules) -> Result<Self, String> {
        // Before it is cut at the wrong place: what stands behind is shown, and looked up.
        if is_cut_wrongly(text) {
            let expected = "must have `@`, `/`, `?` and `#` of its user and password written as %40, \
                            %2F, %3F and %23";
            return Err(expected.into());
        }
        let url = &url(text)?;
        if !matches!(url.scheme(), "postgres" | "postgresql") {
            let expected = "must be like postgres://user:password@host:5432/database: other \
                            databases than PostgreSQL aren't served";
            return Err(expected.into());
        }
        let host = host(url)?;
        let path = url.path().strip_prefix('/').unwrap_or_default();
        let (user, database) = (decoded(url.username())?, decoded(path)?);
        let password = Zeroizing::new(decoded(url.password().unwrap_or_default())?);
        if user.is_empty() || database.is_empty() {
            let expected =
                "must name a user and a database: postgres://user:password@host:5432/database";
            return Err(expected.into());
        }
        let tls = tls(url)?;
        let here = rules.allow_http && is_this_machine(&host);
        let private_addresses = here || rules.allow_private_addresses;
        let port = url.port().unwrap_or(PORT);
        let shown = shown(&host, port, path, url.query());
        let server = DatabaseServer { host, port, tls, private_addresses };
        Ok(Self { server, user, password, database, shown })
    }

    /// As it may be shown: user and password hidden.
    pub(in crate::delivery) fn shown(&self) -> String {
        self.shown.clone()
    }

    /// Which database it is, whoever asks for it: host, port and name.
    pub(in crate::delivery) fn place(&self) -> String {
        let DatabaseServer { host, port, .. } = &self.server;
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        format!("{host}:{port}/{}", self.database)
    }

    /// A text that a server sent, without the credentials that it may repeat.
    pub(super) fn hide(&self, text: &str) -> String {
        let user = format!("\"{}\"", self.user);
        let text = text.replace(&user, "\"***\"");
        match self.password.as_str() {
            "" => text,
            password => text.replace(password, "***"),
        }
    }
}

/// Whether a user or password may hold what ends one: there is but one `@`, before path, query and fragment.
fn is_cut_wrongly(text: &str) -> bool {
    let (_, rest) = text.split_once("://").unwrap_or_default();
    let (authority, behind) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    authority.matches('@').count() > 1 || behind.contains('@')
}

/// A name or an address. What stands in a URL of another scheme than http comes as it was written.
fn host(url: &Url) -> Result<String, String> {
    let text = url.host_str().unwrap_or_default();
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:".contains(&byte);
    match !bare.is_empty() && bare.bytes().all(fits) {
        true => Ok(bare.to_owned()),
        false => Err("must have a host: a name or an address".into()),
    }
}

fn tls(url: &Url) -> Result<Tls, String> {
    let mut tls = Tls::IfOffered;
    for (name, value) in url.query_pairs() {
        if name != "sslmode" {
            return Err("may say `sslmode` behind the `?`, and nothing else".into());
        }
        let known = SSL_MODES.iter().find(|(name, _)| *name == value);
        let (_, mode) = known.ok_or_else(|| {
            "must have one of disable, prefer, require, verify-full as sslmode".to_owned()
        })?;
        tls = *mode;
    }
    Ok(tls)
}

fn decoded(text: &str) -> Result<String, String> {
    let decoded = percent_decode_str(text).decode_utf8();
    let decoded = decoded.map_err(|_| "must be text, in UTF-8".to_owned())?;
    match decoded.contains('\0') {
        true => Err("must not contain NUL".into()),
        false => Ok(decoded.into_owned()),
    }
}

/// `query` holds an sslmode at most.
fn shown(host: &str, port: u16, path: &str, query: Option<&str>) -> String {
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    masked(&format!("postgres://{host}:{port}/{path}{query}"))
}

impl std::fmt::Debug for DatabaseAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.shown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: DestinationRules =
        DestinationRules { allow_http: true, allow_private_addresses: false };

    fn parse(text: &str, rules: DestinationRules) -> Result<DatabaseAddress, String> {
        DatabaseAddress::parse(text, rules)
    }

    #[test]
    fn addresses_that_may_be_connected_to() {
        for (text, host, port, tls, private, shown) in [
            (
                "postgres://u:p@a.example/d",
                "a.example",
                5432,
                Tls::IfOffered,
                false,
                "postgres://***:***@a.example:5432/d",
            ),
            (
                "postgresql://u@a.example:6432/d?sslmode=verify-full",
                "a.example",
                6432,
                Tls::Verified,
                false,
                "postgres://***:***@a.example:6432/d?sslmode=verify-full",
            ),
            (
                "postgres://u:p@127.0.0.1/d?sslmode=disable",
                "127.0.0.1",
                5432,
                Tls::Never,
                true,
                "postgres://***:***@127.0.0.1:5432/d?sslmode=disable",
            ),
            (
                "postgres://u:p@[::1]/d?sslmode=require",
                "::1",
                5432,
                Tls::Always,
                true,
                "postgres://***:***@[::1]:5432/d?sslmode=require",
            ),
            (
                "postgres://u:p@localhost/d",
                "localhost",
                5432,
                Tls::IfOffered,
                true,
                "postgres://***:***@localhost:5432/d",
            ),
        ] {
            let found = parse(text, HERE).unwrap();
            let server =
                DatabaseServer { host: host.into(), port, tls, private_addresses: private };
            assert_eq!(found.server, server);
            assert_eq!((found.shown(), format!("{found:?}")), (shown.into(), shown.into()));
            let strict = parse(text, DestinationRules::default()).unwrap();
            assert!(!strict.server.private_addresses, "{text}");
        }
        let found = parse("postgres://a%40b:p%2F%3A@a.example/d%20e", HERE).unwrap();
        assert_eq!((found.user.as_str(), found.password.as_str()), ("a@b", "p/:"));
        assert_eq!(found.database, "d e");
    }

    #[test]
    fn one_database_is_one_place_however_it_is_written() {
        for (text, place) in [
            ("postgres://u:p@a.example/app", "a.example:5432/app"),
            ("postgresql://v:q@A.Example.:5432/%61pp?sslmode=require", "a.example:5432/app"),
            ("postgres://u:p@a.example:6432/app", "a.example:6432/app"),
            ("postgres://u:p@a.example/App", "a.example:5432/App"),
        ] {
            assert_eq!(parse(text, HERE).unwrap().place(), place);
        }
    }

    #[test]
    fn all_others_are_refused_without_repeating_secrets() {
        for (text, reason) in [
            ("snowflake://u:secret@a.example/d", "other databases than PostgreSQL"),
            ("https://u:secret@a.example/d", "other databases than PostgreSQL"),
            ("postgres://a.example/secret", "must name a user"),
            ("postgres://u:secret@a.example", "must name a user and a database"),
            ("postgres://u:secret@a.example/", "must name a user and a database"),
            ("postgres:///secret", "must have a host"),
            ("postgres://u:secret@%2Fvar%2Frun/d", "must have a host"),
            ("postgres://u:secret@a.example/d?sslmode=allow", "must have one of"),
            ("postgres://u:secret@a.example/d?host=/var/run", "may say `sslmode`"),
            ("postgres://u:secret@a.example/d?hostaddr=127.0.0.1", "may say `sslmode`"),
            ("postgres://u:secret@a.example/d?sslrootcert=/etc/passwd", "may say `sslmode`"),
            ("postgres://u:secret@a.example/d%00", "NUL"),
        ] {
            let error = parse(text, HERE).unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn what_a_password_must_be_written_without_is_told() {
        for text in [
            "postgres://u:se@cret@a.example/d",
            "postgres://u:se@cret/word@a.example/d",
            "postgres://u:se@cret#word@a.example/d",
            "postgres://u:se@cret?word@a.example/d",
            "postgres://u:se/cret@a.example/d",
            "postgres://u:se#cret@a.example/d",
            "postgres://u:5/cret@a.example/d",
            "postgres://u:se?cret@a.example/d",
            "postgres://u@se:cret@a.example/d",
        ] {
            let error = parse(text, HERE).unwrap_err();
            assert!(error.contains("written as %40"), "{text}: {error}");
            assert!(!error.contains("cret"), "{text}: {error}");
        }
        let encoded = "postgres://u:se%40cr%2Fe%23t%3Fa:b@a.example/d";
        assert_eq!(parse(encoded, HERE).unwrap().password.as_str(), "se@cr/e#t?a:b");
    }

    #[test]
    fn servers_repeat_no_credentials() {
        let address = parse("postgres://ana:hush@a.example/d", HERE).unwrap();
        let told = "too many connections for role \"ana\", which gave hush (banana)";
        let hidden = "too many connections for role \"***\", which gave *** (banana)";
        assert_eq!(address.hide(told), hidden);
    }
}
