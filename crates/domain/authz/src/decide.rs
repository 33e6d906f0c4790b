//! The policy.

use portal_kernel::{AccountId, ApiKeyId, UserId};

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
    /// An API key.
    Key {
        /// Which account owns it.
        account: AccountId,
        /// Who made it.
        made_by: UserId,
        /// Which one.
        key: ApiKeyId,
    },
    /// A membership, or an invitation to one.
    Membership {
        /// In which account.
        account: AccountId,
        /// Whose; none of an invitation.
        member: Option<UserId>,
        /// The highest role concerned: the one that is held and the one that is granted. None is below all.
        highest: Option<Role>,
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
    /// The caller may do this once their e-mail is verified.
    #[error("the primary e-mail is not verified")]
    EmailNotVerified,
    /// The caller may do this once they proved again who they are.
    #[error("a fresh proof of identity is needed")]
    ReverificationRequired,
    /// The caller owns the account, and has to give it away first.
    #[error("an account does not stay without owner")]
    LastOwner,
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
    /// Members with at least this role, in person, whose e-mail is not known to be unverified.
    VerifiedMember(Role),
    /// Members with at least this role, in person, who proved a moment ago who they are.
    ReverifiedMember(Role),
    /// Members in person: with at least `others` for anything, with at least `own` for what they made.
    Maker { own: Role, others: Role },
    /// Members in person, with at least the role of an admin, where only roles below their own are concerned.
    Granter,
    /// As [`Rule::Granter`], for those whose e-mail is not known to be unverified.
    VerifiedGranter,
    /// As [`Rule::Granter`], and all but owners about themselves.
    GranterOrSelf,
    /// Services with this scope.
    Service(Scope),
    /// These parts of the program.
    Jobs(&'static [Job]),
}

const fn rule(kind: Kind) -> Rule {
    match kind {
        Kind::ViewSelf => Rule::Person,
        Kind::ReadSessions | Kind::EndSessions | Kind::UpdateSelf => Rule::InPerson,
        Kind::ReadAccount => Rule::Reader(Role::Viewer),
        Kind::ReadKeys | Kind::ReadMembers => Rule::Member(Role::Viewer),
        Kind::UpdateAccount | Kind::ReadInvitations => Rule::Member(Role::Admin),
        Kind::TransferOwnership | Kind::DeleteAccount => Rule::ReverifiedMember(Role::Owner),
        Kind::ChangeRole | Kind::RevokeInvitation => Rule::Granter,
        Kind::InviteMember => Rule::VerifiedGranter,
        Kind::RemoveMember => Rule::GranterOrSelf,
        Kind::CreateKey => Rule::VerifiedMember(Role::Editor),
        Kind::UpdateKey | Kind::DisableKey | Kind::RotateKey | Kind::RevokeKey => {
            Rule::Maker { own: Role::Editor, others: Role::Admin }
        }
        Kind::ReadAuditTrail => Rule::Maker { own: Role::Viewer, others: Role::Admin },
        Kind::VerifyKeys => Rule::Service(Scope::KeysVerify),
        Kind::ReadKeyFeed => Rule::Service(Scope::KeysFeed),
        Kind::ReadMetrics => Rule::Service(Scope::MetricsRead),
        Kind::BuildPrincipal => Rule::Jobs(&[Job::SignIn]),
        Kind::MergeFacts => {
            Rule::Jobs(&[Job::SignIn, Job::Webhooks, Job::Reconciler, Job::Sessions, Job::Organizations])
        }
        Kind::Reconcile => Rule::Jobs(&[Job::Reconciler, Job::Operator]),
        Kind::LookUpCredential => Rule::Jobs(&[Job::VerifyKey]),
        Kind::ForgetRequests => Rule::Jobs(&[Job::Retention]),
        Kind::EndKeysOfDeleted => Rule::Jobs(&[Job::KeyEnds]),
        Kind::KeepCanary => Rule::Jobs(&[Job::Canary]),
        Kind::SetOwner
        | Kind::EndAllSessions
        | Kind::ManageServiceTokens
        | Kind::ManageWebhooks
        | Kind::InspectAuditTrails => Rule::Jobs(&[Job::Operator]),
        Kind::SignAuditHeads => Rule::Jobs(&[Job::Audit]),
    }
}

/// Whether `who` may do `kind` to `target`. The whole policy: nothing else decides, nothing bypasses it.
pub fn decide(who: &Principal, kind: Kind, target: &Target) -> Result<(), Denied> {
    match *target {
        Target::Platform => on_platform(who, rule(kind)),
        Target::Account { account, made_by } => {
            let (member, role) = member(who, account)?;
            on_account(&member, role, rule(kind), made_by)
        }
        Target::Key { account, made_by, key } => match who {
            Principal::ApiKey(holder) if (holder.key, holder.account) == (key, account) => allow(is_open_to_key(kind)),
            _ => {
                let (member, role) = member(who, account)?;
                on_account(&member, role, rule(kind), Some(made_by))
            }
        },
        Target::Membership { account, member: whose, highest } => {
            let (member, role) = member(who, account)?;
            match rule(kind) {
                Rule::VerifiedGranter => granting(&member, role, highest).and_then(|()| verified(&member)),
                Rule::GranterOrSelf if member.in_person && whose == Some(member.user.user) => {
                    if role == Role::Owner {
                        Err(Denied::LastOwner)
                    } else {
                        Ok(())
                    }
                }
                Rule::Granter | Rule::GranterOrSelf => granting(&member, role, highest),
                others => on_account(&member, role, others, None),
            }
        }
    }
}

/// What a key may do to itself, for whoever holds it. It may do nothing else.
const fn is_open_to_key(kind: Kind) -> bool {
    matches!(kind, Kind::ReadKeys | Kind::RevokeKey)
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
            | Rule::VerifiedMember(_)
            | Rule::ReverifiedMember(_)
            | Rule::Maker { .. }
            | Rule::Granter
            | Rule::VerifiedGranter
            | Rule::GranterOrSelf
            | Rule::Service(_)
            | Rule::Jobs(_),
            Principal::User(_)
            | Principal::Impersonator(_)
            | Principal::Agent(_)
            | Principal::Service(_)
            | Principal::ApiKey(_)
            | Principal::System(_),
        ) => false,
    };
    allow(allowed)
}

