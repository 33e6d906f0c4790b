-- What people choose here, and whom accounts were given to.

ALTER TABLE users
    ADD COLUMN username text,
    -- theme, time_zone, locale, and an object of fields of a frontend's own; nothing here decides anything
    ADD COLUMN settings jsonb NOT NULL DEFAULT '{}',
    ADD CONSTRAINT users_username_key UNIQUE (username),
    ADD CONSTRAINT users_username_shape CHECK (username ~ '^[a-z][a-z0-9_-]{2,31}$'),
    ADD CONSTRAINT users_settings_small CHECK (
        jsonb_typeof(settings) = 'object' AND octet_length(settings::text) <= 32768
    );

-- A person whom the provider bans is paused.
ALTER TABLE users
    DROP CONSTRAINT users_state_known,
    ADD CONSTRAINT users_state_known CHECK (state IN ('active', 'paused', 'deleted'));

-- The provider's id of the person whom an owner, or an operator, gave the account to. Its creator owns it until then.
ALTER TABLE accounts ADD COLUMN given_to text;
