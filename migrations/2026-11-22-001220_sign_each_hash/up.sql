-- A row that somebody planted for a record that is still to come, whose hash nobody knows yet, does not take the place of its signature.

ALTER TABLE audit_signed_heads
    DROP CONSTRAINT audit_signed_heads_pkey,
    ADD CONSTRAINT audit_signed_heads_pkey PRIMARY KEY USING INDEX audit_signed_heads_hash_key;

ALTER TABLE platform_audit_signed_heads
    DROP CONSTRAINT platform_audit_signed_heads_pkey,
    ADD CONSTRAINT platform_audit_signed_heads_pkey PRIMARY KEY USING INDEX platform_audit_signed_heads_hash_key;
