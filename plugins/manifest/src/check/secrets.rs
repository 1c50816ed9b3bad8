//! Secrets and egress: where a secret comes from and where it may go.

use super::{Check, at_least_1, one_of};
use crate::{Captured, Egress, Secret, SecretScope};

const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

impl Check<'_> {
    pub(super) fn secrets(&mut self) {
        for (name, secret) in &self.manifest.secrets {
            let path = format!("secrets.{name}");
            self.identifier(&path, name);
            self.secret(&path, secret);
        }
        for (i, egress) in self.manifest.egress.iter().enumerate() {
            self.egress(&format!("egress[{i}]"), egress);
        }
    }

    fn secret(&mut self, path: &str, secret: &Secret) {
        self.require(secret.config.is_some() != secret.per.is_some(), path, || {
            "comes either from a `config` value or is kept `per` owner or channel: give one".into()
        });
        if let Some(config) = &secret.config {
            let sealed = self.config_field(config).is_some_and(|field| field.secret);
            self.require(sealed, &format!("{path}.config"), || {
                format!("there is no configuration value `{config}` with `secret = true`")
            });
        }
        for (i, prefix) in secret.to.iter().enumerate() {
            let path = format!("{path}.to[{i}]");
            self.url_prefix(&path, prefix);
            let reached = self.manifest.egress.iter().any(|egress| prefix.starts_with(&egress.url));
            self.require(reached, &path, || {
                format!("nothing in [[egress]] reaches `{prefix}`; add it there")
            });
        }
        if let Some(captured) = &secret.captured {
            self.captured(&format!("{path}.captured"), secret, captured);
        }
        let secrets = &self.manifest.secrets;
        for (i, other) in secret.forget_with.iter().enumerate() {
            self.require(secrets.contains_key(other), &format!("{path}.forget_with[{i}]"), || {
                format!("there is no secret `{other}`; {}", one_of(secrets.keys()))
            });
        }
    }

    fn captured(&mut self, path: &str, secret: &Secret, captured: &Captured) {
        self.require(secret.per == Some(SecretScope::Owner), path, || {
            "only a secret with `per = \"owner\"` is captured".into()
        });
        self.url_prefix(&format!("{path}.from"), &captured.from);
        let pointers =
            [Some(("at", &captured.at)), captured.expires_in.as_ref().map(|p| ("expires_in", p))];
        for (name, pointer) in pointers.into_iter().flatten() {
            self.require(pointer.starts_with('/'), &format!("{path}.{name}"), || {
                format!("`{pointer}` is no JSON pointer; it begins with /")
            });
        }
    }

    fn egress(&mut self, path: &str, egress: &Egress) {
        self.url_prefix(&format!("{path}.url"), &egress.url);
        self.require(!egress.methods.is_empty(), &format!("{path}.methods"), || {
            "no method is asked for".into()
        });
        for (i, method) in egress.methods.iter().enumerate() {
            let known = METHODS.contains(&method.as_str());
            self.require(known, &format!("{path}.methods[{i}]"), || {
                format!("`{method}` is unknown; known: {}", METHODS.join(", "))
            });
        }
        for (i, limit) in egress.limits.iter().enumerate() {
            let path = format!("{path}.limits[{i}]");
            let some = limit.requests > 0 && limit.window_s > 0 && limit.rate_s > 0;
            self.require(some, &path, at_least_1);
            let kept = limit.rate_s.saturating_mul(limit.window_s) <= limit.requests;
            self.require(kept, &path, || {
                format!(
                    "{} requests a second are more than {} in {} s; lower `rate_s`",
                    limit.rate_s, limit.requests, limit.window_s
                )
            });
        }
    }

    fn url_prefix(&mut self, path: &str, url: &str) {
        let absolute = url.starts_with("https://") || url.starts_with("http://");
        self.require(absolute || url.starts_with('{'), path, || {
            format!("`{url}` must begin with http://, https:// or a `{{config}}` reference")
        });
        self.require(!url.contains(['?', '#', '@']), path, || {
            format!("`{url}` is a prefix: origin and path, without user, query and fragment")
        });
        self.config_references(path, url);
    }
}
