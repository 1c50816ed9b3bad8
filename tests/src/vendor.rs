//! A vendor for guests: a small HTTP server that keeps every request and answers as the test says.

use std::io::{BufRead, BufReader, Read, Result, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

/// A request as it arrived.
#[derive(Clone, Debug, Default)]
pub struct VendorRequest {
    /// Request method.
    pub method: String,
    /// Path and raw query.
    pub target: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// As sent.
    pub body: Vec<u8>,
}

/// What the vendor says.
pub enum VendorAnswer {
    /// An answer; its length is added.
    Reply {
        /// Status code.
        status: u16,
        /// Beside the length.
        headers: Vec<(String, String)>,
        /// Sent as it is.
        body: Vec<u8>,
    },
    /// The connection ends without an answer.
    HangUp,
}

/// A running server. Its thread ends with the process.
pub struct Vendor {
    base_url: String,
    seen: Arc<Mutex<Vec<VendorRequest>>>,
}

impl Vendor {
    /// Listens on loopback.
    pub fn start(answer: impl Fn(&VendorRequest) -> VendorAnswer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback is free");
        let address = listener.local_addr().expect("the listener has an address");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (answer, kept) = (Arc::new(answer), Arc::clone(&seen));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (answer, kept) = (Arc::clone(&answer), Arc::clone(&kept));
                // A client that goes away is the client's business.
                std::thread::spawn(move || serve(&stream, &*answer, &kept));
            }
        });
        Self { base_url: format!("http://{address}"), seen }
    }

    /// `http://127.0.0.1:PORT`.
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// Every request so far.
    pub fn seen(&self) -> Vec<VendorRequest> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl VendorRequest {
    /// Path without the query.
    pub fn path(&self) -> &str {
        self.target.split_once('?').map_or(&self.target, |(path, _)| path)
    }

    /// Raw query.
    pub fn query(&self) -> &str {
        self.target.split_once('?').map_or("", |(_, query)| query)
    }

    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut named = self.headers.iter().filter(|(known, _)| known == name);
        named.next().map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Everything that the client sent, for a vendor that repeats it.
    pub fn whole(&self) -> String {
        let headers = self.headers.iter().map(|(name, value)| format!("{name}: {value}\n"));
        let headers: String = headers.collect();
        format!("{} {}\n{headers}\n{}", self.method, self.target, self.text())
    }
}

impl VendorAnswer {
    /// An answer without further headers.
    pub fn reply(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self::Reply { status, headers: Vec::new(), body: body.into() }
    }
}

fn serve(
    stream: &TcpStream,
    answer: &dyn Fn(&VendorRequest) -> VendorAnswer,
    seen: &Mutex<Vec<VendorRequest>>,
) -> Result<()> {
    let request = read(&mut BufReader::new(stream))?;
    seen.lock().unwrap_or_else(PoisonError::into_inner).push(request.clone());
    let VendorAnswer::Reply { status, headers, body } = answer(&request) else { return Ok(()) };
    let mut out = stream;
    write!(out, "HTTP/1.1 {status} Said\r\nConnection: close\r\n")?;
    for (name, value) in headers {
        write!(out, "{name}: {value}\r\n")?;
    }
    write!(out, "Content-Length: {}\r\n\r\n", body.len())?;
    out.write_all(&body)
}

fn read(input: &mut impl BufRead) -> Result<VendorRequest> {
    let mut line = String::new();
    input.read_line(&mut line)?;
    let mut words = line.split_whitespace().map(str::to_owned);
    let mut request = VendorRequest {
        method: words.next().unwrap_or_default(),
        target: words.next().unwrap_or_default(),
        ..VendorRequest::default()
    };
    loop {
        line.clear();
        input.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        request.headers.push((name.to_lowercase(), value.trim().to_owned()));
    }
    let length = request.header("content-length").and_then(|length| length.parse().ok());
    input.take(length.unwrap_or(0)).read_to_end(&mut request.body)?;
    Ok(request)
}
