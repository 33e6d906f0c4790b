DROP TABLE buried_provider_ids;

DELETE FROM memberships WHERE role IS NULL;
ALTER TABLE memberships
    DROP CONSTRAINT memberships_copy_whole,
    DROP COLUMN doubtful,
    DROP COLUMN provider_updated_at,
    DROP COLUMN provider_membership_id,
    ALTER COLUMN role SET NOT NULL;

ALTER TABLE accounts
    DROP CONSTRAINT accounts_state_known,
    DROP COLUMN doubtful,
    DROP COLUMN provider_updated_at,
    DROP COLUMN created_by,
    DROP COLUMN state;

ALTER TABLE users
    ADD COLUMN profile_read_at timestamptz,
    DROP CONSTRAINT users_state_known,
    DROP COLUMN doubtful,
    DROP COLUMN provider_updated_at,
    DROP COLUMN state;
