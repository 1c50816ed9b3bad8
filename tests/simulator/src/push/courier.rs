//! Carries pushes to their addresses: in order within a channel, with repetitions.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper::{Request, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::model::push::{Notification, Push};
use crate::push::Outcome;
use crate::shared::Shared;
use crate::wall;

const USER_AGENT: &str =
    "APIs-Google; (+https://developers.google.com/webmasters/APIs-Google.html)";
const DELIVERED: [u16; 5] = [200, 201, 202, 204, 102];
const REPEATED: [u16; 4] = [500, 502, 503, 504];
/// How long a push that steps back waits for one to pass.
const PASSED_WITHIN: Duration = Duration::from_millis(200);

/// Carries what comes in until the simulator ends.
pub(crate) async fn run(shared: Arc<Shared>, mut incoming: mpsc::UnboundedReceiver<Vec<Push>>) {
    let mut lanes: HashMap<String, mpsc::UnboundedSender<Push>> = HashMap::new();
    while let Some(pushes) = incoming.recv().await {
        for push in pushes {
            let lane = lanes.entry(push.channel.clone()).or_insert_with(|| {
                let (lane, pushes) = mpsc::unbounded_channel();
                tokio::spawn(follow(Arc::clone(&shared), pushes));
                lane
            });
            enter(lane, push);
        }
    }
}

/// A lane lasts as long as the simulator.
fn enter(lane: &mpsc::UnboundedSender<Push>, push: Push) {
    if push.delay_ms == 0 {
        let _ = lane.send(push);
        return;
    }
    let lane = lane.clone();
    tokio::spawn(async move {
        wall::pause(push.delay_ms).await;
        let _ = lane.send(push);
    });
}

/// Carries the pushes of one channel, one after the other.
async fn follow(shared: Arc<Shared>, mut pushes: mpsc::UnboundedReceiver<Push>) {
    while let Some(push) = pushes.recv().await {
        if push.steps_back
            && let Ok(Some(next)) = timeout(PASSED_WITHIN, pushes.recv()).await
        {
            carry(&shared, next).await;
        }
        carry(&shared, push).await;
    }
}

/// Repetitions don't keep the next push waiting.
async fn carry(shared: &Arc<Shared>, push: Push) {
    if attempt(shared, &push).await == Outcome::UnderWay {
        tokio::spawn(repeat(Arc::clone(shared), push));
    }
}

async fn repeat(shared: Arc<Shared>, push: Push) {
    for nth in 0_u32.. {
        let (retries, retry_ms) = {
            let model = shared.model();
            (model.push_rules.retries, model.push_rules.retry_ms)
        };
        if nth >= retries {
            shared.pushes.note(push.number, |delivery| delivery.outcome = Outcome::Failed);
            return;
        }
        wall::pause(retry_ms.saturating_mul(1_u64.checked_shl(nth).unwrap_or(u64::MAX))).await;
        if attempt(&shared, &push).await != Outcome::UnderWay {
            return;
        }
    }
}

/// Sends a push once. What is still under way afterwards deserves another attempt.
async fn attempt(shared: &Shared, push: &Push) -> Outcome {
    let (notification, via, answer_ms) = {
        let model = shared.model();
        let rules = &model.push_rules;
        (model.notification(push), rules.via.clone(), rules.answer_ms)
    };
    let Some(notification) = notification else {
        shared.pushes.note(push.number, |delivery| delivery.outcome = Outcome::Ended);
        return Outcome::Ended;
    };
    let post = post(&notification, via.as_deref());
    let answer = match timeout(Duration::from_millis(answer_ms), post).await {
        Ok(answer) => answer,
        Err(_) => Err("no answer in time".to_owned()),
    };
    let outcome = match answer {
        Ok(status) if DELIVERED.contains(&status) => Outcome::Delivered,
        Ok(status) if !REPEATED.contains(&status) => Outcome::Refused,
        _ => Outcome::UnderWay,
    };
    shared.pushes.note(push.number, |delivery| {
        delivery.outcome = outcome;
        delivery.answers.push(answer.as_ref().ok().copied());
        delivery.error = answer.err();
    });
    outcome
}

async fn post(notification: &Notification, via: Option<&str>) -> Result<u16, String> {
    let address: Uri = read(&notification.address)?;
    let target = match via {
        Some(via) => read(via)?,
        None => address.clone(),
    };
    if target.scheme_str() != Some("http") {
        return Err("an address with TLS needs the rule `via`".to_owned());
    }
    let host = target.host().unwrap_or_default().trim_matches(['[', ']']);
    let stream = TcpStream::connect((host, target.port_u16().unwrap_or(80))).await;
    let stream = stream.map_err(|error| error.to_string())?;
    // An error would only make it slower.
    let _ = stream.set_nodelay(true);
    let handshake = http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|error| error.to_string())?;
    tokio::spawn(connection);
    let path = address.path_and_query().map_or("/", |path| path.as_str());
    let mut request = Request::post(path)
        .header("host", address.authority().map_or("", |authority| authority.as_str()))
        .header("user-agent", USER_AGENT)
        .header("content-length", "0");
    for (name, value) in &notification.headers {
        request = request.header(*name, value);
    }
    let request = request.body(Empty::<Bytes>::new()).map_err(|error| error.to_string())?;
    let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
    Ok(response.status().as_u16())
}

fn read(url: &str) -> Result<Uri, String> {
    url.parse().map_err(|error| format!("{url}: {error}"))
}
