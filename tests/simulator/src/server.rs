//! Accepts connections, and sends pushes, until told to stop.

use std::net::TcpListener;
use std::sync::Arc;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::sync::{mpsc, oneshot};

use crate::http;
use crate::model::push::Push;
use crate::push::courier;
use crate::shared::Shared;

pub(crate) async fn run(
    listener: TcpListener,
    shared: Arc<Shared>,
    pushes: mpsc::UnboundedReceiver<Vec<Push>>,
    mut stopped: oneshot::Receiver<()>,
) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => {
            eprintln!("simulator: can't listen: {error}");
            return;
        }
    };
    tokio::spawn(courier::run(Arc::clone(&shared), pushes));
    loop {
        let accepted = tokio::select! {
            _ = &mut stopped => return,
            accepted = listener.accept() => accepted,
        };
        // A connection that died before it was accepted is nobody's loss.
        let Ok((stream, _)) = accepted else { continue };
        // Small answers must not wait for the client's acknowledgement.
        let _ = stream.set_nodelay(true);
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let service = service_fn(move |request| http::serve(Arc::clone(&shared), request));
            // Errors are clients that went away, and connections cut on purpose.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}
