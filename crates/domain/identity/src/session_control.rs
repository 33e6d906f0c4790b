//! The sessions of a person, as the provider keeps them.

use std::net::IpAddr;

use portal_kernel::Timestamp;

use crate::ProviderSessionId;

/// A login of a person on one browser.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderSession {
    /// The provider's id.
    pub id: ProviderSessionId,
    /// Whether tokens are still made for it.
    pub is_active: bool,
    /// When it began, where the provider says so.
    pub created_at: Option<Timestamp>,
    /// When it was used last.
    pub last_active_at: Option<Timestamp>,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
    /// Where it was used last, as far as the provider could tell.
    pub activity: SessionActivity,
}

/// Where a session was used.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SessionActivity {
    /// Name of the device or its system.
    pub device: Option<String>,
    /// Name of the browser, with its version.
    pub browser: Option<String>,
    /// The address.
    pub address: Option<IpAddr>,
    /// The city of the address.
    pub city: Option<String>,
    /// The country of the address.
    pub country: Option<String>,
}
