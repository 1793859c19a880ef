-- Desks that are paired by a code, and who was offered a job.

CREATE TABLE pairing_code (
    -- What stands before the secret: finds the row.
    public_part TEXT PRIMARY KEY,
    workspace_id TEXT NOT NULL REFERENCES workspace (workspace_id),
    -- The desk's name, if it was given.
    name TEXT,
    -- SHA-256 of the whole code, in hex.
    hash TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    tries_left BIGINT NOT NULL,
    used_at BIGINT
);

ALTER TABLE bridge_token ADD COLUMN last_seen_at BIGINT;
-- A daemon has one token that opens: another desk cannot speak for it with a token of its own.
CREATE UNIQUE INDEX bridge_token_in_use ON bridge_token (bridge_id) WHERE bridge_id IS NOT NULL AND revoked_at IS NULL;

-- Which daemon each offer of a job went to: only that one can start and end it.
CREATE TABLE job_offer (
    action_attempt_id TEXT NOT NULL REFERENCES job (action_attempt_id),
    fence BIGINT NOT NULL,
    bridge_id TEXT NOT NULL,
    PRIMARY KEY (action_attempt_id, fence)
);
INSERT INTO job_offer
    SELECT j.action_attempt_id, j.fence, n.bridge_id FROM job j JOIN acs_encoder n ON n.acs_encoder_id = j.acs_encoder_id
    WHERE j.fence > 0 AND n.bridge_id IS NOT NULL;