/// Somebody in an account: they themselves, or whoever acts for them.
struct Member<'a> {
    user: &'a UserPrincipal,
    in_person: bool,
}

fn member(who: &Principal, account: AccountId) -> Result<(Member<'_>, Role), Denied> {
    let member = match who {
        Principal::User(user) => Member { user, in_person: true },
        Principal::Impersonator(delegate) | Principal::Agent(delegate) => {
            Member { user: &delegate.user, in_person: false }
        }
        // Services and jobs act on the platform; no account is visible to them, nor to a key.
        Principal::Service(_) | Principal::ApiKey(_) | Principal::System(_) => return Err(Denied::Hidden),
    };
    let role = member.user.roles.of(account).ok_or(Denied::Hidden)?;
    Ok((member, role))
}

fn on_account(member: &Member<'_>, role: Role, wanted: Rule, made_by: Option<UserId>) -> Result<(), Denied> {
    match wanted {
        Rule::Reader(least) => allow(role >= least),
        Rule::Member(least) => allow(member.in_person && role >= least),
        Rule::VerifiedMember(least) => {
            allow(member.in_person && role >= least)?;
            verified(member)
        }
        Rule::ReverifiedMember(least) => {
            allow(member.in_person && role >= least)?;
            if member.user.reverified { Ok(()) } else { Err(Denied::ReverificationRequired) }
        }
        Rule::Maker { own, others } => {
            let least = if made_by == Some(member.user.user) { own } else { others };
            allow(member.in_person && role >= least)
        }
        Rule::Granter
        | Rule::VerifiedGranter
        | Rule::GranterOrSelf
        | Rule::Person
        | Rule::InPerson
        | Rule::Service(_)
        | Rule::Jobs(_) => Err(Denied::Forbidden),
    }
}

/// Only roles below one's own, of members below oneself.
fn granting(member: &Member<'_>, role: Role, highest: Option<Role>) -> Result<(), Denied> {
    allow(member.in_person && role >= Role::Admin && highest < Some(role))
}

