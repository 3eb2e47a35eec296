package postgres_test

import (
	"context"
	"encoding/json"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"opsbot/internal/actions/postgres"
	"opsbot/internal/fault"
)

const shop = `
CREATE TABLE users (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL, created_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE logs (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, user_id bigint NOT NULL REFERENCES users, body text, created_at timestamptz NOT NULL DEFAULT now());
INSERT INTO users (name) SELECT 'user ' || i FROM generate_series(1, 50) i;
INSERT INTO logs (user_id, body, created_at) SELECT 1 + i % 50, repeat('x', 100), now() - i * interval '1 minute' FROM generate_series(1, 1000) i;
`

func TestPing(t *testing.T) {
	t.Parallel()
	w := admit(t, shop)
	conn := w.open()
	r := do[postgres.Pong](t, "postgres.ping", conn, nil)
	if !r.Writable || r.Recovery || r.Cause != "" || r.Database != w.name || r.VersionNum < 150000 || r.SlotsUsable < 10 || r.SlotsUsed < 2 || r.MS <= 0 {
		t.Errorf("ping = %+v", r)
	}
	id, err := conn.Identity(t.Context())
	if err != nil || id != r.SystemID+"/"+w.name || r.SystemID != ask[string](w, "SELECT system_identifier::text FROM pg_control_system()") {
		t.Errorf("Identity() = %q, %v", id, err)
	}
	w.run("ALTER DATABASE " + w.name + " SET default_transaction_read_only = on")
	if r := do[postgres.Pong](t, "postgres.ping", conn, nil); r.Writable || r.Recovery {
		t.Errorf("ping of a read-only database = %+v", r)
	}
	w.run("ALTER DATABASE " + w.name + " RESET default_transaction_read_only")
}

// What a failed ping says decides what a runbook does: only a server that
// refuses connections may be restarted.
func TestPingFails(t *testing.T) {
	t.Parallel()
	w := admit(t, "")
	raw := serverURL(t)
	full := "full" + w.suffix
	w.run("CREATE ROLE " + full + " LOGIN CONNECTION LIMIT 0")
	t.Cleanup(func() { w.run("DROP ROLE " + full) })
	deaf, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { deaf.Close() })
	for _, c := range []struct {
		name, url, cause, says string
		kind                   fault.Kind
	}{
		{"refused", "postgres://x@127.0.0.1:1/x?sslmode=disable", "refused", "refused the connection", fault.Unavailable},
		{"host", "postgres://x@db.invalid/x?sslmode=disable", "host", "no such host", fault.Unavailable},
		{"timeout", "postgres://x@" + deaf.Addr().String() + "/x?sslmode=disable", "timeout", "did not answer in time", fault.Unavailable},
		{"slots", w.url(raw, full, w.name), "slots", "all its slots in use", fault.Unavailable},
		{"missing", w.url(raw, "app"+w.suffix, "nosuch"), "missing", "no such database", fault.NotFound},
		{"tls", strings.Replace(w.url(raw, "app"+w.suffix, w.name), "sslmode=disable", "sslmode=require", 1), "tls", "TLS", fault.Unavailable},
		{"denied", w.url(raw, "nosuch", w.name), "denied", "does not let opsbot in", fault.Forbidden},
		{"broken", "", "broken", "broke", fault.Unavailable},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if c.name == "broken" {
				c.url = "postgres://x@" + chatter(t) + "/x?sslmode=disable"
			}
			conn := open(t, postgres.Config{URL: c.url})
			r, _, err := try(t, "postgres.ping", conn, nil)
			for range 5 { // a busy machine makes anything time out
				if pong, ok := r.(postgres.Pong); !ok || pong.Cause != "timeout" || c.cause == "timeout" {
					break
				}
				r, _, err = try(t, "postgres.ping", conn, nil)
			}
			if pong, ok := r.(postgres.Pong); !ok || pong.Cause != c.cause || pong.Writable {
				t.Errorf("cause = %+v, want %s (%v)", r, c.cause, err)
			}
			if fault.KindOf(err) != c.kind || !strings.Contains(fault.Say(err), c.says) {
				t.Errorf("says %q (%s)", fault.Say(err), fault.KindOf(err))
			}
		})
	}
}

