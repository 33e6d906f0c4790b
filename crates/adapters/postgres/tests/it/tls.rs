//! TLS towards a real server, with certificates of our own: what each `sslmode` accepts and what it refuses.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use portal_dev_postgres::testing::OwnServer;
use portal_kernel::StoreError;
use portal_postgres::{PgStore, PgTarget, Probe, migrate};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tempfile::NamedTempFile;

use crate::support::{chain, checkout, impatient, soon};

/// Who signs, and the file that names them.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    file: NamedTempFile,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a certificate");
        let mut file = NamedTempFile::new().expect("a file");
        file.write_all(issuer.pem().as_bytes()).expect("a written file");
        Self { issuer, file }
    }

    /// Certificate and key of a server.
    fn sign(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new([name.to_owned()]).expect("parameters");
        (params.signed_by(&key, &self.issuer).expect("a certificate").pem(), key.serialize_pem())
    }

    fn path(&self) -> String {
        self.file.path().display().to_string()
    }
}

static AUTHORITY: LazyLock<Authority> = LazyLock::new(|| Authority::new("ours"));

/// A server whose certificate is for `localhost`; all tests that run at the same time share it.
fn server() -> Arc<OwnServer> {
    static SHARED: Mutex<Weak<OwnServer>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(server) = shared.upgrade() {
        return server;
    }
    let (certificate, key) = AUTHORITY.sign("localhost");
    let files = [("server.crt", certificate.as_str()), ("server.key", key.as_str())];
    let server = Arc::new(OwnServer::start(&checkout(), &files, &["ssl=on"]).expect("a server with TLS"));
    *shared = Arc::downgrade(&server);
    server
}

fn connecting(server: &OwnServer, parameters: &str) -> PgStore {
    impatient(&format!("{}?{parameters}", server.url("postgres")), Duration::from_secs(5))
}

async fn probe(parameters: &str) -> Result<Probe, StoreError> {
    let server = server();
    soon("a connection", connecting(&server, parameters).probe()).await
}

/// The one line in the log.
async fn refused(parameters: &str) -> String {
    match probe(parameters).await {
        Err(error @ StoreError::Unavailable(_)) => chain(&error),
        other => panic!("{parameters} was not refused: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn disable_is_plain() {
    assert!(!probe("sslmode=disable").await.unwrap().encrypted);
}

#[tokio::test(flavor = "multi_thread")]
async fn prefer_takes_what_the_server_offers() {
    assert!(probe("sslmode=prefer").await.unwrap().encrypted);
    assert!(probe("").await.unwrap().encrypted, "it is the default");
}

#[tokio::test(flavor = "multi_thread")]
async fn require_encrypts_without_asking_who_the_server_is() {
    assert!(probe("sslmode=require").await.unwrap().encrypted);
}

#[tokio::test(flavor = "multi_thread")]
async fn verify_full_takes_the_named_server_of_the_named_authority() {
    let parameters = format!("sslmode=verify-full&sslrootcert={}", AUTHORITY.path());
    assert!(probe(&parameters).await.unwrap().encrypted);
    let server = server();
    let target = PgTarget::parse(&format!("{}?{parameters}", server.url("postgres"))).unwrap();
    assert!(!migrate(&target).await.unwrap().is_empty(), "migrations go the same way");
}

#[tokio::test(flavor = "multi_thread")]
async fn verify_full_refuses_a_server_of_another_name() {
    let server = server();
    let url = server.url("postgres").replace("localhost", "db.example.test");
    let parameters = format!("hostaddr=127.0.0.1&sslmode=verify-full&sslrootcert={}", AUTHORITY.path());
    let store = impatient(&format!("{url}?{parameters}"), Duration::from_secs(5));
    let Err(error) = store.probe().await else { panic!("the name was not checked") };
    let text = chain(&error);
    assert!(
        text.starts_with("the database is unavailable: no connection can be opened: the database cannot be reached: ")
    );
    assert!(text.contains("certificate not valid for name \"db.example.test\""), "{text}");
    // The same certificate will do where the name is not asked for.
    let store = impatient(&format!("{url}?hostaddr=127.0.0.1&sslmode=require"), Duration::from_secs(5));
    assert!(store.probe().await.unwrap().encrypted);
}

#[tokio::test(flavor = "multi_thread")]
async fn verify_full_refuses_an_address_that_the_certificate_does_not_name() {
    let server = server();
    let url = server.url("postgres").replace("localhost", "127.0.0.1");
    let store =
        impatient(&format!("{url}?sslmode=verify-full&sslrootcert={}", AUTHORITY.path()), Duration::from_secs(5));
    let Err(error) = store.probe().await else { panic!("the name was not checked") };
    assert!(chain(&error).contains("certificate not valid for name \"127.0.0.1\""), "{}", chain(&error));
}

#[tokio::test(flavor = "multi_thread")]
async fn verify_full_refuses_a_server_of_another_authority() {
    let other = Authority::new("another");
    let text = refused(&format!("sslmode=verify-full&sslrootcert={}", other.path())).await;
    assert!(text.contains("invalid peer certificate"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn verify_full_without_a_file_asks_the_machine_which_does_not_know_us() {
    let server = server();
    let target = PgTarget::parse(&format!("{}?sslmode=verify-full", server.url("postgres"))).unwrap();
    let error = migrate(&target).await.unwrap_err();
    let text = format!("{error:?}");
    assert!(text.contains("UnknownIssuer") || text.contains("NoSystemRoots"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_without_certificates_is_refused_before_anything_is_sent() {
    let empty = NamedTempFile::new().unwrap();
    let parse = |path: &str| {
        PgTarget::parse(&format!("postgresql://me@localhost/portal?sslmode=verify-full&sslrootcert={path}")).unwrap()
    };
    for (path, expected) in [
        (empty.path().to_str().unwrap(), "the file of sslrootcert holds no certificate"),
        ("/nowhere/ca.pem", "the certificates in sslrootcert cannot be read"),
    ] {
        let error = migrate(&parse(path)).await.unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_tls_gets_nothing_but_the_question() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        let mut question = [0; 8];
        client.read_exact(&mut question).unwrap();
        client.write_all(b"N").unwrap();
        let mut rest = Vec::new();
        client.read_to_end(&mut rest).unwrap();
        (question, rest)
    });
    let url = format!("postgresql://me:s3cret@localhost:{port}/portal?hostaddr=127.0.0.1&sslmode=require");
    let target = PgTarget::parse(&url).unwrap();
    let error = soon("a refusal", migrate(&target)).await.unwrap_err();
    assert!(format!("{error:?}").contains("server does not support TLS"), "{error:?}");
    let (question, rest) = server.join().unwrap();
    assert_eq!(question, [0, 0, 0, 8, 4, 210, 22, 47], "SSLRequest");
    assert_eq!(rest, b"", "neither name nor password");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_server_without_tls_is_refused_by_require_and_taken_by_prefer() {
    let server = OwnServer::start(&checkout(), &[], &["ssl=off"]).unwrap();
    let outcome = soon("a refusal", connecting(&server, "sslmode=require").probe()).await;
    let Err(error @ StoreError::Unavailable(_)) = outcome else { panic!("not refused: {outcome:?}") };
    assert!(chain(&error).contains("server does not support TLS"), "{}", chain(&error));
    assert!(!connecting(&server, "sslmode=prefer").probe().await.unwrap().encrypted);
}
