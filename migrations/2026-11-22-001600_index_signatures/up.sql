-- The index of a primary key to be, which takes its name. Going back, that migration has dropped it.

CREATE UNIQUE INDEX CONCURRENTLY audit_signed_heads_signature_key ON audit_signed_heads (account_id, seq, signature);
