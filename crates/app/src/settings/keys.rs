//! `[keys]`

use base64::Engine;
use portal_api_keys::{Brand, PepperVersion, Peppers};
use portal_kernel::{ExposeSecret, SecretSlice, SecretString};

use super::reader::Reader;

const PEPPER: &str = "must be the version of one of keys.peppers";

/// `[keys]`
pub struct KeySettings {
    /// First part of every key.
    pub brand: Brand,
    /// Secrets of the digests.
    pub peppers: Peppers,
    /// How many keys are remembered.
    pub cache_entries: usize,
    /// How many live keys an account has at most.
    pub most_per_account: usize,
}

impl KeySettings {
    pub(super) fn read(reader: &mut Reader) -> Option<Self> {
        let brand = reader.text("keys.brand").map_or_else(|| Ok(Brand::default()), |text| Brand::parse(&text));
        if let Err(error) = &brand {
            reader.mistake("keys.brand", &error.to_string());
        }
        let most_per_account = reader.number("keys.most_per_account", 100, 1..=10_000);
        let mut peppers = Vec::new();
        let mut complete = true;
        for (version, text) in reader.table("keys.peppers") {
            let key = format!("keys.peppers.{version}");
            let version = version.parse().ok().and_then(|version| PepperVersion::parse(version).ok());
            match (version, decode_pepper(&text)) {
                (Some(version), Some(_)) if peppers.iter().any(|(known, _)| *known == version) => {
                    reader.mistake(&key, "this version is given twice");
                }
                (Some(version), Some(pepper)) => peppers.push((version, pepper)),
                (None, _) => {
                    complete = false;
                    reader.mistake(&key, "versions are numbers from 1 to 32767");
                }
                (_, None) => {
                    complete = false;
                    reader.mistake(
                        &key,
                        "must be base64 of at least 32 random bytes; make one with: openssl rand -base64 32",
                    );
                }
            }
        }
        if peppers.is_empty() && complete {
            reader.mistake("keys.peppers.1", "is missing; make one with: openssl rand -base64 32");
        }
        let making = reader.optional("keys.pepper", PEPPER).map(PepperVersion::parse);
        let peppers = Peppers::new(peppers).ok();
        let peppers = match (making, peppers) {
            (Some(making), Some(peppers)) => {
                let making = making.and_then(|version| peppers.making(version));
                making.map_err(|_| reader.mistake("keys.pepper", PEPPER)).ok()
            }
            (_, peppers) => peppers,
        };
        let cache_entries = reader.number("keys.cache_entries", 100_000, 1..=10_000_000);
        let (brand, peppers) = (brand.ok()?, peppers?);
        let cache_entries = usize::try_from(cache_entries?).ok()?;
        let most_per_account = usize::try_from(most_per_account?).ok()?;
        Some(Self { brand, peppers, cache_entries, most_per_account })
    }
}

fn decode_pepper(text: &SecretString) -> Option<SecretSlice<u8>> {
    let bytes = base64::engine::general_purpose::STANDARD.decode(text.expose_secret().trim()).ok()?;
    (bytes.len() >= 32).then(|| bytes.into())
}
