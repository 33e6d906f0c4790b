-- The index of a primary key to be, which takes its name. Going back, that migration has dropped it.

CREATE UNIQUE INDEX CONCURRENTLY platform_audit_signed_heads_signature_key ON platform_audit_signed_heads (seq, signature);
