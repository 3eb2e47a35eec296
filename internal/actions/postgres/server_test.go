package postgres_test

import (
	"bytes"
	"context"
	"fmt"
	"net/url"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"opsbot/internal/actions/postgres"
	"opsbot/runbooks"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serverURL is the superuser's way to the server of the tests.
func serverURL(t testing.TB) string {
	t.Helper()
	raw := os.Getenv("OPSBOT_TEST_POSTGRES")
	if raw != "" && !testing.Short() {
		return raw
	}
	if os.Getenv("OPSBOT_TEST_REQUIRE") == "1" && !testing.Short() {
		t.Fatal("OPSBOT_TEST_POSTGRES is not set")
	}
	t.Skip("no PostgreSQL server: set OPSBOT_TEST_POSTGRES")
	return ""
}

// A ward is a database of a test's own, with the roles of the documentation.
type ward struct {
	t      testing.TB
	name   string // of the database; its roles end with it
	suffix string
	config postgres.Config
	super  *pgx.Conn // in the database
	mu     sync.Mutex
}

var grants = regexp.MustCompile("(?s)```sql\n(.*?)```")

// admit makes a database owned by app, with the schema and the privileges that
// docs/connections/postgres.md prints.
func admit(t testing.TB, schema string) *ward {
	t.Helper()
	raw := serverURL(t)
	suffix := fmt.Sprintf("_%d_%d", os.Getpid(), time.Now().UnixNano())
	w := &ward{t: t, name: "ward" + suffix, suffix: suffix}
	root := w.connect(raw)
	w.exec(root, "CREATE ROLE app"+suffix+" LOGIN")
	w.exec(root, "CREATE DATABASE "+w.name+" OWNER app"+suffix)
	w.super = w.connect(w.url(raw, "", w.name))
	w.exec(w.super, "SET ROLE app"+suffix)
	if schema != "" {
		w.exec(w.super, schema)
	}
	w.exec(w.super, "RESET ROLE")
	page, err := os.ReadFile("../../../docs/connections/postgres.md")
	if err != nil {
		t.Fatal(err)
	}
	block := grants.FindSubmatch(page)
	if block == nil {
		t.Fatal("docs/connections/postgres.md has no SQL")
	}
	w.exec(w.super, w.named(string(block[1])))
	w.config = postgres.Config{
		URL: w.url(raw, "opsbot_ro"+suffix, w.name), Password: "change-me",
		Maintenance: postgres.Role{User: "opsbot_maint" + suffix, Password: "change-me"},
		Restore:     postgres.Role{User: "opsbot_restore" + suffix, Password: "change-me"},
	}
	t.Cleanup(func() {
		ctx := context.Background()
		names, err := root.Query(ctx, "SELECT datname FROM pg_database WHERE datname LIKE $1", "ward"+suffix+"%")
		list, err2 := pgx.CollectRows(names, pgx.RowTo[string])
		if err != nil || err2 != nil {
			t.Error(err, err2)
		}
		for _, db := range list {
			w.exec(root, "DROP DATABASE IF EXISTS "+pgx.Identifier{db}.Sanitize()+" WITH (FORCE)")
		}
		for _, role := range []string{"opsbot_ro", "opsbot_maint", "opsbot_restore", "app"} {
			w.exec(root, "DROP ROLE IF EXISTS "+role+suffix)
		}
		root.Close(ctx)
	})
	return w
}

var roleNames = regexp.MustCompile(`\b(opsbot_ro|opsbot_maint|opsbot_restore|app)\b`)

// named gives the documentation's names those of this ward.
func (w *ward) named(sql string) string {
	return strings.ReplaceAll(roleNames.ReplaceAllString(sql, "${1}"+w.suffix), "bot_production", w.name)
}

func (w *ward) url(raw, user, database string) string {
	u, err := url.Parse(raw)
	if err != nil {
		w.t.Fatal(err)
	}
	if user != "" {
		u.User = url.User(user)
	}
	u.Path = "/" + database
	return u.String()
}

func (w *ward) connect(raw string) *pgx.Conn {
	w.t.Helper()
	conn, err := pgx.Connect(w.t.Context(), raw)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

// client is a session of the application.
func (w *ward) client(app string) *pgx.Conn {
	w.t.Helper()
	cfg, err := pgx.ParseConfig(w.url(serverURL(w.t), "app"+w.suffix, w.name))
	if err != nil {
		w.t.Fatal(err)
	}
	cfg.RuntimeParams["application_name"] = app
	conn, err := pgx.ConnectConfig(w.t.Context(), cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

// exec runs statements.
func (w *ward) exec(conn *pgx.Conn, sql string) {
	w.t.Helper()
	if _, err := conn.Exec(context.Background(), sql); err != nil {
		w.t.Fatalf("%v\n%s", err, sql)
	}
}

func (w *ward) run(sql string) {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.exec(w.super, sql)
}

// ask returns the only value of a query.
func ask[T any](w *ward, sql string, args ...any) T {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	var v T
	if err := w.super.QueryRow(context.Background(), sql, args...).Scan(&v); err != nil {
		w.t.Fatalf("%v\n%s", err, sql)
	}
	return v
}

func (w *ward) open() *postgres.Conn {
	w.t.Helper()
	return open(w.t, w.config)
}

func open(t testing.TB, c postgres.Config) *postgres.Conn {
	t.Helper()
	conn, err := postgres.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func action(t testing.TB, name string) runbooks.Action {
	t.Helper()
	for _, a := range postgres.Actions() {
		if a.Spec().Name == name {
			return a
		}
	}
	t.Fatalf("no action %s", name)
	return nil
}

// call makes a call as the engine does, from arguments as a file has them.
func call(t testing.TB, name string, conn runbooks.Connection, with map[string]any) runbooks.Call {
	t.Helper()
	args, err := runbooks.DecodeArgs(action(t, name).Spec(), with)
	if err != nil {
		t.Fatal(err)
	}
	return runbooks.Call{Run: "r1", Step: "s1", Target: runbooks.Target{Environment: "test", Name: "database", Kind: "postgres", Conn: conn}, Args: args}
}

type with = map[string]any

// try runs an action.
func try(t testing.TB, name string, conn runbooks.Connection, args with) (any, string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var out bytes.Buffer
	r, err := action(t, name).Run(ctx, call(t, name, conn, args), &out)
	return r, out.String(), err
}

// do runs an action that must work.
func do[R any](t testing.TB, name string, conn runbooks.Connection, args with) R {
	t.Helper()
	r, out, err := try(t, name, conn, args)
	if err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
	return r.(R)
}

func preview(t testing.TB, name string, conn runbooks.Connection, args with) (runbooks.Preview, error) {
	t.Helper()
	return action(t, name).(runbooks.Previewer).Preview(t.Context(), call(t, name, conn, args))
}

// until waits for a condition.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick, deadline := time.NewTicker(20*time.Millisecond), time.NewTimer(time.Minute)
	defer tick.Stop()
	defer deadline.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("waited in vain until %s", what)
		}
	}
}
