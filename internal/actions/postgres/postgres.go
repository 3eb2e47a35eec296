// Package postgres offers runbook actions on PostgreSQL, and with the store
// alone imports its client.
//
// It works under up to three roles of least privileges: one that reads, one
// that maintains what it owns, and one that restores beside the live database.
// SQL that people influence is sent with the extended protocol only, which
// takes one statement; names are looked up in the catalog and quoted.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"opsbot/internal/fault"
	"opsbot/runbooks"
)

const (
	connectTimeout = 4 * time.Second
	// poolSize bounds what opsbot takes of the server's slots.
	poolSize = 3
	// identifyWithin bounds what is asked for an identity.
	identifyWithin = 5 * time.Second
	// lockTimeout bounds how long a reading statement waits for a lock.
	lockTimeout = 3 * time.Second
	// ddlLockTimeout does the same for building an index.
	ddlLockTimeout = 30 * time.Second
)

// A Role is a user of the server. The zero value is none.
type Role struct {
	User     string
	Password string // "": none is sent
}

// A Config says how a database is reached and what opsbot may do there.
type Config struct {
	URL      string // postgres://user@host:port/database?sslmode=…
	Username string // "": the URL's
	Password string // "": the URL's, or none

	Maintenance Role // owns, or is a member of the owner of, what it maintains
	Restore     Role // owner's member with CREATEDB
	// Reserve is a superuser: its reserved slot is used to look around, and to
	// end sessions, when no other is left. Only psql logs in as it.
	Reserve Role

	Queries  map[string]Query
	Indexes  map[string]Index
	Archives map[string]Archive
	Backups  string        // glob of the dumps that may be restored; "": none
	Psql     Psql          // nil: the program psql of this machine
	DDLWait  time.Duration // for locks, when an index is built; 0 is 30 seconds
}

// A Conn is one database of one server. It is safe for concurrent use.
type Conn struct {
	config   Config
	base     *pgx.ConnConfig
	pool     *pgxpool.Pool // of the reading role
	database string

	mu   sync.Mutex
	seen map[string][]sighting // by run and step: what a preview showed
}

// Open checks the configuration and prepares a connection; it reaches nothing
// yet. The error is of kind Invalid and never repeats the URL, which may hold a
// password.
func Open(c Config) (*Conn, error) {
	base, err := pgx.ParseConfig(c.URL)
	if err != nil {
		return nil, fault.New(fault.Invalid, "The address of a PostgreSQL connection is not one that opsbot understands.").
			Hinted("Write postgres://USER@HOST:PORT/DATABASE.")
	}
	if base.Database == "" {
		return nil, fault.New(fault.Invalid, "The address of a PostgreSQL connection names no database.").
			Hinted("Write postgres://USER@HOST:PORT/DATABASE.")
	}
	if c.Username != "" {
		base.User = c.Username
	}
	if c.Password != "" {
		base.Password = c.Password
	}
	if c.DDLWait == 0 {
		c.DDLWait = ddlLockTimeout
	}
	if c.Backups != "" {
		if _, err := filepath.Match(c.Backups, ""); err != nil || !filepath.IsAbs(c.Backups) {
			return nil, fault.New(fault.Invalid, "The backups of a PostgreSQL connection are an absolute path with * in its last part.")
		}
	}
	base.ConnectTimeout = connectTimeout
	base.DefaultQueryExecMode = pgx.QueryExecModeDescribeExec // no statements stay behind
	for name, value := range map[string]string{
		"application_name": "opsbot", "timezone": "UTC", "datestyle": "ISO", "intervalstyle": "postgres",
		"lock_timeout": milliseconds(lockTimeout), "idle_in_transaction_session_timeout": "30000",
		"statement_timeout": "60000",
	} {
		base.RuntimeParams[name] = value
	}
	conn := &Conn{config: c, base: base, database: base.Database, seen: map[string][]sighting{}}
	if c.Psql == nil {
		conn.config.Psql = conn.localPsql()
	}
	for id, q := range c.Queries {
		if err := q.check(); err != nil {
			return nil, fault.New(fault.Invalid, "The query %s %s.", id, err)
		}
	}
	pooled, err := pgxpool.ParseConfig("")
	if err != nil {
		return nil, fmt.Errorf("prepare a pool: %w", err)
	}
	pooled.ConnConfig = base.Copy()
	pooled.MaxConns, pooled.MinConns, pooled.MaxConnIdleTime = poolSize, 0, time.Minute
	if conn.pool, err = pgxpool.NewWithConfig(context.Background(), pooled); err != nil {
		return nil, fmt.Errorf("prepare a pool: %w", err)
	}
	return conn, nil
}

// Identity returns the server's system_identifier and the database's name.
func (c *Conn) Identity(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, identifyWithin)
	defer cancel()
	var id string
	err := c.pool.QueryRow(ctx, "SELECT system_identifier::text FROM pg_control_system()").Scan(&id)
	if err != nil {
		return "", c.explain("reach", err)
	}
	return id + "/" + c.database, nil
}

