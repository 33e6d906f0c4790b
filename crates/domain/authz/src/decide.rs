//! The policy.

use portal_kernel::{AccountId, UserId};

use crate::{Job, Kind, Principal, Role, Scope, UserPrincipal};

/// What an action is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The caller, or the program as a whole.
    Platform,
    /// An account or something in it.
    Account {
        /// Which account owns it.
        account: AccountId,
        /// Who made it, where makers have a say.
        made_by: Option<UserId>,
    },
}

/// The answer is no.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// The caller may not even know that it exists: answer as if it did not.
    #[error("not found")]
    Hidden,
    /// The caller may see it, and may not do this.
    #[error("not allowed")]
    Forbidden,
}

/// Who may do a kind of action.
#[derive(Clone, Copy)]
enum Rule {
    /// Any person, about themselves, also through an impersonator or agent.
    Person,
    /// A person about themselves, in person.
    InPerson,
    /// Members with at least this role; impersonators and agents of such members.
    Reader(Role),
    /// Members with at least this role, in person.
    Member(Role),
    /// Members in person: with at least `others` for anything, with at least `own` for what they made.
    Maker { own: Role, others: Role },
    /// Services with this scope.
    Service(Scope),
    /// These parts of the program.
    Jobs(&'static [Job]),
}

const fn rule(kind: Kind) -> Rule {
    match kind {
        Kind::ViewSelf => Rule::Person,
        Kind::ReadSessions | Kind::EndSessions => Rule::InPerson,
        Kind::ReadAccount | Kind::ReadKeys => Rule::Reader(Role::Viewer),
        Kind::CreateKey => Rule::Member(Role::Editor),
        Kind::RevokeKey => Rule::Maker { own: Role::Editor, others: Role::Admin },
        Kind::ReadAuditTrail => Rule::Maker { own: Role::Viewer, others: Role::Admin },
        Kind::VerifyKeys => Rule::Service(Scope::KeysVerify),
        Kind::ReadMetrics => Rule::Service(Scope::MetricsRead),
        Kind::BuildPrincipal => Rule::Jobs(&[Job::SignIn]),
        Kind::MergeFacts => Rule::Jobs(&[Job::SignIn, Job::Webhooks, Job::Reconciler, Job::Sessions]),
        Kind::Reconcile => Rule::Jobs(&[Job::Reconciler, Job::Operator]),
        Kind::LookUpCredential => Rule::Jobs(&[Job::VerifyKey]),
        Kind::EndAllSessions | Kind::ManageServiceTokens | Kind::ManageWebhooks | Kind::InspectAuditTrails => {
            Rule::Jobs(&[Job::Operator])
        }
        Kind::SignAuditHeads => Rule::Jobs(&[Job::Audit]),
    }
}

/// Whether `who` may do `kind` to `target`. The whole policy: nothing else decides, nothing bypasses it.
pub fn decide(who: &Principal, kind: Kind, target: &Target) -> Result<(), Denied> {
    match *target {
        Target::Platform => on_platform(who, rule(kind)),
        Target::Account { account, made_by } => on_account(who, rule(kind), account, made_by),
    }
}

fn on_platform(who: &Principal, rule: Rule) -> Result<(), Denied> {
    let allowed = match (rule, who) {
        (Rule::Person, Principal::User(_) | Principal::Impersonator(_) | Principal::Agent(_))
        | (Rule::InPerson, Principal::User(_)) => true,
        (Rule::Service(scope), Principal::Service(service)) => service.may(scope),
        (Rule::Jobs(jobs), Principal::System(me)) => jobs.contains(me),
        (
            Rule::Person
            | Rule::InPerson
            | Rule::Reader(_)
            | Rule::Member(_)
            | Rule::Maker { .. }
            | Rule::Service(_)
            | Rule::Jobs(_),
            Principal::User(_)
            | Principal::Impersonator(_)
            | Principal::Agent(_)
            | Principal::Service(_)
            | Principal::System(_),
        ) => false,
    };
    if allowed { Ok(()) } else { Err(Denied::Forbidden) }
}

fn on_account(who: &Principal, wanted: Rule, account: AccountId, made_by: Option<UserId>) -> Result<(), Denied> {
    let (member, in_person): (&UserPrincipal, bool) = match who {
        Principal::User(user) => (user, true),
        Principal::Impersonator(delegate) | Principal::Agent(delegate) => (&delegate.user, false),
        // Services and jobs act on the platform; no account is visible to them.
        Principal::Service(_) | Principal::System(_) => return Err(Denied::Hidden),
    };
    let role = member.roles.of(account).ok_or(Denied::Hidden)?;
    let allowed = match wanted {
        Rule::Reader(least) => role >= least,
        Rule::Member(least) => in_person && role >= least,
        Rule::Maker { own, others } => {
            let least = if made_by == Some(member.user) { own } else { others };
            in_person && role >= least
        }
        Rule::Person | Rule::InPerson | Rule::Service(_) | Rule::Jobs(_) => false,
    };
    if allowed { Ok(()) } else { Err(Denied::Forbidden) }
}

/// What a caller may do in an account, for user interfaces: each allowed action, and `ACTION:own` where it is allowed only for what
/// the caller made. A hint; the decision is made again at each request.
pub fn permissions(who: &Principal, account: AccountId) -> Vec<String> {
    let own = match who {
        Principal::User(user) => Some(user.user),
        Principal::Impersonator(delegate) | Principal::Agent(delegate) => Some(delegate.user.user),
        Principal::Service(_) | Principal::System(_) => None,
    };
    let allowed = |kind: Kind, made_by| decide(who, kind, &Target::Account { account, made_by }).is_ok();
    Kind::ALL
        .iter()
        .filter_map(|kind| match (allowed(*kind, None), allowed(*kind, own)) {
            (true, _) => Some(kind.as_str().to_owned()),
            (false, true) => Some(format!("{}:own", kind.as_str())),
            (false, false) => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Delegate, Roles};

    fn ours() -> AccountId {
        "acc_00000000000000000000000001".parse().unwrap()
    }

    fn theirs() -> AccountId {
        "acc_00000000000000000000000002".parse().unwrap()
    }

    fn me() -> UserId {
        "usr_00000000000000000000000001".parse().unwrap()
    }

    fn user(role: Role) -> UserPrincipal {
        UserPrincipal { user: me(), roles: Roles::from_iter([(ours(), role)]) }
    }

    #[test]
    fn another_account_is_hidden_whatever_the_action_and_role() {
        let target = Target::Account { account: theirs(), made_by: Some(me()) };
        for role in Role::ALL {
            for kind in Kind::ALL {
                let who = Principal::User(user(role));
                assert_eq!(decide(&who, *kind, &target), Err(Denied::Hidden), "{role} {kind:?}");
            }
        }
    }

    #[test]
    fn an_editor_revokes_own_keys_only() {
        let who = Principal::User(user(Role::Editor));
        let own = Target::Account { account: ours(), made_by: Some(me()) };
        let other = Target::Account { account: ours(), made_by: None };
        assert_eq!(decide(&who, Kind::RevokeKey, &own), Ok(()));
        assert_eq!(decide(&who, Kind::RevokeKey, &other), Err(Denied::Forbidden));
    }

    #[test]
    fn permissions_tell_own_things_from_all() {
        let editor = Principal::User(user(Role::Editor));
        assert_eq!(
            permissions(&editor, ours()),
            ["read-account", "read-keys", "create-key", "revoke-key:own", "read-audit-trail:own"]
        );
        let viewer = Principal::User(user(Role::Viewer));
        assert_eq!(permissions(&viewer, ours()), ["read-account", "read-keys", "read-audit-trail:own"]);
        assert!(permissions(&editor, theirs()).is_empty());
    }

    #[test]
    fn whoever_acts_for_an_owner_reads_and_changes_nothing_and_sees_no_trail() {
        let target = Target::Account { account: ours(), made_by: Some(me()) };
        let delegate = Delegate { user: user(Role::Owner), actor: "user_support".to_owned() };
        for who in [Principal::Impersonator(delegate.clone()), Principal::Agent(delegate)] {
            assert_eq!(decide(&who, Kind::ReadKeys, &target), Ok(()));
            assert_eq!(decide(&who, Kind::CreateKey, &target), Err(Denied::Forbidden));
            assert_eq!(decide(&who, Kind::RevokeKey, &target), Err(Denied::Forbidden));
            assert_eq!(decide(&who, Kind::ReadAuditTrail, &target), Err(Denied::Forbidden));
        }
    }
}
