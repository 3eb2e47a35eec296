-- Conventions as in 00001_runs.sql.

-- +goose Up

-- The numbers of runs. Giving one locks nothing on PostgreSQL, unlike a counter
-- in a row, for which all creations would wait until each other's commit.
CREATE TABLE run_numbers (
    number {serial},
    run_id TEXT NOT NULL -- '' for numbers that were given before this table
);
-- As many as were given, so that the next one is new.
INSERT INTO run_numbers (run_id)
WITH RECURSIVE given (n) AS (
    SELECT value FROM counters WHERE name = 'run'
    UNION ALL SELECT n - 1 FROM given WHERE n > 0
) SELECT '' FROM given WHERE n > 0;
DELETE FROM counters WHERE name = 'run';

ALTER TABLE runs ADD COLUMN paused_with TEXT NOT NULL DEFAULT ''; -- id of the paused run above it that it last stood still with; '' for none

-- +goose Down
ALTER TABLE runs DROP COLUMN paused_with;
INSERT INTO counters (name, value) SELECT 'run', COALESCE(MAX(number), 0) FROM run_numbers;
DROP TABLE run_numbers;
