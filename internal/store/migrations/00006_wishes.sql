-- Conventions as in 00001_runs.sql.

-- +goose Up

ALTER TABLE runs ADD COLUMN wishes TEXT NOT NULL DEFAULT ''; -- JSON array: steps that people want left out or tried again

-- +goose Down
ALTER TABLE runs DROP COLUMN wishes;
