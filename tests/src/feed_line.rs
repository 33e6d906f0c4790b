//! The line between a server's change feed and the database, which a test spoils.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What is wrong with the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// Nothing.
    Sound,
    /// Notifications do not arrive.
    WithoutDoorbell,
    /// Nothing arrives, and nobody is told: as behind a firewall that forgot the connection.
    Stalled,
}

/// Forwards connections to a database. It ends with the value.
pub struct FeedLine {
    address: SocketAddr,
    database: String,
    user: String,
    line: watch::Sender<Line>,
    forwarding: JoinHandle<()>,
}

impl Drop for FeedLine {
    fn drop(&mut self) {
        self.forwarding.abort();
    }
}

/// `NotificationResponse`.
const NOTIFICATION: u8 = b'A';

impl FeedLine {
    /// A sound line to the database of this URL, in which the host is the folder of a socket or an address.
    ///
    /// # Panics
    /// If the URL is of another kind, or no port is free.
    pub async fn to(url: &str) -> Self {
        let (path, query) = url.split_once('?').expect("a query");
        let database = path.rsplit('/').next().expect("a database").to_owned();
        let value = |name: &str| {
            let pair = query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
            pair.map(|value| value.replace("%2F", "/"))
        };
        let (host, port) = (value("host").expect("a host"), value("port").unwrap_or_else(|| "5432".to_owned()));
        let target = if host.starts_with('/') { format!("{host}/.s.PGSQL.{port}") } else { format!("{host}:{port}") };
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (line, watched) = watch::channel(Line::Sound);
        let forwarding = tokio::spawn(async move {
            let target: Arc<str> = target.into();
            while let Ok((client, _)) = listener.accept().await {
                let (target, watched) = (target.clone(), watched.clone());
                tokio::spawn(async move {
                    // Either side may go away.
                    let _ = forward(client, &target, watched).await;
                });
            }
        });
        Self { address, database, user: value("user").expect("a user"), line, forwarding }
    }

    /// The database at the other end.
    pub fn url(&self) -> String {
        let Self { address, database, user, .. } = self;
        format!("postgresql://{user}@{address}/{database}?sslmode=disable")
    }

    /// Spoils the line, or mends it.
    pub fn set(&self, line: Line) {
        self.line.send_replace(line);
    }
}

async fn forward(client: TcpStream, target: &str, line: watch::Receiver<Line>) -> io::Result<()> {
    let (from_client, to_client) = client.into_split();
    if target.starts_with('/') {
        let (from_server, to_server) = UnixStream::connect(target).await?.into_split();
        both(from_client, to_server, from_server, to_client, line).await
    } else {
        let (from_server, to_server) = TcpStream::connect(target).await?.into_split();
        both(from_client, to_server, from_server, to_client, line).await
    }
}

async fn both(
    mut from_client: impl AsyncRead + Unpin,
    mut to_server: impl AsyncWrite + Unpin,
    from_server: impl AsyncRead + Unpin,
    to_client: impl AsyncWrite + Unpin,
    line: watch::Receiver<Line>,
) -> io::Result<()> {
    tokio::select! {
        ended = copy(&mut from_client, &mut to_server) => ended.map(drop),
        ended = answers(from_server, to_client, line) => ended,
    }
}

/// Message by message, since some may be left out.
async fn answers(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut line: watch::Receiver<Line>,
) -> io::Result<()> {
    loop {
        let kind = from.read_u8().await?;
        let length = from.read_u32().await?;
        let mut rest = vec![0; usize::try_from(length).unwrap_or(4).saturating_sub(4)];
        from.read_exact(&mut rest).await?;
        let now = *line.wait_for(|line| *line != Line::Stalled).await.map_err(io::Error::other)?;
        if kind == NOTIFICATION && now == Line::WithoutDoorbell {
            continue;
        }
        to.write_u8(kind).await?;
        to.write_u32(length).await?;
        to.write_all(&rest).await?;
        to.flush().await?;
    }
}
