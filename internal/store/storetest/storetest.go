// Package storetest opens stores for tests and holds every implementation to
// the contracts of engine.Store, engine.ScheduleStore, inbox.Queue and outbox.Queue.
//
// SQLite is always there. PostgreSQL takes part when OPSBOT_TEST_POSTGRES is
// the URL of a role that may create schemas; with OPSBOT_TEST_REQUIRE=1 its
// absence fails the test instead of leaving PostgreSQL out.
package storetest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgconn"
	_ "github.com/jackc/pgx/v5/stdlib" // registers "pgx"
	"modernc.org/sqlite"

	"opsbot/internal/store"
)

// Open returns an empty SQLite store that is closed at the test's end.
func Open(t testing.TB) *store.Store {
	t.Helper()
	return OpenURL(t, SQLite(t))
}

// OpenURL opens a store that is closed at the test's end, if not before.
func OpenURL(t testing.TB, url string) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), url, store.Options{})
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return s
}

// NoSQLite returns the URL of a database that does not exist yet.
func NoSQLite(t testing.TB) string {
	t.Helper()
	return "sqlite:" + filepath.Join(t.TempDir(), "opsbot.db")
}

// SQLite returns the URL of an empty database with the schema of now.
func SQLite(t testing.TB) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "opsbot.db")
	WriteSQLite(t, file)
	return "sqlite:" + file
}

// WriteSQLite makes a file an empty database, by copying: making its schema
// each time would be most of what many tests do.
func WriteSQLite(t testing.TB, file string) {
	t.Helper()
	data, err := blank()
	if err != nil {
		t.Fatalf("make an empty database: %v", err)
	}
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

var blank = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "opsbot")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "opsbot.db")
	s, err := store.Open(context.Background(), "sqlite:"+file, store.Options{})
	if err != nil {
		return nil, err
	}
	if err := s.Close(); err != nil {
		return nil, err
	}
	return os.ReadFile(file)
})

// Postgres returns the URL of an empty schema, which is dropped at the test's
// end. It skips the test when there is no server to test with.
func Postgres(t testing.TB) string {
	t.Helper()
	server := os.Getenv("OPSBOT_TEST_POSTGRES")
	if server == "" {
		if os.Getenv("OPSBOT_TEST_REQUIRE") == "1" {
			t.Fatal("OPSBOT_TEST_POSTGRES is not set, and OPSBOT_TEST_REQUIRE=1 wants it to be")
		}
		t.Skip("OPSBOT_TEST_POSTGRES is not set")
	}
	db, err := sql.Open("pgx", server)
	if err != nil {
		t.Fatal("OPSBOT_TEST_POSTGRES is not a PostgreSQL URL")
	}
	schema := "opsbot_" + strings.ReplaceAll(uuid.NewString(), "-", "")
	if _, err := db.ExecContext(t.Context(), "CREATE SCHEMA "+schema); err != nil {
		t.Fatalf("create a schema: %v", err)
	}
	t.Cleanup(func() {
		if _, err := db.ExecContext(context.Background(), "DROP SCHEMA "+schema+" CASCADE"); err != nil {
			t.Errorf("drop the schema: %v", err)
		}
		if err := db.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal("OPSBOT_TEST_POSTGRES is not a PostgreSQL URL")
	}
	q := u.Query()
	q.Set("search_path", schema)
	u.RawQuery = q.Encode()
	return u.String()
}

// Each runs the test on an empty store of each database, in parallel.
func Each(t *testing.T, test func(t *testing.T, s *store.Store)) {
	EachURL(t, func(t *testing.T, url string) { test(t, OpenURL(t, url)) })
}

// EachURL is Each for tests that open the store themselves, or start programs
// that do.
func EachURL(t *testing.T, test func(t *testing.T, url string)) {
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		test(t, SQLite(t))
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		test(t, Postgres(t))
	})
}

// Exec runs one statement beside the store, behind its back.
func Exec(t testing.TB, url, query string, args ...any) {
	t.Helper()
	if err := beside(url, func(db *sql.DB) error {
		_, err := db.ExecContext(t.Context(), query, args...)
		return err
	}); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}

// beside opens the database of a store a second time.
func beside(url string, do func(*sql.DB) error) error {
	driver, source := "pgx", url
	if file, ok := store.File(url); ok {
		driver, source = "sqlite", "file:"+file+"?_txlock=immediate&_pragma=busy_timeout(10000)"
	}
	db, err := sql.Open(driver, source)
	if err != nil {
		return err
	}
	return errors.Join(do(db), db.Close())
}

// ExpireLeases lets every lease run out now, as if its owner had been silent
// for long enough.
func ExpireLeases(t testing.TB, url string) {
	t.Helper()
	for _, table := range []string{"runs", "inbox", "outbox"} {
		Exec(t, url, "UPDATE "+table+" SET lease_until = 1 WHERE lease_until > 0")
	}
}

// An Aging says how much older Age makes things. What stands since Since, and
// not on whole half minutes from there, is put down to a multiple of Grain, or
// up with Up: however slowly a test has done something, the record says that it
// took no time.
type Aging struct {
	By    time.Duration
	Since time.Time // whole seconds
	Grain time.Duration
	Up    bool
}

