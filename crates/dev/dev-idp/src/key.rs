//! The key that signs every token, and the instance that is named after it.
//!
//! The key lives in one file, so that restarts do not sign people out and a second program can mint tokens.
//! Everything else (instance id, secret key, secret of the webhooks) follows from it.

use std::fmt;
use std::fs::{DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RsaEncoding};
use aws_lc_rs::{constant_time, digest, hmac};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use tempfile::NamedTempFile;

use crate::error::DevIdpError;
use crate::token::hex;

/// The frontend host of the instance. Outside of Clerk's own suffixes, so that no development-browser token is needed.
pub const FRONTEND_HOST: &str = "clerk.portal.localhost";

/// The `iss` of every token.
pub const ISSUER: &str = "https://clerk.portal.localhost";

const PRIVATE_PEM: &str = "PRIVATE KEY";
const PUBLIC_PEM: &str = "PUBLIC KEY";

/// An RSA key of 2048 bits with everything that is derived from it.
pub struct SigningKey {
    pair: KeyPair,
    private_der: Vec<u8>,
    kid: String,
    public_pem: String,
}

impl SigningKey {
    /// A new key that exists in memory only.
    pub fn generate() -> Result<Self, DevIdpError> {
        KeyPair::generate(KeySize::Rsa2048).map_err(|_| DevIdpError::Crypto("make an RSA key")).and_then(Self::new)
    }

    /// Reads the key file, or makes a key and the file (mode 0600) and the folders above it (mode 0700).
    ///
    /// Of several programs that start at once, one makes the key and all use it. A file that others can
    /// read or change is refused.
    pub fn load_or_create(path: &Path) -> Result<Self, DevIdpError> {
        match File::open(path) {
            Ok(file) => Self::load(file, path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::create(path),
            Err(error) => Err(key_file(path)(error)),
        }
    }

    fn new(pair: KeyPair) -> Result<Self, DevIdpError> {
        let private: Pkcs8V1Der<'_> = pair.as_der().map_err(|_| DevIdpError::Crypto("encode the private key"))?;
        let public: PublicKeyX509Der<'_> =
            pair.public_key().as_der().map_err(|_| DevIdpError::Crypto("encode the public key"))?;
        let fingerprint = hex(&digest::digest(&digest::SHA256, public.as_ref()).as_ref()[..14]);
        let private_der = private.as_ref().to_vec();
        let public_pem = pem(PUBLIC_PEM, public.as_ref());
        Ok(Self { pair, private_der, kid: format!("ins_{fingerprint}"), public_pem })
    }

    fn load(mut file: File, path: &Path) -> Result<Self, DevIdpError> {
        // Asked of the open file: a name could point elsewhere a moment later.
        let mode = file.metadata().map_err(key_file(path))?.permissions().mode();
        if mode & 0o077 != 0 {
            return Err(DevIdpError::KeyFileExposed { path: path.to_owned() });
        }
        let mut text = Vec::new();
        file.read_to_end(&mut text).map_err(key_file(path))?;
        let malformed = || DevIdpError::KeyFileMalformed { path: path.to_owned() };
        let der = std::str::from_utf8(&text).ok().and_then(private_der).ok_or_else(malformed)?;
        Self::new(KeyPair::from_pkcs8(&der).map_err(|_| malformed())?)
    }

    fn create(path: &Path) -> Result<Self, DevIdpError> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(key_file(path))?;
        let key = Self::generate()?;
        // A temporary file has mode 0600 from its first moment; the name appears when it is complete.
        let mut file = NamedTempFile::new_in(folder).map_err(key_file(path))?;
        file.write_all(pem(PRIVATE_PEM, &key.private_der).as_bytes()).map_err(key_file(path))?;
        file.as_file().sync_all().map_err(key_file(path))?;
        match file.persist_noclobber(path) {
            Ok(_) => Ok(key),
            // Another program was faster: its key is the one that counts.
            Err(taken) if taken.error.kind() == io::ErrorKind::AlreadyExists => {
                Self::load(File::open(path).map_err(key_file(path))?, path)
            }
            Err(failed) => Err(key_file(path)(failed.error)),
        }
    }

    /// The instance id `ins_…`, which Clerk also uses as the id of the key.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The public key as an entry of a key set.
    pub fn jwk(&self) -> Value {
        let public = self.pair.public_key();
        json!({
            "kty": "RSA",
            "use": "sig",
            "alg": "RS256",
            "kid": self.kid,
            "n": URL_SAFE_NO_PAD.encode(public.modulus().big_endian_without_leading_zero()),
            "e": URL_SAFE_NO_PAD.encode(public.exponent().big_endian_without_leading_zero()),
        })
    }

