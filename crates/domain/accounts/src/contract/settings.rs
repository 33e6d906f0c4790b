//! What people chose here: the port `UserRepository`.

use portal_authz::action::UpdateSelf;
use portal_authz::{Authorized, Platform, Principal, Roles, Unchecked, UserPrincipal};
use portal_kernel::UserId;

use super::{Ports, cleared, person, provision};
use crate::{FieldName, FieldValue, Locale, PersonalSettings, Theme, TimeZone, Username};

fn myself(user: UserId) -> Authorized<UpdateSelf, Platform> {
    let who = Principal::User(UserPrincipal::new(user, Roles::default()));
    Unchecked::new(Platform).authorize(&who).expect("a person may change their own settings")
}

fn everything(username: &str) -> PersonalSettings {
    let field =
        |name: &str, value: &str| (FieldName::parse(name).expect("a name"), FieldValue::parse(value).expect("a value"));
    PersonalSettings {
        username: Some(Username::parse(username).expect("a username")),
        theme: Some(Theme::Dark),
        time_zone: Some(TimeZone::parse("Europe/Amsterdam").expect("a zone")),
        locale: Some(Locale::parse("pt-BR").expect("a locale")),
        custom: [field("tour", "done"), field("a.b", "O'Neil \u{1f600}"), field("empty", "")].into_iter().collect(),
    }
}

/// Settings come back as they were written, for whoever signs in, too; others replace all of them.
pub async fn settings_are_read_back_as_written(ports: Ports<'_>) {
    let user = provision(ports.store, 1).await;
    for written in [everything("alice"), PersonalSettings::default(), everything("alice")] {
        let mut tx = ports.begin().await;
        assert!(tx.users().save_settings(&myself(user.id), user.id, written.clone()).await.expect("an answer"));
        let found = tx.users().lock_settings(&myself(user.id), user.id).await.expect("an answer");
        assert_eq!(found, Some(written.clone()));
        tx.commit().await.expect("a commit");
        assert_eq!(ports.known(&user).await.expect("a person").user.settings, written);
    }
}

/// A username belongs to one person, until they choose another or are deleted.
pub async fn a_username_belongs_to_one_person(ports: Ports<'_>) {
    let (user, other) = (provision(ports.store, 1).await, provision(ports.store, 2).await);
    let mut tx = ports.begin().await;
    assert!(tx.users().save_settings(&myself(user.id), user.id, everything("alice")).await.expect("an answer"));
    tx.commit().await.expect("a commit");
    let mut tx = ports.begin().await;
    assert!(!tx.users().save_settings(&myself(other.id), other.id, everything("alice")).await.expect("an answer"));
    tx.rollback().await.expect("a rollback");
    let mut tx = ports.begin().await;
    tx.users().delete(&cleared(), user.id).await.expect("a deletion");
    assert_eq!(tx.users().lock_settings(&myself(user.id), user.id).await.expect("an answer"), None);
    assert!(tx.users().save_settings(&myself(other.id), other.id, everything("alice")).await.expect("an answer"));
    tx.commit().await.expect("a commit");
    assert_eq!(ports.known(&user).await.expect("a person").user.settings, PersonalSettings::default());
}

/// Whoever is not there has no settings.
pub async fn nobody_has_no_settings(ports: Ports<'_>) {
    let nobody = person(9).id;
    let mut tx = ports.begin().await;
    assert_eq!(tx.users().lock_settings(&myself(nobody), nobody).await.expect("an answer"), None);
    assert!(tx.users().save_settings(&myself(nobody), nobody, everything("alice")).await.is_err());
}
