DROP INDEX CONCURRENTLY IF EXISTS audit_signed_heads_hash_key;