// Address says where the connection leads: "postgres prod-db:5432/bot_production".
func (c *Conn) Address() string { return "postgres " + c.place() }

// Close ends the connection's sockets.
func (c *Conn) Close() error {
	c.pool.Close()
	return nil
}

func (c *Conn) place() string {
	host := c.base.Host
	if !strings.HasPrefix(host, "/") {
		host = net.JoinHostPort(host, strconv.Itoa(int(c.base.Port)))
	}
	return host + "/" + c.database
}

// subject begins a sentence about this database.
func (c *Conn) subject() string { return "PostgreSQL at " + c.place() }

// read runs fn in a read-only transaction of the reading role. Statements end
// shortly before ctx does, so that the server says why and the connection can
// be used again.
func (c *Conn) read(ctx context.Context, doing string, fn func(tx pgx.Tx) error) error {
	err := pgx.BeginTxFunc(ctx, c.pool, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		if end, ok := ctx.Deadline(); ok {
			left := max(time.Until(end)*9/10, 100*time.Millisecond)
			if _, err := tx.Exec(ctx, "SET LOCAL statement_timeout = "+milliseconds(left)); err != nil {
				return err
			}
		}
		return fn(tx)
	})
	return c.explain(doing, err)
}

// login opens a connection of its own for a role: what it does may take long,
// or must not be in a transaction.
func (c *Conn) login(ctx context.Context, role Role, database string, notice func(*pgconn.Notice)) (*pgx.Conn, error) {
	cfg := c.base.Copy()
	cfg.User, cfg.Password, cfg.Database = role.User, role.Password, database
	cfg.RuntimeParams["statement_timeout"] = "0" // ctx bounds it
	if notice != nil {
		cfg.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) { notice(n) }
	}
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, c.explain("reach", err)
	}
	return conn, nil
}

// as runs fn on a connection of its own for a role, which is closed after it.
func (c *Conn) as(ctx context.Context, role Role, database, doing string, fn func(conn *pgx.Conn) error) error {
	conn, err := c.login(ctx, role, database, nil)
	if err != nil {
		return err
	}
	defer hangUp(conn)
	return c.explain(doing, fn(conn))
}

// maintain is as of the maintenance role, with statements that wait for locks
// for long enough.
func (c *Conn) maintain(ctx context.Context, doing string, fn func(conn *pgx.Conn) error) error {
	if c.config.Maintenance.User == "" {
		return fault.New(fault.Forbidden, "%s has no user for maintenance.", c.subject()).
			Hinted("Set maintenance_user on the connection; its documentation lists what to grant.")
	}
	return c.as(ctx, c.config.Maintenance, c.database, doing, func(conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, "SET lock_timeout = "+milliseconds(c.config.DDLWait))
		if err != nil {
			return err
		}
		return fn(conn)
	})
}

// hangUp closes a connection, in its own time.
func hangUp(conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), connectTimeout)
	defer cancel()
	_ = conn.Close(ctx)
}

// run sends one statement by the extended protocol, which refuses a second
// one, and drops what it returns.
func run(ctx context.Context, on interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}, sql string, args ...any) error {
	rows, err := on.Query(ctx, sql, append([]any{pgx.QueryExecModeExec}, args...)...)
	if err != nil {
		return err
	}
	rows.Close()
	return rows.Err()
}

// milliseconds writes a time limit as PostgreSQL takes it.
func milliseconds(d time.Duration) string { return strconv.FormatInt(max(d.Milliseconds(), 1), 10) }

// quoted makes a name of schema and name safe to be put into SQL.
func quoted(parts ...string) string { return pgx.Identifier(parts).Sanitize() }

// connOf returns the connection that a call is aimed at.
func connOf(call runbooks.Call) (*Conn, error) {
	c, ok := call.Target.Conn.(*Conn)
	if !ok {
		return nil, fmt.Errorf("target %s of step %s is a %T, not a PostgreSQL connection", call.Target.Name, call.Step, call.Target.Conn)
	}
	return c, nil
}

// argsOf returns the decoded arguments of a call.
func argsOf[T any](call runbooks.Call) (*T, error) {
	args, ok := call.Args.(*T)
	if !ok {
		return nil, fmt.Errorf("arguments of step %s are a %T", call.Step, call.Args)
	}
	return args, nil
}

// aimed returns both.
func aimed[T any](call runbooks.Call) (*Conn, *T, error) {
	c, err := connOf(call)
	if err != nil {
		return nil, nil, err
	}
	args, err := argsOf[T](call)
	return c, args, err
}

// pause waits, unless ctx ends first.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// ours reports whether the error is one that people understand already.
func ours(err error) bool {
	var f *fault.Error
	return errors.As(err, &f)
}
