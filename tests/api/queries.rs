//! Queries that ask for more than a host can give: they end, and the host doesn't notice.

use serde_json::json;
use tests::is_on_postgres;

use crate::setup::Api;

/// A host of its size takes a few tens of MiB.
const PEAK_KIB_MAX: u64 = 400 << 10;

#[tokio::test]
async fn what_a_query_takes_is_not_the_hosts() {
    let api = Api::start().await;
    let owner = api.owner().await;
    let tried = match is_on_postgres() {
        true => vec![("select repeat('x', 500000000)".to_owned(), "MiB of memory")],
        false => vec![
            ("select zeroblob(900000000)".to_owned(), "MiB of memory"),
            ("select length(hex(randomblob(400000000)))".to_owned(), "MiB of memory"),
            (format!("select {}1", "zeroblob(90000000), ".repeat(20)), "MiB of memory"),
            (
                "with recursive c(x) as (select 1 union all select x + 1 from c limit 300000)
                 select count(*) from (select randomblob(2000) as x from c order by 1)"
                    .to_owned(),
                "MiB for temporary files",
            ),
        ],
    };
    for (query, reason) in tried {
        let asked = json!({ "query": query });
        let reply = owner.post("/v1/db/default/sql", asked).await;
        assert_eq!(reply.refused(), (403, "invalid_query"), "{query:.80}");
        let message = reply.body["error"]["message"].as_str().unwrap();
        assert!(message.contains(reason), "{query:.80}: {message}");
    }
    let status = std::fs::read_to_string(format!("/proc/{}/status", api.host.pid())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak: u64 = peak.trim().strip_suffix(" kB").unwrap().parse().unwrap();
    assert!(peak < PEAK_KIB_MAX, "the host took {peak} KiB");
    let answer = owner.post("/v1/db/default/sql", json!({ "query": "select 1 as n" })).await;
    assert_eq!(answer.ok()["rows"], json!([[1]]));
}
