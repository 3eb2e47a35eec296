-- What came from Slack and what goes to it. Conventions as in 00001_runs.sql.

-- +goose Up

CREATE TABLE inbox (
    id          {serial},          -- order of arrival
    key         TEXT NOT NULL UNIQUE,
    kind        TEXT NOT NULL,
    payload     BYTEA NOT NULL,    -- Slack's JSON; emptied when done
    received_at BIGINT NOT NULL,   -- by the receiver's clock
    recorded_at BIGINT NOT NULL,   -- by the database's clock; keys are kept for a day from here
    attempts    BIGINT NOT NULL DEFAULT 0,
    owner       TEXT NOT NULL DEFAULT '',
    lease_until BIGINT NOT NULL DEFAULT 0,
    due_at      BIGINT,            -- NULL: done
    ticket      BIGINT NOT NULL,   -- random, of the newest recording; one that came too late for its acknowledgement is withdrawn by it
    why         TEXT NOT NULL DEFAULT '' -- of the last time it was put back
);
CREATE INDEX inbox_due ON inbox (due_at, id) WHERE due_at IS NOT NULL;
CREATE INDEX inbox_recorded ON inbox (recorded_at) WHERE due_at IS NULL;

-- Where messages were posted, by the key that later notices edit them under.
CREATE TABLE messages (
    target_key TEXT PRIMARY KEY,
    channel    TEXT NOT NULL,
    ts         TEXT NOT NULL,      -- '' : not posted, or forgotten
    version    BIGINT NOT NULL     -- of the newest notice that left the outbox
);

CREATE TABLE outbox (
    id           {serial},         -- order within a conversation
    key          TEXT NOT NULL,    -- '' : a message that is never edited
    conversation TEXT NOT NULL,    -- what is delivered one after the other
    under        TEXT NOT NULL,    -- key of the message whose thread it belongs to; '' for none
    notice       TEXT NOT NULL,    -- JSON of the address
    kind         TEXT NOT NULL,    -- of the content
    content      TEXT NOT NULL,    -- JSON
    version      BIGINT NOT NULL,  -- rises with every notice of the key
    created_at   BIGINT NOT NULL,
    not_before   BIGINT NOT NULL,  -- does not hold up others in the conversation before that
    retry_at     BIGINT NOT NULL DEFAULT 0, -- holds up the conversation until then
    attempts     BIGINT NOT NULL DEFAULT 0,
    owner        TEXT NOT NULL DEFAULT '',
    lease_until  BIGINT NOT NULL DEFAULT 0,
    tried        BOOLEAN NOT NULL DEFAULT FALSE, -- a lease ended in silence: it may be in Slack already
    why          TEXT NOT NULL DEFAULT '',  -- of the last failure
    dropped_at   BIGINT            -- given up then; NULL: still to be delivered
);
CREATE UNIQUE INDEX outbox_key ON outbox (key) WHERE dropped_at IS NULL AND key <> '';
CREATE INDEX outbox_due ON outbox (not_before, id) WHERE dropped_at IS NULL;
CREATE INDEX outbox_conversation ON outbox (conversation, not_before, id) WHERE dropped_at IS NULL;
CREATE INDEX outbox_leased ON outbox (conversation) WHERE lease_until > 0;
CREATE INDEX outbox_dropped ON outbox (key, dropped_at) WHERE dropped_at IS NOT NULL;

-- Members of Slack user groups, as last heard.
CREATE TABLE usergroups (
    handle     TEXT PRIMARY KEY,
    members    TEXT NOT NULL,      -- JSON array of user ids
    fetched_at BIGINT NOT NULL
);

-- +goose Down
DROP TABLE usergroups;
DROP TABLE outbox;
DROP TABLE messages;
DROP TABLE inbox;
