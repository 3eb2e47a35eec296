package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/gofrs/flock"
	_ "modernc.org/sqlite" // registers "sqlite"

	"opsbot/internal/fault"
)

// lite is the writing side of a SQLite store.
type lite struct {
	lock   *flock.Flock // holds the file lock; nil when read-only
	db     *sql.DB      // of the one write connection; nil when read-only
	writer *writer
}

// SQLite's clock is this process's.
const liteNow = `CAST(ROUND((julianday('now') - 2440587.5) * 86400000) AS INTEGER)`

func (s *Store) openLite(ctx context.Context, loc location) (err error) {
	s.dialect = newDialect("sqlite", liteNow, "", "")
	s.lite = &lite{}
	if s.readOnly {
		if _, err := os.Stat(loc.file); err != nil {
			return fileFault(loc.file, err)
		}
		if s.reads, err = openFile(loc.file, "mode=ro", "_pragma=query_only(1)"); err != nil {
			return err
		}
		return migrate(ctx, s.reads, "sqlite", true)
	}
	if s.lite.lock, err = own(loc.file); err != nil {
		return err
	}
	// SQLite would create the file readable by everybody the umask allows.
	f, err := os.OpenFile(loc.file, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fileFault(loc.file, err)
	}
	if info, err := f.Stat(); err == nil && info.Mode().Perm()&0o077 != 0 {
		s.log.Warn("the database file is open to other accounts", "file", loc.file, "mode", info.Mode().Perm().String())
	}
	if err := f.Close(); err != nil {
		return fileFault(loc.file, err)
	}
	// Under synchronous=NORMAL a power loss can drop an intent whose action
	// has happened.
	s.lite.db, err = openFile(loc.file, "mode=rw", "_txlock=immediate", "_pragma=journal_mode(WAL)", "_pragma=synchronous(FULL)")
	if err != nil {
		return err
	}
	s.lite.db.SetMaxOpenConns(1)
	if err := migrate(ctx, s.lite.db, "sqlite", false); err != nil {
		return err
	}
	if s.lite.writer, err = startWriter(ctx, s.lite.db, s.dialect); err != nil {
		return err
	}
	if s.reads, err = openFile(loc.file, "mode=ro", "_pragma=query_only(1)"); err != nil {
		return err
	}
	s.reads.SetMaxOpenConns(4)
	s.reads.SetMaxIdleConns(4)
	return s.write(ctx, func(t *tx) error {
		// Whoever held a lease is dead: this process has the file.
		for _, table := range []string{"runs", "inbox", "outbox", "parcels"} {
			if _, err := t.exec(`UPDATE ` + table + ` SET lease_until = 0 WHERE lease_until > 0`); err != nil {
				return err
			}
		}
		return nil
	})
}

func openFile(path string, params ...string) (*sql.DB, error) {
	params = append(params, "_pragma=busy_timeout(5000)", "_pragma=foreign_keys(1)")
	u := url.URL{Scheme: "file", Path: path, RawQuery: strings.Join(params, "&")}
	db, err := sql.Open("sqlite", u.String())
	if err != nil {
		return nil, fmt.Errorf("store: open %s: %w", path, err)
	}
	return db, nil
}

// own takes the file lock that makes this process the database's owner. The
// lock goes with the process, however that ends.
func own(path string) (*flock.Flock, error) {
	lock := flock.New(path+".lock", flock.SetFlag(os.O_RDWR|os.O_CREATE), flock.SetPermissions(0o600))
	got, err := lock.TryLock()
	switch {
	case errors.Is(err, os.ErrNotExist), errors.Is(err, os.ErrPermission):
		return nil, fileFault(path, err)
	case err != nil:
		return nil, fault.New(fault.Unavailable, "The database %s cannot be locked.", path).
			Hinted("Put it on a local disk.").Because(err)
	case !got:
		return nil, &OwnedError{File: path, Socket: Socket(path), Owner: owner(path)}
	}
	// Only to be told to people; Windows lets nobody write to a locked file.
	_ = os.WriteFile(lock.Path(), fmt.Appendf(nil, "process %d\n", os.Getpid()), 0o600)
	return lock, nil
}

// owner is what the owning process wrote about itself; it is empty where that cannot be read.
func owner(path string) string {
	f, err := os.Open(path + ".lock")
	if err != nil {
		return ""
	}
	defer f.Close()
	who, _ := io.ReadAll(io.LimitReader(f, 200))
	return strings.TrimSpace(string(who))
}

// Socket is the path of the Unix socket at which the owner of a SQLite file
// serves other commands.
func Socket(file string) string { return file + ".sock" }

// File returns the absolute path of the SQLite file that a database URL names;
// ok is false for any other URL.
func File(url string) (path string, ok bool) {
	loc, err := parseURL(url)
	return loc.file, err == nil && loc.file != ""
}

func fileFault(path string, err error) error {
	dir := filepath.Dir(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		if _, missing := os.Stat(dir); missing != nil {
			return fault.New(fault.Unavailable, "The database's directory %s does not exist.", dir).Hinted("Create it, or name another file.").Because(err)
		}
		return fault.New(fault.NotFound, "There is no database at %s.", path).Because(err)
	case errors.Is(err, os.ErrPermission), errors.Is(err, syscall.EROFS):
		return fault.New(fault.Forbidden, "The database %s cannot be written by this account.", path).
			Hinted("Make the file and its directory %s writable for it.", dir).Because(err)
	}
	return fault.New(fault.Unavailable, "The database %s cannot be opened.", path).Because(err)
}

func (l *lite) write(ctx context.Context, fn func(*tx) error) (topics, error) {
	return l.writer.do(ctx, fn)
}

func (l *lite) close() error {
	var errs []error
	if l.writer != nil {
		errs = append(errs, l.writer.close())
	}
	if l.db != nil {
		errs = append(errs, l.db.Close())
	}
	if l.lock != nil {
		errs = append(errs, l.lock.Close()) // gives up the lock
	}
	return errors.Join(errs...)
}
