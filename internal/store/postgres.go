package store

import (
	"context"
	"database/sql"
	"log/slog"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"

	"opsbot/internal/fault"
	"opsbot/runbooks/engine"
)

// pg is the PostgreSQL side of a store.
type pg struct {
	config  *pgx.ConnConfig
	db      *sql.DB
	dialect *dialect
	channel string // of LISTEN and NOTIFY; one per schema

	untold   atomic.Uint32 // topics that the other replicas have not heard of
	kick     chan struct{}
	unsealed chan struct{} // this process has committed audit entries
	quit     chan struct{}
	errands  sync.WaitGroup
}

// As a subquery, the clock is read once per statement and can bound an index
// scan; it is not the transaction's start, which may be long ago.
const pgNow = `(SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT))`

// pgTurns takes the turn of every key, in their order, until the end of the
// transaction. Keys of one hash take turns needlessly.
const pgTurns = `SELECT pg_advisory_xact_lock(hashtextextended(current_schema() || ' ' || k, 0)) FROM unnest(string_to_array($1, chr(10))) AS k`

const (
	pgConnections = 16
	pgIdle        = pgConnections // closing and opening them costs more than they do
	// pgRetries bounds how often a transaction is tried again when PostgreSQL
	// could not order it among others.
	pgRetries = 10
	// pgPatience bounds a transaction, so that nobody waits for long on a
	// connection that the network has forgotten.
	pgPatience = 10 * time.Second
	// pgSilence is how long a process may say nothing in the middle of a
	// transaction before the server ends it: one that is frozen or cut off there
	// holds row locks, which would keep others from taking over its runs. It is
	// far more than any transaction of ours waits for its own process.
	pgSilence = engine.LeaseTime
)

// pgDialer finds out within half a minute that a connection nobody writes to
// leads nowhere: that of LISTEN.
var pgDialer = net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 10 * time.Second, Interval: 5 * time.Second, Count: 3}}

func (s *Store) openPG(ctx context.Context, loc location) error {
	config, err := pgx.ParseConfig(loc.postgres)
	if err != nil {
		// Its text may hold what was in the URL.
		return fault.New(fault.Invalid, "The database URL is not a valid PostgreSQL URL.").Hinted("%s", urlHint)
	}
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = 5 * time.Second
	}
	config.DialFunc = pgDialer.DialContext
	if config.RuntimeParams["idle_in_transaction_session_timeout"] == "" {
		config.RuntimeParams["idle_in_transaction_session_timeout"] = strconv.FormatInt(pgSilence.Milliseconds(), 10)
	}
	if config.RuntimeParams["application_name"] == "" {
		config.RuntimeParams["application_name"] = "opsbot"
	}
	if s.readOnly {
		config.RuntimeParams["default_transaction_read_only"] = "on"
	}
	s.dialect = newDialect("postgres", pgNow, "FOR UPDATE SKIP LOCKED", "FOR UPDATE")
	s.dialect.turns = pgTurns
	db := stdlib.OpenDB(*config)
	db.SetMaxOpenConns(pgConnections)
	db.SetMaxIdleConns(pgIdle)
	db.SetConnMaxIdleTime(5 * time.Minute)
	s.reads = db
	s.pg = &pg{config: config, db: db, dialect: s.dialect, kick: make(chan struct{}, 1), unsealed: make(chan struct{}, 1), quit: make(chan struct{})}
	var schema sql.NullString
	if err := db.QueryRowContext(ctx, `SELECT current_schema()`).Scan(&schema); err != nil {
		return unreachable(config, err)
	}
	if !schema.Valid {
		return fault.New(fault.Conflict, "The database %s has no schema for opsbot's tables.", config.Database).
			Hinted("Create the schema that search_path names, or leave search_path out.")
	}
	s.pg.channel = "opsbot:" + schema.String
	if len(s.pg.channel) > 63 {
		s.pg.channel = s.pg.channel[:63] // PostgreSQL's limit for names
	}
	if err := s.pg.migrate(ctx, s.readOnly, schema.String); err != nil {
		return err
	}
	s.pg.errands.Go(func() { s.pg.tellOthers(s.log) })
	if !s.readOnly {
		s.pg.errands.Go(s.sealer)
	}
	return nil
}

// unreachable says what is wrong with the server, without the password.
func unreachable(config *pgx.ConnConfig, err error) error {
	where := net.JoinHostPort(config.Host, strconv.Itoa(int(config.Port)))
	switch sqlState(err) {
	case "28P01", "28000":
		return fault.New(fault.Forbidden, "PostgreSQL at %s refuses the user %s.", where, config.User).Hinted("Check the user and the password of the database URL.").Because(err)
	case "3D000":
		return fault.New(fault.NotFound, "PostgreSQL at %s has no database %s.", where, config.Database).Hinted("Create it: createdb %s", config.Database).Because(err)
	}
	return fault.New(fault.Unavailable, "PostgreSQL at %s does not answer.", where).Hinted("Check that it runs and that the database URL names the right host and port.").Because(err)
}

// migrate lets one replica at a time bring the schema up to date.
func (p *pg) migrate(ctx context.Context, readOnly bool, schema string) (err error) {
	if readOnly {
		return migrate(ctx, p.db, "postgres", true)
	}
	conn, err := p.db.Conn(ctx)
	if err != nil {
		return interpret(ctx, err, "connect")
	}
	defer func() { err = also(err, conn.Close()) }()
	if _, err := conn.ExecContext(ctx, `SELECT pg_advisory_lock(hashtext($1))`, "opsbot migrates "+schema); err != nil {
		return interpret(ctx, err, "lock the schema")
	}
	defer func() {
		_, unlock := conn.ExecContext(context.WithoutCancel(ctx), `SELECT pg_advisory_unlock(hashtext($1))`, "opsbot migrates "+schema)
		err = also(err, unlock)
	}()
	return migrate(ctx, p.db, "postgres", false)
}

