-- What keys are restricted to, when their time is over, since when they are stopped; and that a key has another secret for a while.

ALTER TABLE api_keys
    ADD COLUMN scopes text[] NOT NULL DEFAULT '{inference}',
    ADD COLUMN models text[] NOT NULL DEFAULT '{}',
    ADD COLUMN networks cidr[] NOT NULL DEFAULT '{}',
    -- An array of {"id", "limit", "window_seconds"}.
    ADD COLUMN rate_limits jsonb NOT NULL DEFAULT '[]',
    ADD COLUMN expires_at timestamptz,
    ADD COLUMN disabled_at timestamptz,
    ADD CONSTRAINT api_keys_scopes_known CHECK (
        cardinality(scopes) > 0 AND scopes <@ '{inference,usage:read}'
    ) NOT VALID,
    ADD CONSTRAINT api_keys_models_few CHECK (
        cardinality(models) <= 100 AND array_position(models, NULL) IS NULL
    ) NOT VALID,
    ADD CONSTRAINT api_keys_networks_few CHECK (
        cardinality(networks) <= 50 AND array_position(networks, NULL) IS NULL
    ) NOT VALID,
    ADD CONSTRAINT api_keys_rate_limits_few CHECK (
        CASE jsonb_typeof(rate_limits) WHEN 'array' THEN jsonb_array_length(rate_limits) <= 8 ELSE false END
    ) NOT VALID,
    ADD CONSTRAINT api_keys_expires_after_creation CHECK (expires_at > created_at) NOT VALID;

ALTER TABLE api_key_secrets
    -- The key's revision that the secret came with: the greatest is the newest.
    ADD COLUMN revision bigint NOT NULL DEFAULT 1,
    ADD COLUMN expires_at timestamptz,
    ADD COLUMN revoked_at timestamptz,
    ADD CONSTRAINT api_key_secrets_revision_positive CHECK (revision > 0) NOT VALID;
