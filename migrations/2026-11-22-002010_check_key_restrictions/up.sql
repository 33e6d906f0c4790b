-- Looks at every key, while they are read and written.

ALTER TABLE api_keys
    VALIDATE CONSTRAINT api_keys_scopes_known,
    VALIDATE CONSTRAINT api_keys_models_few,
    VALIDATE CONSTRAINT api_keys_networks_few,
    VALIDATE CONSTRAINT api_keys_rate_limits_few,
    VALIDATE CONSTRAINT api_keys_expires_after_creation;

ALTER TABLE api_key_secrets VALIDATE CONSTRAINT api_key_secrets_revision_positive;
