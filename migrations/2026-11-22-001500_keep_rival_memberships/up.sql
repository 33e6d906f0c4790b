-- Whoever leaves and comes back within one moment has two memberships of one version at the provider, and nobody knows which is the later
-- one until one of them is told to have ended: an array of {"id", "role"}.
ALTER TABLE memberships
    ADD COLUMN rivals jsonb NOT NULL DEFAULT '[]',
    ADD CONSTRAINT memberships_rivals_list CHECK (jsonb_typeof(rivals) = 'array');
