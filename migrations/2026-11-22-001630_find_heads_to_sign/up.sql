-- What an ordinary turn of the signing reads.

CREATE INDEX CONCURRENTLY audit_heads_unsigned_idx ON audit_heads (account_id) WHERE NOT is_signed;
