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

-- +goose Down
DELETE FROM counters WHERE name = 'deployment';
DROP TABLE deployments;
