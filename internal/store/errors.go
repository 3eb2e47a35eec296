package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net"

	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"opsbot/internal/fault"
)

// An OwnedError says that another process has the SQLite file. Commands go
// through that process's socket instead.
type OwnedError struct {
	File   string
	Socket string // Unix socket of the owner, where it serves one
	Owner  string // what the owner wrote about itself; may be empty
}

func (e *OwnedError) Error() string {
	by := ""
	if e.Owner != "" {
		by = " (" + e.Owner + ")"
	}
	return fmt.Sprintf("the database %s is in use by another opsbot process%s", e.File, by)
}

// As makes an OwnedError a *fault.Error for those who only want to say it.
func (e *OwnedError) As(target any) bool {
	f, ok := target.(**fault.Error)
	if ok {
		*f = fault.New(fault.Conflict, "The database %s is in use by another opsbot process.", e.File).
			Hinted("Stop that process first, or work through it.")
	}
	return ok
}

// errClosed is what a store says after Close.
var errClosed = fault.New(fault.Unavailable, "The database is closed.")

// interpret is the one place that reads the drivers' errors. What the query
// did is named by its head; values are never quoted.
func interpret(ctx context.Context, err error, query string) error {
	if err == nil {
		return nil
	}
	// Drivers word an ended context in many ways; callers want to see it.
	if cause := ctx.Err(); cause != nil {
		return fmt.Errorf("store: %s: %w", head(query), cause)
	}
	err = fmt.Errorf("store: %s: %w", head(query), err)
	switch code := liteCode(err); code {
	case sqlite3.SQLITE_FULL:
		return fault.New(fault.Unavailable, "The disk of the database is full.").Because(err)
	case sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH:
		return fault.New(fault.Unavailable, "The database file cannot be used.").
			Hinted("Check that the file and its directory are there and writable.").Because(err)
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		return fault.New(fault.Unavailable, "The database file is damaged or is no SQLite database.").
			Hinted("Restore it from a backup.").Because(err)
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		return fault.New(fault.Unavailable, "The database file is locked by another program.").Because(err)
	}
	if errors.Is(err, sql.ErrConnDone) || lostConnection(err) {
		return fault.New(fault.Unavailable, "The database does not answer.").
			Hinted("Nothing was lost; it works again once the database is back.").Because(err)
	}
	return err
}

// liteCode returns the primary result code of a SQLite error, else 0.
func liteCode(err error) int {
	var e *sqlite.Error
	if errors.As(err, &e) {
		return e.Code() & 0xff
	}
	return 0
}

func lostConnection(err error) bool {
	var connect *pgconn.ConnectError
	var timeout net.Error
	var closed *net.OpError
	if errors.As(err, &connect) || errors.As(err, &timeout) || errors.As(err, &closed) || errors.Is(err, driver.ErrBadConn) {
		return true
	}
	switch sqlState(err) {
	case "57P01", "57P02", "57P03", "25P03", "53300", "08000", "08003", "08006": // shutting down, silent for too long, too many connections, gone
		return true
	}
	return pgconn.SafeToRetry(err)
}

func sqlState(err error) string {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

// errAgain rolls a transaction back to try it again, in view of one that has
// committed meanwhile.
var errAgain = errors.New("store: another transaction came first")

// mayRetry reports whether PostgreSQL's transaction was rolled back only to
// order it among others.
func mayRetry(err error) bool {
	if errors.Is(err, errAgain) {
		return true
	}
	switch sqlState(err) {
	case "40001", "40P01": // serialization_failure, deadlock_detected
		return true
	case "23505": // unique_violation: the request has just started its run
		var e *pgconn.PgError
		return errors.As(err, &e) && e.ConstraintName == "runs_request_key"
	}
	return false
}
