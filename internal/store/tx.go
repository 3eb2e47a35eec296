package store

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"sync"
	"time"
)

// A dialect is what differs between the two databases. Queries are written
// once, with these placeholders:
//
//	{now}   the database's clock in unix milliseconds
//	{skip}  locks the selected rows and skips those locked by others
//	{lock}  locks the selected rows and waits for them
//
// SQLite has one writer, so it needs neither lock.
type dialect struct {
	name     string
	replacer *strings.Replacer
	rendered sync.Map // query as written → query for the database
	turns    string   // see takeTurns; "" where transactions take turns anyway
}

func newDialect(name, now, skip, lock string) *dialect {
	return &dialect{name: name, replacer: strings.NewReplacer("{now}", now, "{skip}", skip, "{lock}", lock)}
}

func (d *dialect) render(query string) string {
	if q, ok := d.rendered.Load(query); ok {
		return q.(string)
	}
	q := d.replacer.Replace(query)
	d.rendered.Store(query, q)
	return q
}

// A handle runs statements: a *sql.Tx, or SQLite's one write connection.
type handle interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// A tx is one transaction. Its methods wrap the database's errors; whatever
// else a transaction function returns reaches the caller as it is.
type tx struct {
	ctx     context.Context
	dialect *dialect
	handle  handle
	raised  topics // to be signaled after the commit

	// send carries statements to the database together; nil: one is as good as
	// another, as with SQLite in this process.
	send  func(ctx context.Context, batch []statement) error
	queue []statement // not sent yet
}

// A statement is a query, rendered, with its arguments.
type statement struct {
	query string
	args  []any
}

// later executes a statement whose outcome nothing in the transaction depends
// on: at the latest before the next one or the commit, and in one journey with
// others. Its error comes then.
func (t *tx) later(query string, args ...any) error {
	if t.send == nil {
		_, err := t.exec(query, args...)
		return err
	}
	t.queue = append(t.queue, statement{t.dialect.render(query), args})
	return nil
}

// flush sends what waits.
func (t *tx) flush() error {
	queue := t.queue
	t.queue = nil
	if len(queue) == 0 {
		return nil
	}
	return t.send(t.ctx, queue)
}

func (t *tx) exec(query string, args ...any) (changed int64, err error) {
	if err := t.flush(); err != nil {
		return 0, err
	}
	res, err := t.handle.ExecContext(t.ctx, t.dialect.render(query), args...)
	if err != nil {
		return 0, interpret(t.ctx, err, query)
	}
	n, err := res.RowsAffected()
	if err != nil {
		return 0, interpret(t.ctx, err, query)
	}
	return n, nil
}

// each calls fn for every row of the result, in order.
func (t *tx) each(query string, args []any, fn func(scan func(...any) error) error) error {
	if err := t.flush(); err != nil {
		return err
	}
	rows, err := t.handle.QueryContext(t.ctx, t.dialect.render(query), args...)
	if err != nil {
		return interpret(t.ctx, err, query)
	}
	defer rows.Close()
	for rows.Next() {
		if err := fn(rows.Scan); err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return interpret(t.ctx, err, query)
	}
	return nil
}

// one scans the only row into dest and reports whether there was one.
func (t *tx) one(query string, args []any, dest ...any) (found bool, err error) {
	err = t.each(query, args, func(scan func(...any) error) error {
		found = true
		if err := scan(dest...); err != nil {
			return fmt.Errorf("store: read a row of %q: %w", head(query), err)
		}
		return nil
	})
	return found && err == nil, err
}

// now is the database's clock at the time of the statement, not of the
// transaction's start: a transaction may have waited for a row in between.
func (t *tx) now() (int64, error) {
	var ms int64
	_, err := t.one(`SELECT {now}`, nil, &ms)
	return ms, err
}

// takeTurns lets the transactions that name a key do the rest one after
// another. The keys are sorted, so that no two wait for each other.
func (t *tx) takeTurns(keys []string) error {
	if t.dialect.turns == "" || len(keys) == 0 {
		return nil
	}
	_, err := t.exec(t.dialect.turns, strings.Join(keys, "\n"))
	return err
}

// head shortens a query for an error message.
func head(query string) string {
	q := strings.Join(strings.Fields(query), " ")
	if len(q) > 60 {
		q = q[:60] + "…"
	}
	return q
}

// topics are what others may be waiting for.
type topics uint8

const (
	topicRuns topics = 1 << iota
	topicInbox
	topicOutbox
	topicAudit // for this process alone: it seals what it has committed
)

// signals wake the consumers in this process.
type signals struct {
	runs, inbox, outbox chan struct{}
}

func newSignals() signals {
	return signals{runs: make(chan struct{}, 1), inbox: make(chan struct{}, 1), outbox: make(chan struct{}, 1)}
}

func (s signals) raise(t topics) {
	for topic, ch := range map[topics]chan struct{}{topicRuns: s.runs, topicInbox: s.inbox, topicOutbox: s.outbox} {
		if t&topic == 0 {
			continue
		}
		nudge(ch)
	}
}

func nudge(ch chan<- struct{}) {
	select {
	case ch <- struct{}{}:
	default: // one is pending already
	}
}

// millis and moment convert between time.Time and the database's form; the
// zero time is 0.
func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func moment(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}
