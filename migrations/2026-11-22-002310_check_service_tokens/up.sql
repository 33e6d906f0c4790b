-- Looks at every token, while they are read and written.

ALTER TABLE service_tokens
    VALIDATE CONSTRAINT service_tokens_networks_few,
    VALIDATE CONSTRAINT service_tokens_expires_after_creation;