// within runs one transaction in the time that it has.
func (p *pg) within(ctx context.Context, transaction func(context.Context) error) error {
	limited, cancel := context.WithTimeout(ctx, pgPatience)
	defer cancel()
	err := transaction(limited)
	if err == nil || ctx.Err() != nil || limited.Err() == nil {
		return err
	}
	// The other connections of the pool may be as dead, and each would take as
	// long to find out.
	p.db.SetMaxIdleConns(0)
	p.db.SetMaxIdleConns(pgIdle)
	return fault.New(fault.Unavailable, "The database does not answer.").
		Hinted("Nothing was lost; it works again once the database is back.").Because(err)
}

func (p *pg) write(ctx context.Context, fn func(*tx) error) (raised topics, err error) {
	for attempt := 1; ; attempt++ {
		err := p.within(ctx, func(ctx context.Context) (err error) {
			raised, err = p.once(ctx, fn)
			return err
		})
		if err == nil || attempt == pgRetries || !mayRetry(err) {
			return raised, err
		}
		select { // apart from whom it collided with
		case <-ctx.Done():
			return 0, err
		case <-time.After(rand.N(time.Duration(attempt) * 5 * time.Millisecond)):
		}
	}
}

func (p *pg) once(ctx context.Context, fn func(*tx) error) (_ topics, err error) {
	conn, err := p.db.Conn(ctx)
	if err != nil {
		return 0, interpret(ctx, err, "connect")
	}
	defer func() { err = also(err, conn.Close()) }()
	stx, err := conn.BeginTx(ctx, nil)
	if err != nil {
		return 0, interpret(ctx, err, "begin")
	}
	done := false
	defer func() {
		if !done { // fn failed or panicked
			err = also(err, ignoreDone(stx.Rollback()))
		}
	}()
	t := &tx{ctx: ctx, dialect: p.dialect, handle: stx}
	t.send = func(ctx context.Context, batch []statement) error { return sendTo(ctx, conn, batch) }
	if err := fn(t); err != nil {
		return 0, err
	}
	if err := t.flush(); err != nil {
		return 0, err
	}
	done = true
	return t.raised, interpret(ctx, stx.Commit(), "commit")
}

// sendTo executes the statements on the connection, within its transaction.
func sendTo(ctx context.Context, conn *sql.Conn, batch []statement) error {
	if len(batch) == 1 {
		_, err := conn.ExecContext(ctx, batch[0].query, batch[0].args...)
		return interpret(ctx, err, batch[0].query)
	}
	return conn.Raw(func(driver any) error {
		var b pgx.Batch
		for _, s := range batch {
			b.Queue(s.query, s.args...)
		}
		results := driver.(*stdlib.Conn).Conn().SendBatch(ctx, &b)
		for _, s := range batch {
			if _, err := results.Exec(); err != nil {
				_ = results.Close() // says the same
				return interpret(ctx, err, s.query)
			}
		}
		return interpret(ctx, results.Close(), "send a batch")
	})
}

// tell lets the other replicas know, soon. It is not part of the transaction:
// commits that notify wait for each other, fsync included.
func (p *pg) tell(raised topics) {
	if raised == 0 {
		return
	}
	p.untold.Or(uint32(raised))
	nudge(p.kick)
}

func (p *pg) tellOthers(log *slog.Logger) {
	for open := true; open; {
		select {
		case <-p.kick:
		case <-p.quit:
			open = false // one last time
		}
		raised := topics(p.untold.Swap(0))
		if raised == 0 {
			continue
		}
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		_, err := p.db.ExecContext(ctx, `SELECT pg_notify($1, $2)`, p.channel, strconv.Itoa(int(raised)))
		cancel()
		if err != nil {
			log.Debug("other replicas were not told of a change; they poll", "error", err)
		}
	}
}

// listen raises what other replicas, and this one, told of, until ctx ends.
func (p *pg) listen(ctx context.Context, log *slog.Logger, raise func(topics)) {
	const slowest = 10 * time.Second
	wait := 100 * time.Millisecond
	for ctx.Err() == nil {
		err := p.listenOnce(ctx, raise, func() { wait = 100 * time.Millisecond })
		if ctx.Err() != nil {
			return
		}
		log.Warn("listening to the database was interrupted", "error", err, "again_in", wait)
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
		wait = min(2*wait, slowest)
	}
}

func (p *pg) listenOnce(ctx context.Context, raise func(topics), connected func()) error {
	conn, err := pgx.ConnectConfig(ctx, p.config)
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = conn.Close(ctx) // the connection is of no more use either way
	}()
	if _, err := conn.Exec(ctx, "LISTEN "+pgx.Identifier{p.channel}.Sanitize()); err != nil {
		return err
	}
	connected()
	raise(topicRuns | topicInbox | topicOutbox) // for what was missed before
	for {
		var n *pgconn.Notification
		if n, err = conn.WaitForNotification(ctx); err != nil {
			return err
		}
		if raised, err := strconv.Atoi(n.Payload); err == nil {
			raise(topics(raised))
		}
	}
}

func (p *pg) close() error {
	close(p.quit)
	p.errands.Wait()
	return p.db.Close()
}
