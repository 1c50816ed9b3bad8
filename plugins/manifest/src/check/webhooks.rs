//! Webhooks: who may post, and the body's fields.

use indexmap::IndexMap;

use super::{Check, one_of};
use crate::{BodyField, BodyKind, SecretScope, Webhook, WebhookAuth};

impl Check<'_> {
    pub(super) fn webhooks(&mut self) {
        for (service, entry) in &self.manifest.services {
            if let Some(webhook) = &entry.webhook {
                self.webhook(service, &format!("services.{service}.webhook"), webhook);
            }
        }
    }

    fn webhook(&mut self, service: &str, path: &str, webhook: &Webhook) {
        self.require(!webhook.auth.is_empty(), &format!("{path}.auth"), || {
            "nobody could post; name a way to authenticate, or leave [webhook] out".into()
        });
        for (i, name) in webhook.headers.iter().enumerate() {
            self.header(&format!("{path}.headers[{i}]"), name);
        }
        for (i, auth) in webhook.auth.iter().enumerate() {
            self.auth(service, &format!("{path}.auth[{i}]"), auth);
        }
        for (name, field) in &webhook.body {
            self.body_field(&format!("{path}.body.{name}"), field, &webhook.body);
        }
        let owners = webhook.body.values().filter(|field| field.owner).count();
        self.require(owners <= 1, &format!("{path}.body"), || {
            "more than one field is the `owner`".into()
        });
    }

    fn header(&mut self, path: &str, name: &str) {
        let token = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_".contains(&b);
        self.require(!name.is_empty() && name.bytes().all(token), path, || {
            format!("`{name}` is no header name in lower case")
        });
    }

    fn auth(&mut self, service: &str, path: &str, auth: &WebhookAuth) {
        match auth {
            WebhookAuth::Header { header, secret } => {
                self.header(&format!("{path}.header"), header);
                let root = self.manifest.root(service);
                let config = self.manifest.services.get(root).map(|root| &root.config);
                let sealed = config.and_then(|c| c.get(secret)).is_some_and(|field| field.secret);
                self.require(sealed, &format!("{path}.secret"), || {
                    format!(
                        "`{secret}` is no secret configuration value of `{root}`; add it to \
                         [services.{root}.config] with `secret = true`"
                    )
                });
            }
            WebhookAuth::Channel { id, token, vendor_id, .. } => {
                self.header(&format!("{path}.id"), id);
                self.header(&format!("{path}.token"), token);
                if let Some(vendor_id) = vendor_id {
                    self.header(&format!("{path}.vendor_id"), vendor_id);
                }
            }
        }
    }

    fn body_field(&mut self, path: &str, field: &BodyField, body: &IndexMap<String, BodyField>) {
        let text = field.kind == BodyKind::String;
        let text_only = field.owner
            || field.seal.is_some()
            || !field.values.is_empty()
            || field.min.is_some()
            || field.max.is_some();
        self.require(text || !text_only, path, || {
            "`owner`, `seal`, `enum`, `min` and `max` are for strings".into()
        });
        if let (Some(min), Some(max)) = (field.min, field.max) {
            self.require(min <= max, path, || format!("min {min} is more than max {max}"));
        }
        if let Some(seal) = &field.seal {
            let secrets = &self.manifest.secrets;
            let owned = secrets.get(seal).is_some_and(|s| s.per == Some(SecretScope::Owner));
            self.require(owned, &format!("{path}.seal"), || {
                format!("`{seal}` is no secret with `per = \"owner\"`; {}", one_of(secrets.keys()))
            });
        }
        for (other, values) in &field.when {
            let path = format!("{path}.when.{other}");
            let Some(other_field) = body.get(other) else {
                self.problem(path, format!("the body has no field `{other}`"));
                continue;
            };
            for value in values {
                let known = other_field.values.is_empty() || other_field.values.contains(value);
                self.require(known, &path, || {
                    format!("`{other}` is never `{value}`; {}", one_of(&other_field.values))
                });
            }
        }
    }
}
