CREATE TABLE settings (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
);

-- A device and its encoder in the cloud. One that was unlinked by hand is not linked again by itself.
CREATE TABLE links (
    device_id TEXT PRIMARY KEY,
    acs_encoder_id TEXT,
    unlinked BIGINT NOT NULL DEFAULT 0,
    display_name TEXT,
    updated_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX links_by_encoder ON links (acs_encoder_id) WHERE acs_encoder_id IS NOT NULL;

-- The identity that was last seen at a configured port, for the time in which nothing is plugged in there.
CREATE TABLE ports (
    path TEXT PRIMARY KEY,
    device_id TEXT NOT NULL
);

-- A job is written down before a card is touched and kept after it has ended, so that it never runs twice.
CREATE TABLE journal (
    action_attempt_id TEXT PRIMARY KEY,
    job TEXT NOT NULL,
    issued_at BIGINT NOT NULL,
    card_number TEXT,
    plan TEXT,
    outcome TEXT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);

-- Results that the cloud has not acknowledged.
CREATE TABLE outbox (
    action_attempt_id TEXT PRIMARY KEY,
    result TEXT NOT NULL,
    created_at BIGINT NOT NULL
);
