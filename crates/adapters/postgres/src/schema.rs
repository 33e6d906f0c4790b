//! The tables as diesel sees them; a test compares them with the database.

diesel::table! {
    accounts (id) {
        id -> Uuid,
        name -> Text,
        provider_organization_id -> Nullable<Text>,
        created_at -> Timestamptz,
        state -> Text,
        created_by -> Nullable<Text>,
        provider_updated_at -> Nullable<Timestamptz>,
        doubtful -> Bool,
        given_to -> Nullable<Text>,
    }
}

diesel::table! {
    users (id) {
        id -> Uuid,
        provider_id -> Text,
        personal_account_id -> Uuid,
        email -> Nullable<Text>,
        email_verified -> Bool,
        first_name -> Nullable<Text>,
        last_name -> Nullable<Text>,
        image_url -> Nullable<Text>,
        profile_asked_at -> Nullable<Timestamptz>,
        created_at -> Timestamptz,
        state -> Text,
        provider_updated_at -> Nullable<Timestamptz>,
        doubtful -> Bool,
        username -> Nullable<Text>,
        settings -> Jsonb,
        memberships_asked_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    unconfirmed_members (account_id, user_id) {
        account_id -> Uuid,
        user_id -> Uuid,
        removed_at -> Nullable<Timestamptz>,
        trusted_since -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    memberships (account_id, user_id) {
        account_id -> Uuid,
        user_id -> Uuid,
        role -> Nullable<Text>,
        provider_role -> Nullable<Text>,
        created_at -> Timestamptz,
        provider_membership_id -> Nullable<Text>,
        provider_updated_at -> Nullable<Timestamptz>,
        doubtful -> Bool,
        rivals -> Jsonb,
    }
}

diesel::table! {
    audit_events (account_id, id) {
        account_id -> Uuid,
        id -> Uuid,
        at -> Timestamptz,
        actor_kind -> Text,
        actor_id -> Text,
        actor_behind -> Nullable<Text>,
        action -> Text,
        subject -> Text,
        request_id -> Nullable<Uuid>,
        address_prefix -> Nullable<Text>,
        reason -> Nullable<Text>,
        seq -> BigInt,
        hash -> Binary,
        credential_id -> Nullable<Text>,
        effect -> Text,
        closes -> Nullable<Uuid>,
    }
}

diesel::table! {
    platform_audit_events (id) {
        id -> Uuid,
        at -> Timestamptz,
        actor_kind -> Text,
        actor_id -> Text,
        actor_behind -> Nullable<Text>,
        action -> Text,
        subject -> Text,
        request_id -> Nullable<Uuid>,
        address_prefix -> Nullable<Text>,
        reason -> Nullable<Text>,
        seq -> BigInt,
        hash -> Binary,
        credential_id -> Nullable<Text>,
        effect -> Text,
        closes -> Nullable<Uuid>,
    }
}

diesel::table! {
    api_keys (account_id, id) {
        account_id -> Uuid,
        id -> Uuid,
        name -> Text,
        environment -> Text,
        made_by -> Uuid,
        created_at -> Timestamptz,
        revoked_at -> Nullable<Timestamptz>,
        revision -> BigInt,
        scopes -> Array<Text>,
        models -> Array<Text>,
        networks -> Array<Cidr>,
        rate_limits -> Jsonb,
        expires_at -> Nullable<Timestamptz>,
        disabled_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    key_locator (kid) {
        kid -> Text,
        account_id -> Uuid,
    }
}

diesel::table! {
    api_key_secrets (account_id, kid) {
        account_id -> Uuid,
        kid -> Text,
        key_id -> Uuid,
        digest -> Binary,
        pepper_version -> SmallInt,
        created_at -> Timestamptz,
        revision -> BigInt,
        expires_at -> Nullable<Timestamptz>,
        revoked_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    service_tokens (id) {
        id -> Uuid,
        name -> Text,
        scopes -> Array<Text>,
        kid -> Text,
        digest -> Binary,
        pepper_version -> SmallInt,
        created_at -> Timestamptz,
        revoked_at -> Nullable<Timestamptz>,
        networks -> Array<Cidr>,
        expires_at -> Nullable<Timestamptz>,
        rotated_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    former_service_secrets (token_id) {
        token_id -> Uuid,
        kid -> Text,
        digest -> Binary,
        pepper_version -> SmallInt,
        created_at -> Timestamptz,
        expires_at -> Timestamptz,
    }
}

diesel::table! {
    changes (seq) {
        seq -> BigInt,
        xid -> BigInt,
        kind -> Text,
        subject -> Text,
    }
}

diesel::table! {
    change_marks (at) {
        at -> Timestamptz,
        oldest -> BigInt,
    }
}

diesel::table! {
    buried_provider_ids (id) {
        id -> Text,
        at -> Timestamptz,
    }
}

diesel::table! {
    unconfirmed_ends (account_id, session_id) {
        account_id -> Uuid,
        session_id -> Text,
        attempts -> Integer,
        try_at -> Timestamptz,
    }
}

diesel::table! {
    seen_sessions (id) {
        id -> Text,
        first_seen_at -> Timestamptz,
    }
}

diesel::table! {
    session_epochs (person) {
        person -> Text,
        minted_before -> Timestamptz,
    }
}

diesel::table! {
    webhook_inbox (id) {
        id -> Text,
        kind -> Text,
        received_at -> Timestamptz,
        body -> Nullable<Binary>,
        reason -> Nullable<Text>,
    }
}

diesel::table! {
    audit_heads (account_id) {
        account_id -> Uuid,
        seq -> BigInt,
        hash -> Binary,
        signed_hash -> Nullable<Binary>,
        is_signed -> Bool,
    }
}

diesel::table! {
    scan_cursors (name) {
        name -> Text,
        position -> Text,
        version -> BigInt,
        moved_at -> Timestamptz,
        failures -> Integer,
        completed_at -> Nullable<Timestamptz>,
        drift -> Nullable<Integer>,
    }
}

diesel::table! {
    platform_audit_heads (only_row) {
        only_row -> Bool,
        seq -> BigInt,
        hash -> Binary,
        signed_hash -> Nullable<Binary>,
        is_signed -> Bool,
    }
}

diesel::table! {
    audit_signed_heads (account_id, seq, signature) {
        account_id -> Uuid,
        seq -> BigInt,
        hash -> Binary,
        at -> Timestamptz,
        signature -> Binary,
    }
}

diesel::table! {
    platform_audit_signed_heads (seq, signature) {
        seq -> BigInt,
        hash -> Binary,
        at -> Timestamptz,
        signature -> Binary,
    }
}

diesel::table! {
    service_token_activity (token_id) {
        token_id -> Uuid,
        last_used_at -> Timestamptz,
    }
}

diesel::table! {
    revocation_canary (one) {
        one -> Bool,
        live_since -> Timestamptz,
        revoked_at -> Nullable<Timestamptz>,
        revision -> BigInt,
    }
}

diesel::table! {
    replicas (id) {
        id -> Uuid,
        round -> BigInt,
        reported_at -> Timestamptz,
    }
}

diesel::table! {
    rate_demands (account_id, key_id, limit_id, replica_id) {
        account_id -> Uuid,
        key_id -> Uuid,
        limit_id -> Text,
        replica_id -> Uuid,
        demand -> BigInt,
        share -> Integer,
    }
}

diesel::table! {
    api_key_activity (account_id, key_id) {
        account_id -> Uuid,
        key_id -> Uuid,
        last_used_at -> Timestamptz,
    }
}

diesel::table! {
    named_requests (account_id, user_id, key) {
        account_id -> Uuid,
        user_id -> Uuid,
        key -> Text,
        fingerprint -> Binary,
        made -> Text,
        at -> Timestamptz,
    }
}

diesel::joinable!(former_service_secrets -> service_tokens (token_id));
diesel::joinable!(service_token_activity -> service_tokens (token_id));

diesel::allow_tables_to_appear_in_same_query!(
    accounts,
    users,
    memberships,
    unconfirmed_members,
    audit_events,
    platform_audit_events,
    audit_heads,
    platform_audit_heads,
    audit_signed_heads,
    platform_audit_signed_heads,
    api_keys,
    key_locator,
    api_key_secrets,
    service_tokens,
    former_service_secrets,
    service_token_activity,
    revocation_canary,
    api_key_activity,
);
