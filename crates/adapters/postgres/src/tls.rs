//! TLS towards the server, with libpq's meanings.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio_postgres_rustls::MakeRustlsConnect;

/// How far the server is trusted.
#[derive(Clone)]
pub(crate) enum Trust {
    /// No TLS.
    None,
    /// TLS if the server offers it, without checking who it is.
    Opportunistic,
    /// TLS, without checking who the server is.
    Encrypted,
    /// TLS to exactly the named server.
    Verified { root: Option<PathBuf> },
}

/// Why TLS could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file of `sslrootcert`.
    #[error("the certificates in sslrootcert cannot be read")]
    RootCertificate(#[source] rustls::pki_types::pem::Error),
    /// A certificate in it.
    #[error("a certificate in sslrootcert is not valid")]
    Certificate(#[source] rustls::Error),
    /// The file has none.
    #[error("the file of sslrootcert holds no certificate")]
    NoRootCertificate,
    /// The machine has no certificates.
    #[error("this machine has no trusted root certificates; name a file with sslrootcert")]
    NoSystemRoots,
    /// A defect of the TLS library's configuration.
    #[error("TLS cannot be configured")]
    Configuration(#[source] rustls::Error),
}

impl Trust {
    pub(crate) fn connector(&self) -> Result<MakeRustlsConnect, TlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Configuration)?;
        let config = match self {
            Self::Verified { root } => {
                builder.with_root_certificates(self::roots(root.as_deref())?).with_no_client_auth()
            }
            Self::None | Self::Opportunistic | Self::Encrypted => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(AnyServer { provider }))
                .with_no_client_auth(),
        };
        Ok(MakeRustlsConnect::new(config))
    }
}

fn roots(file: Option<&std::path::Path>) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    if let Some(file) = file {
        for certificate in CertificateDer::pem_file_iter(file).map_err(TlsError::RootCertificate)? {
            roots.add(certificate.map_err(TlsError::RootCertificate)?).map_err(TlsError::Certificate)?;
        }
    } else {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    match file {
        _ if !roots.is_empty() => Ok(roots),
        Some(_) => Err(TlsError::NoRootCertificate),
        None => Err(TlsError::NoSystemRoots),
    }
}

/// Accepts any certificate, as `sslmode=require` means: the line is encrypted, the server is not authenticated.
#[derive(Debug)]
struct AnyServer {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
