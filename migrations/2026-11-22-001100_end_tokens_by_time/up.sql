-- Moments before which session tokens count no more: a person's, by the identity provider's id, or everybody's, which is '*'.

CREATE TABLE session_epochs (
    person text NOT NULL,
    minted_before timestamptz NOT NULL,
    CONSTRAINT session_epochs_pkey PRIMARY KEY (person)
);

CREATE INDEX session_epochs_minted_before_idx ON session_epochs (minted_before);
