package host_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"opsbot/internal/actions/host"
	"opsbot/internal/actions/postgres"
	"opsbot/internal/fault"
)

// scan reads dumps as the program does.
func scan(ctx context.Context, path string) (host.Dump, error) {
	d, err := postgres.ScanDump(ctx, path)
	return host.Dump{SQLBytes: int(d.Bytes), SHA256: d.SHA256, Rows: d.Rows}, err
}

// dumped is what pg_dump writes of a schema with 500 users and an empty table.
func dumped(t *testing.T) (text []byte, schema string) {
	t.Helper()
	url := os.Getenv("OPSBOT_TEST_POSTGRES")
	if testing.Short() || url == "" {
		if os.Getenv("OPSBOT_TEST_REQUIRE") == "1" && !testing.Short() {
			t.Fatal("OPSBOT_TEST_POSTGRES is not set")
		}
		t.Skip("no PostgreSQL server: set OPSBOT_TEST_POSTGRES")
	}
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	schema = fmt.Sprintf("dumped_%d", os.Getpid())
	t.Cleanup(func() {
		if _, err := conn.Exec(ctx, "DROP SCHEMA IF EXISTS "+schema+" CASCADE"); err != nil {
			t.Error(err)
		}
		conn.Close(ctx)
	})
	sql := "CREATE SCHEMA S; CREATE TABLE S.users (id int PRIMARY KEY, name text); CREATE TABLE S.nobody (id int);" +
		`INSERT INTO S.users SELECT i, E'a\tb\\.\n' || i FROM generate_series(1, 500) i`
	if _, err := conn.Exec(ctx, strings.NewReplacer("SCHEMA S", "SCHEMA "+schema, " S.", " "+schema+".").Replace(sql)); err != nil {
		t.Fatal(err)
	}
	text, err = exec.Command("pg_dump", "-n", schema, "-d", url).Output()
	if err != nil {
		t.Fatal(err)
	}
	return text, schema
}

func packed(t *testing.T, text []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write(text); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// Backups as they are found at night.
func TestVerifyDump(t *testing.T) {
	t.Parallel()
	good, schema := dumped(t)
	users := schema + ".users"
	const trailer = "-- PostgreSQL database dump complete"
	rows := bytes.Index(good, []byte(`a\tb`)) + 500 // somewhere among the rows
	end := bytes.Index(good, []byte(trailer))
	if rows < 500 || end < rows {
		t.Fatalf("this is no dump:\n%s", good)
	}
	whole := packed(t, good)
	dir := t.TempDir()
	conn := open(t, host.Config{Files: map[string]string{"backups": filepath.Join(dir, "*")}, Scan: scan})
	verify := func(name string, content []byte, tables ...any) (host.Verified, error) {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		r, _, err := run[host.Verified](t, t.Context(), "file.verify_dump", conn, map[string]any{"path": path, "tables": tables})
		return r, err
	}
	for name, content := range map[string][]byte{"good.sql.gz": whole, "good.sql": good} {
		got, err := verify(name, content, users)
		sum := sha256.Sum256(content)
		if d := cmp.Diff(map[string]int{users: 500, schema + ".nobody": 0}, got.Rows); err != nil || d != "" {
			t.Errorf("%s: %v (-want +got):\n%s", name, err, d)
		}
		if got.Total != 500 || got.SQLBytes != len(good) || got.Bytes != len(content) || got.SHA256 != hex.EncodeToString(sum[:]) {
			t.Errorf("%s = %+v", name, got)
		}
	}
	for name, c := range map[string]struct {
		content []byte
		says    string
	}{
		"cut-gzip":  {whole[:len(whole)/2], "cut off or damaged"},
		"bad-gzip":  {append(slices.Clone(whole[:len(whole)-8]), "wrong..."...), "cut off or damaged"},
		"cut-dump":  {packed(t, good[:rows]), "in the middle of the rows of " + users},
		"no-end":    {packed(t, good[:end]), "its last line is missing"},
		"lying":     {packed(t, slices.Concat(good[:rows], []byte("\n"+trailer+"\n"))), "in the middle of the rows of " + users},
		"empty":     {packed(t, nil), "is empty"},
		"nothing":   {nil, "is empty"},
		"elsewhere": {[]byte("GIF89a"), "does not begin as a dump"},
	} {
		if _, err := verify(name, c.content); fault.KindOf(err) != fault.Conflict || !strings.Contains(fault.Say(err), c.says) {
			t.Errorf("%s: %q, want %q", name, fault.Say(err), c.says)
		}
	}
	if _, err := verify("good.sql.gz", whole, users, schema+".nobody"); fault.KindOf(err) != fault.Conflict || !strings.Contains(fault.Say(err), "has no rows of "+schema+".nobody") {
		t.Errorf("without rows of a table: %v", err)
	}
}
