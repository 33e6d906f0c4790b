DROP TABLE former_service_secrets;

ALTER TABLE service_tokens
    DROP COLUMN networks,
    DROP COLUMN expires_at,
    DROP COLUMN rotated_at;
