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
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/uuid"
	_ "github.com/jackc/pgx/v5/stdlib" // registers "pgx"

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

// SQLite returns the URL of a database that does not exist yet.
func SQLite(t testing.TB) string {
	t.Helper()
	return "sqlite:" + filepath.Join(t.TempDir(), "opsbot.db")
}

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
	driver, source := "pgx", url
	if file, ok := store.File(url); ok {
		driver, source = "sqlite", "file:"+file+"?_pragma=busy_timeout(10000)"
	}
	db, err := sql.Open(driver, source)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}()
	if _, err := db.ExecContext(t.Context(), query, args...); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}

// ExpireLeases lets every lease run out now, as if its owner had been silent
// for long enough.
func ExpireLeases(t testing.TB, url string) {
	t.Helper()
	for _, table := range []string{"runs", "inbox", "outbox"} {
		Exec(t, url, "UPDATE "+table+" SET lease_until = 1 WHERE lease_until > 0")
	}
}
