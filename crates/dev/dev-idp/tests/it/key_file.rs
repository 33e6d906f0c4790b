//! The key file: who may read it, and that it survives.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::thread;

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use portal_dev_idp::{DevIdpError, Instance, SigningKey};
use serde_json::{Value, json};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("it exists").permissions().mode() & 0o777
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is ours");
}

#[test]
fn the_key_file_and_its_folders_belong_to_their_owner_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state/keys/idp.pem");
    SigningKey::load_or_create(&path).unwrap();
    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(path.parent().unwrap()), 0o700);
    let left: Vec<_> = fs::read_dir(path.parent().unwrap()).unwrap().collect();
    assert_eq!(left.len(), 1, "no temporary file stays behind");
}

#[test]
fn a_restart_keeps_the_key_and_everything_derived_from_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("idp.pem");
    let first = SigningKey::load_or_create(&path).unwrap();
    let second = SigningKey::load_or_create(&path).unwrap();
    assert_eq!(first.jwk(), second.jwk());
    assert_eq!(first.public_pem(), second.public_pem());
    assert_eq!(Instance::of(&first).secret_key(), Instance::of(&second).secret_key());

    let another = SigningKey::generate().unwrap();
    assert_ne!(first.kid(), another.kid());
    assert_ne!(Instance::of(&first).secret_key(), Instance::of(&another).secret_key());
}

#[test]
fn a_key_that_others_can_read_or_change_is_refused_with_the_command_that_helps() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("idp.pem");
    SigningKey::load_or_create(&path).unwrap();
    for exposed in [0o644, 0o640, 0o604, 0o620, 0o602] {
        chmod(&path, exposed);
        let refusal = SigningKey::load_or_create(&path).unwrap_err();
        assert!(matches!(refusal, DevIdpError::KeyFileExposed { .. }), "{exposed:o}: {refusal}");
        assert!(refusal.to_string().contains(&format!("chmod 600 '{}'", path.display())), "{refusal}");
    }
    chmod(&path, 0o600);
    assert!(SigningKey::load_or_create(&path).is_ok());
}

#[test]
fn programs_that_start_at_once_agree_on_one_key() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("idp.pem");
    let starts: Vec<_> = (0..4)
        .map(|_| {
            let path = path.clone();
            thread::spawn(move || SigningKey::load_or_create(&path).unwrap().kid().to_owned())
        })
        .collect();
    let kids: Vec<String> = starts.into_iter().map(|start| start.join().unwrap()).collect();
    let stored = SigningKey::load_or_create(&path).unwrap();
    assert!(kids.iter().all(|kid| kid == stored.kid()), "{kids:?}");
}

#[test]
fn a_file_with_other_content_is_never_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("idp.pem");
    for content in ["", "something else", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"] {
        fs::write(&path, content).unwrap();
        chmod(&path, 0o600);
        let refusal = SigningKey::load_or_create(&path).unwrap_err();
        assert!(matches!(refusal, DevIdpError::KeyFileMalformed { .. }), "{refusal}");
        assert_eq!(fs::read_to_string(&path).unwrap(), content);
    }
}

#[test]
fn a_link_that_leads_nowhere_is_an_error_and_is_not_followed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("idp.pem");
    let target = folder.path().join("elsewhere");
    symlink(&target, &path).unwrap();
    assert!(matches!(SigningKey::load_or_create(&path), Err(DevIdpError::KeyFile { .. })));
    assert!(!target.exists());
}

#[test]
fn other_programs_can_read_the_file_and_the_public_key() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("idp.pem");
    let key = SigningKey::load_or_create(&path).unwrap();
    let private = EncodingKey::from_rsa_pem(&fs::read(&path).unwrap()).unwrap();
    let public = DecodingKey::from_rsa_pem(key.public_pem().as_bytes()).unwrap();
    let token = jsonwebtoken::encode(&Header::new(Algorithm::RS256), &json!({ "sub": "x" }), &private).unwrap();
    let mut validation = Validation::new(Algorithm::RS256);
    validation.validate_exp = false;
    validation.required_spec_claims.clear();
    assert_eq!(jsonwebtoken::decode::<Value>(&token, &public, &validation).unwrap().claims["sub"], "x");
    assert!(key.public_pem().lines().all(|line| line.len() <= 64));
    assert!(key.kid().starts_with("ins_"));
}
