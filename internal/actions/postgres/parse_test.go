package postgres

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"opsbot/internal/fault"
)

func bare(t testing.TB) *Conn {
	t.Helper()
	c, err := Open(Config{URL: "postgres://opsbot_ro:hunter2@db:5433/shop?sslmode=disable", Maintenance: Role{User: "m"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// What the server says becomes a sentence that says what to do.
func TestErrors(t *testing.T) {
	t.Parallel()
	c := bare(t)
	server := func(code, message string) error {
		return fmt.Errorf("wrapped: %w", &pgconn.PgError{Severity: "ERROR", Code: code, Message: message, Detail: "Key (email)=(a@b) exists"})
	}
	for _, e := range []struct {
		err   error
		kind  fault.Kind
		cause string
		says  string
	}{
		{server("28P01", `password authentication failed for user "opsbot_ro"`), fault.Unavailable, "password", "PostgreSQL at db:5433/shop rejected the password of opsbot_ro. Rotate or correct the secret of this connection."},
		{server("28000", "no pg_hba.conf entry"), fault.Forbidden, "denied", "does not let opsbot in. Check pg_hba.conf"},
		{server("3D000", "x"), fault.NotFound, "missing", "has no such database. Was it renamed"},
		{server("53300", "x"), fault.Unavailable, "slots", "has all its slots in use."},
		{server("53100", "could not extend file"), fault.Unavailable, "disk", "is out of disk space. Free space on its volume; do not restart it"},
		{server("57P03", "the database system is starting up"), fault.Unavailable, "starting", "is starting up, shutting down or recovering. Wait until it is ready. It said: the database system is starting up"},
		{server("57014", "canceling statement due to statement timeout"), fault.Unavailable, "timeout", "ran too long"},
		{server("57P01", "x"), fault.Unavailable, "broken", "an administrator or a restart"},
		{server("55P03", "canceling statement due to lock timeout"), fault.Conflict, "broken", "could not get a lock in time"},
		{server("42501", "permission denied for table logs"), fault.Forbidden, "denied", "Grant what is missing. It said: permission denied for table logs"},
		{server("25006", "cannot execute DELETE in a read-only transaction"), fault.Forbidden, "broken", "refuses to write"},
		{server("42601", `syntax error at or near "x"`), fault.Invalid, "broken", "does not understand the statement"},
		{server("22P02", "invalid input syntax for type integer"), fault.Invalid, "broken", "cannot take a value"},
		{server("23505", "duplicate key"), fault.Conflict, "broken", "has the same key already"},
		{server("XX001", "invalid page"), fault.Unavailable, "broken", "damage"},
		{server("P0001", "raised"), fault.Unavailable, "broken", "answered with an error. It said: raised"},
		{server("", ""), fault.Unavailable, "broken", "answered with an error"},
		{&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}, fault.Unavailable, "refused", "refused the connection"},
		{&net.DNSError{Err: "no such host"}, fault.Unavailable, "host", "no such host"},
		{context.DeadlineExceeded, fault.Unavailable, "timeout", "did not answer in time"},
		{errors.New("server refused TLS connection"), fault.Unavailable, "tls", "TLS"},
		{io.ErrUnexpectedEOF, fault.Unavailable, "broken", "Could not query PostgreSQL at db:5433/shop. The connection broke."},
	} {
		err := c.explain("query", e.err)
		if fault.KindOf(err) != e.kind || !strings.Contains(fault.Say(err), e.says) {
			t.Errorf("%v is told as %q (%s)", e.err, fault.Say(err), fault.KindOf(err))
		}
		if got := causeOf(err); got != e.cause {
			t.Errorf("%v has the cause %q, want %q", e.err, got, e.cause)
		}
		if causeText(e.cause) == "" || strings.Contains(fault.Say(err), "a@b") || strings.Contains(fault.Say(err), "hunter2") {
			t.Errorf("%v is told as %q", e.err, fault.Say(err))
		}
	}
	if err := c.explain("query", context.Canceled); !errors.Is(err, context.Canceled) || fault.KindOf(err) != fault.Internal {
		t.Errorf("a cancelled query is %v", err)
	}
	if err := c.explain("query", nil); err != nil {
		t.Error(err)
	}
}

func TestOpen(t *testing.T) {
	t.Parallel()
	c := bare(t)
	if c.Address() != "postgres db:5433/shop" {
		t.Errorf("Address() = %q", c.Address())
	}
	for name, cfg := range map[string]Config{
		"not a URL":      {URL: "postgres://user:hunter2@[::1/x"},
		"no database":    {URL: "postgres://u@h"},
		"a query":        {URL: "postgres://u@h/d", Queries: map[string]Query{"q": {SQL: "DROP TABLE x"}}},
		"backups":        {URL: "postgres://u@h/d", Backups: "relative/*.gz"},
		"wrong backups":  {URL: "postgres://u@h/d", Backups: "/x/[.gz"},
		"too many hosts": {URL: "postgres://u@h:port/d"},
	} {
		c, err := Open(cfg)
		if err == nil {
			_ = c.Close()
		}
		if fault.KindOf(err) != fault.Invalid || strings.Contains(fmt.Sprint(err), "hunter2") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSiblings(t *testing.T) {
	t.Parallel()
	c := bare(t)
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	if got := c.sibling("restore", at); got != "shop_restore_20260102_030405" || !c.mine(got) {
		t.Errorf("sibling = %q", got)
	}
	c.database = strings.Repeat("é", 40)
	if got := c.sibling("replaced", at); len(got) > 63 || !c.mine(got) {
		t.Errorf("sibling of a long name = %q", got)
	}
	c.database = "shop"
	for _, name := range []string{"shop", "postgres", "shop_restore_", "shop_restore_20260102", "shop_restore_20260102_03040x", "xshop_restore_20260102_030405", ""} {
		if c.mine(name) {
			t.Errorf("%q is taken for one of opsbot's", name)
		}
	}
}

func TestQuiet(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"SELECT * FROM users WHERE email = 'a''b' AND id IN (1, 2.5)": "SELECT * FROM users WHERE email = '…' AND id IN(…, ….…)",
		"UPDATE public.users SET p = E'\\'secret'":                    "UPDATE public.users SET p = '…'",
		"SELECT $$secret$$, $x$ secret $x$":                           "SELECT '…', '…'",
		"SELECT 'a\\' , 'secret'":                                     "SELECT '…', '…'",
		"SELECT 'cut off sec":                                         "SELECT '…'",
		"/* secret */ SELECT 1 -- secret":                             "SELECT …",
	} {
		if got := quiet(in); got != want {
			t.Errorf("quiet(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestNotices(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		severity, code, message string
		skipped, locked, warns  bool
	}{
		{"WARNING", "01000", `skipping "logs" --- only table or database owner can vacuum it`, true, false, true},
		{"WARNING", "55P03", `skipping vacuum of "logs" --- lock not available`, true, true, true},
		{"WARNING", "42501", `permission denied to vacuum "logs", skipping it`, true, false, true},
		{"WARNING", "01000", "relation is being upgraded", false, false, true},
		{"INFO", "00000", "skipping nothing", false, false, false},
	} {
		w, warns := readNotice(&pgconn.Notice{Severity: c.severity, Code: c.code, Message: c.message})
		if warns != c.warns || w.skipped != c.skipped || w.locked != c.locked {
			t.Errorf("%s: %+v, %v", c.message, w, warns)
		}
	}
}

// A frame gives out its COMMIT only when the dump is whole and the same.
func TestFrame(t *testing.T) {
	t.Parallel()
	c := bare(t)
	c.config.Backups = filepath.Join(t.TempDir(), "*.sql")
	path := filepath.Join(filepath.Dir(c.config.Backups), "a.sql")
	write := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const head, body, end = "-- PostgreSQL database dump\n", "COPY public.t (a) FROM stdin;\n1\n2\n\\.\n", "-- PostgreSQL database dump complete\n"
	write(head + body + end)
	b, err := c.openBackup(path)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	d, err := b.scan(t.Context())
	if err != nil || d.rows() != 2 {
		t.Fatal(d, err)
	}
	read := func() (string, error) {
		r, err := b.read(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(iotest.OneByteReader(newFrame(r, d.sha256)))
		return string(text), err
	}
	if text, err := read(); err != nil || text != "BEGIN;\n"+head+body+end+"\nCOMMIT;\n" {
		t.Errorf("a good dump gives %q, %v", text, err)
	}
	for name, text := range map[string]string{
		"changed": head + strings.Replace(body, "2", "3", 1) + end,
		"cut off": head + body,
		"shorter": head + body[:len(body)-5],
		"empty":   "",
		"longer":  head + body + "ROLLBACK;" + end,
	} {
		write(text)
		if text, err := read(); err == nil || strings.Contains(text, "COMMIT") {
			t.Errorf("%s: gives %q, %v", name, text, err)
		}
	}
}

func TestPlan(t *testing.T) {
	t.Parallel()
	root, planning, exec, err := readPlan([]byte(`[{"Plan":{"Node Type":"Limit","Plan Rows":1,"Total Cost":2.5,"Plans":[{"Node Type":"Seq Scan","Relation Name":"logs","Schema":"public","Filter":"(a = 1)","Rows Removed by Filter":9,"Actual Rows":1,"Actual Loops":2}]},"Planning Time":0.5,"Execution Time":1.5}]`))
	if err != nil || *planning != 0.5 || *exec != 1.5 {
		t.Fatal(planning, exec, err)
	}
	var seen []string
	root.walk(func(n *planNode, depth int) { seen = append(seen, fmt.Sprint(depth, n.Type, n.Removed)) })
	if !slices.Equal(seen, []string{"0Limit0", "1Seq Scan9"}) && !slices.Equal(seen, []string{"0 Limit 0", "1 Seq Scan 9"}) {
		t.Errorf("nodes = %q", seen)
	}
	for _, text := range []string{"", "[]", "{}", `[{"Plan":null}]`, `[{},{}]`} {
		if _, _, _, err := readPlan([]byte(text)); err == nil {
			t.Errorf("%q is taken for a plan", text)
		}
	}
}

func FuzzPlan(f *testing.F) {
	f.Add([]byte(`[{"Plan":{"Node Type":"Seq Scan","Plans":[{"Node Type":"x"}]},"Execution Time":1}]`))
	f.Add([]byte(`[{"Plan":{"Plans":[{"Plans":[{}]}]}}]`))
	f.Fuzz(func(t *testing.T, text []byte) {
		root, _, _, err := readPlan(text)
		if err != nil {
			return
		}
		n := 0
		root.walk(func(*planNode, int) { n++ })
		if n < 1 || n > maxNodes {
			t.Errorf("%d nodes", n)
		}
	})
}

// However a dump is cut into pieces, it is read the same; and no piece of it
// ever is an end that it does not have.
func FuzzDump(f *testing.F) {
	f.Add([]byte("-- PostgreSQL database dump\n\\restrict x\nSET a = 1;\nCOPY public.\"o\"\"dd\" (a) FROM stdin;\n1\n\\.\n-- PostgreSQL database dump complete\n\\unrestrict x\n"), 7)
	f.Add([]byte("-- PostgreSQL database dump\nCREATE FUNCTION f() BEGIN ATOMIC SELECT 1; END;\nSELECT $a$ ; $a$, E'\\'', U&\"x\";/* /* */ */"), 3)
	f.Add([]byte("COPY ;COPY FROM stdin;COPY a FROM stdin"), 1)
	f.Fuzz(func(t *testing.T, text []byte, size int) {
		size = min(max(size, 1), 1<<16)
		whole := newDumpScanner()
		_, err := whole.Write(text)
		if err == nil {
			err = whole.end()
		}
		parts := newDumpScanner()
		var err2 error
		for piece := range slices.Chunk(text, size) {
			if _, err2 = parts.Write(piece); err2 != nil {
				break
			}
		}
		if err2 == nil {
			err2 = parts.end()
		}
		custom := bytes.HasPrefix(text, []byte("PGDMP")) // seen in a first piece that is large enough
		if !custom && (fmt.Sprint(err) != fmt.Sprint(err2) || err == nil && whole.dump.rows() != parts.dump.rows()) {
			t.Errorf("at once: %v, in pieces of %d: %v", err, size, err2)
		}
		if err == nil && (!bytes.Contains(text, []byte(dumpTrailer)) || len(whole.dump.tables) == 0) {
			t.Error("taken for a whole dump")
		}
	})
}

func FuzzReading(f *testing.F) {
	for _, sql := range []string{"SELECT 1", "SELECT 1; SELECT 2", "WITH a AS (SELECT 1) TABLE a", "SELECT $$;$$", "(SELECT 1)", "SELECT '", "SELECT \"pg_sleep\"(1)"} {
		f.Add(sql)
	}
	f.Fuzz(func(t *testing.T, sql string) {
		err := reading(sql)
		if err == nil && strings.TrimSpace(sql) == "" {
			t.Error("nothing is taken for a query")
		}
		if n := len([]rune(quiet(sql))); n > 200 {
			t.Errorf("%d characters", n)
		}
	})
}

func FuzzNotice(f *testing.F) {
	f.Add("WARNING", "55P03", "skipping vacuum of \"x\" --- lock not available")
	f.Fuzz(func(t *testing.T, severity, code, message string) {
		w, warns := readNotice(&pgconn.Notice{Severity: severity, Code: code, Message: message})
		if (w.skipped || w.locked) && !warns {
			t.Error("skipped without a warning")
		}
	})
}
