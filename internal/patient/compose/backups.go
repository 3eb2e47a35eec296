package compose

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"opsbot/internal/fault"
)

// A BackupKind says what is wrong with a backup.
type BackupKind string

// The kinds of backups.
const (
	// Good is whole.
	Good BackupKind = "good"
	// CutGzip was cut off while it was copied: the gzip has no end.
	CutGzip BackupKind = "cut-gzip"
	// CutDump was cut off while it was made: a sound gzip, but the dump in it
	// breaks off in the middle of a table.
	CutDump BackupKind = "cut-dump"
	// Empty is the sound gzip of nothing, as a pg_dump that failed leaves it.
	Empty BackupKind = "empty"
	// Lying has beginning, end and all tables, and one row of users that cannot
	// be restored.
	Lying BackupKind = "lying"
	// Hollow has beginning, end and all tables, and not one row.
	Hollow BackupKind = "hollow"
)

// BackupKinds are all kinds.
func BackupKinds() []BackupKind {
	return []BackupKind{Good, CutGzip, CutDump, Empty, Lying, Hollow}
}

// Backup dumps the database into a file of Backups, such as
// "db_20261026.sql.gz", and spoils it as the kind says. The file's time of
// change is age ago, whatever its name claims.
func (p *Patient) Backup(ctx context.Context, kind BackupKind, name string, age time.Duration) (path string, err error) {
	if name != filepath.Base(name) {
		return "", fault.New(fault.Invalid, "A backup's name is that of a file, not %q.", name)
	}
	id, err := p.Container(ctx, "db")
	if err != nil {
		return "", err
	}
	args := []string{"exec", id, "/usr/lib/postgresql/15/bin/pg_dump", "-U", "postgres", "-d", "bot_production"}
	if kind == Hollow {
		args = append(args, "--schema-only")
	}
	dump, err := docker(ctx, args...)
	if err != nil {
		return "", failed("Dumping the database", err)
	}
	content, err := spoil(kind, []byte(dump))
	if err != nil {
		return "", fmt.Errorf("make a backup that is %s: %w", kind, err)
	}
	path = filepath.Join(p.Backups(), name)
	if err := os.WriteFile(path, content, 0o644); err != nil {
		return "", err
	}
	then := time.Now().Add(-age)
	return path, os.Chtimes(path, then, then)
}

// spoil compresses a dump and makes it what the kind says.
func spoil(kind BackupKind, dump []byte) ([]byte, error) {
	switch kind {
	case CutGzip:
		whole, err := compress(dump)
		return whole[:len(whole)*2/3], err
	case CutDump:
		at := bytes.Index(dump, []byte("COPY public.reconciliation_logs "))
		if at < 0 {
			return nil, errors.New("the dump has no rows of reconciliation_logs")
		}
		return compress(dump[:at+(len(dump)-at)/2])
	case Empty:
		return compress(nil)
	case Lying:
		head, rest, found := bytes.Cut(dump, []byte("COPY public.users "))
		columns, rows, _ := bytes.Cut(rest, []byte("\n"))
		if !found || len(rows) == 0 {
			return nil, errors.New("the dump has no rows of users")
		}
		return compress(slices.Concat(head, []byte("COPY public.users "), columns, []byte("\nu-broken\n"), rows))
	default:
		return compress(dump)
	}
}

func compress(text []byte) ([]byte, error) {
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.BestSpeed)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(text); err != nil {
		return nil, err
	}
	err = w.Close()
	return b.Bytes(), err
}

// ParseBackupKind reads a kind by its name.
func ParseBackupKind(text string) (BackupKind, error) {
	if kind := BackupKind(text); slices.Contains(BackupKinds(), kind) {
		return kind, nil
	}
	var names []string
	for _, k := range BackupKinds() {
		names = append(names, string(k))
	}
	return "", fault.New(fault.Invalid, "There is no kind of backup %q; there are %s.", text, strings.Join(names, ", "))
}
