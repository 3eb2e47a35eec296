-- Conventions as in 00001_runs.sql.

-- +goose Up

-- What was learned from incidents, as people left it. Rows are only ever added.
CREATE TABLE postmortems (
    incident_id TEXT NOT NULL REFERENCES incidents (id),
    number      BIGINT NOT NULL,
    body        TEXT NOT NULL, -- Markdown
    author      TEXT NOT NULL, -- JSON
    saved_at    BIGINT NOT NULL,
    PRIMARY KEY (incident_id, number)
);

-- +goose Down
DROP TABLE postmortems;
