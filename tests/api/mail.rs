//! Codes and invitations by mail, towards a small mail server.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::json;
use tests::Settings;

use crate::setup::{Api, MEMBER, OWNER};

/// A letter as it was handed over.
#[derive(Clone, Debug)]
struct Taken {
    to: String,
    text: String,
}

/// A mail server on loopback. Its thread ends with the process.
struct Server {
    url: String,
    taken: Arc<Mutex<Vec<Taken>>>,
    /// Answers to the next recipients, before all others are welcome. Held by a test, nobody is
    /// answered.
    refusals: Arc<Mutex<Vec<&'static str>>>,
}

impl Server {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("smtp://rowgate:p%40ss@{}", listener.local_addr().unwrap());
        let taken: Arc<Mutex<Vec<Taken>>> = Arc::default();
        let refusals: Arc<Mutex<Vec<&'static str>>> = Arc::default();
        let (kept, refused) = (Arc::clone(&taken), Arc::clone(&refusals));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (kept, refused) = (Arc::clone(&kept), Arc::clone(&refused));
                // A client that hangs up is the client's business.
                std::thread::spawn(move || serve(&stream, &kept, &refused));
            }
        });
        Self { url, taken, refusals }
    }

    fn settings(&self) -> Settings {
        let settings = Settings::default().env("ROWGATE_SMTP_URL", &self.url);
        settings
            .env("ROWGATE_SMTP_FROM", "rowgate@sync.example")
            .env("ROWGATE_LOGIN_ALLOWED_EMAILS", OWNER)
    }

    fn taken(&self) -> Vec<Taken> {
        held(&self.taken).clone()
    }
}

fn held<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

fn serve(
    stream: &TcpStream,
    taken: &Mutex<Vec<Taken>>,
    refusals: &Mutex<Vec<&'static str>>,
) -> std::io::Result<()> {
    let (mut lines, mut out) = (BufReader::new(stream).lines(), stream);
    write!(out, "220 mail.example\r\n")?;
    let (mut to, mut is_known) = (String::new(), false);
    while let Some(line) = lines.next() {
        let line = line?;
        let answer = match line.split([' ', ':']).next().unwrap_or_default() {
            "EHLO" => "250-mail.example\r\n250 AUTH PLAIN",
            // `printf '\0rowgate\0p@ss' | base64`
            "AUTH" if line == "AUTH PLAIN AHJvd2dhdGUAcEBzcw==" => {
                is_known = true;
                "235 welcome"
            }
            "MAIL" if is_known && line.ends_with("@sync.example>") => "250 ok",
            "RCPT" => {
                to = line["RCPT TO:<".len()..line.len() - 1].to_owned();
                held(refusals).pop().unwrap_or("250 ok")
            }
            "DATA" => {
                write!(out, "354 go on\r\n")?;
                let mut text = String::new();
                for line in lines.by_ref() {
                    match line?.as_str() {
                        "." => break,
                        line => {
                            text.push_str(&format!("{}\n", line.strip_prefix('.').unwrap_or(line)))
                        }
                    }
                }
                held(taken).push(Taken { to: to.clone(), text });
                "250 taken"
            }
            "QUIT" => return Ok(()),
            _ => "500 what?",
        };
        write!(out, "{answer}\r\n")?;
    }
    Ok(())
}

/// Asks for a code; answers what the client is told.
async fn ask(api: &Api, email: &str) -> String {
    let asked = api.nobody().post("/v1/auth", json!({ "email": email, "token": "" })).await;
    assert_eq!(asked.status, 202, "{}", asked.body);
    asked.body["output"].as_str().unwrap().to_owned()
}

/// The code in a letter: the line that is a number.
fn code(letter: &Taken) -> &str {
    let mut lines = letter.text.lines().map(str::trim);
    let is_code = |line: &&str| line.len() == 6 && line.bytes().all(|byte| byte.is_ascii_digit());
    lines.find(is_code).unwrap()
}

