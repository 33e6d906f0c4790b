//! `[limits]`

use portal_http_kit::RateLimitSettings;

use super::reader::Reader;

/// More than any machine answers.
const MOST: u64 = 10_000_000;

/// Reads `[limits]`. 0 switches a limit off.
pub(super) fn read(reader: &mut Reader) -> Option<RateLimitSettings> {
    let mut per_minute = |key, default| {
        let number = reader.number(key, default, 0..=MOST);
        number.and_then(|number| u32::try_from(number).ok())
    };
    let user_reads = per_minute("limits.user_reads_per_minute", 1_200);
    let user_writes = per_minute("limits.user_writes_per_minute", 240);
    let user_provider_calls = per_minute("limits.user_provider_calls_per_minute", 30);
    let address_reads = per_minute("limits.address_reads_per_minute", 12_000);
    let address_writes = per_minute("limits.address_writes_per_minute", 2_400);
    let legacy_services = per_minute("limits.legacy_services_per_minute", 600);
    let entries = reader.number("limits.entries", 100_000, 1_000..=MOST);
    Some(RateLimitSettings {
        user_reads: user_reads?,
        user_writes: user_writes?,
        user_provider_calls: user_provider_calls?,
        address_reads: address_reads?,
        address_writes: address_writes?,
        legacy_services: legacy_services?,
        entries: usize::try_from(entries?).ok()?,
    })
}
