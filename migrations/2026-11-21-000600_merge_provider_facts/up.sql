-- Copies of the identity provider's records: what it told last, which version that was, and whether another content was told for the
-- same version. A row without a version is known from elsewhere only, and the provider has to be asked.

ALTER TABLE users
    ADD COLUMN state text NOT NULL DEFAULT 'active',
    ADD COLUMN provider_updated_at timestamptz,
    ADD COLUMN doubtful boolean NOT NULL DEFAULT false,
    ADD CONSTRAINT users_state_known CHECK (state IN ('active', 'deleted')),
    DROP COLUMN profile_read_at;

ALTER TABLE accounts
    ADD COLUMN state text NOT NULL DEFAULT 'active',
    ADD COLUMN created_by text,
    ADD COLUMN provider_updated_at timestamptz,
    ADD COLUMN doubtful boolean NOT NULL DEFAULT false,
    ADD CONSTRAINT accounts_state_known CHECK (state IN ('active', 'paused', 'deleted'));

-- A role key that is not mapped gives no role.
ALTER TABLE memberships
    ALTER COLUMN role DROP NOT NULL,
    ADD COLUMN provider_membership_id text,
    ADD COLUMN provider_updated_at timestamptz,
    ADD COLUMN doubtful boolean NOT NULL DEFAULT false,
    ADD CONSTRAINT memberships_copy_whole CHECK (
        (provider_membership_id IS NULL) = (provider_updated_at IS NULL)
        AND (provider_membership_id IS NULL OR provider_role IS NOT NULL)
    );

-- Ids that the provider deleted. It never gives one twice, so that nothing told later about them counts.
CREATE TABLE buried_provider_ids (
    id text NOT NULL,
    at timestamptz NOT NULL,
    CONSTRAINT buried_provider_ids_pkey PRIMARY KEY (id)
);
