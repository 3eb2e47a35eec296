package main

import (
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"opsbot/internal/actions/host"
	"opsbot/internal/actions/redis"
	"opsbot/internal/actions/web"
	"opsbot/internal/config"
	"opsbot/internal/fault"
	"opsbot/internal/patient/compose"
	"opsbot/internal/patient/compose/composetest"
	"opsbot/internal/patient/traffic"
	"opsbot/runbooks"
)

// bench is an environment whose actions can be tried one by one.
type bench struct {
	t       *testing.T
	targets map[string]runbooks.Target
	catalog *runbooks.Catalog
}

func newBench(t *testing.T, environment string) *bench {
	t.Helper()
	cfg, err := config.Decode(filepath.Join(t.TempDir(), "opsbot.yaml"), []byte("environments:\n"+environment))
	if err != nil {
		t.Fatal(err)
	}
	s, err := openSystems(t.Context(), cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	catalog, err := newCatalog(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &bench{t, s.environments[0].Targets, catalog}
}

// try runs one action as the engine does.
func try[R any](b *bench, name, target string, with map[string]any) (R, error) {
	b.t.Helper()
	a, ok := b.catalog.Action(name)
	if !ok {
		b.t.Fatalf("there is no action %s", name)
	}
	args, err := runbooks.DecodeArgs(a.Spec(), with)
	if err != nil {
		b.t.Fatal(err)
	}
	got, err := a.Run(b.t.Context(), runbooks.Call{Run: "r1", Step: "s1", Target: b.targets[target], Args: args}, io.Discard)
	r, _ := got.(R)
	return r, err
}

// What is measured of the systems in containers, against what was done to them.
func TestSourcesInContainers(t *testing.T) {
	t.Parallel()
	body := composetest.Start(t, compose.Options{Rows: 20_000, Replicas: 2})
	environment, err := body.Environment("demo")
	if err != nil {
		t.Fatal(err)
	}
	b := newBench(t, environment)
	const status = "/api/v1/reconciliation/status?user=u000"

	smoke := map[string]any{"cases": []any{
		map[string]any{"path": "/api/v1/health", "json": map[string]any{"status": "healthy"}},
		map[string]any{"path": "/api/v1/ready", "json": map[string]any{"checks.*": "ready"}},
		map[string]any{"name": "no token", "path": status, "auth": "none", "code": 401},
		map[string]any{"name": "wrong token", "path": status, "auth": "wrong", "code": 401},
		map[string]any{"name": "token", "path": status},
	}}
	if r, err := try[web.Smoked](b, "http.smoke", "api", smoke); err != nil || r.Passed != 5 {
		t.Errorf("smoke = %s, %v", r.Found(), err)
	}
	r, err := try[web.Latency](b, "http.measure", "api", map[string]any{"path": "/api/v1/health", "n": 40, "header": "X-Instance", "fresh": true})
	if err != nil || len(r.Seen) != 2 || r.Failed != 0 {
		t.Errorf("measure = %s, %v", r.Found(), err)
	}

	// A third of all answers fail, on both replicas.
	if err := body.Fault(t.Context(), "err=33"); err != nil {
		t.Fatal(err)
	}
	load := body.Load(traffic.Options{})
	defer load.Stop()
	poll(t, "errors at both replicas", func() bool {
		s, err := try[web.Scrape](b, "metrics.scrape", "metrics", map[string]any{"interval": "3s", "gauges": []any{"http_requests_in_progress"}})
		if err != nil {
			t.Logf("scrape: %v", err)
			return false
		}
		ok := len(s.Replicas) == 2 && len(s.Missing) == 0 && s.Dominant == "500" && s.Ratio5xx != nil && *s.Ratio5xx > 0.1 && *s.Ratio5xx < 0.6
		for _, one := range s.Replicas {
			ok = ok && one.Requests != nil && *one.Requests > 0
		}
		return ok
	})
	poll(t, "Prometheus to see both", func() bool {
		q, err := try[web.Query](b, "prometheus.query", "metrics", map[string]any{"query": `count(http_requests_in_progress)`})
		return err == nil && q.Value != nil && *q.Value >= 2
	})

	if s, err := try[redis.Snapshot](b, "redis.bgsave", "cache", nil); err != nil || s.LastSave.IsZero() {
		t.Errorf("bgsave = %+v, %v", s, err)
	}
	if _, err := try[redis.IdleKeys](b, "redis.idle_keys", "cache", map[string]any{"pattern": "prod_*"}); fault.KindOf(err) != fault.Conflict || !strings.Contains(fault.Say(err), "cannot tell what nobody asked for") {
		t.Errorf("idle_keys of a young Redis = %v", err)
	}
	if err := body.BreakSaves(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := try[redis.Snapshot](b, "redis.bgsave", "cache", nil); fault.KindOf(err) != fault.Unavailable || !strings.Contains(fault.Say(err), "could not write its snapshot") {
		t.Errorf("bgsave into a closed folder = %v", err)
	}

	if _, err := try[host.Backup](b, "file.latest_backup", "host", nil); fault.KindOf(err) != fault.NotFound {
		t.Errorf("latest_backup of none = %v", err)
	}
	path, err := body.Backup(t.Context(), compose.Good, "db_20200101.sql.gz", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if f, err := try[host.Backup](b, "file.latest_backup", "host", nil); err != nil || f.Path != path {
		t.Errorf("latest_backup = %+v, %v", f, err)
	}
}
