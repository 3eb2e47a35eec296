package main

import (
	"strings"
	"testing"

	"opsbot/internal/patient/compose"
	"opsbot/internal/patient/traffic"
	"opsbot/runbooks/engine"
)

// Each branch of the diagnosis, on a patient that has what the branch is about.
// The limits are those of a busy machine; the faults are beyond them.
func TestPerformanceInContainers(t *testing.T) {
	t.Parallel()
	w := newWard(t, compose.Options{Rows: 20_000, Env: map[string]string{"API_CPUS": "0.3"}})
	load := w.body.Load(traffic.Options{})
	defer load.Stop()
	asked(t, load, 150) // the cache is warm
	const line = "performance-diagnosis n=10 window=10s min_lookups=20 hit_fail=0.5 p95_ok=500 p95_fail=1500 max_cpu=95"
	const little, very = "slow=800ms", "slow=2500ms"

	for _, c := range []struct {
		name, fault, more string
		wants             wants
	}{
		{"b quick", "", "", wants{state: engine.Succeeded, verdict: "pass", outcome: "(b)"}},
		{"h a little slow", little, "", wants{state: engine.Succeeded, verdict: "warn", outcome: "(h)", marks: map[string]string{"latency": "warn"}}},
		{"g very slow", very, "", wants{state: engine.Failed, verdict: "fail", offers: []string{"emergency-restart", "major-incident"}, marks: map[string]string{"latency": "fail"}}},
		{"c leaks", little + "&hog=100", " max_memory=80MiB", wants{verdict: "warn", offers: []string{"emergency-restart"}}},
		{"c leaks by its limit", little + "&hog=100", " max_memory_pct=15", wants{verdict: "warn", offers: []string{"emergency-restart"}}}, // of 512 MiB
		{"d misses", little + "&reads=300", "", wants{verdict: "warn", offers: []string{"cache-fix"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w.fault(t, "")
			if c.fault != "" {
				w.fault(t, c.fault)
			}
			r := w.visit(t).run(line+c.more, nil)
			c.wants.asked = []string{}
			r.check(t, c.wants)
			if len(r.offers()) != len(c.wants.offers) {
				t.Errorf("it offers %q, want %q", r.offers(), c.wants.offers)
			}
		})
	}
	t.Run("a no token", func(t *testing.T) {
		w.fault(t, "")
		r := w.visit(t, func(environment string) string {
			i := strings.Index(environment, "      api:\n")
			head, rest := environment[:i], environment[i:]
			token := rest[strings.Index(rest, "        token:"):]
			return head + strings.Replace(rest, token[:strings.Index(token, "\n")+1], "", 1)
		}).run(line, nil)
		r.check(t, wants{verdict: "unknown", offers: []string{"high-error-rate"}, asked: []string{}, report: []string{"p95 no data"}})
	})
	t.Run("e a locked table", func(t *testing.T) {
		w.fault(t, little)
		db := w.containers(t, "db")[0]
		for _, sql := range []string{"BEGIN; LOCK TABLE positions; SELECT pg_sleep(300)", "SELECT count(*) FROM positions"} {
			w.docker(t, "exec", "-d", db, "/usr/lib/postgresql/15/bin/psql", "-U", "postgres", "-d", "bot_production", "-c", sql)
			if strings.HasPrefix(sql, "BEGIN") {
				poll(t, "the table is locked", func() bool {
					return w.sql(t, "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND granted AND relation = 'positions'::regclass") == "1"
				})
			}
		}
		poll(t, "somebody waits", func() bool {
			return w.sql(t, "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'") != "0"
		})
		r := w.visit(t).run(line, nil)
		r.check(t, wants{verdict: "warn", offers: []string{"database-troubleshooting", "slow-database"}, asked: []string{}})
		w.sql(t, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep%' AND pid <> pg_backend_pid()")
	})
	t.Run("f busy", func(t *testing.T) {
		w.fault(t, little+"&burn=4")
		// The transaction's limit is out of the way: what else the machine does
		// may hold one open.
		r := w.visit(t).run(strings.Replace(line, "max_cpu=95", "max_cpu=20", 1)+" replicas=2 max_xact=1h max_active=1000", nil)
		r.check(t, wants{asked: []string{"scale"}, marks: map[string]string{"scale": "pass"}})
		if n := len(w.containers(t, "api")); n != 2 {
			t.Errorf("there are %d replicas, want 2", n)
		}
	})
}
