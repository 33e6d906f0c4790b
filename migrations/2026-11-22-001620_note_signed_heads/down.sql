-- Fails where a number has two signed heads: one of them may have been planted, and which one only a person can say. Nobody signs
-- while the indexes are built: this way leads back to a program of before.

ALTER TABLE platform_audit_heads
    DROP COLUMN is_signed,
    DROP COLUMN signed_hash;

ALTER TABLE audit_heads
    DROP COLUMN is_signed,
    DROP COLUMN signed_hash;

ALTER TABLE platform_audit_signed_heads
    DROP CONSTRAINT platform_audit_signed_heads_pkey,
    ADD CONSTRAINT platform_audit_signed_heads_pkey PRIMARY KEY (seq);

ALTER TABLE audit_signed_heads
    DROP CONSTRAINT audit_signed_heads_pkey,
    ADD CONSTRAINT audit_signed_heads_pkey PRIMARY KEY (account_id, seq);
