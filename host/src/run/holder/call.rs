//! How a holder calls the component: under which secrets, with what at hand.

use std::collections::HashMap;
use std::sync::atomic::AtomicI64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;
use tracing::Instrument as _;
use zeroize::Zeroizing;

use super::Holder;
use crate::clock::monotonic;
use crate::egress::{Counted, Session, SessionOptions};
use crate::model::{Call, CallContext};
use crate::plugin::{CallError, Called, Returned};
use crate::run::call_secrets::CallSecrets;
use crate::run::environment::CallEnvironment;
use crate::run::readying::{Readying, WriteLine};
use crate::run::tree::Tree;
use crate::store::Error;
use crate::store::leases::Lease;

/// Whose secrets a call may use.
pub(in crate::run) struct Authority {
    /// None: nobody's.
    pub(in crate::run) grant_id: Option<i64>,
    /// Of the channel that is being asked for.
    pub(in crate::run) channel_token: Option<Zeroizing<String>>,
}

/// What a call came to.
pub(in crate::run) struct CalledAt {
    pub(in crate::run) result: Result<Returned, CallError>,
    /// To be committed if it returned ok.
    pub(in crate::run) effects: Readying,
    /// The owner's commit number when the call first looked something up.
    pub(in crate::run) read_at: Option<i64>,
}

/// How much later than its call a request would end.
const AFTER_THE_CALL: Duration = Duration::from_secs(1);

impl Holder {
    /// Calls the component under the owner's present grant. `committed`: the call before is being
    /// committed, and what this one looks up waits until it is.
    pub(in crate::run) async fn call(
        &self,
        tree: &Arc<Tree>,
        service: &str,
        call: &Call,
        committed: Option<watch::Receiver<bool>>,
    ) -> Result<CalledAt, Error> {
        let authority = Authority { grant_id: self.grant_id(), channel_token: None };
        self.call_as(tree, service, call, committed, authority).await
    }

    /// Calls the component with given secrets.
    pub(in crate::run) async fn call_as(
        &self,
        tree: &Arc<Tree>,
        service: &str,
        call: &Call,
        committed: Option<watch::Receiver<bool>>,
        authority: Authority,
    ) -> Result<CalledAt, Error> {
        let lease = self.lease();
        let integration = tree.integrations.get(service).cloned().unwrap_or_default();
        let context = CallContext {
            now: self.now(),
            integration,
            service: service.to_owned(),
            external_owner_id: lease.external_owner(),
            config: tree.config.clone(),
        };
        let writes = WriteLine::new(lease.external_owner(), Arc::clone(&tree.tables));
        let environment = Arc::new(CallEnvironment {
            egress: self.runner.egress.clone(),
            session: self.session(tree, &lease, authority),
            tree: Arc::clone(&tree.tables),
            replication: tree.replication.clone(),
            owner_id: lease.owner_id,
            external_owner_id: lease.external_owner(),
            stale_before: self.stale_before(),
            committed,
            read_at: AtomicI64::new(-1),
            writes: writes.clone(),
        });
        let budget = &self.runner.budget;
        let outside = Arc::clone(&environment);
        let span = tracing::debug_span!(
            "plugin",
            call = call.name(),
            component = tree.component.digest.as_str()
        );
        let called = tree.component.call(&context, call, outside, budget).instrument(span).await;
        self.count(tree, call, &called);
        let Called { result, effects, .. } = called;
        Ok(CalledAt { result, effects: writes.end(effects), read_at: environment.read_at() })
    }

    fn session(&self, tree: &Tree, lease: &Lease, authority: Authority) -> Session {
        let secrets = CallSecrets {
            store: Arc::clone(&self.runner.store),
            keyring: self.runner.keyring.clone(),
            clock: self.runner.clock.clone(),
            manifest: Arc::clone(&tree.tables.manifest),
            config: Arc::clone(&tree.secrets),
            owner_id: lease.owner_id,
            grant_id: authority.grant_id,
            channel_token: authority.channel_token,
            elections: Arc::clone(&self.elections),
            won: Mutex::new(HashMap::new()),
        };
        let budget = self.runner.budget.granted(&tree.tables.manifest.plugin.limits);
        Session::new(SessionOptions {
            manifest: Arc::clone(&tree.tables.manifest),
            config: tree.config.clone(),
            grants: tree.grants.clone(),
            counted: Counted { owner_id: lease.owner_id, root_id: lease.root_id.as_str().into() },
            secrets: Arc::new(secrets),
            // The call itself ends first, and is told why.
            deadline: monotonic() + budget.wall + AFTER_THE_CALL,
            answer_limit_bytes: budget.answer_bytes,
        })
    }
}