fn verified(member: &Member<'_>) -> Result<(), Denied> {
    if member.user.email_unverified { Err(Denied::EmailNotVerified) } else { Ok(()) }
}

fn allow(allowed: bool) -> Result<(), Denied> {
    if allowed { Ok(()) } else { Err(Denied::Forbidden) }
}

/// What a caller may do in an account, for user interfaces: each allowed action, and `ACTION:own` where it is allowed only for what
/// the caller made or is. What asks for a fresh proof of identity is allowed; what needs an organization is left out without one. A hint;
/// the decision is made again at each request.
pub fn permissions(who: &Principal, account: AccountId, is_organization: bool) -> Vec<String> {
    let own = match who {
        Principal::User(user) => Some(user.user),
        Principal::Impersonator(delegate) | Principal::Agent(delegate) => Some(delegate.user.user),
        Principal::Service(_) | Principal::ApiKey(_) | Principal::System(_) => None,
    };
    let allowed = |kind: Kind, user: Option<UserId>| {
        let targets =
            [Target::Account { account, made_by: user }, Target::Membership { account, member: user, highest: None }];
        targets.iter().any(|target| matches!(decide(who, kind, target), Ok(()) | Err(Denied::ReverificationRequired)))
    };
    Kind::ALL
        .iter()
        .filter(|kind| is_organization || !kind.needs_organization())
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
    use crate::{Delegate, KeyPrincipal, Roles};

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
        UserPrincipal::new(me(), Roles::from_iter([(ours(), role)]))
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
    fn an_editor_manages_own_keys_only() {
        let who = Principal::User(user(Role::Editor));
        let own = Target::Account { account: ours(), made_by: Some(me()) };
        let other = Target::Account { account: ours(), made_by: None };
        for kind in [Kind::UpdateKey, Kind::DisableKey, Kind::RotateKey, Kind::RevokeKey] {
            assert_eq!(decide(&who, kind, &own), Ok(()), "{kind:?}");
            assert_eq!(decide(&who, kind, &other), Err(Denied::Forbidden), "{kind:?}");
        }
    }

    #[test]
    fn a_key_reads_and_revokes_itself_and_nothing_else() {
        let key = "key_00000000000000000000000001".parse().unwrap();
        let another = "key_00000000000000000000000002".parse().unwrap();
        let who = Principal::ApiKey(KeyPrincipal { key, account: ours() });
        for kind in Kind::ALL {
            let itself = decide(&who, *kind, &Target::Key { account: ours(), made_by: me(), key });
            let expected = matches!(kind, Kind::ReadKeys | Kind::RevokeKey);
            assert_eq!(itself, if expected { Ok(()) } else { Err(Denied::Forbidden) }, "{kind:?}");
            for target in [
                Target::Key { account: ours(), made_by: me(), key: another },
                Target::Key { account: theirs(), made_by: me(), key },
                Target::Account { account: ours(), made_by: Some(me()) },
                Target::Membership { account: ours(), member: Some(me()), highest: None },
            ] {
                assert_eq!(decide(&who, *kind, &target), Err(Denied::Hidden), "{kind:?} {target:?}");
            }
            assert_eq!(decide(&who, *kind, &Target::Platform), Err(Denied::Forbidden), "{kind:?}");
        }
    }

    #[test]
    fn permissions_tell_own_things_from_all() {
        let editor = Principal::User(user(Role::Editor));
        assert_eq!(
            permissions(&editor, ours(), true),
            [
                "read-account",
                "read-members",
                "remove-member:own",
                "read-keys",
                "create-key",
                "update-key:own",
                "disable-key:own",
                "rotate-key:own",
                "revoke-key:own",
                "read-audit-trail:own"
            ]
        );
        let viewer = Principal::User(user(Role::Viewer));
        let expected = ["read-account", "read-members", "remove-member:own", "read-keys", "read-audit-trail:own"];
        assert_eq!(permissions(&viewer, ours(), true), expected);
        let alone = permissions(&Principal::User(user(Role::Owner)), ours(), false);
        let expected = [
            "read-account",
            "update-account",
            "read-members",
            "read-keys",
            "create-key",
            "update-key",
            "disable-key",
            "rotate-key",
            "revoke-key",
            "read-audit-trail",
        ];
        assert_eq!(alone, expected);
        let owner = permissions(&Principal::User(user(Role::Owner)), ours(), true);
        for kind in ["transfer-ownership", "delete-account", "invite-member", "remove-member"] {
            assert!(owner.iter().any(|text| text == kind), "{kind}");
        }
        assert!(permissions(&editor, theirs(), true).is_empty());
    }

    #[test]
    fn roles_are_granted_and_taken_below_ones_own_only() {
        let kinds = [Kind::ChangeRole, Kind::InviteMember, Kind::RevokeInvitation, Kind::RemoveMember];
        for (own, kind) in Role::ALL.into_iter().flat_map(|own| kinds.map(|kind| (own, kind))) {
            for highest in Role::ALL.map(Some).into_iter().chain([None]) {
                let target = Target::Membership { account: ours(), member: None, highest };
                let expected = own >= Role::Admin && highest < Some(own);
                let decided = decide(&Principal::User(user(own)), kind, &target);
                assert_eq!(decided.is_ok(), expected, "{own} {kind:?} {highest:?}");
            }
        }
    }

    #[test]
    fn everybody_leaves_but_an_owner_and_nobody_promotes_themselves() {
        for role in Role::ALL {
            let who = Principal::User(user(role));
            let myself = Target::Membership { account: ours(), member: Some(me()), highest: Some(role) };
            let expected = if role == Role::Owner { Err(Denied::LastOwner) } else { Ok(()) };
            assert_eq!(decide(&who, Kind::RemoveMember, &myself), expected, "{role}");
            assert_eq!(decide(&who, Kind::ChangeRole, &myself), Err(Denied::Forbidden), "{role}");
        }
    }

    #[test]
    fn what_matters_most_needs_a_fresh_proof_and_what_spends_a_verified_address() {
        let target = Target::Account { account: ours(), made_by: None };
        let invitation = Target::Membership { account: ours(), member: None, highest: Some(Role::Viewer) };
        let owner = user(Role::Owner);
        let fresh = Principal::User(UserPrincipal { reverified: true, ..owner.clone() });
        let unverified = Principal::User(UserPrincipal { email_unverified: true, ..owner.clone() });
        for kind in [Kind::TransferOwnership, Kind::DeleteAccount] {
            assert_eq!(decide(&fresh, kind, &target), Ok(()));
            assert_eq!(decide(&Principal::User(owner.clone()), kind, &target), Err(Denied::ReverificationRequired));
            assert_eq!(decide(&Principal::User(user(Role::Admin)), kind, &target), Err(Denied::Forbidden));
        }
        assert_eq!(decide(&unverified, Kind::CreateKey, &target), Err(Denied::EmailNotVerified));
        assert_eq!(decide(&unverified, Kind::InviteMember, &invitation), Err(Denied::EmailNotVerified));
        let viewer = UserPrincipal { email_unverified: true, ..user(Role::Viewer) };
        assert_eq!(decide(&Principal::User(viewer), Kind::CreateKey, &target), Err(Denied::Forbidden));
    }

    #[test]
    fn whoever_acts_for_an_owner_reads_and_changes_nothing_and_sees_no_trail() {
        let target = Target::Account { account: ours(), made_by: Some(me()) };
        let delegate = Delegate { user: user(Role::Owner), actor: "user_support".to_owned() };
        for who in [Principal::Impersonator(delegate.clone()), Principal::Agent(delegate)] {
            assert_eq!(decide(&who, Kind::ReadAccount, &target), Ok(()));
            assert_eq!(decide(&who, Kind::ReadKeys, &target), Err(Denied::Forbidden));
            for kind in [Kind::CreateKey, Kind::UpdateKey, Kind::DisableKey, Kind::RotateKey, Kind::RevokeKey] {
                assert_eq!(decide(&who, kind, &target), Err(Denied::Forbidden), "{kind:?}");
            }
            assert_eq!(decide(&who, Kind::ReadAuditTrail, &target), Err(Denied::Forbidden));
        }
    }
}
