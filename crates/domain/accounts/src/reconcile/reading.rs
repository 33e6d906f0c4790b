//! Reads what the provider lists, part by part, and goes around what cannot be read.
//!
//! Every answer is merged and moves the cursor, if only in place: whoever scans is seen to be at it, however slow the provider is.

use portal_identity::{DirectoryError, ProviderEvent, ProviderOrganization, ProviderOrganizationId};

use super::{LeftOut, MOST_FAILURES, ReconcileError, Reconciler, Scan, ScanMove, ScanPosition, subject};

/// So much is left out in a row before the rest of the kind is, too: then it is not single records that cannot be read.
pub(super) const MOST_IN_A_ROW: u32 = 5;

/// So many records at most are asked for at once where more could not be read.
const FEW: usize = 64;

/// How a scan goes around what cannot be read.
#[derive(Default)]
pub(super) struct Detour {
    /// How many records are asked for at most; none for as many as the provider likes.
    most: Option<usize>,
    /// How much was left out since something was read.
    in_a_row: u32,
    /// Something failed time and again while the rest could be read: trying it again would not help.
    is_known: bool,
}

impl Detour {
    fn most(&self) -> usize {
        self.most.unwrap_or(usize::MAX)
    }

    /// False if there are no fewer.
    fn ask_for_fewer(&mut self) -> bool {
        let fewer = self.most.map_or(FEW, |most| most / 2);
        self.most = Some(fewer.max(1));
        fewer > 0
    }

    fn ask_for_more(&mut self) {
        self.most = self.most.map(|most| most * 2).filter(|most| *most < FEW);
    }
}

impl Reconciler {
    pub(super) async fn read_everything(
        &self,
        scan: &mut Scan,
        mut position: ScanPosition,
    ) -> Result<(), ReconcileError> {
        loop {
            position = match position {
                ScanPosition::Idle => return Ok(()),
                ScanPosition::Users(offset) => self.read_people(scan, offset).await?,
                ScanPosition::Organizations(offset) => self.read_organizations(scan, offset).await?,
            };
        }
    }

    /// Answers where it goes on, as the others do.
    async fn read_people(&self, scan: &mut Scan, offset: usize) -> Result<ScanPosition, ReconcileError> {
        let position = ScanPosition::Users(offset);
        let part = match self.listing.users(offset, scan.detour.most()).await {
            Ok(part) => part,
            Err(error) => return self.go_around(scan, position, error).await,
        };
        scan.detour.ask_for_more();
        scan.detour.in_a_row = 0;
        scan.report.unusable += part.unreadable;
        let next = part.next.map_or(position.next_kind(), ScanPosition::Users);
        self.take_in(scan, part.items.into_iter().map(ProviderEvent::User).collect(), next).await?;
        Ok(next)
    }

    async fn read_organizations(&self, scan: &mut Scan, offset: usize) -> Result<ScanPosition, ReconcileError> {
        let position = ScanPosition::Organizations(offset);
        let part = match self.listing.organizations(offset, scan.detour.most()).await {
            Ok(part) => part,
            Err(error) => return self.go_around(scan, position, error).await,
        };
        scan.detour.ask_for_more();
        scan.report.unusable += part.unreadable;
        // Which place in the list each one has is known only if all of them were read.
        let is_whole = part.unreadable == 0;
        let found: Vec<ProviderOrganization> = part.items;
        self.take_in(scan, found.iter().cloned().map(ProviderEvent::Organization).collect(), position).await?;
        for (place, organization) in found.iter().enumerate() {
            let here = if is_whole { ScanPosition::Organizations(offset + place) } else { position };
            if !self.read_members(scan, &organization.id, here).await? {
                return Ok(position.next_kind());
            }
        }
        let next = part.next.map_or(position.next_kind(), ScanPosition::Organizations);
        self.take_in(scan, Vec::new(), next).await?;
        Ok(next)
    }

    /// False if no more organizations are to be read.
    async fn read_members(
        &self,
        scan: &mut Scan,
        organization: &ProviderOrganizationId,
        position: ScanPosition,
    ) -> Result<bool, ReconcileError> {
        let mut offset = Some(0);
        while let Some(from) = offset {
            let part = match self.listing.members(organization, from).await {
                Ok(part) => part,
                Err(error) => {
                    let error = self.try_again(scan, position, error).await?;
                    let goes_on = leave_out(scan, LeftOut::Members(organization.clone()), position, &error);
                    self.take_in(scan, Vec::new(), position).await?;
                    return Ok(goes_on);
                }
            };
            scan.report.unusable += part.unreadable;
            self.take_in(scan, part.items.into_iter().map(ProviderEvent::Membership).collect(), position).await?;
            offset = part.next;
        }
        scan.detour.in_a_row = 0;
        Ok(true)
    }

    /// Asks for fewer records where a part of a list cannot be read, and leaves out the single one that cannot.
    async fn go_around(
        &self,
        scan: &mut Scan,
        position: ScanPosition,
        error: DirectoryError,
    ) -> Result<ScanPosition, ReconcileError> {
        let error = self.try_again(scan, position, error).await?;
        let next = if scan.detour.ask_for_fewer() {
            position
        } else if leave_out(scan, LeftOut::Record(position), position, &error) {
            position.next_record()
        } else {
            position.next_kind()
        };
        self.take_in(scan, Vec::new(), next).await?;
        Ok(next)
    }

    /// Breaks the scan off, so that the next one tries again, unless that was of no use. A provider that asks to slow down, or does not
    /// know our key, would answer nothing else either. Gives the failure back if the scan goes on.
    async fn try_again(
        &self,
        scan: &mut Scan,
        position: ScanPosition,
        error: DirectoryError,
    ) -> Result<DirectoryError, ReconcileError> {
        let is_about_us = matches!(error, DirectoryError::RateLimited { .. } | DirectoryError::SecretKeyInvalid);
        let before = if scan.cursor.position == position { scan.cursor.failures } else { 0 };
        let failures = if is_about_us { before } else { before.saturating_add(1) };
        if is_about_us || scan.options.dry_run || (failures < MOST_FAILURES && !scan.detour.is_known) {
            self.apply_at_once(scan, &[], Some(ScanMove { failures, ..position.into() })).await?;
            return Err(error.into());
        }
        scan.detour.is_known = true;
        Ok(error)
    }

    /// Merges an answer and moves the cursor.
    async fn take_in(
        &self,
        scan: &mut Scan,
        events: Vec<ProviderEvent>,
        next: ScanPosition,
    ) -> Result<(), ReconcileError> {
        for event in &events {
            scan.tally(event).read += 1;
            scan.seen.insert(subject(event).to_owned());
        }
        // Idle is where the scan ends, and it has not yet.
        let saved = if next == ScanPosition::Idle { scan.cursor.position } else { next };
        self.apply(scan, events, saved).await
    }
}

/// False if the rest of the kind is left out, too.
fn leave_out(scan: &mut Scan, what: LeftOut, position: ScanPosition, error: &DirectoryError) -> bool {
    scan.detour.in_a_row += 1;
    let goes_on = scan.detour.in_a_row < MOST_IN_A_ROW;
    let what = if goes_on { what } else { LeftOut::Rest(position) };
    tracing::error!(left_out = %what, %error, "what the provider has cannot be read and is left out");
    scan.report.unusable += 1;
    scan.report.left_out.push(what);
    if !goes_on {
        // The next kind of record has a list of its own.
        scan.detour = Detour::default();
    }
    goes_on
}
