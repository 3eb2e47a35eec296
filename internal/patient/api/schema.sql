-- The patient's tables, owned by the role app. reconciliation_logs has no
-- index for the API's own query: that is its slow query.
CREATE TABLE users (
    id         text PRIMARY KEY,
    name       text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE positions (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id    text NOT NULL REFERENCES users (id),
    symbol     text NOT NULL,
    quantity   numeric(18, 4) NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX ix_positions_user_id ON positions (user_id);

CREATE TABLE signals (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    symbol     text NOT NULL,
    side       text NOT NULL CHECK (side IN ('buy', 'sell')),
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE approvals (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    signal_id  bigint NOT NULL REFERENCES signals (id),
    user_id    text NOT NULL REFERENCES users (id),
    granted    boolean NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE audit_logs (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    actor      text NOT NULL,
    action     text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE reconciliation_logs (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id    text NOT NULL,
    status     text NOT NULL,
    positions  integer NOT NULL,
    matched    integer NOT NULL,
    difference numeric(18, 2) NOT NULL,
    currency   text NOT NULL,
    ledger     text NOT NULL,
    details    text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE reconciliation_logs_archive (
    id         bigint PRIMARY KEY,
    user_id    text NOT NULL,
    status     text NOT NULL,
    positions  integer NOT NULL,
    matched    integer NOT NULL,
    difference numeric(18, 2) NOT NULL,
    currency   text NOT NULL,
    ledger     text NOT NULL,
    details    text NOT NULL,
    created_at timestamptz NOT NULL,
    archived_run text -- the run that moved the row here
);
