-- Conventions as in 00001_runs.sql.

-- +goose Up

ALTER TABLE alerts ADD COLUMN report TEXT NOT NULL DEFAULT '';      -- JSON: the newest report
ALTER TABLE alerts ADD COLUMN fired_at BIGINT NOT NULL DEFAULT 0;   -- when the report came with which the episode began

-- What of a group of alerts is on an incident's timeline.
CREATE TABLE incident_alerts (
    incident_id TEXT NOT NULL REFERENCES incidents (id),
    group_id    TEXT NOT NULL,
    own         BOOLEAN NOT NULL,  -- somebody said that the alerts belong to the incident
    began       TEXT NOT NULL,     -- JSON array of onsets whose beginning is on it
    ended       TEXT NOT NULL,     -- JSON array of onsets whose end is on it
    entries     BIGINT NOT NULL,   -- how many the group has there
    PRIMARY KEY (incident_id, group_id)
);
CREATE INDEX incident_alerts_group ON incident_alerts (group_id);

-- +goose Down
DROP TABLE incident_alerts;
ALTER TABLE alerts DROP COLUMN fired_at;
ALTER TABLE alerts DROP COLUMN report;
