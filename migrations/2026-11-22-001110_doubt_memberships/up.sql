-- When the provider was asked last about a person whose token names another membership than is stored.
ALTER TABLE users ADD COLUMN memberships_asked_at timestamptz;

-- People in accounts where they are no members: when their last removal was heard of, and since when tokens alone are believed.
CREATE TABLE unconfirmed_members (
    account_id uuid NOT NULL,
    user_id uuid NOT NULL,
    removed_at timestamptz,
    trusted_since timestamptz,
    CONSTRAINT unconfirmed_members_pkey PRIMARY KEY (account_id, user_id),
    CONSTRAINT unconfirmed_members_account_id_fkey FOREIGN KEY (account_id) REFERENCES accounts (id),
    CONSTRAINT unconfirmed_members_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (id)
);

CREATE INDEX unconfirmed_members_user_id_idx ON unconfirmed_members (user_id);
