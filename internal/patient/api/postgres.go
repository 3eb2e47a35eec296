package api

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	// Head is the version of the tables, as a migration tool records it.
	Head = "20261014_recon"
	// UserCount is how many people the database knows: u000, u001 and so on.
	UserCount = 60
	// Rows is how many reconciliations a seeded database has.
	Rows = 420_000

	// poolSize is how many connections an API opens at most, and poolWait how
	// long a request waits for one of them.
	poolSize = 5
	poolWait = 2 * time.Second
)

// errBusy is what a request gets that found no connection free.
var errBusy = errors.New("all connections of the pool are in use")

// Users lists the people that the database knows.
func Users() []string {
	names := make([]string, UserCount)
	for i := range names {
		names[i] = fmt.Sprintf("u%03d", i)
	}
	return names
}

// A Postgres is the database in PostgreSQL.
type Postgres struct{ pool *pgxpool.Pool }

// OpenPostgres prepares a pool of connections to url; it connects when asked.
func OpenPostgres(ctx context.Context, url, name string) (*Postgres, error) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("read DATABASE_URL: %w", err)
	}
	config.MaxConns = poolSize
	config.ConnConfig.ConnectTimeout = poolWait
	config.ConnConfig.RuntimeParams["application_name"] = name
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("prepare the database: %w", err)
	}
	return &Postgres{pool}, nil
}

// Close closes all connections.
func (p *Postgres) Close() { p.pool.Close() }

// Ping implements Database.
func (p *Postgres) Ping(ctx context.Context) error { return p.pool.Ping(ctx) }

// Status implements Database. Its query is the one that has no index.
func (p *Postgres) Status(ctx context.Context, user string) (Status, error) {
	waiting, cancel := context.WithTimeout(ctx, poolWait)
	defer cancel()
	conn, err := p.pool.Acquire(waiting)
	if err != nil {
		var dial net.Error
		if waiting.Err() != nil && ctx.Err() == nil && !(errors.As(err, &dial) && !dial.Timeout()) {
			return Status{}, fmt.Errorf("%w: %w", errBusy, err)
		}
		return Status{}, err
	}
	defer conn.Release()
	s := Status{User: user}
	err = conn.QueryRow(ctx, `SELECT status, positions, matched, difference::text, currency, ledger, created_at::date::text
FROM reconciliation_logs WHERE user_id = $1 ORDER BY created_at DESC LIMIT 1`, user).
		Scan(&s.State, &s.Positions, &s.Matched, &s.Difference, &s.Currency, &s.Ledger, &s.Through)
	if errors.Is(err, pgx.ErrNoRows) {
		return Status{}, ErrNoUser
	}
	return s, err
}

//go:embed schema.sql
var schemaSQL string

//go:embed seed.sql
var seedSQL string

// Migrate creates the tables unless they are there, records their version, and
// returns it. The account in url becomes their owner.
func Migrate(ctx context.Context, url string) (head string, err error) {
	err = onConnection(ctx, url, func(conn *pgx.Conn) error {
		if head, err = current(ctx, conn); err != nil || head == Head {
			return err
		}
		tx, err := conn.Begin(ctx)
		if err != nil {
			return err
		}
		defer tx.Rollback(ctx)
		if _, err := tx.Exec(ctx, schemaSQL+`
CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY);
INSERT INTO alembic_version VALUES ('`+Head+`');`); err != nil {
			return err
		}
		head = Head
		return tx.Commit(ctx)
	})
	return head, err
}

// Current returns the recorded version of the tables; "" is none.
func Current(ctx context.Context, url string) (head string, err error) {
	err = onConnection(ctx, url, func(conn *pgx.Conn) error {
		head, err = current(ctx, conn)
		return err
	})
	return head, err
}

func current(ctx context.Context, conn *pgx.Conn) (head string, err error) {
	var there bool
	if err := conn.QueryRow(ctx, `SELECT to_regclass('alembic_version') IS NOT NULL`).Scan(&there); err != nil || !there {
		return "", err
	}
	err = conn.QueryRow(ctx, `SELECT version_num FROM alembic_version`).Scan(&head)
	return head, err
}

// Seed fills the migrated tables with so many reconciliations; 0 is Rows.
func Seed(ctx context.Context, url string, rows int) error {
	if rows == 0 {
		rows = Rows
	}
	return onConnection(ctx, url, func(conn *pgx.Conn) error {
		tx, err := conn.Begin(ctx)
		if err != nil {
			return err
		}
		defer tx.Rollback(ctx)
		fill := strings.NewReplacer("$1", fmt.Sprint(rows), "$2", fmt.Sprint(UserCount)).Replace(seedSQL)
		if _, err := tx.Exec(ctx, fill); err != nil {
			return err
		}
		if err := tx.Commit(ctx); err != nil {
			return err
		}
		_, err = conn.Exec(ctx, `ANALYZE users, positions, signals, approvals, audit_logs, reconciliation_logs, reconciliation_logs_archive`)
		return err
	})
}

// onConnection works on a connection of its own.
func onConnection(ctx context.Context, url string, work func(*pgx.Conn) error) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	return work(conn)
}
