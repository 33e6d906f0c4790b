DROP INDEX buried_provider_ids_at_idx;
DROP TABLE webhook_inbox;
