-- Conventions as in 00001_runs.sql.

-- +goose Up

CREATE TABLE incidents (
    id              TEXT PRIMARY KEY,
    number          BIGINT NOT NULL UNIQUE,  -- people say INC-7
    title           TEXT NOT NULL,
    state           TEXT NOT NULL,
    since           BIGINT NOT NULL,         -- of the state
    severity        TEXT NOT NULL,
    security        BOOLEAN NOT NULL,
    drill           BOOLEAN NOT NULL,
    declarer        TEXT NOT NULL,           -- JSON actor
    origin          TEXT NOT NULL,           -- JSON conversation
    room            TEXT NOT NULL,           -- id of its own channel; '' for none
    request_key     TEXT NOT NULL,           -- of the request that declared it; '' for none
    down            TEXT NOT NULL,
    affected        TEXT NOT NULL,
    impact          TEXT NOT NULL,
    summary         TEXT NOT NULL,
    why             TEXT NOT NULL,
    into_number     BIGINT NOT NULL,         -- of the incident it was merged into; 0 for none
    started_at      BIGINT NOT NULL,
    detected_at     BIGINT NOT NULL,
    declared_at     BIGINT NOT NULL,
    acknowledged_at BIGINT NOT NULL,
    mitigated_at    BIGINT NOT NULL,
    resolved_at     BIGINT NOT NULL,
    written_at      BIGINT NOT NULL,
    ended_at        BIGINT NOT NULL,
    reopened        BIGINT NOT NULL,
    tasks           TEXT NOT NULL,           -- JSON array
    last_update     TEXT NOT NULL,           -- JSON of the newest update that was posted
    runs            TEXT NOT NULL,           -- JSON array: the newest runs that belong to it
    events          BIGINT NOT NULL          -- number of the newest event
);
CREATE UNIQUE INDEX incidents_request_key ON incidents (request_key) WHERE request_key <> '';
CREATE INDEX incidents_room ON incidents (room) WHERE room <> '';
CREATE INDEX incidents_open ON incidents (number) WHERE state NOT IN ('closed', 'canceled', 'merged');

-- Who has which part now; the timeline says who had it before.
CREATE TABLE incident_roles (
    incident_id TEXT NOT NULL REFERENCES incidents (id),
    position    BIGINT NOT NULL,
    kind        TEXT NOT NULL,
    actor       TEXT NOT NULL,     -- JSON actor
    tag         TEXT NOT NULL,
    since       BIGINT NOT NULL,
    accepted_at BIGINT NOT NULL,   -- 0: was only asked, or acts
    acting      BOOLEAN NOT NULL,
    PRIMARY KEY (incident_id, position)
);

CREATE TABLE incident_clocks (
    incident_id TEXT NOT NULL REFERENCES incidents (id),
    position    BIGINT NOT NULL,
    alarm       TEXT NOT NULL,
    interval_ms BIGINT NOT NULL,   -- 0: off
    due         BIGINT NOT NULL,
    snoozed     BIGINT NOT NULL,
    stage       BIGINT NOT NULL,
    wake_at     BIGINT NOT NULL,   -- when somebody must look at it; 0: not by itself
    set_at      BIGINT NOT NULL,
    nudge       BIGINT NOT NULL,   -- event of the nudge that stands in the room; 0 for none
    PRIMARY KEY (incident_id, position)
);
CREATE INDEX incident_clocks_wake ON incident_clocks (wake_at) WHERE wake_at > 0;

-- The timeline. Rows are only ever added.
CREATE TABLE incident_events (
    incident_id TEXT NOT NULL REFERENCES incidents (id),
    seq         BIGINT NOT NULL,   -- from 1, without a gap
    kind        TEXT NOT NULL,
    actor       TEXT NOT NULL,     -- JSON actor
    text        TEXT NOT NULL,
    occurred_at BIGINT NOT NULL,   -- when it happened
    recorded_at BIGINT NOT NULL,   -- when it was put on record
    about       BIGINT NOT NULL,   -- event that it corrects; 0 for none
    source      TEXT NOT NULL,     -- JSON: the message it comes from
    data        TEXT NOT NULL,     -- JSON object
    request_key TEXT NOT NULL,     -- '' for none
    PRIMARY KEY (incident_id, seq)
);
CREATE INDEX incident_events_request ON incident_events (incident_id, request_key) WHERE request_key <> '';

CREATE TABLE incident_updates (
    id          TEXT PRIMARY KEY,
    incident_id TEXT NOT NULL REFERENCES incidents (id),
    number      BIGINT NOT NULL,   -- from 1, within the incident
    audience    TEXT NOT NULL,
    text        TEXT NOT NULL,
    word        TEXT NOT NULL,     -- the state as the public is told it
    unmoved     BOOLEAN NOT NULL,
    author      TEXT NOT NULL,     -- JSON actor
    written_at  BIGINT NOT NULL,
    state       TEXT NOT NULL,
    decider     TEXT NOT NULL,     -- JSON actor
    decided_at  BIGINT NOT NULL,
    due         BIGINT NOT NULL,
    outcomes    TEXT NOT NULL,     -- JSON array: how publishing went, by place
    UNIQUE (incident_id, number)
);
CREATE INDEX incident_updates_state ON incident_updates (state) WHERE state IN ('draft', 'approved');

-- Which incident a thread belongs to.
CREATE INDEX messages_headlines ON messages (channel, ts) WHERE substr(target_key, 1, 9) = 'incident/';

INSERT INTO counters (name, value) VALUES ('incident', 0);

-- +goose Down
DELETE FROM counters WHERE name = 'incident';
DROP INDEX messages_headlines;
DROP TABLE incident_updates;
DROP TABLE incident_events;
DROP TABLE incident_clocks;
DROP TABLE incident_roles;
DROP TABLE incidents;
