-- Conventions as in 00001_runs.sql.

-- +goose Up

-- The schedules of the runbooks that were read last, and when they fire next.
CREATE TABLE schedules (
    id      TEXT PRIMARY KEY, -- runbook's slug, slash, hash of what starts where and when
    runbook TEXT NOT NULL,    -- slug
    next_at BIGINT NOT NULL   -- 0: never again
);
CREATE INDEX schedules_due ON schedules (next_at) WHERE next_at > 0;

-- What came of each time at which a schedule fired.
CREATE TABLE firings (
    schedule_id TEXT NOT NULL,   -- its schedule may be gone
    fire_at     BIGINT NOT NULL, -- when it was to fire
    fired_at    BIGINT NOT NULL, -- when it did
    runbook     TEXT NOT NULL,   -- slug
    environment TEXT NOT NULL,   -- '' where none could be chosen
    run_id      TEXT NOT NULL,   -- '' : not run
    outcome     TEXT NOT NULL,   -- why not; '' when it was run
    PRIMARY KEY (schedule_id, fire_at)
);
CREATE INDEX firings_fired ON firings (fired_at);

-- +goose Down
DROP TABLE firings;
DROP TABLE schedules;
