package host_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"opsbot/internal/actions/host"
	"opsbot/internal/fault"
)

// put writes a file that was modified some time ago.
func put(t *testing.T, path, text string, age time.Duration) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	at := time.Now().Add(-age)
	if err := os.Chtimes(path, at, at); err != nil {
		t.Fatal(err)
	}
}

func TestLatestBackup(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	put(t, at("bot_2026-11-25.sql.gz"), "older name, newer file", time.Hour)
	put(t, at("bot_2026-11-26.sql.gz"), "newer name, older file", 50*time.Hour)
	put(t, at("other_2026-11-26.sql.gz"), "of somebody else", time.Minute)
	if err := os.Symlink(at("other_2026-11-26.sql.gz"), at("bot_link.sql.gz")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(at("bot_folder.sql.gz"), 0o700); err != nil {
		t.Fatal(err)
	}
	conn := open(t, host.Config{Files: map[string]string{
		"backups": at("bot_*.sql.gz"), "links": at("bot_link*"), "nothing": at("x_*"), "nowhere": at("no-such-folder/x_*"),
	}})
	latest := func(with map[string]any) (host.Backup, error) {
		r, _, err := run[host.Backup](t, t.Context(), "file.latest_backup", conn, with)
		return r, err
	}
	got, err := latest(map[string]any{})
	if err != nil || got.Path != at("bot_2026-11-25.sql.gz") || got.Bytes != 22 || got.Count != 2 || got.Age < time.Hour || got.Age > 2*time.Hour {
		t.Errorf("latest_backup = %+v, %v", got, err)
	}
	for _, c := range []struct {
		with map[string]any
		kind fault.Kind
		says string
	}{
		{map[string]any{"min_bytes": "1KiB"}, fault.Conflict, "has only 22 B, less than 1 KiB"},
		{map[string]any{"max_age": "30m"}, fault.Conflict, "old, more than 30m. Does the job"},
		{map[string]any{"files": "links"}, fault.NotFound, "1 that match are links or folders"},
		{map[string]any{"files": "nothing"}, fault.NotFound, "No file is "},
		{map[string]any{"files": "nowhere"}, fault.NotFound, "is not there"},
		{map[string]any{"files": "unknown"}, fault.NotFound, "no files named unknown. It has backups, links"},
	} {
		if _, err := latest(c.with); fault.KindOf(err) != c.kind || !strings.Contains(fault.Say(err), c.says) {
			t.Errorf("%v: %s %q, want %s %q", c.with, fault.KindOf(err), fault.Say(err), c.kind, c.says)
		}
	}
	put(t, at("bot_2026-11-27.sql.gz"), "from the future", -time.Hour)
	if _, err := latest(map[string]any{}); fault.KindOf(err) != fault.Conflict || !strings.Contains(fault.Say(err), "in the future") {
		t.Errorf("a file of the future: %v", err)
	}
}

func TestVerifyDumpOfTheNewest(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "a.sql")
	put(t, path, "whole", time.Hour)
	put(t, filepath.Join(dir, "b.sql"), "older", 2*time.Hour)
	var scanned []string
	conn := open(t, host.Config{Files: map[string]string{"backups": filepath.Join(dir, "*.sql")}, Scan: func(_ context.Context, path string) (host.Dump, error) {
		scanned = append(scanned, path)
		return host.Dump{SQLBytes: 5, SHA256: strings.Repeat("ab", 32), Rows: map[string]int{"public.users": 3, "public.empty": 0}}, nil
	}})
	got, _, err := run[host.Verified](t, t.Context(), "file.verify_dump", conn, map[string]any{"tables": []any{"public.users"}})
	if err != nil || got.Total != 3 || got.Path != path || scanned[0] != path || got.Found() != path+" is whole: 3 rows of 2 tables, 1h old, sha256 abababababab…" {
		t.Errorf("verify_dump = %+v, %q, %v", got, got.Found(), err)
	}
	if _, _, err := run[host.Verified](t, t.Context(), "file.verify_dump", conn, map[string]any{"path": filepath.Join(dir, "b.sql")}); err != nil || scanned[1] != filepath.Join(dir, "b.sql") {
		t.Errorf("verify_dump of another = %v, %v", scanned, err)
	}
	_, _, err = run[host.Verified](t, t.Context(), "file.verify_dump", conn, map[string]any{"tables": []any{"public.users", "public.empty", "public.gone"}})
	if fault.KindOf(err) != fault.Conflict || !strings.Contains(fault.Say(err), "has no rows of public.empty, public.gone") {
		t.Errorf("verify_dump of missing tables = %v", err)
	}
	if err := os.Symlink(path, filepath.Join(dir, "link.sql")); err != nil {
		t.Fatal(err)
	}
	for path, kind := range map[string]fault.Kind{
		"/etc/passwd": fault.Forbidden, dir + "/../" + filepath.Base(dir) + "/a.sql": fault.Forbidden, filepath.Join(dir, "link.sql"): fault.NotFound, filepath.Join(dir, "c.sql"): fault.NotFound,
	} {
		if _, _, err := run[host.Verified](t, t.Context(), "file.verify_dump", conn, map[string]any{"path": path}); fault.KindOf(err) != kind {
			t.Errorf("verify_dump of %s = %v, want %s", path, err, kind)
		}
	}
	if len(scanned) != 3 {
		t.Errorf("scanned %v", scanned)
	}
}
