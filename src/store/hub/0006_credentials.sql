-- What is asked of a credential beside doors and times, what its card holds of it, and failures that are played.

ALTER TABLE acs_credential ADD COLUMN metadata TEXT;
-- What was written with the last issue: door numbers and flags. None: it was issued before these were kept.
ALTER TABLE acs_credential ADD COLUMN issued_doors TEXT;
ALTER TABLE acs_credential ADD COLUMN issued_flags TEXT;

-- Doors that all guests share: two cards for one of them are no two cards of one stay.
ALTER TABLE acs_credential_entrance ADD COLUMN is_common BIGINT NOT NULL DEFAULT 0;

-- Who is to get the credential of a scanned card.
ALTER TABLE action_attempt ADD COLUMN acs_user_id TEXT REFERENCES acs_user (acs_user_id);

-- What the next encode or scan of an encoder is to end with, instead of asking its desk.
CREATE TABLE simulation (
    acs_encoder_id TEXT NOT NULL REFERENCES acs_encoder (acs_encoder_id),
    -- encode, scan
    work TEXT NOT NULL,
    -- Only for this credential; none: for any.
    acs_credential_id TEXT REFERENCES acs_credential (acs_credential_id),
    ending TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (acs_encoder_id, work)
);
