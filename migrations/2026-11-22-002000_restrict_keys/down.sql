ALTER TABLE api_key_secrets
    DROP COLUMN revision,
    DROP COLUMN expires_at,
    DROP COLUMN revoked_at;

ALTER TABLE api_keys
    DROP COLUMN scopes,
    DROP COLUMN models,
    DROP COLUMN networks,
    DROP COLUMN rate_limits,
    DROP COLUMN expires_at,
    DROP COLUMN disabled_at;