#[tokio::test]
async fn a_code_is_mailed_and_stands_nowhere_else() {
    let server = Server::start();
    let api = Api::start_with(server.settings()).await;
    let told = ask(&api, OWNER).await;
    assert!(told.contains(&format!("mailed to {OWNER}")), "{told}");
    api.host.until("the letter is taken", async || server.taken().len() == 1).await;
    let letter = server.taken().remove(0);
    assert_eq!(letter.to, OWNER);
    for header in [
        "From: <rowgate@sync.example>",
        "To: <owner@example.com>",
        "Subject: Your login code",
        "MIME-Version: 1.0",
    ] {
        assert!(letter.text.lines().any(|line| line == header), "{header}: {}", letter.text);
    }
    let code = code(&letter);
    assert!(!api.host.log().contains(code) && !told.contains(code), "{code}");
    let done = json!({ "email": OWNER, "token": code });
    assert_eq!(api.nobody().post("/v1/auth", done).await.ok()["complete"], true);
    api.host
        .until("it is counted", async || {
            api.host.get("/metrics").await.contains("rowgate_mails_total{outcome=\"sent\"} 1")
        })
        .await;
}

/// Else the first stranger who finds a new host would own it.
#[tokio::test]
async fn the_first_code_is_for_whoever_runs_the_host() {
    let server = Server::start();
    let api = Api::start_with(server.settings()).await;
    let told = ask(&api, "stranger@example.com").await;
    assert!(told.contains("log of the host"), "{told}");
    let logged = async || api.host.log().contains("login code for stranger@example.com");
    api.host.until("the log has the code", logged).await;
    // Whom the configuration names gets a letter.
    ask(&api, OWNER).await;
    api.host.until("the letter is taken", async || server.taken().len() == 1).await;
    assert_eq!(server.taken()[0].to, OWNER);
}

#[tokio::test]
#[expect(clippy::await_holding_lock, reason = "the mail server stands still as long as it is held")]
async fn nobody_waits_for_a_mail_server() {
    let server = Server::start();
    let api = Api::start_with(server.settings()).await;
    let mut slow = held(&server.refusals);
    ask(&api, OWNER).await;
    assert!(server.taken().is_empty(), "answered before it had the letter");
    // It is busy, then takes it.
    slow.push("451 in a minute");
    drop(slow);
    api.host.until("the letter is taken", async || server.taken().len() == 1).await;
    assert!(api.host.log().contains("answered 451: in a minute"), "{}", api.host.log());
}

#[tokio::test]
async fn a_letter_that_nobody_takes_is_told_to_the_operator() {
    let server = Server::start();
    let api = Api::start_with(server.settings()).await;
    held(&server.refusals).push("550 no such box");
    ask(&api, OWNER).await;
    let failed = "rowgate_mails_total{outcome=\"failed\"} 1";
    let counted = async || api.host.get("/metrics").await.contains(failed);
    api.host.until("it is counted", counted).await;
    // What a host prints is read beside the test.
    api.host.until("it is told", async || api.host.log().contains("550: no such box")).await;
    assert!(server.taken().is_empty());
}

#[tokio::test]
async fn invitations_are_mailed() {
    let server = Server::start();
    let api = Api::start_with(server.settings()).await;
    ask(&api, OWNER).await;
    api.host.until("the letter is taken", async || server.taken().len() == 1).await;
    let body = json!({ "email": OWNER, "token": code(&server.taken()[0]) });
    let reply = api.nobody().post("/v1/auth", body).await;
    let token = reply.header("whdb-auth-token").map(str::to_owned);
    let owner = crate::setup::Person { api: &api, token };
    let invited = owner.post("/v1/organizations/default/invite", json!({ "email": MEMBER })).await;
    let code = invited.ok()["invitation_code"].as_str().unwrap().to_owned();
    api.host.until("the invitation is taken", async || server.taken().len() == 2).await;
    let letter = server.taken().remove(1);
    assert_eq!(letter.to, MEMBER);
    assert!(letter.text.contains(&code) && letter.text.contains("default"), "{}", letter.text);
    // A command sends its letters before it ends.
    let file = api.host.data_dir().join("rowgate.toml");
    let settings = format!("[smtp]\nurl = \"{}\"\nfrom = \"a@sync.example\"\n", server.url);
    std::fs::write(file, settings).unwrap();
    let other = ["orgs", "invite", "--username", "x@example.com"];
    assert!(api.host.command(&other).await.status.success());
    assert!(server.taken().iter().any(|letter| letter.to == "x@example.com"));
}
