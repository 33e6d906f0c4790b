-- Sessions that ended are buried ids too, and are asked for by time.
-- Databases from before this migration have it.

CREATE INDEX CONCURRENTLY IF NOT EXISTS buried_provider_ids_at_idx ON buried_provider_ids (at);
