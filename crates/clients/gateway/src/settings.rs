//! What a gateway is told by whoever runs it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use portal_api_keys::{Brand, InvalidPepper, PepperVersion, Peppers};
use portal_kernel::{SecretSlice, SecretString};

/// Where the portal is, and what a gateway needs to judge keys.
pub struct GatewaySettings {
    /// `https://…`, without a path.
    pub portal: String,
    /// A service token with the scopes `keys:feed` and, for what [`crate::Verdict::Ask`] is about, `keys:verify`.
    pub token: SecretString,
    /// Those of the portal: without the one that a key was made with, the portal is asked about the key.
    pub peppers: Peppers,
    /// First part of a key's text, as the portal has it.
    pub brand: Brand,
}

impl GatewaySettings {
    /// With the brand that a portal has unless it is told another.
    pub fn new(portal: &str, token: SecretString, peppers: Peppers) -> Self {
        Self { portal: portal.trim_end_matches('/').to_owned(), token, peppers, brand: Brand::default() }
    }
}

/// Why the peppers cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InvalidPeppers {
    /// Not base64.
    #[error("pepper {0} is not base64")]
    Base64(i16),
    /// Not peppers.
    #[error(transparent)]
    Pepper(#[from] InvalidPepper),
}

/// Peppers by version, each in base64, as in the settings of the portal.
pub fn peppers<'a>(texts: impl IntoIterator<Item = (i16, &'a str)>) -> Result<Peppers, InvalidPeppers> {
    let read = |(version, text): (i16, &str)| {
        let bytes = STANDARD.decode(text).map_err(|_| InvalidPeppers::Base64(version))?;
        Ok((PepperVersion::parse(version)?, SecretSlice::from(bytes)))
    };
    let read: Result<Vec<_>, InvalidPeppers> = texts.into_iter().map(read).collect();
    Ok(Peppers::new(read?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peppers_are_read_as_the_portal_reads_them() {
        let text = STANDARD.encode([7; 32]);
        let one = peppers([(1, text.as_str())]).unwrap();
        let expected = Peppers::new([(PepperVersion::parse(1).unwrap(), vec![7; 32].into())]).unwrap();
        assert_eq!(one.digest(&"text".into()), expected.digest(&"text".into()));
        assert!(matches!(peppers([(1, "???")]), Err(InvalidPeppers::Base64(1))));
        assert!(matches!(peppers([(0, text.as_str())]), Err(InvalidPeppers::Pepper(InvalidPepper::Version))));
        assert!(matches!(peppers([]), Err(InvalidPeppers::Pepper(InvalidPepper::Missing))));
    }
}
