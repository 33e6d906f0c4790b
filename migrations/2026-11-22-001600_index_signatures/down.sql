DROP INDEX CONCURRENTLY IF EXISTS audit_signed_heads_signature_key;
