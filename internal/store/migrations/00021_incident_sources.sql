-- Conventions as in 00001_runs.sql.

-- +goose Up

-- Which entries of timelines a Slack message is, and what corrected them.
CREATE TABLE incident_sources (
    channel     TEXT NOT NULL,
    ts          TEXT NOT NULL,
    incident_id TEXT NOT NULL REFERENCES incidents (id),
    seq         BIGINT NOT NULL,
    PRIMARY KEY (channel, ts, incident_id, seq)
);

-- +goose Down
DROP TABLE incident_sources;
