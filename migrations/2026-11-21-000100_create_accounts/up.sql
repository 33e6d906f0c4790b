-- People, accounts and memberships.
--
-- accounts and users are small, global tables (reference tables when the schema is distributed); every table with an account_id
-- column is a tenant table, distributed by it, and holds it in every unique index.

CREATE TABLE accounts (
    id uuid NOT NULL,
    name text NOT NULL,
    provider_organization_id text,
    created_at timestamptz NOT NULL,
    CONSTRAINT accounts_pkey PRIMARY KEY (id),
    CONSTRAINT accounts_provider_organization_id_key UNIQUE (provider_organization_id),
    CONSTRAINT accounts_name_length CHECK (char_length(name) BETWEEN 1 AND 256)
);

CREATE TABLE users (
    id uuid NOT NULL,
    provider_id text NOT NULL,
    personal_account_id uuid NOT NULL,
    email text,
    email_verified boolean NOT NULL DEFAULT false,
    first_name text,
    last_name text,
    image_url text,
    profile_asked_at timestamptz,
    profile_read_at timestamptz,
    created_at timestamptz NOT NULL,
    CONSTRAINT users_pkey PRIMARY KEY (id),
    CONSTRAINT users_provider_id_key UNIQUE (provider_id),
    CONSTRAINT users_personal_account_id_key UNIQUE (personal_account_id),
    CONSTRAINT users_personal_account_id_fkey FOREIGN KEY (personal_account_id) REFERENCES accounts (id)
);

CREATE TABLE memberships (
    account_id uuid NOT NULL,
    user_id uuid NOT NULL,
    role text NOT NULL,
    provider_role text,
    created_at timestamptz NOT NULL,
    CONSTRAINT memberships_pkey PRIMARY KEY (account_id, user_id),
    CONSTRAINT memberships_account_id_fkey FOREIGN KEY (account_id) REFERENCES accounts (id),
    CONSTRAINT memberships_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (id),
    CONSTRAINT memberships_role_known CHECK (role IN ('owner', 'admin', 'editor', 'viewer'))
);

CREATE INDEX memberships_user_id_idx ON memberships (user_id);