// chatter is a server of another kind.
func chatter(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = c.Write([]byte("220 mail.example ESMTP\r\n"))
			c.Close()
		}
	}()
	return l.Addr().String()
}

func TestQuery(t *testing.T) {
	t.Parallel()
	w := admit(t, shop)
	w.config.Queries = map[string]postgres.Query{
		"recent": {SQL: "SELECT user_id, count(*) AS n FROM logs WHERE created_at > now() - $1::interval GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT $2",
			Args: []postgres.Param{{Name: "since", Type: "duration"}, {Name: "top", Type: "int", Default: "3"}}},
	}
	conn := w.open()
	r := do[postgres.Table](t, "postgres.query", conn, with{"name": "recent", "args": []any{time.Hour}, "columns": []any{"user_id", "n"}})
	want := postgres.Table{Columns: []string{"user_id", "n"}, Rows: []map[string]any{
		{"user_id": 2, "n": 2}, {"user_id": 3, "n": 2}, {"user_id": 4, "n": 2}}}
	if d := cmp.Diff(want, r); d != "" {
		t.Error(d)
	}
	r = do[postgres.Table](t, "postgres.query", conn, with{"max_rows": 2, "args": []any{"7", true, 1.5, "a'b"},
		"sql": "SELECT $1::int AS i, $2::bool AS b, $3::numeric AS f, $4 AS t, NULL AS none, '{\"a\":[1]}'::jsonb AS j, 'NaN'::float8 AS nan, 9007199254740993 AS big, interval '90 s' AS d FROM generate_series(1, 3)"})
	if len(r.Rows) != 2 || !r.Truncated {
		t.Fatalf("rows = %v, truncated %v", r.Rows, r.Truncated)
	}
	if d := cmp.Diff(map[string]any{"i": 7, "b": true, "f": 1.5, "t": "a'b", "none": nil, "j": map[string]any{"a": []any{1.0}},
		"nan": nil, "big": "9007199254740993", "d": "00:01:30"}, r.Rows[0]); d != "" {
		t.Error(d)
	}
	data, err := json.Marshal(r)
	if err != nil || len(data) == 0 {
		t.Errorf("as JSON: %v", err)
	}

	for name, c := range map[string]struct {
		args with
		says string
	}{
		"two statements":     {with{"sql": "SELECT 1; SELECT 2"}, "more than one statement"},
		"hidden second":      {with{"sql": "SELECT 1; -- \nDROP TABLE users"}, "more than one statement"},
		"a write":            {with{"sql": "DELETE FROM logs"}, "does not begin with"},
		"a write in a with":  {with{"sql": "WITH d AS (DELETE FROM logs RETURNING 1) SELECT count(*) FROM d"}, "refuses to write"},
		"a function":         {with{"sql": "SELECT pg_terminate_backend(1)"}, "pg_terminate_backend"},
		"a function, quoted": {with{"sql": "SELECT pg_catalog.\"pg_cancel_backend\"(1)"}, "pg_cancel_backend"},
		"psql":               {with{"sql": "SELECT 1 \\! rm"}, "psql"},
		"neither":            {with{}, "either a name or sql"},
		"both":               {with{"name": "recent", "sql": "SELECT 1"}, "either a name or sql"},
		"unknown":            {with{"name": "recnt"}, "There are recent."},
		"no value":           {with{"name": "recent"}, "needs a value for since"},
		"too many values":    {with{"name": "recent", "args": []any{"1h", 1, 2}}, "takes 2 values, not 3"},
		"wrong value":        {with{"name": "recent", "args": []any{"1h", "many"}}, "whole number"},
		"missing value":      {with{"sql": "SELECT $1::int"}, "Give one value for each"},
		"other columns":      {with{"sql": "SELECT 1 AS a", "columns": []any{"b"}}, "returned the columns a, not b"},
		"bad syntax":         {with{"sql": "SELECT FROM WHERE"}, "does not understand"},
		"no table":           {with{"sql": "SELECT * FROM nosuch"}, "no such table"},
		"no column":          {with{"sql": "SELECT nosuch FROM users"}, "no such column"},
		"bad value":          {with{"sql": "SELECT $1::int", "args": []any{"x"}}, "cannot take a value"},
		"no privilege":       {with{"sql": "SELECT * FROM pg_authid"}, "does not allow this to opsbot's user"},
	} {
		r, _, err := try(t, "postgres.query", conn, c.args)
		if err == nil || !strings.Contains(fault.Say(err), c.says) {
			t.Errorf("%s: %v, says %q, want %q", name, r, fault.Say(err), c.says)
		}
	}
	if n := ask[int](w, "SELECT count(*) FROM logs"); n != 1000 {
		t.Errorf("%d rows are left", n)
	}

	// The step's time limit cancels the statement on the server.
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	_, err = action(t, "postgres.query").Run(ctx, call(t, "postgres.query", conn, with{"sql": "SELECT count(*) FROM generate_series(1, 100000) a, generate_series(1, 100000) b"}), testWriter{t})
	if err == nil || !strings.Contains(fault.Say(err), "ran too long") && !strings.Contains(fault.Say(err), "in time") {
		t.Errorf("a slow query says %q", fault.Say(err))
	}
	until(t, "the server has cancelled it", func() bool {
		return ask[int](w, "SELECT count(*) FROM pg_stat_activity WHERE datname = $1 AND usename LIKE 'opsbot%' AND state = 'active'", w.name) == 0
	})
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(p []byte) (int, error) { w.t.Log(string(p)); return len(p), nil }

func TestActivity(t *testing.T) {
	t.Parallel()
	w := admit(t, shop)
	conn := w.open()
	blocker, victim := w.client("billing"), w.client("web")
	w.exec(blocker, "BEGIN")
	w.exec(blocker, "UPDATE users SET name = 'secret value' WHERE id = 1")
	waiting := make(chan error, 1)
	go func() {
		_, err := victim.Exec(context.Background(), "UPDATE users SET name = 'b' WHERE id = 1")
		waiting <- err
	}()
	var r postgres.Activity
	mine := func(list []postgres.Session) []postgres.Session { // other tests have sessions too
		return slices.DeleteFunc(slices.Clone(list), func(s postgres.Session) bool { return s.Database != w.name })
	}
	until(t, "the victim waits", func() bool {
		r = do[postgres.Activity](t, "postgres.activity", conn, nil)
		return len(mine(r.Blockers)) == 1
	})
	b := mine(r.Blockers)[0]
	pid, victimPID := int(blocker.PgConn().PID()), int(victim.PgConn().PID())
	if b.PID != pid || b.App != "billing" || b.State != "idle in transaction" || !slices.Equal(b.Blocks, []int{victimPID}) || b.Transaction <= 0 {
		t.Errorf("blocker = %+v", b)
	}
	if strings.Contains(b.Query, "secret") || !strings.HasPrefix(b.Query, "UPDATE users SET name = '…'") {
		t.Errorf("the statement is shown as %q", b.Query)
	}
	if r.Waiting < 1 || r.Active < 1 || r.IdleInTx < 1 || r.OldestXact <= 0 || r.SlotsPct <= 0 || r.Exhausted || r.ByApp["billing"] < 1 || r.ByUser["app"+w.suffix] != 2 {
		t.Errorf("activity = %+v", r)
	}
	if len(mine(r.Open)) != 2 || len(mine(r.Abandoned)) != 1 {
		t.Errorf("transactions %v, idle ones %v", mine(r.Open), mine(r.Abandoned))
	}
	for _, s := range r.Open {
		if strings.HasPrefix(s.User, "opsbot_ro") {
			t.Errorf("opsbot counts itself: %+v", s)
		}
	}

	p, err := preview(t, "postgres.terminate", conn, with{"pids": []any{pid, 999999}})
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Live) != 1 || p.Live[0].Name != "session "+strconv.Itoa(pid) || p.Live[0].Text != b.Started || !strings.Contains(strings.Join(p.Impact, "\n"), "rolls back a transaction") {
		t.Errorf("preview = %+v", p)
	}
	ended := do[postgres.Terminated](t, "postgres.terminate", conn, with{"pids": []any{pid, 999999}})
	if !slices.Equal(ended.Ended, []int{pid}) || !slices.Equal(ended.Gone, []int{999999}) || len(ended.Staying) != 0 {
		t.Errorf("terminated = %+v", ended)
	}
	if err := <-waiting; err != nil {
		t.Errorf("the victim: %v", err)
	}
	if name := ask[string](w, "SELECT name FROM users WHERE id = 1"); name != "b" {
		t.Errorf("the row is %q", name)
	}
	if _, err := preview(t, "postgres.terminate", conn, with{"pids": []any{pid}}); fault.KindOf(err) != fault.NotFound {
		t.Errorf("preview of a gone session: %v", err)
	}
	self := int(w.super.PgConn().PID())
	for name, pids := range map[string][]any{"none": {}, "six": {1, 2, 3, 4, 5, 6}, "zero": {0}} {
		if _, _, err := try(t, "postgres.terminate", conn, with{"pids": pids}); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A superuser's session is beyond opsbot's rights.
	if _, _, err := try(t, "postgres.terminate", conn, with{"pids": []any{self}}); fault.KindOf(err) != fault.Forbidden {
		t.Errorf("ending a superuser's session: %v", err)
	}
	// Background processes are not sessions.
	checkpointer := ask[int](w, "SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'")
	if r := do[postgres.Terminated](t, "postgres.terminate", conn, with{"pids": []any{checkpointer}}); !slices.Equal(r.Gone, []int{checkpointer}) {
		t.Errorf("checkpointer: %+v", r)
	}
}

// The pid of an approved session that is used by another one is left alone.
func TestTerminateLooksAtTheStart(t *testing.T) {
	t.Parallel()
	w := admit(t, "")
	conn := w.open()
	c := w.client("web")
	pid := int(c.PgConn().PID())
	p, err := preview(t, "postgres.terminate", conn, with{"pids": []any{pid}})
	if err != nil || len(p.Live) != 1 {
		t.Fatal(p, err)
	}
	postgres.AgeSightings(conn)
	r := do[postgres.Terminated](t, "postgres.terminate", conn, with{"pids": []any{pid}})
	if len(r.Ended) != 0 || !slices.Equal(r.Gone, []int{pid}) {
		t.Errorf("terminated = %+v", r)
	}
	if err := c.Ping(t.Context()); err != nil {
		t.Errorf("the session is cut: %v", err)
	}
}

func TestSlowQueriesAndExplain(t *testing.T) {
	t.Parallel()
	w := admit(t, shop+`INSERT INTO logs (user_id, body) SELECT 1 + i % 50, repeat('y', 200) FROM generate_series(1, 60000) i;
		INSERT INTO logs (user_id, body) VALUES (50, 'needle'); ANALYZE logs;`)
	w.config.Queries = map[string]postgres.Query{"by_body": {SQL: "SELECT * FROM logs WHERE body = $1", Args: []postgres.Param{{Name: "body"}}}}
	conn := w.open()
	app := w.client("web")
	for range 3 {
		w.exec(app, "SELECT count(*), pg_sleep(0.01) FROM logs WHERE body = 'needle'")
	}
	r := do[postgres.Slow](t, "postgres.slow_queries", conn, with{"min_mean": "1ms", "order": "total", "limit": 50})
	i := slices.IndexFunc(r.Queries, func(q postgres.Statement) bool { return strings.Contains(q.Text, "pg_sleep") })
	if i < 0 || r.StatsReset.IsZero() {
		t.Fatalf("slow = %+v", r)
	}
	q := r.Queries[i]
	if q.Calls != 3 || q.MeanMS < 10 || q.TotalMS < 30 || q.Rows != 3 || strings.Contains(q.Text, "needle") || !strings.Contains(q.Text, "$2") {
		t.Errorf("statement = %+v", q)
	}
	if q.CallsSince != nil || r.Since != nil {
		t.Errorf("since nothing: %+v", q)
	}
	if r := do[postgres.Slow](t, "postgres.slow_queries", conn, with{"min_mean": "1h"}); len(r.Queries) != 0 {
		t.Errorf("slower than an hour: %+v", r)
	}

	p := do[postgres.Plan](t, "postgres.explain", conn, with{"name": "by_body", "args": []any{"needle"}, "runs": 3})
	if !p.Executed || p.ExecMS == nil || *p.ExecMS <= 0 || p.Rows != 1 || len(p.SeqScans) != 1 || len(p.IndexesUsed) != 0 {
		t.Fatalf("plan = %+v", p)
	}
	if s := p.SeqScans[0]; s.Rel != "logs" || s.Bytes < 8<<20 || s.Removed < 60000 {
		t.Errorf("seq scan = %+v", s)
	}
	generic := do[postgres.Plan](t, "postgres.explain", conn, with{"queryid": q.QueryID})
	if generic.Executed || generic.ExecMS != nil || !strings.Contains(strings.Join(generic.Plan, "\n"), "Seq Scan on logs") {
		t.Errorf("generic plan = %+v", generic)
	}
	do[postgres.Plan](t, "postgres.explain", conn, with{"queryid": q.QueryID}) // again, on the same connection
	w.exec(app, "CREATE INDEX logs_body ON logs (body)")
	p = do[postgres.Plan](t, "postgres.explain", conn, with{"name": "by_body", "args": []any{"needle"}})
	if len(p.SeqScans) != 0 || !slices.Contains(p.IndexesUsed, "logs_body") {
		t.Errorf("plan with an index = %+v", p)
	}
	estimated := do[postgres.Plan](t, "postgres.explain", conn, with{"name": "by_body", "args": []any{"needle"}, "analyze": false})
	if estimated.Executed || estimated.ExecMS != nil || !slices.Contains(estimated.IndexesUsed, "logs_body") {
		t.Errorf("estimate = %+v", estimated)
	}
	for name, c := range map[string]struct {
		args with
		says string
	}{
		"unknown id": {with{"queryid": "12345"}, "knows no statement"},
		"neither":    {with{}, "either"},
	} {
		if _, _, err := try(t, "postgres.explain", conn, c.args); !strings.Contains(fault.Say(err), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}

	// What was taken since the counts of before.
	w.exec(app, "SELECT count(*), pg_sleep(0.01) FROM logs WHERE body = 'needle'")
	w.exec(app, "SELECT 1 AS fresh, pg_sleep(0.2)")
	s := do[postgres.Slow](t, "postgres.slow_queries", conn, with{"min_mean": "1ms", "order": "since", "limit": 50, "since": r.Counts})
	if s.Since == nil || len(s.Queries) < 2 {
		t.Fatalf("since = %+v", s)
	}
	for i, q := range s.Queries[1:] {
		if sinceOf(q) > sinceOf(s.Queries[i]) {
			t.Errorf("not by what was taken since: %+v", s.Queries)
		}
	}
	i = slices.IndexFunc(s.Queries, func(other postgres.Statement) bool { return strings.Contains(other.Text, "fresh") })
	if i < 0 || s.Queries[i].CallsSince == nil || *s.Queries[i].CallsSince != 1 || sinceOf(s.Queries[i]) != s.Queries[i].TotalMS {
		t.Errorf("since, a new statement is %+v", s.Queries)
	}
	i = slices.IndexFunc(s.Queries, func(other postgres.Statement) bool { return other.QueryID == q.QueryID })
	if i < 0 || s.Queries[i].Calls != 4 || s.Queries[i].CallsSince == nil || *s.Queries[i].CallsSince != 1 || *s.Queries[i].MSSince < 10 || *s.Queries[i].MSSince >= s.Queries[i].TotalMS {
		t.Errorf("since, the statement of before is %+v", s.Queries)
	}
	if _, _, err := try(t, "postgres.slow_queries", conn, with{"since": "yesterday"}); !strings.Contains(fault.Say(err), "not the counts of an earlier call") {
		t.Errorf("other counts: %v", err)
	}
	w.run("DROP EXTENSION pg_stat_statements")
	if _, _, err := try(t, "postgres.slow_queries", conn, nil); !strings.Contains(fault.Say(err), "CREATE EXTENSION pg_stat_statements") {
		t.Errorf("without the extension: %v", err)
	}
}

// sinceOf is what a statement took since, less than nothing if that is not known.
func sinceOf(q postgres.Statement) float64 {
	if q.MSSince == nil {
		return -1
	}
	return *q.MSSince
}

func TestTables(t *testing.T) {
	t.Parallel()
	w := admit(t, shop)
	conn := w.open()
	r := do[postgres.Inventory](t, "postgres.tables", conn, with{"tables": []any{"users", "public.logs", "signals"}, "indexes": []any{"users_pkey", "nosuch"}})
	if d := cmp.Diff(postgres.Inventory{Count: 2, Names: []string{"public.logs", "public.users"}, MissingTables: []string{"signals"},
		MissingIndexes: []string{"nosuch"}, InvalidIndexes: []string{}, NotValidated: []string{}}, r); d != "" {
		t.Error(d)
	}
	w.run("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'users_pkey'::regclass")
	w.run("ALTER TABLE logs ADD CONSTRAINT short CHECK (length(body) < 200) NOT VALID")
	r = do[postgres.Inventory](t, "postgres.tables", conn, with{"indexes": []any{"users_pkey"}})
	if !slices.Equal(r.MissingIndexes, []string{"users_pkey"}) || !slices.Equal(r.InvalidIndexes, []string{"public.users_pkey"}) || !slices.Equal(r.NotValidated, []string{"short on logs"}) {
		t.Errorf("tables = %+v", r)
	}
	w.run(`CREATE TABLE "Odd name" (i int)`)
	s := do[postgres.Sizes](t, "postgres.table_sizes", conn, nil)
	names := []string{}
	for _, table := range s.Tables {
		names = append(names, table.Schema+"."+table.Name)
	}
	if !slices.Equal(names, []string{"public.logs", "public.users", "public.Odd name"}) || s.Database < 1<<20 || s.Tables[0].Total < s.Tables[0].Heap+s.Tables[0].Index {
		t.Errorf("sizes = %+v", s)
	}
	if fresh := do[postgres.Inventory](t, "postgres.tables", admit(t, "").open(), nil); fresh.Count != 0 {
		t.Errorf("a fresh database has %+v", fresh)
	}
	if c := do[postgres.Checkpointed](t, "postgres.checkpoint", conn, nil); c.Took <= 0 {
		t.Errorf("checkpoint = %+v", c)
	}
	w.config.Maintenance = postgres.Role{}
	if _, _, err := try(t, "postgres.checkpoint", w.open(), nil); !strings.Contains(fault.Say(err), "maintenance_user") {
		t.Errorf("without a user for maintenance: %v", err)
	}
}

// Without a slot for opsbot the server is looked at, and sessions are ended,
// through the slots that are reserved for superusers.
func TestNoSlotIsLeft(t *testing.T) {
	t.Parallel()
	w := admit(t, shop)
	app := w.client("leak")
	w.exec(app, "BEGIN")
	pid := int(app.PgConn().PID())
	w.run(w.named("ALTER ROLE opsbot_ro CONNECTION LIMIT 0; ALTER ROLE opsbot_maint CONNECTION LIMIT 0"))
	r, _, err := try(t, "postgres.activity", w.open(), nil)
	if a, ok := r.(postgres.Activity); !ok || !a.Exhausted || a.Cause != "slots" || a.SlotsPct != 100 || !strings.Contains(fault.Say(err), "all its slots in use") {
		t.Errorf("without a reserved slot: %+v, %v", r, err)
	}
	w.config.Reserve = postgres.Role{User: ask[string](w, "SELECT current_user::text")}
	conn := w.open()
	a := do[postgres.Activity](t, "postgres.activity", conn, nil)
	if !a.Exhausted || a.Cause != "" || a.SlotsUsed < 2 || !slices.ContainsFunc(a.Abandoned, func(s postgres.Session) bool { return s.PID == pid }) {
		t.Errorf("through a reserved slot: %+v", a)
	}
	p, err := preview(t, "postgres.terminate", conn, with{"pids": []any{pid}})
	if err != nil || !strings.HasSuffix(p.Identity, "/"+w.name) || len(p.Live) != 1 {
		t.Fatalf("preview = %+v, %v", p, err)
	}
	if r := do[postgres.Terminated](t, "postgres.terminate", conn, with{"pids": []any{pid}}); !slices.Equal(r.Ended, []int{pid}) {
		t.Errorf("terminated = %+v", r)
	}
	if pong, _, _ := try(t, "postgres.ping", conn, nil); pong.(postgres.Pong).Cause != "slots" {
		t.Errorf("ping = %+v", pong)
	}
}
