//! Many posts at once, and what they leave behind.

use std::io::Write;
use std::sync::Mutex;

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_posts_are_stored_once_each_and_in_order_per_connection() {
    let host = Arc::new(Host::start().await);
    let mut connections = tokio::task::JoinSet::new();
    for connection in 0..50 {
        let host = host.clone();
        connections.spawn(async move {
            let mut stream = TcpStream::connect(host.address).await.unwrap();
            let path = format!("/v1/service_integrations/{}", host.list);
            for number in 0..20 {
                let body = format!(
                    r#"{{"type":"LINK","external_owner_id":"{connection}","refresh_token":"t",
                        "number":{number}}}"#
                );
                let secret = [("Whdb-Webhook-Secret", SECRET)];
                let reply = send(&mut stream, "POST", &path, &secret, &body).await;
                assert_eq!(reply.status, 202);
            }
        });
    }
    while let Some(done) = connections.join_next().await {
        done.unwrap();
    }
    let mut numbers: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for item in host.items().await {
        let body: serde_json::Value = serde_json::from_slice(&item.body).unwrap();
        let number = body["number"].as_i64().unwrap();
        numbers.entry(item.external_owner_id).or_default().push(number);
    }
    assert_eq!(numbers.len(), 50);
    assert!(numbers.values().all(|numbers| *numbers == (0..20).collect::<Vec<i64>>()));
    assert_eq!(host.woken.load(Ordering::Relaxed), 1_000);
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Runs on one thread, so that every task writes to the captured log.
#[tokio::test]
async fn secrets_reach_neither_logs_nor_files_nor_answers() {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    let _capture = tracing::subscriber::set_default(subscriber);
    let host = Host::start().await;
    const TOKEN: &str = "planted0refresh0token";
    let mut answers = String::new();
    for body in [
        format!(r#"{{"type":"LINK","external_owner_id":"o","refresh_token":"{TOKEN}"}}"#),
        format!(r#"{{"type":"UNLINK","external_owner_id":"o","refresh_token":"{TOKEN}"}}"#),
        format!(r#"{{"type":"{TOKEN}","external_owner_id":"o"}}"#),
        format!(r#"{{"type":"LINK","external_owner_id":["{TOKEN}"],"refresh_token":"{TOKEN}"}}"#),
        format!(r#"{{"type":"LINK","external_owner_id":"o","refresh_token":{{"a":"{TOKEN}"}}}}"#),
        format!(r#"{{"type":"LINK","refresh_token":"{TOKEN}"#),
        format!(r#""{TOKEN}""#),
    ] {
        answers += &host.post(&host.list, &body).await.body;
        answers += &host.post(&host.event, &body).await.body;
    }
    host.store.set_disk_full(true).await;
    let filler = " ".repeat(100_000);
    let body = format!(r#"{{"type":"LINK","external_owner_id":"p","refresh_token":"{TOKEN}"}}"#);
    let reply = host.post(&host.list, &format!("{body}{filler}")).await;
    answers += &reply.body;

    let log = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("webhook refused") && log.contains(&host.list), "the log is captured");
    let mut files = Vec::new();
    collect(host.dir.path(), &mut files);
    assert!(files.len() >= 2);
    for secret in [TOKEN, SECRET] {
        assert!(!log.contains(secret), "the log holds {secret}");
        assert!(!answers.contains(secret), "an answer holds {secret}");
        for (path, bytes) in &files {
            let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found, "{path} holds {secret}");
        }
    }
}

fn collect(directory: &std::path::Path, files: &mut Vec<(String, Vec<u8>)>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => collect(&path, files),
            false => files.push((path.display().to_string(), std::fs::read(&path).unwrap())),
        }
    }
}
