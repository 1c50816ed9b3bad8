//! Large, slow and unlucky requests.

use super::*;

#[tokio::test]
async fn a_large_body_is_refused_after_authentication_without_being_read() {
    let host = Host::start().await;
    let head = |secret: &str, rest: &str| {
        format!(
            "POST /v1/service_integrations/{} HTTP/1.1\r\nHost: t\r\n\
             Whdb-Webhook-Secret: {secret}\r\n{rest}\r\n\r\n",
            host.list
        )
    };
    let length = format!("Content-Length: {}", (1 << 20) + 1);
    let mut stream = TcpStream::connect(host.address).await.unwrap();
    stream.write_all(head(SECRET, &length).as_bytes()).await.unwrap();
    let reply = receive(&mut stream).await;
    assert_eq!(reply.status, 413);
    assert_eq!(reply.json()["error"]["code"], "payload_too_large");

    let mut stream = TcpStream::connect(host.address).await.unwrap();
    stream.write_all(head("wrong", &length).as_bytes()).await.unwrap();
    assert_eq!(receive(&mut stream).await.status, 401);

    let mut stream = TcpStream::connect(host.address).await.unwrap();
    let chunked = head(SECRET, "Transfer-Encoding: chunked");
    stream.write_all(chunked.as_bytes()).await.unwrap();
    let chunk = [b"10000\r\n".to_vec(), vec![b' '; 0x1_0000], b"\r\n".to_vec()].concat();
    for _ in 0..32 {
        stream.write_all(&chunk).await.unwrap();
    }
    stream.write_all(b"0\r\n\r\n").await.unwrap();
    assert_eq!(receive(&mut stream).await.status, 413);

    let filler = " ".repeat((1 << 20) - RESYNC.len());
    assert_eq!(host.post(&host.list, &format!("{RESYNC}{filler}")).await.status, 202);
    assert_eq!(host.post(&host.list, &format!("{RESYNC}{filler} ")).await.status, 413);
    assert_eq!(host.items().await.len(), 1);
}

#[tokio::test]
async fn slow_senders_are_cut_off() {
    let host = Host::start().await;
    let mut slow_head = TcpStream::connect(host.address).await.unwrap();
    slow_head.write_all(b"POST /v1/service").await.unwrap();
    let mut answer = Vec::new();
    slow_head.read_to_end(&mut answer).await.unwrap();
    assert!(!answer.starts_with(b"HTTP/1.1 2"));

    let mut slow_body = TcpStream::connect(host.address).await.unwrap();
    let head = format!(
        "POST /v1/service_integrations/{} HTTP/1.1\r\nHost: t\r\n\
         Whdb-Webhook-Secret: {SECRET}\r\nContent-Length: 10\r\n\r\n{{",
        host.list
    );
    slow_body.write_all(head.as_bytes()).await.unwrap();
    assert_eq!(receive(&mut slow_body).await.status, 408);
}

#[tokio::test]
async fn a_locked_database_is_503_in_time_and_never_202() {
    let host = Host::start().await;
    let lock = host.store.locked_by_another().await;
    let asked_at = host.store.clock().now();
    let reply = host.post(&host.list, RESYNC).await;
    assert!(host.store.clock().now() - asked_at < 2_000_000);
    assert_eq!((reply.status, reply.headers["retry-after"].as_str()), (503, "2"));
    assert_eq!(reply.json()["error"]["code"], "unavailable");
    drop(lock);
    assert_eq!(host.post(&host.list, RESYNC).await.status, 202);
}

#[tokio::test]
async fn a_full_disk_is_503_and_passes() {
    let host = Host::start().await;
    host.store.set_disk_full(true).await;
    // The first ones may still fit into pages that are there.
    let large = format!("{RESYNC}{}", " ".repeat(100_000));
    let reply = host.post(&host.list, &large).await;
    assert_eq!((reply.status, reply.headers["retry-after"].as_str()), (503, "2"));
    assert!(host.items().await.is_empty());
    host.store.set_disk_full(false).await;
    assert_eq!(host.post(&host.list, &large).await.status, 202);
    assert_eq!(host.items().await.len(), 1);
}

/// Finding the integration, its secret and a place for the post share one allowance: three slow
/// answers of the store must not take three times as long.
#[tokio::test]
async fn what_the_store_takes_for_one_request_adds_up() {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = DataDir::new(dir.path());
    data_dir.create().unwrap();
    let (clock, chance) = (Clock::simulated(0), Chance::seeded(7));
    let keyring = Keyring::new([7; 32], chance.clone());
    let store = Store::open(data_dir, clock.clone(), keyring, chance).await.unwrap();
    let webhooks = Webhooks {
        store: Arc::new(store),
        wake: Arc::new(|_| {}),
        metrics: Arc::default(),
        limits: Limits {
            body_max_bytes: 1,
            body_timeout: Duration::from_secs(1),
            accept_timeout: Duration::from_millis(1_500),
        },
    };
    let mut left = webhooks.limits.accept_timeout;
    let slow = async {
        clock.advance(Duration::from_millis(1_000));
        Ok(7)
    };
    assert_eq!(webhooks.in_time(&mut left, slow).await, Ok(7));
    assert_eq!(left, Duration::from_millis(500));
    let never = std::future::pending::<Result<i32, crate::store::Error>>();
    let passes = async { clock.advance(Duration::from_millis(500)) };
    let late = Answer::Unavailable("no answer in time".into());
    let (answered, ()) = tokio::join!(webhooks.in_time(&mut left, never), passes);
    assert_eq!(answered, Err(late));
    assert_eq!(left, Duration::ZERO);
}
