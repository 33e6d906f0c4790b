ALTER TABLE accounts DROP COLUMN given_to;

ALTER TABLE users
    DROP CONSTRAINT users_settings_small,
    DROP CONSTRAINT users_username_shape,
    DROP CONSTRAINT users_username_key,
    DROP COLUMN settings,
    DROP COLUMN username;