// aged are the moments of incidents and of their runs, and the documents in
// which there are some. Runs come first, as a commit locks them first. What the
// engine waits for is not among them.
var aged = []struct{ table, key, moments, documents string }{
	{"runs", "id", "created_at started_at ended_at", ""},
	{"steps", "run_id", "intent_at result_at", ""},
	{"approvals", "id", "created_at decided_at", ""},
	{"incidents", "id", "since started_at detected_at declared_at acknowledged_at mitigated_at resolved_at written_at ended_at", "tasks last_update"},
	{"incident_roles", "incident_id", "since accepted_at", ""},
	{"incident_clocks", "incident_id", "due snoozed wake_at set_at", ""},
	{"incident_events", "incident_id || '/' || seq", "occurred_at recorded_at", "data"},
	{"incident_updates", "id", "written_at decided_at due", ""},
}

// Age makes what is on record of incidents and their runs older, behind the
// store's back, as if time had passed.
//
// An update on its way to its audience is waited for: whoever delivers it has
// read its moments already and writes them down again at the end.
func Age(t testing.TB, url string, a Aging) {
	t.Helper()
	if err := beside(url, func(db *sql.DB) error {
		tick, deadline := time.NewTicker(20*time.Millisecond), time.After(time.Minute)
		defer tick.Stop()
		for {
			again, err := age(t.Context(), db, a)
			if !again {
				return err
			}
			select {
			case <-tick.C:
			case <-deadline:
				return err
			}
		}
	}); err != nil {
		t.Fatal(err)
	}
}

func age(ctx context.Context, db *sql.DB, a Aging) (again bool, err error) {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return false, err
	}
	defer tx.Rollback()                                 //nolint:errcheck // it is of no use after a commit
	if _, lite := db.Driver().(*sqlite.Driver); !lite { // where a transaction has the database for itself
		var tables []string
		for _, in := range aged {
			tables = append(tables, in.table)
		}
		if _, err := tx.ExecContext(ctx, "LOCK TABLE "+strings.Join(tables, ", ")+" IN EXCLUSIVE MODE"); err != nil {
			var refused *pgconn.PgError
			return errors.As(err, &refused) && refused.Code == "40P01", err // deadlock_detected
		}
	}
	var underWay int
	if err := tx.QueryRowContext(ctx, "SELECT count(*) FROM incident_updates WHERE state = 'approved'").Scan(&underWay); err != nil {
		return false, err
	}
	if underWay > 0 {
		return true, fmt.Errorf("%d updates are not published", underWay)
	}
	for _, in := range aged {
		var sets []string
		for _, c := range strings.Fields(in.moments) {
			sets = append(sets, c+" = "+a.moved(c))
		}
		if _, err := tx.ExecContext(ctx, "UPDATE "+in.table+" SET "+strings.Join(sets, ", ")); err != nil {
			return false, fmt.Errorf("%s: %w", in.table, err)
		}
		for _, c := range strings.Fields(in.documents) {
			if err := a.documents(ctx, tx, in.table, in.key, c); err != nil {
				return false, fmt.Errorf("%s.%s: %w", in.table, c, err)
			}
		}
	}
	return false, tx.Commit()
}

// moved is SQL for a moment, in unix milliseconds, that is made older.
func (a Aging) moved(c string) string {
	return strings.NewReplacer("{c}", c, "{by}", fmt.Sprint(a.By.Milliseconds()), "{since}", fmt.Sprint(a.Since.UnixMilli()),
		"{grain}", fmt.Sprint(a.Grain.Milliseconds()), "{up}", fmt.Sprint(a.up().Milliseconds())).Replace(
		`CASE WHEN {c} = 0 THEN 0 WHEN {c} < {since} OR ({c} - {since}) % 30000 = 0 THEN {c} - {by}
			ELSE {since} + (({c} - {since} + {up}) / {grain}) * {grain} - {by} END`)
}

// older is the same as moved.
func (a Aging) older(at time.Time) time.Time {
	n := at.Sub(a.Since)
	if n >= 0 && n%(30*time.Second) != 0 {
		n = (n + a.up()).Truncate(a.Grain)
	}
	return a.Since.Add(n - a.By)
}

func (a Aging) up() time.Duration {
	if a.Up {
		return a.Grain - time.Millisecond
	}
	return 0
}

// documents makes the moments in a column of JSON older.
func (a Aging) documents(ctx context.Context, tx *sql.Tx, table, key, column string) error {
	rows, err := tx.QueryContext(ctx, "SELECT "+key+", "+column+" FROM "+table)
	if err != nil {
		return err
	}
	defer rows.Close()
	changed := map[string]string{}
	for rows.Next() {
		var id, text string
		if err := rows.Scan(&id, &text); err != nil {
			return err
		}
		older := instants.ReplaceAllStringFunc(text, func(s string) string {
			at, err := time.Parse(time.RFC3339, s)
			if err == nil && at.UnixMilli() > 0 {
				s = a.older(at).UTC().Format(time.RFC3339)
			}
			return s
		})
		if older != text {
			changed[id] = older
		}
	}
	if err := rows.Err(); err != nil {
		return err
	}
	for id, text := range changed {
		if _, err := tx.ExecContext(ctx, "UPDATE "+table+" SET "+column+" = $1 WHERE "+key+" = $2", text, id); err != nil {
			return err
		}
	}
	return nil
}

var instants = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z`)
