package main

import (
	"context"
	"strings"
	"testing"
	"time"

	"opsbot/internal/patient/api"
	"opsbot/internal/patient/compose"
	"opsbot/internal/patient/traffic"
	"opsbot/runbooks/engine"
)

// A cache that is asked for what it does not have is cleared under our prefix,
// whatever else is in it; more than a million keys are told before the click; a
// cache that is good, cold or closed is left alone.
func TestCacheFixFaultsInContainers(t *testing.T) {
	t.Parallel()
	w := newWard(t, compose.Options{Rows: 5000})
	cache := w.body.Redis(0)
	defer cache.Close()
	ctx := t.Context()
	run := func(t *testing.T, script string, args ...any) {
		t.Helper()
		if err := cache.Eval(ctx, script, nil, args...).Err(); err != nil {
			t.Fatal(err)
		}
	}
	fill := func(t *testing.T, n int, prefix string) {
		t.Helper()
		for i := 0; i < n; i += 50_000 {
			run(t, `for i = ARGV[1], ARGV[2] do redis.call('SET', ARGV[3] .. i, 'x', 'EX', 600) end return 1`, i, min(i+50_000, n)-1, prefix)
		}
	}
	matching := func(t *testing.T, pattern string) int {
		t.Helper()
		n, keys := 0, cache.Scan(ctx, 0, pattern, 5000).Iterator()
		for keys.Next(ctx) {
			n++
		}
		if err := keys.Err(); err != nil {
			t.Fatal(err)
		}
		return n
	}
	// A list under our prefix: large, and no cache.
	run(t, `for i = 1, 20000 do redis.call('RPUSH', 'prod_journal', i) end return 1`)
	// settles ends the fault once the keys are gone, as a release does that asks
	// for the right ones again.
	settles := func(t *testing.T, keys ...string) (wait func()) {
		t.Helper()
		ctx, cancel := context.WithTimeout(ctx, runFor)
		done := make(chan error, 1)
		go func() {
			defer cancel()
			for {
				n, err := cache.Exists(ctx, keys...).Result()
				if err == nil && n == 0 {
					err = w.body.Fault(ctx, "reads=0")
					done <- err
					return
				}
				select {
				case <-time.After(200 * time.Millisecond):
				case <-ctx.Done():
					done <- ctx.Err()
					return
				}
			}
		}()
		return func() { // after the run
			select {
			case err := <-done:
				if err != nil {
					t.Errorf("the fault is not over: %v", err)
				}
			case <-time.After(30 * time.Second):
				cancel()
				t.Errorf("the keys are not gone: %v", <-done)
			}
		}
	}
	strangers := w.strangers(t)
	v := w.visit(t)
	load := w.body.Load(traffic.Options{})
	defer load.Stop()
	const line = "cache-fix window=5s"

	t.Run("a good one", func(t *testing.T) {
		fill(t, 500, "prod_recon:good:")
		poll(t, "the API has cached its answers", func() bool { return matching(t, "prod_recon:u*") == len(api.Users()) })
		v.run(line, nil).check(t, wants{state: engine.Succeeded, asked: []string{}, marks: map[string]string{"before": "pass", "clear": "skipped"}})
		if n := matching(t, "prod_recon:good:*"); n != 500 {
			t.Errorf("%d of 500 keys are left", n)
		}
	})
	t.Run("asked for what it does not have", func(t *testing.T) {
		fill(t, 2000, "prod_recon:stale:")
		w.fault(t, "reads=300")
		wait := settles(t, "prod_recon:stale:0", "prod_recon:stale:1000", "prod_recon:stale:1999")
		r := v.run(line, nil)
		wait()
		r.check(t, wants{state: engine.Succeeded, verdict: "pass", asked: []string{"clear"}, marks: map[string]string{"backend": "pass", "clear": "pass", "after": "pass"}})
		if n := matching(t, "prod_recon:stale:*"); n != 0 {
			t.Errorf("%d keys are left", n)
		}
	})
	t.Run("more than a million", func(t *testing.T) {
		if err := cache.ConfigSet(ctx, "maxmemory", "1gb").Err(); err != nil {
			t.Fatal(err)
		}
		fill(t, 1_050_000, "prod_recon:many:")
		w.fault(t, "reads=300")
		wait := settles(t, "prod_recon:many:0", "prod_recon:many:500000", "prod_recon:many:1049999")
		told := false
		r := v.run(line, replies{"clear": {{before: func() {
			for _, m := range v.everything("ann") {
				told = told || shows(m, []string{"Remove up to", "they are more than 1"})
			}
		}}}})
		wait()
		r.check(t, wants{state: engine.Succeeded, verdict: "pass", asked: []string{"clear"}})
		if !told {
			t.Errorf("nobody was told how many there are:\n%s", v.transcript())
		}
		if n := matching(t, "prod_recon:many:*"); n != 0 {
			t.Errorf("%d keys are left", n)
		}
		if err := cache.ConfigSet(ctx, "maxmemory", "64mb").Err(); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("the database is busy", func(t *testing.T) {
		fill(t, 2000, "prod_recon:stale:")
		w.fault(t, "reads=300")
		db := w.containers(t, "db")[0]
		for range 12 {
			w.docker(t, "exec", "-d", db, "/usr/lib/postgresql/15/bin/psql", "-U", "postgres", "-d", "bot_production", "-c", "SELECT 'busy', pg_sleep(300)")
		}
		const busy = "FROM pg_stat_activity WHERE query LIKE '%pg_sleep%' AND pid <> pg_backend_pid()"
		poll(t, "the database is busy", func() bool { return w.sql(t, "SELECT count(*) "+busy) == "12" })
		r := w.visit(t).run(line, nil) // a bot that has not offered anything yet
		w.sql(t, "SELECT pg_terminate_backend(pid) "+busy)
		r.check(t, wants{state: engine.Failed, asked: []string{}, offers: []string{"database-troubleshooting"}, marks: map[string]string{"backend": "pass", "busy": "fail", "clear": "skipped"}})
		if n := matching(t, "prod_recon:stale:*"); n != 2000 {
			t.Errorf("%d of 2000 keys are left", n)
		}
		w.fault(t, "")
	})
	t.Run("the database is down", func(t *testing.T) {
		fill(t, 2000, "prod_recon:stale:")
		w.fault(t, "reads=300")
		w.compose(t, "stop", "db")
		r := v.run(line, nil)
		r.check(t, wants{state: engine.Failed, asked: []string{}, offers: []string{"database-troubleshooting"}, marks: map[string]string{"backend": "fail", "clear": "skipped"}})
		if n := matching(t, "prod_recon:stale:*"); n != 2000 {
			t.Errorf("%d of 2000 keys are left", n)
		}
		w.compose(t, "start", "db")
		w.fault(t, "")
	})
	t.Run("a password", func(t *testing.T) {
		if err := cache.ConfigSet(ctx, "requirepass", "other").Err(); err != nil {
			t.Fatal(err)
		}
		v := w.visit(t) // who is connected already stays so
		r := v.run(line, nil)
		w.docker(t, "exec", w.containers(t, "cache")[0], "redis-cli", "--no-auth-warning", "-a", "other", "config", "set", "requirepass", "")
		r.check(t, wants{state: engine.Failed, asked: []string{}, marks: map[string]string{"info": "fail", "clear": "skipped"}})
		if !strings.Contains(r.found("info"), "password") {
			t.Errorf("it says %s", r.found("info"))
		}
	})
	if got := w.strangers(t); got != strangers {
		t.Errorf("what is no cache was touched:\n%s\nafter:\n%s", strangers, got)
	}
	if n, err := cache.LLen(ctx, "prod_journal").Result(); err != nil || n != 20000 {
		t.Errorf("the list under our prefix has %d entries, %v", n, err)
	}
}
