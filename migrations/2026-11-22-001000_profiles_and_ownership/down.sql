ALTER TABLE accounts DROP COLUMN given_to;

UPDATE users SET state = 'active' WHERE state = 'paused';
ALTER TABLE users
    DROP CONSTRAINT users_state_known,
    ADD CONSTRAINT users_state_known CHECK (state IN ('active', 'deleted')),
    DROP CONSTRAINT users_settings_small,
    DROP CONSTRAINT users_username_shape,
    DROP CONSTRAINT users_username_key,
    DROP COLUMN settings,
    DROP COLUMN username;
