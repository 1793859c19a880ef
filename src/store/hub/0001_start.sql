-- Ids are UUIDs as text, times are milliseconds since 1970, flags are 0 or 1: types that every engine has.

CREATE TABLE workspace (
    workspace_id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE TABLE acs_system (
    acs_system_id TEXT PRIMARY KEY,
    workspace_id TEXT NOT NULL REFERENCES workspace (workspace_id),
    connected_account_id TEXT NOT NULL,
    name TEXT NOT NULL,
    time_zone TEXT,
    created_at BIGINT NOT NULL
);

CREATE TABLE acs_entrance (
    acs_entrance_id TEXT PRIMARY KEY,
    acs_system_id TEXT NOT NULL REFERENCES acs_system (acs_system_id),
    door BIGINT NOT NULL,
    display_name TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    UNIQUE (acs_system_id, door)
);

CREATE TABLE user_identity (
    user_identity_id TEXT PRIMARY KEY,
    workspace_id TEXT NOT NULL REFERENCES workspace (workspace_id),
    user_identity_key TEXT,
    email_address TEXT,
    phone_number TEXT,
    full_name TEXT,
    created_at BIGINT NOT NULL,
    UNIQUE (workspace_id, user_identity_key)
);

CREATE TABLE acs_user (
    acs_user_id TEXT PRIMARY KEY,
    acs_system_id TEXT NOT NULL REFERENCES acs_system (acs_system_id),
    user_identity_id TEXT REFERENCES user_identity (user_identity_id),
    full_name TEXT,
    email_address TEXT,
    phone_number TEXT,
    access_starts_at BIGINT,
    access_ends_at BIGINT,
    created_at BIGINT NOT NULL,
    UNIQUE (acs_system_id, user_identity_id)
);

CREATE TABLE acs_credential (
    acs_credential_id TEXT PRIMARY KEY,
    acs_system_id TEXT NOT NULL REFERENCES acs_system (acs_system_id),
    acs_user_id TEXT REFERENCES acs_user (acs_user_id),
    user_identity_id TEXT REFERENCES user_identity (user_identity_id),
    display_name TEXT NOT NULL,
    starts_at BIGINT NOT NULL,
    ends_at BIGINT,
    times_changed_at BIGINT NOT NULL,
    -- What is on the card, and on which.
    card_number TEXT,
    issued_at BIGINT,
    issued_starts_at BIGINT,
    issued_ends_at BIGINT,
    -- A card that may or may not hold the credential: torn after the seal, or crashed before the report.
    in_doubt_card_number TEXT,
    created_at BIGINT NOT NULL,
    deleted_at BIGINT
);
CREATE INDEX acs_credential_by_user ON acs_credential (acs_user_id);
CREATE INDEX acs_credential_by_identity ON acs_credential (user_identity_id);
CREATE INDEX acs_credential_by_time ON acs_credential (created_at, acs_credential_id);
CREATE INDEX acs_credential_in_doubt ON acs_credential (in_doubt_card_number) WHERE in_doubt_card_number IS NOT NULL;

CREATE TABLE acs_credential_entrance (
    acs_credential_id TEXT NOT NULL REFERENCES acs_credential (acs_credential_id),
    acs_entrance_id TEXT NOT NULL REFERENCES acs_entrance (acs_entrance_id),
    PRIMARY KEY (acs_credential_id, acs_entrance_id)
);

CREATE TABLE access_grant (
    access_grant_id TEXT PRIMARY KEY,
    workspace_id TEXT NOT NULL REFERENCES workspace (workspace_id),
    user_identity_id TEXT NOT NULL REFERENCES user_identity (user_identity_id),
    access_grant_key TEXT,
    reservation_key TEXT,
    name TEXT,
    display_name TEXT NOT NULL,
    starts_at BIGINT NOT NULL,
    ends_at BIGINT,
    created_at BIGINT NOT NULL,
    UNIQUE (workspace_id, access_grant_key)
);
CREATE INDEX access_grant_by_identity ON access_grant (user_identity_id);

CREATE TABLE access_grant_entrance (
    access_grant_id TEXT NOT NULL REFERENCES access_grant (access_grant_id),
    acs_entrance_id TEXT NOT NULL REFERENCES acs_entrance (acs_entrance_id),
    PRIMARY KEY (access_grant_id, acs_entrance_id)
);

CREATE TABLE access_method (
    access_method_id TEXT PRIMARY KEY,
    access_grant_id TEXT NOT NULL REFERENCES access_grant (access_grant_id),
    acs_credential_id TEXT NOT NULL REFERENCES acs_credential (acs_credential_id),
    display_name TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    UNIQUE (acs_credential_id)
);
CREATE INDEX access_method_by_grant ON access_method (access_grant_id);

CREATE TABLE acs_encoder (
    acs_encoder_id TEXT PRIMARY KEY,
    acs_system_id TEXT NOT NULL REFERENCES acs_system (acs_system_id),
    display_name TEXT NOT NULL,
    -- The linked device; none once the link was dissolved.
    bridge_id TEXT,
    device_id TEXT,
    simulated BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    removed_at BIGINT,
    UNIQUE (bridge_id, device_id)
);

CREATE TABLE action_attempt (
    action_attempt_id TEXT PRIMARY KEY,
    action_type TEXT NOT NULL,
    status TEXT NOT NULL,
    acs_encoder_id TEXT NOT NULL REFERENCES acs_encoder (acs_encoder_id),
    acs_credential_id TEXT REFERENCES acs_credential (acs_credential_id),
    result TEXT,
    error TEXT,
    created_at BIGINT NOT NULL,
    deadline_at BIGINT NOT NULL,
    started_at BIGINT,
    settled_at BIGINT
);
CREATE INDEX action_attempt_by_time ON action_attempt (created_at, action_attempt_id);
-- One at a time: of two requests that come at once only one can be first.
CREATE UNIQUE INDEX action_attempt_open_on_encoder ON action_attempt (acs_encoder_id) WHERE status = 'pending';
CREATE UNIQUE INDEX action_attempt_open_for_credential ON action_attempt (acs_credential_id)
    WHERE status = 'pending' AND acs_credential_id IS NOT NULL;

CREATE TABLE job (
    action_attempt_id TEXT PRIMARY KEY REFERENCES action_attempt (action_attempt_id),
    acs_encoder_id TEXT NOT NULL REFERENCES acs_encoder (acs_encoder_id),
    work TEXT NOT NULL,
    card_wait_ms BIGINT NOT NULL,
    -- waiting, offered, started, done
    state TEXT NOT NULL,
    fence BIGINT NOT NULL,
    -- When it was last offered or started.
    moved_at BIGINT NOT NULL
);
CREATE INDEX job_open ON job (acs_encoder_id) WHERE state <> 'done';

-- The first result for each offer; a repeated one is answered from here.
CREATE TABLE job_result (
    action_attempt_id TEXT NOT NULL REFERENCES job (action_attempt_id),
    fence BIGINT NOT NULL,
    outcome TEXT NOT NULL,
    settled BIGINT NOT NULL,
    received_at BIGINT NOT NULL,
    PRIMARY KEY (action_attempt_id, fence)
);

CREATE TABLE event (
    event_id TEXT PRIMARY KEY,
    -- The order in which things happened; several fall into one millisecond.
    position BIGINT NOT NULL,
    workspace_id TEXT NOT NULL REFERENCES workspace (workspace_id),
    event_type TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    body TEXT NOT NULL,
    -- What it is about, for the filters of /events/list.
    connected_account_id TEXT,
    acs_system_id TEXT,
    acs_entrance_id TEXT,
    acs_user_id TEXT,
    acs_encoder_id TEXT,
    acs_credential_id TEXT,
    access_grant_id TEXT,
    access_method_id TEXT,
    user_identity_id TEXT
);
CREATE INDEX event_by_position ON event (position);
CREATE INDEX event_by_time ON event (created_at);
