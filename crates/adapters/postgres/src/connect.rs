//! `DATABASE_URL`: where the server is and how its connection is protected.

use std::path::PathBuf;

use tokio_postgres::config::{Host, SslMode};

use crate::tls::Trust;

/// A parsed database URL.
#[derive(Clone)]
pub struct PgTarget {
    pub(crate) config: tokio_postgres::Config,
    pub(crate) trust: Trust,
}

/// The database URL cannot be used. Never repeats the URL, which holds a password.
#[derive(Debug, thiserror::Error)]
pub enum InvalidDatabaseUrl {
    /// Not a PostgreSQL URL.
    #[error("must be a URL such as postgresql://user:password@host:5432/database?sslmode=verify-full")]
    Syntax,
    /// A mode that is not supported.
    #[error("sslmode must be disable, prefer, require or verify-full")]
    SslMode,
    /// A certificate file without a mode that uses it.
    #[error("sslrootcert is used by sslmode=verify-full only")]
    UnusedRootCertificate,
    /// A parameter that is not known, or has a bad value.
    #[error("a connection parameter is unknown or malformed")]
    Parameter(#[source] tokio_postgres::Error),
    /// The server's certificate cannot be checked over a local socket.
    #[error("sslmode={0} needs a host name, not a socket directory")]
    SocketWithTls(&'static str),
}

impl PgTarget {
    /// Reads a URL. `sslmode` is `disable`, `prefer` (the default), `require` (encrypted, the server is not authenticated: libpq's
    /// meaning) or `verify-full` (certificate and host name checked, against `sslrootcert` if given and the system's roots otherwise).
    pub fn parse(text: &str) -> Result<Self, InvalidDatabaseUrl> {
        let mut url = url::Url::parse(text).map_err(|_| InvalidDatabaseUrl::Syntax)?;
        if !matches!(url.scheme(), "postgres" | "postgresql") {
            return Err(InvalidDatabaseUrl::Syntax);
        }
        let (mut mode, mut root, mut others) = (None, None, Vec::new());
        for (name, value) in url.query_pairs() {
            match &*name {
                "sslmode" => mode = Some(value.into_owned()),
                "sslrootcert" => root = Some(PathBuf::from(value.into_owned())),
                _ => others.push((name.into_owned(), value.into_owned())),
            }
        }
        url.set_query(None);
        if !others.is_empty() {
            url.query_pairs_mut().extend_pairs(others);
        }
        // The driver reads percent escapes, and takes a plus sign for what it is.
        let text = url.as_str().replace('+', "%20");
        let mut config: tokio_postgres::Config = text.parse().map_err(InvalidDatabaseUrl::Parameter)?;
        let trust = match (mode.as_deref(), root) {
            (Some("verify-full"), root) => Trust::Verified { root },
            (_, Some(_)) => return Err(InvalidDatabaseUrl::UnusedRootCertificate),
            (Some("disable"), None) => Trust::None,
            (None | Some("prefer"), None) => Trust::Opportunistic,
            (Some("require"), None) => Trust::Encrypted,
            (Some(_), None) => return Err(InvalidDatabaseUrl::SslMode),
        };
        let by_socket = config.get_hosts().iter().any(|host| matches!(host, Host::Unix(_)));
        config.ssl_mode(match &trust {
            Trust::None => SslMode::Disable,
            Trust::Opportunistic => SslMode::Prefer,
            Trust::Encrypted if by_socket => return Err(InvalidDatabaseUrl::SocketWithTls("require")),
            Trust::Verified { .. } if by_socket => return Err(InvalidDatabaseUrl::SocketWithTls("verify-full")),
            Trust::Encrypted | Trust::Verified { .. } => SslMode::Require,
        });
        Ok(Self { config, trust })
    }

    /// What protects the connection, in the words of `sslmode`.
    pub fn ssl_mode(&self) -> &'static str {
        match self.trust {
            Trust::None => "disable",
            Trust::Opportunistic => "prefer",
            Trust::Encrypted => "require",
            Trust::Verified { .. } => "verify-full",
        }
    }

    /// Whether the server is on this machine, where nothing has to be protected.
    pub fn is_local(&self) -> bool {
        self.config.get_hosts().iter().all(|host| match host {
            Host::Unix(_) => true,
            Host::Tcp(name) => matches!(name.as_str(), "localhost" | "127.0.0.1" | "::1"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_those_of_libpq_and_others_are_refused() {
        for (query, expected) in [
            ("", Ok("prefer")),
            ("?sslmode=disable", Ok("disable")),
            ("?sslmode=require", Ok("require")),
            ("?sslmode=verify-full", Ok("verify-full")),
            ("?sslmode=verify-full&sslrootcert=/ca.pem", Ok("verify-full")),
            ("?sslmode=verify-ca", Err("sslmode must be")),
            ("?sslmode=require&sslrootcert=/ca.pem", Err("sslrootcert is used by")),
            ("?nonsense=1", Err("a connection parameter")),
        ] {
            let parsed = PgTarget::parse(&format!("postgresql://me:secret@db.example:5433/portal{query}"));
            match (parsed, expected) {
                (Ok(target), Ok(mode)) => assert_eq!(target.ssl_mode(), mode),
                (Err(error), Err(text)) => {
                    assert!(error.to_string().starts_with(text), "{error}");
                    assert!(!format!("{error:?}").contains("secret"));
                }
                (parsed, _) => panic!("{query}: {:?}", parsed.map(|target| target.ssl_mode())),
            }
        }
    }

    #[test]
    fn a_socket_directory_is_a_host_and_takes_no_certificate() {
        let target = PgTarget::parse("postgresql:///portal?host=%2Ftmp%2Fmy%20dir&user=portal").unwrap();
        assert!(target.is_local());
        assert!(matches!(&target.config.get_hosts()[0], Host::Unix(path) if path.to_str() == Some("/tmp/my dir")));
        let refused = PgTarget::parse("postgresql:///portal?host=%2Ftmp&sslmode=verify-full");
        assert!(matches!(refused, Err(InvalidDatabaseUrl::SocketWithTls("verify-full"))));
    }

    #[test]
    fn what_is_not_a_url_is_refused() {
        for text in ["", "portal", "mysql://localhost/x", "host=localhost user=me"] {
            assert!(matches!(PgTarget::parse(text), Err(InvalidDatabaseUrl::Syntax)), "{text}");
        }
    }
}
