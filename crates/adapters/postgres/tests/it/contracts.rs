//! The contracts of the ports, each promise on a database of its own.

use std::fs;

use crate::support::checkout;

/// Makes a test of each promise, and remembers the names.
macro_rules! contract {
    ($ports:expr; $($module:ident { $($promise:ident)+ })+) => {
        pub(super) const PROMISES: &[&str] = &[$($(stringify!($promise),)+)+];

        $(mod $module {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $promise() {
                    let (_database, store) = crate::support::store().await;
                    super::contract::$module::$promise($ports(&store)).await;
                }
            )+
        })+
    };
}

mod of_accounts {
    use portal_accounts::contract;
    use portal_postgres::PgStore;

    fn ports(store: &PgStore) -> contract::Ports<'_> {
        contract::Ports { store, sign_in: store, accounts: store, ended: store, scans: store, parked: store }
    }

    contract! { super::ports;
        users {
            an_unknown_person_is_none
            a_first_sign_in_is_read_back_as_written
            uncommitted_writes_are_invisible
            rolled_back_writes_leave_nothing
            dropped_writes_leave_nothing
            a_transaction_that_failed_cannot_be_committed
            a_taken_provider_id_answers_false
            of_two_concurrent_first_sign_ins_one_answers_false
            a_first_sign_in_that_waits_for_a_failing_one_succeeds
            a_person_needs_a_personal_account
            the_right_to_ask_for_a_profile_goes_to_one_caller_per_rest
            of_two_concurrent_claims_one_wins
            a_claim_that_is_rolled_back_is_free_again
            a_known_profile_is_never_claimed
            a_doubtful_profile_is_claimed
            the_right_to_ask_for_memberships_goes_to_one_caller_per_rest
            a_person_is_found_inside_a_transaction
            people_are_found_together
            a_deleted_person_is_erased_and_a_member_nowhere
            a_profile_is_read_back_as_written
            profiles_are_saved_together
            the_profile_of_a_vanished_person_is_stale
            a_banned_person_is_paused_until_the_ban_ends
        }
        accounts {
            an_unknown_account_is_none
            an_account_is_read_back_as_written
            a_taken_account_id_is_a_duplicate
            an_organization_has_one_account
            what_is_told_of_an_organization_is_read_back
            a_deleted_organization_is_none_and_has_no_members
            a_membership_is_read_back_as_written
            a_membership_without_a_role_gives_no_account
            ids_are_merged_by_one_transaction_at_a_time
            a_membership_of_nobody_or_nowhere_is_refused
            accounts_of_a_person_begin_with_the_personal_one
        }
        inbox {
            a_message_is_taken_once
            messages_are_taken_together
            of_two_concurrent_deliveries_one_takes_the_message
            a_parked_message_is_kept_until_it_is_unparked
            the_youngest_message_is_known
            an_ended_session_is_found
            old_sessions_are_forgotten
            an_epoch_only_ever_advances
            there_is_no_epoch_at_first
            a_session_is_seen_for_the_first_time_once
            of_two_who_see_a_session_one_is_the_first
        }
        members {
            a_member_is_read_back_as_written
            members_are_read_in_pages
            only_a_personal_account_is_renamed_here
        }
        settings {
            settings_are_read_back_as_written
            a_username_belongs_to_one_person
            nobody_has_no_settings
        }
        scans {
            a_new_store_was_never_scanned
            a_cursor_is_moved_by_one
            failures_and_the_last_complete_scan_are_read_back
            what_is_known_is_listed_in_parts
        }
        trail {
            a_record_stays_once_it_is_committed
            a_record_needs_its_account
        }
        unconfirmed {
            nobody_stands_in_an_organization_without_account
            a_removal_lets_tokens_be_believed_anew_and_a_denial_does_not
            of_two_who_begin_to_believe_the_first_one_counts
        }
        unconfirmed_ends {
            the_end_that_waits_longest_is_claimed
            an_unconfirmed_end_is_added_once
            an_end_is_claimed_whatever_its_id_is
            a_settled_end_is_confirmed
            all_ends_are_put_off_at_once
            of_two_who_claim_each_gets_another
            an_unconfirmed_end_needs_an_account
        }
    }
}

mod of_audit {
    use portal_accounts::contract::provision;
    use portal_audit::contract;
    use portal_postgres::PgStore;
    use tokio::runtime::Handle;

    fn ports(store: &PgStore) -> contract::Ports<'_> {
        let account = async |number| provision(store, number).await.personal_account;
        let accounts = async { [account(1).await, account(2).await] };
        let accounts = tokio::task::block_in_place(|| Handle::current().block_on(accounts));
        contract::Ports { store, events: store, chains: store, accounts }
    }

    contract! { super::ports;
        chains {
            an_empty_trail_has_no_head
            records_are_read_back_as_written_and_chained
            the_order_is_that_of_the_commits
            each_trail_is_a_chain_of_its_own
            what_is_rolled_back_leaves_no_gap
            thousands_of_records_are_one_commit
            a_chain_is_read_in_parts
            accounts_are_read_in_parts
            an_attempt_is_closed_once
        }
        heads {
            a_chain_that_grew_wants_a_signature
            chains_that_want_a_signature_are_found_in_parts
            heads_are_found_with_their_signatures
            what_was_planted_is_no_signature
            records_are_read_for_signing
            signed_heads_are_read_back_by_number
            a_signature_is_added_once
        }
        events {
            pages_list_the_newest_first_and_every_event_once
            an_event_is_read_back_as_written
            a_page_holds_one_accounts_events
            filters_narrow_the_list
            own_events_were_made_in_person
            an_attempt_is_told_with_its_end
        }
    }
}

