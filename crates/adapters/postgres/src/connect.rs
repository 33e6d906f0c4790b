//! `DATABASE_URL`: where the server is and how its connection is protected.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

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
        // A plus sign is one, as in libpq; only forms take it for a space.
        let query = url.query().unwrap_or_default().replace('+', "%2B");
        let (mut mode, mut root) = (None, None);
        let mut others = url::form_urlencoded::Serializer::new(String::new());
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "sslmode" => mode = Some(value.into_owned()),
                "sslrootcert" => root = Some(PathBuf::from(value.into_owned())),
                _ => drop(others.append_pair(&name, &value)),
            }
        }
        url.set_query(
            Some(&others.finish().replace('+', "%20")).filter(|others| !others.is_empty()).map(String::as_str),
        );
        let mut config: tokio_postgres::Config = url.as_str().parse().map_err(InvalidDatabaseUrl::Parameter)?;
        notice_dead_servers(&mut config, &query);
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
        // Where addresses are given, the host is a mere name.
        let addresses = self.config.get_hostaddrs();
        if !addresses.is_empty() {
            return addresses.iter().all(IpAddr::is_loopback);
        }
        self.config.get_hosts().iter().all(|host| match host {
            Host::Unix(_) => true,
            Host::Tcp(name) => matches!(name.as_str(), "localhost" | "127.0.0.1" | "::1"),
        })
    }
}

/// A machine that vanished says nothing, and by default a connection waits a quarter of an hour for it to go on.
fn notice_dead_servers(config: &mut tokio_postgres::Config, query: &str) {
    let given = |name: &str| query.split('&').any(|parameter| parameter.split('=').next() == Some(name));
    if !given("connect_timeout") {
        config.connect_timeout(Duration::from_secs(3));
    }
    if !given("tcp_user_timeout") {
        config.tcp_user_timeout(Duration::from_secs(15));
    }
    if !given("keepalives_idle") {
        config
            .keepalives_idle(Duration::from_secs(15))
            .keepalives_interval(Duration::from_secs(5))
            .keepalives_retries(3);
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
    fn a_plus_sign_is_one_everywhere() {
        let target = PgTarget::parse("postgresql://a+b:c+d%2Be%20f@db.example/g+h?application_name=i+j%20k").unwrap();
        assert_eq!(target.config.get_user(), Some("a+b"));
        assert_eq!(target.config.get_password(), Some(&b"c+d+e f"[..]));
        assert_eq!(target.config.get_dbname(), Some("g+h"));
        assert_eq!(target.config.get_application_name(), Some("i+j k"));
        let target = PgTarget::parse("postgresql://db.example/x?sslmode=verify-full&sslrootcert=/my+ca.pem").unwrap();
        assert!(matches!(target.trust, Trust::Verified { root: Some(path) } if path.to_str() == Some("/my+ca.pem")));
    }

    #[test]
    fn only_what_stays_on_the_machine_is_local() {
        for (rest, local) in [
            ("localhost/x", true),
            ("127.0.0.1/x", true),
            ("db.example/x", false),
            ("/x?host=%2Ftmp", true),
            ("localhost/x?hostaddr=192.0.2.1", false),
            ("db.example/x?hostaddr=127.0.0.1", true),
        ] {
            let target = PgTarget::parse(&format!("postgresql://{rest}")).unwrap();
            assert_eq!(target.is_local(), local, "{rest}");
        }
    }

    #[test]
    fn a_server_that_vanished_is_noticed_within_seconds_unless_the_url_says_otherwise() {
        let target = PgTarget::parse("postgresql://db.example/x").unwrap();
        assert_eq!(target.config.get_connect_timeout(), Some(&Duration::from_secs(3)));
        assert_eq!(target.config.get_tcp_user_timeout(), Some(&Duration::from_secs(15)));
        assert_eq!(target.config.get_keepalives_idle(), Duration::from_secs(15));
        let url = "postgresql://db.example/x?connect_timeout=30&tcp_user_timeout=50&keepalives_idle=90";
        let target = PgTarget::parse(url).unwrap();
        assert_eq!(target.config.get_connect_timeout(), Some(&Duration::from_secs(30)));
        assert_eq!(target.config.get_tcp_user_timeout(), Some(&Duration::from_secs(50)));
        assert_eq!(target.config.get_keepalives_idle(), Duration::from_secs(90));
    }

    #[test]
    fn what_is_not_a_url_is_refused() {
        for text in ["", "portal", "mysql://localhost/x", "host=localhost user=me"] {
            assert!(matches!(PgTarget::parse(text), Err(InvalidDatabaseUrl::Syntax)), "{text}");
        }
    }
}
