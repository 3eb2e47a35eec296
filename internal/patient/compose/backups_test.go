package compose_test

import (
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"opsbot/internal/patient/compose"
	"opsbot/internal/patient/compose/composetest"
)

// Each backup is what it claims to be, shown by restoring it.
func TestBackups(t *testing.T) {
	t.Parallel()
	p := composetest.Start(t, compose.Options{Rows: 5000})
	ctx := t.Context()
	const trailer = "PostgreSQL database dump complete"
	for kind, want := range map[compose.BackupKind]struct {
		gzip, trailer bool
		restored      string // rows of users and reconciliation_logs; "" for an error or anything else
	}{
		compose.Good:    {true, true, "60|5000"},
		compose.CutGzip: {false, false, ""},
		compose.CutDump: {true, false, ""},
		compose.Empty:   {true, false, ""},
		compose.Lying:   {true, true, ""},
		compose.Hollow:  {true, true, "0|0"},
	} {
		path, err := p.Backup(ctx, kind, "db_"+string(kind)+".sql.gz", 30*time.Hour)
		do(t, err)
		info, err := os.Stat(path)
		do(t, err)
		if age := time.Since(info.ModTime()); filepath.Dir(path) != p.Backups() || age < 30*time.Hour || age > 31*time.Hour {
			t.Errorf("%s is at %s, %s old", kind, path, age)
		}
		text, err := gunzip(path)
		if (err == nil) != want.gzip || strings.Contains(text, trailer) != want.trailer {
			t.Errorf("%s: gunzip says %v, the trailer is %v", kind, err, strings.Contains(text, trailer))
		}
		name := "restore_" + strings.ReplaceAll(string(kind), "-", "_")
		_, err = p.SQL(ctx, "postgres", "CREATE DATABASE "+name+" TEMPLATE template0")
		do(t, err)
		_, err = p.SQL(ctx, name, text)
		got := ""
		if err == nil {
			got, err = p.SQL(ctx, name, "SELECT (SELECT count(*) FROM users), (SELECT count(*) FROM reconciliation_logs)")
		}
		// psql takes the end of a dump that was cut off for its end, without an
		// error: it is seen by the counts alone.
		whole := err == nil && (got == "60|5000" || got == "0|0")
		if whole != (want.restored != "") || whole && got != want.restored {
			t.Errorf("%s restores to %q (%v), want %q", kind, got, err, want.restored)
		}
	}
	if _, err := p.Backup(ctx, compose.Good, "../x.sql.gz", 0); err == nil {
		t.Error("a backup can be written outside of its folder")
	}
	if _, err := compose.ParseBackupKind("perfect"); err == nil || !strings.Contains(err.Error(), "lying") {
		t.Errorf("an unknown kind: %v", err)
	}
}

func gunzip(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	r, err := gzip.NewReader(file)
	if err != nil {
		return "", err
	}
	text, err := io.ReadAll(r)
	return string(text), err
}