mod of_api_keys {
    use portal_api_keys::contract;
    use portal_postgres::PgStore;

    fn ports(store: &PgStore) -> contract::Ports<'_> {
        contract::Ports {
            accounts: store,
            store,
            keys: store,
            credentials: store,
            feed: store,
            service_credentials: store,
            canary: store,
            peppers: store,
            service_tokens: store,
            service_activity: store,
            key_activity: store,
            demands: store,
        }
    }

    contract! { super::ports;
        canary {
            it_lives_and_is_revoked
            it_begins_after_its_rest_alone
            of_two_that_let_it_live_one_does
        }
        changes {
            an_update_shows_everywhere
            a_key_is_stopped_and_goes_on
            a_rotation_leaves_two_secrets
            a_revocation_ends_all_secrets
            a_change_of_what_was_changed_is_stale
            who_wants_to_change_a_key_waits_for_others
            a_key_that_there_is_not_is_none_to_change
            live_keys_are_counted
            who_counts_live_keys_waits_for_others
        }
        feed {
            pages_hold_every_live_secret_once
            what_was_committed_before_is_no_change
            a_change_is_told_once_with_all_secrets_of_the_key
            a_transaction_that_ends_late_is_told_and_delays_nobody
            what_is_rolled_back_is_not_told
            an_account_is_told_as_it_stands
            whoever_waits_is_told_at_once
            whoever_waits_in_vain_is_told_where_the_feed_stands
            a_position_of_another_store_is_none
        }
        ends {
            keys_of_the_deleted_end_once
            keys_end_in_the_accounts_that_are_given
            keys_end_part_by_part
            a_key_that_somebody_else_ends_is_left_to_them
        }
        key_uses {
            a_last_use_only_moves_on
            a_change_is_no_use
        }
        keys {
            an_unknown_key_is_none
            several_kids_find_their_keys
            a_key_is_read_back_as_written
            a_key_dies_with_its_account
            the_account_that_was_checked_is_the_one_written
            a_key_appears_with_its_commit
            a_kid_and_an_id_are_used_once
            a_revocation_shows_everywhere
            a_revocation_counts_with_its_commit
            revoking_twice_is_stale
            of_two_concurrent_revocations_the_second_is_stale
            a_key_is_revoked_in_its_own_account_only
        }
        pages {
            no_keys_are_one_empty_page
            pages_list_the_newest_first_and_every_key_once
            new_keys_do_not_shift_the_pages
            a_page_holds_revoked_keys
            a_page_holds_one_accounts_keys
        }
        peppers {
            a_digest_moves_once
            a_pepper_is_in_use_while_a_secret_of_a_key_counts
            a_pepper_is_in_use_while_a_secret_of_a_service_token_counts
        }
        rates {
            what_is_told_is_heard_by_the_others
            a_round_that_comes_late_changes_nothing
            who_leaves_is_forgotten
            a_limit_is_of_a_key_in_its_own_account
        }
        requests {
            a_request_is_claimed_once
            a_claim_that_is_rolled_back_is_free_again
            names_belong_to_a_caller_in_an_account
            of_two_concurrent_claims_the_second_hears_of_the_first
            a_claim_that_waits_for_a_failing_one_is_the_first
            a_name_is_free_again_after_a_day
            old_requests_are_deleted_part_by_part
        }
        service_tokens {
            a_token_is_read_back_as_written
            a_name_is_free_again_after_revocation
            a_revocation_shows_everywhere
            revoking_twice_is_none
            a_kid_is_used_once
            of_two_concurrent_tokens_with_a_name_one_is_refused
            a_token_appears_and_ends_with_its_commit
            after_a_rotation_two_secrets_find_the_token
            of_two_secrets_the_next_rotation_forgets_the_older_one
            a_token_that_is_over_is_not_rotated
            of_two_concurrent_rotations_the_second_follows_the_first
            a_last_use_only_moves_on
        }
        trail {
            a_record_stays_once_it_is_committed
        }
    }
}

#[test]
fn every_promise_is_kept_to() {
    let kept =
        [("accounts", of_accounts::PROMISES), ("audit", of_audit::PROMISES), ("api-keys", of_api_keys::PROMISES)];
    for (folder, run) in kept {
        let folder = checkout().join("crates/domain").join(folder).join("src/contract");
        let texts = fs::read_dir(folder).unwrap().map(|file| fs::read_to_string(file.unwrap().path()).unwrap());
        let text = texts.collect::<String>();
        let promised: Vec<_> =
            text.split("pub async fn ").skip(1).map(|rest| rest.split('(').next().unwrap()).collect();
        assert!(promised.len() > 10);
        for promise in &promised {
            assert!(run.contains(promise), "the contract of {promise} is not run");
        }
        assert_eq!(promised.len(), run.len());
    }
}
