-- Conventions as in 00001_runs.sql.

-- +goose Up

-- What committed transactions have to say for the audit log, until it is moved
-- into the chain. The columns are those of audit.
CREATE TABLE audit_unsealed (
    id       {serial},      -- the order within a batch
    at       BIGINT NOT NULL,
    actor    TEXT NOT NULL,
    act      TEXT NOT NULL,
    run_id   TEXT NOT NULL,
    step     TEXT NOT NULL,
    approval TEXT NOT NULL,
    digest   TEXT NOT NULL,
    outcome  TEXT NOT NULL,
    detail   TEXT NOT NULL
);

-- +goose Down
DROP TABLE audit_unsealed;
