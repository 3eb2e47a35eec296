-- Conventions as in 00001_runs.sql.

-- +goose Up

ALTER TABLE runs ADD COLUMN waits_for TEXT NOT NULL DEFAULT ''; -- id of the run whose locks it waits for; '' for none
CREATE INDEX runs_waits_for ON runs (waits_for) WHERE waits_for <> '';

-- +goose Down
DROP INDEX runs_waits_for;
ALTER TABLE runs DROP COLUMN waits_for;
