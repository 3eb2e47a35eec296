package main

import (
	"strings"
	"testing"
	"time"

	"opsbot/internal/patient/compose"
	"opsbot/runbooks/engine"
)

// databases lists those of the server but its own, in order.
func (w *ward) databases(t *testing.T) []string {
	t.Helper()
	return strings.Fields(w.sql(t, "SELECT datname FROM pg_database WHERE NOT datistemplate AND datname <> 'postgres' ORDER BY 1"))
}

// rows counts every table of a database, as "name=rows name=rows".
func (w *ward) rows(t *testing.T, database string) string {
	t.Helper()
	if database != "bot_production" { // one that was swapped out lets nobody in
		w.sql(t, "ALTER DATABASE "+database+" ALLOW_CONNECTIONS true")
		defer w.sql(t, "ALTER DATABASE "+database+" ALLOW_CONNECTIONS false")
	}
	out, err := w.body.SQL(t.Context(), database, `SELECT string_agg(format('%s=%s', relname,
		(xpath('/row/n/text()', query_to_xml(format('SELECT count(*) AS n FROM %s', oid::regclass), false, true, '')))[1]), ' ' ORDER BY relname)
		FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace`)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Bad backups are refused before anything is stopped; a good one is counted,
// swapped in, and swapped out again if people do not recognize their data. The
// original is never dropped.
func TestFullRecoveryInContainers(t *testing.T) {
	t.Parallel()
	w := newWard(t, compose.Options{Rows: 20_000, Replicas: 2})
	v := w.visit(t)
	started := func(t *testing.T) string {
		var all []string
		for _, service := range []string{"api", "db", "cache"} {
			for _, id := range w.containers(t, service) {
				all = append(all, w.docker(t, "inspect", "--format", "{{.Id}} {{.State.Status}} {{.State.StartedAt}}", id))
			}
		}
		return strings.Join(all, "\n")
	}
	backup := func(t *testing.T, kind compose.BackupKind, name string, age time.Duration) string {
		t.Helper()
		path, err := w.body.Backup(t.Context(), kind, name, age)
		if err != nil {
			t.Fatal(err)
		}
		return path
	}
	plan := map[string]string{"plan": "another backup"}
	// Without a primary key a restore into the live database would double it.
	w.sql(t, "CREATE TABLE notes (text text); INSERT INTO notes SELECT 'note ' || i FROM generate_series(1, 1000) i; ALTER TABLE notes OWNER TO app")
	whole := w.rows(t, "bot_production")
	if !strings.Contains(whole, "notes=1000") || !strings.Contains(whole, "reconciliation_logs=20000") || !strings.Contains(whole, "users=") {
		t.Fatalf("the patient has %s", whole)
	}

	users := w.sql(t, "SELECT count(*) FROM users")

	t.Run("no backup", func(t *testing.T) {
		before := started(t)
		r := v.run("full-recovery restore=always", replies{"by_hand": {{fields: plan}}})
		r.check(t, wants{state: engine.Failed, asked: []string{"begin", "by_hand"}, marks: map[string]string{"backup": "fail", "stop_api": "skipped"}})
		if after := started(t); after != before {
			t.Errorf("something was touched:\n%s\n%s", before, after)
		}
	})
	for _, kind := range []compose.BackupKind{compose.CutGzip, compose.CutDump, compose.Empty, compose.Hollow} {
		t.Run(string(kind), func(t *testing.T) {
			before := started(t)
			backup(t, kind, "db_20261126.sql.gz", time.Minute)
			r := v.run("full-recovery restore=always min_bytes=1B", replies{"by_hand": {{fields: plan}}})
			r.check(t, wants{state: engine.Failed, asked: []string{"begin", "by_hand"}, marks: map[string]string{"dump": "fail", "stop_api": "skipped", "restore": "skipped"}})
			if after := started(t); after != before {
				t.Errorf("something was touched:\n%s\n%s", before, after)
			}
			if got := w.rows(t, "bot_production"); got != whole {
				t.Errorf("the database had %s, and has %s", whole, got)
			}
		})
	}
	t.Run("too old", func(t *testing.T) {
		backup(t, compose.Good, "db_20261126.sql.gz", 30*time.Hour)
		r := v.run("full-recovery restore=always", replies{"by_hand": {{fields: plan}}})
		r.check(t, wants{state: engine.Failed, asked: []string{"begin", "by_hand"}, marks: map[string]string{"backup": "fail"}})
	})
	t.Run("a lying one", func(t *testing.T) {
		backup(t, compose.Lying, "db_20261126.sql.gz", time.Minute)
		r := v.run("full-recovery restore=always", nil)
		r.check(t, wants{state: engine.Failed, asked: []string{"begin", "announce", "stop_api", "restore", "api_back"},
			marks: map[string]string{"dump": "pass", "restore": "fail", "swap": "skipped", "api_back": "pass"}})
		if got := w.databases(t); len(got) != 1 || w.rows(t, "bot_production") != whole {
			t.Errorf("there are %s; the database had %s, and has %s", got, whole, w.rows(t, "bot_production"))
		}
		if got := get(t, w.body.URL()+"/api/v1/ready"); !strings.Contains(got, `"db":"ready"`) {
			t.Errorf("the API is not back: %s", got)
		}
	})

	// The newest is the newest by its time, whatever the names say.
	good := backup(t, compose.Good, "db_20250101.sql.gz", 10*time.Second)
	backup(t, compose.CutDump, "db_20991231.sql.gz", 2*time.Hour)
	backup(t, compose.CutGzip, "db_20261126.sql.gz", 3*time.Hour)
	w.sql(t, "DROP TABLE users CASCADE")
	spoiled := w.rows(t, "bot_production")

	t.Run("restored, and swapped back", func(t *testing.T) {
		strangers := w.strangers(t)
		r := v.run("full-recovery", replies{"accept": {{fields: map[string]string{"right": "No"}}}})
		r.check(t, wants{state: engine.Failed, verdict: "fail",
			asked: []string{"begin", "announce", "stop_api", "restore", "swap", "stale", "api_start", "accept", "swap_back", "stale_back"},
			marks: map[string]string{"whole": "fail", "writers": "pass", "counted": "pass", "data": "pass", "works": "pass", "accept": "fail", "swap_back": "pass"}})
		if !strings.Contains(r.found("dump"), good) {
			t.Errorf("it took %s, want %s", r.found("dump"), good)
		}
		if got := w.rows(t, "bot_production"); got != spoiled {
			t.Errorf("after the swap back there are %s, want %s", got, spoiled)
		}
		all := w.databases(t)
		if len(all) != 2 || w.rows(t, all[1]) != whole {
			t.Errorf("of the databases %s the restored one has %s, want %s", all, w.rows(t, all[1]), whole)
		}
		if got := w.strangers(t); got != strangers {
			t.Errorf("what is no cache was touched: %s before, %s after", strangers, got)
		}
	})
	t.Run("restored", func(t *testing.T) {
		before := w.databases(t)
		cache := w.body.Redis(0)
		defer cache.Close()
		if err := cache.Set(t.Context(), "prod_recon:stale", "of before the restore", 0).Err(); err != nil {
			t.Fatal(err)
		}
		r := v.run("full-recovery", replies{"accept": {{fields: map[string]string{"right": "Yes"}}}})
		r.check(t, wants{state: engine.Succeeded, verdict: "pass",
			asked: []string{"begin", "announce", "stop_api", "restore", "swap", "stale", "api_start", "accept"}, report: []string{"public.users " + users + " of " + users, good}})
		if got := w.rows(t, "bot_production"); got != whole {
			t.Errorf("restored %s, want %s", got, whole)
		}
		all := w.databases(t)
		if len(all) != len(before)+1 {
			t.Fatalf("there were %s, and are %s", before, all)
		}
		kept := ""
		for _, name := range all {
			if name != "bot_production" && w.rows(t, name) == spoiled {
				kept = name
			}
		}
		if kept == "" || !strings.Contains(r.Report, kept) {
			t.Errorf("the original is gone, or the report does not name it: %s, %s", all, r.Report)
		}
		if n, err := cache.Exists(t.Context(), "prod_recon:stale").Result(); err != nil || n != 0 {
			t.Errorf("a stale answer is left: %d, %v", n, err)
		}
		if got := get(t, w.body.URL()+"/api/v1/ready"); !strings.Contains(got, `"db":"ready"`) {
			t.Errorf("the API is not ready: %s", got)
		}
		if got := w.sql(t, "SELECT nextval(pg_get_serial_sequence('positions', 'id')) > (SELECT max(id) FROM positions)"); got != "t" {
			t.Error("a sequence gives out numbers that are in use")
		}
	})
	t.Run("all stopped, nothing lost", func(t *testing.T) {
		before := w.databases(t)
		w.compose(t, "stop", "api", "cache", "db")
		r := v.run("full-recovery", nil)
		r.check(t, wants{state: engine.Succeeded, verdict: "pass", asked: []string{"begin", "db_start", "cache_start", "api_start"},
			marks: map[string]string{"restore": "skipped", "works": "pass"}, outcome: "without a restore"})
		if got := w.databases(t); len(got) != len(before) || w.rows(t, "bot_production") != whole {
			t.Errorf("there are %s with %s", got, w.rows(t, "bot_production"))
		}
		if n := len(w.containers(t, "api")); n != 2 {
			t.Errorf("the API has %d containers", n)
		}
	})
	t.Run("one person is not enough", func(t *testing.T) {
		before := started(t)
		r := v.run("full-recovery restore=always", replies{"begin": {{choice: "deny"}}})
		r.check(t, wants{state: engine.Canceled, asked: []string{"begin"}})
		if after := started(t); after != before {
			t.Errorf("something was touched:\n%s\n%s", before, after)
		}
	})
}

// strangers describes what is in Redis and no cache.
func (w *ward) strangers(t *testing.T) string {
	t.Helper()
	c := w.body.Redis(0)
	defer c.Close()
	var all []string
	for _, pattern := range []string{"prod_queue*", "session:*", "setting:*"} {
		keys := c.Scan(t.Context(), 0, pattern, 1000).Iterator()
		for keys.Next(t.Context()) {
			all = append(all, keys.Val()+" "+c.Dump(t.Context(), keys.Val()).Val()+c.TTL(t.Context(), keys.Val()).String())
		}
		if err := keys.Err(); err != nil {
			t.Fatal(err)
		}
	}
	other := w.body.Redis(1)
	defer other.Close()
	names, err := other.Keys(t.Context(), "*").Result()
	if err != nil || len(all) == 0 || len(names) == 0 {
		t.Fatalf("%d keys beside the cache, %d in the other database: %v", len(all), len(names), err)
	}
	return strings.Join(sorted(append(all, names...)), "\n")
}
