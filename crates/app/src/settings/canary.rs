//! `[canary]`

use std::time::Duration;

use super::reader::Reader;

/// Reads `[canary]`: how often it is measured how long revoked keys go on, if at all.
#[expect(clippy::option_option, reason = "the outer one is a mistake that was reported")]
pub(super) fn read(reader: &mut Reader) -> Option<Option<Duration>> {
    let enabled: Option<bool> = reader.parsed("canary.enabled", "true", "must be true or false");
    let every = reader.number("canary.every_ms", 60_000, 1_000..=3_600_000);
    let every = Duration::from_millis(every?);
    enabled.map(|enabled| enabled.then_some(every))
}
