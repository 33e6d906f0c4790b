-- Organizations from before their creator was kept: asking for their members again tells who it is, and with it who owns the account.

UPDATE users
SET doubtful = true, profile_asked_at = NULL
WHERE id IN (
    SELECT memberships.user_id
    FROM memberships
    JOIN accounts ON accounts.id = memberships.account_id
    WHERE accounts.provider_organization_id IS NOT NULL AND accounts.created_by IS NULL
);
