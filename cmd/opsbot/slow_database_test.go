package main

import (
	"context"
	"os/exec"
	"strings"
	"testing"

	"opsbot/internal/patient/compose"
	"opsbot/runbooks/engine"
)

// What slow-database is about.
const (
	servedQuery = "SELECT status, positions, matched, created_at FROM reconciliation_logs WHERE user_id = 'u001' ORDER BY created_at DESC LIMIT 1"
	servedIndex = "ix_reconciliation_user_created"
	indexState  = "(SELECT (SELECT indisvalid AND indisready FROM pg_index WHERE indexrelid = to_regclass('public." + servedIndex + "'))::text)"
	indexDef    = "SELECT coalesce(pg_get_indexdef(to_regclass('public." + servedIndex + "')), 'none')"
)

// hold leaves a transaction open that has done the statement, until the
// returned function is called or the test ends.
func (w *ward) hold(t *testing.T, statement string) (release func()) {
	t.Helper()
	id, err := w.body.Container(t.Context(), "db")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	cmd := exec.CommandContext(ctx, "docker", "exec", "-i", "-e", "PGAPPNAME=forgotten", id, "psql", "-X", "-q", "bot_production")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	release = func() {
		_ = in.Close() // psql ends, and with it the transaction
		cancel()
		_ = cmd.Wait()
	}
	t.Cleanup(release)
	if _, err := in.Write([]byte("BEGIN;\n" + statement + ";\n")); err != nil {
		t.Fatal(err)
	}
	poll(t, "the transaction is open", func() bool {
		return w.sql(t, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'forgotten' AND state = 'idle in transaction'") == "1"
	})
	return release
}

// The query that reads the whole table gets its index, whatever stands under
// the index's name; what cannot be done is refused and leaves nothing behind.
func TestSlowDatabaseInContainers(t *testing.T) {
	t.Parallel()
	w := newWard(t, compose.Options{Rows: 120_000})
	ask := func(t *testing.T) {
		w.sql(t, "SELECT pg_stat_statements_reset()")
		for range 5 {
			w.sql(t, servedQuery)
		}
	}
	plan := func(t *testing.T) string { return w.sql(t, "EXPLAIN "+servedQuery) }
	wellBuilt := func(t *testing.T) {
		t.Helper()
		if got := w.sql(t, "SELECT "+indexState); got != "true" {
			t.Errorf("the index is valid: %q", got)
		}
		if got := w.sql(t, indexDef); !strings.HasSuffix(got, "USING btree (user_id, created_at DESC)") {
			t.Errorf("the index is %s", got)
		}
		if got := plan(t); !strings.Contains(got, servedIndex) {
			t.Errorf("the server does not use it: %s", got)
		}
	}
	const line = "slow-database slow=1ms"
	v := w.visit(t)

	t.Run("no index", func(t *testing.T) {
		ask(t)
		if got := plan(t); strings.Contains(got, servedIndex) {
			t.Fatalf("there is an index already: %s", got)
		}
		r := v.run(line, nil)
		r.check(t, wants{state: engine.Succeeded, verdict: "pass", asked: []string{"build"},
			marks:  map[string]string{"find": "pass", "before": "pass", "build": "pass", "statistics": "skipped", "verify": "pass"},
			report: []string{"✓ index public." + servedIndex}})
		wellBuilt(t)
	})
	t.Run("an invalid one", func(t *testing.T) {
		w.sql(t, "DROP INDEX "+servedIndex)
		release := w.hold(t, "UPDATE reconciliation_logs SET details = details WHERE id = 1")
		if out, err := w.body.SQL(t.Context(), "bot_production", "SET statement_timeout = '2s';\nCREATE INDEX CONCURRENTLY "+servedIndex+" ON reconciliation_logs (user_id, created_at DESC);"); err == nil {
			t.Fatalf("it did not wait for the open transaction: %s", out)
		}
		release()
		if got := w.sql(t, "SELECT "+indexState); got != "false" {
			t.Fatalf("the index is valid: %q", got)
		}
		ask(t)
		v.run(line, nil).check(t, wants{state: engine.Succeeded, verdict: "pass", asked: []string{"build"}})
		wellBuilt(t)
	})
	t.Run("nothing is wrong", func(t *testing.T) {
		w.sql(t, "SELECT pg_stat_statements_reset()")
		v.run("slow-database", nil).check(t, wants{state: engine.Succeeded, verdict: "pass", asked: []string{}, outcome: "it is not the database", offers: []string{"performance-diagnosis"}})
	})
	t.Run("another of that name", func(t *testing.T) {
		for _, make := range []func(){
			func() { w.sql(t, "CREATE INDEX "+servedIndex+" ON reconciliation_logs (currency)") },
			func() { // an invalid one, but not a leftover of ours
				if err := w.body.InvalidIndex(t.Context(), servedIndex); err != nil {
					t.Error(err)
				}
			},
		} {
			w.sql(t, "DROP INDEX "+servedIndex)
			make()
			ask(t)
			before := w.sql(t, indexDef+" || "+indexState)
			r := v.run(line, replies{"rewrite": {{fields: map[string]string{"plan": "rename the old one"}}}})
			r.check(t, wants{state: engine.Failed, asked: []string{"rewrite"}, marks: map[string]string{"build": "skipped"}})
			if !strings.Contains(r.found("cause"), "something else") {
				t.Errorf("it says %s", r.found("cause"))
			}
			if after := w.sql(t, indexDef+" || "+indexState); after != before {
				t.Errorf("the other index was %s, and is %s", before, after)
			}
		}
		w.sql(t, "DROP INDEX "+servedIndex)
	})
	t.Run("an open transaction", func(t *testing.T) {
		ask(t)
		release := w.hold(t, "UPDATE reconciliation_logs SET details = details WHERE id = 1")
		r := v.run(line, nil)
		r.check(t, wants{state: engine.Failed, verdict: "fail", asked: []string{"build"}, outcome: "Blocked by pid", offers: []string{"database-troubleshooting"}, marks: map[string]string{"build": "fail"}})
		if !strings.Contains(r.Outcome, "forgotten") {
			t.Errorf("it does not say who: %s", r.Outcome)
		}
		// The same transaction blocks the removal of what was begun, which is
		// said; the next attempt removes it.
		if got := w.sql(t, "SELECT "+indexState); got != "false" || !strings.Contains(r.Outcome, "is still there") {
			t.Errorf("the index is valid: %q; it says %s", got, r.Outcome)
		}
		release()
		r = v.run(line, nil)
		r.check(t, wants{state: engine.Succeeded, verdict: "pass"})
		if !strings.Contains(r.found("build"), "after removing an invalid leftover") {
			t.Errorf("the second attempt: %s", r.found("build"))
		}
		wellBuilt(t)
	})
	t.Run("one that does not help, taken back", func(t *testing.T) {
		w.sql(t, "DROP INDEX "+servedIndex)
		ask(t)
		v := w.visit(t, func(environment string) string {
			return replaced(t, environment, "        indexes:\n", "        indexes:\n          by_currency: { table: public.reconciliation_logs, name: ix_currency, on: currency }\n")
		})
		const there = "SELECT count(*) FROM pg_class WHERE relname = 'ix_currency'"
		r := v.run(line+" index=by_currency", nil)
		r.check(t, wants{state: engine.Failed, verdict: "fail", asked: []string{"build"}, outcome: "no index is used"})
		if got := w.sql(t, there); got != "1" {
			t.Fatalf("%s indexes, want the one that was built", got)
		}
		back := v.accept(r, "slow-database", nil)
		back.check(t, wants{asked: []string{"drop"}, marks: map[string]string{"drop": "pass"}})
		if got := w.sql(t, there); got != "0" {
			t.Errorf("%s indexes are left", got)
		}
	})
}
