-- Spaces, and the ends of people, grants and access methods. What was deleted keeps its row, since attempts, events and
-- late results name it; what must be unique, and what it says of a person, is taken out of it.

ALTER TABLE user_identity ADD COLUMN deleted_at BIGINT;
ALTER TABLE acs_user ADD COLUMN deleted_at BIGINT;
ALTER TABLE access_grant ADD COLUMN deleted_at BIGINT;
ALTER TABLE access_grant ADD COLUMN customization_profile_id TEXT;
ALTER TABLE access_method ADD COLUMN deleted_at BIGINT;
ALTER TABLE event ADD COLUMN space_id TEXT;
CREATE INDEX access_grant_by_reservation ON access_grant (workspace_id, reservation_key);

CREATE TABLE space (
    space_id TEXT PRIMARY KEY,
    workspace_id TEXT NOT NULL REFERENCES workspace (workspace_id),
    space_key TEXT,
    name TEXT NOT NULL,
    customer_key TEXT,
    customer_data TEXT,
    created_at BIGINT NOT NULL,
    deleted_at BIGINT,
    UNIQUE (workspace_id, space_key)
);
CREATE INDEX space_by_time ON space (workspace_id, created_at, space_id);

CREATE TABLE space_entrance (
    space_id TEXT NOT NULL REFERENCES space (space_id),
    acs_entrance_id TEXT NOT NULL REFERENCES acs_entrance (acs_entrance_id),
    PRIMARY KEY (space_id, acs_entrance_id)
);
CREATE INDEX space_entrance_by_entrance ON space_entrance (acs_entrance_id);

CREATE TABLE access_grant_space (
    access_grant_id TEXT NOT NULL REFERENCES access_grant (access_grant_id),
    space_id TEXT NOT NULL REFERENCES space (space_id),
    PRIMARY KEY (access_grant_id, space_id)
);
CREATE INDEX access_grant_space_by_space ON access_grant_space (space_id);

-- The doors that a grant's cards open, as far as events have told.
CREATE TABLE access_grant_door (
    access_grant_id TEXT NOT NULL REFERENCES access_grant (access_grant_id),
    acs_entrance_id TEXT NOT NULL REFERENCES acs_entrance (acs_entrance_id),
    PRIMARY KEY (access_grant_id, acs_entrance_id)
);
