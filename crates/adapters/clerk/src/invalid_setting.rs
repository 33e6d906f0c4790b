//! What can be wrong with a setting.

use crate::{InstanceType, InvalidMachineSecretKey, InvalidPublishableKey, InvalidRsaKey, InvalidSecretKey};

/// A setting that cannot be used; [`InvalidClerkSetting::setting`] names it. Never repeats a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidClerkSetting {
    /// Missing or malformed.
    #[error(transparent)]
    PublishableKey(#[from] InvalidPublishableKey),
    /// Malformed.
    #[error(transparent)]
    SecretKey(#[from] InvalidSecretKey),
    /// Keys of two instances: the mismatch would show later as endless redirects.
    #[error("belongs to a {secret_key} instance, but the publishable key to a {publishable_key} instance")]
    InstanceMismatch {
        /// What the publishable key says.
        publishable_key: InstanceType,
        /// What the secret key says.
        secret_key: InstanceType,
    },
    /// Neither of the two that verify tokens.
    #[error("is missing, and so is clerk.jwt_key: one of them is needed to verify tokens")]
    NoKey,
    /// Malformed.
    #[error(transparent)]
    MachineSecretKey(#[from] InvalidMachineSecretKey),
    /// Malformed.
    #[error("is not the id of a machine; copy it from Clerk's dashboard: mch_…")]
    MachineId,
    /// Unreadable or too short.
    #[error(transparent)]
    JwtKey(#[from] InvalidRsaKey),
    /// Not a base URL, or one that would send the secret key in the clear.
    #[error(
        "must be an https URL without user, query and fragment; http only for a development instance or a loopback address"
    )]
    ApiUrl,
    /// Not a date.
    #[error("must be a date such as 2026-05-12")]
    ApiVersion,
    /// Not an origin.
    #[error("must be an https origin such as https://clerk.example.com; http only for a development instance")]
    Issuer,
    /// Not an origin.
    #[error("{0:?} is not an origin; write scheme://host or scheme://host:port, without a path or a slash at the end")]
    AuthorizedParty(String),
    /// Not an origin.
    #[error("{0:?} is not an origin; write scheme://host or scheme://host:port, without a path or a slash at the end")]
    SatelliteOrigin(String),
    /// Not in the notation of `path-to-regexp`.
    #[error("{0:?} is not a path pattern such as /orgs/:slug or /orgs/:slug/(.*)")]
    OrganizationPattern(String),
    /// Neither a URL nor a path.
    #[error("must be an absolute http or https URL or a path such as /__clerk, without query and fragment")]
    ProxyUrl,
    /// Not a domain.
    #[error("{0:?} is not a domain such as satellite.example")]
    Domain(String),
    /// A satellite that nobody could find.
    #[error("is missing, and so is clerk.proxy_url: a satellite needs one of them")]
    SatelliteAddress,
    /// Missing for a satellite of a development instance, or not absolute.
    #[error("must be an absolute URL; a satellite of a development instance needs one")]
    SignInUrl,
    /// Empty.
    #[error("must not hold an empty value")]
    Audience,
    /// Too long.
    #[error("must be 60 seconds at most")]
    ClockSkew,
    /// Zero, or a try that is longer than all of them.
    #[error("must be longer than zero, and one try neither longer than 2 seconds nor than the total")]
    Timeouts,
}

impl InvalidClerkSetting {
    /// The name of the setting.
    pub const fn setting(&self) -> &'static str {
        match self {
            Self::PublishableKey(_) => "clerk.publishable_key",
            Self::SecretKey(_) | Self::InstanceMismatch { .. } | Self::NoKey => "clerk.secret_key",
            Self::MachineSecretKey(_) => "clerk.machine_secret_key",
            Self::MachineId => "clerk.machine_id",
            Self::JwtKey(_) => "clerk.jwt_key",
            Self::ApiUrl => "clerk.api_url",
            Self::ApiVersion => "clerk.api_version",
            Self::Issuer => "clerk.issuer",
            Self::AuthorizedParty(_) => "clerk.authorized_parties",
            Self::SatelliteOrigin(_) => "clerk.satellite_origins",
            Self::OrganizationPattern(_) => "clerk.organization_sync",
            Self::ProxyUrl => "clerk.proxy_url",
            Self::Domain(_) | Self::SatelliteAddress => "clerk.domain",
            Self::SignInUrl => "clerk.sign_in_url",
            Self::Audience => "clerk.audiences",
            Self::ClockSkew => "clerk.clock_skew",
            Self::Timeouts => "clerk.timeouts",
        }
    }
}
