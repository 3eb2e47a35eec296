package store

import (
	"context"
	"database/sql"
	"errors"
	"sync"
)

// A writer runs every write transaction of a SQLite file, on one connection.
// Those that are waiting when it gets to them share one commit, and so one
// fsync: each is a savepoint within, with an error of its own, and each caller
// is answered only after the commit.
type writer struct {
	db      *sql.DB
	conn    *sql.Conn
	dialect *dialect
	stmts   map[string]*sql.Stmt
	jobs    chan *job
	first   chan *job // go before the others of their batch
	quit    chan struct{}
	once    sync.Once
	stopped chan struct{}
}

// A job is one transaction.
type job struct {
	fn       func(*tx) error
	raised   topics
	err      error
	panicked any
	ran      chan struct{} // closed when fn will not be called any more
	done     chan struct{} // closed when err is final
}

const (
	// maxBatch bounds how long the first of a batch waits for the others.
	maxBatch = 128
	// maxStmts bounds the cache; beyond it, rare statements are prepared anew.
	maxStmts = 300
)

func startWriter(ctx context.Context, db *sql.DB, d *dialect) (*writer, error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, interpret(ctx, err, "open the write connection")
	}
	w := &writer{
		db: db, conn: conn, dialect: d,
		stmts: make(map[string]*sql.Stmt),
		jobs:  make(chan *job), first: make(chan *job),
		quit: make(chan struct{}), stopped: make(chan struct{}),
	}
	go w.serve()
	return w, nil
}

// urgent, as a context's key, sends a transaction to the front.
type urgent struct{}

// do returns when the transaction is committed or has failed. When ctx ends
// before it started, it will not start; when ctx ends while the disk is busy
// with the commit, its outcome is unknown.
func (w *writer) do(ctx context.Context, fn func(*tx) error) (topics, error) {
	j := &job{fn: fn, ran: make(chan struct{}), done: make(chan struct{})}
	queue := w.jobs
	if ctx.Value(urgent{}) != nil {
		queue = w.first
	}
	select {
	case queue <- j:
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-w.stopped:
		return 0, errClosed
	}
	select {
	case <-j.done:
	case <-ctx.Done():
		<-j.ran // fn may hold on to the caller's variables
		select {
		case <-j.done:
		default:
			return 0, ctx.Err()
		}
	}
	if j.panicked != nil {
		panic(j.panicked)
	}
	return j.raised, j.err
}

func (w *writer) close() error {
	w.once.Do(func() { close(w.quit) })
	<-w.stopped
	var errs []error
	for _, s := range w.stmts {
		errs = append(errs, s.Close())
	}
	return errors.Join(append(errs, w.conn.Close())...)
}

func (w *writer) serve() {
	defer close(w.stopped)
	batch := make([]*job, 0, maxBatch)
	for {
		batch = batch[:0]
		select {
		case <-w.quit:
			return
		case j := <-w.first:
			batch = append(batch, j)
		case j := <-w.jobs:
			batch = append(batch, j)
		}
		batch = drain(w.jobs, batch)
		if hurried := drain(w.first, nil); len(hurried) > 0 {
			batch = append(hurried, batch...)
		}
		w.commit(batch)
	}
}

// drain adds to the batch whatever waits in the queue.
func drain(queue chan *job, batch []*job) []*job {
	for len(batch) < maxBatch {
		select {
		case j := <-queue:
			batch = append(batch, j)
		default:
			return batch
		}
	}
	return batch
}

func (w *writer) commit(batch []*job) {
	// No caller's context reaches SQLite: interrupting one statement would
	// roll back what the others of the batch have written.
	ctx := context.Background()
	err := w.exec(ctx, `BEGIN IMMEDIATE`)
	for _, j := range batch {
		if err == nil {
			err = w.run(ctx, j)
		}
		close(j.ran)
	}
	if err == nil {
		err = w.exec(ctx, `COMMIT`)
	}
	if err != nil {
		// SQLite may have rolled back by itself; then this fails, harmlessly.
		_ = w.exec(ctx, `ROLLBACK`)
	}
	for _, j := range batch {
		if j.err == nil && err != nil {
			j.err = interpret(ctx, err, "commit")
		}
		close(j.done)
	}
}

// run calls the job's function in a savepoint. It returns an error when the
// whole batch is lost; the job's own goes to the job.
func (w *writer) run(ctx context.Context, j *job) error {
	if err := w.exec(ctx, `SAVEPOINT job`); err != nil {
		return err
	}
	t := &tx{ctx: ctx, dialect: w.dialect, handle: w}
	func() {
		defer func() {
			if p := recover(); p != nil {
				j.panicked, j.err = p, errors.New("store: a transaction panicked")
			}
		}()
		j.err = j.fn(t)
	}()
	if j.err != nil {
		if err := w.exec(ctx, `ROLLBACK TO job`); err != nil {
			return j.err // SQLite itself rolled everything back, for this reason
		}
	} else {
		j.raised = t.raised
	}
	return w.exec(ctx, `RELEASE job`)
}

func (w *writer) exec(ctx context.Context, query string) error {
	_, err := w.ExecContext(ctx, query)
	return err
}

// ExecContext and QueryContext make the writer a handle with prepared
// statements.
func (w *writer) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	s, err := w.prepare(ctx, query)
	if err != nil {
		return nil, err
	}
	return s.ExecContext(ctx, args...)
}

func (w *writer) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	s, err := w.prepare(ctx, query)
	if err != nil {
		return nil, err
	}
	return s.QueryContext(ctx, args...)
}

func (w *writer) prepare(ctx context.Context, query string) (*sql.Stmt, error) {
	if s, ok := w.stmts[query]; ok {
		return s, nil
	}
	if len(w.stmts) >= maxStmts {
		for q, s := range w.stmts {
			delete(w.stmts, q)
			if err := s.Close(); err != nil {
				return nil, err
			}
		}
	}
	s, err := w.conn.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	w.stmts[query] = s
	return s, nil
}
