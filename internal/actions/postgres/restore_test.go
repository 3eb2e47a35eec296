package postgres_test

import (
	"bytes"
	"compress/gzip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"opsbot/internal/actions/postgres"
	"opsbot/internal/fault"
)

const library = shop + `
CREATE TABLE notes (text text); -- without a primary key: a restore over it would double its rows
INSERT INTO notes SELECT E'a\tb\n\\.\nc; COMMIT; ' || i FROM generate_series(1, 20) i;
CREATE TABLE "Odd ""name" (i int);
INSERT INTO "Odd ""name" VALUES (1), (NULL);
CREATE TABLE empty (i int);
CREATE FUNCTION two() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; SELECT 2; END;
CREATE FUNCTION three() RETURNS text LANGUAGE plpgsql AS $f$ BEGIN RETURN '$$;'; END $f$;
CREATE VIEW names AS SELECT name FROM users;
CREATE INDEX logs_user ON logs (user_id);
CREATE TABLE parts (i int, at date) PARTITION BY RANGE (at);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
INSERT INTO parts SELECT i, '2026-05-05' FROM generate_series(1, 7) i;
COMMENT ON TABLE users IS 'it''s; \! who';
`

// dumpOf makes a plain dump of the ward's database.
func dumpOf(w *ward, options ...string) []byte {
	w.t.Helper()
	var out, said bytes.Buffer
	cmd := exec.Command("pg_dump", append(options, "-d", w.url(serverURL(w.t), "", w.name))...)
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		w.t.Fatalf("pg_dump: %v\n%s", err, said.String())
	}
	return out.Bytes()
}

