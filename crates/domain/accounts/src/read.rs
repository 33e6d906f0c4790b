//! Reading accounts.

use std::sync::Arc;

use portal_authz::action::{ReadAccount, ViewSelf};
use portal_authz::{Denied, Platform, Principal, Role, Unchecked};
use portal_kernel::{AccountId, StoreError};

use crate::{Account, AccountReader};

/// An account and the reader's role in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountOfUser {
    /// The account.
    pub account: Account,
    /// The stored role.
    pub role: Role,
}

/// Why an account was not shown.
#[derive(Debug, thiserror::Error)]
pub enum ReadAccountError {
    /// There is none.
    #[error("no such account")]
    NotFound,
    /// The policy says no.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The store failed.
    #[error("the account could not be read")]
    Store(#[from] StoreError),
}

/// Accounts, for reading.
pub struct Accounts {
    reader: Arc<dyn AccountReader>,
}

impl Accounts {
    /// Wires the use cases.
    pub fn new(reader: Arc<dyn AccountReader>) -> Self {
        Self { reader }
    }

    /// One account, with the caller's role.
    pub async fn get(&self, who: &Principal, id: AccountId) -> Result<AccountOfUser, ReadAccountError> {
        let account = self.reader.find(id).await?.ok_or(ReadAccountError::NotFound)?;
        let account = account.authorize::<ReadAccount>(who)?.into_inner();
        let role = person(who).and_then(|user| user.roles.of(id)).ok_or(Denied::Hidden)?;
        Ok(AccountOfUser { account, role })
    }

    /// All accounts the caller belongs to, with the role that counts for this request. An account in which the request has no role
    /// is left out.
    pub async fn list(&self, who: &Principal) -> Result<Vec<AccountOfUser>, ReadAccountError> {
        let cleared = Unchecked::new(Platform).authorize::<ViewSelf>(who)?;
        let user = person(who).ok_or(Denied::Forbidden)?;
        let stored = self.reader.of_user(&cleared, user.user).await?;
        Ok(stored
            .into_iter()
            .filter_map(|AccountOfUser { account, .. }| {
                user.roles.of(account.id).map(|role| AccountOfUser { account, role })
            })
            .collect())
    }
}

fn person(who: &Principal) -> Option<&portal_authz::UserPrincipal> {
    match who {
        Principal::User(user) => Some(user),
        Principal::Impersonator(delegate) | Principal::Agent(delegate) => Some(&delegate.user),
        Principal::Service(_) | Principal::ApiKey(_) | Principal::System(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use portal_authz::{Roles, UserPrincipal};
    use portal_testkit::FixedClock;

    use super::*;
    use crate::MockAccountReader;
    use portal_kernel::Clock;

    fn account() -> Account {
        Account {
            id: "acc_00000000000000000000000001".parse().unwrap(),
            name: "Acme".to_owned(),
            provider_organization: None,
            created_at: FixedClock::default().now(),
        }
    }

    fn someone(roles: Roles) -> Principal {
        Principal::User(UserPrincipal::new("usr_00000000000000000000000001".parse().unwrap(), roles))
    }

    fn accounts() -> Accounts {
        let mut reader = MockAccountReader::new();
        reader.expect_find().returning(|_| Ok(Some(Unchecked::new(account()))));
        Accounts::new(Arc::new(reader))
    }

    #[tokio::test]
    async fn a_member_reads_the_account_with_the_own_role() {
        let who = someone(Roles::from_iter([(account().id, Role::Viewer)]));
        let found = accounts().get(&who, account().id).await.unwrap();
        assert_eq!(found, AccountOfUser { account: account(), role: Role::Viewer });
    }

    #[tokio::test]
    async fn a_stranger_cannot_see_that_the_account_exists() {
        let outcome = accounts().get(&someone(Roles::default()), account().id).await;
        assert!(matches!(outcome, Err(ReadAccountError::Denied(Denied::Hidden))));
    }
}
