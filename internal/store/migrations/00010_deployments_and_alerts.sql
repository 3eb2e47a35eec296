-- Conventions as in 00001_runs.sql.

-- +goose Up

-- What was put into service, by whom and when. Rows are only ever added.
CREATE TABLE deployments (
    number         BIGINT PRIMARY KEY, -- people say D7
    environment    TEXT NOT NULL,
    service        TEXT NOT NULL,
    image          TEXT NOT NULL,      -- as it was asked for
    image_id       TEXT NOT NULL,      -- of the image that runs
    digest         TEXT NOT NULL,
    config_hash    TEXT NOT NULL,
    migration_head TEXT NOT NULL,
    note           TEXT NOT NULL,
    recorded_at    BIGINT NOT NULL,
    run_id         TEXT NOT NULL REFERENCES runs (id),
    step           TEXT NOT NULL,
    UNIQUE (run_id, step, service)     -- a step that is done again writes nothing new
);
CREATE INDEX deployments_service ON deployments (environment, service, number);
INSERT INTO counters (name, value) VALUES ('deployment', 0);

-- Groups of alerts that were reported, and the card that each has in Slack.
CREATE TABLE alerts (
    group_id   TEXT PRIMARY KEY,
    episode    BIGINT NOT NULL,  -- rises when it fires anew: part of the card's key
    firing     BOOLEAN NOT NULL,
    digest     TEXT NOT NULL,    -- of what the card says
    onsets     TEXT NOT NULL,    -- JSON array: its alerts when they were reported resolved
    changed_at BIGINT NOT NULL
);
CREATE INDEX alerts_changed ON alerts (changed_at);

CREATE INDEX runs_ended ON runs (state) WHERE state IN ('succeeded', 'failed', 'canceled'); -- for counting them

-- +goose Down
DROP INDEX runs_ended;
DROP TABLE alerts;
DELETE FROM counters WHERE name = 'deployment';
DROP TABLE deployments;
