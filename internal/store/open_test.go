package store_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"opsbot/internal/fault"
	"opsbot/internal/inbox"
	"opsbot/internal/outbox"
	"opsbot/internal/store"
	"opsbot/internal/store/storetest"
	"opsbot/runbooks/engine"
)

const secret = "hunter2-canary"

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	notADatabase := filepath.Join(dir, "text.db")
	if err := os.WriteFile(notADatabase, []byte(strings.Repeat("this is no database\n", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	const closed = "127.0.0.1:1"
	for name, test := range map[string]struct {
		url, says string
		kind      fault.Kind
	}{
		"nothing":             {"", "neither sqlite: nor postgres", fault.Invalid},
		"a bare path":         {"opsbot.db", "neither sqlite: nor postgres", fault.Invalid},
		"another database":    {"mysql://root:" + secret + "@h/db", "neither sqlite: nor postgres", fault.Invalid},
		"no file":             {"sqlite:", "names no SQLite file", fault.Invalid},
		"memory":              {"sqlite::memory:", "names no SQLite file", fault.Invalid},
		"options":             {"sqlite:x.db?mode=ro", "names no SQLite file", fault.Invalid},
		"a missing directory": {"sqlite:" + dir + "/missing/x.db", "does not exist", fault.Unavailable},
		"a directory":         {"sqlite:" + dir, "cannot be opened", fault.Unavailable},
		"not a database":      {"sqlite:" + notADatabase, "no SQLite database", fault.Unavailable},
		"no host":             {"postgres://", "not a valid PostgreSQL URL", fault.Invalid},
		"a broken port":       {"postgres://u:" + secret + "@h:port/db", "not a valid PostgreSQL URL", fault.Invalid},
		"a broken option":     {"postgres://u:" + secret + "@h/db?connect_timeout=x", "not a valid PostgreSQL URL", fault.Invalid},
		"nobody there":        {"postgres://u:" + secret + "@" + closed + "/db", closed + " does not answer", fault.Unavailable},
	} {
		s, err := store.Open(t.Context(), test.url, store.Options{})
		if err == nil {
			t.Errorf("%s: Open succeeded", name)
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			continue
		}
		if fault.KindOf(err) != test.kind || !strings.Contains(fault.Say(err), test.says) {
			t.Errorf("%s: Open = %s %q, want %s with %q", name, fault.KindOf(err), fault.Say(err), test.kind, test.says)
		}
		if strings.Contains(err.Error(), secret) || strings.Contains(fault.Say(err), secret) {
			t.Errorf("%s: the error holds the password: %v", name, err)
		}
	}
}

func TestOpenRefusesPermissions(t *testing.T) {
	t.Parallel()
	if os.Geteuid() == 0 {
		t.Skip("root may write everywhere")
	}
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	_, err := store.Open(t.Context(), "sqlite:"+filepath.Join(dir, "x.db"), store.Options{})
	if fault.KindOf(err) != fault.Forbidden || !strings.Contains(fault.Say(err), "cannot be written by this account") {
		t.Errorf("Open = %v, want a refusal that names the account", err)
	}
}

func TestPostgresRefuses(t *testing.T) {
	t.Parallel()
	server, err := url.Parse(storetest.Postgres(t))
	if err != nil {
		t.Fatal(err)
	}
	with := func(change func(*url.URL, url.Values)) string {
		u, q := *server, server.Query()
		change(&u, q)
		u.RawQuery = q.Encode()
		return u.String()
	}
	for name, test := range map[string]struct {
		url, says string
		kind      fault.Kind
	}{
		"no such database": {with(func(u *url.URL, _ url.Values) { u.Path = "/missing_database" }), "has no database missing_database", fault.NotFound},
		"no such role":     {with(func(u *url.URL, _ url.Values) { u.User = url.UserPassword("nobody_known", secret) }), "refuses the user nobody_known", fault.Forbidden},
		"no such schema":   {with(func(_ *url.URL, q url.Values) { q.Set("search_path", "missing_schema") }), "has no schema", fault.Conflict},
	} {
		_, err := store.Open(t.Context(), test.url, store.Options{})
		if fault.KindOf(err) != test.kind || !strings.Contains(fault.Say(err), test.says) {
			t.Errorf("%s: Open = %s %q, want %s with %q", name, fault.KindOf(err), fault.Say(err), test.kind, test.says)
		}
		if err != nil && strings.Contains(err.Error(), secret) {
			t.Errorf("%s: the error holds the password: %v", name, err)
		}
	}
}

func TestOpenWaitsForNobody(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0") // accepts and says nothing
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = store.Open(ctx, "postgres://u:"+secret+"@"+l.Addr().String()+"/db", store.Options{})
	if err == nil || strings.Contains(err.Error(), secret) {
		t.Errorf("Open = %v, want an error without the password", err)
	}
}

func TestReopen(t *testing.T) {
	t.Parallel()
	storetest.EachURL(t, func(t *testing.T, url string) {
		for want := int64(1); want <= 3; want++ {
			s := storetest.OpenURL(t, url)
			run, err := s.Runs().Create(t.Context(), storetest.NewRun(), engine.Change{Audit: []engine.AuditEntry{{Act: "start"}}})
			if err != nil || run.Number != want {
				t.Fatalf("Create = %v, %v, want R%d", run, err, want)
			}
			if n, _, err := s.Audit().Verify(t.Context()); err != nil || n != want {
				t.Errorf("Verify = %d, %v, want %d", n, err, want)
			}
			for range 2 {
				if err := s.Close(); err != nil {
					t.Errorf("Close: %v", err)
				}
			}
			if _, err := s.Runs().Claim(t.Context(), "o"); err == nil {
				t.Error("Claim on a closed store succeeded")
			}
		}
	})
}

func TestNewerSchemaIsRefused(t *testing.T) {
	t.Parallel()
	storetest.EachURL(t, func(t *testing.T, url string) {
		if err := storetest.OpenURL(t, url).Close(); err != nil {
			t.Fatal(err)
		}
		storetest.Exec(t, url, `INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, TRUE)`)
		for name, open := range map[string]func() (*store.Store, error){
			"Open":         func() (*store.Store, error) { return store.Open(t.Context(), url, store.Options{}) },
			"OpenReadOnly": func() (*store.Store, error) { return store.OpenReadOnly(t.Context(), url) },
		} {
			_, err := open()
			if fault.KindOf(err) != fault.Conflict || !strings.Contains(fault.Say(err), "newer than this opsbot knows") {
				t.Errorf("%s = %v, want a refusal of the newer schema", name, err)
			}
		}
	})
}

func TestSQLiteHasOneOwner(t *testing.T) {
	t.Parallel()
	u := storetest.SQLite(t)
	file, _ := store.File(u)
	first := storetest.OpenURL(t, u)
	_, err := store.Open(t.Context(), u, store.Options{})
	var owned *store.OwnedError
	if !errors.As(err, &owned) || owned.Socket != file+".sock" || owned.File != file || owned.Owner == "" {
		t.Fatalf("the second Open = %+v, want an OwnedError with the socket's path", err)
	}
	if fault.KindOf(err) != fault.Conflict || !strings.Contains(fault.Say(err), "in use by another opsbot process") {
		t.Errorf("people are told %s %q", fault.KindOf(err), fault.Say(err))
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file has mode %v (%v), want 0600", info.Mode(), err)
	}
	// The refusal has not disturbed the owner.
	if _, err := first.Runs().Create(t.Context(), storetest.NewRun(), engine.Change{}); err != nil {
		t.Errorf("Create: %v", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	storetest.OpenURL(t, u)
}

func TestReadOnly(t *testing.T) {
	t.Parallel()
	for _, none := range []func(testing.TB) string{storetest.NoSQLite, storetest.Postgres} {
		t.Run("nothing", func(t *testing.T) {
			t.Parallel()
			if _, err := store.OpenReadOnly(t.Context(), none(t)); err == nil {
				t.Error("OpenReadOnly of an empty database succeeded")
			}
		})
	}
	storetest.EachURL(t, func(t *testing.T, url string) {
		owner := storetest.OpenURL(t, url)
		if _, err := owner.Runs().Create(t.Context(), storetest.NewRun(), engine.Change{}); err != nil {
			t.Fatal(err)
		}
		look := func(want int) {
			t.Helper()
			s, err := store.OpenReadOnly(t.Context(), url)
			if err != nil {
				t.Fatalf("OpenReadOnly: %v", err)
			}
			defer func() {
				if err := s.Close(); err != nil {
					t.Errorf("Close: %v", err)
				}
			}()
			runs, err := s.Runs().List(t.Context(), engine.Query{})
			if err != nil || len(runs) != want {
				t.Errorf("List = %d runs, %v, want %d", len(runs), err, want)
			}
			if _, err := s.Runs().Claim(t.Context(), "o"); fault.KindOf(err) != fault.Conflict {
				t.Errorf("Claim = %v, want a refusal", err)
			}
		}
		look(1) // beside the owner
		if _, err := owner.Runs().Create(t.Context(), storetest.NewRun(), engine.Change{}); err != nil {
			t.Fatal(err)
		}
		look(2)
		if err := owner.Close(); err != nil {
			t.Fatal(err)
		}
		look(2) // and without one
	})
}

// On SQLite the new owner knows that the old one is dead, and need not wait.
func TestTakeoverOnSQLite(t *testing.T) {
	t.Parallel()
	u := storetest.SQLite(t)
	s := storetest.OpenURL(t, u)
	if _, err := s.Runs().Create(t.Context(), storetest.NewRun(), engine.Change{Notices: []outbox.Notice{{Content: outbox.Line{Text: "x"}}}}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Inbox().Record(t.Context(), inbox.Item{Key: "k", Kind: "event"}); err != nil {
		t.Fatal(err)
	}
	take := func(s *store.Store, owner string) {
		t.Helper()
		run, err := s.Runs().Claim(t.Context(), owner)
		if err != nil || run == nil {
			t.Errorf("Claim = %v, %v, want a run", run, err)
		}
		items, err := s.Inbox().Next(t.Context(), owner, 5)
		if err != nil || len(items) != 1 {
			t.Errorf("Next = %v, %v, want one item", items, err)
		}
		ds, err := s.Outbox().Due(t.Context(), owner, 5)
		if err != nil || len(ds) != 1 {
			t.Errorf("Due = %v, %v, want one notice", ds, err)
		}
	}
	take(s, "o1")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	take(storetest.OpenURL(t, u), "o2")
}

func TestReplicasHearOfEachOther(t *testing.T) {
	t.Parallel()
	u := storetest.Postgres(t)
	a, b := storetest.OpenURL(t, u), storetest.OpenURL(t, u)
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- b.Serve(ctx) }()
	defer func() {
		cancel()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	}()
	await := func(what string, ch <-chan struct{}) {
		t.Helper()
		select {
		case <-ch:
		case <-time.After(20 * time.Second):
			t.Fatalf("waited in vain for %s", what)
		}
	}
	await("the poll after connecting", b.Runs().Signal())
	await("the poll after connecting", b.Inbox().Signal())
	await("the poll after connecting", b.Outbox().Signal())
	if _, err := a.Runs().Create(t.Context(), storetest.NewRun(), engine.Change{Notices: []outbox.Notice{{Content: outbox.Line{Text: "x"}}}}); err != nil {
		t.Fatal(err)
	}
	await("the other's run", b.Runs().Signal())
	await("the other's notice", b.Outbox().Signal())
	if _, err := a.Inbox().Record(t.Context(), inbox.Item{Key: "k", Kind: "event"}); err != nil {
		t.Fatal(err)
	}
	await("the other's inbox item", b.Inbox().Signal())

	// A cut connection is made anew, and what may have been missed is looked for.
	storetest.Exec(t, u, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN "opsbot:' || current_schema() || '"'`)
	await("the poll after the reconnect", b.Runs().Signal())
	if err := a.Ping(t.Context()); err != nil {
		t.Errorf("Ping: %v", err)
	}
}

// A server that goes away is said to be away, and is used again once it is back.
func TestPostgresGoesAway(t *testing.T) {
	t.Parallel()
	u, err := url.Parse(storetest.Postgres(t))
	if err != nil {
		t.Fatal(err)
	}
	gate := storetest.NewGate(t, u.Host)
	u.Host = gate.Addr()
	var log strings.Builder
	s, err := store.Open(t.Context(), u.String(), store.Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	gate.Shut()
	if err := s.Ping(t.Context()); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("Ping = %v, want %s", err, fault.Unavailable)
	}
	if _, err := s.Runs().Claim(t.Context(), "o"); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("Claim = %v, want %s", err, fault.Unavailable)
	}
	gate.Open()
	if _, err := s.Runs().Create(t.Context(), storetest.NewRun(), engine.Change{}); err != nil {
		t.Errorf("Create once it is back: %v", err)
	}
}

// A process that falls silent in the middle of a transaction holds the row of
// its run; it is taken from it all the same, and what it says later is not heard.
func TestSilenceInATransaction(t *testing.T) {
	t.Parallel()
	mine := storetest.Postgres(t)
	u, err := url.Parse(mine)
	if err != nil {
		t.Fatal(err)
	}
	gate := storetest.NewGate(t, u.Host)
	u.Host = gate.Addr()
	silent, other := storetest.OpenURL(t, u.String()), storetest.OpenURL(t, mine)
	if _, err := other.Runs().Create(t.Context(), storetest.NewRun(), engine.Change{}); err != nil {
		t.Fatal(err)
	}
	run, err := silent.Runs().Claim(t.Context(), "silent")
	if err != nil || run == nil {
		t.Fatalf("Claim = %v, %v", run, err)
	}
	said := make(chan error, 1)
	go func() {
		_, err := silent.Runs().Update(context.WithoutCancel(t.Context()), run.ID, &engine.Fence{Owner: "silent", Epoch: run.Epoch}, func(r *engine.Run) (engine.Change, error) {
			gate.Hold()
			r.Outcome = "late"
			return engine.Change{}, nil
		})
		said <- err
	}()
	var taken *engine.Run
	for deadline := time.Now().Add(60 * time.Second); taken == nil; {
		if time.Now().After(deadline) {
			t.Fatal("the run is never taken over")
		}
		if taken, err = other.Runs().Claim(t.Context(), "other"); err != nil {
			t.Fatal(err)
		}
	}
	if taken.Epoch != run.Epoch+1 {
		t.Errorf("epoch %d, want %d", taken.Epoch, run.Epoch+1)
	}
	gate.Open()
	if err := <-said; fault.KindOf(err) != fault.Unavailable {
		t.Errorf("the late Update = %v, want %s", err, fault.Unavailable)
	}
	if r, err := other.Runs().Find(t.Context(), run.ID); err != nil || r.Outcome != "" {
		t.Errorf("the run is %v (%v), want it without the late words", r, err)
	}
}

// A network that swallows everything is found out, and new connections are
// made once it is well.
func TestConnectionsLeadNowhere(t *testing.T) {
	t.Parallel()
	u, err := url.Parse(storetest.Postgres(t))
	if err != nil {
		t.Fatal(err)
	}
	gate := storetest.NewGate(t, u.Host)
	u.Host = gate.Addr()
	s := storetest.OpenURL(t, u.String())
	done := make(chan error, 8)
	for range cap(done) { // for as many connections
		go func() { done <- s.Ping(t.Context()) }()
	}
	for range cap(done) {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	gate.Hold()
	if err := s.Ping(t.Context()); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("Ping = %v, want %s", err, fault.Unavailable)
	}
	if _, err := s.Runs().Find(t.Context(), "R1"); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("Find = %v, want %s", err, fault.Unavailable)
	}
	gate.Open()
	if err := s.Ping(t.Context()); err != nil {
		t.Errorf("Ping once it is well: %v", err)
	}
}

func FuzzFile(f *testing.F) {
	for _, u := range []string{"sqlite:opsbot.db", "sqlite:/var/lib/opsbot.db", "sqlite:///x.db", "sqlite:", "sqlite::memory:", "sqlite:a?b", "postgres://u:p@h/db", "sqlite:%00", ""} {
		f.Add(u)
	}
	f.Fuzz(func(t *testing.T, u string) {
		path, ok := store.File(u)
		if ok != (path != "") || ok && (!filepath.IsAbs(path) || !strings.HasPrefix(u, "sqlite:") || strings.ContainsAny(path, "?#\x00")) {
			t.Errorf("File(%q) = %q, %v", u, path, ok)
		}
	})
}
