-- A row that somebody planted for a head does not take the place of its signature: nobody without the key knows the signature.

ALTER TABLE audit_signed_heads
    DROP CONSTRAINT audit_signed_heads_pkey,
    ADD CONSTRAINT audit_signed_heads_pkey PRIMARY KEY USING INDEX audit_signed_heads_signature_key;

ALTER TABLE platform_audit_signed_heads
    DROP CONSTRAINT platform_audit_signed_heads_pkey,
    ADD CONSTRAINT platform_audit_signed_heads_pkey PRIMARY KEY USING INDEX platform_audit_signed_heads_signature_key;

-- The hash of the head whose signature was verified last. It is a hint, for whoever looks for heads to sign: nothing is believed because
-- of it. All heads are looked at once after this migration. The column beside it is what an index and its statistics can be about.

ALTER TABLE audit_heads
    ADD COLUMN signed_hash bytea,
    ADD COLUMN is_signed boolean NOT NULL GENERATED ALWAYS AS (signed_hash IS NOT DISTINCT FROM hash) STORED,
    ADD CONSTRAINT audit_heads_signed_hash_length CHECK (octet_length(signed_hash) = 32);

ALTER TABLE platform_audit_heads
    ADD COLUMN signed_hash bytea,
    ADD COLUMN is_signed boolean NOT NULL GENERATED ALWAYS AS (signed_hash IS NOT DISTINCT FROM hash) STORED,
    ADD CONSTRAINT platform_audit_heads_signed_hash_length CHECK (octet_length(signed_hash) = 32);
