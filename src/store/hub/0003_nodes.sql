-- Several workspaces in one hub, several nodes on one database.

-- An attempt belongs to a workspace and not every attempt has an encoder. What names the table is made anew with it,
-- since no statement that all engines have takes NOT NULL from a column.
CREATE TABLE action_attempt_3 (
    action_attempt_id TEXT PRIMARY KEY,
    workspace_id TEXT NOT NULL REFERENCES workspace (workspace_id),
    action_type TEXT NOT NULL,
    status TEXT NOT NULL,
    acs_encoder_id TEXT REFERENCES acs_encoder (acs_encoder_id),
    acs_credential_id TEXT REFERENCES acs_credential (acs_credential_id),
    result TEXT,
    error TEXT,
    created_at BIGINT NOT NULL,
    deadline_at BIGINT NOT NULL,
    started_at BIGINT,
    settled_at BIGINT
);
INSERT INTO action_attempt_3
    SELECT t.action_attempt_id, s.workspace_id, t.action_type, t.status, t.acs_encoder_id, t.acs_credential_id, t.result,
    t.error, t.created_at, t.deadline_at, t.started_at, t.settled_at
    FROM action_attempt t JOIN acs_encoder n ON n.acs_encoder_id = t.acs_encoder_id
    JOIN acs_system s ON s.acs_system_id = n.acs_system_id;

CREATE TABLE job_3 (
    action_attempt_id TEXT PRIMARY KEY REFERENCES action_attempt_3 (action_attempt_id),
    acs_encoder_id TEXT NOT NULL REFERENCES acs_encoder (acs_encoder_id),
    work TEXT NOT NULL,
    card_wait_ms BIGINT NOT NULL,
    -- waiting, offered, started, done
    state TEXT NOT NULL,
    fence BIGINT NOT NULL,
    -- When it was last offered or started.
    moved_at BIGINT NOT NULL
);
INSERT INTO job_3
    SELECT action_attempt_id, acs_encoder_id, work, card_wait_ms, state, fence, moved_at FROM job;

CREATE TABLE job_result_3 (
    action_attempt_id TEXT NOT NULL REFERENCES job_3 (action_attempt_id),
    fence BIGINT NOT NULL,
    outcome TEXT NOT NULL,
    settled BIGINT NOT NULL,
    received_at BIGINT NOT NULL,
    PRIMARY KEY (action_attempt_id, fence)
);
INSERT INTO job_result_3 SELECT action_attempt_id, fence, outcome, settled, received_at FROM job_result;

DROP TABLE job_result;
DROP TABLE job;
DROP TABLE action_attempt;
ALTER TABLE action_attempt_3 RENAME TO action_attempt;
ALTER TABLE job_3 RENAME TO job;
ALTER TABLE job_result_3 RENAME TO job_result;

CREATE INDEX action_attempt_by_time ON action_attempt (workspace_id, created_at, action_attempt_id);
CREATE INDEX action_attempt_open ON action_attempt (created_at) WHERE status = 'pending';
CREATE INDEX action_attempt_of_credential ON action_attempt (acs_credential_id);
-- One at a time: of two requests that come at once only one can be first.
CREATE UNIQUE INDEX action_attempt_open_on_encoder ON action_attempt (acs_encoder_id)
    WHERE status = 'pending' AND acs_encoder_id IS NOT NULL;
CREATE UNIQUE INDEX action_attempt_open_for_credential ON action_attempt (acs_credential_id)
    WHERE status = 'pending' AND acs_credential_id IS NOT NULL;
CREATE INDEX job_open ON job (acs_encoder_id) WHERE state <> 'done';

CREATE INDEX acs_encoder_of_bridge ON acs_encoder (bridge_id);
CREATE INDEX acs_system_of_workspace ON acs_system (workspace_id);

-- Each workspace counts its events for itself: whoever writes them has its workspace alone.
DROP INDEX event_by_position;
CREATE UNIQUE INDEX event_of_workspace ON event (workspace_id, position);

-- Keys to the Seam API. Only hashes: nobody who reads the database can ask for anything with what he finds.
CREATE TABLE api_key (
    api_key_id TEXT PRIMARY KEY,
    -- None: a personal access token, which names its workspace with each request.
    workspace_id TEXT REFERENCES workspace (workspace_id),
    name TEXT NOT NULL,
    -- How it begins, to be told from others.
    prefix TEXT NOT NULL,
    -- SHA-256 of the key, in hex. Keys are 256 random bits, so that a slow hash would protect nothing.
    hash TEXT NOT NULL UNIQUE,
    created_at BIGINT NOT NULL,
    revoked_at BIGINT
);

-- What desks' daemons send. A token is one daemon's from its first use on.
CREATE TABLE bridge_token (
    bridge_token_id TEXT PRIMARY KEY,
    workspace_id TEXT NOT NULL REFERENCES workspace (workspace_id),
    bridge_id TEXT,
    name TEXT NOT NULL,
    hash TEXT NOT NULL UNIQUE,
    created_at BIGINT NOT NULL,
    revoked_at BIGINT
);
CREATE INDEX bridge_token_of_bridge ON bridge_token (bridge_id);

-- Nodes that share the database, and the daemons that ask them for work. One node alone writes neither.
CREATE TABLE hub_node (
    node_id TEXT PRIMARY KEY,
    alive_at BIGINT NOT NULL
);
CREATE TABLE bridge_at_node (
    bridge_id TEXT NOT NULL,
    node_id TEXT NOT NULL,
    -- A daemon may ask one node and then another, and each says for itself when it asks no more.
    PRIMARY KEY (bridge_id, node_id)
);

-- What daemons last said of their encoders.
CREATE TABLE encoder_report (
    acs_encoder_id TEXT PRIMARY KEY REFERENCES acs_encoder (acs_encoder_id),
    bridge_id TEXT NOT NULL,
    report TEXT NOT NULL,
    reported_at BIGINT NOT NULL
);
