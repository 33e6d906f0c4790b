//! A server on the loopback interface that answers as it is told, faults included.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;

use crate::minting::{KEY, KID, TestKey};

/// One way to answer.
#[derive(Clone)]
pub(crate) enum Reply {
    Http {
        status: u16,
        headers: Vec<(&'static str, String)>,
        body: Vec<u8>,
    },
    /// These bytes, then the connection closes.
    Raw(Vec<u8>),
    /// These bytes, then silence.
    Hang(Vec<u8>),
    /// A byte of the answer now and then, without end.
    Drip,
    /// The same, but not before the gate opens.
    Gated(Arc<Semaphore>, Box<Reply>),
}

impl Reply {
    pub(crate) fn status(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self::Http { status, headers: Vec::new(), body: body.into() }
    }

    pub(crate) fn json(status: u16, body: &Value) -> Self {
        Self::status(status, body.to_string()).with("content-type", "application/json")
    }

    pub(crate) fn keys(keys: &[(&TestKey, &str)]) -> Self {
        let keys: Vec<_> = keys.iter().map(|(key, kid)| key.jwk(kid)).collect();
        Self::json(200, &json!({ "keys": keys }))
    }

    /// The set with the one key of the instance.
    pub(crate) fn good() -> Self {
        Self::keys(&[(&KEY, KID)])
    }

    /// Whether a test has to wait for a time-out.
    pub(crate) fn is_slow(&self) -> bool {
        matches!(self, Self::Hang(_) | Self::Drip)
    }

    pub(crate) fn body(&self) -> Vec<u8> {
        match self {
            Self::Http { body, .. } => body.clone(),
            _ => Vec::new(),
        }
    }

    #[must_use]
    pub(crate) fn with(mut self, name: &'static str, value: &str) -> Self {
        if let Self::Http { headers, .. } = &mut self {
            headers.push((name, value.to_owned()));
        }
        self
    }
}

/// Stands in for Clerk's Backend API.
pub(crate) struct FakeClerk {
    url: String,
    shared: Arc<Shared>,
    task: AbortHandle,
}

struct Shared {
    replies: Mutex<Vec<(String, Reply)>>,
    requests: Mutex<Vec<String>>,
}

impl FakeClerk {
    /// Answers everything alike.
    pub(crate) async fn start(reply: Reply) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let replies = Mutex::new(vec![(String::new(), reply)]);
        let shared = Arc::new(Shared { replies, requests: Mutex::default() });
        let accepting = Arc::clone(&shared);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&accepting)));
            }
        });
        Self { url, shared, task: task.abort_handle() }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// From now on everything is answered so.
    pub(crate) fn set(&self, reply: Reply) {
        *self.shared.replies.lock().unwrap() = vec![(String::new(), reply)];
    }

    /// Targets that begin so are answered so.
    pub(crate) fn route(&self, prefix: &str, reply: Reply) {
        self.shared.replies.lock().unwrap().insert(0, (prefix.to_owned(), reply));
    }

    /// The requests so far, each with its headers in lower case, an empty line and its body.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.shared.requests.lock().unwrap().clone()
    }

    pub(crate) fn hits(&self) -> usize {
        self.shared.requests.lock().unwrap().len()
    }
}

impl Drop for FakeClerk {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// An address where nobody listens.
pub(crate) fn nobody() -> String {
    // Taken as long as the tests run: a port that is free again soon belongs to the server of another test.
    let socket = Box::leak(Box::new(TcpSocket::new_v4().unwrap()));
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    format!("http://{}", socket.local_addr().unwrap())
}

/// A source that sends good keys over TLS, with a certificate that no authority of this machine signed.
pub(crate) async fn untrusted() -> String {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let config = config.with_no_client_auth().with_single_cert(vec![certificate.into()], key).unwrap();
    let (config, listener) = (Arc::new(config), TcpListener::bind("127.0.0.1:0").await.unwrap());
    let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (stream, config) = (stream.into_std().unwrap(), Arc::clone(&config));
            tokio::task::spawn_blocking(move || serve_over_tls(stream, config));
        }
    });
    url
}

/// A client that does not trust the certificate hangs up, which is no concern of the server.
fn serve_over_tls(mut stream: std::net::TcpStream, config: Arc<ServerConfig>) {
    stream.set_nonblocking(false).unwrap();
    let mut connection = ServerConnection::new(config).unwrap();
    let body = Reply::good().body();
    let head = format!("HTTP/1.1 200 x\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
    let _ = rustls::Stream::new(&mut connection, &mut stream).write_all(&[head.as_bytes(), &body].concat());
}

async fn serve(mut stream: TcpStream, shared: Arc<Shared>) {
    let Some(request) = read(&mut stream).await else { return };
    let target = request.split(' ').nth(1).unwrap_or_default().to_owned();
    shared.requests.lock().unwrap().push(request);
    let mut reply = {
        let replies = shared.replies.lock().unwrap();
        replies.iter().find(|(prefix, _)| target.starts_with(prefix)).map(|(_, reply)| reply.clone()).unwrap()
    };
    while let Reply::Gated(gate, inner) = reply {
        gate.acquire().await.unwrap().forget();
        reply = *inner;
    }
    // A client that went away is part of some tests.
    let _ = answer(&mut stream, reply).await;
}

async fn read(stream: &mut TcpStream) -> Option<String> {
    let (mut text, mut buffer) = (Vec::new(), [0; 4_096]);
    while !text.windows(4).any(|end| end == b"\r\n\r\n") {
        let length = stream.read(&mut buffer).await.ok().filter(|length| *length > 0)?;
        text.extend_from_slice(&buffer[..length]);
    }
    let head = text.windows(4).position(|end| end == b"\r\n\r\n")? + 4;
    let mut body = text.split_off(head);
    let text = String::from_utf8(text).unwrap();
    let (line, headers) = text.split_once("\r\n").unwrap();
    let headers: Vec<_> = headers
        .lines()
        .filter_map(|header| header.split_once(':'))
        .map(|(name, value)| format!("{}:{value}", name.to_lowercase()))
        .collect();
    let length = headers.iter().find_map(|header| header.strip_prefix("content-length: "));
    while body.len() < length.map_or(0, |length| length.parse().unwrap()) {
        let length = stream.read(&mut buffer).await.ok().filter(|length| *length > 0)?;
        body.extend_from_slice(&buffer[..length]);
    }
    Some(format!("{line}\n{}\n\n{}", headers.join("\n"), String::from_utf8(body).unwrap()))
}

async fn answer(stream: &mut TcpStream, reply: Reply) -> std::io::Result<()> {
    match reply {
        Reply::Http { status, headers, body } => {
            let length = body.len();
            let start = format!("HTTP/1.1 {status} x\r\ncontent-length: {length}\r\nconnection: close\r\n");
            let head = headers.iter().fold(start, |head, (name, value)| head + name + ": " + value + "\r\n");
            stream.write_all(&[head.as_bytes(), b"\r\n", &body].concat()).await
        }
        Reply::Raw(bytes) => stream.write_all(&bytes).await,
        Reply::Hang(bytes) => {
            stream.write_all(&bytes).await?;
            std::future::pending().await
        }
        Reply::Drip => {
            stream.write_all(b"HTTP/1.1 200 x\r\ncontent-length: 100000\r\n\r\n").await?;
            let mut pause = tokio::time::interval(std::time::Duration::from_millis(5));
            loop {
                pause.tick().await;
                stream.write_all(b" ").await?;
            }
        }
        Reply::Gated(..) => Ok(()),
    }
}
