CREATE TABLE webhook (
    webhook_id TEXT PRIMARY KEY,
    workspace_id TEXT NOT NULL REFERENCES workspace (workspace_id),
    url TEXT NOT NULL,
    -- A JSON list; "*" stands for all types.
    event_types TEXT NOT NULL,
    -- Deliveries are signed with it, so it has to be known here in clear.
    secret TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    -- Since when its tries have failed; none once one succeeded.
    failing_since BIGINT,
    -- Its receiver wants no more.
    disabled_at BIGINT
);
CREATE INDEX webhook_by_workspace ON webhook (workspace_id, created_at);

-- What is to be delivered: one row for a webhook and an event, written in the event's transaction.
CREATE TABLE webhook_delivery (
    webhook_id TEXT NOT NULL REFERENCES webhook (webhook_id) ON DELETE CASCADE,
    event_id TEXT NOT NULL REFERENCES event (event_id),
    -- The event's.
    position BIGINT NOT NULL,
    -- waiting, delivered, given_up, stopped
    state TEXT NOT NULL,
    -- Counted before each try.
    tries BIGINT NOT NULL,
    -- When it is tried next.
    next_at BIGINT NOT NULL,
    -- The node that makes a try, and until when the try is its own; 0 when there is none.
    claimed_by TEXT,
    claimed_until BIGINT NOT NULL,
    -- The last try.
    tried_at BIGINT,
    last_status BIGINT,
    last_error TEXT,
    ended_at BIGINT,
    PRIMARY KEY (webhook_id, event_id)
);
CREATE INDEX webhook_delivery_waiting ON webhook_delivery (webhook_id, next_at, position) WHERE state = 'waiting';
CREATE INDEX webhook_delivery_ended ON webhook_delivery (ended_at) WHERE ended_at IS NOT NULL;
