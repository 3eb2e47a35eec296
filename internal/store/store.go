// Package store keeps incidents, runs and the outbox in PostgreSQL or SQLite.
//
// Both databases run the same SQL text; see dialect for the three placeholders
// that differ. The database's clock decides everything that depends on time.
// Nothing in here talks to the network inside a transaction but to the
// database itself.
package store

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"sync"
	"time"

	"opsbot/internal/fault"
)

// Options configure Open. The zero value works.
type Options struct {
	Log *slog.Logger // nil: nothing is logged
}

// A Store is an open database. It is safe for concurrent use.
type Store struct {
	log      *slog.Logger
	dialect  *dialect
	readOnly bool
	reads    *sql.DB
	signals  signals
	texts    snapshots

	lite *lite // of SQLite, nil otherwise
	pg   *pg   // of PostgreSQL, nil otherwise

	errands sync.WaitGroup // what a call left to be done after it returned
	closing sync.Once
	closed  error
}

// Open opens the database that url names and brings its schema up to date:
// "sqlite:opsbot.db", "sqlite:/var/lib/opsbot/opsbot.db" or "postgres://…".
//
// A SQLite file belongs to one process at a time: Open returns an *OwnedError
// when another has it, and clears the leases that a dead owner left. Every
// other failure that people can do something about is a *fault.Error; none
// holds the URL's password.
func Open(ctx context.Context, url string, o Options) (*Store, error) {
	return open(ctx, url, o, false)
}

// OpenReadOnly opens the database for looking only: nothing is migrated and no
// lease is touched. A SQLite file may have an owner meanwhile.
func OpenReadOnly(ctx context.Context, url string) (*Store, error) {
	return open(ctx, url, Options{}, true)
}

func open(ctx context.Context, url string, o Options, readOnly bool) (*Store, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	loc, err := parseURL(url)
	if err != nil {
		return nil, err
	}
	s := &Store{log: o.Log, readOnly: readOnly, signals: newSignals()}
	if loc.file != "" {
		err = s.openLite(ctx, loc)
	} else {
		err = s.openPG(ctx, loc)
	}
	if err != nil {
		return nil, also(err, s.Close())
	}
	return s, nil
}

// Close ends the store; it is safe to call again. Transactions that are
// waiting to start fail.
func (s *Store) Close() error {
	s.closing.Do(func() {
		s.errands.Wait()
		var errs []error
		if s.reads != nil && s.lite != nil { // PostgreSQL reads and writes through one pool
			errs = append(errs, s.reads.Close())
		}
		if s.lite != nil {
			errs = append(errs, s.lite.close())
		}
		if s.pg != nil {
			errs = append(errs, s.pg.close())
		}
		s.closed = errors.Join(errs...)
	})
	return s.closed
}

// Ping reports whether the database answers, and takes writes unless it was
// opened read-only.
func (s *Store) Ping(ctx context.Context) error {
	if s.readOnly {
		_, err := s.now(ctx)
		return err
	}
	return s.write(ctx, func(t *tx) error {
		_, err := t.now()
		return err
	})
}

// Dialect is "sqlite" or "postgres".
func (s *Store) Dialect() string { return s.dialect.name }

func (s *Store) now(ctx context.Context) (time.Time, error) {
	var ms int64
	err := s.read(ctx, func(t *tx) (err error) {
		ms, err = t.now()
		return err
	})
	return moment(ms), err
}

// write runs fn in a transaction that is durable when write returns nil. fn
// may run again when the database asks for it.
func (s *Store) write(ctx context.Context, fn func(*tx) error) error {
	if s.readOnly {
		return fault.New(fault.Conflict, "The database is open for reading only.")
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	var raised topics
	var err error
	if s.lite != nil {
		raised, err = s.lite.write(ctx, fn)
	} else {
		raised, err = s.pg.write(ctx, fn)
	}
	if err != nil {
		return err
	}
	s.signals.raise(raised)
	if s.pg != nil {
		if raised&topicAudit != 0 {
			nudge(s.pg.unsealed)
		}
		s.pg.tell(raised &^ topicAudit)
	}
	return nil
}

// read runs fn on one snapshot of the database.
func (s *Store) read(ctx context.Context, fn func(*tx) error) error {
	if s.pg == nil {
		return s.readOnce(ctx, nil, fn)
	}
	return s.pg.within(ctx, func(ctx context.Context) error {
		return s.readOnce(ctx, &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true}, fn)
	})
}

func (s *Store) readOnce(ctx context.Context, opts *sql.TxOptions, fn func(*tx) error) (err error) {
	stx, err := s.reads.BeginTx(ctx, opts)
	if err != nil {
		return interpret(ctx, err, "begin")
	}
	defer func() { err = also(err, ignoreDone(stx.Rollback())) }()
	return fn(&tx{ctx: ctx, dialect: s.dialect, handle: stx})
}

// also adds a second error to the first, which stays as it is when there is
// no second: callers compare.
func also(err, second error) error {
	if second == nil {
		return err
	}
	return errors.Join(err, second)
}

// ignoreDone drops what a rollback says after the context has ended the
// transaction already.
func ignoreDone(err error) error {
	if errors.Is(err, sql.ErrTxDone) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return nil
	}
	return err
}

// housekeeping is what Serve does every so often, in one transaction each.
var housekeeping = []string{
	// Keys are kept for a day so that a late second delivery is recognised.
	`DELETE FROM inbox WHERE due_at IS NULL AND recorded_at < {now} - 86400000`,
	// Why something could not be said is of use for as long as people ask.
	`DELETE FROM outbox WHERE dropped_at < {now} - 604800000`,
	// A group of alerts that ended so long ago fires anew.
	`DELETE FROM alerts WHERE NOT firing AND changed_at < {now} - 2592000000`,
	// What came of schedules is kept for about a year.
	`DELETE FROM firings WHERE fired_at < {now} - 34560000000`,
}

const housekeepingEvery = 10 * time.Minute

// Serve keeps the store in order until ctx ends: it passes on what other
// replicas signal, seals what killed ones left of the audit log, and forgets
// what is no longer needed. It returns nil then.
func (s *Store) Serve(ctx context.Context) error {
	var wg sync.WaitGroup
	if s.pg != nil {
		wg.Go(func() { s.pg.listen(ctx, s.log, s.signals.raise) })
		wg.Go(func() { s.leftBehind(ctx) })
	}
	tick := time.NewTicker(housekeepingEvery)
	defer tick.Stop()
	for {
		if err := s.tidy(ctx); err != nil && ctx.Err() == nil {
			s.log.Warn("housekeeping of the database failed", "error", err)
		}
		select {
		case <-ctx.Done():
			wg.Wait()
			return nil
		case <-tick.C:
		}
	}
}

func (s *Store) tidy(ctx context.Context) error {
	for _, query := range housekeeping {
		err := s.write(ctx, func(t *tx) error {
			_, err := t.exec(query)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}
