-- Times are unix milliseconds of the database's clock, 0 means never.
-- Columns that hold JSON say so; '' in them means null.
-- {serial} is the dialect's ever-rising integer primary key.

-- +goose Up

CREATE TABLE snapshots (
    digest TEXT PRIMARY KEY, -- SHA-256 of text, hex
    text   BYTEA NOT NULL    -- a runbook as runs were started with it
);

CREATE TABLE counters (
    name  TEXT PRIMARY KEY,
    value BIGINT NOT NULL    -- the last number given; its row lock also orders the creation of runs
);
INSERT INTO counters (name, value) VALUES ('run', 0);

CREATE TABLE runs (
    id          TEXT PRIMARY KEY,
    number      BIGINT NOT NULL UNIQUE,     -- people say R12
    runbook     TEXT NOT NULL,              -- slug
    title       TEXT NOT NULL,
    digest      TEXT NOT NULL REFERENCES snapshots (digest),
    environment TEXT NOT NULL,
    critical    BOOLEAN NOT NULL,
    params      TEXT NOT NULL,              -- JSON object
    starter     TEXT NOT NULL,              -- JSON actor
    origin      TEXT NOT NULL,              -- JSON conversation
    request_key TEXT NOT NULL,              -- of the command that started it; '' for none
    subject     TEXT NOT NULL,              -- what it belongs to, an incident's id; '' for none
    parent_id   TEXT NOT NULL,              -- '' for none
    root_id     TEXT NOT NULL,              -- itself without a parent
    dry_run     BOOLEAN NOT NULL,
    state       TEXT NOT NULL,
    verdict     TEXT NOT NULL,
    phase       TEXT NOT NULL,
    cursor      TEXT NOT NULL,              -- next step's id in the phase
    paused      BOOLEAN NOT NULL,
    stop        TEXT NOT NULL,              -- JSON: who asked to stop, why, when
    outcome     TEXT NOT NULL,
    lock_keys   TEXT NOT NULL,              -- JSON array: what it asked to lock
    offers      TEXT NOT NULL,              -- JSON array: runbooks to start next by one click
    wake_at     BIGINT NOT NULL,            -- when ready: not before
    created_at  BIGINT NOT NULL,
    started_at  BIGINT NOT NULL,            -- first claimed
    ended_at    BIGINT NOT NULL,
    acting_ns   BIGINT NOT NULL,            -- nanoseconds, so that short steps add up
    restarts    BIGINT NOT NULL,            -- how often an owner was lost in the middle of a step
    owner       TEXT NOT NULL DEFAULT '',   -- still set after the lease ran out: the owner was lost
    epoch       BIGINT NOT NULL DEFAULT 0,
    lease_until BIGINT NOT NULL DEFAULT 0,
    due_at      BIGINT                      -- may be claimed from then on; NULL: waits, paused or ended
);
CREATE INDEX runs_due ON runs (due_at, number) WHERE due_at IS NOT NULL;
CREATE INDEX runs_owner ON runs (owner) WHERE owner <> '';
CREATE UNIQUE INDEX runs_request_key ON runs (request_key) WHERE request_key <> '';
CREATE INDEX runs_runbook ON runs (runbook, number);
CREATE INDEX runs_subject ON runs (subject, number) WHERE subject <> '';
CREATE INDEX runs_unended ON runs (number) WHERE state NOT IN ('succeeded', 'failed', 'canceled');

-- The journal: one row per attempt of a step.
CREATE TABLE steps (
    run_id    TEXT NOT NULL REFERENCES runs (id),
    seq       BIGINT NOT NULL,   -- from 1, over the whole run
    step      TEXT NOT NULL,
    number    BIGINT NOT NULL,   -- from 1, within the step
    item      BIGINT NOT NULL,   -- of an each, from 1; 0: the step as a whole
    purpose   TEXT NOT NULL,     -- step, item, recheck or verify
    phase     TEXT NOT NULL,
    epoch     BIGINT NOT NULL,   -- of the run when the intent was written
    effect    BIGINT NOT NULL,   -- 0 read, 1 change, 2 destructive
    state     TEXT NOT NULL,     -- intent, done, failed, uncertain, skipped, superseded
    status    TEXT NOT NULL,     -- the verdict, once judged
    intent_at BIGINT NOT NULL,
    result_at BIGINT NOT NULL,
    deadline  BIGINT NOT NULL,   -- of a watch or a wait
    result    TEXT NOT NULL,     -- JSON of the action's result
    saved     TEXT NOT NULL,     -- JSON object
    found     TEXT NOT NULL,
    fault     TEXT NOT NULL,
    approval  TEXT NOT NULL,     -- id it acted under; '' for none
    output    TEXT NOT NULL,     -- what the action wrote, bounded by the engine
    PRIMARY KEY (run_id, seq)
);

