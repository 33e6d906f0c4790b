-- The provider may tell of the end of a membership by its id alone.

CREATE INDEX CONCURRENTLY memberships_provider_membership_id_idx ON memberships (provider_membership_id);
