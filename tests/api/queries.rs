//! Queries that ask for more than a host can give: they end, and the host doesn't notice.

use serde_json::json;
use tests::{Settings, is_on_postgres};

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
                "MiB of memory",
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

/// SIGKILL leaves a host no time to end what it began.
#[tokio::test]
async fn a_query_ends_with_its_host() {
    let query = match is_on_postgres() {
        true => "select pg_sleep(600)",
        false => {
            "with recursive c(x) as (select 1 union all select x + 1 from c) select count(*) from c"
        }
    };
    // It doesn't end by itself.
    let settings = Settings::default().env("ROWGATE_LIMITS_API_SQL_TIMEOUT_MS", "600000");
    let mut api = Api::start_with(settings).await;
    let token = api.owner().await.token.unwrap();
    let asked = reqwest::Client::builder().no_proxy().build().unwrap();
    let asked = asked.post(format!("{}/v1/db/default/sql", api.host.base_url()));
    let asked = asked.header("content-type", "application/json").header("Whdb-Auth-Token", token);
    let answered = tokio::spawn(asked.body(json!({ "query": query }).to_string()).send());
    let (host, mut process) = (api.host.pid(), None);
    let runs = async || {
        process = begun_by(host);
        process.is_some_and(has_its_limits)
    };
    api.host.until("the query runs", runs).await;
    api.host.kill().await;
    assert!(answered.await.unwrap().is_err());
    let process = process.unwrap();
    api.host.until("its process ends", async || parent(process).is_none()).await;
}

fn begun_by(host: u32) -> Option<u32> {
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    let mut all = all.filter_map(|process| process.file_name().to_str()?.parse().ok());
    all.find(|process| parent(*process) == Some(host))
}

/// None: the process has ended. (`proc_pid_stat(5)`)
fn parent(process: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let (_name, rest) = stat.rsplit_once(')')?;
    let mut rest = rest.split_whitespace();
    let state = rest.next()?;
    let parent = rest.next()?.parse().ok();
    parent.filter(|_| state != "Z")
}

/// The last thing before it answers.
fn has_its_limits(process: u32) -> bool {
    let score = std::fs::read_to_string(format!("/proc/{process}/oom_score_adj"));
    score.is_ok_and(|score| score.trim() == "1000")
}