CREATE TABLE approvals (
    id           TEXT PRIMARY KEY,
    run_id       TEXT NOT NULL REFERENCES runs (id),
    position     BIGINT NOT NULL,  -- from 0, in order of creation within the run
    step         TEXT NOT NULL,
    kind         TEXT NOT NULL,
    state        TEXT NOT NULL,
    digest       TEXT NOT NULL,    -- of what was shown
    card         TEXT NOT NULL,    -- JSON of what was shown
    live         TEXT NOT NULL,    -- JSON of the values at the time of asking
    identity     TEXT NOT NULL,    -- of the connection at the time of asking
    asked_groups TEXT NOT NULL,    -- JSON array; '' or []: the starter alone
    needed       BIGINT NOT NULL,
    phrase       TEXT NOT NULL,    -- to be typed; '' for none
    created_at   BIGINT NOT NULL,
    expires_at   BIGINT NOT NULL,
    remind_at    BIGINT NOT NULL,
    decided_at   BIGINT NOT NULL,
    attend_at    BIGINT            -- the earlier of expiry and reminder; NULL: neither, or not open
);
CREATE INDEX approvals_run ON approvals (run_id, position);
CREATE INDEX approvals_attend ON approvals (attend_at) WHERE attend_at IS NOT NULL;

-- Answers to approvals. Rows are only ever added.
CREATE TABLE votes (
    approval_id TEXT NOT NULL REFERENCES approvals (id),
    position    BIGINT NOT NULL,  -- from 0, in order of arrival
    run_id      TEXT NOT NULL REFERENCES runs (id),
    actor       TEXT NOT NULL,    -- JSON actor
    decision    TEXT NOT NULL,
    reason      TEXT NOT NULL,
    fields      TEXT NOT NULL,    -- JSON object of a manual step's form
    request_key TEXT NOT NULL,    -- of the request it came with; '' for none
    cast_at     TEXT NOT NULL,    -- RFC 3339: as the person's door saw it
    PRIMARY KEY (approval_id, position)
);
CREATE INDEX votes_run ON votes (run_id);

-- Held locks; a row goes when the root run gives up its locks.
CREATE TABLE locks (
    key     TEXT PRIMARY KEY,
    root_id TEXT NOT NULL,        -- the run at the top, which children share the lock with
    since   BIGINT NOT NULL
);
CREATE INDEX locks_root ON locks (root_id);

-- Who did what to what. Rows are only ever added; each one's hash covers the one before.
CREATE TABLE audit (
    seq       BIGINT PRIMARY KEY, -- from 1, without a gap
    at        BIGINT NOT NULL,
    actor     TEXT NOT NULL,      -- JSON actor
    act       TEXT NOT NULL,
    run_id    TEXT NOT NULL,
    step      TEXT NOT NULL,
    approval  TEXT NOT NULL,
    digest    TEXT NOT NULL,      -- of what was shown or done
    outcome   TEXT NOT NULL,
    detail    TEXT NOT NULL,
    prev_hash TEXT NOT NULL,      -- '' in the first row
    hash      TEXT NOT NULL       -- SHA-256, hex
);
CREATE INDEX audit_run ON audit (run_id, seq);

-- The chain's last link; its row lock orders the writers.
CREATE TABLE audit_head (
    one  BIGINT PRIMARY KEY CHECK (one = 1),
    seq  BIGINT NOT NULL,
    hash TEXT NOT NULL
);
INSERT INTO audit_head (one, seq, hash) VALUES (1, 0, '');

-- +goose Down
DROP TABLE audit_head;
DROP TABLE audit;
DROP TABLE locks;
DROP TABLE votes;
DROP TABLE approvals;
DROP TABLE steps;
DROP TABLE runs;
DROP TABLE counters;
DROP TABLE snapshots;