    /// The public key as SPKI in PEM, as `CLERK_JWT_KEY` takes it.
    pub fn public_pem(&self) -> &str {
        &self.public_pem
    }

    pub(crate) fn sign(&self, encoding: &'static dyn RsaEncoding, message: &[u8]) -> Vec<u8> {
        let mut signature = vec![0; self.pair.public_modulus_len()];
        self.pair
            .sign(encoding, &SystemRandom::new(), message, &mut signature)
            .expect("an RSA key of at least 2048 bits signs any message");
        signature
    }

    fn secret_key(&self) -> String {
        format!("sk_test_{}", hex(self.derive(b"portal-dev-idp secret key").as_ref()))
    }

    fn webhook_secret(&self) -> String {
        format!("whsec_{}", STANDARD.encode(self.derive(b"portal-dev-idp webhook secret")))
    }

    fn derive(&self, purpose: &[u8]) -> hmac::Tag {
        hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &self.private_der), purpose)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("kid", &self.kid).finish_non_exhaustive()
    }
}

/// The keys by which programs know this provider, as a Clerk dashboard would show them.
pub struct Instance {
    publishable_key: String,
    issuer: &'static str,
    secret_key: String,
    webhook_secret: String,
    id: String,
}

impl Instance {
    /// The instance of a key. The same key gives the same instance.
    pub fn of(key: &SigningKey) -> Self {
        Self {
            publishable_key: publishable_key(FRONTEND_HOST),
            issuer: ISSUER,
            secret_key: key.secret_key(),
            webhook_secret: key.webhook_secret(),
            id: key.kid().to_owned(),
        }
    }

    /// `pk_test_…`, without padding as the dashboard writes it.
    pub fn publishable_key(&self) -> &str {
        &self.publishable_key
    }

    /// The `iss` of every token.
    pub fn issuer(&self) -> &str {
        self.issuer
    }

    /// `sk_test_…`, the credential of the Backend API.
    pub fn secret_key(&self) -> &str {
        &self.secret_key
    }

    /// `whsec_…`, the secret that deliveries of webhooks are signed with.
    pub fn webhook_secret(&self) -> &str {
        &self.webhook_secret
    }

    /// `ins_…`, which every event names.
    pub fn id(&self) -> &str {
        &self.id
    }

    pub(crate) fn accepts(&self, secret: &str) -> bool {
        constant_time::verify_slices_are_equal(self.secret_key.as_bytes(), secret.as_bytes()).is_ok()
    }
}

impl fmt::Debug for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Instance").field("publishable_key", &self.publishable_key).finish_non_exhaustive()
    }
}

fn publishable_key(host: &str) -> String {
    format!("pk_test_{}", STANDARD_NO_PAD.encode(format!("{host}$")))
}

fn key_file(path: &Path) -> impl Fn(io::Error) -> DevIdpError {
    move |source| DevIdpError::KeyFile { path: path.to_owned(), source }
}

fn pem(label: &str, der: &[u8]) -> String {
    let body = STANDARD.encode(der);
    let mut text = format!("-----BEGIN {label}-----\n");
    for (place, character) in body.chars().enumerate() {
        if place > 0 && place % 64 == 0 {
            text.push('\n');
        }
        text.push(character);
    }
    text + &format!("\n-----END {label}-----\n")
}

fn private_der(text: &str) -> Option<Vec<u8>> {
    let body = text.trim().strip_prefix("-----BEGIN PRIVATE KEY-----")?.strip_suffix("-----END PRIVATE KEY-----")?;
    STANDARD.decode(body.split_ascii_whitespace().collect::<String>()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_vectors_of_publishable_keys_hold() {
        assert_eq!(publishable_key("clerk.example.com"), "pk_test_Y2xlcmsuZXhhbXBsZS5jb20k");
        assert_eq!(
            publishable_key("foo-bar-13.clerk.accounts.dev"),
            "pk_test_Zm9vLWJhci0xMy5jbGVyay5hY2NvdW50cy5kZXYk"
        );
    }

    #[test]
    fn nothing_secret_is_shown_for_debugging() {
        let key = SigningKey::generate().unwrap();
        let instance = Instance::of(&key);
        let shown = format!("{key:?} {instance:?}");
        assert!(shown.contains(key.kid()), "{shown}");
        assert!(!shown.contains("sk_test_") && !shown.contains("whsec_"), "{shown}");
    }

    #[test]
    fn only_the_whole_secret_key_is_accepted() {
        let instance = Instance::of(&SigningKey::generate().unwrap());
        let secret = instance.secret_key().to_owned();
        assert!(instance.accepts(&secret));
        for wrong in ["", "sk_test_", &secret[..secret.len() - 1], &format!("{secret}0"), &secret.to_uppercase()] {
            assert!(!instance.accepts(wrong), "{wrong}");
        }
    }
}
