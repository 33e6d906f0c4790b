-- Sessions that ended are buried ids too, and are asked for by time.

CREATE INDEX CONCURRENTLY buried_provider_ids_at_idx ON buried_provider_ids (at);
