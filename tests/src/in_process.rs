//! The host inside the test, under a clock that the test moves.

use std::ffi::OsString;
use std::path::Path;

use crate::storage::Storage;

use rowgate::app;
use rowgate::clock::Clock;
use rowgate::config::{Config, Flags};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// A running host. Dropping it leaves it to the end of the test's runtime.
pub(crate) struct InProcess {
    pub(crate) base_url: String,
    shutdown: oneshot::Sender<()>,
    task: JoinHandle<anyhow::Result<()>>,
}

impl InProcess {
    /// Starts it and waits until it listens. Errors: it ended first.
    pub(crate) async fn start(
        storage: &Storage,
        plugins: &Path,
        environment: &[(OsString, OsString)],
        clock: Clock,
    ) -> Result<Self, String> {
        let flags = Flags {
            data_dir: Some(storage.path().to_owned()),
            database_url: storage.database_url(),
            plugins: Some(plugins.to_owned()),
            listen: Some("127.0.0.1:0".to_owned()),
            ..Flags::default()
        };
        let text = |text: &OsString| text.to_string_lossy().into_owned();
        let variables = environment.iter().map(|(name, value)| (text(name), text(value)));
        let config = Config::resolve(&flags, variables).map_err(|error| format!("{error:#}"))?;
        let (tell, address) = oneshot::channel();
        let (shutdown, shut) = oneshot::channel();
        let task = tokio::spawn(async move {
            let listening = |announced: &rowgate::config::Announced| {
                // Whoever started it waits for this.
                let _ = tell.send(announced.listen);
            };
            let shut = async { drop(shut.await) };
            app::serve_at(config, clock, rowgate::api::router, listening, shut).await
        });
        match address.await {
            Ok(address) => Ok(Self { base_url: format!("http://{address}"), shutdown, task }),
            Err(_) => Err(match task.await {
                Ok(Err(error)) => format!("the host ended before it listened: {error:#}"),
                other => format!("the host ended before it listened: {other:?}"),
            }),
        }
    }

    /// Asks it to end, and waits; it must end well.
    pub(crate) async fn stop(self) {
        // An error means that it has ended, which the task tells of.
        let _ = self.shutdown.send(());
        let ended = self.task.await.expect("the host doesn't panic");
        ended.expect("the host ends well");
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.task.is_finished()
    }
}
