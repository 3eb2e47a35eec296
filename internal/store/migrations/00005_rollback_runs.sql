-- Conventions as in 00001_runs.sql.

-- +goose Up

ALTER TABLE runs ADD COLUMN undoes TEXT NOT NULL DEFAULT ''; -- id of the ended run whose rollback this one is; '' for none

-- +goose Down
ALTER TABLE runs DROP COLUMN undoes;
