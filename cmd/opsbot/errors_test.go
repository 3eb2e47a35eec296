package main

import (
	"strings"
	"testing"

	"opsbot/internal/patient/api"
	"opsbot/internal/patient/compose"
	"opsbot/internal/patient/traffic"
	"opsbot/runbooks/engine"
)

// Each kind of error, with what really is behind it.
func TestHighErrorRateInContainers(t *testing.T) {
	t.Parallel()
	w := newWard(t, compose.Options{Rows: 20_000})
	load := w.body.Load(traffic.Options{})
	defer load.Stop()
	asked(t, load, 50)
	const line = "high-error-rate window=5s min_requests=20"
	secret := w.body.Env("JWT_SECRET_KEY")

	t.Run("quiet", func(t *testing.T) {
		r := w.visit(t).run(line, nil)
		r.check(t, wants{state: engine.Succeeded, verdict: "pass", asked: []string{}, outcome: "nothing to do"})
	})
	t.Run("500 of the application itself", func(t *testing.T) {
		w.fault(t, "err=40")
		v := w.visit(t, oftener)
		r := v.run(line+" settle=1m", nil)
		r.check(t, wants{state: engine.Failed, asked: []string{}, offers: []string{"emergency-restart", "major-incident"},
			marks: map[string]string{"types": "pass", "db_ok": "pass", "settled": "fail", "jwt_env": "skipped", "scale": "skipped"}})
		before := w.inspect(t, "api", "{{.State.StartedAt}}")
		v.accept(r, "emergency-restart", nil).check(t, wants{state: engine.Succeeded})
		if after := w.inspect(t, "api", "{{.State.StartedAt}}"); after == before {
			t.Error("the click restarted nothing")
		}
		v.run(line, nil).check(t, wants{state: engine.Succeeded, outcome: "nothing to do"})
	})
	t.Run("500 because the database was killed", func(t *testing.T) {
		w.compose(t, "kill", "db")
		cache := w.body.Redis(0)
		defer cache.Close()
		for _, user := range api.Users() {
			if err := cache.Del(t.Context(), api.CachePrefix+user).Err(); err != nil {
				t.Fatal(err)
			}
		}
		failed := load.Count().Failed
		poll(t, "errors", func() bool { return load.Count().Failed > failed+20 })
		r := w.visit(t).run(line, nil)
		r.check(t, wants{state: engine.Failed, asked: []string{}, offers: []string{"database-troubleshooting"}, marks: map[string]string{"db_ok": "fail", "db_down": "fail"}})
		if !strings.Contains(r.found("db_ok"), "refused") {
			t.Errorf("the cause is %q", r.found("db_ok"))
		}
		if got := w.inspect(t, "db", "{{.State.Status}}"); got != "exited" {
			t.Errorf("the database is %s: it is not restarted from here", got)
		}
		w.compose(t, "start", "db")
		w.compose(t, "up", "-d", "--wait", "--no-recreate", "db")
	})
	t.Run("401 because the key is empty", func(t *testing.T) {
		if err := w.body.Deploy(t.Context(), map[string]string{"JWT_SECRET_KEY": ""}); err != nil {
			t.Fatal(err)
		}
		w.reload(t)
		poll(t, "401", func() bool { return load.Count().Codes[401] > 20 })
		r := w.visit(t).run(line, replies{"jwt_set": {{before: func() {
			if err := w.body.SetEnv("JWT_SECRET_KEY", secret); err != nil {
				t.Error(err)
			}
		}}}})
		r.check(t, wants{state: engine.Succeeded, asked: []string{"jwt_set", "jwt_up"}, marks: map[string]string{"jwt_env": "fail", "jwt_set": "pass", "jwt_up": "pass", "settled": "pass"}})
		if env := w.inspect(t, "api", "{{.Config.Env}}"); !strings.Contains(env, "JWT_SECRET_KEY="+secret) {
			t.Error("the key has not reached the container")
		}
		for _, said := range append(r.lines(), r.Report, r.Outcome) {
			if strings.Contains(said, secret) {
				t.Errorf("the secret is shown: %s", said)
			}
		}
	})
	t.Run("503 because the cache is away", func(t *testing.T) {
		w.fault(t, "err=40&code=503")
		w.compose(t, "stop", "cache")
		r := w.visit(t).run(line, nil)
		r.check(t, wants{state: engine.Failed, asked: []string{}, offers: []string{"cache-fix"}, marks: map[string]string{"ready_db": "pass", "ready_cache": "fail", "restart": "skipped"}})
		w.compose(t, "start", "cache")
		w.fault(t, "")
	})
	t.Run("503 of one that cannot be scaled", func(t *testing.T) {
		if err := w.body.FixPort(); err != nil {
			t.Fatal(err)
		}
		tag, err := w.body.Release(t.Context(), compose.Release{Version: "2.4.0", Ailments: "hog=100&err=40&code=503"})
		if err != nil {
			t.Fatal(err)
		}
		if err := w.body.Deploy(t.Context(), map[string]string{"IMAGE_TAG": tag}); err != nil {
			t.Fatal(err)
		}
		w.reload(t)
		r := w.visit(t, oftener).run(line+" settle=1m max_cpu=100 max_memory=60MiB replicas=2", nil)
		r.check(t, wants{state: engine.Failed, offers: []string{"emergency-restart", "major-incident"},
			marks: map[string]string{"ready_db": "pass", "ready_cache": "pass", "restart": "pass", "load2": "fail", "scale": "fail", "settled": "fail"}})
		if said := r.found("scale"); !strings.Contains(said, "is fixed in the Compose file") {
			t.Errorf("the scaling says %q", said)
		}
		if n := len(w.containers(t, "api")); n != 1 {
			t.Errorf("%d containers are there, want 1: none may be left of the attempt", n)
		}
	})
}