func gzipped(t testing.TB, text []byte) []byte {
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

// keep writes a backup where the ward's connection looks for them.
func (w *ward) keep(name string, content []byte) string {
	w.t.Helper()
	if w.config.Backups == "" {
		w.config.Backups = filepath.Join(w.t.TempDir(), "*.gz")
	}
	path := filepath.Join(filepath.Dir(w.config.Backups), name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		w.t.Fatal(err)
	}
	return path
}

func databases(w *ward) int {
	return ask[int](w, "SELECT count(*) FROM pg_database WHERE datname LIKE $1", w.name+"%")
}

func TestRestoreVerifyAndSwap(t *testing.T) {
	t.Parallel()
	w := admit(t, library)
	w.run("DROP EXTENSION pg_stat_statements; DROP EXTENSION pgstattuple")
	w.run(w.named("ALTER DATABASE bot_production SET work_mem = '5MB'; ALTER DATABASE bot_production SET search_path = public, pg_catalog; REVOKE TEMPORARY ON DATABASE bot_production FROM PUBLIC"))
	path := w.keep("good.sql.gz", gzipped(t, dumpOf(w)))
	// What is written after the backup is what a swap loses.
	w.run("INSERT INTO users (name) VALUES ('late')")
	conn := w.open()
	p, err := preview(t, "postgres.restore", conn, with{"backup": path})
	if err != nil || !strings.Contains(strings.Join(p.Impact, "\n"), "1,079 rows in 6 tables") || len(p.Live) != 1 {
		t.Fatalf("preview = %+v, %v", p, err)
	}
	r := do[postgres.Restored](t, "postgres.restore", conn, with{"backup": path})
	if r.Rows != 1079 || len(r.Tables) != 6 || len(r.SHA256) != 64 || !strings.HasPrefix(r.Database, w.name+"_restore_") {
		t.Errorf("restored = %+v", r)
	}
	for _, table := range r.Tables {
		if table.Dump != table.Restored {
			t.Errorf("%+v", table)
		}
	}
	if ask[int](w, "SELECT count(*) FROM users") != 51 {
		t.Error("the live database has changed")
	}
	v := do[postgres.Verdict](t, "postgres.verify", conn, with{"database": r.Database, "backup": path})
	if !v.OK || v.Rows != 1079 || v.Newest == "" {
		t.Errorf("verdict = %+v", v)
	}
	// The live database is not as the backup any more, and that is said.
	got, _, err := try(t, "postgres.verify", conn, with{"backup": path})
	if verdict, ok := got.(postgres.Verdict); !ok || verdict.OK || !slices.Equal(verdict.Different, []string{"public.users (51 of 50)"}) || fault.KindOf(err) != fault.Conflict {
		t.Errorf("verdict on the live one = %+v, %v", got, err)
	}
	if _, _, err := try(t, "postgres.restore", conn, with{"backup": path, "sha256": strings.Repeat("0", 64)}); fault.KindOf(err) != fault.Conflict {
		t.Errorf("another file than was verified: %v", err)
	}

	restored := w.connect(w.url(serverURL(t), "", r.Database))
	var settings, owner string
	var temporary bool
	if err := restored.QueryRow(t.Context(), `SELECT current_setting('work_mem') || ' ' || current_setting('search_path'), pg_get_userbyid(datdba),
		has_database_privilege($1, datname, 'TEMPORARY') FROM pg_database WHERE datname = current_database()`, "opsbot_ro"+w.suffix).Scan(&settings, &owner, &temporary); err != nil {
		t.Fatal(err)
	}
	if settings != "5MB public, pg_catalog" || owner != "app"+w.suffix || temporary {
		t.Errorf("the new database has the settings %q, the owner %s, temporary tables for all: %v", settings, owner, temporary)
	}

	// Swap in, look, and swap back.
	client := w.client("web")
	w.exec(client, "BEGIN")
	w.exec(client, "DELETE FROM notes")
	p, err = preview(t, "postgres.swap", conn, with{"replacement": r.Database})
	if err != nil || len(p.Live) != 2 || !strings.Contains(strings.Join(p.Impact, "\n"), "rolls back 1 open transaction") {
		t.Errorf("preview = %+v, %v", p, err)
	}
	restored.Close(t.Context())
	w.super.Close(t.Context()) // a superuser's session is beyond opsbot
	s := do[postgres.Swapped](t, "postgres.swap", conn, with{"replacement": r.Database})
	if s.Database != w.name || !strings.HasPrefix(s.Kept, w.name+"_replaced_") || s.Ended < 1 {
		t.Errorf("swapped = %+v", s)
	}
	if err := client.Ping(t.Context()); err == nil {
		t.Error("a session of the former database is alive")
	}
	count := func() int {
		t.Helper()
		table := do[postgres.Table](t, "postgres.query", conn, with{"sql": "SELECT (SELECT count(*) FROM users) AS u, (SELECT count(*) FROM notes) AS n"})
		if table.Rows[0]["n"] != 20 {
			t.Errorf("notes has %v rows", table.Rows[0]["n"])
		}
		return table.Rows[0]["u"].(int)
	}
	if n := count(); n != 50 {
		t.Errorf("after the swap there are %d users, want 50", n)
	}
	back := do[postgres.Swapped](t, "postgres.swap", conn, with{"replacement": s.Kept})
	if n := count(); n != 51 {
		t.Errorf("after the way back there are %d users, want 51", n)
	}
	w.super = w.connect(w.url(serverURL(t), "", w.name))
	if n := databases(w); n != 2 {
		t.Errorf("%d databases are left, want both", n)
	}
	if !ask[bool](w, "SELECT datallowconn FROM pg_database WHERE datname = $1", w.name) || ask[bool](w, "SELECT datallowconn FROM pg_database WHERE datname = $1", back.Kept) {
		t.Error("the wrong database lets clients in")
	}
	for name, says := range map[string]string{"postgres": "was neither restored", w.name: "was neither restored", w.name + "_restore_20000101_000000": "There is no database"} {
		if _, _, err := try(t, "postgres.swap", conn, with{"replacement": name}); !strings.Contains(fault.Say(err), says) {
			t.Errorf("swapping in %s: %v", name, err)
		}
	}
	w.run("SELECT 1") // the name is still served
}

// A swap that cannot cut a session renames nothing and lets clients in again.
func TestSwapGivesUp(t *testing.T) {
	t.Parallel()
	w := admit(t, shop)
	w.run("DROP EXTENSION pg_stat_statements; DROP EXTENSION pgstattuple")
	path := w.keep("good.sql.gz", gzipped(t, dumpOf(w)))
	conn := w.open()
	r := do[postgres.Restored](t, "postgres.restore", conn, with{"backup": path})
	// The test's own session is a superuser's.
	if _, _, err := try(t, "postgres.swap", conn, with{"replacement": r.Database}); fault.KindOf(err) != fault.Forbidden {
		t.Errorf("swap under a superuser's session: %v", err)
	}
	for _, name := range []string{w.name, r.Database} {
		if !ask[bool](w, "SELECT datallowconn FROM pg_database WHERE datname = $1", name) {
			t.Errorf("%s lets nobody in", name)
		}
	}
	if r := do[postgres.Pong](t, "postgres.ping", conn, nil); !r.Writable {
		t.Errorf("ping = %+v", r)
	}
}

func TestRestoreRefuses(t *testing.T) {
	t.Parallel()
	w := admit(t, library)
	w.run("DROP EXTENSION pg_stat_statements; DROP EXTENSION pgstattuple")
	good := dumpOf(w)
	whole := gzipped(t, good)
	rows := bytes.Index(good, []byte("COPY public.logs"))
	trailer := bytes.Index(good, []byte("-- PostgreSQL database dump complete"))
	if rows < 0 || trailer < 0 {
		t.Fatal("the dump is not as expected")
	}
	insert := func(at int, text string) []byte { return gzipped(t, slices.Concat(good[:at], []byte(text), good[at:])) }
	before := databases(w)
	for name, c := range map[string]struct {
		content []byte
		says    string
	}{
		"truncated gzip":     {whole[:len(whole)*2/3], "cut off or damaged"},
		"truncated dump":     {gzipped(t, good[:rows+2000]), "in the middle of the rows of public.logs"},
		"without its end":    {gzipped(t, good[:trailer]), "cut off: its last line is missing"},
		"empty gzip":         {gzipped(t, nil), "is empty"},
		"empty file":         {nil, "is empty"},
		"no dump":            {gzipped(t, []byte("hello")), "does not begin as a dump"},
		"a lying end":        {gzipped(t, slices.Concat(good[:rows+2000], []byte("\n-- PostgreSQL database dump complete\n"))), "in the middle of the rows"},
		"two dumps":          {gzipped(t, slices.Concat(good, good)), "second dump"},
		"an early commit":    {insert(rows, "COMMIT;\n"), "COMMIT in line"},
		"a shell":            {insert(rows, "\\! touch /tmp/x\n"), "command of psql"},
		"another database":   {insert(rows, "\\connect postgres\n"), "--create"},
		"a role":             {insert(rows, "ALTER ROLE postgres SUPERUSER;\n"), "ALTER ROLE"},
		"a program":          {insert(rows, "COPY public.logs FROM PROGRAM 'id';\n"), "copies from elsewhere"},
		"more after its end": {gzipped(t, slices.Concat(good, []byte("DROP TABLE users;\n"))), "goes on after its end"},
		"inserts":            {gzipped(t, dumpOf(w, "--inserts")), "--inserts"},
		"custom format":      {dumpOf(w, "-Fc"), "custom format"},
		"no rows":            {gzipped(t, dumpOf(w, "--schema-only")), "no rows of any table"},
		"broken SQL":         {insert(rows, "SELECT nosuch;\n"), "psql ended with code 3"},
		"fewer rows":         {insert(trailer, "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_stat_activity WHERE false;\nDROP VIEW names;\nCREATE RULE gone AS ON INSERT TO notes DO INSTEAD NOTHING;\nALTER TABLE logs DROP COLUMN body;\nCOPY public.notes (text) FROM stdin;\nx\n\\.\n"), "psql ended with code 3"},
		"emptied again":      {insert(trailer, "CREATE FUNCTION public.oops() RETURNS bigint LANGUAGE sql AS 'WITH d AS (DELETE FROM public.notes RETURNING 1) SELECT count(*) FROM d';\nSELECT public.oops();\n"), "public.notes (0 of 20)"},
	} {
		path := w.keep(strings.ReplaceAll(name, " ", "_")+".gz", c.content)
		conn := w.open()
		_, out, err := try(t, "postgres.restore", conn, with{"backup": path})
		if err == nil || !strings.Contains(fault.Say(err), c.says) || fault.KindOf(err) == fault.Internal {
			t.Errorf("%s: says %q (%v)\n%s", name, fault.Say(err), err, out)
		}
	}
	if n := databases(w); n != before {
		t.Errorf("%d databases are left, there were %d", n, before)
	}
	if n := ask[int](w, "SELECT count(*) FROM notes"); n != 20 {
		t.Errorf("the live database has %d notes", n)
	}

	// Only what the configuration names is read.
	path := w.keep("good.gz", whole)
	link := filepath.Join(filepath.Dir(path), "link.gz")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	conn := w.open()
	for _, name := range []string{"/etc/passwd", filepath.Dir(path) + "/../x.gz", link, filepath.Join(filepath.Dir(path), "nosuch.gz"), "good.gz"} {
		if _, err := preview(t, "postgres.restore", conn, with{"backup": name}); fault.KindOf(err) != fault.Forbidden && fault.KindOf(err) != fault.NotFound {
			t.Errorf("%s: %v", name, err)
		}
	}
	w.config.Restore = postgres.Role{}
	if _, _, err := try(t, "postgres.restore", w.open(), with{"backup": path}); !strings.Contains(fault.Say(err), "restore_user") {
		t.Errorf("without a user for restoring: %v", err)
	}
}

// Extensions that only a superuser may create are created by the one that is
// configured, or the restore does not begin.
func TestRestoreWithExtensions(t *testing.T) {
	t.Parallel()
	w := admit(t, shop)
	path := w.keep("good.sql.gz", gzipped(t, dumpOf(w)))
	if _, err := preview(t, "postgres.restore", w.open(), with{"backup": path}); fault.KindOf(err) != fault.Forbidden || !strings.Contains(fault.Say(err), "pg_stat_statements") {
		t.Errorf("preview without a superuser: %v", err)
	}
	w.config.Reserve = postgres.Role{User: ask[string](w, "SELECT current_user::text")}
	r := do[postgres.Restored](t, "postgres.restore", w.open(), with{"backup": path})
	if r.Rows != 1050 {
		t.Errorf("restored = %+v", r)
	}
	restored := w.connect(w.url(serverURL(t), "", r.Database))
	var owner string
	if err := restored.QueryRow(t.Context(), "SELECT pg_get_userbyid(relowner) FROM pg_class WHERE relname = 'users'").Scan(&owner); err != nil || owner != "app"+w.suffix {
		t.Errorf("users belongs to %s, %v", owner, err)
	}
	restored.Close(t.Context())
}

// A database that is damaged after the restore is not called good.
func TestVerifyFindsDamage(t *testing.T) {
	t.Parallel()
	w := admit(t, shop)
	path := w.keep("good.sql.gz", gzipped(t, dumpOf(w)))
	conn := w.open()
	if v := do[postgres.Verdict](t, "postgres.verify", conn, with{"backup": path}); !v.OK {
		t.Fatalf("verdict = %+v", v)
	}
	w.run("SELECT setval('users_id_seq', 10)")
	w.run("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'logs_pkey'::regclass")
	w.run("ALTER TABLE logs DROP CONSTRAINT logs_user_id_fkey; ALTER TABLE logs ADD CONSTRAINT again FOREIGN KEY (user_id) REFERENCES users NOT VALID")
	got, _, err := try(t, "postgres.verify", conn, with{"backup": path})
	v, ok := got.(postgres.Verdict)
	if !ok || v.OK || fault.KindOf(err) != fault.Conflict || len(v.Sequences) != 1 || !strings.Contains(v.Sequences[0], "public.users_id_seq (next 11") ||
		!slices.Equal(v.InvalidIndexes, []string{"public.logs_pkey"}) || !slices.Equal(v.NotValidated, []string{"again on logs"}) {
		t.Errorf("verdict = %+v, %v", got, err)
	}
	w.run("DROP TABLE logs")
	got, _, _ = try(t, "postgres.verify", conn, with{"backup": path})
	if v := got.(postgres.Verdict); !slices.Equal(v.Different, []string{"public.logs (missing)"}) {
		t.Errorf("verdict = %+v", v)
	}
}
