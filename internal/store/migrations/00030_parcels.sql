-- Conventions as in 00001_runs.sql.

-- +goose Up

-- What leaves the house other than by Slack: pages, and updates to the public.
-- Rows stay: they say what reached whom.
CREATE TABLE parcels (
    id          {serial},
    key         TEXT NOT NULL UNIQUE,
    place       TEXT NOT NULL,           -- as configured
    subject     TEXT NOT NULL,           -- what it is about: an incident's id
    kind        TEXT NOT NULL,
    body        TEXT NOT NULL,           -- JSON
    state       TEXT NOT NULL,           -- waiting late delivered failed
    told        TEXT NOT NULL DEFAULT 'waiting', -- the last state that people were told of
    why         TEXT NOT NULL DEFAULT '',
    link        TEXT NOT NULL DEFAULT '',
    tries       BIGINT NOT NULL DEFAULT 0,
    created_at  BIGINT NOT NULL,
    changed_at  BIGINT NOT NULL,
    retry_at    BIGINT NOT NULL DEFAULT 0,
    owner       TEXT NOT NULL DEFAULT '',
    lease_until BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX parcels_due ON parcels (place, subject, id) WHERE state IN ('waiting', 'late');
CREATE INDEX parcels_untold ON parcels (id) WHERE state <> told;
CREATE INDEX parcels_subject ON parcels (subject, id);

-- +goose Down
DROP TABLE parcels;
